// Small looks at JSON text that a parser has already cut into tokens, and strings written as JSON.
#pragma once

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "buffer.hpp"

namespace kproxy {

inline std::string_view trim_right(std::string_view token) {
    while (!token.empty() && (token.back() == ' ' || token.back() == '\t' || token.back() == '\r' || token.back() == '\n'))
        token.remove_suffix(1);
    return token;
}

// RFC 8259 section 6. Magnitude does not matter: a number is never computed with.
inline bool is_json_number(std::string_view token) {
    const char* at = token.data();
    const char* end = at + token.size();
    auto digits = [&] {
        const char* from = at;
        while (at != end && *at >= '0' && *at <= '9') at++;
        return at != from;
    };
    if (at != end && *at == '-') at++;
    if (at != end && *at == '0') at++;
    else if (!digits()) return false;
    if (at != end && *at == '.') {
        at++;
        if (!digits()) return false;
    }
    if (at != end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at != end && (*at == '+' || *at == '-')) at++;
        if (!digits()) return false;
    }
    return at == end;
}

inline bool is_json_scalar(std::string_view token) {
    if (token == "true" || token == "false" || token == "null") return true;
    return is_json_number(token);
}

// Whether a number without sign or exponent, of at most 31 characters, or a literal is all that stands from `at` to `end`; 32
// bytes may be read. False: look closer.
[[gnu::always_inline]] inline bool is_plain_scalar(const char* at, const char* end) {
#if defined(__SSE2__)
    auto others_at = [](const char* from) {
        __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
        __m128i above = _mm_sub_epi8(bytes, _mm_set1_epi8('0'));
        __m128i digits = _mm_cmpeq_epi8(_mm_min_epu8(above, _mm_set1_epi8(9)), above);
        return static_cast<uint32_t>(_mm_movemask_epi8(digits)) ^ 0xFFFF;
    };
    if (static_cast<unsigned char>(*at - '0') <= 9) {
        uint32_t others = others_at(at) | 1u << 31;
        if (end - at > 15) others |= others_at(at + 16) << 16;
        else others |= 0xFFFF0000;
        int whole = __builtin_ctz(others);
        if (*at == '0' && whole > 1) return false;
        if (at + whole == end) return true;
        if (whole == 31 || at[whole] != '.') return false;
        int part = __builtin_ctz(others >> (whole + 1));
        return part && at + whole + 1 + part == end;
    }
#endif
    uint32_t word, next;
    std::memcpy(&word, at, 4);
    std::memcpy(&next, at + 1, 4);
    auto is = [](uint32_t found, const char* text) { return std::memcmp(&found, text, 4) == 0; };
    if (end - at == 4) return is(word, "null") || is(word, "true");
    return end - at == 5 && is(word, "fals") && is(next, "alse");
}

// RFC 8259 section 7.
inline void append_escaped(std::string_view plain, Buffer* out) {
    size_t done = 0;
    for (size_t at = 0; at < plain.size(); at++) {
        unsigned char byte = static_cast<unsigned char>(plain[at]);
        if (byte >= 0x20 && byte != '"' && byte != '\\') continue;
        out->append(plain.data() + done, at - done);
        done = at + 1;
        if (byte < 0x20) {
            out->append("\\u00");
            out->push("0123456789abcdef"[byte >> 4]);
            out->push("0123456789abcdef"[byte & 15]);
        } else {
            out->push('\\');
            out->push(static_cast<char>(byte));
        }
    }
    out->append(plain.data() + done, plain.size() - done);
}

inline void append_quoted(std::string_view plain, Buffer* out) {
    out->push('"');
    append_escaped(plain, out);
    out->push('"');
}

}  // namespace kproxy
