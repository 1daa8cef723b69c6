// Numbers told only as well as the bucket they fall into (Google DLP's bucketing). All arithmetic is of whole numbers, so that
// a bound belongs to one bucket and no rounding moves a number across it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "json_tokens.hpp"

namespace kproxy {

using Wide = __int128;

// A number of JSON's as `scale` decimal places have it, rounded towards minus infinity. False: it is no number, or has too
// many digits. What has an exponent is read as well.
inline bool read_decimal(std::string_view token, int scale, Wide* value) {
    constexpr int MOST_DIGITS = 34;         // times 10 still fits
    if (!is_json_number(token)) return false;
    bool negative = token[0] == '-';
    if (negative) token.remove_prefix(1);
    size_t digits_end = token.find_first_of("eE");
    long exponent = 0;
    if (digits_end != std::string_view::npos) {
        std::string_view written = token.substr(digits_end + 1);
        bool down = written[0] == '-';
        if (down || written[0] == '+') written.remove_prefix(1);
        for (char c : written)
            if (exponent < 1000) exponent = exponent * 10 + (c - '0');
        if (down) exponent = -exponent;
        token = token.substr(0, digits_end);
    }
    size_t dot = token.find('.');
    long whole = static_cast<long>(dot == std::string_view::npos ? token.size() : dot);
    long wanted = whole + exponent + scale;     // digits that stand before the cut
    Wide found = 0;
    long seen = 0, count = 0;
    bool more = false;                          // something but zeros behind the cut
    for (char c : token) {
        if (c == '.') continue;
        if (seen++ < wanted) {
            if (found || c != '0') count++;
            if (count > MOST_DIGITS) return false;
            found = found * 10 + (c - '0');
        } else if (c != '0') {
            more = true;
        }
    }
    for (; found && seen < wanted; seen++) {
        if (++count > MOST_DIGITS) return false;
        found *= 10;
    }
    *value = negative ? -found - (more ? 1 : 0) : found;
    return true;
}

// As short as it can be written.
inline std::string write_decimal(Wide value, int scale) {
    bool negative = value < 0;
    auto left = static_cast<unsigned __int128>(negative ? -value : value);
    std::string text;
    for (int place = 0; left || place <= scale; place++) {
        if (place == scale && place && !text.empty()) text.insert(text.begin(), '.');
        char digit = static_cast<char>('0' + static_cast<int>(left % 10));
        if (place >= scale || !text.empty() || digit != '0') text.insert(text.begin(), digit);
        left /= 10;
    }
    return (negative ? "-" : "") + text;
}

struct Bucket {
    bool has_from = false, has_to = false;
    Wide from = 0, to = 0;          // from <= value < to
    std::string text;
};

struct Buckets {
    int scale = 0;                  // decimal places of the bounds and the size
    Wide size = 0;                  // 0: the list counts
    std::vector<Bucket> list;

    // False: no bucket is the number's, or it has more than twenty digits before the dot. `text` is then empty.
    bool find(std::string_view token, std::string* text) const {
        text->clear();
        Wide value, most = 1;
        for (int i = 0; i < 20 + scale; i++) most *= 10;
        if (!read_decimal(token, scale, &value) || value < -most || value >= most) return false;
        if (size) {
            Wide rest = value % size;
            *text = write_decimal(value - (rest < 0 ? rest + size : rest), scale);
            return true;
        }
        for (const Bucket& bucket : list) {
            if ((bucket.has_from && value < bucket.from) || (bucket.has_to && value >= bucket.to)) continue;
            *text = bucket.text;
            return true;
        }
        return false;
    }

    // Bounds as the policy has them, "" where there is none. False: no numbers.
    bool add(const std::string& from, const std::string& to, const std::string& text) {
        Bucket made;
        made.has_from = !from.empty();
        made.has_to = !to.empty();
        made.text = text;
        if (made.has_from && !read_decimal(from, scale, &made.from)) return false;
        if (made.has_to && !read_decimal(to, scale, &made.to)) return false;
        list.push_back(made);
        return true;
    }
    bool set_size(const std::string& written) { return read_decimal(written, scale, &size) && size > 0; }
};

}  // namespace kproxy
