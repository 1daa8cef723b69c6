// JSON paths seen in records, and how often a value at each was shown or hidden: names and numbers, never values.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace kproxy {

struct PathNode {
    std::string name;                   // unescaped; empty for an array's elements and the root
    std::string path;
    std::vector<std::unique_ptr<PathNode>> members;
    std::unordered_map<std::string_view, PathNode*> by_name;    // filled once a node has more than a few members
    std::unique_ptr<PathNode> element;
    size_t expected = 0;                // the member that came next the last time: records repeat their order
    int field_rule = -1;
    bool plain = false;                 // `name` reads the same in JSON text
    uint64_t emitted = 0, masked = 0;
    uint64_t pending_emitted = 0, pending_masked = 0;   // of the record set at hand, which may yet be refused
};

class PathTree {
  public:
    static constexpr size_t MOST = 512;         // Paths come from data: beyond this many they share one name.
    static constexpr size_t LONGEST = 256;      // bytes of a member's name, and of a path's
    static constexpr size_t FEW = 8;

    PathTree() {
        rest_.path = "\xE2\x80\xA6";
        root_.path = "$";
    }

    PathNode* root() { return &root_; }

    // The node a rule is about; made without regard to the limit, since rules are few.
    PathNode* rule_node(const std::vector<std::string>& path) {
        PathNode* node = &root_;
        for (const auto& step : path) {
            if (step == "[*]") {
                node = element(node, true);
            } else {
                PathNode* known = known_member(node, step);
                node = known ? known : new_member(node, step);
            }
        }
        return node;
    }

    // The member whose name stands at `raw` in JSON text, if it is the one that came next the last time.
    static PathNode* expected_member(PathNode* node, const char* raw, size_t left) {
        if (node->expected >= node->members.size()) node->expected = 0;
        if (node->members.empty()) return nullptr;
        PathNode* guess = node->members[node->expected].get();
        size_t length = guess->name.size();
        if (!guess->plain || length >= left || raw[length] != '"' || std::memcmp(raw, guess->name.data(), length) != 0)
            return nullptr;
        node->expected++;
        return guess;
    }

    static PathNode* known_member(PathNode* node, std::string_view name) {
        if (node->members.size() > FEW) {
            auto found = node->by_name.find(name);
            return found == node->by_name.end() ? nullptr : found->second;
        }
        for (size_t i = 0; i < node->members.size(); i++) {
            if (node->members[i]->name != name) continue;
            node->expected = i + 1;
            return node->members[i].get();
        }
        return nullptr;
    }

    PathNode* member(PathNode* node, std::string_view name) {
        if (node == &rest_) return node;
        if (PathNode* known = known_member(node, name)) return known;
        return count_ >= MOST || name.size() > LONGEST ? &rest_ : new_member(node, name);
    }

    PathNode* element(PathNode* node, bool always = false) {
        if (node == &rest_) return node;
        if (node->element) return node->element.get();
        if (count_ >= MOST && !always) return &rest_;
        count_++;
        node->element = std::make_unique<PathNode>();
        node->element->path = (node == &root_ ? std::string() : node->path) + "[*]";
        return node->element.get();
    }

    void add(PathNode* node, bool masked, uint64_t count) {
        if (!node->pending_emitted && !node->pending_masked) touched_.push_back(node);
        (masked ? node->pending_masked : node->pending_emitted) += count;
    }
    // What was added since the last call left, or did not.
    void settle(bool left) {
        for (PathNode* node : touched_) {
            if (left) {
                node->emitted += node->pending_emitted;
                node->masked += node->pending_masked;
            }
            node->pending_emitted = node->pending_masked = 0;
        }
        touched_.clear();
    }

    // Calls tell(path, emitted, masked) for each path that has counts, and zeroes them.
    template <typename Tell>
    void take(Tell tell) {
        take_below(&root_, tell);
        take_one(&rest_, tell);
    }

  private:
    PathNode* new_member(PathNode* node, std::string_view name) {
        count_++;
        node->members.push_back(std::make_unique<PathNode>());
        PathNode* made = node->members.back().get();
        made->name = std::string(name);
        made->plain = name.find_first_of("\"\\") == std::string_view::npos;
        for (char c : name) made->plain = made->plain && static_cast<unsigned char>(c) >= 0x20;
        made->path = node == &root_ ? std::string() : node->path + ".";
        for (char c : name) {
            if (c == '.' || c == '\\') made->path.push_back('\\');   // as policies spell a dot within a name
            made->path.push_back(c);
        }
        if (made->path.size() > LONGEST) made->path.resize(LONGEST);
        node->expected = node->members.size();
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

    PathNode root_;
    PathNode rest_;
    size_t count_ = 0;
    std::vector<PathNode*> touched_;
};

}  // namespace kproxy
