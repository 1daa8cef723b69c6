// GZIP (RFC 1952): one member or several, to the end of the input. Bytes that are no member are an error, where Java's reader
// would overlook them: nothing may go on behind records that were looked at.
#pragma once

#include <zlib.h>

#include <new>

#include "codec.hpp"

namespace kproxy {

class GzipReader {
  public:
    GzipReader() {
        if (inflateInit2(&stream_, WITH_HEADER) != Z_OK) throw std::bad_alloc();
    }
    GzipReader(const GzipReader&) = delete;
    GzipReader& operator=(const GzipReader&) = delete;
    ~GzipReader() { inflateEnd(&stream_); }

    CodecStatus read(const char* data, size_t length, size_t most, Buffer* out) {
        out->clear();
        Growth growth(out, length, most);
        // zlib does not write through next_in, whatever its type says.
        stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data));
        stream_.avail_in = static_cast<uInt>(length);
        do {
            inflateReset(&stream_);
            CodecStatus status = read_member(&growth, out);
            if (status != CODEC_OK) return status;
        } while (stream_.avail_in);
        return CODEC_OK;
    }

  private:
    static constexpr int WITH_HEADER = 15 + 16;     // the largest window; a gzip header and no other

    CodecStatus read_member(Growth* growth, Buffer* out) {
        int told = Z_OK;
        while (told != Z_STREAM_END) {
            size_t offered = growth->next();
            stream_.next_out = reinterpret_cast<Bytef*>(out->room(offered));
            stream_.avail_out = static_cast<uInt>(offered);
            told = inflate(&stream_, Z_NO_FLUSH);
            out->added(offered - stream_.avail_out);
            if (growth->over()) return CODEC_TOO_BIG;
            // Z_BUF_ERROR: there is room, and the input is over before the member is.
            if (told != Z_OK && told != Z_STREAM_END) return CODEC_BAD;
        }
        return CODEC_OK;
    }

    z_stream stream_{};
};

class GzipWriter {
  public:
    GzipWriter() {
        if (deflateInit2(&stream_, LEVEL, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) throw std::bad_alloc();
    }
    GzipWriter(const GzipWriter&) = delete;
    GzipWriter& operator=(const GzipWriter&) = delete;
    ~GzipWriter() { deflateEnd(&stream_); }

    // Appends one member to `out`.
    CodecStatus write(const char* data, size_t length, Buffer* out) {
        deflateReset(&stream_);
        size_t most = deflateBound(&stream_, length);
        stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data));
        stream_.avail_in = static_cast<uInt>(length);
        stream_.next_out = reinterpret_cast<Bytef*>(out->room(most));
        stream_.avail_out = static_cast<uInt>(most);
        if (deflate(&stream_, Z_FINISH) != Z_STREAM_END) return CODEC_BAD;
        out->added(most - stream_.avail_out);
        return CODEC_OK;
    }

  private:
    static constexpr int LEVEL = 4;                 // half the time of Java's 6, 5 to 11 % larger (bench/micro/codecs.py)
    z_stream stream_{};
};

}  // namespace kproxy
