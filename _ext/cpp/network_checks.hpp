// Checks of addresses, credentials, dates and phone numbers: what is decided by shape and by what stands around it.
#pragma once

#include <algorithm>
#include <string_view>

#include "found.hpp"

namespace kproxy {

inline Judged check_ipv4(std::string_view text, Found* hit) {
    size_t end = hit->at + hit->length;
    int part = 0;
    size_t digits = 0;
    for (size_t at = hit->at; at <= end; at++) {
        if (at == end || text[at] == '.') {
            if (part > 255 || (digits > 1 && text[at - digits] == '0')) return UNFIT;
            part = 0;
            digits = 0;
        } else {
            part = part * 10 + text[at] - '0';
            digits++;
        }
    }
    bool before = hit->at && (is_word(text[hit->at - 1]) || text[hit->at - 1] == '.');
    bool goes_on = end + 1 < text.size() && text[end] == '.' && is_digit(text[end + 1]);
    return found_if(!before && !goes_on && (end >= text.size() || !is_word(text[end])));
}

inline bool is_dotted(std::string_view text) {
    int parts = 0, digits = 0, value = 0;
    for (size_t at = 0; at <= text.size(); at++) {
        if (at == text.size() || text[at] == '.') {
            if (!digits || digits > 3 || value > 255) return false;
            parts++;
            digits = value = 0;
        } else if (is_digit(text[at])) {
            value = value * 10 + text[at] - '0';
            if (++digits > 3) return false;
        } else {
            return false;
        }
    }
    return parts == 4;
}

// RFC 4291 section 2.2, less what programs write for other things: no digit at all ("ab::cd"), eight pairs (an EUI-64).
inline bool is_ipv6(std::string_view address) {
    int groups = 0, gaps = 0, digits = 0, longest = 0;
    bool decimal = false;
    for (size_t at = 0; at < address.size();) {
        if (address[at] == ':') {
            bool two = at + 1 < address.size() && address[at + 1] == ':';
            if (two && ++gaps > 1) return false;
            if (!two && (at == 0 || at + 1 == address.size())) return false;
            at += two ? 2 : 1;
            if (at < address.size() && address[at] == ':') return false;
            continue;
        }
        size_t end = std::min(address.find(':', at), address.size());
        std::string_view group = address.substr(at, end - at);
        if (end == address.size() && group.find('.') != std::string_view::npos) {
            if (!is_dotted(group)) return false;
            groups += 2;
            decimal = true;
            break;
        }
        digits = static_cast<int>(group.size());
        if (digits > 4) return false;
        for (char c : group) {
            if (!is_hex(c)) return false;
            decimal = decimal || is_digit(c);
        }
        longest = std::max(longest, digits), groups++;
        at = end;
    }
    return decimal && groups > 0 && (gaps ? groups < 8 : groups == 8 && longest != 2);
}

// The hit is all that could be of an address; what is of the sentence around it comes off.
inline Judged check_ipv6(std::string_view text, Found* hit) {
    std::string_view run = text.substr(hit->at, hit->length);
    auto is_single = [](std::string_view s, size_t at, size_t other) { return s[at] == ':' && !(other < s.size() && s[other] == ':'); };
    if (run.size() > 1 && is_single(run, 0, 1)) run.remove_prefix(1);
    while (!run.empty() && (run.back() == '.' || is_single(run, run.size() - 1, run.size() - 2))) run.remove_suffix(1);
    hit->at = static_cast<size_t>(run.data() - text.data());
    hit->length = run.size();
    return found_if(!run.empty() && run.size() <= 45 && is_ipv6(run) && stands_alone(text, hit->at, hit->length));
}

// Of 48 bits, in one separator.
inline Judged check_mac(std::string_view text, Found* hit) {
    char separator = text[hit->at + 2];
    for (size_t i = hit->at + 5; i < hit->at + hit->length; i += 3)
        if (text[i] != separator) return UNFIT;
    char before = byte_before(text, *hit), behind = byte_behind(text, *hit);
    return found_if(stands_alone(text, hit->at, hit->length) && before != separator && behind != separator);
}

inline void keep_from(Found* hit, size_t at) {
    hit->length -= at - hit->at;
    hit->at = at;
}

// Of "://user:password@" the user and the password.
inline Judged check_url_credentials(std::string_view, Found* hit) {
    keep_from(hit, hit->at + 3);
    hit->length--;
    return FOUND;
}

// Of "password = value" the value, unless it only stands for one.
inline Judged check_password(std::string_view text, Found* hit) {
    size_t end = hit->at + hit->length, at = hit->at;
    while (at < end && text[at] != ':' && text[at] != '=') at++;
    at++;
    while (at < end && is_among(text[at], " \t\"'\\")) at++;
    if (end < at + 4) return UNFIT;
    keep_from(hit, at);
    std::string_view value = text.substr(at, end - at);
    for (std::string_view stands_for_none : {"null", "none", "None", "true", "false", "True", "False", "undefined", "required", "REDACTED"})
        if (value == stands_for_none) return UNFIT;
    bool hidden = value.find_first_not_of(value.substr(0, 1)) == std::string_view::npos;
    return found_if(!hidden && !is_among(value[0], "${<[("));
}

inline Judged check_auth_header(std::string_view text, Found* hit) {
    size_t at = hit->at + hit->length;
    while (at > hit->at && !is_among(text[at - 1], " \t")) at--;
    keep_from(hit, at);
    return FOUND;
}

// The run of base64 that was matched must be as long as such a key and end where it ends.
inline Judged check_aws_secret(std::string_view text, Found* hit) {
    char before = byte_before(text, *hit), behind = byte_behind(text, *hit);
    return doubted_if(hit->length == 40 && behind != '=' && !is_word(before) && !is_among(behind, "_-") && before != '-');
}

inline Judged check_gcp_key_id(std::string_view text, Found* hit) {
    keep_from(hit, hit->at + hit->length - 40);
    return found_if(!is_word(byte_behind(text, *hit)));
}

inline Judged check_azure_key(std::string_view text, Found* hit) {
    if (hit->length != 88) return UNFIT;
    return doubted_if(!is_word(byte_before(text, *hit)) && !is_word(byte_behind(text, *hit)) && byte_behind(text, *hit) != '=');
}

// ITU-T E.164: the codes of countries and services in use, by their first digits.
inline bool is_country_code(std::string_view digits) {
    static const std::string_view two = "20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82 84 86 "
                                        "90 91 92 93 94 95 98";
    static const std::string_view first_two_of_three = "21 22 23 24 25 26 29 35 37 38 42 50 59 67 68 69 80 85 87 88 96 97 99";
    if (digits[0] == '1' || digits[0] == '7') return true;
    return two.find(digits.substr(0, 2)) != std::string_view::npos || first_two_of_three.find(digits.substr(0, 2)) != std::string_view::npos;
}

inline Judged check_phone(std::string_view text, Found* hit) {
    char digits[15];
    size_t seen = 0, count = 0, end = hit->at + 1, behind = hit->at + hit->length;
    for (size_t at = hit->at + 1; at < behind; at++) {
        if (!is_digit(text[at])) continue;
        if (seen == sizeof digits) break;
        digits[seen++] = text[at];
        if (at + 1 < behind && is_digit(text[at + 1])) continue;
        end = at + 1;           // of a group that may belong to it
        count = seen;
    }
    hit->length = end - hit->at;
    char before = byte_before(text, *hit);
    bool dated = is_among(byte_behind(text, *hit), "-./:") && end + 1 < text.size() && is_digit(text[end + 1]);
    return found_if(count >= 8 && is_country_code({digits, count}) && !is_word(before) && before != '+' && !dated &&
                    !is_word(byte_behind(text, *hit)));
}

inline Judged check_national_phone(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    if (text[hit->at] == '+') return UNFIT;
    bool dated = hit->length >= 10 && is_digit(text[hit->at + 3]) && is_among(text[hit->at + 4], "-/.") && text[hit->at + 7] == text[hit->at + 4];
    return doubted_if(seen.count >= 7 && seen.count <= 12 && !dated && !seen.all_same() && stands_apart(text, *hit));
}

inline int month_named(std::string_view text) {
    static const std::string_view months = "jan feb mar apr may jun jul aug sep oct nov dec ";
    char three[3] = {lower(text[0]), lower(text[1]), lower(text[2])};
    size_t at = months.find(std::string_view(three, 3));
    return at == std::string_view::npos ? 0 : static_cast<int>(at / 4) + 1;
}

// A day from 1900 on, in any of the usual orders.
inline Judged check_birth_date(std::string_view text, Found* hit) {
    int numbers[3] = {}, widths[3] = {}, count = 0, month = 0;
    for (size_t at = hit->at, end = hit->at + hit->length; at < end;) {
        if (is_digit(text[at])) {
            if (count == 3) return UNFIT;
            for (; at < end && is_digit(text[at]); at++, widths[count]++) numbers[count] = numbers[count] * 10 + text[at] - '0';
            count++;
        } else if (is_letter(text[at])) {
            if (month || !(month = month_named(text.substr(at, 3)))) return UNFIT;
            while (at < end && is_letter(text[at])) at++;
        } else {
            at++;
        }
    }
    bool dated;
    if (month) {
        dated = count == 2 && is_day(numbers[1], month, numbers[0]);
    } else if (count == 1) {
        dated = is_day(numbers[0] / 10000, numbers[0] / 100 % 100, numbers[0] % 100) && numbers[0] / 10000 >= 1900 && numbers[0] / 10000 < 2100;
    } else if (widths[0] == 4) {
        dated = is_day(numbers[0], numbers[1], numbers[2]);
    } else {
        int year = widths[2] == 2 ? 2000 + numbers[2] : numbers[2];
        dated = is_day(year, numbers[1], numbers[0]) || is_day(year, numbers[0], numbers[1]) || is_short_day(year % 100, numbers[1], numbers[0]);
    }
    char before = byte_before(text, *hit), behind = byte_behind(text, *hit);
    size_t end = hit->at + hit->length;
    bool goes_on = is_among(behind, "-/.") && end + 1 < text.size() && is_digit(text[end + 1]);
    return doubted_if(dated && !is_word(before) && !is_among(before, "-/.") && !goes_on && (!is_word(behind) || behind == 'T'));
}

// WHO's ICD-10: a letter but U of provisional codes counts as well, two places, and what is behind the dot.
inline Judged check_icd10(std::string_view text, Found* hit) {
    char before = byte_before(text, *hit), behind = byte_behind(text, *hit);
    size_t end = hit->at + hit->length;
    bool goes_on = behind == '.' && end + 1 < text.size() && is_word(text[end + 1]);
    return doubted_if(stands_alone(text, hit->at, hit->length) && !is_among(before, "-./+") && behind != '-' && !goes_on);
}

}  // namespace kproxy
