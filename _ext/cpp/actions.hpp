// What is done to a value that must not be seen.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "buckets.hpp"
#include "dates.hpp"
#include "keyed_hash.hpp"
#include "masking.hpp"
#include "tokens.hpp"

namespace kproxy {

// In the order of mask.pyx's ACTIONS.
enum ActionKind : int { REDACT, REPLACE, MASK, HMAC_TOKEN, BLOCK, TOKEN, CLEAR, DATE_SHIFT, BUCKET, DROP_FIELD,
                        DROP_RECORD, MARK, QUARANTINE };

struct Action {
    int kind = REDACT;
    int per = -1;                // date_shift: the path in Rules::per_paths whose value says by how many
    int days = 0;                // date_shift: at most
    int keep_first = 0;          // mask: characters, not bytes
    int keep_last = 0;
    bool keep_format = false;
    std::string text;            // replace
    std::string character = "*"; // empty: whatever has the shape of the one it hides
    std::string key_id;          // hmac
    std::shared_ptr<KeyedHash> key;     // hmac, date_shift; one thread's
    std::shared_ptr<TokenKeys> tokens;  // token, clear; one thread's
    std::shared_ptr<Buckets> buckets;
};

// `key id:` and the first 32 hex digits of the value's hash: equal values stay equal, so joins still work.
inline void hmac_text(const Action& action, std::string_view plain, std::string* out) {
    unsigned char digest[16];
    action.key->hash(plain, digest, sizeof digest);
    *out += action.key_id;
    out->push_back(':');
    for (unsigned char byte : digest) {
        out->push_back("0123456789abcdef"[byte >> 4]);
        out->push_back("0123456789abcdef"[byte & 15]);
    }
}

// What takes a value's place: the format at hand says how it is written.
struct Hidden {
    std::string text;                       // the value as people read it, without quotes or escapes
    ValueKind kind = TEXT_VALUE;            // NUMBER_VALUE: the text is a number of JSON's
    bool dropped = false;                   // the field itself goes
    bool same = false;                      // `text` is what stood there: nothing need be written
    bool cleared = false;                   // `text` is what a token stood for: nothing was hidden
};

[[gnu::noinline]] inline void mask_shape_of(const Action& action, ValueKind kind, std::string_view plain, Hidden* out) {
    Kept kept{static_cast<size_t>(action.keep_first), static_cast<size_t>(action.keep_last)};
    if (kind == BOOLEAN_VALUE) {
        out->text = "false";
        out->kind = BOOLEAN_VALUE;
    } else if (kind != CONTAINER_VALUE) {
        mask_shape(kept, action.character, kind == NUMBER_VALUE, plain, &out->text);
        if (kind == NUMBER_VALUE && !out->text.empty()) out->kind = NUMBER_VALUE;
    }
}

// A value that is a token already stays it, whoever wrote it, so that equal values stay equal from topic to topic.
[[gnu::noinline]] inline void seal_value(const Action& action, ValueKind kind, std::string_view plain, Hidden* out) {
    ValueKind was;
    if (action.tokens->open(plain, &was, &out->text)) {
        out->text.assign(plain);
        out->same = true;
    } else if (!action.tokens->seal(kind, plain, &out->text)) {
        out->text.clear();
    }
}

[[gnu::noinline]] inline void clear_token(const Action& action, std::string_view plain, Hidden* out) {
    out->cleared = action.tokens->open(plain, &out->kind, &out->text);
    if (out->cleared) return;
    out->kind = TEXT_VALUE;
    out->text.assign(plain);
    out->same = true;
}

// Numbers stay numbers. What the action cannot be done to is redacted: it is no date, no number, or in no bucket.
[[gnu::noinline]] inline void blur_value(const Action& action, ValueKind kind, std::string_view plain, const std::string* entity, Hidden* out) {
    bool done = false;
    if (action.kind == BUCKET) {
        done = action.buckets->find(plain, &out->text);
    } else {
        int64_t days = shift_of(*action.key, entity ? std::string_view(*entity) : std::string_view(), action.days);
        done = shift_epoch(plain, days, &out->text) || (kind != NUMBER_VALUE && shift_iso_date(plain, days, &out->text));
    }
    if (!done) out->text.clear();
    if (done && kind == NUMBER_VALUE && is_json_number(out->text)) out->kind = NUMBER_VALUE;
}

// `entity`: the value at the path that a date_shift is `per`. What is for a whole record hides its values for as long as
// they are there.
inline void hide(const Action& action, ValueKind kind, std::string_view plain, Hidden* out, const std::string* entity = nullptr) {
    out->text.clear();
    out->kind = TEXT_VALUE;
    out->dropped = action.kind == DROP_FIELD;
    out->same = out->cleared = false;
    switch (action.kind) {
        case REPLACE: out->text = action.text; break;
        case MASK:
            if (action.keep_format) mask_shape_of(action, kind, plain, out);
            else mask_text({static_cast<size_t>(action.keep_first), static_cast<size_t>(action.keep_last)}, action.character, plain, &out->text);
            break;
        case HMAC_TOKEN: hmac_text(action, plain, &out->text); break;
        case TOKEN: seal_value(action, kind, plain, out); break;
        case CLEAR: clear_token(action, plain, out); break;
        case DATE_SHIFT:
        case BUCKET: blur_value(action, kind, plain, entity, out); break;
        default: break;
    }
}

struct FieldRule {
    std::vector<std::string> path;
    std::string tag;             // instead of a path: of the fields that a registered schema gives it
    Action action;
    int rule;                    // index of the rule's name
    bool is_allow_list = false;  // instead of the path: about every leaf that is not at or beneath one of `kept`
    std::vector<std::vector<std::string>> kept;
};

// About the values of headers whose name fits: `name_parts` stand before, between and behind the stars of a glob.
struct HeaderRule {
    std::vector<std::string> name_parts;
    Action action;
    int rule;

    bool fits(std::string_view name) const {
        std::string_view first = name_parts.front(), last = name_parts.back();
        if (name_parts.size() == 1) return name == first;
        if (name.size() < first.size() + last.size() || name.substr(0, first.size()) != first ||
            name.substr(name.size() - last.size()) != last)
            return false;
        std::string_view between = name.substr(first.size(), name.size() - first.size() - last.size());
        for (size_t i = 1; i + 1 < name_parts.size(); i++) {
            // The leftmost place of each part leaves the most room for the next.
            size_t at = between.find(name_parts[i]);
            if (at == std::string_view::npos) return false;
            between.remove_prefix(at + name_parts[i].size());
        }
        return true;
    }
};

struct DetectRule {
    int entity;                  // -1: tokens
    Action action;
    int rule;
    std::string message;
};

}  // namespace kproxy
