// One part of a record (its value, its key, a header's value): every leaf of a JSON document visited, keys unescaped, every
// occurrence of a path; text searched by detectors. What must change becomes edits, so all other bytes stay as they were.
//
// Detectors search the text as it stands, once. Where that found something, or where an escape may hide something, the
// document is walked and only the strings concerned are looked at again, unescaped.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "codecs.hpp"
#include "edits.hpp"
#include "hiding.hpp"
#include "json_index.hpp"
#include "json_lookup.hpp"
#include "json_paths.hpp"
#include "json_tokens.hpp"
#include "rules.hpp"

namespace kproxy {

// Buffers that every plan of a thread uses in turn: none is needed between two record sets.
struct Scratch {
    JsonIndex index;
    Buffer padded;
    Edits edits;
    Codecs codecs;
    FrameUse frame;
    Buffer plain, changed, out;

    static Scratch& of_thread() {
        static thread_local Scratch scratch;
        return scratch;
    }
    void give_back() {
        constexpr size_t KEEP = 4 << 20;
        padded.give_back(KEEP);
        plain.give_back(KEEP);
        changed.give_back(KEEP);
        out.give_back(KEEP);
        edits.give_back(KEEP);
        index.give_back(KEEP);
    }
};

class PartRewriter {
  public:
    // Where parts are `opaque`, a rule about the whole of one does not care what it is.
    PartRewriter(Hiding& hiding, bool opaque) : hiding_(hiding), rules_(hiding.rules), paths_(hiding.paths), opaque_(opaque) {}

    // Adds edits for `part`, which begins `shift` bytes into the record and may be read `spare` bytes beyond its end.
    void rewrite(Scratch& scratch, std::string_view part, size_t shift, size_t spare, bool fields, bool detect, Verdict* verdict) {
        if (part.empty()) return;
        edits_ = &scratch.edits;
        shift_ = shift;
        hiding_.begin(edits_, verdict);
        hits_.clear();
        if (detect && !rules_.detects.empty()) hiding_.find_in(part, &hits_);
        escape_at_ = find_escape(part.data(), part.size(), 0);
        look_ = detect && !rules_.detects.empty() && (escape_at_ < part.size() || !hits_.empty());
        next_hit_ = 0;
        bool wanted = fields && (rules_.count_fields || !hiding_.fields.empty());
        const FieldRule* about_all = wanted ? hiding_.rule_of_all() : nullptr;
        if (about_all && opaque_) {
            hiding_.hide_whole(part, shift, about_all->action, about_all->rule, paths_.root(), detect, &hits_);
            return hiding_.keep();
        }
        Hiding::State before = hiding_.state();
        bool is_json = (wanted || look_) && walk(scratch, part, spare, wanted ? paths_.root() : paths_.nowhere());
        if (!is_json && !verdict->too_large) {
            hiding_.go_back(before);
            if (about_all) hiding_.hide_whole(part, shift, about_all->action, about_all->rule, paths_.root(), detect, &hits_);
            else if (wanted) hiding_.on_unknown();
            if (look_ && !about_all) hiding_.hide_in_text(part, shift, &hits_);
        }
        hiding_.keep();
    }

    // As rewrite(), of a part that a rule hides whole, whatever it is.
    void replace(Scratch& scratch, std::string_view part, size_t shift, const HeaderRule& rule, bool detect, Verdict* verdict) {
        hiding_.begin(&scratch.edits, verdict);
        hits_.clear();
        if (detect && !rules_.detects.empty()) hiding_.find_in(part, &hits_);
        hiding_.hide_whole(part, shift, rule.action, rule.rule, nullptr, detect, &hits_);
        hiding_.keep();
    }

    // Lists that one large record made long go back to the system.
    void give_back() {
        constexpr size_t KEEP = 4096;
        if (hits_.capacity() > KEEP) std::vector<Found>().swap(hits_);
        if (found_.capacity() > KEEP) std::vector<Found>().swap(found_);
    }

  private:
    using Place = const uint32_t*;      // of a token, in the index
    static constexpr int DEEPEST = 128;

    // -- the document ------------------------------------------------------------------------------------------------

