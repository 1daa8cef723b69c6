// What the load generator and the blackhole broker share: Kafka's primitive types, record batches, a histogram, sockets.
// Both ends of a bench are trusted, but a proxy in the middle may be wrong: so every read is bounds-checked and a wrong
// answer is counted, never assumed away.
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nmmintrin.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

enum Api { PRODUCE = 0, FETCH = 1, LIST_OFFSETS = 2, METADATA = 3, SASL_HANDSHAKE = 17, API_VERSIONS = 18, SASL_AUTHENTICATE = 36 };

[[noreturn]] inline void die(const std::string& text) {
    fprintf(stderr, "%s\n", text.c_str());
    exit(2);
}

// A cursor with a sticky error: after the first bad read everything reads as zero, and the caller looks at `bad` once.
struct Reader {
    const unsigned char* at;
    const unsigned char* end;
    bool bad = false;

    Reader(const void* data, size_t length) : at((const unsigned char*)data), end(at + length) {}
    size_t left() const { return end - at; }
    const unsigned char* take(size_t n) {
        if (bad || n > left()) { bad = true; return nullptr; }
        const unsigned char* here = at;
        at += n;
        return here;
    }
    void skip(size_t n) { take(n); }
    uint64_t big_endian(size_t n) {
        const unsigned char* p = take(n);
        uint64_t value = 0;
        for (size_t i = 0; p && i < n; i++) value = value << 8 | p[i];
        return value;
    }
    int8_t i8() { return (int8_t)big_endian(1); }
    int16_t i16() { return (int16_t)big_endian(2); }
    int32_t i32() { return (int32_t)big_endian(4); }
    int64_t i64() { return (int64_t)big_endian(8); }
    uint32_t uvarint() {
        uint64_t value = 0;
        for (int shift = 0; shift < 35; shift += 7) {
            const unsigned char* p = take(1);
            if (!p) return 0;
            value |= (uint64_t)(*p & 0x7f) << shift;
            if (!(*p & 0x80)) return (uint32_t)value;
        }
        bad = true;
        return 0;
    }
    // Length of a string or bytes; -1 for null. `compact` is the flexible form (length + 1 as a varint).
    int32_t length_of_string(bool compact) { return compact ? (int32_t)uvarint() - 1 : i16(); }
    int32_t length_of_bytes(bool compact) { return compact ? (int32_t)uvarint() - 1 : i32(); }
    int32_t count(bool compact) {
        int32_t n = compact ? (int32_t)uvarint() - 1 : i32();
        if (n > (int64_t)left()) bad = true;
        return bad ? 0 : n;
    }
    std::string_view string(bool compact) {
        int32_t n = length_of_string(compact);
        if (n <= 0) return {};
        const unsigned char* p = take(n);
        return p ? std::string_view((const char*)p, n) : std::string_view();
    }
    void tags(bool flexible) {
        if (!flexible) return;
        for (uint32_t n = uvarint(); n && !bad; n--) { uvarint(); skip(uvarint()); }
    }
};

struct Writer {
    std::string out;

    void big_endian(uint64_t value, size_t n) {
        for (size_t i = n; i-- > 0;) out.push_back((char)(value >> (8 * i)));
    }
    void i8(int v) { big_endian((uint8_t)v, 1); }
    void i16(int v) { big_endian((uint16_t)v, 2); }
    void i32(int32_t v) { big_endian((uint32_t)v, 4); }
    void i64(int64_t v) { big_endian((uint64_t)v, 8); }
    void uvarint(uint32_t v) {
        while (v >= 0x80) { out.push_back((char)(v | 0x80)); v >>= 7; }
        out.push_back((char)v);
    }
    void varint(int64_t v) {
        uint64_t z = ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
        while (z >= 0x80) { out.push_back((char)(z | 0x80)); z >>= 7; }
        out.push_back((char)z);
    }
    void string(std::string_view s, bool compact) {
        if (compact) uvarint(s.size() + 1); else i16((int)s.size());
        out.append(s);
    }
    void null_string(bool compact) { if (compact) uvarint(0); else i16(-1); }
    void bytes_length(size_t n, bool compact) { if (compact) uvarint(n + 1); else i32((int32_t)n); }
    void bytes(std::string_view s, bool compact) { bytes_length(s.size(), compact); out.append(s); }
    void count(int32_t n, bool compact) { if (compact) uvarint(n + 1); else i32(n); }
    void null_array(bool compact) { if (compact) uvarint(0); else i32(-1); }
    void tags(bool flexible) { if (flexible) out.push_back(0); }
};

inline void store_be32(char* at, uint32_t v) { v = htonl(v); memcpy(at, &v, 4); }
inline uint32_t load_be32(const void* at) { uint32_t v; memcpy(&v, at, 4); return ntohl(v); }

