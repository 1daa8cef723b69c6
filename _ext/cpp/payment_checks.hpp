// Checks of what pays: cards, accounts, routing numbers, addresses of cryptocurrencies.
#pragma once

#include <openssl/evp.h>

#include <string_view>

#include "found.hpp"

namespace kproxy {

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

// Next to nobody issues these lengths any more, and milliseconds, articles, ids and half the world's people have them.
inline Judged check_card(std::string_view text, Found* hit) {
    hit->length = card_at(text, hit->at);
    if (!hit->length) return UNFIT;
    int count = Symbols(text, *hit).count;
    return count == 13 || count == 17 || count == 18 ? DOUBTED : FOUND;
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

// Shortens the hit to the length of its country.
inline Judged check_iban(std::string_view text, Found* hit) {
    size_t wanted = static_cast<size_t>(iban_length(upper(text[hit->at]), upper(text[hit->at + 1])));
    if (!wanted || (hit->at && is_word(text[hit->at - 1]))) return UNFIT;
    char compact[40];
    size_t count = 0, at = hit->at;
    for (; at < hit->at + hit->length && count < wanted; at++)
        if (text[at] != ' ') compact[count++] = upper(text[at]);
    if (count != wanted || (at < text.size() && is_word(text[at])) || !passes_mod_97(compact, count)) return UNFIT;
    hit->length = at - hit->at;
    return FOUND;
}

// ISO 9362: the fifth and sixth letter are an ISO 3166-1 country, or XK.
inline Judged check_bic(std::string_view text, Found* hit) {
    static const std::string_view countries =
        "ADAEAFAGAIALAMAOAQARASATAUAWAXAZBABBBDBEBFBGBHBIBJBLBMBNBOBQBRBSBTBVBWBYBZCACCCDCFCGCHCICKCLCMCNCOCRCUCVCWCXCYCZDEDJ"
        "DKDMDODZECEEEGEHERESETFIFJFKFMFOFRGAGBGDGEGFGGGHGIGLGMGNGPGQGRGSGTGUGWGYHKHMHNHRHTHUIDIEILIMINIOIQIRISITJEJMJOJPKEKG"
        "KHKIKMKNKPKRKWKYKZLALBLCLILKLRLSLTLULVLYMAMCMDMEMFMGMHMKMLMMMNMOMPMQMRMSMTMUMVMWMXMYMZNANCNENFNGNINLNONPNRNUNZOMPAPE"
        "PFPGPHPKPLPMPNPRPSPTPWPYQARERORSRURWSASBSCSDSESGSHSISJSKSLSMSNSOSRSSSTSVSXSYSZTCTDTFTGTHTJTKTLTMTNTOTRTTTVTWTZUAUGUM"
        "USUYUZVAVCVEVGVIVNVUWFWSXKYEYTZAZMZW";
    if (!stands_alone(text, hit->at, hit->length)) return UNFIT;
    for (size_t at = 0; at < countries.size(); at += 2)
        if (countries.substr(at, 2) == text.substr(hit->at + 4, 2)) return DOUBTED;
    return UNFIT;
}

// ABA routing numbers: weights 3 7 1, and the first two digits are of a district of the Federal Reserve.
inline Judged check_aba(std::string_view text, Found* hit) {
    Symbols seen(text, *hit);
    int district = seen.number(0, 2);
    bool known = district <= 12 ? district >= 1 : (district >= 21 && district <= 32) || (district >= 61 && district <= 72) || district == 80;
    return doubted_if(known && seen.weighed({3, 7, 1, 3, 7, 1, 3, 7, 1}) % 10 == 0 && stands_apart(text, *hit));
}

inline bool passes_base58check(std::string_view address) {
    static const char* letters = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    unsigned char bytes[25] = {};
    for (char c : address) {
        const char* found = std::strchr(letters, c);
        if (!c || !found) return false;
        int carry = static_cast<int>(found - letters);
        for (int i = 24; i >= 0; i--) {
            carry += 58 * bytes[i];
            bytes[i] = static_cast<unsigned char>(carry & 0xff);
            carry >>= 8;
        }
        if (carry) return false;
    }
    unsigned char once[EVP_MAX_MD_SIZE], twice[EVP_MAX_MD_SIZE];
    return EVP_Digest(bytes, 21, once, nullptr, EVP_sha256(), nullptr) == 1 &&
           EVP_Digest(once, 32, twice, nullptr, EVP_sha256(), nullptr) == 1 && std::memcmp(twice, bytes + 21, 4) == 0;
}

// BIP 173 and BIP 350, for the human-readable part "bc".
inline bool passes_bech32(std::string_view address) {
    static const char* letters = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    static const uint32_t generator[] = {0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3};
    uint32_t sum = 1;
    auto add = [&sum](uint32_t value) {
        uint32_t top = sum >> 25;
        sum = (sum & 0x1ffffff) << 5 ^ value;
        for (int i = 0; i < 5; i++)
            if (top >> i & 1) sum ^= generator[i];
    };
    for (uint32_t part : {3, 3, 0, 'b' & 31, 'c' & 31}) add(part);
    for (char c : address.substr(3)) {
        const char* found = std::strchr(letters, lower(c));
        if (!c || !found) return false;
        add(static_cast<uint32_t>(found - letters));
    }
    return sum == 1 || sum == 0x2bc830a3;
}

inline Judged check_bitcoin(std::string_view text, Found* hit) {
    if (!stands_alone(text, hit->at, hit->length)) return UNFIT;
    std::string_view address = text.substr(hit->at, hit->length);
    return found_if(lower(address[0]) == 'b' ? passes_bech32(address) : passes_base58check(address));
}

}  // namespace kproxy
