// JSON paths seen in records, and how often a value at each was shown or hidden: names and numbers, never values.
#pragma once

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "path_matcher.hpp"

namespace kproxy {

// A member's name as most JSON text spells it: `"name":`, in one piece.
class KeyText {
  public:
    void set(std::string_view name) {
        bool plain = true;      // it reads the same in JSON text
        for (char c : name) plain = plain && static_cast<unsigned char>(c) >= 0x20 && c != '"' && c != '\\';
        if (!plain || name.size() > WIDTH - 3) return;
        std::string text = "\"" + std::string(name) + "\":";
        std::memcpy(text_, text.data(), text.size());
        wanted_ = (1u << text.size()) - 1;
    }

    // False: look closer. WIDTH bytes may be read.
    bool is_at(const char* at) const {
#if defined(__SSE2__)
        __m128i found = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
        __m128i same = _mm_cmpeq_epi8(found, _mm_load_si128(reinterpret_cast<const __m128i*>(text_)));
        return (static_cast<uint32_t>(_mm_movemask_epi8(same)) & wanted_) == wanted_;
#else
        return wanted_ != NEVER && std::memcmp(at, text_, static_cast<size_t>(__builtin_popcount(wanted_))) == 0;
#endif
    }

  private:
    static constexpr size_t WIDTH = 16;
    static constexpr uint32_t NEVER = 1u << WIDTH;

    alignas(WIDTH) char text_[WIDTH] = {};
    uint32_t wanted_ = NEVER;       // the bytes of text_ that count, by bit
};

struct PathNode {
    KeyText key;
    bool is_free = true;                // as its match says
    bool is_shared = false;             // it stands for many places, which no name of an audit may tell apart
    MatchState* match = nullptr;        // SAFETY: the tree's matcher's, which lives as long as the tree
    PathNode* first = nullptr;          // the member that came first the last time: records repeat their order
    PathNode* follower = nullptr;       // the one that came after this one in its object
    uint64_t pending_emitted = 0, pending_masked = 0;   // of the record set at hand, which may yet be refused
    bool touched = false;               // it is in the list of those that have pending counts
    uint64_t emitted = 0, masked = 0;
    std::unique_ptr<PathNode> element;
    std::string name;                   // unescaped; empty for an array's elements and the root
    std::string path;
    std::vector<std::unique_ptr<PathNode>> members;
    std::unordered_map<std::string_view, PathNode*> by_name;    // filled once a node has more than a few members
};

// The leaves that were counted as shown, in order, so that they can be taken back. Leaves in a row at one path are one entry.
class Shown {
  public:
    Shown() : list_(64), end_(list_.data() + 64) { clear(); }

    void clear() { last_ = list_.data(); }      // the first entry stands for none
    size_t size() const { return static_cast<size_t>(last_ - list_.data()); }

    void add(PathNode* node) {
        if (last_->node == node && last_->count < UINT32_MAX) {
            last_->count++;
            return;
        }
        if (++last_ == end_) grow();
        *last_ = {node, 1};
    }
    // What follows is another entry, also where it is at the same path.
    void part() {
        if (++last_ == end_) grow();
        *last_ = {nullptr, 0};
    }
    template <typename TakeBack>
    void forget(size_t keep, TakeBack take_back) {
        for (Entry* first = list_.data() + keep; last_ != first; last_--)
            if (last_->node) take_back(last_->node, last_->count);
    }
    void give_back(size_t keep) {
        if (list_.size() > keep) std::vector<Entry>(64).swap(list_);
        end_ = list_.data() + list_.size();
        clear();
    }

  private:
    struct Entry {
        PathNode* node = nullptr;
        uint32_t count = 0;
    };

    [[gnu::noinline]] void grow() {
        size_t used = size();
        list_.resize(2 * list_.size());
        last_ = list_.data() + used;
        end_ = list_.data() + list_.size();
    }

