// Checks of numbers that states outside Europe give to people, and of numbers of health care.
#pragma once

#include <algorithm>
#include <string_view>

#include "found.hpp"

namespace kproxy {

// Without separators nothing tells it from any nine digits.
inline Judged check_ssn(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    int area = seen.number(0, 3);
    bool even = hit->length == 9 || (hit->length == 11 && text[hit->at + 3] == text[hit->at + 6]);
    bool issued = area != 0 && area != 666 && area < 900 && seen.number(3, 2) != 0 && seen.number(5, 4) != 0;
    if (!even || !issued || !stands_alone(text, hit->at, hit->length)) return UNFIT;
    if (byte_before(text, *hit) == '-' || byte_behind(text, *hit) == '-') return UNFIT;
    return seen.separators ? FOUND : doubted_if(stands_apart(text, *hit));
}

inline Judged check_itin(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    int group = seen.number(3, 2);
    bool even = hit->length == 9 || (hit->length == 11 && text[hit->at + 3] == text[hit->at + 6]);
    bool issued = (group >= 50 && group <= 65) || (group >= 70 && group <= 88) || (group >= 90 && group <= 92) || group >= 94;
    return if_bare_doubted(seen, even && issued && stands_apart(text, *hit));
}

// No check digit at all: a word beside it decides.
inline Judged check_by_word(std::string_view text, Found* hit) { return doubted_if(stands_apart(text, *hit)); }

// D. Gumm's version of Verhoeff's scheme: the dihedral group of order ten, and a permutation applied by place.
inline bool passes_verhoeff(const Symbols& seen) {
    static const int permutation[] = {1, 5, 7, 6, 2, 8, 3, 0, 9, 4};
    auto joined = [](int a, int b) { return a < 5 ? (b < 5 ? (a + b) % 5 : 5 + (a + b - 5) % 5) : (b < 5 ? 5 + (a - 5 - b + 5) % 5 : (a - b + 5) % 5); };
    int sum = 0;
    for (int i = 0; i < seen.count; i++) {
        int value = seen[seen.count - 1 - i];
        for (int turn = 0; turn < i % 8; turn++) value = permutation[value];
        sum = joined(sum, value);
    }
    return sum == 0;
}

inline Judged check_aadhaar(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    return doubted_if(seen.even(2) && passes_verhoeff(seen) && stands_apart(text, *hit));
}

inline Judged check_alone(std::string_view text, Found* hit) { return found_if(stands_apart(text, *hit)); }

inline Judged check_cpf(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    int first = seen.weighed({10, 9, 8, 7, 6, 5, 4, 3, 2}) * 10 % 11 % 10;
    int second = seen.weighed({11, 10, 9, 8, 7, 6, 5, 4, 3, 2}) * 10 % 11 % 10;
    return if_bare_doubted(seen, seen.even(3) && first == seen[9] && second == seen[10] && !seen.all_same() && stands_apart(text, *hit));
}

// Letters, which numbers issued from July 2026 on may have, count as their ASCII code less 48.
inline Judged check_cnpj(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    for (int i = 0; i < 12; i++)
        if (seen[i] > 9) seen.value[i] += 7;
    auto digit = [](int sum) { return sum % 11 < 2 ? 0 : 11 - sum % 11; };
    int first = digit(seen.weighed({5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2}));
    int second = digit(seen.weighed({6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2}));
    return if_bare_doubted(seen, first == seen[12] && second == seen[13] && !seen.all_same() && stands_apart(text, *hit));
}

inline Judged check_sin(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    return doubted_if(seen.even(2) && passes_luhn(seen.value, 9) && seen[0] != 0 && seen[0] != 8 && stands_apart(text, *hit));
}

inline Judged check_tfn(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    return doubted_if(seen.even(2) && seen.weighed({1, 4, 3, 7, 5, 8, 6, 9, 10}) % 11 == 0 && !seen.all_same() && stands_apart(text, *hit));
}

inline Judged check_medicare(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    return doubted_if(seen.even(2) && seen.weighed({1, 3, 7, 9, 1, 3, 7, 9}) % 10 == seen[8] && stands_apart(text, *hit));
}

inline Judged check_abn(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    int sum = seen.weighed({10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19}) - 10;
    return if_bare_doubted(seen, seen.even(3) && sum % 89 == 0 && stands_apart(text, *hit));
}

// S and T are citizens, F, G and M foreigners; each kind has its own letters.
inline Judged check_nric(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    char kind = seen.letter(0);
    int sum = seen.weighed({2, 7, 6, 5, 4, 3, 2}, 1) + (is_among(kind, "TG") ? 4 : kind == 'M' ? 3 : 0);
    const char* letters = is_among(kind, "ST") ? "JZIHGFEDCBA" : kind == 'M' ? "KLJNPQRTUWX" : "XWUTRQPNMLK";
    int place = kind == 'M' ? 10 - sum % 11 : sum % 11;
    return found_if(letters[place] == seen.letter(8) && stands_apart(text, *hit));
}

// The check digit has not been kept since October 2020.
inline Judged check_rrn(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    static const int centuries[] = {0, 1900, 1900, 2000, 2000, 1900, 1900, 2000, 2000};
    bool born = is_day(centuries[seen[6]] + seen.number(0, 2), seen.number(2, 2), seen.number(4, 2));
    if (!born || !stands_apart(text, *hit)) return UNFIT;
    int check = (11 - seen.weighed({2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5}) % 11) % 10;
    return seen.separators && check == seen[12] ? FOUND : DOUBTED;
}

inline Judged check_za_id(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    return found_if(is_short_day(seen.number(0, 2), seen.number(2, 2), seen.number(4, 2)) && seen[10] <= 1 && seen[11] >= 8 &&
                    passes_luhn(seen.value, 13) && stands_apart(text, *hit));
}

// N with tilde has its own place between N and O.
inline Judged check_curp(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    int sum = 0;
    for (int i = 0; i < 17; i++) sum += (18 - i) * (seen[i] + (seen[i] > 23));
    int century = seen[16] > 9 ? 2000 : 1900;
    bool born = is_day(century + seen.number(4, 2), seen.number(6, 2), seen.number(8, 2));
    return found_if(born && (10 - sum % 10) % 10 == seen[17] && stands_apart(text, *hit));
}

// GB 11643: a province, a date, ISO/IEC 7064 MOD 11-2.
inline Judged check_resident_id(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    static const int most[] = {-1, 5, 3, 7, 6, 4, 5, 1, 3, 1};     // 11 to 15, 21 to 23, ... 81 to 83, 91
    bool known = seen[1] >= (seen[0] == 5 ? 0 : 1) && seen[1] <= most[seen[0]];
    int year = seen.number(6, 4), sum = seen.weighed({7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2});
    bool born = year >= 1850 && year < 2100 && is_day(year, seen.number(10, 2), seen.number(12, 2));
    return found_if(known && born && "10X98765432"[sum % 11] == seen.letter(17) && stands_apart(text, *hit));
}

inline Judged check_il_id(std::string_view text, Found* hit) {
    return doubted_if(passes_luhn(Symbols(text, *hit).value, 9) && stands_apart(text, *hit));
}

inline Judged check_my_number(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    int rest = seen.weighed({6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2}) % 11;
    return doubted_if(seen.even(2) && (rest < 2 ? 0 : 11 - rest) == seen[11] && stands_apart(text, *hit));
}

inline Judged check_th_id(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    int sum = seen.weighed({13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2});
    return if_bare_doubted(seen, seen.even(4) && (11 - sum % 11) % 10 == seen[12] && stands_apart(text, *hit));
}

// The letter is a county, written as two digits.
inline Judged check_tw_id(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    static const int counties[] = {10, 11, 12, 13, 14, 15, 16, 17, 34, 18, 19, 20, 21, 22, 35, 23, 24, 25, 26, 27, 28, 29, 32, 30, 31, 33};
    int county = counties[seen[0] - 10];
    int sum = county / 10 + county % 10 * 9 + seen.weighed({8, 7, 6, 5, 4, 3, 2, 1, 1}, 1);
    return doubted_if(sum % 10 == 0 && stands_apart(text, *hit));
}

// A single letter has a space before it that counts 36.
inline Judged check_hk_id(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    bool two = seen[1] > 9;
    int sum = two ? 9 * seen[0] + 8 * seen[1] : 9 * 36 + 8 * seen[0];
    sum += seen.weighed({7, 6, 5, 4, 3, 2, 1}, two ? 2 : 1);
    return found_if(sum % 11 == 0 && !(hit->at && is_word(text[hit->at - 1])));
}

inline Judged check_rut(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    int sum = 0, last = std::max(seen.count - 1, 0);
    for (int i = 0; i < last; i++) sum += seen[last - 1 - i] * (2 + i % 6);
    int check = 11 - sum % 11;
    bool fits = seen.letter(last) == (check == 11 ? '0' : check == 10 ? 'K' : static_cast<char>('0' + check));
    if (!fits || !stands_apart(text, *hit)) return UNFIT;
    return seen.separators == 3 ? FOUND : DOUBTED;
}

inline Judged check_cuit(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    int check = (11 - seen.weighed({5, 4, 3, 2, 7, 6, 5, 4, 3, 2}) % 11) % 11;
    return if_bare_doubted(seen, seen.even(2) && check == seen[10] && stands_apart(text, *hit));
}

inline Judged check_my_nric(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    int place = seen.number(6, 2);
    bool known = place > 0 && place != 17 && place != 18 && place != 19 && place != 20 && place < 94 && place != 69 && place != 70 &&
                 place != 73 && place != 80 && place != 81;
    return found_if(known && is_short_day(seen.number(0, 2), seen.number(2, 2), seen.number(4, 2)) && stands_apart(text, *hit));
}

// ISO/IEC 7812 with the prefix 80840 of United States health care before the number.
inline Judged check_npi(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    return doubted_if((24 + luhn_sum(seen.value, 10)) % 10 == 0 && stands_apart(text, *hit));
}

inline Judged check_mbi(std::string_view text, Found* hit) {
    return found_if(Symbols(text, *hit).even(2) && stands_apart(text, *hit));
}

inline Judged check_dea(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    return doubted_if(seen.weighed({1, 2, 1, 2, 1, 2}, 2) % 10 == seen[8] && stands_apart(text, *hit));
}

// ISO 3779 and 49 CFR 565.15: the check digit of North America and China, at the ninth place.
inline Judged check_vin(std::string_view text, Found* hit) {
    static const int letters[] = {1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 2, 3, 4, 5, 0, 7, 0, 9, 2, 3, 4, 5, 6, 7, 8, 9};
    static const int weights[] = {8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2};
    Symbols seen(text, *hit);
    int sum = 0;
    for (int i = 0; i < 17; i++) sum += weights[i] * (seen[i] < 10 ? seen[i] : letters[seen[i] - 10]);
    return found_if(seen.letters >= 2 && seen.letter(8) == "0123456789X"[sum % 11] && stands_apart(text, *hit));
}

inline Judged check_imei(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    return doubted_if(passes_luhn(seen.value, 15) && !seen.all_same() && stands_apart(text, *hit));
}

}  // namespace kproxy
