// One JSON value: every leaf visited, keys unescaped, every occurrence of a path; what must change becomes edits over the
// original text, so that all other bytes stay as they were.
#pragma once

#include <simdjson.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "actions.hpp"
#include "detect.hpp"

namespace kproxy {

struct Edit {
    size_t at;
    size_t length;
    std::string text;
};

inline std::string apply_edits(std::string_view text, std::vector<Edit>& edits) {
    std::string out;
    size_t done = 0;
    for (const auto& edit : edits) {
        out.append(text.substr(done, edit.at - done));
        out.append(edit.text);
        done = edit.at + edit.length;
    }
    out.append(text.substr(done));
    return out;
}

// RFC 8259 string. What is not valid UTF-8 after masking cannot arise: masking keeps whole characters.
inline std::string quote_json(std::string_view plain) {
    std::string out = "\"";
    for (char c : plain) {
        unsigned char byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out.push_back('\\');
            out.push_back(c);
        } else if (byte < 0x20) {
            const char* hex = "0123456789abcdef";
            out += "\\u00";
            out.push_back(hex[byte >> 4]);
            out.push_back(hex[byte & 15]);
        } else {
            out.push_back(c);
        }
    }
    out.push_back('"');
    return out;
}

// What a record is held against, and what was found while doing so. One per plan; used by one thread.
struct Rules {
    std::vector<FieldRule> fields;
    std::vector<DetectRule> detects;
    std::shared_ptr<Detectors> detectors;
    std::vector<std::string> rule_messages;     // shown to a refused producer
    bool observe = false;
    bool count_fields = false;
    bool refuse_unknown = true;
};

struct Counts {
    std::vector<uint64_t> rules;                // by rule index
    uint64_t entities[ENTITIES] = {};
    uint64_t records = 0;
};

struct Verdict {
    int blocked_by = -1;                        // rule index
    bool unknown = false;
    std::string message;
};

class JsonFields {
  public:
    JsonFields(const Rules& rules, PathTree& paths, Counts& counts) : rules_(rules), paths_(paths), counts_(counts) {
        for (size_t i = 0; i < rules.fields.size(); i++)
            paths_.rule_node(rules.fields[i].path)->field_rule = static_cast<int>(i);
    }

    // Replaces `text` by what may be seen of it. False: nothing changed.
    bool rewrite(std::string_view text, std::string* out, Verdict* verdict) {
        bool hits = !rules_.detects.empty() && rules_.detectors->may_match(text, &which_);
        bool escapes = !rules_.detects.empty() && text.find('\\') != std::string_view::npos;
        bool wanted = !rules_.fields.empty() || rules_.count_fields;
        if (!hits && !escapes && !wanted) return false;
        edits_.clear();
        look_ = hits || escapes;
        if (walk(text, verdict)) {
            if (edits_.empty() || verdict->blocked_by >= 0) return false;
            *out = apply_edits(text, edits_);
            return true;
        }
        // Not JSON to its end. A field rule cannot be kept; detectors still can, on the text as it is.
        edits_.clear();
        if (verdict->blocked_by >= 0) return false;
        if (!rules_.fields.empty()) {
            verdict->unknown = true;
            if (rules_.refuse_unknown) return false;
        }
        return hits && rewrite_text(text, out, verdict);
    }

    // Detectors only, on bytes that are not taken for JSON (headers, keys, plain text).
    bool rewrite_text(std::string_view text, std::string* out, Verdict* verdict) {
        return rules_.detects.empty() ? false : hide_found(text, out, verdict);
    }

  private:
    using Value = simdjson::ondemand::value;
    struct Broken {};
    static constexpr int DEEPEST = 128;

    template <typename T>
    static T must(simdjson::simdjson_result<T> result) {
        T value;
        if (std::move(result).get(value)) throw Broken();
        return value;
    }

