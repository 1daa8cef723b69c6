// Which entities a text may hold, by its bytes alone: a look that costs a fraction of an automaton's pass and that clean
// records (timestamps, UUIDs, long ids) do not get past. It may say yes for nothing; it never says no wrongly.
// bench/micro/records.py shows what it buys; tests/unit/test_detectors.py holds it against the patterns.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <cstdint>
#include <cstring>
#include <string_view>

#include "entities.hpp"

namespace kproxy {

constexpr unsigned bit_of(int entity) { return 1u << entity; }
constexpr unsigned EVERY_ENTITY = (1u << ENTITIES) - 1;
constexpr unsigned DIGIT_ENTITIES = bit_of(CREDIT_CARD) | bit_of(US_SSN) | bit_of(IBAN) | bit_of(IPV4);

// Looks at the digit groups of a text, one after the other, with the checks that the finds must pass as well.
class DigitGroups {
  public:
    explicit DigitGroups(std::string_view text) : text_(text) {}

    void add(size_t at, size_t end) {
        size_t length = end - at;
        bool goes_on = end + 1 < text_.size() && (text_[end] == ' ' || text_[end] == '-') && is_digit(text_[end + 1]);
        if ((length >= 13 || goes_on) && card_at(text_, at)) seen |= bit_of(CREDIT_CARD);
        if (length == 4 && at >= 7 && is_ssn(at - 7)) seen |= bit_of(US_SSN);
        dotted_ = dotted_ && at == last_end_ + 1 && text_[last_end_] == '.' ? dotted_ + 1 : 1;
        if (dotted_ >= 4) seen |= bit_of(IPV4);
        if (length >= 2 && at >= 2 && is_letter(text_[at - 1]) && is_letter(text_[at - 2]) &&
            (at == 2 || !is_word(text_[at - 3])) && iban_length(upper(text_[at - 2]), upper(text_[at - 1])))
            seen |= bit_of(IBAN);
        last_end_ = end;
    }

    unsigned seen = 0;

  private:
    static bool is_letter(char c) { return static_cast<unsigned char>((c | 0x20) - 'a') < 26; }

    bool is_ssn(size_t at) const {
        const char* p = text_.data() + at;
        return is_digit(p[0]) && is_digit(p[1]) && is_digit(p[2]) && (p[3] == '-' || p[3] == ' ') && is_digit(p[4]) &&
               is_digit(p[5]) && p[6] == p[3] && check_ssn(text_, Found{at, 11, 0});
    }

    std::string_view text_;
    size_t last_end_ = 0;
    int dotted_ = 0;
};

#if defined(__x86_64__)

// Flags that any of 32 places begins like an entity, collected over a whole text and read once at its end.
struct Starts {
    __m256i at_sign, dashes, keys;
};

__attribute__((target("avx2"), always_inline)) inline __m256i load(const char* from) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}

__attribute__((target("avx2"), always_inline)) inline __m256i same(__m256i bytes, char c) {
    return _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(c));
}