    // False: the part is not one JSON value from its start to its end.
    bool walk(Scratch& scratch, std::string_view part, size_t spare, PathNode* root) {
        begin_ = part.data();
        if (spare < JsonIndex::PADDING) {
            scratch.padded.clear();
            scratch.padded.append(part);
            std::memset(scratch.padded.room(JsonIndex::PADDING), ' ', JsonIndex::PADDING);
            begin_ = scratch.padded.data();
        }
        size_ = part.size();
        index_ = &scratch.index;
        if (!index_->read(begin_, size_)) return false;
        end_ = index_->end();
        if (!rules_.per_paths.empty()) look_up();
        calm_down(0);
        return walk_value(index_->begin(), root, 0) == end_;
    }

    [[gnu::noinline]] void look_up() {
        for (size_t per = 0; per < rules_.per_paths.size(); per++)
            hiding_.set_entity(per, JsonLookup(*index_, begin_).leaf_at(rules_.per_paths[per]));
    }

    // Of the value that begins at `at`, which is before the end: the place behind it, or null if it is not JSON.
    [[gnu::always_inline]] Place walk_value(Place at, PathNode* node, int depth) {
        const char* first = begin_ + *at;
        if (at[1] <= calm_until_ && node->is_free) {
            if (*first == '"' || is_plain_scalar(first, begin_ + at[1])) {
                hiding_.show(node);
                return at + 1;
            }
            if (*first == '{') return walk_object(at + 1, node, depth);
            if (*first == '[') return walk_array(at + 1, node, depth);
        }
        return walk_closely(at, node, depth);
    }

    // As walk_value(), for what needs more than a glance.
    [[gnu::noinline]] Place walk_closely(Place at, PathNode* node, int depth) {
        char first = begin_[*at];
        if (first == '{' || first == '[') return walk_container(at, node, depth);
        std::string_view token = token_at(at), plain = token;
        if (first == '"') {
            plain = token.substr(1, token.size() - 2);
            if (has_escape(at) && !index_->unescape(token, &plain)) return nullptr;
        } else if (!is_json_scalar(token)) {
            return nullptr;
        }
        bool fits = leaf(at, token, plain, node, token != "null");
        calm_down(at[1]);
        return fits ? at + 1 : nullptr;
    }

    Place walk_container(Place at, PathNode* node, int depth) {
        bool hidden = node->match->field_rule >= 0 && !hiding_.clears(node->match->field_rule);
        Hiding::State before = hiding_.state();
        if (hidden) hiding_.part_shown();     // so that no entry before is added to
        Place behind = begin_[*at] == '{' ? walk_object(at + 1, node, depth) : walk_array(at + 1, node, depth);
        if (behind && hidden) hide_container(at, node, std::string_view(begin_ + *at, behind[-1] + 1 - *at), before);
        return behind;
    }

    [[gnu::noinline]] Place walk_object(Place at, PathNode* node, int depth) {
        if (at != end_ && begin_[*at] == '}') return at + 1;
        if (depth == DEEPEST) return nullptr;
        const PathNode* before = node;
        PathNode** expected = &node->first;
        for (;;) {
            if (end_ - at < 4) return nullptr;      // a key, a colon, a value and what ends it
            PathNode* child = *expected;
            if (at[1] > calm_until_ || !child || !child->key.is_at(begin_ + *at)) {
                if (begin_[*at] != '"' || begin_[at[1]] != ':' || !walk_key(at, node, &child)) return nullptr;
                PathTree::expect(before, expected, child);
            }
            at = walk_value(at + 2, child, depth + 1);
            if (!at || at == end_) return nullptr;
            char after = begin_[*at++];
            if (after == '}') return at;
            if (after != ',') return nullptr;
            before = child;
            expected = &child->follower;
        }
    }

    [[gnu::noinline]] Place walk_array(Place at, PathNode* node, int depth) {
        if (at != end_ && begin_[*at] == ']') return at + 1;
        if (depth == DEEPEST) return nullptr;
        PathNode* child = paths_.element(node);
        for (;;) {
            if (end_ - at < 2) return nullptr;      // a value and what ends it
            at = walk_value(at, child, depth + 1);
            if (!at || at == end_) return nullptr;
            char after = begin_[*at++];
            if (after == ']') return at;
            if (after != ',') return nullptr;
        }
    }

