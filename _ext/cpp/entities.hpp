// The entities that can be found in text: for each a pattern, which finds candidates, and a check, which decides (Luhn,
// mod 97, number ranges, boundaries). How one is added: docs/development.md, A new detector.
#pragma once

#include <cstdint>
#include <cstring>
#include <iterator>
#include <string>
#include <string_view>

namespace kproxy {

// In the order of ENTITIES in kproxy/model/record_plan.py and in mask.pyx.
enum Entity : int { EMAIL, CREDIT_CARD, US_SSN, IBAN, IPV4, PRIVATE_KEY, API_KEY, ENTITIES };

// Repetitions are bounded where a check may refuse what they matched: else refusals over one long run cost its square.
inline const char* entity_pattern(int entity) {
    static const char* patterns[] = {
        // RFC 5321 shapes without quoted local parts or address literals.
        R"([A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,63})",
        // ISO/IEC 7812: 13 to 19 digits, perhaps in groups; the check decides which groups belong together.
        R"([0-9](?:[ -]?[0-9]){12,18})",
        // Social Security Administration: area, group, serial; without separators nothing tells it from any number.
        R"([0-9]{3}[- ][0-9]{2}[- ][0-9]{4})",
        // ISO 13616: country, check digits, then what the country's length says.
        R"([A-Za-z]{2}[0-9]{2}(?: ?[A-Za-z0-9]){11,30})",
        R"([0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3})",
        // RFC 7468 labels; a block that is cut off counts to its end.
        R"((?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\z))",
        // Prefixes that their issuers publish for secret scanning, and what calls itself a key or token.
        R"(\b(?:(?:AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})"
        R"(|glpat-[A-Za-z0-9_-]{20,}|xox[abeprs]-[A-Za-z0-9-]{10,}|AIza[0-9A-Za-z_-]{35})"
        R"(|sk_(?:live|test)_[0-9a-zA-Z]{16,}|sk-[A-Za-z0-9_-]{20,}|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{16,})"
        R"(|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}))"
        R"(|(?i:api|access|secret|auth)[_-]?(?i:key|token)[=:] ?[A-Za-z0-9_./+-]{20,})",
    };
    static_assert(std::size(patterns) == ENTITIES, "a pattern for each entity, in their order");
    return patterns[entity];
}

// The most bytes that an entity's pattern matches. 0: no limit.
inline size_t longest_match(int entity) {
    static const size_t longest[] = {0, 37, 11, 64, 15, 0, 0};
    static_assert(std::size(longest) == ENTITIES, "a longest match for each entity, in their order");
    return longest[entity];
}

struct Found {
    size_t at;
    size_t length;
    int which;                  // the detector, as an index into the list given
};

inline bool is_digit(char c) { return c >= '0' && c <= '9'; }
inline bool is_word(char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

inline bool passes_luhn(const char* digits, size_t count) {
    int sum = 0;
    for (size_t i = 0; i < count; i++) {
        int value = digits[count - 1 - i] - '0';
        if (i % 2 == 1) {
            value *= 2;
            if (value > 9) value -= 9;
        }
        sum += value;
    }
    return sum % 10 == 0;
}

// Issuer ranges and the lengths their cards have in use. Lengths that ISO/IEC 7812 would allow and nobody issues are left
// out: they would take one in seventy of random 18-digit ids for a card.
inline bool has_card_issuer(const char* digits, size_t count) {
    int two = (digits[0] - '0') * 10 + digits[1] - '0';
    int four = two * 100 + (digits[2] - '0') * 10 + digits[3] - '0';
    if (digits[0] == '4') return count == 13 || count == 16 || count == 19;                          // Visa
    if ((two >= 51 && two <= 55) || (four >= 2221 && four <= 2720)) return count == 16;              // Mastercard
    if (two == 34 || two == 37) return count == 15;                                                  // American Express
    if (two == 36 || two == 38 || two == 39 || (four >= 3000 && four <= 3059)) return count == 14 || count == 16;  // Diners
    if (four == 6011 || (four >= 6440 && four <= 6599)) return count == 16 || count == 19;           // Discover
    if (four >= 3528 && four <= 3589) return count == 16 || count == 19;                             // JCB
    if (two == 62) return count >= 16 && count <= 19;                                                // UnionPay
    if (two == 81) return count == 16 || count == 19;
    if (four == 6759 && count == 18) return true;                                                    // Maestro
    if (two == 50 || (two >= 56 && two <= 58) || two == 63 || two == 67) return count == 13 || count == 16 || count == 19;
    return false;
}

// ISO 13616 registry: country code and total length. 0: not a country of the registry.
inline int iban_length(char a, char b) {
    static const char* lengths =
        "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18FK18FO18FR27GB22"
        "GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MN20"
        "MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23TN24TR26"
        "UA29VA22VG24XK20YE30";
    for (const char* row = lengths; *row; row += 4)
        if (row[0] == a && row[1] == b) return (row[2] - '0') * 10 + row[3] - '0';
    return 0;
}

inline bool passes_mod_97(const char* iban, size_t length) {
    int rest = 0;
    for (size_t i = 0; i < length; i++) {
        char c = iban[(i + 4) % length];
        rest = is_digit(c) ? (rest * 10 + c - '0') % 97 : (rest * 100 + c - 'A' + 10) % 97;
    }
    return rest == 1;
}

inline bool stands_alone(std::string_view text, size_t at, size_t length) {
    return (at == 0 || !is_word(text[at - 1])) && (at + length >= text.size() || !is_word(text[at + length]));
}

// The length of the card number that begins with the digit group at `at`, or 0. Whole groups only, the longest run of
// them that passes, so that a year beside a card number does not hide it.
inline size_t card_at(std::string_view text, size_t at) {
    if (at && is_word(text[at - 1])) return 0;
    char digits[20];
    size_t count = 0, best = 0, end = at;
    for (;;) {
        while (end < text.size() && is_digit(text[end])) {
            if (count == 19) return best;
            digits[count++] = text[end++];
        }
        bool alone = end >= text.size() || !is_word(text[end]);
        if (count >= 13 && alone && has_card_issuer(digits, count) && passes_luhn(digits, count)) best = end - at;
        bool goes_on = end + 1 < text.size() && (text[end] == ' ' || text[end] == '-') && is_digit(text[end + 1]);
        if (!goes_on) return best;
        end++;
    }
}

inline bool check_ssn(std::string_view text, const Found& hit) {
    const char* at = text.data() + hit.at;
    int area = (at[0] - '0') * 100 + (at[1] - '0') * 10 + at[2] - '0';
    bool group = at[4] != '0' || at[5] != '0';
    bool serial = std::memcmp(at + 7, "0000", 4) != 0;
    return at[3] == at[6] && area != 0 && area != 666 && area < 900 && group && serial &&
           stands_alone(text, hit.at, hit.length) && !(hit.at && text[hit.at - 1] == '-') &&
           !(hit.at + hit.length < text.size() && text[hit.at + hit.length] == '-');
}

inline char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; }

// Shortens the hit to the length of its country.
inline bool check_iban(std::string_view text, Found* hit) {
    size_t wanted = static_cast<size_t>(iban_length(upper(text[hit->at]), upper(text[hit->at + 1])));
    if (!wanted || (hit->at && is_word(text[hit->at - 1]))) return false;
    char compact[40];
    size_t count = 0, at = hit->at;
    for (; at < hit->at + hit->length && count < wanted; at++)
        if (text[at] != ' ') compact[count++] = upper(text[at]);
    if (count != wanted || (at < text.size() && is_word(text[at])) || !passes_mod_97(compact, count)) return false;
    hit->length = at - hit->at;
    return true;
}

inline bool check_ipv4(std::string_view text, const Found& hit) {
    size_t end = hit.at + hit.length;
    int part = 0;
    size_t digits = 0;
    for (size_t at = hit.at; at <= end; at++) {
        if (at == end || text[at] == '.') {
            if (part > 255 || (digits > 1 && text[at - digits] == '0')) return false;
            part = 0;
            digits = 0;
        } else {
            part = part * 10 + text[at] - '0';
            digits++;
        }
    }
    bool before = hit.at && (is_word(text[hit.at - 1]) || text[hit.at - 1] == '.');
    bool goes_on = end + 1 < text.size() && text[end] == '.' && is_digit(text[end + 1]);
    return !before && !goes_on && (end >= text.size() || !is_word(text[end]));
}

// Decides about a candidate, and may shorten or lengthen it.
inline bool check_entity(int entity, std::string_view text, Found* hit) {
    switch (entity) {
        case CREDIT_CARD: return (hit->length = card_at(text, hit->at)) != 0;
        case US_SSN: return check_ssn(text, *hit);
        case IBAN: return check_iban(text, hit);
        case IPV4: return check_ipv4(text, *hit);
        default: return true;
    }
}

inline bool is_local_part(char c) {
    return is_word(c) || (c && std::strchr(".!#$%&'*+/=?^`{|}~-", c) != nullptr);
}

// Where an address may begin whose @ stands at `sign`, but not before `least`.
inline size_t address_start(std::string_view text, size_t sign, size_t least) {
    while (sign > least && is_local_part(text[sign - 1])) sign--;
    return sign;
}

// One past where the domain of an address may end whose @ stands at `sign`.
inline size_t address_end(std::string_view text, size_t sign) {
    for (sign++; sign < text.size() && text[sign] != '_' && (is_word(text[sign]) || text[sign] == '.' || text[sign] == '-');) sign++;
    return sign;
}

// Where to look on after a candidate at `at` was refused.
inline size_t after_refusal(int entity, std::string_view text, size_t at) {
    bool numeric = entity == CREDIT_CARD || entity == IPV4 || entity == US_SSN;
    if (numeric)
        while (at + 1 < text.size() && is_digit(text[at + 1])) at++;     // no entity begins within a digit group
    return at + 1;
}

}  // namespace kproxy