inline bool is_flexible(int api, int version) {
    switch (api) {
        case PRODUCE: return version >= 9;
        case FETCH: return version >= 12;
        case LIST_OFFSETS: return version >= 6;
        case METADATA: return version >= 9;
        case API_VERSIONS: return version >= 3;
        case SASL_AUTHENTICATE: return version >= 2;
        default: return false;
    }
}

__attribute__((target("sse4.2"))) inline uint32_t crc32c(const void* data, size_t length) {
    const unsigned char* p = (const unsigned char*)data;
    uint64_t crc = 0xffffffff;
    for (; length >= 8; length -= 8, p += 8) { uint64_t word; memcpy(&word, p, 8); crc = _mm_crc32_u64(crc, word); }
    for (; length; length--, p++) crc = _mm_crc32_u8((uint32_t)crc, *p);
    return (uint32_t)crc ^ 0xffffffff;
}

// One JSON value of exactly `size` bytes (at least 128): an e-mail and a card number to find when `secrets`, else clean. The
// words come in an order of their own for each record, so that a codec has about as much work as with real text.
inline std::string json_value(size_t size, int number, bool secrets) {
    char head[256];
    snprintf(head, sizeof head, "{\"id\":%d,\"ts\":1795000000%03d,\"user\":{\"email\":\"%s\",\"phone\":\"%s\"},\"card\":\"%s\",\"note\":\"", number, number % 1000,
             secrets ? "ada@example.com" : "withheld", secrets ? "030 123456" : "none", secrets ? "4111 1111 1111 1111" : "none");
    std::string value = head;
    static const char* words[] = {"quick ", "brown ", "fox ", "jumps ", "over ", "lazy ", "dog ", "runs ", "away ", "river ",
                                  "window ", "market ", "orange ", "seven ", "paper ", "light "};
    uint32_t chance = 2654435761u * (uint32_t)(number + 1);
    while (value.size() + 2 < size) {
        chance = chance * 1664525u + 1013904223u;
        value.append(words[chance >> 28], 0, size - 2 - value.size());
    }
    return value + "\"}";
}

inline size_t varint_size(int64_t v) {
    Writer w;
    w.varint(v);
    return w.out.size();
}

inline std::string record(int offset_delta, const std::string& value) {
    Writer body;
    body.i8(0);                         // attributes
    body.varint(0);                     // timestamp delta
    body.varint(offset_delta);
    body.varint(-1);                    // no key
    body.varint((int64_t)value.size());
    body.out += value;
    body.varint(0);                     // no headers
    Writer whole;
    whole.varint((int64_t)body.out.size());
    return whole.out + body.out;
}

// The value size with which record number `offset_delta` takes just `room` bytes (or the most below it).
inline size_t value_to_fill(size_t room, int offset_delta) {
    for (size_t value = room; value-- > 0;) {
        size_t body = 4 + varint_size(offset_delta) + varint_size((int64_t)value) - 1 + value + 1;
        if (varint_size((int64_t)body) + body <= room) return value;
    }
    return 0;
}

// Kafka's number of a codec, and what it makes of a run of records.
struct Codec { int number = 0; std::string (*compress)(const std::string&) = nullptr; };

// A record batch (magic 2, no producer id) of `size` bytes before compression, made of JSON values of about `value_size`.
inline std::string record_batch(size_t size, size_t value_size, bool secrets, Codec codec = {}) {
    const size_t header = 61, around = 16;
    size_t room = size > header + 128 ? size - header : 128;
    std::string records;
    int count = 0;
    while (room - records.size() >= 2 * (value_size + around))
        records += record(count, json_value(value_size, count, secrets)), count++;
    while (room - records.size() >= value_size + around + 256)
        records += record(count, json_value((room - records.size()) / 2 - around, count, secrets)), count++;
    records += record(count, json_value(value_to_fill(room - records.size(), count), count, secrets));
    count++;
    Writer body;                        // from attributes on: what the CRC covers
    body.i16(codec.number);
    body.i32(count - 1);
    body.i64(1795000000000);
    body.i64(1795000000000);
    body.i64(-1);
    body.i16(-1);
    body.i32(-1);
    body.i32(count);
    body.out += codec.compress ? codec.compress(records) : records;
    Writer batch;
    batch.i64(0);
    batch.i32((int32_t)(body.out.size() + 9));
    batch.i32(-1);                      // partition leader epoch
    batch.i8(2);
    batch.i32((int32_t)crc32c(body.out.data(), body.out.size()));
    batch.out += body.out;
    return batch.out;
}

// Log-linear buckets: 128 per power of two, so a value is known to better than 1 %.
struct Histogram {
    static const int SUB = 7;
    std::vector<uint64_t> buckets = std::vector<uint64_t>(64 << SUB);
    uint64_t total = 0, largest = 0;