    [[gnu::noinline]] bool walk_key(Place at, PathNode* node, PathNode** child) {
        if (node->match->name_rule >= 0) return walk_hidden_key(at, node, child);
        if (at[1] <= calm_until_ && (*child = PathTree::member_at(node, begin_ + *at))) return true;
        std::string_view token = token_at(at), name = token.substr(1, token.size() - 2);
        if (at[1] <= calm_until_) {
            *child = paths_.member(node, name);
            return true;
        }
        if (has_escape(at) && !index_->unescape(token, &name)) return false;
        bool touched = look_ && is_touched(*at, *at + token.size());
        size_t events_before = hiding_.event_count();
        bool held = touched && (hide_string(nullptr, token, name, false) || hiding_.event_count() > events_before);
        calm_down(at[1]);
        // A name that holds what detectors look for is no name to write into an audit log.
        *child = held ? paths_.detected_member(node, name) : paths_.member(node, name);
        return true;
    }

    // As walk_key(), of an object whose members' names are hidden.
    bool walk_hidden_key(Place at, PathNode* node, PathNode** child) {
        std::string_view token = token_at(at), name = token.substr(1, token.size() - 2);
        if (has_escape(at) && !index_->unescape(token, &name)) return false;
        if (look_ && is_touched(*at, *at + token.size())) hide_string(nullptr, token, name, true);
        *child = paths_.unnamed_member(node, name);
        int rule = hiding_.rule_of_leaf(node->match->name_rule, name);
        if (rule >= 0) hide_by_rule(nullptr, rule, nullptr, token, name, TEXT_VALUE);
        calm_down(at[1]);
        return !hiding_.is_too_large();
    }

    // The token that begins at `at`, and what stands behind it up to the next one is white space.
    std::string_view token_at(Place at) const { return trim_right(std::string_view(begin_ + *at, at[1] - *at)); }

    bool has_escape(Place at) const { return escape_at_ < at[1]; }

    static size_t find_escape(const char* text, size_t size, size_t from) {
        const void* found = std::memchr(text + from, '\\', size - from);
        return found ? static_cast<size_t>(static_cast<const char*>(found) - text) : SIZE_MAX;
    }

    // All before `at` was walked: from there on, the next escape or find is what needs more than a glance.
    void calm_down(size_t at) {
        if (escape_at_ < at) escape_at_ = find_escape(begin_, size_, at);
        while (next_hit_ < hits_.size() && hits_[next_hit_].at + hits_[next_hit_].length <= at) next_hit_++;
        calm_until_ = next_hit_ < hits_.size() ? std::min(escape_at_, hits_[next_hit_].at) : escape_at_;
    }

    // -- hiding ------------------------------------------------------------------------------------------------------

    // `plain` is what the leaf says, `token` how it is written. A null stays null, unless the field goes: hiding it would
    // invent a value.
    bool leaf(Place at, std::string_view token, std::string_view plain, PathNode* node, bool has_value) {
        bool touched = look_ && is_touched(offset(token.data()), offset(token.data()) + token.size());
        int rule = node->is_free ? NO_RULE : hiding_.rule_of_leaf(node->match->leaf_rule, plain);
        if (rule >= 0 && (has_value || hiding_.drops(rule))) {
            if (touched) hide_string(at, token, plain, true);
            hide_by_rule(at, rule, node, token, plain, kind_of(token));
            return !hiding_.is_too_large();
        }
        bool masked = touched && has_value && hide_string(at, token, plain, false);
        if (masked) hiding_.on_masked(node);
        else hiding_.show(node);
        return !hiding_.is_too_large();
    }

    // A rule on an object or array hides it whole: what was found inside is forgotten, unless it blocks.
    void hide_container(Place at, PathNode* node, std::string_view token, const Hiding::State& before) {
        if (rules_.observe) return hiding_.observe_field(node->match->field_rule);
        hiding_.go_back(before);
        hide_by_rule(at, node->match->field_rule, node, token, token, CONTAINER_VALUE);
    }

