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
#include "json_index.hpp"
#include "json_paths.hpp"
#include "json_tokens.hpp"
#include "rules.hpp"
#include "unescape.hpp"

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
    PartRewriter(const Rules& rules, PathTree& paths, Counts& counts) : rules_(rules), paths_(paths), counts_(counts) {
        for (size_t i = rules.fields.size(); i-- > 0;)
            paths_.rule_node(rules.fields[i].path)->field_rule = static_cast<int>(i);
    }

    // Adds edits for `part`, which begins `shift` bytes into the record and may be read `spare` bytes beyond its end.
    void rewrite(Scratch& scratch, std::string_view part, size_t shift, size_t spare, bool fields, bool detect, Verdict* verdict) {
        if (part.empty()) return;
        edits_ = &scratch.edits;
        verdict_ = verdict;
        shift_ = shift;
        hits_.clear();
        if (detect && !rules_.detects.empty()) find_in(part, &hits_);
        escape_at_ = find_escape(part.data(), part.size(), 0);
        look_ = detect && !rules_.detects.empty() && (escape_at_ < part.size() || !hits_.empty());
        next_hit_ = 0;
        bool wanted = fields && (rules_.count_fields || !rules_.fields.empty());
        size_t edits_before = edits_->count();
        events_.clear();
        shown_.clear();
        bool is_json = (wanted || look_) && walk(scratch, part, spare, wanted ? paths_.root() : paths_.nowhere());
        if (!is_json && !verdict->too_large) {
            edits_->cut(edits_before);
            events_.clear();
            forget_shown(0);
            if (wanted) on_unknown();
            if (look_) hide_in_text(part);
        }
        keep_events();
    }

    // Lists that one large record made long go back to the system.
    void give_back() {
        constexpr size_t KEEP = 4096;
        if (hits_.capacity() > KEEP) std::vector<Found>().swap(hits_);
        if (found_.capacity() > KEEP) std::vector<Found>().swap(found_);
        if (resolved_.capacity() > KEEP) std::vector<Resolved>().swap(resolved_);
        if (events_.capacity() > KEEP) std::vector<Event>().swap(events_);
        shown_.give_back(KEEP);
        if (hidden_.capacity() > (KEEP << 6)) std::string().swap(hidden_);
        for (auto& level : unescaped_) level.give_back(KEEP << 6);
        if (behind_.capacity() > KEEP) std::vector<Found>().swap(behind_);
    }

  private:
    using Place = const uint32_t*;      // of a token, in the index
    static constexpr int DEEPEST = 128;
    static constexpr int LEVELS = 2;                    // of escapes that are looked behind, beyond the document's own
    static constexpr size_t MOST_WEIGHT = 256 << 20;    // bytes of edits for one record; honest ones take a few times its size

    struct Event {
        PathNode* node;         // a leaf that is hidden; or null
        int rule, entity;       // a rule that applied, and what its detector found; or -1
    };
    struct Resolved {
        size_t at, length;
        const DetectRule* rule;
        bool whole;             // keeps nothing: part of it was found by a rule that may show less
    };

    void on_unknown() {
        counts_.unknown++;
        if (!rules_.fields.empty()) verdict_->unknown = true;
    }

    void keep_events() {
        for (const Event& event : events_) {
            if (event.node) paths_.hide(event.node);
            if (event.rule >= 0) counts_.rules[static_cast<size_t>(event.rule)]++;
            if (event.entity >= 0) counts_.entities[event.entity]++;
        }
    }

    void forget_shown(size_t keep) {
        shown_.forget(keep, [](PathNode* node, uint32_t count) { PathTree::take_back(node, count); });
    }

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
        calm_down(0);
        return walk_value(index_->begin(), root, 0) == end_;
    }

    // Of the value that begins at `at`, which is before the end: the place behind it, or null if it is not JSON.
    [[gnu::always_inline]] Place walk_value(Place at, PathNode* node, int depth) {
        const char* first = begin_ + *at;
        if (at[1] <= calm_until_ && node->field_rule < 0) {
            if (*first == '"' || is_plain_scalar(first, begin_ + at[1])) {
                paths_.show(node, &shown_);
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
        bool fits = leaf(token, plain, node, token != "null");
        calm_down(at[1]);
        return fits ? at + 1 : nullptr;
    }

    Place walk_container(Place at, PathNode* node, int depth) {
        bool hidden = node->field_rule >= 0;
        size_t edits_before = edits_->count(), events_before = events_.size(), shown_before = shown_.size();
        if (hidden) shown_.part();     // so that no entry before is added to
        Place behind = begin_[*at] == '{' ? walk_object(at + 1, node, depth) : walk_array(at + 1, node, depth);
        if (behind && hidden) {
            std::string_view token(begin_ + *at, behind[-1] + 1 - *at);
            hide_container(node, token, edits_before, events_before, shown_before);
        }
        return behind;
    }

    [[gnu::noinline]] Place walk_object(Place at, PathNode* node, int depth) {
        if (at != end_ && begin_[*at] == '}') return at + 1;
        if (depth == DEEPEST) return nullptr;
        PathNode** expected = &node->first;
        for (;;) {
            if (end_ - at < 4) return nullptr;      // a key, a colon, a value and what ends it
            PathNode* child = *expected;
            if (at[1] > calm_until_ || !child || !child->key.is_at(begin_ + *at)) {
                if (begin_[*at] != '"' || begin_[at[1]] != ':' || !walk_key(at, node, &child)) return nullptr;
                paths_.expect(expected, child);
            }
            at = walk_value(at + 2, child, depth + 1);
            if (!at || at == end_) return nullptr;
            char after = begin_[*at++];
            if (after == '}') return at;
            if (after != ',') return nullptr;
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
        if (at[1] <= calm_until_ && (*child = PathTree::member_at(node, begin_ + *at))) return true;
        std::string_view token = token_at(at), name = token.substr(1, token.size() - 2);
        if (at[1] <= calm_until_) {
            *child = paths_.member(node, name);
            return true;
        }
        if (has_escape(at) && !index_->unescape(token, &name)) return false;
        bool touched = look_ && is_touched(*at, *at + token.size());
        size_t events_before = events_.size();
        bool held = touched && (hide_string(token, name, false) || events_.size() > events_before);
        calm_down(at[1]);
        // A name that holds what detectors look for is no name to write into an audit log.
        PathNode* known = PathTree::known_member(node, name);
        *child = known ? known : paths_.member(node, held ? std::string_view("<detected>") : name);
        return true;
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

    // `plain` is what the leaf says, `token` how it is written. A null stays null: hiding it would invent a value.
    bool leaf(std::string_view token, std::string_view plain, PathNode* node, bool has_value) {
        bool touched = look_ && is_touched(offset(token.data()), offset(token.data()) + token.size());
        if (node->field_rule >= 0 && has_value) {
            if (touched) hide_string(token, plain, true);
            hide_field(node, token, plain);
            return !is_too_large();
        }
        bool masked = touched && has_value && hide_string(token, plain, false);
        if (masked) events_.push_back({node, -1, -1});
        else paths_.show(node, &shown_);
        return !is_too_large();
    }

    bool is_too_large() {
        if (edits_->weight() > MOST_WEIGHT) verdict_->too_large = true;
        return verdict_->too_large;
    }

    // A rule on an object or array hides it whole: what was found inside is forgotten, unless it blocks.
    void hide_container(PathNode* node, std::string_view token, size_t edits_before, size_t events_before, size_t shown_before) {
        const FieldRule& field = rules_.fields[static_cast<size_t>(node->field_rule)];
        if (rules_.observe) {
            events_.push_back({nullptr, field.rule, -1});
            return;
        }
        edits_->cut(edits_before);
        events_.resize(events_before);
        forget_shown(shown_before);
        hide_field(node, token, token);
    }

    void hide_field(PathNode* node, std::string_view token, std::string_view plain) {
        const FieldRule& field = rules_.fields[static_cast<size_t>(node->field_rule)];
        events_.push_back({rules_.observe ? nullptr : node, field.rule, -1});
        if (rules_.observe) return paths_.show(node, &shown_);
        if (field.action.kind == BLOCK) {
            block(field.rule, std::string());
            return;
        }
        hide(field.action, plain, &hidden_);
        edits_->begin(shift_ + offset(token.data()), token.size());
        append_quoted(hidden_, &edits_->text());
        edits_->end();
    }

    // Whether a hit in the text as it stands, or an escape, makes the bytes from `at` to `end` worth a look of their own.
    bool is_touched(size_t at, size_t end) {
        while (next_hit_ < hits_.size() && hits_[next_hit_].at + hits_[next_hit_].length <= at) next_hit_++;
        if (next_hit_ < hits_.size() && hits_[next_hit_].at < end) return true;
        return escape_at_ < end;
    }

    // True: something in the string (or number) is hidden now. With `guards_only` the string will be hidden by a field
    // rule, and only what blocks is looked for.
    bool hide_string(std::string_view token, std::string_view plain, bool guards_only) {
        size_t at = offset(token.data());
        bool quoted = token[0] == '"';
        size_t first = next_hit_, last = first;
        bool inside = quoted && plain.size() + 2 == token.size() && !std::memchr(token.data(), '\\', token.size());
        // The first hit that is not inside ends it: one that spans many strings is met in each of them.
        for (; inside && last < hits_.size() && hits_[last].at < at + token.size(); last++)
            inside = inside && hits_[last].at > at && hits_[last].at + hits_[last].length < at + token.size();
        if (inside) {
            resolve(hits_.data() + first, hits_.data() + last, guards_only);
            for (const Resolved& hit : resolved_) {
                hide_found(hit, std::string_view(begin_ + hit.at, hit.length));
                edits_->begin(shift_ + hit.at, hit.length);
                append_escaped(hidden_, &edits_->text());
                edits_->end();
            }
            return !resolved_.empty();
        }
        find_in(plain, &found_);
        find_escaped(plain, &found_);
        resolve(found_.data(), found_.data() + found_.size(), guards_only);
        if (resolved_.empty()) return false;
        edits_->begin(shift_ + at, token.size());
        edits_->text().push('"');
        size_t done = 0;
        for (const Resolved& hit : resolved_) {
            append_escaped(plain.substr(done, hit.at - done), &edits_->text());
            hide_found(hit, plain.substr(hit.at, hit.length));
            append_escaped(hidden_, &edits_->text());
            done = hit.at + hit.length;
        }
        append_escaped(plain.substr(done), &edits_->text());
        edits_->text().push('"');
        edits_->end();
        return true;
    }

    // What is no JSON to us may be to a reader who is less strict: escapes are looked behind all the same.
    void hide_in_text(std::string_view part) {
        find_escaped(part, &hits_);
        resolve(hits_.data(), hits_.data() + hits_.size(), false);
        for (const Resolved& hit : resolved_) {
            hide_found(hit, part.substr(hit.at, hit.length));
            edits_->begin(shift_ + hit.at, hit.length);
            edits_->text().append(hidden_);
            edits_->end();
            if (is_too_large()) return;
        }
    }

    void hide_found(const Resolved& hit, std::string_view plain) {
        if (!hit.whole || hit.rule->action.kind != MASK) return hide(hit.rule->action, plain, &hidden_);
        Action action = hit.rule->action;
        action.keep_first = action.keep_last = 0;
        hide(action, plain, &hidden_);
    }

    // Adds to `found` what JSON escapes within `text` hide: JSON quoted in JSON, lines of JSON, JSON that is broken. Twice,
    // since what is broken may quote JSON as well.
    void find_escaped(std::string_view text, std::vector<Found>* found) {
        size_t before = found->size();
        for (int level = 0; level < LEVELS && unescaped_[level].read(level ? unescaped_[level - 1].plain() : text); level++) {
            find_in(unescaped_[level].plain(), &behind_);
            for (const Found& hit : behind_) {
                size_t at = hit.at, last = hit.at + hit.length - 1;
                for (int up = level; up > 0; up--) {
                    at = unescaped_[up].place(at);
                    last = unescaped_[up].place_after(last) - 1;
                }
                at = unescaped_[0].place(at);
                found->push_back({at, unescaped_[0].place_after(last) - at, hit.which});
            }
        }
        behind_.clear();
        if (found->size() == before) return;
        in_order(found);
        auto same = [](const Found& a, const Found& b) { return a.at == b.at && a.length == b.length && a.which == b.which; };
        found->erase(std::unique(found->begin(), found->end(), same), found->end());
    }

    void find_in(std::string_view text, std::vector<Found>* found) {
        rules_.detectors->find(text, found);
        in_order(found);
    }

    static void in_order(std::vector<Found>* found) {
        std::sort(found->begin(), found->end(), [](const Found& a, const Found& b) {
            return a.at != b.at ? a.at < b.at : (a.length != b.length ? a.length > b.length : a.which < b.which);
        });
    }

    // Turns finds, in order, into spans to hide that do not overlap. Of finds that do, the first one's action hides all
    // that they cover, and keeps nothing of it where they are of several entities; one that blocks always blocks.
    void resolve(const Found* first, const Found* last, bool guards_only) {
        resolved_.clear();
        size_t covered = 0;     // up to here finds are counted and hidden
        for (const Found* hit = first; hit != last; hit++) {
            const DetectRule& rule = rules_.detects[static_cast<size_t>(hit->which)];
            bool blocks = rule.action.kind == BLOCK;
            if (guards_only && !blocks) continue;
            bool overlaps = hit->at < covered;
            if (!blocks) covered = std::max(covered, hit->at + hit->length);
            if (overlaps && !blocks) {
                if (rules_.observe) continue;
                Resolved& before = resolved_.back();
                before.length = covered - before.at;
                before.whole = before.whole || before.rule->entity != rule.entity;
                continue;
            }
            events_.push_back({nullptr, rule.rule, rule.entity});
            if (rules_.observe) continue;
            if (blocks) block(rule.rule, rule.message);
            else resolved_.push_back({hit->at, hit->length, &rule, false});
        }
    }

    void block(int rule, const std::string& message) {
        if (verdict_->blocked_by >= 0) return;
        verdict_->blocked_by = rule;
        verdict_->message = message;
    }

    size_t offset(const char* at) const { return static_cast<size_t>(at - begin_); }

    const Rules& rules_;
    PathTree& paths_;
    Counts& counts_;
    Edits* edits_ = nullptr;
    Verdict* verdict_ = nullptr;
    const char* begin_ = nullptr;       // SAFETY: the part's bytes or their padded copy, both alive until rewrite() returns
    size_t size_ = 0;
    size_t shift_ = 0;
    size_t next_hit_ = 0;
    bool look_ = false;
    size_t escape_at_ = 0;              // of the first one that was not walked; beyond the part: there is none
    size_t calm_until_ = 0;             // tokens that end before have no escape and nothing that was found
    JsonIndex* index_ = nullptr;        // SAFETY: the thread's own, as is what end_ points into
    Place end_ = nullptr;
    std::vector<Found> hits_, found_, behind_;
    Unescaped unescaped_[LEVELS];
    std::vector<Resolved> resolved_;
    std::vector<Event> events_;
    Shown shown_;
    std::string hidden_;
};

}  // namespace kproxy
