// Words beside a find that say what it is: "ssn" before nine digits. They are looked for in what belongs to the find: its
// member of a JSON object, its field of a line, its part of a sentence.
#pragma once

#include <algorithm>
#include <cstring>
#include <string_view>

#include "found.hpp"

namespace kproxy {

constexpr size_t CONTEXT_BEFORE = 64, CONTEXT_BEHIND = 32;

inline bool is_sign(char c) { return static_cast<unsigned char>(c) < 0x80 && !is_digit(c) && !is_letter(c); }

// Whether `word` stands at `at`: in any case, `_` in it is up to three signs or none ("birth_date": "birthDate", "birth date"),
// and not within a longer word; an s may follow.
inline bool is_word_at(std::string_view text, size_t at, std::string_view word) {
    size_t from = at;
    for (char wanted : word) {
        if (wanted == '_') {
            for (int signs = 0; signs < 3 && at < text.size() && is_sign(text[at]); signs++) at++;
        } else if (at >= text.size() || lower(text[at]) != wanted) {
            return false;
        } else {
            at++;
        }
    }
    // Scripts beyond ASCII may know no spaces, so words in them may stand anywhere.
    auto is_beyond = [](char c) { return static_cast<unsigned char>(c) >= 0x80; };
    if (from && !is_beyond(word.front())) {
        if (is_letter(text[from - 1]) && (is_upper(text[from - 1]) || !is_upper(text[from]))) return false;
        if (is_beyond(text[from - 1])) return false;
    }
    if (is_beyond(word.back())) return true;
    auto ends_at = [text, is_beyond](size_t end) {
        if (end >= text.size() || !is_letter(text[end])) return end >= text.size() || !is_beyond(text[end]);
        return is_upper(text[end]) && !is_upper(text[end - 1]);
    };
    return ends_at(at) || (at < text.size() && lower(text[at]) == 's' && ends_at(at + 1));
}

inline bool has_word(std::string_view text, const char* words) {
    for (const char* word = words; *word;) {
        const char* end = std::strchr(word, '|');
        std::string_view wanted(word, end ? static_cast<size_t>(end - word) : std::strlen(word));
        char first = wanted.empty() ? '\0' : wanted[0];
        for (size_t at = 0; at + 1 < text.size() && first; at++)
            if (lower(text[at]) == first && is_word_at(text, at, wanted)) return true;
        if (!end) break;
        word = end + 1;
    }
    return false;
}

// Where, in what stands before a find, the part begins that belongs to it. A comma with a quote behind it ends a JSON member,
// a full stop behind four letters a sentence ("Tel. 030" is none);
// a second "=" is of another field ("ssn=… order=…").
inline size_t own_part(std::string_view before) {
    int equals = 0;
    for (size_t at = before.size(); at-- > 0;) {
        char c = before[at];
        if (is_among(c, ";|\t&}]") || (c == '\n' && at && before[at - 1] == '\n')) return at + 1;
        if (c == '=' && ++equals == 2) return at + 1;
        bool stops = is_among(c, ".!?") && at >= 4 && at + 2 < before.size() && before[at + 1] == ' ' && is_letter(before[at + 2]);
        for (size_t back = 1; stops && back <= 4; back++) stops = is_letter(before[at - back]);
        if (stops) return at + 1;
        if (c != ',') continue;
        size_t next = at + 1;
        while (next < before.size() && is_among(before[next], " \n\r\\")) next++;
        if (next < before.size() && (before[next] == '"' || before[next] == '\'')) return at + 1;
    }
    return 0;
}

// `around` is what stood before `text` where that was cut out of something.
inline bool has_context(const char* words, std::string_view around, std::string_view text, const Found& hit) {
    char held[CONTEXT_BEFORE];
    size_t own = std::min(hit.at, CONTEXT_BEFORE), more = std::min(around.size(), CONTEXT_BEFORE - own);
    if (more) std::memcpy(held, around.data() + around.size() - more, more);
    if (own) std::memcpy(held + more, text.data() + hit.at - own, own);
    std::string_view before(held, more + own);
    size_t from = own_part(before);
    // A word that the window cut in two is no word: what is left of it ends in letters like another.
    if (!from && before.size() == CONTEXT_BEFORE)
        while (from < before.size() && is_letter(before[from])) from++;
    if (has_word(before.substr(from), words)) return true;
    std::string_view behind = text.substr(hit.at + hit.length, CONTEXT_BEHIND);
    return has_word(behind.substr(0, std::min(behind.find_first_of(",;|\t\n&={}[]\":'"), behind.find(". "))), words);
}

}  // namespace kproxy
