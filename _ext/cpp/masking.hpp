// Characters replaced by one that says nothing.
#pragma once

#include <string>
#include <string_view>

#include "found.hpp"

namespace kproxy {

// How many characters, not bytes, stay at either end.
struct Kept {
    size_t first, last;
};

inline bool begins_character(char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }
inline bool is_decimal(char c) { return c >= '0' && c <= '9'; }
inline bool is_lower(char c) { return c >= 'a' && c <= 'z'; }

inline void mask_text(Kept kept, std::string_view character, std::string_view plain, std::string* out) {
    size_t count = 0;
    for (char c : plain) count += begins_character(c);
    if (kept.first + kept.last >= count) kept = {0, 0};    // A value too short to keep parts of shows nothing.
    if (count == plain.size() && character.size() == 1) {
        out->append(plain.data(), kept.first);
        out->append(count - kept.first - kept.last, character[0]);
        out->append(plain.data() + count - kept.last, kept.last);
        return;
    }
    size_t number = 0;
    bool shown = false;
    for (char c : plain) {
        if (begins_character(c)) {
            shown = number < kept.first || number >= count - kept.last;
            number++;
            if (!shown) *out += character;
        }
        if (shown) out->push_back(c);
    }
}

// Where the last part of an e-mail's domain begins, with its dot; the text's size if it is no e-mail.
inline size_t domain_end_of_email(std::string_view plain) {
    constexpr size_t LONGEST = 24;      // of such a part that exists
    size_t at = plain.find('@'), dot = plain.rfind('.');
    if (at == 0 || at == std::string_view::npos || dot == std::string_view::npos || plain.find('@', at + 1) != std::string_view::npos)
        return plain.size();
    size_t letters = plain.size() - dot - 1;
    if (dot <= at + 1 || letters < 2 || letters > LONGEST || plain.find_first_of(" \t\r\n") != std::string_view::npos)
        return plain.size();
    for (char c : plain.substr(dot + 1))
        if (!is_lower(c) && !is_upper(c)) return plain.size();
    return dot;
}

// Letters become x and X, digits 0 (or all of them `character`, where there is one), every character that is not ASCII an x;
// what separates them stays, and so does the last part of an e-mail's domain. Of a number digits become 0 and the first one
// 1, so that it stays a number, and of its type. Empty: there is no letter or digit to hide.
inline void mask_shape(Kept kept, std::string_view character, bool is_number, std::string_view plain, std::string* out) {
    size_t end = is_number ? plain.size() : domain_end_of_email(plain);
    auto is_hidden = [](char c) { return is_decimal(c) || is_lower(c) || is_upper(c) || static_cast<unsigned char>(c) >= 0x80; };
    size_t count = 0;
    for (char c : plain.substr(0, end)) count += begins_character(c) && is_hidden(c) && !(is_number && !is_decimal(c));
    if (!count) return;
    if (kept.first + kept.last >= count) kept = {0, 0};
    size_t number = 0;
    bool shown = false;                 // the character's other bytes
    for (size_t at = 0; at < plain.size(); at++) {
        char c = plain[at];
        if (!begins_character(c)) {
            if (shown) out->push_back(c);
            continue;
        }
        bool counts = at < end && is_hidden(c) && !(is_number && !is_decimal(c));
        bool kept_here = counts && (number < kept.first || number >= count - kept.last);
        shown = kept_here && static_cast<unsigned char>(c) >= 0x80;
        if (!counts || kept_here) out->push_back(c);
        else if (is_number) out->push_back(number ? '0' : '1');
        else if (!character.empty()) *out += character;
        else out->push_back(is_decimal(c) ? '0' : is_upper(c) ? 'X' : 'x');
        number += counts;
    }
}

}  // namespace kproxy
