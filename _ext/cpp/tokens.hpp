// Values that only who has the key can read: AES-SIV (RFC 5297), which gives equal values equal tokens and shows whether one
// was altered.
//
//   token = "kproxy:t1:" key id ":" base64url (RFC 4648 section 5, without padding) of: n, tag, sealed
//     n       the size of sealed, as a varint of seven bits a byte, the lowest first: it says where in a text a token ends
//     tag     16 bytes: the synthetic IV, over what stands before the base64 and over the sealed bytes
//     sealed  the kind of the value as one byte, and the value
#pragma once

#include <openssl/evp.h>

#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kproxy {

enum ValueKind : int { TEXT_VALUE, NUMBER_VALUE, BOOLEAN_VALUE, NULL_VALUE, CONTAINER_VALUE, BYTES_VALUE };

constexpr std::string_view TOKEN_START = "kproxy:t1:";

inline bool is_key_id_character(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
}

inline int base64url_value(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

inline void append_base64url(std::string_view bytes, std::string* out) {
    static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned held = 0;
    int bits = 0;
    for (char c : bytes) {
        held = held << 8 | static_cast<unsigned char>(c);
        for (bits += 8; bits >= 6;) out->push_back(DIGITS[held >> (bits -= 6) & 63]);
    }
    if (bits) out->push_back(DIGITS[held << (6 - bits) & 63]);
}

// All of `digits`. False: it is no base64url, or not as append_base64url() writes it.
inline bool read_base64url(std::string_view digits, std::string* out) {
    unsigned held = 0;
    int bits = 0;
    out->clear();
    for (char c : digits) {
        int value = base64url_value(c);
        if (value < 0) return false;
        held = held << 6 | static_cast<unsigned>(value);
        bits += 6;
        if (bits >= 8) out->push_back(static_cast<char>(held >> (bits -= 8) & 255));
    }
    return bits < 6 && !(held & ((1u << bits) - 1));
}

// What has the form of a token, in some text.
struct TokenSpan {
    size_t at = 0, length = 0;
    std::string_view key_id, digits;

    static constexpr size_t LONGEST_KEY_ID = 64;
    static constexpr size_t MOST_SEALED = 1 << 28;

    // The next one at or after `from`. False: there is none.
    bool find(std::string_view text, size_t from) {
        for (;; from = at + TOKEN_START.size()) {
            at = text.find(TOKEN_START, from);
            if (at == std::string_view::npos) return false;
            if (read(text.substr(at))) return true;
        }
    }
    // Whether the text is one, from its start to its end.
    bool is_all(std::string_view text) {
        return text.substr(0, TOKEN_START.size()) == TOKEN_START && read(text) && length == text.size();
    }

  private:
    bool read(std::string_view text) {
        size_t id = TOKEN_START.size(), colon = id;
        while (colon < text.size() && colon - id <= LONGEST_KEY_ID && is_key_id_character(text[colon])) colon++;
        if (colon == id || colon - id > LONGEST_KEY_ID || colon == text.size() || text[colon] != ':') return false;
        key_id = text.substr(id, colon - id);
        std::string_view left = text.substr(colon + 1);
        size_t said = 0, bytes = 0;
        std::string start;      // four bytes, which a size takes at most, are in six digits
        unsigned held = 0;
        int bits = 0;
        for (char c : left.substr(0, 6)) {
            int value = base64url_value(c);
            if (value < 0) return false;
            held = held << 6 | static_cast<unsigned>(value);
            bits += 6;
            if (bits >= 8) start.push_back(static_cast<char>(held >> (bits -= 8) & 255));
        }
        for (;; bytes++) {
            if (bytes == start.size()) return false;
            said |= static_cast<size_t>(start[bytes] & 0x7F) << (7 * bytes);
            if (!(start[bytes] & 0x80)) break;
        }
        size_t count = ((bytes + 1 + 16 + said) * 8 + 5) / 6;
        if (said == 0 || said >= MOST_SEALED || count > left.size()) return false;
        digits = left.substr(0, count);
        length = colon + 1 + count;
        return true;
    }
};

// One key, set up once. One thread's.
class TokenKey {
  public:
    // `key`: 64 bytes, of which RFC 5297 section 2.2 makes one for the tag and one for the sealed bytes.
    TokenKey(std::string id, const std::string& key) : start_(std::string(TOKEN_START) + id + ":"), id_(std::move(id)) {
        if (key.size() != 64) throw std::runtime_error("AES-256-SIV needs a key of 64 bytes");
        std::unique_ptr<EVP_CIPHER, Free> cipher(EVP_CIPHER_fetch(nullptr, "AES-256-SIV", nullptr));
        const auto* bytes = reinterpret_cast<const unsigned char*>(key.data());
        sealing_.reset(EVP_CIPHER_CTX_new());
        opening_.reset(EVP_CIPHER_CTX_new());
        working_.reset(EVP_CIPHER_CTX_new());
        if (!cipher || !sealing_ || !opening_ || !working_ ||
            !EVP_EncryptInit_ex2(sealing_.get(), cipher.get(), bytes, nullptr, nullptr) ||
            !EVP_DecryptInit_ex2(opening_.get(), cipher.get(), bytes, nullptr, nullptr) || !add_start(sealing_.get()) ||
            !add_start(opening_.get()))
            throw std::runtime_error("AES-256-SIV cannot be set up");
    }

    const std::string& id() const { return id_; }

    // False: the value is too long for a token.
    bool seal(ValueKind kind, std::string_view plain, std::string* out) {
        if (plain.size() + 1 >= TokenSpan::MOST_SEALED) return false;
        text_.assign(1, static_cast<char>('0' + kind));
        text_.append(plain);
        made_.clear();
        for (size_t left = text_.size();; left >>= 7) {
            made_.push_back(static_cast<char>((left & 0x7F) | (left > 0x7F ? 0x80 : 0)));
            if (left <= 0x7F) break;
        }
        size_t tag_at = made_.size();
        made_.resize(tag_at + TAG + text_.size());
        auto* to = reinterpret_cast<unsigned char*>(made_.data());
        int written = 0;
        if (!EVP_CIPHER_CTX_copy(working_.get(), sealing_.get()) ||
            !EVP_EncryptUpdate(working_.get(), to + tag_at + TAG, &written, reinterpret_cast<const unsigned char*>(text_.data()),
                               static_cast<int>(text_.size())) ||
            !EVP_CIPHER_CTX_ctrl(working_.get(), EVP_CTRL_AEAD_GET_TAG, TAG, to + tag_at))
            throw std::runtime_error("AES-256-SIV failed");
        *out = start_;
        append_base64url(made_, out);
        return true;
    }

    // Of a token with this key's id. False: it is not as seal() made it.
    bool open(std::string_view digits, ValueKind* kind, std::string* plain) {
        if (!read_base64url(digits, &made_)) return false;
        size_t tag_at = 0;
        while (tag_at < made_.size() && (made_[tag_at] & 0x80)) tag_at++;
        if (++tag_at + TAG >= made_.size()) return false;
        size_t size = made_.size() - tag_at - TAG;
        text_.resize(size);
        auto* from = reinterpret_cast<unsigned char*>(made_.data()) + tag_at;
        int written = 0;
        if (!EVP_CIPHER_CTX_copy(working_.get(), opening_.get()) ||
            !EVP_CIPHER_CTX_ctrl(working_.get(), EVP_CTRL_AEAD_SET_TAG, TAG, from))
            throw std::runtime_error("AES-256-SIV failed");
        if (EVP_DecryptUpdate(working_.get(), reinterpret_cast<unsigned char*>(text_.data()), &written, from + TAG,
                              static_cast<int>(size)) <= 0)
            return false;
        if (text_[0] < '0' || text_[0] > '0' + BYTES_VALUE) return false;
        *kind = static_cast<ValueKind>(text_[0] - '0');
        plain->assign(text_, 1, std::string::npos);
        return true;
    }

    // Buffers that one long value made large go back to the system.
    void give_back(size_t keep) {
        if (text_.capacity() > keep) std::string().swap(text_);
        if (made_.capacity() > keep) std::string().swap(made_);
    }

  private:
    static constexpr int TAG = 16;
    struct Free {
        void operator()(EVP_CIPHER* cipher) const { EVP_CIPHER_free(cipher); }
        void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
    };

    bool add_start(EVP_CIPHER_CTX* context) const {
        int written = 0;
        return EVP_CipherUpdate(context, nullptr, &written, reinterpret_cast<const unsigned char*>(start_.data()),
                                static_cast<int>(start_.size()));
    }

    std::string start_, id_;
    std::unique_ptr<EVP_CIPHER_CTX, Free> sealing_, opening_, working_;    // the last one is a copy, used for one value
    std::string text_, made_;
};

// The key that makes tokens, first, and those whose tokens are known as well.
class TokenKeys {
  public:
    void add(const std::string& id, const std::string& key) { keys_.push_back(std::make_unique<TokenKey>(id, key)); }

    bool seal(ValueKind kind, std::string_view plain, std::string* out) {
        bool fits = keys_.front()->seal(kind, plain, out);
        keys_.front()->give_back(KEEP);
        return fits;
    }

    bool knows(std::string_view id) const { return find(id) != nullptr; }

    // Of what is a token as a whole. False: no key here made it.
    bool open(std::string_view text, ValueKind* kind, std::string* plain) {
        TokenSpan span;
        TokenKey* key = span.is_all(text) ? find(span.key_id) : nullptr;
        bool opened = key && key->open(span.digits, kind, plain);
        if (key) key->give_back(KEEP);
        return opened;
    }

  private:
    static constexpr size_t KEEP = 256 << 10;

    TokenKey* find(std::string_view id) const {
        for (const auto& key : keys_)
            if (key->id() == id) return key.get();
        return nullptr;
    }

    std::vector<std::unique_ptr<TokenKey>> keys_;
};

}  // namespace kproxy