// Reads 36 bytes. The pairs are those of entity_pattern(API_KEY), by two or three bytes of each prefix.
__attribute__((target("avx2"), always_inline)) inline void note_starts(const char* at, Starts* starts) {
    __m256i a = load(at), b = load(at + 1), c = load(at + 2), d = load(at + 3);
    starts->at_sign = _mm256_or_si256(starts->at_sign, same(a, '@'));
    __m256i dash = same(a, '-');
    starts->dashes = _mm256_or_si256(starts->dashes, _mm256_and_si256(_mm256_and_si256(dash, same(b, '-')), same(c, '-')));
    __m256i keys = _mm256_and_si256(same(a, 'A'), _mm256_or_si256(_mm256_and_si256(same(c, 'I'), same(d, 'A')),
                                                                   _mm256_and_si256(same(b, 'I'), same(c, 'z'))));
    __m256i is_g = same(a, 'g');
    keys = _mm256_or_si256(keys, _mm256_and_si256(is_g, _mm256_and_si256(same(b, 'h'), same(d, '_'))));
    keys = _mm256_or_si256(keys, _mm256_and_si256(is_g, _mm256_and_si256(same(b, 'i'), same(d, 'h'))));
    keys = _mm256_or_si256(keys, _mm256_and_si256(is_g, _mm256_and_si256(same(b, 'l'), same(c, 'p'))));
    keys = _mm256_or_si256(keys, _mm256_and_si256(same(a, 'x'), _mm256_and_si256(same(b, 'o'), same(c, 'x'))));
    keys = _mm256_or_si256(keys, _mm256_and_si256(_mm256_and_si256(same(a, 's'), same(b, 'k')),
                                                  _mm256_or_si256(same(c, '-'), same(c, '_'))));
    keys = _mm256_or_si256(keys, _mm256_and_si256(same(a, 'n'), _mm256_and_si256(same(b, 'p'), same(d, '_'))));
    keys = _mm256_or_si256(keys, _mm256_and_si256(same(a, 'p'), _mm256_and_si256(same(b, 'y'), same(c, 'p'))));
    keys = _mm256_or_si256(keys, _mm256_and_si256(same(a, 'S'), _mm256_and_si256(same(b, 'G'), same(c, '.'))));
    // "…key=" and "…token:", in either case.
    __m256i small = _mm256_or_si256(a, _mm256_set1_epi8(0x20));
    __m256i ending = _mm256_or_si256(same(small, 'y'), same(small, 'n'));
    keys = _mm256_or_si256(keys, _mm256_and_si256(ending, _mm256_or_si256(same(b, '='), same(b, ':'))));
    starts->keys = _mm256_or_si256(starts->keys, keys);
}

__attribute__((target("avx2"), always_inline)) inline uint32_t digit_bits(const char* at) {
    __m256i bytes = load(at);
    __m256i from_zero = _mm256_sub_epi8(bytes, _mm256_set1_epi8('0'));
    __m256i digits = _mm256_cmpeq_epi8(_mm256_min_epu8(from_zero, _mm256_set1_epi8(9)), from_zero);
    return static_cast<uint32_t>(_mm256_movemask_epi8(digits));
}

__attribute__((target("avx2"))) inline unsigned may_hold_by_avx2(std::string_view text, bool starts_wanted, bool digits_wanted) {
    Starts starts{_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
    DigitGroups groups(text);
    size_t size = text.size(), group_at = 0;
    bool in_group = false;
    char tail[72];
    for (size_t at = 0; at < size; at += 32) {
        const char* from = text.data() + at;
        if (size - at < 36) {   // The last bytes are read from a copy, so that nothing beyond the text is.
            std::memset(tail, 0, sizeof tail);
            std::memcpy(tail, from, size - at);
            from = tail;
        }
        if (starts_wanted) note_starts(from, &starts);
        if (!digits_wanted) continue;
        uint32_t bits = digit_bits(from);
        uint32_t turns = bits ^ (bits << 1 | (in_group ? 1u : 0u));     // where a group begins or ends
        while (turns) {
            size_t turn = at + static_cast<size_t>(__builtin_ctz(turns));
            turns &= turns - 1;
            if (in_group) groups.add(group_at, turn);
            else group_at = turn;
            in_group = !in_group;
        }
    }
    if (in_group) groups.add(group_at, size);
    unsigned seen = groups.seen;
    if (_mm256_movemask_epi8(starts.at_sign)) seen |= bit_of(EMAIL);
    if (_mm256_movemask_epi8(starts.dashes)) seen |= bit_of(PRIVATE_KEY);
    if (_mm256_movemask_epi8(starts.keys)) seen |= bit_of(API_KEY);
    return seen;
}

#endif

// The entities of `wanted` that `text` may hold.
inline unsigned may_hold(std::string_view text, unsigned wanted) {
#if defined(__x86_64__)
    static const bool has_avx2 = __builtin_cpu_supports("avx2");
    if (has_avx2) return wanted & may_hold_by_avx2(text, wanted & ~DIGIT_ENTITIES, wanted & DIGIT_ENTITIES);
#endif
    return wanted;
}

}  // namespace kproxy
