// Leaves whose type a schema says: text and bytes that stand behind their length, and all else as the text that people read.
// What is hidden stays a value of its type: where the hidden text is none, the type's zero stands there.
#pragma once

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "hiding.hpp"

namespace kproxy {

class TypedLeaves {
  public:
    // Writes a length in the format's own way, ten bytes at most; gives how many.
    using WriteLength = size_t (*)(char* to, size_t length);

    TypedLeaves(Hiding& hiding, WriteLength write_length) : hiding_(hiding), write_length_(write_length) {}

    void begin(size_t shift, std::string_view part, bool detect) {
        shift_ = shift;
        part_ = part.data();
        detect_ = detect && !hiding_.rules.detects.empty();
    }

    bool detects() const { return detect_; }

    // A rule meets the leaf. True: hidden() takes its place.
    bool hide_field(PathNode* node, int rule, std::string_view plain, ValueKind kind) {
        if (detect_) find(plain, true);
        return hiding_.hide_field(node, rule, plain, kind);
    }
    // What detectors find in a leaf that is no text. True: hidden() takes its place, or nothing does if it is not all of it.
    bool hide_found(PathNode* node, std::string_view plain, ValueKind kind) {
        const std::vector<Resolved>* hits = detect_ ? &find(plain, false) : nullptr;
        whole_ = false;
        if (!hits || hits->empty()) {
            hiding_.show(node);
            return false;
        }
        whole_ = hits->front().length == plain.size();
        const Hidden& hidden = hiding_.hide_found(hits->front(), plain.substr(hits->front().at, hits->front().length), kind);
        if (hidden.same || hidden.cleared) hiding_.show(node);
        else hiding_.on_masked(node);
        return !hidden.same;
    }
    // Either of the two.
    bool hide(PathNode* node, int rule, std::string_view plain, ValueKind kind) {
        rule = hiding_.rule_of_leaf(rule, plain);
        if (rule < 0) return hide_found(node, plain, kind);
        whole_ = true;
        return hide_field(node, rule, plain, kind);
    }

    const Hidden& hidden() const { return hiding_.hidden(); }
    // What takes the place of the whole leaf; empty where only a part of it was found.
    std::string_view text() const { return whole_ ? std::string_view(hidden().text) : std::string_view(); }

    // That as a number of its type, or 0.
    template <typename Number>
    Number number(Number least, Number most) const {
        std::string_view said = text();
        Number found = 0;
        auto [end, error] = std::from_chars(said.data(), said.data() + said.size(), found);
        return error == std::errc() && end == said.data() + said.size() && least <= found && found <= most ? found : 0;
    }

    // In the place of the text that begins at `from` with its length and ends where `plain` does.
    void write_text(const char* from, std::string_view plain, std::string_view text) {
        char length[10];
        hiding_.edits->begin(place(from), static_cast<size_t>(plain.data() + plain.size() - from));
        hiding_.edits->text().append(length, write_length_(length, text.size()));
        hiding_.edits->text().append(text);
        hiding_.edits->end();
    }

    void replace(const char* from, const char* end, std::string_view text) {
        hiding_.edits->begin(place(from), static_cast<size_t>(end - from));
        hiding_.edits->text().append(text);
        hiding_.edits->end();
    }

    // Hides what was found of `plain`, which stands behind its length at `from`. True: something is hidden now.
    bool change_found(const char* from, std::string_view plain, ValueKind kind) {
        if (!detect_) return false;
        const std::vector<Resolved>& hits = find(plain, false);
        if (hits.empty()) return false;
        for (const Resolved& hit : hits) {
            if (hit.rule->action.kind != DROP_FIELD) continue;
            write_text(from, plain, "");        // The find takes its field with it, as far as a typed one can go.
            return true;
        }
        bool hides = false;
        size_t opened = open_length(from, plain.data());
        for (const Resolved& hit : hits) {
            std::string_view part = plain.substr(hit.at, hit.length);
            const Hidden& hidden = hiding_.hide_found(hit, part, kind);
            hides = hides || !(hidden.same || hidden.cleared);
            if (!hidden.same) replace(part.data(), part.data() + part.size(), hidden.text);
        }
        close_length(opened, plain.size());
        return hides;
    }

    // Whether detectors find something in `plain` that is to be hidden whole.
    bool holds(std::string_view plain, bool guards_only) { return !find(plain, guards_only).empty(); }
    // Whether they find anything; nothing is counted of it.
    bool finds(std::string_view plain) {
        hiding_.find_in(plain, &found_);
        hiding_.find_escaped(plain, &found_);
        return !found_.empty();
    }

    // A length that stands from `from` to `end`, before something that may change; to be closed once that was walked.
    size_t open_length(const char* from, const char* end) {
        size_t number = hiding_.edits->count();
        hiding_.edits->begin(place(from), static_cast<size_t>(end - from));
        growth_.push_back(hiding_.edits->growth());
        return number;
    }
    // `before`: what it said. Nothing changed behind it: it stays as it is written.
    void close_length(size_t opened, size_t before) {
        int64_t growth = hiding_.edits->growth() - growth_.back();
        growth_.pop_back();
        if (hiding_.edits->count() == opened + 1) return hiding_.edits->cut(opened);
        char length[10];
        size_t now = static_cast<size_t>(static_cast<int64_t>(before) + growth);
        hiding_.edits->fill(opened, std::string_view(length, write_length_(length, now)));
    }
    // The walk is given up: what is open is forgotten, and the caller takes the edits back.
    void give_up() { growth_.clear(); }

    void give_back() {
        if (found_.capacity() > 4096) std::vector<Found>().swap(found_);
        growth_.clear();
    }

  private:
    // What detectors find in `plain` that is to be hidden. Good until the next call.
    const std::vector<Resolved>& find(std::string_view plain, bool guards_only) {
        hiding_.find_in(plain, &found_);
        hiding_.find_escaped(plain, &found_);
        return hiding_.resolve(found_.data(), found_.data() + found_.size(), guards_only);
    }

    size_t place(const char* at) const { return shift_ + static_cast<size_t>(at - part_); }

    Hiding& hiding_;
    WriteLength write_length_;
    size_t shift_ = 0;
    const char* part_ = nullptr;        // SAFETY: the part that is walked, alive until that ends
    bool detect_ = false;
    bool whole_ = false;
    std::vector<int64_t> growth_;       // of the edits, when each open length was opened
    std::vector<Found> found_;
};

}  // namespace kproxy
