// What is the same in every format of a part: what detectors find in a text, which of it is hidden and how, and what is
// counted of it once the part was read to its end. The walker of a format says where values stand and writes the edits.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "edits.hpp"
#include "json_paths.hpp"
#include "rules.hpp"
#include "unescape.hpp"

namespace kproxy {

// What is hidden of a text: spans in order, which do not overlap.
struct Resolved {
    size_t at, length;
    const DetectRule* rule;
    bool whole;             // keeps nothing: part of it was found by a rule that may show less
};

class Hiding {
  public:
    // How far things had come, so that what follows can be taken back.
    struct State {
        size_t edits, events, shown;
        uint64_t unread_tokens;
    };

    // `fields` are about this kind of part.
    Hiding(const Rules& rules, const std::vector<FieldRule>& fields, PathTree& paths, Counts& counts)
        : rules(rules), fields(fields), paths(paths), counts_(counts), entities_(rules.per_paths.size()) {
        paths.begin(matcher_of(fields));
        for (const FieldRule& field : fields) paths.expect_path(field.path);
    }

    const Rules& rules;
    const std::vector<FieldRule>& fields;
    PathTree& paths;
    Edits* edits = nullptr;
    Verdict* verdict = nullptr;

    void begin(Edits* to, Verdict* told) {
        edits = to;
        verdict = told;
        events_.clear();
        shown_.clear();
        unread_tokens_ = 0;
        for (auto& entity : entities_) entity.clear();
    }

    // What stands in the part at path number `per` of Rules::per_paths.
    void set_entity(size_t per, std::string_view value) { entities_[per].assign(value); }

    // The part came to its end: what it held is counted.
    void keep() {
        for (const Event& event : events_) {
            if (event.node) paths.hide(event.node);
            if (event.rule >= 0) counts_.rules[static_cast<size_t>(event.rule)]++;
            if (event.entity >= 0) counts_.entities[event.entity]++;
        }
        counts_.unread_tokens += unread_tokens_;
    }

    // The part is not what its format says.
    void on_unknown() {
        counts_.unknown++;
        if (!fields.empty()) verdict->unknown = true;
    }

    State state() const { return {edits->count(), events_.size(), shown_.size(), unread_tokens_}; }
    void go_back(const State& before) {
        edits->cut(before.edits);
        events_.resize(before.events);
        unread_tokens_ = before.unread_tokens;
        shown_.forget(before.shown, [](PathNode* node, uint32_t count) { PathTree::take_back(node, count); });
    }

    size_t event_count() const { return events_.size(); }
    // What is shown from here on can be taken back by itself.
    void part_shown() { shown_.part(); }
    void show(PathNode* node) { paths.show(node, &shown_); }
    void on_masked(PathNode* node) { events_.push_back({node, -1, -1}); }

    bool is_too_large() {
        if (edits->weight() > MOST_WEIGHT) verdict->too_large = true;
        return verdict->too_large;
    }

    // The field rule for a leaf that says `plain`, of the one for its path. NO_RULE: there is none, because it is for tokens
    // and the leaf is none that may be read in clear here.
    int rule_of_leaf(int rule, std::string_view plain) {
        return clears(rule) && !is_clearable(fields[static_cast<size_t>(rule)].action, plain) ? NO_RULE : rule;
    }

    // Field rule number `rule`, one that rule_of_leaf() gave for a leaf, meets the value at `node`, or the name of a member, which counts as no value, if that is null.
    // True: hidden() is what stands there instead.
    bool hide_field(PathNode* node, int rule, std::string_view plain, ValueKind kind) {
        const FieldRule& field = fields[static_cast<size_t>(rule)];
        return hide_by(field.action, field.rule, node, plain, kind);
    }

    // All of a part as it stands, whatever it is; what blocks in it blocks all the same. `found`: what detectors found in it as it is,
    // if they are to look at all.
    void hide_whole(std::string_view part, size_t shift, const Action& action, int rule, PathNode* node, bool detect,
                    std::vector<Found>* found) {
        if (action.kind == CLEAR && !is_clearable(action, part)) {
            if (detect && !rules.detects.empty()) hide_in_text(part, shift, found);
            return;
        }
        if (detect && !rules.detects.empty()) find_escaped(part, found);
        resolve(found->data(), found->data() + found->size(), true);
        if (!hide_by(action, rule, node, part, TEXT_VALUE)) return;
        edits->begin(shift, part.size());
        edits->text().append(hidden_.text);
        edits->end();
        is_too_large();
    }
    // As hide_field() where nothing is hidden: what the container holds stays as it was found.
    void observe_field(int rule) { events_.push_back({nullptr, fields[static_cast<size_t>(rule)].rule, -1}); }

