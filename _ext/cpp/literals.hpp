// Which of many short literals a text holds, in any case: by the nibbles of their first three bytes, 32 places at a time, as
// Hyperscan's Teddy does (Wang and others, NSDI 2019), then compared.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "entities.hpp"

namespace kproxy {

class Literals {
  public:
    static constexpr size_t LEAST = 3;      // bytes of a literal

    // `literal` in small letters.
    void add(std::string_view literal, EntitySet tells_of) {
        all_ |= tells_of;
        for (Literal& known : buckets_[literal[0] & 7])
            if (known.text == literal) {
                known.tells_of |= tells_of;
                return;
            }
        unsigned char bucket = static_cast<unsigned char>(1 << (literal[0] & 7));
        buckets_[literal[0] & 7].push_back({std::string(literal), tells_of});
        for (size_t i = 0; i < LEAST; i++)
            for (char c : {literal[i], upper(literal[i])}) {
                low_[i][c & 15] |= bucket;
                high_[i][static_cast<unsigned char>(c) >> 4] |= bucket;
            }
    }

    // With | between them.
    void add_all(std::string_view literals, EntitySet tells_of) {
        for (size_t at = 0; at < literals.size();) {
            size_t end = std::min(literals.find('|', at), literals.size());
            add(literals.substr(at, end - at), tells_of);
            at = end + 1;
        }
    }

    bool empty() const { return !all_; }
    EntitySet all() const { return all_; }

    // What the literals in `text` tell of.
    EntitySet seen_in(std::string_view text) const {
#if defined(__x86_64__)
        static const bool has_avx2 = __builtin_cpu_supports("avx2");
        if (has_avx2) return seen_by_avx2(text);
#endif
        return all_;
    }

  private:
    struct Literal {
        std::string text;
        EntitySet tells_of;
    };

    EntitySet compared(std::string_view text, size_t at, EntitySet seen) const {
        for (const Literal& literal : buckets_[lower(text[at]) & 7]) {
            if (!(literal.tells_of & ~seen) || text.size() - at < literal.text.size()) continue;
            size_t same = 0;
            while (same < literal.text.size() && lower(text[at + same]) == literal.text[same]) same++;
            if (same == literal.text.size()) seen |= literal.tells_of;
        }
        return seen;
    }

#if defined(__x86_64__)
    __attribute__((target("avx2"), always_inline)) static __m256i table(const unsigned char* from) {
        return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    }

    __attribute__((target("avx2"))) EntitySet seen_by_avx2(std::string_view text) const {
        constexpr size_t BLOCK = 32;
        const __m256i nibble = _mm256_set1_epi8(15);
        __m256i low[LEAST], high[LEAST];
        for (size_t i = 0; i < LEAST; i++) low[i] = table(low_[i]), high[i] = table(high_[i]);
        EntitySet seen = 0;
        char tail[BLOCK + LEAST];
        for (size_t at = 0; at + LEAST <= text.size() && seen != all_; at += BLOCK) {
            const char* from = text.data() + at;
            if (text.size() - at < sizeof tail) {       // read from a copy, so that nothing beyond the text is
                std::memset(tail, 0, sizeof tail);
                std::memcpy(tail, from, text.size() - at);
                from = tail;
            }
            __m256i may = _mm256_set1_epi8(static_cast<char>(0xff));
            for (size_t i = 0; i < LEAST; i++) {
                __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i));
                __m256i above = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), nibble);
                may = _mm256_and_si256(may, _mm256_and_si256(_mm256_shuffle_epi8(low[i], _mm256_and_si256(bytes, nibble)),
                                                             _mm256_shuffle_epi8(high[i], above)));
            }
            uint32_t left = ~static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(may, _mm256_setzero_si256())));
            for (; left; left &= left - 1) {
                size_t place = at + static_cast<size_t>(__builtin_ctz(left));
                if (place < text.size()) seen = compared(text, place, seen);
            }
        }
        return seen;
    }
#endif

    std::vector<Literal> buckets_[8];
    unsigned char low_[LEAST][16] = {}, high_[LEAST][16] = {};
    EntitySet all_ = 0;
};

}  // namespace kproxy
