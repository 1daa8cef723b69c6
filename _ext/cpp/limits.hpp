// How much of a client's or broker's compressed bytes is believed to be records. Decompressing is work and memory that few
// bytes can ask for, so it is held against what was sent.
#pragma once

#include <algorithm>
#include <cstddef>

namespace kproxy {

struct Limits {
    size_t most_bytes = 128u << 20;     // of one batch, decompressed; and of one partition's records, rewritten
    size_t any_ratio = 4u << 20;        // up to here a batch may be compressed as well as it likes
    size_t most_ratio = 100;            // beyond: decompressed over compressed. JSON records reach 5 to 30
    size_t most_record_errors = 100;

    // Of a batch of `sent` bytes, decompressed.
    size_t of_batch(size_t sent) const { return std::min(most_bytes, std::max(any_ratio, sent * most_ratio)); }
    // Of all batches of a frame of `sent` bytes: thousands of small bombs must not add up. Any eight may be what one may.
    size_t of_frame(size_t sent) const { return 8 * any_ratio + sent * most_ratio; }
};

// The frame at hand, and what was decompressed of it so far.
struct FrameUse {
    size_t sent = 0, spent = 0;

    void begin(size_t length) {
        sent = length;
        spent = 0;
    }
    size_t left(const Limits& limits) const {
        size_t all = limits.of_frame(sent);
        return all > spent ? all - spent : 0;
    }
};

}  // namespace kproxy