    // The field rule about the whole of a part, if there is one.
    const FieldRule* rule_of_all() const {
        int rule = paths.root()->match->field_rule;
        return rule == NO_RULE ? nullptr : &fields[static_cast<size_t>(rule)];
    }

    // Whether the rule changes what it meets.
    bool hides(int rule) const {
        int kind = fields[static_cast<size_t>(rule)].action.kind;
        return !rules.observe && kind != BLOCK && kind != CLEAR;
    }
    // Whether it gives back what tokens stand for, and hides nothing.
    bool clears(int rule) const { return rule >= 0 && fields[static_cast<size_t>(rule)].action.kind == CLEAR; }
    // Whether it leaves the field out, where the format can: also where it is null.
    bool drops(int rule) const { return !rules.observe && fields[static_cast<size_t>(rule)].action.kind == DROP_FIELD; }

    // The field rule for a field that its schema gives these tags, or -1.
    int rule_of_tags(const std::vector<std::string>& tags) const {
        for (int rule : rules.of_tags)
            for (const auto& tag : tags)
                if (rules.fields[static_cast<size_t>(rule)].tag == tag) return rule;
        return -1;
    }

    // What stands in the place of `plain`, which a detector found. Good until the next call.
    const Hidden& hide_found(const Resolved& hit, std::string_view plain, ValueKind kind = TEXT_VALUE) {
        if (hit.rule->action.kind == CLEAR) return clear_found(hit, plain);
        if (!hit.whole || (hit.rule->action.kind != MASK && hit.rule->action.kind != BUCKET)) {
            apply(hit.rule->action, kind, plain);
            return hidden_;
        }
        Action action = hit.rule->action;
        if (action.kind == BUCKET || action.keep_format) action.kind = REDACT;
        action.keep_first = action.keep_last = 0;
        apply(action, kind, plain);
        return hidden_;
    }

    const Hidden& hidden() const { return hidden_; }

    // -- finding -----------------------------------------------------------------------------------------------------