    // `at`: where the value begins; null for a member's name, which cannot go by itself.
    void hide_by_rule(Place at, int rule, PathNode* node, std::string_view token, std::string_view plain, ValueKind kind) {
        if (!hiding_.hide_field(node, rule, plain, kind)) return;
        if (hiding_.hidden().dropped && at) return drop(at, token);
        edits_->begin(shift_ + offset(token.data()), token.size());
        append_hidden(at != nullptr, plain);
        edits_->end();
    }

    // What is no text is written as it is, where that is a value of JSON's.
    void append_hidden(bool as_value, std::string_view plain) {
        const Hidden& hidden = hiding_.hidden();
        if (hidden.kind == TEXT_VALUE && !hidden.cleared) append_quoted(hidden.text, &edits_->text());
        else append_bare(as_value, plain);
    }

    [[gnu::noinline]] void append_bare(bool as_value, std::string_view plain) {
        const Hidden& hidden = hiding_.hidden();
        bool bare = as_value && ((hidden.kind == NUMBER_VALUE && is_json_number(hidden.text)) ||
                                 (hidden.kind == BOOLEAN_VALUE && is_json_scalar(hidden.text)) ||
                                 (hidden.kind == CONTAINER_VALUE && !hidden.text.empty() && (hidden.text[0] == '{' || hidden.text[0] == '[')));
        if (bare) edits_->text().append(hidden.text);
        else append_quoted(text_of(hidden, plain), &edits_->text());
    }

    // What stands in the place of `plain`. A token of bytes stays one where they are no text.
    static std::string_view text_of(const Hidden& hidden, std::string_view plain) {
        return hidden.cleared && !simdjson::validate_utf8(hidden.text.data(), hidden.text.size()) ? plain : hidden.text;
    }

    // Takes out the value that begins at `at`, with its name and the comma that parts it from a neighbour: from the one
    // before, or from the one behind while there is none before.
    [[gnu::noinline]] void drop(Place at, std::string_view token) {
        size_t end = offset(token.data()) + token.size();
        if (at == index_->begin()) return write("null", *at, end);
        Place first = begin_[at[-1]] == ':' ? at - 2 : at;
        edits_->cut_from(shift_ + *first);
        char before = begin_[first[-1]];
        Place behind = std::lower_bound(at, end_, static_cast<uint32_t>(end));
        if (before == ',' && !edits_->reach(shift_ + *first)) write("", first[-1], end);
        else if (end_ - behind > 1 && begin_[*behind] == ',') write("", *first, behind[1]);
        else write("", *first, end);
    }

    void write(std::string_view text, size_t at, size_t end) {
        edits_->begin(shift_ + at, end - at);
        edits_->text().append(text);
        edits_->end();
    }

    static ValueKind kind_of(std::string_view token) {
        if (token[0] == '"') return TEXT_VALUE;
        return token[0] == 't' || token[0] == 'f' ? BOOLEAN_VALUE : NUMBER_VALUE;
    }

    // Whether a hit in the text as it stands, or an escape, makes the bytes from `at` to `end` worth a look of their own.
    bool is_touched(size_t at, size_t end) {
        while (next_hit_ < hits_.size() && hits_[next_hit_].at + hits_[next_hit_].length <= at) next_hit_++;
        if (next_hit_ < hits_.size() && hits_[next_hit_].at < end) return true;
        return escape_at_ < end;
    }

