// Small looks at JSON text that a parser has already cut into tokens, and strings written as JSON.
#pragma once

#include <cstddef>
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

// One past the closing quote of the string that begins at `at`.
inline size_t string_end(const char* text, size_t size, size_t at) {
    for (at++; at < size && text[at] != '"'; at++)
        if (text[at] == '\\') at++;
    return at < size ? at + 1 : size;
}

// One past the end of the object or array that begins at `at`; it was parsed, so brackets balance and strings end.
inline size_t container_end(const char* text, size_t size, size_t at) {
    size_t open = 0;
    while (at < size) {
        char c = text[at];
        if (c == '"') {
            at = string_end(text, size, at);
            continue;
        }
        at++;
        if (c == '{' || c == '[') open++;
        else if ((c == '}' || c == ']') && --open == 0) return at;
    }
    return size;
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
