// What a detector finds, and what all of its checks are made of: classes of bytes, digits, dates, what stands around a find.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string_view>

namespace kproxy {

struct Found {
    size_t at;
    size_t length;
    int which;                  // the detector, as an index into the list given
};

// What a check says of a candidate. A doubted one counts where a word that says what it is stands beside it.
enum Judged : int { UNFIT, DOUBTED, FOUND };

inline Judged found_if(bool fits) { return fits ? FOUND : UNFIT; }
inline Judged doubted_if(bool fits) { return fits ? DOUBTED : UNFIT; }

inline bool is_digit(char c) { return c >= '0' && c <= '9'; }
inline bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
inline bool is_letter(char c) { return (c >= 'a' && c <= 'z') || is_upper(c); }
inline bool is_word(char c) { return is_digit(c) || is_letter(c) || c == '_'; }
inline bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
inline char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; }
inline char lower(char c) { return is_upper(c) ? static_cast<char>(c + 32) : c; }
inline bool is_among(char c, const char* set) { return c && std::strchr(set, c) != nullptr; }

inline char byte_before(std::string_view text, const Found& hit) { return hit.at ? text[hit.at - 1] : '\0'; }
inline char byte_behind(std::string_view text, const Found& hit) {
    return hit.at + hit.length < text.size() ? text[hit.at + hit.length] : '\0';
}

inline bool stands_alone(std::string_view text, size_t at, size_t length) {
    return (at == 0 || !is_word(text[at - 1])) && (at + length >= text.size() || !is_word(text[at + length]));
}

// As stands_alone(), and no piece of a longer number: of a decimal, of a phone number, of groups joined by dashes.
inline bool stands_apart(std::string_view text, const Found& hit) {
    if (!stands_alone(text, hit.at, hit.length)) return false;
    size_t end = hit.at + hit.length;
    bool goes_on = end + 1 < text.size() && is_among(text[end], "-./") && is_digit(text[end + 1]);
    char before = byte_before(text, hit);
    bool continues = hit.at > 1 && is_among(before, "-./") && is_digit(text[hit.at - 2]);
    return !goes_on && !continues && before != '+';
}

// The digits (and letters, as 10 to 35) of a find without what separates them.
struct Symbols {
    static constexpr int MOST = 40;
    int count = 0;
    int letters = 0;
    int separators = 0;
    int value[MOST] = {};

    Symbols(std::string_view text, const Found& hit) {
        for (size_t i = hit.at; i < hit.at + hit.length && count < MOST; i++) {
            char c = upper(text[i]);
            if (is_digit(c)) value[count++] = c - '0';
            else if (is_upper(c)) value[count++] = c - 'A' + 10, letters++;
            else separators++;
        }
    }
    int operator[](int i) const { return value[i]; }
    char letter(int i) const { return static_cast<char>(value[i] < 10 ? '0' + value[i] : 'A' + value[i] - 10); }
    int number(int from, int digits) const {
        int made = 0;
        for (int i = from; i < from + digits; i++) made = made * 10 + value[i];
        return made;
    }
    int64_t long_number(int from, int digits) const {
        int64_t made = 0;
        for (int i = from; i < from + digits; i++) made = made * 10 + value[i];
        return made;
    }
    int weighed(std::initializer_list<int> weights, int from = 0) const {
        int sum = 0;
        for (int weight : weights) sum += weight * value[from++];
        return sum;
    }
    // In groups throughout, with `all` separators between them, or in none.
    bool even(int all) const { return separators == 0 || separators == all; }
    bool all_same() const {
        for (int i = 1; i < count; i++)
            if (value[i] != value[0]) return false;
        return true;
    }
};

// A bare number needs a word beside it, one in its own separators does not.
inline Judged if_bare_doubted(const Symbols& seen, bool fits) {
    return fits ? (seen.separators ? FOUND : DOUBTED) : UNFIT;
}

// ISO/IEC 7812-1 annex B.
inline int luhn_sum(const int* digits, int count) {
    int sum = 0;
    for (int i = 0; i < count; i++) {
        int value = digits[count - 1 - i];
        if (i % 2 == 1) value = value * 2 > 9 ? value * 2 - 9 : value * 2;
        sum += value;
    }
    return sum;
}

inline bool passes_luhn(const int* digits, int count) { return luhn_sum(digits, count) % 10 == 0; }

// ISO/IEC 7064, MOD 11,10.
inline bool passes_mod_11_10(const Symbols& seen) {
    int product = 10;
    for (int i = 0; i < seen.count - 1; i++) {
        int sum = (seen[i] + product) % 10;
        product = (sum ? sum : 10) * 2 % 11;
    }
    return (product + seen[seen.count - 1]) % 10 == 1;
}

inline bool is_day(int year, int month, int day) {
    if (month < 1 || month > 12 || day < 1) return false;
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return day <= days[month - 1] + (month == 2 && leap);
}

// Of a year without its century: 29 February if either century had one.
inline bool is_short_day(int year, int month, int day) { return is_day(1900 + year, month, day) || is_day(2000 + year, month, day); }

}  // namespace kproxy
