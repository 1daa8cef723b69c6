// The detector catalogue: one RE2::Set pass says which entities may be in a text, then only those are looked for, and each
// candidate must pass its entity's own check (Luhn, mod 97, number ranges, boundaries).
#pragma once

#include <re2/re2.h>
#include <re2/set.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace kproxy {

enum Entity : int { EMAIL, CREDIT_CARD, US_SSN, IBAN, IPV4, PRIVATE_KEY, API_KEY, ENTITIES };

inline const char* entity_name(int entity) {
    static const char* names[] = {"email", "credit_card", "us_ssn", "iban", "ipv4", "private_key", "api_key"};
    return names[entity];
}

inline const char* entity_pattern(int entity) {
    static const char* patterns[] = {
        // RFC 5321 shapes without quoted local parts or address literals.
        R"([A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,63})",
        // ISO/IEC 7812: 13 to 19 digits, perhaps in groups; the check decides which groups belong together.
        R"([0-9](?:[ -]?[0-9]){12,})",
        // Social Security Administration: area, group, serial; without separators nothing tells it from any number.
        R"([0-9]{3}[- ][0-9]{2}[- ][0-9]{4})",
        // ISO 13616: country, check digits, then what the country's length says.
        R"([A-Za-z]{2}[0-9]{2}(?: ?[A-Za-z0-9]){11,30})",
        R"([0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3})",
        // RFC 7468 labels; a block that is cut off counts to its end.
        R"((?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\z))",
        // Prefixes that their issuers publish for secret scanning.
        R"((?:AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255}|glpat-[A-Za-z0-9_-]{20,})"
        R"(|xox[abeprs]-[A-Za-z0-9-]{10,}|AIza[0-9A-Za-z_-]{35}|sk_(?:live|test)_[0-9a-zA-Z]{16,}|sk-[A-Za-z0-9_-]{20,})"
        R"(|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{16,}|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,})",
    };
    return patterns[entity];
}

struct Found {
    size_t at;
    size_t length;
    int entity;
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

// The issuer ranges of the networks that issue cards of this many digits.
inline bool has_card_issuer(const char* digits, size_t count) {
    int two = (digits[0] - '0') * 10 + digits[1] - '0';
    int four = two * 100 + (digits[2] - '0') * 10 + digits[3] - '0';
    if (digits[0] == '4') return count == 13 || count == 16 || count == 19;
    if ((two >= 51 && two <= 55) || (four >= 2221 && four <= 2720)) return count == 16;
    if (two == 34 || two == 37) return count == 15;
    if (two == 36 || two == 38 || two == 39 || (four >= 3000 && four <= 3059)) return count >= 14 && count <= 19;
    if (four == 6011 || two == 64 || two == 65) return count >= 16 && count <= 19;
    if (four >= 3528 && four <= 3589) return count >= 16 && count <= 19;
    if (two == 62 || two == 81) return count >= 16 && count <= 19;
    if (two == 50 || (two >= 56 && two <= 58) || two == 63 || two == 67) return count >= 13 && count <= 19;
    return false;
}

inline int iban_length(char a, char b) {
    // ISO 13616 registry: country code and total length.
    static const char* lengths =
        "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18FK18FO18FR27GB22"
        "GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MN20"
        "MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23TN24TR26"
        "UA29VA22VG24XK20YE30";
    for (const char* row = lengths; *row; row += 4)
        if (row[0] == a && row[1] == b) return (row[2] - '0') * 10 + row[3] - '0';
    return 0;
}

inline bool passes_mod_97(const std::string& iban) {
    int rest = 0;
    for (size_t i = 0; i < iban.size(); i++) {
        char c = iban[(i + 4) % iban.size()];
        rest = is_digit(c) ? (rest * 10 + c - '0') % 97 : (rest * 100 + c - 'A' + 10) % 97;
    }
    return rest == 1;
}

// One topic's detectors, compiled once and shared by sessions of one thread.
class Detectors {
  public:
    explicit Detectors(const std::vector<int>& entities) : entities_(entities) {
        RE2::Options options;
        options.set_encoding(RE2::Options::EncodingLatin1);  // Bytes are matched as bytes: no text is too broken to search.
        options.set_log_errors(false);
        options.set_max_mem(16 << 20);
        set_ = std::make_unique<RE2::Set>(options, RE2::UNANCHORED);
        for (int entity : entities_) {
            std::string error;
            patterns_.push_back(std::make_unique<RE2>(entity_pattern(entity), options));
            if (!patterns_.back()->ok() || set_->Add(entity_pattern(entity), &error) < 0)
                throw std::runtime_error(std::string("the pattern of ") + entity_name(entity) + " does not compile");
        }
        if (!entities_.empty() && !set_->Compile()) throw std::runtime_error("the detectors need more memory than RE2 may use");
        for (int entity : entities_) {
            if (entity == EMAIL) has_email_ = true;
            else if (entity == PRIVATE_KEY || entity == API_KEY || entity == IBAN) needs_text_ = true;
            else needs_digits_ = true;
        }
    }

    bool empty() const { return entities_.empty(); }

    // Which detectors may match, as indexes into the list given; empty for most clean texts.
    bool may_match(std::string_view text, std::vector<int>* which) const {
        which->clear();
        if (entities_.empty() || !worth_a_pass(text)) return false;
        RE2::Set::ErrorInfo info{};
        if (set_->Match(re2::StringPiece(text.data(), text.size()), which, &info)) return true;
        if (info.kind == RE2::Set::kNoError) return false;
        // Out of memory for the combined automaton: each pattern is looked for by itself, nothing is taken as clean.
        for (size_t i = 0; i < entities_.size(); i++) which->push_back(static_cast<int>(i));
        return true;
    }

