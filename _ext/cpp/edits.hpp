// Changes to a record, in ascending order of place: each replaces some bytes of the original by bytes of its own.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "buffer.hpp"

namespace kproxy {

struct Edit {
    size_t at;              // in the original
    size_t length;
    size_t text_at;         // in Edits::texts
    size_t text_length;
};

class Edits {
  public:
    size_t count() const { return list_.size(); }

    void clear() {
        list_.clear();
        texts_.clear();
        growth_ = 0;
    }

    // Forgets the edits behind the first `count`.
    void cut(size_t count) {
        while (list_.size() > count) {
            growth_ -= static_cast<int64_t>(list_.back().text_length) - static_cast<int64_t>(list_.back().length);
            list_.pop_back();
        }
    }

    // Forgets the edits of what stands at `at` or behind it.
    void cut_from(size_t at) {
        while (!list_.empty() && list_.back().at >= at) cut(list_.size() - 1);
    }
    // Whether the last one ends right before `at`.
    bool reach(size_t at) const { return !list_.empty() && list_.back().at + list_.back().length == at; }

    // An edit whose text is written to text() until end().
    void begin(size_t at, size_t length) {
        list_.push_back({at, length, texts_.size(), 0});
        growth_ -= static_cast<int64_t>(length);
    }
    Buffer& text() { return texts_; }
    void end() {
        Edit& edit = list_.back();
        edit.text_length = texts_.size() - edit.text_at;
        growth_ += static_cast<int64_t>(edit.text_length);
    }

    // Gives edit `number`, begun before its text was known, that text.
    void fill(size_t number, std::string_view text) {
        Edit& edit = list_[number];
        edit.text_at = texts_.size();
        edit.text_length = text.size();
        texts_.append(text);
        growth_ += static_cast<int64_t>(text.size());
    }

    // Bytes of memory that the edits take: short values hidden by longer ones take many times their own.
    size_t weight() const { return list_.size() * sizeof(Edit) + texts_.size(); }

    // Bytes that all edits together add to the original.
    int64_t growth() const { return growth_; }

    void apply(std::string_view original, Buffer* out) const {
        size_t done = 0;
        for (const Edit& edit : list_) {
            out->append(original.data() + done, edit.at - done);
            out->append(texts_.data() + edit.text_at, edit.text_length);
            done = edit.at + edit.length;
        }
        out->append(original.data() + done, original.size() - done);
    }

    void give_back(size_t keep) {
        clear();
        texts_.give_back(keep);
        if (list_.capacity() * sizeof(Edit) > keep) std::vector<Edit>().swap(list_);
    }

  private:
    std::vector<Edit> list_;
    Buffer texts_;
    int64_t growth_ = 0;
};

}  // namespace kproxy
