// Snappy: one raw block, as librdkafka and others may write it, or blocks in the framing of Java's SnappyOutputStream:
//
//   framed = 82 "SNAPPY" 00, version i32, compatible i32, (length i32, raw block)*        -- big endian
//
// Told apart by the magic, which no raw block can begin with: it would say 10626 bytes and then copy from before its start.
#pragma once

#include <snappy.h>

#include <cstdint>
#include <cstring>

#include "codec.hpp"

namespace kproxy {

constexpr char SNAPPY_HEAD[] = "\x82SNAPPY\0\0\0\0\1\0\0\0\1";      // magic, version 1, compatible with 1
constexpr size_t SNAPPY_MAGIC = 8, SNAPPY_HEAD_SIZE = 16;

class SnappyReader {
  public:
    CodecStatus read(const char* data, size_t length, size_t most, Buffer* out) {
        out->clear();
        if (length < SNAPPY_MAGIC || std::memcmp(data, SNAPPY_HEAD, SNAPPY_MAGIC)) return read_block(data, length, most, out);
        if (length < SNAPPY_HEAD_SIZE || !word(data + SNAPPY_MAGIC)) return CODEC_BAD;
        for (size_t at = SNAPPY_HEAD_SIZE; at < length;) {
            if (length - at < 4) return CODEC_BAD;
            size_t size = word(data + at);
            at += 4;
            if (size > length - at) return CODEC_BAD;
            CodecStatus status = read_block(data + at, size, most, out);
            if (status != CODEC_OK) return status;
            at += size;
        }
        return CODEC_OK;
    }

  private:
    static constexpr size_t MOST_EXPANSION = 22;    // three bytes make at most 64

    static uint32_t word(const char* at) {
        const unsigned char* p = reinterpret_cast<const unsigned char*>(at);
        return static_cast<uint32_t>(p[0]) << 24 | static_cast<uint32_t>(p[1]) << 16 | static_cast<uint32_t>(p[2]) << 8 | p[3];
    }

    // A block says its plain size first. One that it cannot have is refused before there is room for it.
    CodecStatus read_block(const char* data, size_t length, size_t most, Buffer* out) {
        size_t plain;
        if (!snappy::GetUncompressedLength(data, length, &plain) || plain / MOST_EXPANSION > length) return CODEC_BAD;
        if (plain > most - out->size()) return CODEC_TOO_BIG;
        if (!snappy::RawUncompress(data, length, out->room(plain + 1))) return CODEC_BAD;
        out->added(plain);
        return CODEC_OK;
    }
};

// Appends framed blocks of 32 KiB to `out`, as Kafka's own producer writes them; every reader takes those.
inline CodecStatus snappy_compress(const char* data, size_t length, Buffer* out) {
    constexpr size_t BLOCK = 32 << 10;
    out->append(SNAPPY_HEAD, SNAPPY_HEAD_SIZE);
    for (size_t at = 0; at < length; at += BLOCK) {
        size_t size = std::min(BLOCK, length - at), made = 0;
        char* to = out->room(4 + snappy::MaxCompressedLength(size));
        snappy::RawCompress(data + at, size, to + 4, &made);
        for (int i = 0; i < 4; i++) to[i] = static_cast<char>(made >> (24 - 8 * i));
        out->added(4 + made);
    }
    return CODEC_OK;
}

}  // namespace kproxy
