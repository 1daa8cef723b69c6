// Which rules are about a place in a document. The paths of all rules are one automaton, whose states are made as documents
// are met: what a state says of a leaf is then read and not worked out.
//
//   a step is   name   the member of that name          [*]  every element of an array      ~  the names of members (last)
//               *      every member                     **   anything beneath, at any depth; as the last step without what it stands under
//
// A member that is called like one of these, or begins with a backslash, has a backslash in front of it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace kproxy {

enum StepKind : int { MEMBER, ELEMENT, ANY_MEMBER, ANY_DEPTH, MEMBER_NAMES };

struct Step {
    StepKind kind;
    std::string name;

    static Step of(const std::string& written) {
        if (written == "[*]") return {ELEMENT, {}};
        if (written == "*") return {ANY_MEMBER, {}};
        if (written == "**") return {ANY_DEPTH, {}};
        if (written == "~") return {MEMBER_NAMES, {}};
        return {MEMBER, written.empty() || written[0] != '\\' ? written : written.substr(1)};
    }
};

constexpr int NO_RULE = -1;

// One place in documents, as far as rules tell places apart. Rules are indexes into the list of field rules; of several
// the first one counts.
struct MatchState {
    int field_rule = NO_RULE;       // about the value here, whole
    int leaf_rule = NO_RULE;        // about a leaf here: the value's own, or that of an allow-list without it
    int name_rule = NO_RULE;        // about the names of its members
    bool is_free = true;            // no rule is about the value here if it is a leaf

  private:
    friend class PathMatcher;
    using Positions = std::vector<std::pair<uint32_t, uint32_t>>;   // path and step that is wanted next, in order

    Positions positions;
    std::vector<bool> kept;         // by allow-list: the value here, or what it stands in, is on it
    std::unordered_map<std::string, MatchState*> members;           // by the names that rules name
    MatchState *other_member = nullptr, *element = nullptr;
};

class PathMatcher {
  public:
    // Paths come from a policy and documents from anybody: beyond so many states what is met is hidden by the first rule.
    static constexpr size_t MOST_STATES = 4096;

    // The value at `path` is what field rule `rule` is about.
    void add_path(const std::vector<std::string>& path, int rule) { add(path, rule, NO_RULE); }
    // Field rule `rule` is about every leaf but those at or beneath one of `paths`.
    void add_allow_list(const std::vector<std::vector<std::string>>& paths, int rule) {
        int list = static_cast<int>(lists_.size());
        lists_.push_back(rule);
        for (const auto& path : paths) add(path, NO_RULE, list);
    }

    MatchState* root() {
        if (!root_) {
            Found found(lists_.size());
            for (uint32_t path = 0; path < paths_.size(); path++) want(path, 0, &found);
            root_ = state_of(std::move(found));
        }
        return root_;
    }

    MatchState* member(MatchState* from, std::string_view name) {
        if (!from->members.empty()) {
            auto known = from->members.find(std::string(name));
            if (known != from->members.end()) return known->second ? known->second : known->second = next(from, &name, false);
        }
        if (!from->other_member) from->other_member = next(from, nullptr, false);
        return from->other_member;
    }

    MatchState* element(MatchState* from) {
        if (!from->element) from->element = next(from, nullptr, true);
        return from->element;
    }

  private:
    struct Path {
        std::vector<Step> steps;
        int rule, list;             // one of the two
    };
    struct Found {
        explicit Found(size_t lists) : kept(lists) {}
        int field_rule = NO_RULE;
        MatchState::Positions positions;
        std::vector<bool> kept;
    };

    void add(const std::vector<std::string>& path, int rule, int list) {
        Path made{{}, rule, list};
        for (const auto& step : path) made.steps.push_back(Step::of(step));
        paths_.push_back(std::move(made));
    }

    // The value at hand is where `path` wants its step number `step` next, or its end.
    void want(uint32_t path, uint32_t step, Found* found) {
        const Path& one = paths_[path];
        if (step == one.steps.size()) {
            accept(one, found);
            return;
        }
        found->positions.emplace_back(path, step);
        if (one.steps[step].kind == ANY_DEPTH && step + 1 < one.steps.size()) want(path, step + 1, found);
    }

    static void accept(const Path& one, Found* found) {
        if (one.list != NO_RULE) found->kept[static_cast<size_t>(one.list)] = true;
        else if (found->field_rule == NO_RULE || one.rule < found->field_rule) found->field_rule = one.rule;
    }

    // `name` null: an element, or a member whose name no rule names.
    MatchState* next(MatchState* from, const std::string_view* name, bool is_element) {
        Found found(lists_.size());
        found.kept = from->kept;
        for (auto [path, step] : from->positions) {
            const Path& one = paths_[path];
            const Step& wanted = one.steps[step];
            if (wanted.kind == ANY_DEPTH) {
                if (step + 1 == one.steps.size()) accept(one, &found);
                want(path, step, &found);
            } else if (wanted.kind == ELEMENT ? is_element
                       : wanted.kind == ANY_MEMBER ? !is_element
                       : wanted.kind == MEMBER && name && *name == wanted.name) {
                want(path, step + 1, &found);
            }
        }
        return state_of(std::move(found));
    }

    MatchState* state_of(Found found) {
        std::sort(found.positions.begin(), found.positions.end());
        found.positions.erase(std::unique(found.positions.begin(), found.positions.end()), found.positions.end());
        auto key = std::make_pair(std::make_pair(found.field_rule, found.positions), found.kept);
        auto known = states_.find(key);
        if (known != states_.end()) return known->second.get();
        if (states_.size() >= MOST_STATES) return blind();
        auto made = std::make_unique<MatchState>();
        settle(made.get(), std::move(found));
        return states_.emplace(std::move(key), std::move(made)).first->second.get();
    }

    void settle(MatchState* state, Found found) {
        state->field_rule = state->leaf_rule = found.field_rule;
        for (size_t list = 0; list < lists_.size() && state->leaf_rule == NO_RULE; list++)
            if (!found.kept[list]) state->leaf_rule = lists_[list];
        for (auto [path, step] : found.positions) {
            const Path& one = paths_[path];
            const Step& wanted = one.steps[step];
            if (wanted.kind == MEMBER) state->members.emplace(wanted.name, nullptr);
            if (wanted.kind == MEMBER_NAMES && (state->name_rule == NO_RULE || one.rule < state->name_rule)) state->name_rule = one.rule;
        }
        state->is_free = state->leaf_rule == NO_RULE;
        state->positions = std::move(found.positions);
        state->kept = std::move(found.kept);
    }

    // Stands for everything once there are too many states: all of it is hidden.
    MatchState* blind() {
        if (!blind_) {
            blind_ = std::make_unique<MatchState>();
            blind_->field_rule = blind_->leaf_rule = 0;
            blind_->is_free = false;
            blind_->other_member = blind_->element = blind_.get();
        }
        return blind_.get();
    }

    std::vector<Path> paths_;
    std::vector<int> lists_;        // the field rule of each allow-list
    std::map<std::pair<std::pair<int, MatchState::Positions>, std::vector<bool>>, std::unique_ptr<MatchState>> states_;
    std::unique_ptr<MatchState> blind_;
    MatchState* root_ = nullptr;
};

}  // namespace kproxy
