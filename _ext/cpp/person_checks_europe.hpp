// Checks of numbers that European states give to people. Which rule each follows: the table in entities.hpp.
//
// A single check digit lets one random number in ten through, so numbers that have no more than that need a word beside them.
#pragma once

#include <string_view>

#include "found.hpp"

namespace kproxy {

inline Judged check_nino(std::string_view text, Found* hit) {
    std::string_view found = text.substr(hit->at, hit->length);
    std::string_view prefix = found.substr(0, 2);
    for (std::string_view never : {"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"})
        if (prefix == never) return UNFIT;
    bool spaces = found.size() == 9 || found.size() == 13;
    return found_if(spaces && !is_among(prefix[0], "DFIQUV") && !is_among(prefix[1], "DFIOQUV") && stands_apart(text, *hit));
}

inline Judged check_nhs(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    int check = 11 - seen.weighed({10, 9, 8, 7, 6, 5, 4, 3, 2}) % 11;
    return doubted_if(seen.even(2) && check % 11 == seen[9] && check != 10 && stands_apart(text, *hit));
}

// Of the first ten digits one stands two or three times, no other twice.
inline Judged check_de_tax_id(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    int times[10] = {}, twice = 0, thrice = 0;
    for (int i = 0; i < 10; i++) times[seen[i]]++;
    for (int count : times) {
        if (count > 3) return UNFIT;
        twice += count == 2;
        thrice += count == 3;
    }
    return if_bare_doubted(seen, seen.even(3) && twice + thrice == 1 && passes_mod_11_10(seen) && stands_apart(text, *hit));
}

// ICAO Doc 9303: weights 7 3 1.
inline Judged check_de_id_card(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    return doubted_if(seen.weighed({7, 3, 1, 7, 3, 1, 7, 3, 1}) % 10 == seen[9] && stands_apart(text, *hit));
}

// The department of Corsica is 2A or 2B, which count as 19 and 18.
inline Judged check_fr_nir(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    int corsica = seen[6] > 9 ? seen[6] - 9 : 0;        // 1: A, 2: B
    if (corsica) seen.value[5] = 1, seen.value[6] = 10 - corsica;
    int month = seen.number(3, 2);
    bool spaced = seen.even(6) || (seen.separators == 1 && text[hit->at + 13] == ' ');
    bool dated = (month >= 1 && month <= 12) || month == 20 || (month >= 30 && month <= 42) || month >= 50;
    return found_if(spaced && dated && 97 - seen.long_number(0, 13) % 97 == seen.number(13, 2) && stands_apart(text, *hit));
}

inline Judged check_es_dni(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    int number = seen.number(0, 8);
    return found_if(seen.letter(8) == "TRWAGMYFPDXBNJZSQVHLCKE"[number % 23] && stands_apart(text, *hit));
}

inline Judged check_es_nie(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    int number = (seen.letter(0) - 'X') * 10'000'000 + seen.number(1, 7);
    return found_if(seen.letter(8) == "TRWAGMYFPDXBNJZSQVHLCKE"[number % 23] && stands_apart(text, *hit));
}

inline Judged check_codice_fiscale(std::string_view text, Found* hit) {
    static const int odd[] = {1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23};
    Symbols seen(text, *hit);
    int sum = 0;
    for (int i = 0; i < 15; i++) {
        int value = seen[i] < 10 ? seen[i] : seen[i] - 10;
        sum += i % 2 ? value : odd[value];
    }
    return found_if(seen[15] == 10 + sum % 26 && stands_apart(text, *hit));
}

inline Judged check_bsn(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    return doubted_if(seen.weighed({9, 8, 7, 6, 5, 4, 3, 2, -1}) % 11 == 0 && !seen.all_same() && stands_apart(text, *hit));
}

// Born from 2000 on, a 2 stands before the number that is divided. A month may be raised by 20 or 40 (a BIS number).
inline Judged check_be_national(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    int64_t number = seen.long_number(0, 9);
    int check = seen.number(9, 2);
    bool spaced = seen.even(4) || !is_digit(text[hit->at + 6]);
    bool fits = 97 - number % 97 == check || 97 - (number + 2'000'000'000) % 97 == check;
    bool born = is_short_day(seen.number(0, 2), seen.number(2, 2) % 20, seen.number(4, 2)) && seen.number(2, 2) <= 52;
    if (!spaced || !fits || !born || !stands_apart(text, *hit)) return UNFIT;
    return seen.separators > 1 ? FOUND : DOUBTED;
}

// The century is in the month: 80 for 1800, 0 for 1900, 20 for 2000, 40, 60.
inline Judged check_pesel(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    int month = seen.number(2, 2), year = seen.number(0, 2) + (month >= 80 ? 1800 : 1900 + month / 20 * 100);
    return doubted_if(seen.weighed({1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1}) % 10 == 0 && is_day(year, month % 20, seen.number(4, 2)) &&
                      stands_apart(text, *hit));
}

// A coordination number has 60 added to its day.
inline Judged check_personnummer(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    int from = seen.count - 10, day = seen.number(from + 4, 2), month = seen.number(from + 2, 2), year = seen.number(from, 2);
    if (day > 60) day -= 60;
    bool born = from ? (seen.number(0, 2) >= 18 && seen.number(0, 2) <= 20 && is_day(seen.number(0, 4), month, day))
                     : is_short_day(year, month, day);
    if (!born || !passes_luhn(seen.value + from, 10) || !stands_apart(text, *hit)) return UNFIT;
    return from ? FOUND : DOUBTED;
}

inline Judged check_hetu(std::string_view text, Found* hit) {
    char sign = text[hit->at + 6];
    int century = sign == '+' ? 1800 : is_among(sign, "-UVWXY") ? 1900 : 2000;
    std::string_view found = text.substr(hit->at, hit->length);
    int64_t number = 0;
    for (size_t i : {0, 1, 2, 3, 4, 5, 7, 8, 9}) number = number * 10 + found[i] - '0';
    auto two = [found](size_t at) { return (found[at] - '0') * 10 + found[at + 1] - '0'; };
    bool fits = "0123456789ABCDEFHJKLMNPRSTUVWXY"[number % 31] == found[10] && is_day(century + two(4), two(2), two(0));
    if (!fits || !stands_apart(text, *hit)) return UNFIT;
    return is_letter(sign) || is_letter(found[10]) ? FOUND : DOUBTED;     // digits only are others' numbers as well
}

// The check digit has not been kept since 2007.
inline Judged check_cpr(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    return doubted_if(is_short_day(seen.number(4, 2), seen.number(2, 2), seen.number(0, 2)) && stands_apart(text, *hit));
}

// A D-number has 40 added to its day, a synthetic one 40 or 80 to its month.
inline Judged check_fodselsnummer(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    int day = seen.number(0, 2) % 40, month = seen.number(2, 2) % 40;
    int first = (11 - seen.weighed({3, 7, 6, 1, 8, 9, 4, 5, 2}) % 11) % 11;
    int second = (11 - seen.weighed({5, 4, 3, 2, 7, 6, 5, 4, 3, 2}) % 11) % 11;
    return doubted_if(is_short_day(seen.number(4, 2), month, day) && first == seen[9] && second == seen[10] && stands_apart(text, *hit));
}

inline Judged check_pt_nif(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    int check = 11 - seen.weighed({9, 8, 7, 6, 5, 4, 3, 2}) % 11;
    return doubted_if(seen.even(2) && (check > 9 ? 0 : check) == seen[8] && stands_apart(text, *hit));
}

inline Judged check_ahv(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    return found_if(seen.even(3) && seen.weighed({1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1}) % 10 == 0 && stands_apart(text, *hit));
}

inline Judged check_pps(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    int sum = seen.weighed({8, 7, 6, 5, 4, 3, 2});
    if (seen.count == 9) sum += 9 * (seen[8] - 9);
    int check = sum % 23;
    bool fits = (check ? static_cast<char>('A' + check - 1) : 'W') == seen.letter(7) && byte_before(text, *hit) != '-';
    return found_if(fits && stands_apart(text, *hit));
}

// Women have 50 added to the month, either may have 20 more.
inline Judged check_rodne_cislo(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    int month = seen.number(2, 2) % 50;
    if (month > 20) month -= 20;
    bool fits = seen.long_number(0, 10) % 11 == 0 || (seen.long_number(0, 9) % 11 == 10 && seen[9] == 0);
    return if_bare_doubted(seen, fits && is_short_day(seen.number(0, 2), month, seen.number(4, 2)) && stands_apart(text, *hit));
}

inline Judged check_cnp(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    int check = seen.weighed({2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9}) % 11;
    return doubted_if((check == 10 ? 1 : check) == seen[12] && is_short_day(seen.number(1, 2), seen.number(3, 2), seen.number(5, 2)) &&
                      stands_apart(text, *hit));
}

// The century is in the month: 20 more before 1900, 40 more from 2000 on.
inline Judged check_egn(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    int month = seen.number(2, 2), year = 1900 + seen.number(0, 2);
    if (month > 40) month -= 40, year += 100;
    else if (month > 20) month -= 20, year -= 100;
    return doubted_if(seen.weighed({2, 4, 8, 5, 10, 9, 7, 3, 6}) % 11 % 10 == seen[9] && is_day(year, month, seen.number(4, 2)) &&
                      stands_apart(text, *hit));
}

inline Judged check_oib(std::string_view text, Found* hit) {
    return doubted_if(passes_mod_11_10(Symbols(text, *hit)) && stands_apart(text, *hit));
}

// Estonia's and Lithuania's alike: a second row of weights where the first gives ten.
inline Judged check_isikukood(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    int check = seen.weighed({1, 2, 3, 4, 5, 6, 7, 8, 9, 1}) % 11;
    if (check == 10) check = seen.weighed({3, 4, 5, 6, 7, 8, 9, 1, 2, 3}) % 11 % 10;
    return doubted_if(check == seen[10] && is_short_day(seen.number(1, 2), seen.number(3, 2), seen.number(5, 2)) &&
                      stands_apart(text, *hit));
}

inline Judged check_amka(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    return doubted_if(passes_luhn(seen.value, 11) && is_short_day(seen.number(4, 2), seen.number(2, 2), seen.number(0, 2)) &&
                      stands_apart(text, *hit));
}

inline Judged check_svnr(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    int check = seen.weighed({3, 7, 9, 0, 5, 8, 4, 2, 1, 6}) % 11;
    return doubted_if(check == seen[3] && seen[0] != 0 && is_short_day(seen.number(8, 2), seen.number(6, 2), seen.number(4, 2)) &&
                      stands_apart(text, *hit));
}

inline Judged check_tckn(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    int odd = seen.weighed({1, 0, 1, 0, 1, 0, 1, 0, 1}), even = seen.weighed({0, 1, 0, 1, 0, 1, 0, 1});
    int first = ((odd * 7 - even) % 10 + 10) % 10;
    return doubted_if(first == seen[9] && (odd + even + first) % 10 == seen[10] && stands_apart(text, *hit));
}

}  // namespace kproxy