    std::vector<Entry> list_;
    Entry *last_, *end_;
};

class PathTree {
  public:
    static constexpr size_t MOST = 512;         // Paths come from data: beyond this many they share one name.
    static constexpr size_t LONGEST = 256;      // bytes of a member's name, and of a path's
    static constexpr size_t FEW = 16;

    PathTree() {
        root_.path = "$";
        nowhere_.is_shared = true;
        set_match(&nowhere_, no_rules_.root());
    }

    // To be called once all rules are there, before anything else.
    void begin(PathMatcher matcher) {
        matcher_ = std::move(matcher);
        set_match(&root_, matcher_.root());
    }
    // A path that a rule names in full counts under its own name, without regard to the limit, since rules are few.
    void expect_path(const std::vector<std::string>& path) {
        PathNode* node = &root_;
        for (const auto& written : path) {
            Step step = Step::of(written);
            if (step.kind != ELEMENT && step.kind != MEMBER) return;
            if (step.kind == ELEMENT) {
                node = element(node, true);
                continue;
            }
            PathNode* known = known_member(node, step.name);
            node = known ? known : new_member(node, step.name);
        }
    }

    PathNode* root() { return &root_; }
    // Stands for all members of a document whose paths nobody asks for.
    PathNode* nowhere() { return &nowhere_; }

    // Notes in `expected`, the `first` or `follower` of `owner`, which member came there.
    static void expect(const PathNode* owner, PathNode** expected, PathNode* member) {
        if (!owner->is_shared && !member->is_shared) *expected = member;
    }

    // Of few members the one whose name stands at `raw` in JSON text; null: look closer.
    static PathNode* member_at(PathNode* node, const char* raw) {
        if (node->members.size() > FEW) return nullptr;
        for (const auto& one : node->members)
            if (one->key.is_at(raw)) return one.get();
        return nullptr;
    }

    static PathNode* known_member(PathNode* node, std::string_view name) {
        if (node->members.size() > FEW) {
            auto found = node->by_name.find(name);
            return found == node->by_name.end() ? nullptr : found->second;
        }
        for (const auto& one : node->members)
            if (one->name == name) return one.get();
        return nullptr;
    }

    // The member of `node` that is called `name`.
    PathNode* member(PathNode* node, std::string_view name) {
        if (node == &nowhere_) return node;
        if (node->is_shared) return beneath(node, matcher_.member(node->match, name));
        if (PathNode* known = known_member(node, name)) return known;
        if (count_ < MOST && name.size() <= LONGEST) return new_member(node, name);
        return shared(matcher_.member(node->match, name), REST);
    }
    // As member(), where the name is hidden and counts under none.
    PathNode* unnamed_member(PathNode* node, std::string_view name) {
        if (node->is_shared) return member(node, name);
        return shared(matcher_.member(node->match, name), node == &root_ ? "*" : node->path + ".*");
    }

    // As member(), where the name holds what must not be told; all such members of one object count as one.
    PathNode* detected_member(PathNode* node, std::string_view name) {
        if (node->is_shared) return member(node, name);
        if (PathNode* known = known_member(node, name)) return known;
        PathNode* made = member(node, DETECTED);
        MatchState* match = matcher_.member(node->match, name);
        return made->match == match ? made : shared(match, made->path);
    }

    PathNode* element(PathNode* node, bool always = false) {
        if (node == &nowhere_) return node;
        if (node->is_shared) return beneath(node, matcher_.element(node->match));
        if (node->element) return node->element.get();
        if (count_ >= MOST && !always) return shared(matcher_.element(node->match), REST);
        count_++;
        node->element = std::make_unique<PathNode>();
        set_match(node->element.get(), matcher_.element(node->match));
        node->element->path = (node == &root_ ? std::string() : node->path) + "[*]";
        return node->element.get();
    }

