// The detectors of one topic: a look at the bytes, then one RE2::Set pass that says which entities may be there, then the
// spans of only those.
#pragma once

#include <re2/re2.h>
#include <re2/set.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "entities.hpp"
#include "prefilter.hpp"

namespace kproxy {

// Compiled once, shared by the sessions of one thread.
class Detectors {
  public:
    explicit Detectors(const std::vector<int>& entities) : entities_(entities) {
        RE2::Options options;
        options.set_encoding(RE2::Options::EncodingLatin1);  // Bytes are matched as bytes: no text is too broken to search.
        options.set_log_errors(false);
        options.set_max_mem(16 << 20);
        set_ = std::make_unique<RE2::Set>(options, RE2::UNANCHORED);
        for (int entity : entities_) {
            std::string error;
            patterns_.push_back(std::make_unique<RE2>(entity_pattern(entity), options));
            if (!patterns_.back()->ok() || set_->Add(entity_pattern(entity), &error) < 0)
                throw std::runtime_error("the pattern of a detector does not compile");
            wanted_ |= bit_of(entity);
        }
        if (!entities_.empty() && !set_->Compile()) throw std::runtime_error("the detectors need more memory than RE2 may use");
    }

    bool empty() const { return entities_.empty(); }

    // Every span of every detector in `text`, by detector and then by place; spans of one detector do not overlap.
    // `look_first` false leaves out the look at the bytes, which may change the time it takes and nothing else.
    void find(std::string_view text, std::vector<Found>* found, bool look_first = true) {
        found->clear();
        if (text.empty() || entities_.empty()) return;
        unsigned seen = look_first ? may_hold(text, wanted_) : wanted_;
        if (!seen) return;
        if (which_may_match(text, seen))
            for (int which : which_) find_one(which, text, found);
    }

  private:
    // Sets `which_` to the detectors worth looking for. The set's pass is spared where it could only tell few apart.
    bool which_may_match(std::string_view text, unsigned seen) {
        which_.clear();
        RE2::Set::ErrorInfo info{};
        bool passed = __builtin_popcount(seen) >= SET_PAYS_FROM;
        if (passed && !set_->Match(re2::StringPiece(text.data(), text.size()), &which_, &info)) {
            if (info.kind == RE2::Set::kNoError) return false;
            passed = false;     // No memory for the combined automaton: each is looked for by itself, nothing is taken as clean.
            which_.clear();
        }
        for (size_t i = 0; !passed && i < entities_.size(); i++) which_.push_back(static_cast<int>(i));
        auto unseen = [&](int which) { return !(seen & bit_of(entities_[static_cast<size_t>(which)])); };
        which_.erase(std::remove_if(which_.begin(), which_.end(), unseen), which_.end());
        return !which_.empty();
    }

    static constexpr int SET_PAYS_FROM = 3;

    void find_one(int which, std::string_view text, std::vector<Found>* found) const {
        int entity = entities_[static_cast<size_t>(which)];
        const RE2& pattern = *patterns_[static_cast<size_t>(which)];
        re2::StringPiece whole(text.data(), text.size()), match;
        size_t at = 0;
        while (at < text.size() && pattern.Match(whole, at, text.size(), RE2::UNANCHORED, &match, 1)) {
            Found hit{static_cast<size_t>(match.data() - text.data()), match.size(), which};
            if (check_entity(entity, text, &hit)) {
                found->push_back(hit);
                at = hit.at + hit.length;
            } else {
                at = after_refusal(entity, text, hit.at);
            }
        }
    }

    std::vector<int> entities_;
    std::vector<std::unique_ptr<RE2>> patterns_;
    std::unique_ptr<RE2::Set> set_;
    unsigned wanted_ = 0;
    std::vector<int> which_;
};

}  // namespace kproxy