    // Appends every span of detector `which` in `text`, in order, without overlaps among themselves.
    void find(int which, std::string_view text, std::vector<Found>* found) const {
        size_t at = 0;
        re2::StringPiece whole(text.data(), text.size()), match;
        while (at < text.size() && patterns_[which]->Match(whole, at, text.size(), RE2::UNANCHORED, &match, 1)) {
            size_t start = match.data() - text.data(), length = match.size();
            Found hit{start, length, which};
            if (check(entities_[which], text, &hit)) {
                found->push_back(hit);
                at = hit.at + hit.length;
            } else {
                at = after_refusal(entities_[which], text, start, length);
            }
        }
    }

  private:
    // A byte-class look before the automaton: most clean texts lack what every pattern of the set needs.
    bool worth_a_pass(std::string_view text) const {
        if (needs_text_) return true;
        if (has_email_ && std::memchr(text.data(), '@', text.size())) return true;
        if (!needs_digits_) return false;
        int run = 0;  // digits with at most one separator between them: the shortest entity, an IPv4 address, has four
        bool separated = false;
        for (char c : text) {
            if (is_digit(c)) {
                separated = false;
                if (++run >= 4) return true;
            } else if (run && !separated && (c == ' ' || c == '-' || c == '.')) {
                separated = true;
            } else {
                run = 0;
            }
        }
        return false;
    }

    static size_t after_refusal(int entity, std::string_view text, size_t start, size_t length) {
        if (entity == CREDIT_CARD) return start + length;    // the check has tried every grouping of the run
        size_t at = start + 1;
        if (entity == IPV4 || entity == US_SSN)
            while (at < text.size() && is_digit(text[at])) at++;
        return at;
    }

    static bool check(int entity, std::string_view text, Found* hit) {
        switch (entity) {
            case CREDIT_CARD: return check_card(text, hit);
            case US_SSN: return check_ssn(text, hit);
            case IBAN: return check_iban(text, hit);
            case IPV4: return check_ipv4(text, hit);
            case API_KEY: return hit->at == 0 || !is_word(text[hit->at - 1]);
            default: return true;
        }
    }

    static bool stands_alone(std::string_view text, size_t at, size_t length) {
        return (at == 0 || !is_word(text[at - 1])) && (at + length >= text.size() || !is_word(text[at + length]));
    }

    // Tries runs of whole digit groups, longest first, so that a year beside a card number does not hide it.
    static bool check_card(std::string_view text, Found* hit) {
        std::vector<std::pair<size_t, size_t>> groups;
        size_t end = hit->at + hit->length;
        for (size_t at = hit->at; at < end;) {
            size_t from = at;
            while (at < end && is_digit(text[at])) at++;
            groups.emplace_back(from, at - from);
            at++;
        }
        for (size_t first = 0; first < groups.size(); first++) {
            std::string digits;
            size_t best = 0;
            for (size_t last = first; last < groups.size() && digits.size() <= 19; last++) {
                digits.append(text.substr(groups[last].first, groups[last].second));
                size_t span = groups[last].first + groups[last].second - groups[first].first;
                if (digits.size() >= 13 && digits.size() <= 19 && stands_alone(text, groups[first].first, span) &&
                    has_card_issuer(digits.data(), digits.size()) && passes_luhn(digits.data(), digits.size()))
                    best = span;
            }
            if (best) {
                hit->at = groups[first].first;
                hit->length = best;
                return true;
            }
        }
        return false;
    }

    static bool check_ssn(std::string_view text, Found* hit) {
        const char* at = text.data() + hit->at;
        int area = (at[0] - '0') * 100 + (at[1] - '0') * 10 + at[2] - '0';
        bool group = at[4] != '0' || at[5] != '0';
        bool serial = std::memcmp(at + 7, "0000", 4) != 0;
        return at[3] == at[6] && area != 0 && area != 666 && area < 900 && group && serial &&
               stands_alone(text, hit->at, hit->length) && !(hit->at && text[hit->at - 1] == '-') &&
               !(hit->at + hit->length < text.size() && text[hit->at + hit->length] == '-');
    }

    static bool check_iban(std::string_view text, Found* hit) {
        auto upper = [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; };
        size_t wanted = iban_length(upper(text[hit->at]), upper(text[hit->at + 1]));
        if (!wanted || (hit->at && is_word(text[hit->at - 1]))) return false;
        std::string compact;
        size_t at = hit->at;
        while (at < hit->at + hit->length && compact.size() < wanted) {
            if (text[at] != ' ') compact.push_back(upper(text[at]));
            at++;
        }
        if (compact.size() != wanted || (at < text.size() && is_word(text[at])) || !passes_mod_97(compact)) return false;
        hit->length = at - hit->at;
        return true;
    }

    static bool check_ipv4(std::string_view text, Found* hit) {
        size_t end = hit->at + hit->length;
        int part = 0, digits = 0;
        for (size_t at = hit->at; at <= end; at++) {
            if (at == end || text[at] == '.') {
                if (part > 255 || (digits > 1 && text[at - digits] == '0')) return false;
                part = digits = 0;
            } else {
                part = part * 10 + text[at] - '0';
                digits++;
            }
        }
        bool before = hit->at && (is_word(text[hit->at - 1]) || text[hit->at - 1] == '.');
        bool after = end < text.size() && (is_word(text[end]) || (text[end] == '.' && end + 1 < text.size() && is_digit(text[end + 1])));
        return !before && !after;
    }

    std::vector<int> entities_;
    std::vector<std::unique_ptr<RE2>> patterns_;
    std::unique_ptr<RE2::Set> set_;
    bool has_email_ = false, needs_digits_ = false, needs_text_ = false;
};

}  // namespace kproxy