    static size_t index(uint64_t v) {
        if (v < (1u << SUB)) return v;
        int shift = 63 - __builtin_clzll(v) - SUB;
        return ((size_t)(shift + 1) << SUB) + ((v >> shift) - (1u << SUB));
    }
    static uint64_t value(size_t i) {
        size_t shift = i >> SUB;
        return shift == 0 ? i : ((uint64_t)((1u << SUB) + (i & ((1u << SUB) - 1)))) << (shift - 1);
    }
    void add(uint64_t v) {
        buckets[index(v)]++;
        total++;
        largest = std::max(largest, v);
    }
    uint64_t quantile(double q) const {
        uint64_t wanted = (uint64_t)(q * (double)total), seen = 0;
        for (size_t i = 0; i < buckets.size(); i++)
            if ((seen += buckets[i]) > wanted) return value(i);
        return largest;
    }
};

inline uint64_t now_ns() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

inline void set_no_delay(int fd) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

inline void set_non_blocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

inline sockaddr_in loopback(const std::string& host, int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)port);
    if (inet_pton(AF_INET, host == "localhost" ? "127.0.0.1" : host.c_str(), &address.sin_addr) != 1) die("not an IPv4 address: " + host);
    return address;
}

inline std::pair<std::string, int> host_and_port(const std::string& text) {
    size_t colon = text.rfind(':');
    if (colon == std::string::npos) die("want HOST:PORT, got " + text);
    return {text.substr(0, colon), atoi(text.c_str() + colon + 1)};
}

// How bytes arrive and leave; tls.hpp puts itself here.
inline ssize_t (*receive_bytes)(int fd, void* data, size_t size, int flags) = recv;
inline ssize_t (*send_parts)(int fd, const iovec* parts, int count) = writev;

// Bytes waiting to be written: short ones owned, long ones borrowed from a buffer that lives as long as the program.
struct Output {
    struct Segment { const char* at; size_t length; std::unique_ptr<std::string> owned; };
    std::deque<Segment> segments;

    void add(std::string&& bytes) {
        if (bytes.empty()) return;      // writev of nothing would look like a socket that takes nothing
        auto owned = std::make_unique<std::string>(std::move(bytes));
        const char* at = owned->data();
        size_t length = owned->size();
        segments.push_back({at, length, std::move(owned)});
    }
    void borrow(const char* at, size_t length) { segments.push_back({at, length, nullptr}); }
    bool empty() const { return segments.empty(); }
    // Writes what the socket takes. False when the peer is gone.
    bool flush(int fd) {
        while (!segments.empty()) {
            iovec parts[64];
            int n = 0;
            for (auto& s : segments) {
                if (n == 64) break;
                parts[n++] = {(void*)s.at, s.length};
            }
            ssize_t written = send_parts(fd, parts, n);
            if (written < 0) return errno == EAGAIN || errno == EINTR;
            while (written > 0) {
                Segment& s = segments.front();
                size_t used = std::min<size_t>(written, s.length);
                s.at += used;
                s.length -= used;
                written -= (ssize_t)used;
                if (s.length == 0) segments.pop_front();
            }
        }
        return true;
    }
};

// Received bytes; frames are read where they lie, and long bodies that nobody looks at are thrown away by the kernel.
struct Input {
    std::vector<unsigned char> buffer = std::vector<unsigned char>(1 << 16);
    size_t start = 0, end = 0, to_discard = 0;

    size_t have() const { return end - start; }
    const unsigned char* data() const { return buffer.data() + start; }
    void consume(size_t n) {
        start += n;
        if (start == end) start = end = 0;
    }
    // Forgets the next `n` bytes, received or not.
    void discard(size_t n) {
        size_t here = std::min(n, have());
        consume(here);
        to_discard += n - here;
    }
    void make_room(size_t wanted) {
        if (start > 0 && (buffer.size() - end < wanted)) {
            memmove(buffer.data(), buffer.data() + start, have());
            end -= start;
            start = 0;
        }
        if (buffer.size() - end < wanted) buffer.resize(end + wanted);
    }
    // >0 bytes taken, 0 nothing now, -1 the peer is gone.
    ssize_t receive(int fd) {
        ssize_t got;
        if (to_discard > 0) {
            got = receive_bytes(fd, nullptr, std::min<size_t>(to_discard, 1 << 20), MSG_TRUNC);
            if (got > 0) to_discard -= got;
        } else {
            if (buffer.size() - end < 16384) make_room(16384);
            got = receive_bytes(fd, buffer.data() + end, buffer.size() - end, 0);
            if (got > 0) end += got;
        }
        if (got == 0) return -1;
        if (got < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
        return got;
    }
};
