// Text with the escapes of JSON strings taken out wherever they stand, and where each byte came from. Looser than a parser:
// it is for text that is not JSON from start to end, or that quotes JSON, and it only serves to look behind escapes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "buffer.hpp"

namespace kproxy {

class Unescaped {
  public:
    // False: the text has no escapes. It must stay alive as long as plain() is used.
    bool read(std::string_view text) {
        plain_.clear();
        escapes_.clear();
        const char* found = static_cast<const char*>(std::memchr(text.data(), '\\', text.size()));
        size_t done = 0;
        while (found) {
            size_t at = static_cast<size_t>(found - text.data());
            plain_.append(text.data() + done, at - done);
            done = at + take_one(text, at);
            found = done < text.size() ? static_cast<const char*>(std::memchr(text.data() + done, '\\', text.size() - done)) : nullptr;
        }
        if (escapes_.empty()) return false;
        plain_.append(text.data() + done, text.size() - done);
        return true;
    }

    std::string_view plain() const { return plain_.view(); }

    // Where in the text the byte at `at` of plain() begins.
    size_t place(size_t at) const {
        const Escape* before = last_until(at);
        if (!before) return at;
        if (at < before->plain_at + before->plain_length) return before->at;
        return before->at + before->length + at - before->plain_at - before->plain_length;
    }
    // One past where that byte ends.
    size_t place_after(size_t at) const {
        const Escape* before = last_until(at);
        if (before && at < before->plain_at + before->plain_length) return before->at + before->length;
        return place(at) + 1;
    }

    void give_back(size_t keep) {
        plain_.give_back(keep);
        if (escapes_.capacity() * sizeof(Escape) > keep) std::vector<Escape>().swap(escapes_);
    }

  private:
    struct Escape {
        uint32_t at, plain_at;              // parts of records are smaller than 2 GiB
        uint8_t length, plain_length;
    };

    const Escape* last_until(size_t plain_at) const {
        auto after = std::upper_bound(escapes_.begin(), escapes_.end(), plain_at,
                                      [](size_t at, const Escape& one) { return at < one.plain_at; });
        return after == escapes_.begin() ? nullptr : &*(after - 1);
    }

    // Appends what the escape at `at` stands for. The bytes it takes; a backslash that begins none stands for itself.
    size_t take_one(std::string_view text, size_t at) {
        size_t plain_at = plain_.size();
        char next = at + 1 < text.size() ? text[at + 1] : '\0';
        uint32_t code = 0;
        size_t length = 2;
        if (next == 'u' && read_hex(text, at + 2, &code)) {
            append_utf8(code);
            length = 6;
        } else if (const char* known = next ? std::strchr("\"\\/bfnrt", next) : nullptr) {
            plain_.push("\"\\/\b\f\n\r\t"[known - "\"\\/bfnrt"]);
        } else {
            plain_.push('\\');
            return 1;
        }
        escapes_.push_back({static_cast<uint32_t>(at), static_cast<uint32_t>(plain_at), static_cast<uint8_t>(length),
                            static_cast<uint8_t>(plain_.size() - plain_at)});
        return length;
    }

    static bool read_hex(std::string_view text, size_t at, uint32_t* code) {
        if (text.size() < 4 || at > text.size() - 4) return false;
        for (size_t i = at; i < at + 4; i++) {
            char c = text[i];
            uint32_t digit = c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : 16;
            if (digit == 16) return false;
            *code = *code << 4 | digit;
        }
        return true;
    }

    // Halves of surrogate pairs stay halves: no entity holds a character beyond ASCII.
    void append_utf8(uint32_t code) {
        if (code < 0x80) return plain_.push(static_cast<char>(code));
        if (code >= 0x800) plain_.push(static_cast<char>(0xE0 | code >> 12));
        plain_.push(static_cast<char>(code >= 0x800 ? 0x80 | (code >> 6 & 0x3F) : 0xC0 | code >> 6));
        plain_.push(static_cast<char>(0x80 | (code & 0x3F)));
    }

    Buffer plain_;
    std::vector<Escape> escapes_;
};

}  // namespace kproxy
