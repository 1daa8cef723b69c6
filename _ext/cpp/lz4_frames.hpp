// LZ4 frames as Kafka's Java reader takes them: version 1, independent blocks, one frame. Reading accepts what the frame
// format allows and stops at a cap; nothing is allocated by a length that the frame declares, but for one block (4 MiB).
#pragma once

#include <lz4frame.h>

#include <memory>
#include <new>

#include "codec.hpp"

namespace kproxy {

class Lz4Reader {
  public:
    // The bytes of the one frame that `data` is, at most `most` of them.
    CodecStatus read(const char* data, size_t length, size_t most, Buffer* out) {
        if (!context_) make();
        out->clear();
        CodecStatus status = read_frame(data, length, most, out);
        // LZ4F_resetDecompressionContext (1.9.4) keeps the size that a frame declared, which the next one without a size
        // would be held against. So a context is used again only after a frame that was read to its end.
        if (status != CODEC_OK) context_.reset();
        return status;
    }

  private:
    struct Free {
        void operator()(LZ4F_dctx* context) const { LZ4F_freeDecompressionContext(context); }
    };

    void make() {
        LZ4F_dctx* made = nullptr;
        if (LZ4F_isError(LZ4F_createDecompressionContext(&made, LZ4F_VERSION))) throw std::bad_alloc();
        context_.reset(made);
    }

    CodecStatus read_frame(const char* data, size_t length, size_t most, Buffer* out) {
        Growth growth(out, length, most);
        size_t at = 0, hint = 1;
        while (hint != 0) {
            size_t made = growth.next(), taken = length - at;
            hint = LZ4F_decompress(context_.get(), out->room(made), &made, data + at, &taken, nullptr);
            if (LZ4F_isError(hint)) return CODEC_BAD;
            out->added(made);
            at += taken;
            if (growth.over()) return CODEC_TOO_BIG;
            if (hint != 0 && made == 0 && taken == 0) return CODEC_BAD;
        }
        return at == length ? CODEC_OK : CODEC_BAD;
    }

    std::unique_ptr<LZ4F_dctx, Free> context_;
};

// Whether Kafka's Java reader takes the frame's flags: blocks that do not refer to one another, no dictionary. A broker
// refuses any other frame in a produce, so what is in one is not worth a look.
inline bool is_lz4_for_java(const char* data, size_t length) {
    constexpr int FLAGS_AT = 4, INDEPENDENT = 0x20, RESERVED = 0x02, DICTIONARY = 0x01;
    return length > FLAGS_AT && (data[FLAGS_AT] & (INDEPENDENT | RESERVED | DICTIONARY)) == INDEPENDENT;
}

// Appends one frame to `out`. Its blocks are of 64 KiB, as those of Kafka's own producer.
inline CodecStatus lz4_compress(const char* data, size_t length, Buffer* out) {
    LZ4F_preferences_t preferences{};
    preferences.frameInfo.blockMode = LZ4F_blockIndependent;
    preferences.frameInfo.blockSizeID = LZ4F_max64KB;
    size_t most = LZ4F_compressFrameBound(length, &preferences);
    size_t made = LZ4F_compressFrame(out->room(most), most, data, length, &preferences);
    if (LZ4F_isError(made)) return CODEC_BAD;
    out->added(made);
    return CODEC_OK;
}

}  // namespace kproxy