    // True: something in the string (or number) that stands at `at` is hidden now; null: in the name of a member. With
    // `guards_only` it will be hidden by a field rule, and only what blocks is looked for.
    bool hide_string(Place at, std::string_view token, std::string_view plain, bool guards_only) {
        size_t begin = offset(token.data()), end = begin + token.size();
        size_t first = next_hit_, last = first;
        bool inside = token[0] == '"' && plain.size() + 2 == token.size() && !std::memchr(token.data(), '\\', token.size());
        // The first hit that is not inside ends it: one that spans many strings is met in each of them.
        for (; inside && last < hits_.size() && hits_[last].at < end; last++)
            inside = inside && hits_[last].at > begin && hits_[last].at + hits_[last].length < end;
        if (!inside) {
            hiding_.find_in(plain, &found_, std::string_view(begin_, begin));
            hiding_.find_escaped(plain, &found_);
        }
        const auto& resolved = inside ? hiding_.resolve(hits_.data() + first, hits_.data() + last, guards_only)
                                      : hiding_.resolve(found_.data(), found_.data() + found_.size(), guards_only);
        if (resolved.empty()) return false;
        if (at && rules_.drops_found && is_dropped(resolved)) {
            drop(at, token);
            return true;
        }
        size_t shift = inside ? begin + 1 : 0;      // of the finds' places
        if (at && resolved.size() == 1 && resolved[0].at == shift && resolved[0].length == plain.size())
            return hide_all_found(resolved[0], token, plain);
        return inside ? hide_inside(resolved) : hide_rewritten(resolved, token, plain);
    }

    static bool is_dropped(const std::vector<Resolved>& resolved) {
        return std::any_of(resolved.begin(), resolved.end(), [](const auto& hit) { return hit.rule->action.kind == DROP_FIELD; });
    }

    // As hide_string(), of a value that was found from its start to its end.
    bool hide_all_found(const Resolved& hit, std::string_view token, std::string_view plain) {
        const Hidden& hidden = hiding_.hide_found(hit, plain, kind_of(token));
        if (hidden.same) return hit.rule->action.kind != CLEAR;
        bool cleared = hidden.cleared;
        edits_->begin(shift_ + offset(token.data()), token.size());
        append_hidden(true, plain);
        edits_->end();
        return !cleared;
    }

    // Of text without escapes, where only what was found is written anew.
    bool hide_inside(const std::vector<Resolved>& resolved) {
        bool masked = false;
        for (const Resolved& hit : resolved) {
            std::string_view found(begin_ + hit.at, hit.length);
            const Hidden& hidden = hiding_.hide_found(hit, found);
            masked = masked || hit.rule->action.kind != CLEAR || hit.whole;
            if (hidden.same) continue;
            edits_->begin(shift_ + hit.at, hit.length);
            append_escaped(text_of(hidden, found), &edits_->text());
            edits_->end();
        }
        return masked;
    }

    bool hide_rewritten(const std::vector<Resolved>& resolved, std::string_view token, std::string_view plain) {
        bool masked = false, changed = false;
        size_t number = edits_->count();
        edits_->begin(shift_ + offset(token.data()), token.size());
        edits_->text().push('"');
        size_t done = 0;
        for (const Resolved& hit : resolved) {
            append_escaped(plain.substr(done, hit.at - done), &edits_->text());
            std::string_view found = plain.substr(hit.at, hit.length);
            const Hidden& hidden = hiding_.hide_found(hit, found);
            masked = masked || hit.rule->action.kind != CLEAR || hit.whole;
            changed = changed || !hidden.same;
            append_escaped(text_of(hidden, found), &edits_->text());
            done = hit.at + hit.length;
        }
        append_escaped(plain.substr(done), &edits_->text());
        edits_->text().push('"');
        edits_->end();
        if (!changed) edits_->cut(number);
        return masked;
    }

    size_t offset(const char* at) const { return static_cast<size_t>(at - begin_); }

    Hiding& hiding_;
    const Rules& rules_;
    PathTree& paths_;
    const bool opaque_;
    Edits* edits_ = nullptr;
    const char* begin_ = nullptr;       // SAFETY: the part's bytes or their padded copy, both alive until rewrite() returns
    size_t size_ = 0;
    size_t shift_ = 0;
    size_t next_hit_ = 0;
    bool look_ = false;
    size_t escape_at_ = 0;              // of the first one that was not walked; beyond the part: there is none
    size_t calm_until_ = 0;             // tokens that end before have no escape and nothing that was found
    JsonIndex* index_ = nullptr;        // SAFETY: the thread's own, as is what end_ points into
    Place end_ = nullptr;
    std::vector<Found> hits_, found_;
};

}  // namespace kproxy
