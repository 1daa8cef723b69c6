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

constexpr EntitySet DIGIT_ENTITIES = bit_of(CREDIT_CARD) | bit_of(US_SSN) | bit_of(IBAN) | bit_of(IPV4);

// A place where an entity may begin; of an e-mail address, where its @ stands.
struct Candidate {
    size_t at;
    int entity;
};

struct Places {
    static constexpr size_t MOST = 64;      // a text with more is searched whole

    EntitySet seen = 0;                     // entities, by bit_of()
    EntitySet near = 0;                     // those of them of which every place is in `list`
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

// Bits of one block of a text after the other, moved to the places of the characters behind.
class Moved {
  public:
    uint64_t by(int places, uint64_t bits) {
        uint64_t moved = bits << places | before_ >> (64 - places);
        before_ = bits;
        return moved;
    }
    void set(uint64_t before) { before_ = before; }

  private:
    uint64_t before_ = 0;
};

// Looks at the digit groups of a text, 64 bytes at a time: bits say where a group ends that may matter, and only there its
// bytes are looked at, with the checks that the finds must pass as well. No entity but an IBAN begins within a word.
class DigitGroups {
  public:
    DigitGroups(std::string_view text, Places* places) : text_(text), places_(places) {}

    // Whether the next 64 bytes say nothing: neither they nor those before have a digit. They need not be given to look().
    bool may_skip(uint64_t digits) {
        bool skips = !digits && !digits_before_;
        skipped_ = skipped_ || skips;
        return skips;
    }

    // Which of the 64 bytes from `at` are digits, letters, underscores, and one of " -.". Goes on for two bytes behind the text.
    void look(size_t at, uint64_t digits, uint64_t letters, uint64_t underscores, uint64_t joints) {
        uint64_t words = digits | letters | underscores;
        if (skipped_) look_back(at);
        digits_before_ = digits;
        uint64_t starts = digits & ~words_.by(1, words);
        // Added to its group, a start comes out behind the group's last digit.
        unsigned long long sum, behind;
        bool over = __builtin_uaddll_overflow(starts, digits, &sum);
        over |= __builtin_uaddll_overflow(sum, carry_, &behind);
        carry_ = over;
        uint64_t ends = behind & ~digits;
        uint64_t two = digits & two_.by(1, digits), four = two & four_.by(2, two), eight = four & eight_.by(4, four);
        uint64_t thirteen = eight & thirteen_.by(5, eight);
        uint64_t nine = eight & nine_.by(1, eight), ten = nine & ten_.by(1, nine);
        uint64_t alone = ends & long_.by(1, thirteen | (nine & ~ten)), joined = ends & joints;
        for (uint64_t left = (digits & joined_.by(1, joined)) | alone_.by(1, alone); left; left &= left - 1)
            add_group(at + static_cast<size_t>(__builtin_ctzll(left)) - 1);
        uint64_t countries = countries_.by(2, letters & letters_.by(1, letters));
        for (uint64_t left = two & countries & ~outer_.by(4, words); left; left &= left - 1)
            add_iban(at + static_cast<size_t>(__builtin_ctzll(left)) - 3);
    }

  private:
    // The bits of the four bytes before `at`, which were skipped; there was no digit among them.
    void look_back(size_t at) {
        uint64_t words = 0, letters = 0;
        for (size_t i = 1; i <= 4 && i <= at && at - i < text_.size(); i++) {
            char c = text_[at - i];
            if (is_word(c)) words |= uint64_t{1} << (64 - i);
            if (is_word(c) && c != '_') letters |= uint64_t{1} << (64 - i);
        }
        words_.set(words);
        outer_.set(words);
        letters_.set(letters);
        countries_.set(letters & letters << 1);
        skipped_ = false;
    }

    // A group that ends at `end`, and is long, or of nine digits, or goes on behind a space, dash or dot.
    void add_group(size_t end) {
        size_t at = end;
        while (at && is_digit(text_[at - 1])) at--;
        bool joined = end + 1 < text_.size() && is_digit(text_[end + 1]);
        bool dotted = joined && text_[end] == '.';
        if (dotted && !(at && text_[at - 1] == '.') && has_four_parts(at)) places_->add(at, IPV4);
        if (dotted && end - at < 13) return;
        if (card_at(text_, at)) places_->add(at, CREDIT_CARD);
        if (end - at == 9 ? is_bare_ssn(at) : joined && end - at == 3 && is_ssn(at)) places_->add(at, US_SSN);
    }

    void add_iban(size_t at) {
        if (iban_length(upper(text_[at]), upper(text_[at + 1]))) places_->add(at, IBAN);
    }

    bool has_four_parts(size_t at) const {
        for (int part = 0; part < 4; part++) {
            if (part && (at >= text_.size() || text_[at++] != '.')) return false;
            size_t from = at;
            while (at < text_.size() && is_digit(text_[at])) at++;
            if (at == from || at - from > 3) return false;
        }
        return true;
    }

    bool is_ssn(size_t at) const {
        if (text_.size() - at < 11) return false;
        const char* p = text_.data() + at;
        for (int i : {4, 5, 7, 8, 9, 10})
            if (!is_digit(p[i])) return false;
        Found hit{at, 11, 0};
        return p[3] == p[6] && (p[3] == '-' || p[3] == ' ') && check_ssn(text_, &hit) == FOUND;
    }