    // `around` is what stands before `text` where that was cut out of something (a member's name before its value): words
    // that say what a find is may be there.
    void find_in(std::string_view text, std::vector<Found>* found, std::string_view around = {}) {
        rules.detectors->find(text, found, true, around);
        if (rules.token_rules < rules.detects.size()) find_tokens(text, found);
        in_order(found);
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

    // Turns finds, in order, into spans to hide that do not overlap. Of finds that do, the first one's action hides all
    // that they cover, and keeps nothing of it where they are of several entities; one that blocks always blocks. With
    // `guards_only` the text will be hidden by a field rule, and only what blocks counts. Good until the next call.
    const std::vector<Resolved>& resolve(const Found* first, const Found* last, bool guards_only) {
        resolved_.clear();
        size_t covered = 0;     // up to here finds are counted and hidden
        for (const Found* hit = first; hit != last; hit++) {
            const DetectRule& rule = rules.detects[static_cast<size_t>(hit->which)];
            bool blocks = rule.action.kind == BLOCK;
            if (guards_only && !blocks) continue;
            bool overlaps = hit->at < covered;
            if (!blocks) covered = std::max(covered, hit->at + hit->length);
            if (overlaps && !blocks) {
                if (rules.observe) continue;
                Resolved& before = resolved_.back();
                before.length = covered - before.at;
                before.whole = before.whole || before.rule->entity != rule.entity || before.rule->action.kind == CLEAR;
                continue;
            }
            events_.push_back({nullptr, rule.rule, rule.entity});
            if (rules.observe) continue;
            if (blocks) block(rule.rule, rule.message);
            else resolved_.push_back({hit->at, hit->length, &rule, false});
        }
        return resolved_;
    }

    // Text that is no document: what is found in it is replaced where it stands. `found`: what the text holds as it is. What
    // is no JSON to us may be to a reader who is less strict: escapes are looked behind all the same.
    void hide_in_text(std::string_view text, size_t shift, std::vector<Found>* found) {
        find_escaped(text, found);
        resolve(found->data(), found->data() + found->size(), false);
        for (const Resolved& hit : resolved_) {
            hide_found(hit, text.substr(hit.at, hit.length));
            if (hidden_.same) continue;
            edits->begin(shift + hit.at, hit.length);
            edits->text().append(hidden_.text);
            edits->end();
            if (is_too_large()) return;
        }
    }

    // Lists that one large record made long go back to the system.
    void give_back() {
        constexpr size_t KEEP = 4096;
        if (resolved_.capacity() > KEEP) std::vector<Resolved>().swap(resolved_);
        if (events_.capacity() > KEEP) std::vector<Event>().swap(events_);
        shown_.give_back(KEEP);
        if (hidden_.text.capacity() > (KEEP << 6)) std::string().swap(hidden_.text);
        for (auto& level : unescaped_) level.give_back(KEEP << 6);
        if (behind_.capacity() > KEEP) std::vector<Found>().swap(behind_);
        if (within_.capacity() > KEEP) std::vector<Found>().swap(within_);
        for (auto& entity : entities_)
            if (entity.capacity() > KEEP) std::string().swap(entity);
    }

  private:
    static constexpr int LEVELS = 2;                    // of escapes that are looked behind, beyond the document's own
    static constexpr size_t MOST_WEIGHT = 256 << 20;    // bytes of edits for one record; honest ones take a few times its size

    struct Event {
        PathNode* node;         // a leaf that is hidden; or null
        int rule, entity;       // a rule that applied, and what its detector found; or -1
    };

    void apply(const Action& action, ValueKind kind, std::string_view plain) {
        hide(action, kind, plain, &hidden_, action.per >= 0 ? &entities_[static_cast<size_t>(action.per)] : nullptr);
    }

    // What stands for a token is given only where no other rule hides something in it, or beside it.
    [[gnu::noinline]] const Hidden& clear_found(const Resolved& hit, std::string_view plain) {
        if (hit.whole) {
            apply(Action(), TEXT_VALUE, plain);
            return hidden_;
        }
        apply(hit.rule->action, TEXT_VALUE, plain);
        unread_tokens_ += !hidden_.cleared;
        if (!hidden_.cleared || !holds_other(hidden_.text)) return hidden_;
        hidden_.text.assign(plain);
        hidden_.kind = TEXT_VALUE;
        hidden_.same = true;
        hidden_.cleared = false;
        return hidden_;
    }

    // Whether detectors find something that a rule hides or blocks.
    [[gnu::noinline]] bool holds_other(std::string_view text) {
        if (rules.detectors->empty()) return false;
        find_in(text, &within_);
        find_escaped(text, &within_);
        for (const Found& hit : within_)
            if (static_cast<size_t>(hit.which) < rules.token_rules) return true;
        return false;
    }

    // Each is for the first rule whose keys may have made it, or else for the first one, which counts it.
    [[gnu::noinline]] void find_tokens(std::string_view text, std::vector<Found>* found) {
        TokenSpan span;
        for (size_t from = 0; span.find(text, from); from = span.at + span.length) {
            size_t which = rules.token_rules;
            while (which < rules.detects.size() && !rules.detects[which].action.tokens->knows(span.key_id)) which++;
            if (which == rules.detects.size()) which = rules.token_rules;
            found->push_back({span.at, span.length, static_cast<int>(which)});
        }
    }

    static void in_order(std::vector<Found>* found) {
        std::sort(found->begin(), found->end(), [](const Found& a, const Found& b) {
            return a.at != b.at ? a.at < b.at : (a.length != b.length ? a.length > b.length : a.which < b.which);
        });
    }

    bool hide_by(const Action& action, int rule, PathNode* node, std::string_view plain, ValueKind kind) {
        bool shown = rules.observe || action.kind == CLEAR;
        events_.push_back({shown ? nullptr : node, rule, -1});
        if (shown && node) show(node);
        if (rules.observe) return false;
        if (action.kind == BLOCK) {
            block(rule, std::string());
            return false;
        }
        if (action.kind == CLEAR && !is_clearable(action, plain)) {
            // Whoever asks rule_of_leaf() has other rules look at such a leaf; for others nothing is shown that one hides.
            if (!holds_other(plain)) return false;
            apply(Action(), kind, plain);
            return true;
        }
        apply(action, kind, plain);
        return !hidden_.same;
    }

    // Whether the text is a token whose value may be seen here. Where nothing changes anyway nobody looks.
    [[gnu::noinline]] bool is_clearable(const Action& action, std::string_view plain) {
        if (rules.observe) return true;
        apply(action, TEXT_VALUE, plain);
        TokenSpan span;
        if (hidden_.cleared) return !holds_other(hidden_.text);
        unread_tokens_ += span.is_all(plain);
        return false;
    }

    void block(int rule, const std::string& message) {
        if (verdict->blocked_by >= 0) return;
        verdict->blocked_by = rule;
        verdict->message = message;
    }

    Counts& counts_;
    std::vector<Found> behind_, within_;
    std::vector<std::string> entities_;     // by path of Rules::per_paths
    uint64_t unread_tokens_ = 0;
    Unescaped unescaped_[LEVELS];
    std::vector<Resolved> resolved_;
    std::vector<Event> events_;
    Shown shown_;
    Hidden hidden_;
};

}  // namespace kproxy
