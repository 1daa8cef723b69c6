// The parts of a record, each read by its format: JSON, or what a schema registry's id in front of it stands for.
//
//   framed value = 0, schema id u32, value            -- Confluent's wire format
//
// A schema that this process does not know is asked for, and the records are read again then.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "avro_fields.hpp"
#include "json_fields.hpp"
#include "value_schema.hpp"

namespace kproxy {

class ValueFormats {
  public:
    ValueFormats(Hiding& hiding, Counts& counts)
        : hiding_(hiding), rules_(hiding.rules), counts_(counts), json_(hiding, false), avro_(hiding) {}

    // `table`: the schemas known here; null: there is no registry. With `last` what is not in it is unknown for good.
    void read_by(const SchemaTable* table, bool last) {
        table_ = table;
        last_ = last;
        needed_.clear();
    }
    // Ids of schemas that were met and are not known.
    const std::vector<uint32_t>& needed() const { return needed_; }

    // Adds edits for `part`, which begins `shift` bytes into the record and may be read `spare` bytes beyond its end. `value`:
    // it is the record's value.
    void rewrite(Scratch& scratch, std::string_view part, size_t shift, size_t spare, bool value, bool detect, Verdict* verdict) {
        if (part.empty()) return;
        bool wanted = rules_.count_fields || !rules_.fields.empty();
        bool looks = wanted || (detect && !rules_.detects.empty());
        if (!value || !looks || rules_.format == AS_JSON || (rules_.format == AS_AUTO && !is_framed(part)))
            return plain_json(scratch, part, shift, spare, value, detect, verdict);
        if (!is_framed(part) || !table_) return give_up(scratch, part, shift, detect, verdict);
        uint32_t id = get32(part.data() + 1);
        std::shared_ptr<const ValueSchema> schema = table_->find(id);
        if (!schema && !last_) return note_needed(id);
        if (!schema || !is_meant(schema->format) || schema->format == FORMAT_PROTOBUF) return give_up(scratch, part, shift, detect, verdict);
        if (schema->format == FORMAT_JSON) {
            PartRewriter& json = rules_.of_tags.empty() ? json_ : tagged(schema);
            return json.rewrite(scratch, part.substr(HEAD), shift + HEAD, spare, value, detect, verdict);
        }
        hiding_.begin(&scratch.edits, verdict);
        Hiding::State before = hiding_.state();
        // What a date is shifted by stands elsewhere in the value, which nobody has looked for here.
        bool whole = rules_.per_paths.empty() && avro_.walk(*schema, part.substr(HEAD), shift + HEAD, root(wanted), detect);
        if (!whole && !verdict->too_large) {
            hiding_.go_back(before);
            return give_up(scratch, part, shift, detect, verdict);
        }
        hiding_.keep();
    }

    // A part that a rule hides whole, whatever it is.
    void replace(Scratch& scratch, std::string_view part, size_t shift, const HeaderRule& rule, bool detect, Verdict* verdict) {
        json_.replace(scratch, part, shift, rule, detect, verdict);
    }

    void give_back() {
        json_.give_back();
        avro_.give_back();
        for (auto& one : tagged_) {
            one->json.give_back();
            one->hiding.give_back();
        }
    }

    // The paths of documents whose schema gives tags, as RecordRewriter's own.
    void settle(bool left) {
        for (auto& one : tagged_) one->paths.settle(left);
    }
    void hold() {
        holds_ = true;
        for (auto& one : tagged_) one->paths.hold();
    }
    void take_back_held() {
        for (auto& one : tagged_) one->paths.take_back_held();
    }
    template <typename Tell>
    void take_paths(Tell& tell) {
        for (auto& one : tagged_) one->paths.take(tell);
    }

  private:
    static constexpr size_t HEAD = 5;
    static constexpr size_t MOST_NEEDED = 64;       // asked for at once; records of more schemas are read in turns

    bool is_framed(std::string_view part) const { return part.size() >= HEAD && part[0] == 0 && (table_ || rules_.format != AS_AUTO); }

    bool is_meant(int format) const {
        return rules_.format == AS_AUTO || (rules_.format == AS_AVRO && format == FORMAT_AVRO) ||
               (rules_.format == AS_PROTOBUF && format == FORMAT_PROTOBUF) ||
               (rules_.format == AS_JSON_SCHEMA && format == FORMAT_JSON);
    }

    void note_needed(uint32_t id) {
        for (uint32_t known : needed_)
            if (known == id) return;
        if (needed_.size() < MOST_NEEDED) needed_.push_back(id);
    }

    // JSON without a schema gives no field a tag, so nobody can tell which of them a rule about tags means.
    void plain_json(Scratch& scratch, std::string_view part, size_t shift, size_t spare, bool value, bool detect, Verdict* verdict) {
        json_.rewrite(scratch, part, shift, spare, value, detect, verdict);
        if (value && !rules_.of_tags.empty() && !verdict->unknown) hiding_.on_unknown();
    }

    // The documents of one JSON Schema, whose tags are rules about paths there and nowhere else.
    struct Tagged {
        Tagged(std::shared_ptr<const ValueSchema> of, std::vector<FieldRule> rules_there, const Hiding& hiding, Counts& counts)
            : schema(std::move(of)), fields(std::move(rules_there)), hiding(hiding.rules, fields, paths, counts), json(this->hiding, false) {}
        std::shared_ptr<const ValueSchema> schema;
        std::vector<FieldRule> fields;
        PathTree paths;
        Hiding hiding;
        PartRewriter json;
    };

    PartRewriter& tagged(const std::shared_ptr<const ValueSchema>& schema) {
        for (auto& one : tagged_)
            if (one->schema == schema) return one->json;
        std::vector<FieldRule> fields = rules_.fields;
        for (const auto& [path, tags] : schema->tagged) {
            int rule = hiding_.rule_of_tags(tags);
            if (rule < 0) continue;
            fields.push_back(rules_.fields[static_cast<size_t>(rule)]);
            fields.back().path = path;
            fields.back().tag.clear();
        }
        tagged_.push_back(std::make_unique<Tagged>(schema, std::move(fields), hiding_, counts_));
        if (holds_) tagged_.back()->paths.hold();
        return tagged_.back()->json;
    }

    PathNode* root(bool wanted) { return wanted ? hiding_.paths.root() : hiding_.paths.nowhere(); }

    // The part is not what its format says: detectors search its bytes, and the rules say what becomes of it.
    void give_up(Scratch& scratch, std::string_view part, size_t shift, bool detect, Verdict* verdict) {
        hiding_.begin(&scratch.edits, verdict);
        hiding_.on_unknown();
        if (!rules_.detects.empty()) {
            verdict->unknown = true;
            if (detect) {
                hiding_.find_in(part, &found_);
                hiding_.hide_in_text(part, shift, &found_);
            }
        }
        hiding_.keep();
    }

    Hiding& hiding_;
    const Rules& rules_;
    Counts& counts_;
    PartRewriter json_;
    AvroFields avro_;
    const SchemaTable* table_ = nullptr;        // SAFETY: held by the plan that calls
    bool last_ = false;
    std::vector<uint32_t> needed_;
    std::vector<std::unique_ptr<Tagged>> tagged_;       // by schema; as many as a topic has had
    bool holds_ = false;
    std::vector<Found> found_;
};

}  // namespace kproxy
