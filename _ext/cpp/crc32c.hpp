// CRC-32C (Castagnoli), as record batches of magic 2 carry it. The SSE 4.2 instruction where the processor has it, else a
// table; the choice is made once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace kproxy {

inline uint32_t crc32c_by_table(uint32_t crc, const unsigned char* at, size_t length) {
    static const auto table = [] {
        struct { uint32_t row[256]; } made{};
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t value = i;
            for (int bit = 0; bit < 8; bit++) value = value & 1 ? (value >> 1) ^ 0x82F63B78u : value >> 1;
            made.row[i] = value;
        }
        return made;
    }();
    while (length--) crc = table.row[(crc ^ *at++) & 0xFF] ^ (crc >> 8);
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) inline uint32_t crc32c_by_instruction(uint32_t crc, const unsigned char* at, size_t length) {
    uint64_t wide = crc;
    while (length >= 8) {
        uint64_t word;
        std::memcpy(&word, at, 8);
        wide = __builtin_ia32_crc32di(wide, word);
        at += 8;
        length -= 8;
    }
    crc = static_cast<uint32_t>(wide);
    while (length--) crc = __builtin_ia32_crc32qi(crc, *at++);
    return crc;
}
#endif

inline uint32_t crc32c(const unsigned char* at, size_t length) {
#if defined(__x86_64__)
    static const bool has_instruction = __builtin_cpu_supports("sse4.2");
    if (has_instruction) return ~crc32c_by_instruction(~0u, at, length);
#endif
    return ~crc32c_by_table(~0u, at, length);
}

}  // namespace kproxy