    // False: the text is not one JSON value from its start to its end.
    bool walk(std::string_view text, Verdict* verdict) {
        if (text.size() > padded_.size() || padded_.size() == 0) padded_.resize(text.size() * 2 + 1024);
        padded_.replace(0, text.size(), text);
        padded_.reserve(padded_.size() + simdjson::SIMDJSON_PADDING);
        base_ = padded_.data();
        verdict_ = verdict;
        try {
            simdjson::ondemand::document document;
            if (parser_.iterate(base_, text.size(), padded_.capacity()).get(document)) return false;
            if (must(document.is_scalar())) {
                walk_root_scalar(document, text);
            } else {
                Value root;
                if (document.get_value().get(root)) return false;
                walk_value(root, paths_.root(), 0);
            }
            return document.current_location().error() == simdjson::OUT_OF_BOUNDS;
        } catch (const Broken&) {
            return false;
        }
    }

    void walk_root_scalar(simdjson::ondemand::document& document, std::string_view text) {
        auto type = must(document.type());
        PathNode* node = paths_.root();
        size_t at = text.find_first_not_of(" \t\r\n"), end = text.find_last_not_of(" \t\r\n");
        std::string plain;
        if (type == simdjson::ondemand::json_type::string) {
            plain = std::string(must(document.get_string()));
        } else {
            plain = std::string(text.substr(at, end + 1 - at));
            if (type == simdjson::ondemand::json_type::number) (void)must(document.get_double());
            else if (type == simdjson::ondemand::json_type::boolean) (void)must(document.get_bool());
            else if (plain != "null") throw Broken();
        }
        leaf(node, at, end + 1 - at, plain, type != simdjson::ondemand::json_type::null);
    }

    void walk_value(Value& value, PathNode* node, int depth) {
        if (depth > DEEPEST) throw Broken();
        auto type = must(value.type());
        switch (type) {
            case simdjson::ondemand::json_type::object:
            case simdjson::ondemand::json_type::array: walk_container(value, type, node, depth); break;
            default: walk_leaf(value, type, node);
        }
    }

    void walk_container(Value& value, simdjson::ondemand::json_type type, PathNode* node, int depth) {
        size_t before = edits_.size();
        size_t at = 0;
        if (type == simdjson::ondemand::json_type::object) {
            simdjson::ondemand::object object = must(value.get_object());
            at = offset(must(object.raw_json()).data());
            if (object.reset().error()) throw Broken();
            for (auto item : object) {
                simdjson::ondemand::field field;
                if (std::move(item).get(field)) throw Broken();
                const char* raw = field.key().raw();
                std::string key(must(field.unescaped_key()));
                if (look_) see_key(raw, key);
                Value child = field.value();
                walk_value(child, paths_.member(node, key), depth + 1);
            }
        } else {
            simdjson::ondemand::array array = must(value.get_array());
            at = offset(must(array.raw_json()).data());
            if (array.reset().error()) throw Broken();
            for (auto item : array) {
                Value child;
                if (std::move(item).get(child)) throw Broken();
                walk_value(child, paths_.element(node), depth + 1);
            }
        }
        if (node->field_rule >= 0) hide_container(node, at, before);
    }

    // A rule on an object or array hides it whole: what was found inside is forgotten.
    void hide_container(PathNode* node, size_t at, size_t before) {
        edits_.resize(before);
        hide_field(node, at, closing(at) - at, std::string_view(base_ + at, closing(at) - at));
    }

    // The end of the container that begins at `at`; its text was parsed, so brackets balance and strings end.
    size_t closing(size_t at) const {
        int open = 0;
        bool quoted = false;
        for (;; at++) {
            char c = base_[at];
            if (quoted) {
                if (c == '\\') at++;
                else if (c == '"') quoted = false;
            } else if (c == '"') {
                quoted = true;
            } else if (c == '{' || c == '[') {
                open++;
            } else if ((c == '}' || c == ']') && --open == 0) {
                return at + 1;
            }
        }
    }

