// How large the records of one produced batch are, decompressed where they are compressed; nothing is kept of them.
#pragma once

#include <algorithm>

#include "codecs.hpp"
#include "limits.hpp"
#include "record_cursor.hpp"

namespace kproxy {

// A thread's contexts for measuring, and what was decompressed of the frame at hand.
class RecordSizes {
  public:
    static constexpr int64_t BROKEN = -1;       // not records, or not all of them
    static constexpr int64_t TOO_MUCH = -2;     // more than is decompressed of so few bytes

    static RecordSizes& of_thread() {
        thread_local RecordSizes sizes;
        return sizes;
    }

    void begin(size_t length) { frame_.begin(length); }

    // Bytes of the largest record of a magic 2 batch of `size` bytes, with its length; or BROKEN, TOO_MUCH.
    int64_t find_largest(const char* batch, size_t size, const Limits& limits) {
        const char* body = batch + BATCH_HEAD;
        size_t length = size - BATCH_HEAD;
        int codec = batch[22] & 7;
        int64_t found = BROKEN;
        if (codec == NONE) return walk(body, length);
        size_t most = std::min(limits.of_batch(length), frame_.left(limits));
        CodecStatus status = codecs_.read(codec, body, length, most, &plain_);
        frame_.spent += plain_.size();
        if (status == CODEC_TOO_BIG) found = TOO_MUCH;
        else if (status == CODEC_OK) found = walk(plain_.data(), plain_.size());
        plain_.give_back(KEPT);
        return found;
    }

  private:
    static constexpr size_t KEPT = 1 << 20;

    static int64_t walk(const char* body, size_t length) {
        RecordCursor cursor{body, body + length};
        int64_t largest = 0;
        while (cursor.at != cursor.end) {
            const char* from = cursor.at;
            int64_t said = cursor.varint();
            cursor.take(said);
            if (cursor.bad || said < 0) return BROKEN;
            largest = std::max<int64_t>(largest, cursor.at - from);
        }
        return largest;
    }

    Codecs codecs_;
    Buffer plain_;
    FrameUse frame_;
};

}  // namespace kproxy
