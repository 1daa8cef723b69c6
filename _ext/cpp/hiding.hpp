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
    };

    // `fields` are about this kind of part.
    Hiding(const Rules& rules, const std::vector<FieldRule>& fields, PathTree& paths, Counts& counts)
        : rules(rules), fields(fields), paths(paths), counts_(counts) {
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
    }

    // The part came to its end: what it held is counted.
    void keep() {
        for (const Event& event : events_) {
            if (event.node) paths.hide(event.node);
            if (event.rule >= 0) counts_.rules[static_cast<size_t>(event.rule)]++;
            if (event.entity >= 0) counts_.entities[event.entity]++;
        }
    }

    // The part is not what its format says.
    void on_unknown() {
        counts_.unknown++;
        if (!fields.empty()) verdict->unknown = true;
    }

    State state() const { return {edits->count(), events_.size(), shown_.size()}; }
    void go_back(const State& before) {
        edits->cut(before.edits);
        events_.resize(before.events);
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

    // Field rule number `rule` meets the value at `node`, or the name of a member, which counts as no value, if that is null.
    // True: hidden() is what stands there instead.
    bool hide_field(PathNode* node, int rule, std::string_view plain, ValueKind kind) {
        const FieldRule& field = fields[static_cast<size_t>(rule)];
        return hide_by(field.action, field.rule, node, plain, kind);
    }

    // All of a part as it stands, whatever it is; what blocks in it blocks all the same. `found`: what detectors found in it as it is,
    // if they are to look at all.
    void hide_whole(std::string_view part, size_t shift, const Action& action, int rule, PathNode* node, bool detect,
                    std::vector<Found>* found) {
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
    bool hides(int rule) const { return !rules.observe && fields[static_cast<size_t>(rule)].action.kind != BLOCK; }

    // What stands in the place of `plain`, which a detector found. Good until the next call.
    const Hidden& hide_found(const Resolved& hit, std::string_view plain, ValueKind kind = TEXT_VALUE) {
        if (!hit.whole || hit.rule->action.kind != MASK) {
            hide(hit.rule->action, kind, plain, &hidden_);
            return hidden_;
        }
        Action action = hit.rule->action;
        action.keep_first = action.keep_last = 0;
        hide(action, kind, plain, &hidden_);
        return hidden_;
    }

    const Hidden& hidden() const { return hidden_; }

    // -- finding -----------------------------------------------------------------------------------------------------

    void find_in(std::string_view text, std::vector<Found>* found) {
        rules.detectors->find(text, found);
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
                before.whole = before.whole || before.rule->entity != rule.entity;
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
    }

  private:
    static constexpr int LEVELS = 2;                    // of escapes that are looked behind, beyond the document's own
    static constexpr size_t MOST_WEIGHT = 256 << 20;    // bytes of edits for one record; honest ones take a few times its size

    struct Event {
        PathNode* node;         // a leaf that is hidden; or null
        int rule, entity;       // a rule that applied, and what its detector found; or -1
    };

    static void in_order(std::vector<Found>* found) {
        std::sort(found->begin(), found->end(), [](const Found& a, const Found& b) {
            return a.at != b.at ? a.at < b.at : (a.length != b.length ? a.length > b.length : a.which < b.which);
        });
    }

    bool hide_by(const Action& action, int rule, PathNode* node, std::string_view plain, ValueKind kind) {
        events_.push_back({rules.observe ? nullptr : node, rule, -1});
        if (rules.observe) {
            if (node) show(node);
            return false;
        }
        if (action.kind == BLOCK) {
            block(rule, std::string());
            return false;
        }
        hide(action, kind, plain, &hidden_);
        return true;
    }

    void block(int rule, const std::string& message) {
        if (verdict->blocked_by >= 0) return;
        verdict->blocked_by = rule;
        verdict->message = message;
    }

    Counts& counts_;
    std::vector<Found> behind_;
    Unescaped unescaped_[LEVELS];
    std::vector<Resolved> resolved_;
    std::vector<Event> events_;
    Shown shown_;
    Hidden hidden_;
};

}  // namespace kproxy
