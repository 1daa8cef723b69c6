// What is done to a value that must not be seen.
#pragma once

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace kproxy {

enum ActionKind : int { REDACT, REPLACE, MASK, HMAC_TOKEN, BLOCK };

// HMAC-SHA-256 (RFC 2104) under one key, which is set up once: that costs more than a short value does.
class KeyedHash {
  public:
    explicit KeyedHash(const std::string& key) {
        EVP_MAC* method = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
        context_.reset(method ? EVP_MAC_CTX_new(method) : nullptr);
        EVP_MAC_free(method);
        char name[] = "SHA256";
        OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0), OSSL_PARAM_construct_end()};
        if (!context_ || !EVP_MAC_init(context_.get(), reinterpret_cast<const unsigned char*>(key.data()), key.size(), parameters))
            throw std::runtime_error("HMAC-SHA-256 cannot be set up");
    }

    // The first `length` (at most 32) bytes of the value's hash.
    void hash(std::string_view value, unsigned char* out, size_t length) {
        unsigned char digest[32];
        size_t made = 0;
        if (!EVP_MAC_init(context_.get(), nullptr, 0, nullptr) ||
            !EVP_MAC_update(context_.get(), reinterpret_cast<const unsigned char*>(value.data()), value.size()) ||
            !EVP_MAC_final(context_.get(), digest, &made, sizeof digest) || made != sizeof digest)
            throw std::runtime_error("HMAC-SHA-256 failed");
        std::memcpy(out, digest, length);
    }

  private:
    struct Free {
        void operator()(EVP_MAC_CTX* context) const { EVP_MAC_CTX_free(context); }
    };
    std::unique_ptr<EVP_MAC_CTX, Free> context_;
};

struct Action {
    int kind = REDACT;
    std::string text;            // replace
    int keep_first = 0;          // mask: characters, not bytes
    int keep_last = 0;
    std::string character = "*";
    std::string key_id;          // hmac
    std::shared_ptr<KeyedHash> key;     // one thread's
};

inline bool begins_character(char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }

inline void mask_text(const Action& action, std::string_view plain, std::string* out) {
    size_t count = 0;
    for (char c : plain) count += begins_character(c);
    size_t first = static_cast<size_t>(action.keep_first), last = static_cast<size_t>(action.keep_last);
    if (first + last >= count) first = last = 0;    // A value too short to keep parts of shows nothing.
    if (count == plain.size() && action.character.size() == 1) {
        out->append(plain.data(), first);
        out->append(count - first - last, action.character[0]);
        out->append(plain.data() + count - last, last);
        return;
    }
    size_t number = 0;
    bool shown = false;
    for (char c : plain) {
        if (begins_character(c)) {
            shown = number < first || number >= count - last;
            number++;
            if (!shown) *out += action.character;
        }
        if (shown) out->push_back(c);
    }
}

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

enum ValueKind : int { TEXT_VALUE, NUMBER_VALUE, BOOLEAN_VALUE, NULL_VALUE, CONTAINER_VALUE, BYTES_VALUE };

// What takes a value's place: the format at hand says how it is written.
struct Hidden {
    std::string text;                       // the value as people read it, without quotes or escapes
    ValueKind kind = TEXT_VALUE;            // NUMBER_VALUE: the text is a number of JSON's
    bool dropped = false;                   // the field itself goes
};

inline void hide(const Action& action, ValueKind, std::string_view plain, Hidden* out) {
    out->text.clear();
    out->kind = TEXT_VALUE;
    out->dropped = false;
    switch (action.kind) {
        case REPLACE: out->text = action.text; break;
        case MASK: mask_text(action, plain, &out->text); break;
        case HMAC_TOKEN: hmac_text(action, plain, &out->text); break;
        default: break;
    }
}

struct FieldRule {
    std::vector<std::string> path;
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
    int entity;
    Action action;
    int rule;
    std::string message;
};

}  // namespace kproxy
