// The words of a text that have a digit, by their bytes: where numbers of people and things begin. Text without digits is
// passed over 64 bytes at a time.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "entities.hpp"

namespace kproxy {

struct Bits {
    uint64_t digits, words;
};

inline Bits bits_of_bytes(const char* from) {
    Bits bits{0, 0};
    for (int i = 0; i < 64; i++) {
        bits.digits |= static_cast<uint64_t>(is_digit(from[i])) << i;
        bits.words |= static_cast<uint64_t>(is_word(from[i])) << i;
    }
    return bits;
}

#if defined(__x86_64__)

__attribute__((target("avx2"), always_inline)) inline __m256i in_range(__m256i bytes, char first, char count) {
    __m256i above = _mm256_sub_epi8(bytes, _mm256_set1_epi8(first));
    return _mm256_cmpeq_epi8(_mm256_min_epu8(above, _mm256_set1_epi8(static_cast<char>(count - 1))), above);
}

__attribute__((target("avx2"))) inline Bits bits_by_avx2(const char* from) {
    Bits bits{0, 0};
    for (int half = 0; half < 2; half++) {
        __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 32 * half));
        __m256i digits = in_range(bytes, '0', 10);
        __m256i letters = in_range(_mm256_or_si256(bytes, _mm256_set1_epi8(0x20)), 'a', 26);
        __m256i words = _mm256_or_si256(_mm256_or_si256(digits, letters), _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('_')));
        bits.digits |= static_cast<uint64_t>(static_cast<uint32_t>(_mm256_movemask_epi8(digits))) << (32 * half);
        bits.words |= static_cast<uint64_t>(static_cast<uint32_t>(_mm256_movemask_epi8(words))) << (32 * half);
    }
    return bits;
}

#endif

inline Bits bits_of(const char* from) {
#if defined(__x86_64__)
    static const bool has_avx2 = __builtin_cpu_supports("avx2");
    if (has_avx2) return bits_by_avx2(from);
#endif
    return bits_of_bytes(from);
}

// Calls `on_word(start, end)` for every word of `text` that has a digit, in their order.
template <typename OnWord>
void each_word(std::string_view text, OnWord on_word) {
    constexpr size_t BLOCK = 64;
    char tail[BLOCK];
    size_t start = 0;               // of the word that the block before ended in
    bool open = false, numeric = false;
    for (size_t at = 0; at < text.size(); at += BLOCK) {
        const char* from = text.data() + at;
        if (text.size() - at < BLOCK) {
            std::memset(tail, 0, BLOCK);
            std::memcpy(tail, from, text.size() - at);
            from = tail;
        }
        Bits bits = bits_of(from);
        if (!bits.digits && !(open && numeric)) {
            int behind = ~bits.words ? __builtin_clzll(~bits.words) : 64;   // bytes of a word at the block's end
            if (behind < 64 || !open) start = at + BLOCK - static_cast<size_t>(behind);
            open = behind > 0;
            numeric = false;
            continue;
        }
        uint64_t left = bits.digits;
        if (open) {
            int length = ~bits.words ? __builtin_ctzll(~bits.words) : 64;
            uint64_t own = length == 64 ? ~uint64_t{0} : (uint64_t{1} << length) - 1;
            numeric = numeric || (left & own);
            if (length == 64) continue;
            if (numeric) on_word(start, at + static_cast<size_t>(length));
            left &= ~own;
        }
        open = bits.words >> 63;
        numeric = false;
        if (open) start = at + BLOCK - static_cast<size_t>(~bits.words ? __builtin_clzll(~bits.words) : 64);
        while (left) {
            int in = __builtin_ctzll(left);
            uint64_t before = ~bits.words & ((uint64_t{1} << in) - 1);
            int first = before ? 64 - __builtin_clzll(before) : 0;
            uint64_t beyond = ~bits.words & ~((uint64_t{1} << in) - 1);
            if (!beyond) {
                numeric = true;
                break;
            }
            int end = __builtin_ctzll(beyond);
            on_word(at + static_cast<size_t>(first), at + static_cast<size_t>(end));
            left &= ~((uint64_t{1} << end) - 1);
        }
    }
    if (open && numeric) on_word(start, text.size());
}

// Which entities may begin at a word, by its length and by what it is made of.
class WordStarts {
  public:
    void add(int entity, const WordStart* starts, size_t count) {
        for (size_t i = 0; i < count; i++)
            for (int kind : {DIGITS, MIXED})
                for (int joined = 0; joined < 2 && starts[i].kind & kind; joined++)
                    for (int length = 0; length < 64 && (joined || !(starts[i].kind & JOINED)); length++)
                        if (starts[i].lengths >> length & 1) begin_[kind == MIXED][joined][length] |= bit_of(entity);
        for (size_t i = 0; i < count; i++) lengths_ |= starts[i].lengths;
        wanted_ |= bit_of(entity);
    }
    EntitySet wanted() const { return wanted_; }

    // Of the word from `start` to `end`; `kind` says afterwards what it is.
    EntitySet at(std::string_view text, size_t start, size_t end, uint8_t* kind) const {
        size_t length = std::min<size_t>(end - start, 63);
        if (!(lengths_ >> length & 1)) return 0;
        bool joined = end + 1 < text.size() && is_among(text[end], " -./+(") && is_word(text[end + 1]);
        bool mixed = false;
        for (size_t i = start; i < end && !mixed; i++) mixed = !is_digit(text[i]);
        *kind = static_cast<uint8_t>((mixed ? MIXED : DIGITS) | (joined ? JOINED : 0));
        return begin_[mixed][joined][length];
    }

    static bool fits(const WordStart& start, uint8_t kind, size_t length) {
        return (start.kind & kind & ANY) && (!(start.kind & JOINED) || (kind & JOINED)) && (start.lengths >> std::min<size_t>(length, 63) & 1);
    }

  private:
    EntitySet begin_[2][2][64] = {};
    uint64_t lengths_ = 0;          // of words at which anything may begin
    EntitySet wanted_ = 0;
};

}  // namespace kproxy
