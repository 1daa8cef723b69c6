// What is done to a value that must not be seen, and the counters of one plan.
#pragma once

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kproxy {

enum ActionKind : int { REDACT, REPLACE, MASK, HMAC_TOKEN, BLOCK };

struct Action {
    int kind = REDACT;
    std::string text;            // replace
    int keep_first = 0;          // mask: characters, not bytes
    int keep_last = 0;
    std::string character = "*";
    std::string key_id;          // hmac
    std::string key;
};

inline bool begins_character(char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }

inline std::string mask_text(const Action& action, std::string_view plain) {
    size_t count = 0;
    for (char c : plain) count += begins_character(c);
    size_t first = action.keep_first, last = action.keep_last;
    if (first + last >= count) first = last = 0;    // A value too short to keep parts of shows nothing.
    std::string out;
    size_t number = 0;
    bool shown = false;
    for (char c : plain) {
        if (begins_character(c)) {
            shown = number < first || number >= count - last;
            number++;
            if (!shown) out += action.character;
        }
        if (shown) out.push_back(c);
    }
    return out;
}

// `key id:` and the first 32 hex digits of HMAC-SHA-256 (RFC 2104): equal values stay equal, so joins still work.
inline std::string hmac_text(const Action& action, std::string_view plain) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int length = 0;
    if (!HMAC(EVP_sha256(), action.key.data(), static_cast<int>(action.key.size()),
              reinterpret_cast<const unsigned char*>(plain.data()), plain.size(), digest, &length))
        throw std::runtime_error("HMAC-SHA-256 failed");
    std::string out = action.key_id + ":";
    for (int i = 0; i < 16; i++) {
        out.push_back("0123456789abcdef"[digest[i] >> 4]);
        out.push_back("0123456789abcdef"[digest[i] & 15]);
    }
    return out;
}

inline std::string hide(const Action& action, std::string_view plain) {
    switch (action.kind) {
        case REPLACE: return action.text;
        case MASK: return mask_text(action, plain);
        case HMAC_TOKEN: return hmac_text(action, plain);
        default: return std::string();
    }
}

struct FieldRule {
    std::vector<std::string> path;
    Action action;
    int rule;                    // index of the rule's name, for its count
};

struct DetectRule {
    int entity;
    Action action;
    int rule;
    std::string message;
};

// A JSON path seen so far, with its counts. Rules' own paths are there from the start.
struct PathNode {
    std::string path;
    std::vector<std::pair<std::string, std::unique_ptr<PathNode>>> members;
    std::unique_ptr<PathNode> element;
    int field_rule = -1;
    uint64_t emitted = 0;
    uint64_t masked = 0;
};

class PathTree {
  public:
    static constexpr size_t MOST = 512;     // Paths come from data: beyond this many they share one name.

    PathTree() { rest_.path = "\xE2\x80\xA6"; }

    PathNode* root() { return &root_; }

    // The node a rule is about; made without regard to the limit, since rules are few.
    PathNode* rule_node(const std::vector<std::string>& path) {
        PathNode* node = &root_;
        for (const auto& step : path) node = step == "[*]" ? element(node, true) : member(node, step, true);
        return node;
    }

    PathNode* member(PathNode* node, std::string_view name, bool always = false) {
        if (node == &rest_) return node;
        for (auto& one : node->members)
            if (one.first == name) return one.second.get();
        if (count_ >= MOST && !always) return &rest_;
        count_++;
        node->members.emplace_back(std::string(name), std::make_unique<PathNode>());
        PathNode* made = node->members.back().second.get();
        made->path = node->path.empty() ? std::string(name) : node->path + "." + std::string(name);
        if (made->path.size() > 256) made->path.resize(256);
        return made;
    }

    PathNode* element(PathNode* node, bool always = false) {
        if (node == &rest_) return node;
        if (node->element) return node->element.get();
        if (count_ >= MOST && !always) return &rest_;
        count_++;
        node->element = std::make_unique<PathNode>();
        node->element->path = node->path + "[*]";
        return node->element.get();
    }

    // Calls tell(path, emitted, masked) for each path that has counts, and zeroes them.
    template <typename Tell>
    void take(Tell tell) {
        take_below(&root_, tell);
        take_one(&rest_, tell);
    }

  private:
    template <typename Tell>
    void take_one(PathNode* node, Tell& tell) {
        if (node->emitted || node->masked) tell(node->path, node->emitted, node->masked);
        node->emitted = node->masked = 0;
    }
    template <typename Tell>
    void take_below(PathNode* node, Tell& tell) {
        take_one(node, tell);
        for (auto& one : node->members) take_below(one.second.get(), tell);
        if (node->element) take_below(node->element.get(), tell);
    }

    PathNode root_;
    PathNode rest_;
    size_t count_ = 0;
};

}  // namespace kproxy
