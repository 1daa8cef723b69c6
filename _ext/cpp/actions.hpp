// What is done to a value that must not be seen.
#pragma once

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <stdexcept>
#include <string>
#include <string_view>
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

inline void mask_text(const Action& action, std::string_view plain, std::string* out) {
    size_t count = 0;
    for (char c : plain) count += begins_character(c);
    size_t first = static_cast<size_t>(action.keep_first), last = static_cast<size_t>(action.keep_last);
    if (first + last >= count) first = last = 0;    // A value too short to keep parts of shows nothing.
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

// `key id:` and the first 32 hex digits of HMAC-SHA-256 (RFC 2104): equal values stay equal, so joins still work.
inline void hmac_text(const Action& action, std::string_view plain, std::string* out) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int length = 0;
    if (!HMAC(EVP_sha256(), action.key.data(), static_cast<int>(action.key.size()),
              reinterpret_cast<const unsigned char*>(plain.data()), plain.size(), digest, &length))
        throw std::runtime_error("HMAC-SHA-256 failed");
    *out += action.key_id;
    out->push_back(':');
    for (int i = 0; i < 16; i++) {
        out->push_back("0123456789abcdef"[digest[i] >> 4]);
        out->push_back("0123456789abcdef"[digest[i] & 15]);
    }
}

inline void hide(const Action& action, std::string_view plain, std::string* out) {
    out->clear();
    switch (action.kind) {
        case REPLACE: *out = action.text; break;
        case MASK: mask_text(action, plain, out); break;
        case HMAC_TOKEN: hmac_text(action, plain, out); break;
        default: break;
    }
}

struct FieldRule {
    std::vector<std::string> path;
    Action action;
    int rule;                    // index of the rule's name
};

struct DetectRule {
    int entity;
    Action action;
    int rule;
    std::string message;
};

}  // namespace kproxy
