// What stands at one place of a document, looked up before it is walked.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "json_index.hpp"
#include "json_tokens.hpp"

namespace kproxy {

// Of a document whose index was read; it need not be JSON, since whoever walks it finds that out.
class JsonLookup {
  public:
    JsonLookup(JsonIndex& index, const char* text) : index_(index), text_(text), end_(index.end()) {}

    // What the leaf says that these names lead to: of members of one name the last, as most readers have it. Empty: there is
    // none, or it is null. Good until the index unescapes something.
    std::string_view leaf_at(const std::vector<std::string>& names) {
        Place at = index_.begin();
        for (const auto& name : names)
            if (!(at = member(at, name))) return {};
        char first = text_[*at];
        if (first == '{' || first == '[') return {};
        std::string_view token = token_at(at);
        if (first != '"') return token == "null" ? std::string_view() : token;
        return plain(token);
    }

  private:
    using Place = const uint32_t*;

    // The value of the member of the object that begins at `at`; null: there is none.
    Place member(Place at, std::string_view name) {
        Place found = nullptr;
        if (text_[*at] != '{') return nullptr;
        at++;
        while (end_ - at > 2 && text_[*at] == '"' && text_[at[1]] == ':') {
            if (plain(token_at(at)) == name) found = at + 2;
            at = behind(at + 2);
            if (at == end_ || text_[*at] != ',') break;
            at++;
        }
        return found;
    }

    Place behind(Place at) const {
        int depth = 0;
        for (; at != end_; at++) {
            char c = text_[*at];
            if (c == '{' || c == '[') depth++;
            else if (c == '}' || c == ']') depth--;
            if (depth <= 0) return at + 1;
        }
        return at;
    }

    std::string_view token_at(Place at) const { return trim_right(std::string_view(text_ + *at, at[1] - *at)); }

    std::string_view plain(std::string_view token) {
        if (token.size() < 2) return {};
        std::string_view inner = token.substr(1, token.size() - 2);
        if (inner.find('\\') == std::string_view::npos) return inner;
        return index_.unescape(token, &inner) ? inner : std::string_view();
    }

    JsonIndex& index_;
    const char* text_;
    Place end_;
};

}  // namespace kproxy
