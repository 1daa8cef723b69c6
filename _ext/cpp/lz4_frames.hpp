// LZ4 frames as Kafka's Java reader takes them: version 1, independent blocks, one frame. Reading accepts what the frame
// format allows and stops at a cap; nothing is allocated by a length that the frame declares.
#pragma once

#include <lz4frame.h>

#include <cstddef>
#include <string>

namespace kproxy {

enum CodecStatus : int { CODEC_OK, CODEC_BAD, CODEC_TOO_BIG };

inline CodecStatus lz4_decompress(const char* data, size_t length, size_t most, std::string* out) {
    LZ4F_dctx* context = nullptr;
    if (LZ4F_isError(LZ4F_createDecompressionContext(&context, LZ4F_VERSION))) return CODEC_BAD;
    out->clear();
    size_t at = 0, hint = 1;
    CodecStatus status = CODEC_OK;
    while (hint != 0 && status == CODEC_OK) {
        size_t before = out->size();
        if (before > most) {
            status = CODEC_TOO_BIG;
            break;
        }
        out->resize(before + 65536);
        size_t made = 65536, taken = length - at;
        hint = LZ4F_decompress(context, &(*out)[before], &made, data + at, &taken, nullptr);
        at += taken;
        out->resize(before + made);
        if (LZ4F_isError(hint) || (hint != 0 && made == 0 && taken == 0)) status = CODEC_BAD;
    }
    LZ4F_freeDecompressionContext(context);
    if (status == CODEC_OK && (at != length || out->size() > most)) status = at != length ? CODEC_BAD : CODEC_TOO_BIG;
    return status;
}

inline CodecStatus lz4_compress(const char* data, size_t length, std::string* out) {
    LZ4F_preferences_t preferences{};
    preferences.frameInfo.blockMode = LZ4F_blockIndependent;
    preferences.frameInfo.blockSizeID = LZ4F_max64KB;
    out->resize(LZ4F_compressFrameBound(length, &preferences));
    size_t made = LZ4F_compressFrame(&(*out)[0], out->size(), data, length, &preferences);
    if (LZ4F_isError(made)) return CODEC_BAD;
    out->resize(made);
    return CODEC_OK;
}

}  // namespace kproxy
