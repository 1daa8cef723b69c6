// The codecs of record batches by their numbers, with the contexts that a thread keeps for them. A context is made when its
// codec is first seen, and used again for every batch after that.
#pragma once

#include <memory>

#include "gzip_members.hpp"
#include "lz4_frames.hpp"
#include "snappy_blocks.hpp"
#include "zstd_frames.hpp"

namespace kproxy {

class Codecs {
  public:
    // What `data` holds decompressed, at most `most` bytes of it. Anything that is not whole to its last byte is bad.
    CodecStatus read(int codec, const char* data, size_t length, size_t most, Buffer* out) {
        switch (codec) {
            case GZIP: return made(&gzip_reader_).read(data, length, most, out);
            case SNAPPY: return snappy_reader_.read(data, length, most, out);
            case LZ4: return lz4_reader_.read(data, length, most, out);
            case ZSTD: return zstd_reader_.read(data, length, most, out);
        }
        return CODEC_BAD;
    }

    // Appends `data` compressed to `out`, in the form that Kafka's Java reader takes.
    CodecStatus write(int codec, const char* data, size_t length, Buffer* out) {
        switch (codec) {
            case GZIP: return made(&gzip_writer_).write(data, length, out);
            case SNAPPY: return snappy_compress(data, length, out);
            case LZ4: return lz4_compress(data, length, out);
            case ZSTD: return made(&zstd_writer_).write(data, length, out);
        }
        return CODEC_BAD;
    }

  private:
    template <typename Context>
    static Context& made(std::unique_ptr<Context>* held) {
        if (!*held) *held = std::make_unique<Context>();
        return **held;
    }

    std::unique_ptr<GzipReader> gzip_reader_;
    std::unique_ptr<GzipWriter> gzip_writer_;
    SnappyReader snappy_reader_;
    Lz4Reader lz4_reader_;
    ZstdReader zstd_reader_;
    std::unique_ptr<ZstdWriter> zstd_writer_;
};

}  // namespace kproxy