    void hide(PathNode* node) {
        if (node->pending_masked++ == 0) note_touched(node);
    }
    void show(PathNode* node, Shown* shown) {
        shown->add(node);
        if (node->pending_emitted++ == 0) note_touched(node);
    }
    // Of what show() counted since the last settle().
    static void take_back(PathNode* node, uint64_t count) { node->pending_emitted -= count; }
    // What is added from here on can be taken back, also once it was settled: the frame may have to be opened again.
    void hold() {
        holding_ = true;
        held_.clear();
    }
    void take_back_held() {
        for (const Held& one : held_) {
            one.node->emitted -= one.emitted;
            one.node->masked -= one.masked;
        }
        held_.clear();
    }

    // What was added since the last call left, or did not.
    void settle(bool left) {
        for (PathNode* node : touched_) {
            if (left) {
                if (holding_) held_.push_back({node, node->pending_emitted, node->pending_masked});
                node->emitted += node->pending_emitted;
                node->masked += node->pending_masked;
            }
            node->pending_emitted = node->pending_masked = 0;
            node->touched = false;
        }
        touched_.clear();
    }

    // Calls tell(path, emitted, masked) for each path that has counts, and zeroes them.
    template <typename Tell>
    void take(Tell tell) {
        take_below(&root_, tell);
        for (auto& one : shared_) take_one(one.second.get(), tell);
    }

  private:
    static constexpr const char* REST = "\xE2\x80\xA6";
    static constexpr const char* DETECTED = "<detected>";

    static void set_match(PathNode* node, MatchState* match) {
        node->match = match;
        node->is_free = match->is_free;
    }

    // Many places under one name, as far as no rule tells them apart.
    PathNode* shared(MatchState* match, const std::string& path) {
        auto& node = shared_[{match, path}];
        if (!node) {
            node = std::make_unique<PathNode>();
            node->path = path.size() > LONGEST ? REST : path;
            node->is_shared = true;
            set_match(node.get(), match);
        }
        return node.get();
    }
    PathNode* beneath(PathNode* node, MatchState* match) { return match == node->match ? node : shared(match, node->path); }
    struct Held {
        PathNode* node;
        uint64_t emitted, masked;
    };

    [[gnu::noinline]] void note_touched(PathNode* node) {
        if (!node->touched) touched_.push_back(node);
        node->touched = true;
    }

    PathNode* new_member(PathNode* node, std::string_view name) {
        count_++;
        node->members.push_back(std::make_unique<PathNode>());
        PathNode* made = node->members.back().get();
        made->name = std::string(name);
        made->key.set(name);
        set_match(made, matcher_.member(node->match, name));
        made->path = node == &root_ ? std::string() : node->path + ".";
        for (char c : name) {
            if (c == '.' || c == '\\') made->path.push_back('\\');   // as policies spell a dot within a name
            made->path.push_back(c);
        }
        if (made->path.size() > LONGEST) made->path.resize(LONGEST);
        if (node->members.size() == FEW + 1)
            for (const auto& one : node->members) node->by_name.emplace(one->name, one.get());
        else if (node->members.size() > FEW)
            node->by_name.emplace(made->name, made);
        return made;
    }

    template <typename Tell>
    void take_one(PathNode* node, Tell& tell) {
        if (node->emitted || node->masked) tell(node->path, node->emitted, node->masked);
        node->emitted = node->masked = 0;
    }
    template <typename Tell>
    void take_below(PathNode* node, Tell& tell) {
        take_one(node, tell);
        for (auto& one : node->members) take_below(one.get(), tell);
        if (node->element) take_below(node->element.get(), tell);
    }

    PathMatcher matcher_, no_rules_;
    PathNode root_, nowhere_;
    std::map<std::pair<MatchState*, std::string>, std::unique_ptr<PathNode>> shared_;
    size_t count_ = 0;
    std::vector<PathNode*> touched_;
    bool holding_ = false;
    std::vector<Held> held_;
};

}  // namespace kproxy
