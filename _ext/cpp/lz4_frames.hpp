// LZ4 frames as Kafka's Java reader takes them: version 1, independent blocks, one frame. Reading accepts what the frame
// format allows and stops at a cap; nothing is allocated by a length that the frame declares, but for one block (4 MiB).
#pragma once

#include <lz4frame.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <new>

#include "buffer.hpp"

namespace kproxy {

enum CodecStatus : int { CODEC_OK, CODEC_BAD, CODEC_TOO_BIG };

class Lz4Reader {
  public:
    Lz4Reader() {
        LZ4F_dctx* made = nullptr;
        if (LZ4F_isError(LZ4F_createDecompressionContext(&made, LZ4F_VERSION))) throw std::bad_alloc();
        context_.reset(made);
    }

    // The bytes of the one frame that `data` is, at most `most` of them.
    CodecStatus read(const char* data, size_t length, size_t most, Buffer* out) {
        LZ4F_resetDecompressionContext(context_.get());
        out->clear();
        size_t at = 0, hint = 1, step = std::max<size_t>(65536, length * 4);
        while (hint != 0) {
            // One byte beyond the cap is asked for, so that a frame of exactly `most` bytes is told from a larger one.
            size_t free = std::max(out->capacity() - out->size(), step);
            size_t made = std::min(free, most + 1 - out->size()), taken = length - at;
            hint = LZ4F_decompress(context_.get(), out->room(made), &made, data + at, &taken, nullptr);
            if (LZ4F_isError(hint)) return CODEC_BAD;
            out->added(made);
            at += taken;
            if (out->size() > most) return CODEC_TOO_BIG;
            if (hint != 0 && made == 0 && taken == 0) return CODEC_BAD;
        }
        return at == length ? CODEC_OK : CODEC_BAD;
    }

  private:
    struct Free {
        void operator()(LZ4F_dctx* context) const { LZ4F_freeDecompressionContext(context); }
    };
    std::unique_ptr<LZ4F_dctx, Free> context_;
};

// Appends one frame to `out`.
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
