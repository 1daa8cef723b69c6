// What records are held against, and what was found while doing so.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "actions.hpp"
#include "detect.hpp"
#include "limits.hpp"
#include "path_matcher.hpp"

namespace kproxy {

// How values are read; in the order of kproxy.model.record_plan.FORMATS.
enum PlanFormat : int { AS_AUTO, AS_JSON, AS_AVRO, AS_PROTOBUF, AS_JSON_SCHEMA };

struct Rules {
    std::vector<FieldRule> fields;              // of several about one value the first counts
    std::vector<int> of_tags;                   // those of them that are about tags
    std::vector<FieldRule> key_fields;
    std::vector<HeaderRule> headers;            // of several about one header the first counts
    std::vector<DetectRule> detects;            // in the order of the detectors
    std::shared_ptr<Detectors> detectors;
    size_t token_rules = SIZE_MAX;              // from here on, `detects` are about tokens and no detector finds them
    std::vector<std::vector<std::string>> per_paths;    // member names; what a date_shift is per
    std::vector<std::string> rule_messages;     // shown to a refused client
    bool drops_found = false;                   // some detector's find takes its field with it
    int format = AS_AUTO;
    bool observe = false;
    bool count_fields = false;
    bool refuse_unknown = true;
    bool produce = false;
    bool in_values = true, in_headers = true, in_keys = false;      // where detectors look

    Limits limits;

    // Without rules in force nothing is refused: what cannot be read is only not counted.
    bool enforced() const {
        auto hides = [](const auto& list) {
            return std::any_of(list.begin(), list.end(), [](const auto& rule) { return rule.action.kind != CLEAR; });
        };
        return !observe && (hides(fields) || hides(key_fields) || hides(headers) || hides(detects));
    }

    const HeaderRule* about_header(std::string_view name) const {
        for (const HeaderRule& rule : headers)
            if (rule.fits(name)) return &rule;
        return nullptr;
    }
};

inline PathMatcher matcher_of(const std::vector<FieldRule>& fields) {
    PathMatcher made;
    for (size_t i = 0; i < fields.size(); i++) {
        if (fields[i].is_allow_list) made.add_allow_list(fields[i].kept, static_cast<int>(i));
        else if (fields[i].tag.empty()) made.add_path(fields[i].path, static_cast<int>(i));
    }
    return made;
}

struct Counts {
    std::vector<uint64_t> rules;                // by rule index
    uint64_t entities[MOST_ENTITIES] = {};     // from ENTITIES on, of the plan's own detectors
    uint64_t records = 0;
    uint64_t unknown = 0;                       // values that are not JSON where fields were to be looked at
    uint64_t unread_tokens = 0;                 // that no key of the rule made, or that were altered: they stay as they are
    uint64_t uninspected = 0;                   // batches that could not be read, passed where no rule is in force

    void add(const Counts& more) {
        for (size_t i = 0; i < rules.size(); i++) rules[i] += more.rules[i];
        for (int i = 0; i < MOST_ENTITIES; i++) entities[i] += more.entities[i];
        records += more.records;
        unknown += more.unknown;
        uninspected += more.uninspected;
        unread_tokens += more.unread_tokens;
    }
    void take_back(const Counts& more) {
        for (size_t i = 0; i < rules.size(); i++) rules[i] -= more.rules[i];
        for (int i = 0; i < ENTITIES; i++) entities[i] -= more.entities[i];
        records -= more.records;
        unknown -= more.unknown;
        uninspected -= more.uninspected;
        unread_tokens -= more.unread_tokens;
    }
    void clear() {
        for (auto& count : rules) count = 0;
        for (auto& count : entities) count = 0;
        records = unknown = uninspected = unread_tokens = 0;
    }
};

struct Verdict {
    int blocked_by = -1;                        // rule index
    bool unknown = false;
    bool too_large = false;                     // what would be hidden takes more memory than one record may
    std::string message;
};

}  // namespace kproxy
