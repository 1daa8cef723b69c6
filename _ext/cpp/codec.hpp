// What the codecs of record batches have in common: how reading ends, and how much of it is given room at a time.
#pragma once

#include <algorithm>
#include <cstddef>

#include "buffer.hpp"

namespace kproxy {

enum Codec : int { NONE = 0, GZIP = 1, SNAPPY = 2, LZ4 = 3, ZSTD = 4 };
enum CodecStatus : int { CODEC_OK, CODEC_BAD, CODEC_TOO_BIG };

// A context that one odd batch made larger than this is not kept for the rest of the process's life. zstd's level 19 has a
// window of 8 MiB.
constexpr size_t MOST_KEPT_CONTEXT = 12 << 20;

// Room for what a decompressor gives next. One byte beyond the cap is asked for, so that exactly `most` bytes are told
// from more; what is offered follows what was sent, never a length that the stream declares.
class Growth {
  public:
    Growth(Buffer* out, size_t sent, size_t most) : out_(out), most_(most), step_(std::max<size_t>(65536, sent * 4)) {}

    size_t next() const {
        size_t free = std::max(out_->capacity() - out_->size(), step_);
        return std::min(free, most_ + 1 - out_->size());
    }
    bool over() const { return out_->size() > most_; }

  private:
    Buffer* out_;
    size_t most_, step_;
};

}  // namespace kproxy
