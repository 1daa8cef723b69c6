// Where the tokens of a JSON document begin: simdjson's first stage, which also holds the text against UTF-8, finds strings
// that do not end and control characters within strings. What follows what is for the reader to check.
#pragma once

#include <simdjson.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <new>
#include <string_view>

#include "buffer.hpp"

namespace kproxy {

class JsonIndex {
  public:
    static constexpr size_t PADDING = simdjson::SIMDJSON_PADDING;   // bytes behind a document that must be readable

    JsonIndex() { make(64 << 10); }

    // False: the text cannot be JSON, or has no token at all.
    bool read(const char* text, size_t size) {
        if (size > parser_->capacity() && parser_->set_capacity(std::max(size, 2 * parser_->capacity()))) return false;
        return !parser_->stage1(reinterpret_cast<const uint8_t*>(text), size, simdjson::stage1_mode::regular) &&
               parser_->n_structural_indexes;
    }

    // One place for each bracket, colon, comma, string (its opening quote) and other run of characters; end()[0] is the size
    // of the text.
    const uint32_t* begin() const { return parser_->structural_indexes.get(); }
    const uint32_t* end() const { return begin() + parser_->n_structural_indexes; }

    // What `token`, a string of the document with its quotes, says. Good until the next call. False: an escape is wrong.
    bool unescape(std::string_view token, std::string_view* plain) {
        unescaped_.clear();
        auto* to = reinterpret_cast<uint8_t*>(unescaped_.room(token.size() + PADDING));
        const uint8_t* end = parser_->parse_string(reinterpret_cast<const uint8_t*>(token.data()) + 1, to);
        if (!end) return false;
        *plain = std::string_view(unescaped_.data(), static_cast<size_t>(end - to));
        return true;
    }

    void give_back(size_t keep) {
        unescaped_.give_back(keep);
        if (parser_->capacity() > keep) make(64 << 10);
    }

  private:
    using Parser = simdjson::internal::dom_parser_implementation;

    void make(size_t capacity) {
        if (simdjson::get_active_implementation()->create_dom_parser_implementation(capacity, 1, parser_)) throw std::bad_alloc();
    }

    std::unique_ptr<Parser> parser_;
    Buffer unescaped_;
};

}  // namespace kproxy
