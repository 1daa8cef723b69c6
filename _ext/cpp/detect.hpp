// The detectors of one topic: a look at the bytes, then one RE2::Set pass that says which entities may be there, then the
// spans of only those. Numbers that begin a word are held against their patterns where such a word is, and nowhere else.
#pragma once

#include <re2/re2.h>
#include <re2/set.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "context.hpp"
#include "entities.hpp"
#include "literals.hpp"
#include "prefilter.hpp"
#include "word_starts.hpp"

namespace kproxy {

// A detector that a policy brings along.
struct OwnDetector {
    std::string pattern;        // RE2's
    std::string words;          // beside a find, as is_word_at() takes them, with | between; empty: none is asked for
    std::string literals;       // one of which every find holds, in small letters, with | between; empty: not known
    bool luhn = false;
    bool whole_words = true;
};

inline RE2::Options detector_options(int64_t most_memory = 16 << 20) {
    RE2::Options options;
    options.set_encoding(RE2::Options::EncodingLatin1);  // Bytes are matched as bytes: no text is too broken to search.
    options.set_log_errors(false);
    options.set_max_mem(most_memory);
    return options;
}

// Why RE2 does not take a pattern of a policy, with a fraction of the memory that a detector may use; empty: it does.
inline std::string pattern_fault(const std::string& pattern) {
    RE2 made(pattern, detector_options(1 << 20));
    if (!made.ok()) return made.error();
    if (RE2::FullMatch("", made)) return "it matches the empty text";
    return std::string();
}

// Compiled once, shared by the sessions of one thread.
class Detectors {
  public:

    // An entity from ENTITIES on is one of `own`.
    explicit Detectors(const std::vector<int>& entities, std::vector<OwnDetector> own = {}) : entities_(entities), own_(std::move(own)) {
        set_ = std::make_unique<RE2::Set>(detector_options(), RE2::UNANCHORED);
        for (int entity : entities_) {
            if (entity < 0 || entity >= ENTITIES + static_cast<int>(own_.size()) || entity >= MOST_ENTITIES)
                throw std::runtime_error("there is no such detector");
            patterns_.push_back(std::make_unique<RE2>(pattern_of(entity), detector_options()));
            if (!patterns_.back()->ok()) throw std::runtime_error("the pattern of a detector does not compile");
            wanted_ |= bit_of(entity);
            add_look(entity);
        }
        // A find of words needs no combined pass, so their patterns would only make it larger.
        for (size_t which = 0; which < entities_.size(); which++)
            if (!(starts_.wanted() & bit_of(entities_[which]))) {
                std::string error;
                if (set_->Add(pattern_of(entities_[which]), &error) < 0) throw std::runtime_error("the pattern of a detector does not compile");
                in_set_.push_back(entities_[which]);
            }
        if (!in_set_.empty() && !set_->Compile()) throw std::runtime_error("the detectors need more memory than RE2 may use");
    }

    bool empty() const { return entities_.empty(); }

    // Every span of every detector in `text`, by detector and then by place; spans of one detector do not overlap.
    // `look_first` false leaves out the look at the bytes, which may change the time it takes and nothing else.
    // `around` is what stands before `text` where that was cut out of something: words that say what a find is may be there.
    void find(std::string_view text, std::vector<Found>* found, bool look_first = true, std::string_view around = {}) {
        found->clear();
        if (text.empty() || entities_.empty()) return;
        around_ = around;
        EntitySet seen = look(text, look_first);
        if (seen) {
            EntitySet search = which_to_search(text, seen & ~places_.near);
            for (size_t which = 0; which < entities_.size(); which++) {
                EntitySet bit = bit_of(entities_[which]);
                if (seen & places_.near & bit) find_near(which, text, found);
                else if (search & bit) find_everywhere(which, text, found);
            }
        }
        if (!look_first || !starts_.wanted()) return;
        size_t before = found->size();
        find_at_words(text, found);
        if (found->size() > before)
            std::stable_sort(found->begin(), found->end(), [](const Found& a, const Found& b) { return a.which < b.which; });
    }

  private:
    std::string pattern_of(int entity) const {
        return entity < ENTITIES ? entity_pattern(entity) : own_[static_cast<size_t>(entity - ENTITIES)].pattern;
    }

    // How it is told that the entity may be there.
    void add_look(int entity) {
        if (entity < ENTITIES) {
            const EntityRow& row = entity_row(entity);
            if (row.starts[0].kind) starts_.add(entity, row.starts, std::size(row.starts));
            else if (*row.literals) literals_.add_all(row.literals, bit_of(entity));
            else looked_for_ |= bit_of(entity);
        } else if (!own_[static_cast<size_t>(entity - ENTITIES)].literals.empty()) {
            literals_.add_all(own_[static_cast<size_t>(entity - ENTITIES)].literals, bit_of(entity));
        } else {
            always_ |= bit_of(entity);
        }
    }

    // The entities that may be there, but for those that begin words; of some, where.
    EntitySet look(std::string_view text, bool look_first) {
        places_.clear();
        if (!look_first) return wanted_;
        if (looked_for_) look_for(text, looked_for_, &places_);
        EntitySet seen = places_.seen | always_;
        if (!literals_.empty()) {
            seen |= literals_.seen_in(text);
            if (!around_.empty()) seen |= literals_.seen_in(around_.substr(around_.size() - std::min(around_.size(), CONTEXT_BEFORE)));
        }
        return seen;
    }

