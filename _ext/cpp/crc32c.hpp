// CRC-32C (Castagnoli), as record batches of magic 2 carry it. Long texts are folded 256 bytes at a time where the processor
// multiplies polynomials that wide, else there is the SSE 4.2 instruction, else a table; the choice is made once.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#endif

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

// x^power modulo the polynomial, bits reflected, as a factor for _mm_clmulepi64_si128.
constexpr int64_t crc32c_factor(int power) {
    uint32_t value = 0x80000000u;
    while (power--) value = value & 1 ? (value >> 1) ^ 0x82F63B78u : value >> 1;
    return static_cast<int64_t>(value) << 1;
}

constexpr size_t CRC_FOLDS_FROM = 256;

// Four products of 128 bits each: what `over` stands for, carried onto the bits behind it.
__attribute__((target("avx512f,vpclmulqdq"), always_inline)) inline __m512i crc32c_carry(__m512i over, __m512i factors,
                                                                                          __m512i onto) {
    return _mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(over, factors, 0x00),
                                     _mm512_clmulepi64_epi128(over, factors, 0x11), onto, 0x96);
}

// "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction" (Intel, 2009), four times as wide: what was read
// is carried over the bits that come next. `length` is at least CRC_FOLDS_FROM.
__attribute__((target("avx512f,avx512vl,vpclmulqdq,pclmul,sse4.2"))) inline uint32_t crc32c_by_folding(
    uint32_t crc, const unsigned char* at, size_t length) {
    constexpr int64_t far_low = crc32c_factor(2048 + 32), far_high = crc32c_factor(2048 - 32);
    constexpr int64_t near_low = crc32c_factor(512 + 32), near_high = crc32c_factor(512 - 32);
    constexpr int64_t lane_low = crc32c_factor(128 + 32), lane_high = crc32c_factor(128 - 32);
    const __m512i far = _mm512_set4_epi64(far_high, far_low, far_high, far_low);
    const __m512i near = _mm512_set4_epi64(near_high, near_low, near_high, near_low);
    __m512i sums[4];
    for (int i = 0; i < 4; i++) sums[i] = _mm512_loadu_si512(at + 64 * i);
    sums[0] = _mm512_xor_si512(sums[0], _mm512_zextsi128_si512(_mm_cvtsi32_si128(static_cast<int>(crc))));
    for (at += 256, length -= 256; length >= 256; at += 256, length -= 256)
        for (int i = 0; i < 4; i++) sums[i] = crc32c_carry(sums[i], far, _mm512_loadu_si512(at + 64 * i));
    __m512i sum = crc32c_carry(crc32c_carry(crc32c_carry(sums[0], near, sums[1]), near, sums[2]), near, sums[3]);
    for (; length >= 64; at += 64, length -= 64) sum = crc32c_carry(sum, near, _mm512_loadu_si512(at));
    const __m128i lane = _mm_set_epi64x(lane_high, lane_low);
    __m128i lanes[4];
    _mm512_storeu_si512(lanes, sum);
    for (int i = 0; i < 3; i++)
        lanes[i + 1] = _mm_xor_si128(lanes[i + 1], _mm_xor_si128(_mm_clmulepi64_si128(lanes[i], lane, 0x00),
                                                                 _mm_clmulepi64_si128(lanes[i], lane, 0x11)));
    uint64_t wide = __builtin_ia32_crc32di(0, static_cast<uint64_t>(_mm_extract_epi64(lanes[3], 0)));
    wide = __builtin_ia32_crc32di(wide, static_cast<uint64_t>(_mm_extract_epi64(lanes[3], 1)));
    return crc32c_by_instruction(static_cast<uint32_t>(wide), at, length);
}
#endif

inline uint32_t crc32c(const unsigned char* at, size_t length) {
#if defined(__x86_64__)
    static const bool has_instruction = __builtin_cpu_supports("sse4.2");
    static const bool folds = has_instruction && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                              __builtin_cpu_supports("vpclmulqdq") && __builtin_cpu_supports("pclmul");
    if (folds && length >= CRC_FOLDS_FROM) return ~crc32c_by_folding(~0u, at, length);
    if (has_instruction) return ~crc32c_by_instruction(~0u, at, length);
#endif
    return ~crc32c_by_table(~0u, at, length);
}

}  // namespace kproxy
