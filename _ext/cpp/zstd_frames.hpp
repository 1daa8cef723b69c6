// Zstandard (RFC 8878): one frame or several, which seldom say how much they hold. A frame's window is memory that it asks for:
// up to 128 MiB are given, as by Kafka's Java reader, because level 22 asks for that; pages are touched only as output comes.
#pragma once

#include <zstd.h>

#include <memory>
#include <new>

#include "codec.hpp"

namespace kproxy {

class ZstdReader {
  public:
    CodecStatus read(const char* data, size_t length, size_t most, Buffer* out) {
        if (!context_) make();
        ZSTD_DCtx_reset(context_.get(), ZSTD_reset_session_only);
        out->clear();
        CodecStatus status = read_frames(data, length, most, out);
        if (ZSTD_sizeof_DCtx(context_.get()) > MOST_KEPT_CONTEXT) context_.reset();
        return status;
    }

  private:
    static constexpr int MOST_WINDOW = 27;          // its logarithm
    struct Free {
        void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
    };

    void make() {
        context_.reset(ZSTD_createDCtx());
        if (!context_) throw std::bad_alloc();
        ZSTD_DCtx_setParameter(context_.get(), ZSTD_d_windowLogMax, MOST_WINDOW);
    }

    CodecStatus read_frames(const char* data, size_t length, size_t most, Buffer* out) {
        Growth growth(out, length, most);
        ZSTD_inBuffer in{data, length, 0};
        size_t hint = 1;
        while (hint != 0 || in.pos < length) {
            size_t offered = growth.next(), before = in.pos;
            ZSTD_outBuffer to{out->room(offered), offered, 0};
            hint = ZSTD_decompressStream(context_.get(), &to, &in);
            if (ZSTD_isError(hint)) return CODEC_BAD;
            out->added(to.pos);
            if (growth.over()) return CODEC_TOO_BIG;
            if (hint != 0 && to.pos == 0 && in.pos == before) return CODEC_BAD;
        }
        return CODEC_OK;
    }

    std::unique_ptr<ZSTD_DCtx, Free> context_;
};

class ZstdWriter {
  public:
    ZstdWriter() : context_(ZSTD_createCCtx()) {
        if (!context_) throw std::bad_alloc();
        ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_compressionLevel, LEVEL);
    }

    // Appends one frame to `out`.
    CodecStatus write(const char* data, size_t length, Buffer* out) {
        size_t most = ZSTD_compressBound(length);
        size_t made = ZSTD_compress2(context_.get(), out->room(most), most, data, length);
        if (ZSTD_isError(made)) return CODEC_BAD;
        out->added(made);
        return CODEC_OK;
    }

  private:
    static constexpr int LEVEL = 3;                 // as Kafka's own producer
    struct Free {
        void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
    };
    std::unique_ptr<ZSTD_CCtx, Free> context_;
};

}  // namespace kproxy
