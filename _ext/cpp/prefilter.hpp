// Which entities a text may hold and where, by its bytes alone: a look that costs a fraction of an automaton's pass and that
// clean records (timestamps, UUIDs, long ids) do not get past. It may name a place for nothing; it never leaves one out.
// bench/micro/records.py shows what it buys; tests/unit/test_detectors.py holds it against the patterns.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "entities.hpp"

namespace kproxy {

constexpr unsigned bit_of(int entity) { return 1u << entity; }
constexpr unsigned EVERY_ENTITY = (1u << ENTITIES) - 1;
constexpr unsigned DIGIT_ENTITIES = bit_of(CREDIT_CARD) | bit_of(US_SSN) | bit_of(IBAN) | bit_of(IPV4);

// A place where an entity may begin; of an e-mail address, where its @ stands.
struct Candidate {
    size_t at;
    int entity;
};

struct Places {
    static constexpr size_t MOST = 64;      // a text with more is searched whole

    unsigned seen = 0;                      // entities, by bit_of()
    unsigned near = 0;                      // those of them of which every place is in `list`
    std::vector<Candidate> list;

    void clear() {
        seen = near = 0;
        list.clear();
    }
    void add(size_t at, int entity) {
        seen |= bit_of(entity);
        if (list.size() <= MOST) list.push_back({at, entity});
    }
};

// Looks at the digit groups of a text, one after the other, with the checks that the finds must pass as well.
class DigitGroups {
  public:
    DigitGroups(std::string_view text, Places* places) : text_(text), places_(places) {}

    void add(size_t at, size_t end) {
        size_t length = end - at;
        bool goes_on = end + 1 < text_.size() && (text_[end] == ' ' || text_[end] == '-') && is_digit(text_[end + 1]);
        if ((length >= 13 || goes_on) && card_at(text_, at)) places_->add(at, CREDIT_CARD);
        if (length == 4 && at >= 7 && is_ssn(at - 7)) places_->add(at - 7, US_SSN);
        dotted_ = dotted_ && at == last_end_ + 1 && text_[last_end_] == '.' ? dotted_ + 1 : 1;
        starts_[dotted_ & 3] = at;
        if (dotted_ >= 4) places_->add(starts_[(dotted_ + 1) & 3], IPV4);
        if (length >= 2 && at >= 2 && is_letter(text_[at - 1]) && is_letter(text_[at - 2]) &&
            (at == 2 || !is_word(text_[at - 3])) && iban_length(upper(text_[at - 2]), upper(text_[at - 1])))
            places_->add(at - 2, IBAN);
        last_end_ = end;
    }

  private:
    static bool is_letter(char c) { return static_cast<unsigned char>((c | 0x20) - 'a') < 26; }

    bool is_ssn(size_t at) const {
        const char* p = text_.data() + at;
        return is_digit(p[0]) && is_digit(p[1]) && is_digit(p[2]) && (p[3] == '-' || p[3] == ' ') && is_digit(p[4]) &&
               is_digit(p[5]) && p[6] == p[3] && check_ssn(text_, Found{at, 11, 0});
    }

    std::string_view text_;
    Places* places_;
    size_t last_end_ = 0;
    size_t starts_[4] = {};             // of the last four groups with dots between
    unsigned dotted_ = 0;
};

#if defined(__x86_64__)

// Flags that any of 32 places begins like an entity, collected over a whole text and read once at its end.
struct Starts {
    __m256i dashes, keys;
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

__attribute__((target("avx2"))) inline void look_by_avx2(std::string_view text, unsigned wanted, Places* places) {
    Starts starts{_mm256_setzero_si256(), _mm256_setzero_si256()};
    DigitGroups groups(text, places);
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
        if (wanted & (bit_of(PRIVATE_KEY) | bit_of(API_KEY))) note_starts(from, &starts);
        uint32_t signs = static_cast<uint32_t>(_mm256_movemask_epi8(same(load(from), '@')));
        for (; signs; signs &= signs - 1) places->add(at + static_cast<size_t>(__builtin_ctz(signs)), EMAIL);
        if (!(wanted & DIGIT_ENTITIES)) continue;
        uint32_t bits = digit_bits(from);
        uint32_t turns = bits ^ (bits << 1 | (in_group ? 1u : 0u));     // where a group begins or ends
        for (; turns; turns &= turns - 1) {
            size_t turn = at + static_cast<size_t>(__builtin_ctz(turns));
            if (in_group) groups.add(group_at, turn);
            else group_at = turn;
            in_group = !in_group;
        }
    }
    if (in_group) groups.add(group_at, size);
    if (places->list.size() <= Places::MOST) places->near = DIGIT_ENTITIES | bit_of(EMAIL);
    if (_mm256_movemask_epi8(starts.dashes)) places->seen |= bit_of(PRIVATE_KEY);
    if (_mm256_movemask_epi8(starts.keys)) places->seen |= bit_of(API_KEY);
}

#endif

// Which of `wanted` the text may hold, and where.
inline void look_for(std::string_view text, unsigned wanted, Places* places) {
    places->clear();
#if defined(__x86_64__)
    static const bool has_avx2 = __builtin_cpu_supports("avx2");
    if (has_avx2) {
        look_by_avx2(text, wanted, places);
        places->seen &= wanted;
        return;
    }
#endif
    places->seen = wanted;
}

}  // namespace kproxy
