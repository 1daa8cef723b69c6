// The integers of record batches: big endian ones in heads, zigzag varints in records.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "buffer.hpp"

namespace kproxy {

constexpr size_t BATCH_HEAD = 61;
constexpr size_t CRC_FROM = 21;
constexpr size_t SMALLEST_RECORD = 7;
constexpr int32_t SMALLEST_OLD = 14;    // what follows the length of a message of magic 0
constexpr int CONTROL_BIT = 0x20;

inline uint32_t get32(const char* at) {
    const unsigned char* p = reinterpret_cast<const unsigned char*>(at);
    return static_cast<uint32_t>(p[0]) << 24 | static_cast<uint32_t>(p[1]) << 16 | static_cast<uint32_t>(p[2]) << 8 | p[3];
}
inline void put32(char* at, uint32_t value) {
    for (int i = 0; i < 4; i++) at[i] = static_cast<char>(value >> (24 - 8 * i));
}

// Zigzag LEB128 with a sticky error: after it every read gives 0 or nothing. More than ten bytes are bad.
struct RecordCursor {
    const char* at;
    const char* end;
    bool bad = false;

    int64_t varint() {
        uint64_t value = 0;
        for (int shift = 0; shift < 70 && at != end && !bad; shift += 7) {
            unsigned char byte = static_cast<unsigned char>(*at++);
            if (shift < 64) value |= static_cast<uint64_t>(byte & 0x7F) << shift;
            if (!(byte & 0x80)) return static_cast<int64_t>((value >> 1) ^ (~(value & 1) + 1));
        }
        bad = true;
        return 0;
    }

    // The bytes of a field of `length`; a null one (-1) has none.
    std::string_view take(int64_t length) {
        if (bad || length < 0) return std::string_view(at, 0);
        if (length > end - at) {
            bad = true;
            return std::string_view(at, 0);
        }
        std::string_view found(at, static_cast<size_t>(length));
        at += length;
        return found;
    }
};

// Bytes written, at most ten.
inline size_t write_varint(char* to, int64_t value) {
    uint64_t zigzag = (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63);
    size_t length = 0;
    for (; zigzag >= 0x80; zigzag >>= 7) to[length++] = static_cast<char>(zigzag | 0x80);
    to[length++] = static_cast<char>(zigzag);
    return length;
}

inline void put_varint(Buffer* out, int64_t value) { out->added(write_varint(out->room(10), value)); }

}  // namespace kproxy