    void walk_leaf(Value& value, simdjson::ondemand::json_type type, PathNode* node) {
        std::string_view token = value.raw_json_token();
        while (!token.empty() && (token.back() == ' ' || token.back() == '\t' || token.back() == '\r' || token.back() == '\n'))
            token.remove_suffix(1);
        size_t at = offset(token.data());
        if (type == simdjson::ondemand::json_type::string) {
            bool whole = node->field_rule >= 0 || look_ || token.find('\\') != std::string_view::npos;
            std::string_view plain = whole ? must(value.get_string()) : token;
            if (!whole && value.get_raw_json_string().error()) throw Broken();
            leaf(node, at, token.size(), plain, true);
        } else if (type == simdjson::ondemand::json_type::number) {
            if (value.get_double().error()) throw Broken();
            leaf(node, at, token.size(), token, true);
        } else if (type == simdjson::ondemand::json_type::boolean) {
            (void)must(value.get_bool());
            leaf(node, at, token.size(), token, true);
        } else {
            if (token != "null" || !value.is_null()) throw Broken();
            leaf(node, at, token.size(), token, false);
        }
    }

    // A null stays null: it says nothing, and hiding it would invent a value.
    void leaf(PathNode* node, size_t at, size_t length, std::string_view plain, bool has_value) {
        if (node->field_rule >= 0 && has_value) {
            hide_field(node, at, length, plain);
            return;
        }
        std::string seen;
        if (look_ && has_value && hide_found(plain, &seen, verdict_)) {
            edits_.push_back({at, length, quote_json(seen)});
            node->masked++;
            return;
        }
        node->emitted++;
    }

    void hide_field(PathNode* node, size_t at, size_t length, std::string_view plain) {
        const FieldRule& field = rules_.fields[node->field_rule];
        counts_.rules[field.rule]++;
        if (rules_.observe) {
            node->emitted++;
        } else if (field.action.kind == BLOCK) {
            block(field.rule, std::string());
        } else {
            node->masked++;
            edits_.push_back({at, length, quote_json(hide(field.action, plain))});
        }
    }

    void see_key(const char* raw, std::string_view key) {
        std::string seen;
        if (!hide_found(key, &seen, verdict_)) return;
        size_t at = offset(raw) - 1, end = at + 1;
        while (base_[end] != '"') end += base_[end] == '\\' ? 2 : 1;
        edits_.push_back({at, end + 1 - at, quote_json(seen)});
    }

    // True and `out` set: `plain` held what a detector hides.
    bool hide_found(std::string_view plain, std::string* out, Verdict* verdict) {
        if (!rules_.detectors->may_match(plain, &which_here_)) return false;
        found_.clear();
        for (int which : which_here_) rules_.detectors->find(which, plain, &found_);
        if (found_.empty()) return false;
        std::sort(found_.begin(), found_.end(), [](const Found& a, const Found& b) {
            return a.at != b.at ? a.at < b.at : a.length > b.length;
        });
        std::vector<Edit> parts;
        size_t done = 0;
        for (const auto& hit : found_) {
            if (hit.at < done && !parts.empty()) {
                // Overlapping finds: the earlier span's action is taken over what both cover.
                size_t end = std::max(done, hit.at + hit.length);
                parts.back().length = end - parts.back().at;
                done = end;
                continue;
            }
            const DetectRule& rule = rules_.detects[hit.entity];
            counts_.rules[rule.rule]++;
            counts_.entities[rule.entity]++;
            if (rules_.observe) continue;
            if (rule.action.kind == BLOCK) {
                verdict->blocked_by = rule.rule;
                if (verdict->message.empty()) verdict->message = rule.message;
                continue;
            }
            parts.push_back({hit.at, hit.length, hide(rule.action, plain.substr(hit.at, hit.length))});
            done = hit.at + hit.length;
        }
        if (parts.empty()) return false;
        *out = apply_edits(plain, parts);
        return true;
    }

    void block(int rule, const std::string& message) {
        verdict_->blocked_by = rule;
        if (verdict_->message.empty()) verdict_->message = message;
    }

    size_t offset(const char* at) const { return static_cast<size_t>(at - base_); }

    const Rules& rules_;
    PathTree& paths_;
    Counts& counts_;
    simdjson::ondemand::parser parser_;
    std::string padded_;
    const char* base_ = nullptr;
    Verdict* verdict_ = nullptr;
    bool look_ = false;
    std::vector<Edit> edits_;
    std::vector<int> which_, which_here_;
    std::vector<Found> found_;
};

}  // namespace kproxy
