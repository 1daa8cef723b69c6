// The entities that can be found in text, a row each: a pattern, which finds candidates, a check, which decides (check digits,
// ranges, boundaries), words beside a find that decide where a check cannot, and what bytes tell that it may be there.
// How one is added: docs/development.md, A new detector. What each is and what it finds: docs/detectors.md.
#pragma once

#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>

#include "found.hpp"
#include "network_checks.hpp"
#include "payment_checks.hpp"
#include "person_checks_europe.hpp"
#include "person_checks_world.hpp"

namespace kproxy {

// In the order of the rows below, and of ENTITIES in kproxy/model/record_plan.py.
enum Entity : int {
    EMAIL, CREDIT_CARD, US_SSN, IBAN, IPV4, PRIVATE_KEY, API_KEY,
    US_ITIN, US_PASSPORT, US_DRIVER_LICENSE, UK_NINO, UK_NHS, DE_TAX_ID, DE_ID_CARD, FR_NIR, ES_DNI, ES_NIE,
    IT_CODICE_FISCALE, NL_BSN, BE_NATIONAL_NUMBER, PL_PESEL, SE_PERSONNUMMER, FI_HETU, DK_CPR, NO_FODSELSNUMMER, PT_NIF,
    CH_AHV, IE_PPS, CZ_RODNE_CISLO, RO_CNP, BG_EGN, HR_OIB, EE_ISIKUKOOD, GR_AMKA, AT_SVNR, TR_TCKN,
    IN_AADHAAR, IN_PAN, BR_CPF, BR_CNPJ, CA_SIN, AU_TFN, AU_MEDICARE, AU_ABN, SG_NRIC, KR_RRN, ZA_ID, MX_CURP, CN_RESIDENT_ID,
    IL_ID, JP_MY_NUMBER, TH_ID, TW_ID, HK_ID, CL_RUT, AR_CUIT, MY_NRIC,
    DATE_OF_BIRTH, PHONE, NATIONAL_PHONE,
    SWIFT_BIC, US_BANK_ROUTING, BITCOIN_ADDRESS, ETHEREUM_ADDRESS,
    IPV6, MAC_ADDRESS, URL_CREDENTIALS,
    AWS_ACCESS_KEY_ID, AWS_SECRET_KEY, GCP_SERVICE_ACCOUNT_KEY, GCP_API_KEY, AZURE_STORAGE_KEY, GITHUB_TOKEN, GITLAB_TOKEN,
    SLACK_TOKEN, STRIPE_KEY, JWT, PASSWORD, AUTH_HEADER,
    US_NPI, US_MBI, US_DEA, ICD10, VIN, IMEI,
    ENTITIES
};

// A set of entities, and behind them of a plan's own detectors.
using EntitySet = unsigned __int128;
constexpr int MOST_ENTITIES = 128;
static_assert(ENTITIES < MOST_ENTITIES - 32, "an entity for every bit, and places for a plan's own");

constexpr EntitySet bit_of(int entity) { return EntitySet{1} << entity; }
inline int lowest_of(EntitySet set) {
    uint64_t low = static_cast<uint64_t>(set);
    return low ? __builtin_ctzll(low) : 64 + __builtin_ctzll(static_cast<uint64_t>(set >> 64));
}

// Words (letters, digits and _) that have a digit: of digits only, or of letters too; JOINED: with a sign and a word behind.
enum WordKind : uint8_t { NO_WORD = 0, DIGITS = 1, MIXED = 2, ANY = 3, JOINED = 4 };

constexpr uint64_t of_length(int first, int last) { return (last == 63 ? ~uint64_t{0} : (uint64_t{1} << (last + 1)) - 1) & ~((uint64_t{1} << first) - 1); }
constexpr uint64_t of_length(int only) { return of_length(only, only); }

// A word at which an entity may begin, or behind whose beginning `back` bytes before; there stands `lead`, if it is given.
struct WordStart {
    uint8_t kind = NO_WORD;
    uint64_t lengths = 0;       // bit n: of n bytes; 63 or more count as 63
    uint8_t back = 0;
    char lead = '\0';
};

using Check = Judged (*)(std::string_view text, Found* hit);

struct EntityRow {
    const char* name;
    const char* group;
    const char* pattern;
    size_t longest;             // the most bytes that the pattern matches; 0: no limit
    Check check;                // may shorten, lengthen or move the hit; none: the pattern decides
    const char* words;          // beside a find that the check doubts, as is_word_at() takes them, with | between
    const char* source;         // of the rule
    // What bytes say that it may be there; with none of both, prefilter.hpp knows, or nothing does.
    const char* literals = "";  // one of which is there, in small letters, with | between
    WordStart starts[3] = {};
};

// Repetitions are bounded where a check may refuse what they matched: else refusals over one long run cost its square.
inline const EntityRow& entity_row(int entity) {
    static const EntityRow rows[] = {
#include "entity_rows.inc"
    };
    static_assert(std::size(rows) == ENTITIES, "a row for each entity, in their order");
    return rows[entity];
}

inline const char* entity_pattern(int entity) { return entity_row(entity).pattern; }
inline size_t longest_match(int entity) { return entity_row(entity).longest; }

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

// Where to look on after a candidate from `at` to `end` was refused.
inline size_t after_refusal(int entity, std::string_view text, size_t at, size_t end) {
    if (entity >= ENTITIES) return end;     // of a policy's pattern nobody knows how far the next match goes: else a square
    switch (entity) {
        case CREDIT_CARD: case IPV4: case US_SSN:
            while (at + 1 < text.size() && is_digit(text[at + 1])) at++;     // no entity begins within a digit group
            return at + 1;
        case NATIONAL_PHONE:
            if (text[at] == '+') return end;                                // the other's
            while (at + 1 < text.size() && is_digit(text[at]) && is_digit(text[at + 1])) at++;
            return at + 1;
        case IPV6: case AWS_SECRET_KEY: case AZURE_STORAGE_KEY:
            return end;                                                     // the pattern takes all that belongs together
        default:
            return at + 1;
    }
}

}  // namespace kproxy