    bool is_bare_ssn(size_t at) const {
        Found hit{at, 9, 0};
        return check_ssn(text_, &hit) == DOUBTED;
    }

    std::string_view text_;
    Places* places_;
    Moved words_, two_, four_, eight_, nine_, ten_, thirteen_, long_, joined_, alone_, letters_, countries_, outer_;
    uint64_t digits_before_ = 0;
    bool carry_ = false, skipped_ = false;
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

// The signs of 64 bytes.
__attribute__((target("avx2"), always_inline)) inline uint64_t both(__m256i low, __m256i high) {
    return static_cast<uint32_t>(_mm256_movemask_epi8(low)) | static_cast<uint64_t>(static_cast<uint32_t>(_mm256_movemask_epi8(high))) << 32;
}

// Which bytes are among the `count` that begin with `first`.
__attribute__((target("avx2"), always_inline)) inline __m256i among(__m256i bytes, char first, char count) {
    __m256i above = _mm256_sub_epi8(bytes, _mm256_set1_epi8(first));
    return _mm256_cmpeq_epi8(_mm256_min_epu8(above, _mm256_set1_epi8(static_cast<char>(count - 1))), above);
}

__attribute__((target("avx2"), always_inline)) inline __m256i joints(__m256i bytes) {
    return _mm256_or_si256(_mm256_or_si256(same(bytes, ' '), same(bytes, '-')), same(bytes, '.'));
}

__attribute__((target("avx2"), always_inline)) inline void look_at_digits(const char* from, size_t at, DigitGroups* groups) {
    __m256i low = load(from), high = load(from + 32);
    uint64_t digits = both(among(low, '0', 10), among(high, '0', 10));
    if (groups->may_skip(digits)) return;
    __m256i space = _mm256_set1_epi8(0x20);
    uint64_t letters = both(among(_mm256_or_si256(low, space), 'a', 26), among(_mm256_or_si256(high, space), 'a', 26));
    groups->look(at, digits, letters, both(same(low, '_'), same(high, '_')), both(joints(low), joints(high)));
}

__attribute__((target("avx2"))) inline void look_by_avx2(std::string_view text, EntitySet wanted, Places* places) {
    constexpr size_t BLOCK = 64, BEHIND = 4;    // of which the look for keys reads as well
    Starts starts{_mm256_setzero_si256(), _mm256_setzero_si256()};
    DigitGroups groups(text, places);
    size_t size = text.size();
    char tail[BLOCK + BEHIND];
    for (size_t at = 0; at < size + 2; at += BLOCK) {
        size_t left = at < size ? size - at : 0;
        const char* from = tail;
        if (left >= sizeof tail) {
            from = text.data() + at;
        } else {    // The last bytes are read from a copy, so that nothing beyond the text is.
            std::memset(tail, 0, sizeof tail);
            if (left) std::memcpy(tail, text.data() + at, left);
        }
        if (wanted & (bit_of(PRIVATE_KEY) | bit_of(API_KEY))) {
            note_starts(from, &starts);
            note_starts(from + 32, &starts);
        }
        uint64_t signs = both(same(load(from), '@'), same(load(from + 32), '@'));
        for (; signs; signs &= signs - 1) places->add(at + static_cast<size_t>(__builtin_ctzll(signs)), EMAIL);
        if (wanted & DIGIT_ENTITIES) look_at_digits(from, at, &groups);
    }
    if (places->list.size() <= Places::MOST) places->near = DIGIT_ENTITIES | bit_of(EMAIL);
    if (_mm256_movemask_epi8(starts.dashes)) places->seen |= bit_of(PRIVATE_KEY);
    if (_mm256_movemask_epi8(starts.keys)) places->seen |= bit_of(API_KEY);
}

#endif

// Whether colons stand as in an IPv6 address: two together, or seven each between hexadecimal digits.
inline bool may_hold_ipv6(std::string_view text) {
    int between = 0;
    for (size_t at = text.find(':'); at != std::string_view::npos; at = text.find(':', at + 1)) {
        char behind = at + 1 < text.size() ? text[at + 1] : '\0';
        if (behind == ':' || (is_hex(behind) && at && is_hex(text[at - 1]) && ++between == 7)) return true;
    }
    return false;
}

// Whether three colons or dashes stand three bytes apart, as in a MAC address.
inline bool may_hold_mac(std::string_view text) {
    for (char separator : {':', '-'})
        for (size_t at = text.find(separator); at != std::string_view::npos; at = text.find(separator, at + 1))
            if (at + 6 < text.size() && text[at + 3] == separator && text[at + 6] == separator) return true;
    return false;
}

// Which of `wanted` the text may hold, and where.
inline void look_for(std::string_view text, EntitySet wanted, Places* places) {
    places->clear();
#if defined(__x86_64__)
    static const bool has_avx2 = __builtin_cpu_supports("avx2");
    if (has_avx2) {
        constexpr EntitySet at_once = DIGIT_ENTITIES | bit_of(EMAIL) | bit_of(PRIVATE_KEY) | bit_of(API_KEY);
        if (wanted & at_once) look_by_avx2(text, wanted, places);
        if (wanted & bit_of(IPV6) && may_hold_ipv6(text)) places->seen |= bit_of(IPV6);
        if (wanted & bit_of(MAC_ADDRESS) && may_hold_mac(text)) places->seen |= bit_of(MAC_ADDRESS);
        places->seen &= wanted;
        return;
    }
#endif
    places->seen = wanted;
}

}  // namespace kproxy
