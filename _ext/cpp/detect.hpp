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
        if (look_first) {
            look_for(text, wanted_, &places_);
        } else {
            places_.clear();
            places_.seen = wanted_;
        }
        if (!places_.seen) return;
        unsigned search = which_to_search(text, places_.seen & ~places_.near);
        for (size_t which = 0; which < entities_.size(); which++) {
            unsigned bit = bit_of(entities_[which]);
            if (places_.seen & places_.near & bit) find_near(which, text, found);
            else if (search & bit) find_everywhere(which, text, found);
        }
    }

  private:
    // Of `seen`, the entities to search the whole text for. The set's pass is spared where it could tell only few apart.
    unsigned which_to_search(std::string_view text, unsigned seen) {
        if (__builtin_popcount(seen) < SET_PAYS_FROM) return seen;
        RE2::Set::ErrorInfo info{};
        if (!set_->Match(re2::StringPiece(text.data(), text.size()), &which_, &info)) {
            // No memory for the combined automaton: each is searched for by itself, nothing is taken as clean.
            return info.kind == RE2::Set::kNoError ? 0 : seen;
        }
        unsigned matched = 0;
        for (int which : which_) matched |= bit_of(entities_[static_cast<size_t>(which)]);
        return seen & matched;
    }

    bool match(size_t which, std::string_view text, size_t from, size_t to, RE2::Anchor anchor, Found* hit) const {
        re2::StringPiece whole(text.data(), text.size()), span;
        if (!patterns_[which]->Match(whole, from, to, anchor, &span, 1)) return false;
        *hit = Found{static_cast<size_t>(span.data() - text.data()), span.size(), static_cast<int>(which)};
        return true;
    }

    void find_everywhere(size_t which, std::string_view text, std::vector<Found>* found) const {
        Found hit;
        for (size_t at = 0; at < text.size() && match(which, text, at, text.size(), RE2::UNANCHORED, &hit);) {
            size_t from = hit.at;
            if (check_entity(entities_[which], text, &hit)) {
                found->push_back(hit);
                at = hit.at + hit.length;
            } else {
                at = after_refusal(entities_[which], text, from);
            }
        }
    }

    // Holds the pattern against the places where the look at the bytes saw that it may match.
    void find_near(size_t which, std::string_view text, std::vector<Found>* found) const {
        int entity = entities_[which];
        size_t done = 0;
        Found hit;
        for (const Candidate& place : places_.list) {
            if (place.entity != entity || place.at < done) continue;
            size_t from = entity == EMAIL ? address_start(text, place.at, done) : place.at;
            size_t to = entity == EMAIL ? address_end(text, place.at) : std::min(text.size(), from + longest_match(entity));
            if (!match(which, text, from, to, RE2::ANCHOR_START, &hit) || !check_entity(entity, text, &hit)) continue;
            found->push_back(hit);
            done = hit.at + hit.length;
        }
    }

    static constexpr int SET_PAYS_FROM = 3;

    std::vector<int> entities_;
    std::vector<std::unique_ptr<RE2>> patterns_;
    std::unique_ptr<RE2::Set> set_;
    unsigned wanted_ = 0;
    std::vector<int> which_;
    Places places_;
};

}  // namespace kproxy
