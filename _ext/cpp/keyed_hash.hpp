// HMAC-SHA-256 under one key.
#pragma once

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

namespace kproxy {

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

}  // namespace kproxy
