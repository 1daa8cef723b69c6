// Dates and times moved by whole days: ISO 8601 as RFC 3339 has it (and without a zone, or without seconds), and numbers that
// count seconds or milliseconds since 1970. What is written around the day stays as it was.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include "buckets.hpp"
#include "keyed_hash.hpp"

namespace kproxy {

// Days since 1970-01-01 of a day of the proleptic Gregorian calendar, and back (Howard Hinnant, "chrono-compatible
// low-level date algorithms").
inline int64_t days_of(int64_t year, int month, int day) {
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

inline void date_of(int64_t days, int64_t* year, int* month, int* day) {
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t of_era = days - era * 146097;
    int64_t years = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * years + years / 4 - years / 100);
    int64_t shifted = (5 * of_year + 2) / 153;
    *day = static_cast<int>(of_year - (153 * shifted + 2) / 5 + 1);
    *month = static_cast<int>(shifted < 10 ? shifted + 3 : shifted - 9);
    *year = years + era * 400 + (*month <= 2);
}

// What stands behind the day: a time of the clock, perhaps with a fraction and a zone. Nothing else may, since it would be
// shown as it is.
class ClockTime {
  public:
    static bool fits(std::string_view text) {
        ClockTime time{text};
        return text.empty() || (time.one_of("Tt ") && time.read() && time.left_.empty());
    }

  private:
    explicit ClockTime(std::string_view text) : left_(text) {}

    bool read() {
        if (!number(23) || !one_of(":") || !number(59)) return false;
        if (one_of(":")) {
            if (!number(60)) return false;
            if (one_of(".,")) {
                size_t digits = 0;
                while (digits < left_.size() && left_[digits] >= '0' && left_[digits] <= '9') digits++;
                if (digits == 0 || digits > 9) return false;
                left_.remove_prefix(digits);
            }
        }
        if (left_.empty() || one_of("Zz")) return true;
        if (!one_of("+-") || !number(23)) return false;
        if (left_.empty()) return true;
        one_of(":");
        return number(59);
    }

    bool one_of(const char* wanted) {
        if (left_.empty() || std::string_view(wanted).find(left_[0]) == std::string_view::npos) return false;
        left_.remove_prefix(1);
        return true;
    }
    bool number(int most) {
        if (left_.size() < 2 || left_[0] < '0' || left_[0] > '9' || left_[1] < '0' || left_[1] > '9') return false;
        bool fits = (left_[0] - '0') * 10 + (left_[1] - '0') <= most;
        left_.remove_prefix(2);
        return fits;
    }

    std::string_view left_;
};

// False: it is no such date, or what comes out is beyond the years 1 to 9999.
inline bool shift_iso_date(std::string_view plain, int64_t days, std::string* out) {
    auto digits = [&](size_t at, size_t count, int64_t* value) {
        *value = 0;
        for (size_t i = at; i < at + count; i++) {
            if (plain[i] < '0' || plain[i] > '9') return false;
            *value = *value * 10 + (plain[i] - '0');
        }
        return true;
    };
    int64_t year, month, day;
    if (plain.size() < 10 || plain[4] != '-' || plain[7] != '-' || !digits(0, 4, &year) || !digits(5, 2, &month) || !digits(8, 2, &day))
        return false;
    if (year < 1 || month < 1 || month > 12 || day < 1 || !ClockTime::fits(plain.substr(10))) return false;
    int64_t found = days_of(year, static_cast<int>(month), static_cast<int>(day)), real_year;
    int real_month, real_day;
    date_of(found, &real_year, &real_month, &real_day);
    if (real_month != month || real_day != day) return false;       // the 31st of a month that has 30 days
    date_of(found + days, &real_year, &real_month, &real_day);
    if (real_year < 1 || real_year > 9999) return false;
    char text[32];
    std::snprintf(text, sizeof text, "%04d-%02d-%02d", static_cast<int>(real_year), real_month, real_day);
    out->assign(text, 10);
    out->append(plain.data() + 10, plain.size() - 10);
    return true;
}

// A number below 10^11 counts seconds (until the year 5138), one below 10^14 milliseconds. False: it is neither, or is
// written with an exponent.
inline bool shift_epoch(std::string_view plain, int64_t days, std::string* out) {
    constexpr size_t MOST = 32;
    if (plain.size() > MOST || !is_json_number(plain) || plain.find_first_of("eE") != std::string_view::npos) return false;
    size_t dot = plain.find('.');
    int places = dot == std::string_view::npos ? 0 : static_cast<int>(plain.size() - dot - 1);
    Wide value, whole;
    if (places > 9 || !read_decimal(plain, places, &value) || !read_decimal(plain.substr(0, dot), 0, &whole)) return false;
    Wide size = whole < 0 ? -whole : whole;
    if (size >= static_cast<Wide>(100'000'000'000'000)) return false;
    Wide moved = static_cast<Wide>(days) * (size < static_cast<Wide>(100'000'000'000) ? 86'400 : 86'400'000);
    for (int i = 0; i < places; i++) moved *= 10;
    *out = write_decimal(value + moved, places);
    // As many decimal places as before: what was written 5.10 stays of that precision.
    if (places) {
        size_t written = out->find('.');
        size_t has = written == std::string::npos ? 0 : out->size() - written - 1;
        if (!has) out->push_back('.');
        out->append(static_cast<size_t>(places) - has, '0');
    }
    return true;
}

// From -most to most, never 0, and the same for one entity under one key.
inline int64_t shift_of(KeyedHash& key, std::string_view entity, int most) {
    unsigned char digest[8];
    key.hash(entity, digest, sizeof digest);
    uint64_t number = 0;
    for (unsigned char byte : digest) number = number << 8 | byte;
    int64_t place = static_cast<int64_t>(number % (2 * static_cast<uint64_t>(most)));
    return place < most ? place - most : place - most + 1;
}

}  // namespace kproxy