    // Of `seen`, the entities to search the whole text for. The set's pass is spared where it could tell only few apart.
    EntitySet which_to_search(std::string_view text, EntitySet seen) {
        EntitySet may = seen & ~starts_.wanted();
        int count = __builtin_popcountll(static_cast<uint64_t>(may)) + __builtin_popcountll(static_cast<uint64_t>(may >> 64));
        if (count < SET_PAYS_FROM) return seen;
        RE2::Set::ErrorInfo info{};
        if (!set_->Match(re2::StringPiece(text.data(), text.size()), &which_, &info)) {
            // No memory for the combined automaton: each is searched for by itself, nothing is taken as clean.
            return info.kind == RE2::Set::kNoError ? seen & ~may : seen;
        }
        EntitySet matched = starts_.wanted();
        for (int which : which_) matched |= bit_of(in_set_[static_cast<size_t>(which)]);
        return seen & matched;
    }

    bool match(size_t which, std::string_view text, size_t from, size_t to, RE2::Anchor anchor, Found* hit) const {
        re2::StringPiece whole(text.data(), text.size()), span;
        if (!patterns_[which]->Match(whole, from, to, anchor, &span, 1)) return false;
        *hit = Found{static_cast<size_t>(span.data() - text.data()), span.size(), static_cast<int>(which)};
        return hit->length > 0;
    }

    // Decides about a candidate, and may shorten, lengthen or move it.
    bool judge(int entity, std::string_view text, Found* hit) const {
        Judged judged = FOUND;
        const char* words;
        if (entity < ENTITIES) {
            const EntityRow& row = entity_row(entity);
            if (row.check) judged = row.check(text, hit);
            words = row.words;
        } else {
            const OwnDetector& own = own_[static_cast<size_t>(entity - ENTITIES)];
            words = own.words.c_str();
            judged = check_own(own, text, *hit);
        }
        return judged == FOUND || (judged == DOUBTED && has_context(words, around_, text, *hit));
    }

    static Judged check_own(const OwnDetector& own, std::string_view text, const Found& hit) {
        if (own.whole_words && !stands_alone_at_words(text, hit)) return UNFIT;
        if (own.luhn) {
            int digits[40], count = 0;
            for (char c : text.substr(hit.at, hit.length)) {
                if (!is_digit(c)) continue;
                if (count == 40) return UNFIT;
                digits[count++] = c - '0';
            }
            if (count < 2 || !passes_luhn(digits, count)) return UNFIT;
        }
        return own.words.empty() ? FOUND : DOUBTED;
    }

    // Where the find begins or ends with a letter or digit, no other goes on from it.
    static bool stands_alone_at_words(std::string_view text, const Found& hit) {
        size_t end = hit.at + hit.length;
        bool goes_on = end < text.size() && is_word(text[end]) && is_word(text[end - 1]);
        return !goes_on && !(hit.at && is_word(text[hit.at - 1]) && is_word(text[hit.at]));
    }

    void find_everywhere(size_t which, std::string_view text, std::vector<Found>* found) const {
        Found hit;
        for (size_t at = 0; at < text.size() && match(which, text, at, text.size(), RE2::UNANCHORED, &hit);) {
            size_t from = hit.at, to = hit.at + hit.length;
            if (judge(entities_[which], text, &hit)) {
                found->push_back(hit);
                at = hit.at + hit.length;
            } else {
                at = after_refusal(entities_[which], text, from, to);
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
            if (!match(which, text, from, to, RE2::ANCHOR_START, &hit) || !judge(entity, text, &hit)) continue;
            found->push_back(hit);
            done = hit.at + hit.length;
        }
    }

    // What begins at a word that has a digit.
    void find_at_words(std::string_view text, std::vector<Found>* found) {
        done_.assign(entities_.size(), 0);
        each_word(text, [&](size_t start, size_t end) {
            uint8_t kind;
            EntitySet may = starts_.at(text, start, end, &kind);
            for (size_t which = 0; may && which < entities_.size(); which++) {
                EntitySet bit = bit_of(entities_[which]);
                if (!(may & bit)) continue;
                may &= ~bit;
                find_at_word(which, text, start, end, kind, found);
            }
        });
    }

    void find_at_word(size_t which, std::string_view text, size_t start, size_t end, uint8_t kind, std::vector<Found>* found) {
        int entity = entities_[which];
        for (const WordStart& begin : entity_row(entity).starts) {
            size_t from = start - begin.back;
            if (!WordStarts::fits(begin, kind, end - start) || start < begin.back || from < done_[which]) continue;
            if (begin.lead && text[from] != begin.lead) continue;
            size_t to = std::min(text.size(), from + longest_match(entity));
            Found hit;
            if (!match(which, text, from, to, RE2::ANCHOR_START, &hit) || !judge(entity, text, &hit)) continue;
            found->push_back(hit);
            done_[which] = hit.at + hit.length;
            return;
        }
    }

    static constexpr int SET_PAYS_FROM = 3;

    std::vector<int> entities_;
    std::vector<OwnDetector> own_;
    std::vector<std::unique_ptr<RE2>> patterns_;
    std::unique_ptr<RE2::Set> set_;
    std::vector<int> in_set_;           // entities, by their numbers in the set
    EntitySet wanted_ = 0;
    EntitySet looked_for_ = 0, always_ = 0;         // told of by look_for(); by nothing
    Literals literals_;
    WordStarts starts_;
    std::string_view around_;           // SAFETY: find()'s argument, read while it runs only
    std::vector<int> which_;
    std::vector<size_t> done_;
    Places places_;
};

}  // namespace kproxy
