// Record batches of magic 2, rewritten only where a value must change.
//
//   batch  = base_offset i64, batch_length i32, leader_epoch i32, magic i8, crc u32, attributes i16, last_offset_delta i32,
//            base_timestamp i64, max_timestamp i64, producer_id i64, producer_epoch i16, base_sequence i32, count i32, records
//   record = length, attributes i8, timestamp_delta, offset_delta, key, value, header_count, (key, value)*   -- varints
//
// A rebuilt batch keeps every field but batch_length, crc and the records; a batch without a match is copied as it came.
// Nothing is refused where no rule is in force (`observe`, or counting only): what cannot be read then passes as it came.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "codecs.hpp"
#include "crc32c.hpp"
#include "record_cursor.hpp"
#include "value_formats.hpp"

namespace kproxy {

enum Outcome : int { SAME = 0, REPLACED = 1, REFUSED = 2, NEED_SCHEMA = 3 };
enum ErrorCode : int { CORRUPT_MESSAGE = 2, MESSAGE_TOO_LARGE = 10, UNSUPPORTED_FOR_MESSAGE_FORMAT = 43,
                       POLICY_VIOLATION = 44, UNSUPPORTED_COMPRESSION_TYPE = 76, INVALID_RECORD = 87 };

class RecordRewriter {
  public:
    RecordRewriter(Rules rules, size_t rule_count)
        : rules_(std::move(rules)), in_values_(rules_, rules_.fields, paths, pending_), in_keys_(rules_, rules_.key_fields, key_paths, pending_),
          values_(in_values_, pending_), keys_(in_keys_, true) {
        counts.rules.resize(rule_count);
        pending_.rules.resize(rule_count);
    }

    // One partition's records. After REPLACED `out()` has the new ones, until the next call on this thread; after REFUSED
    // see error_code, message, record_errors. `zstd`: whether the version of the API may carry it.
    //
    // A reader is refused at the batch that is refused, not before: what stands in front of it is given out.
    int transform(const char* data, size_t length, bool zstd) {
        int outcome = attempt(data, length, zstd);
        size_t before = refused_at_;
        if (outcome != REFUSED || rules_.produce || before == 0) return outcome;
        outcome = attempt(data, before, zstd);
        if (outcome != SAME) return outcome;
        settle(before);
        return REPLACED;
    }

    // `schemas`: those of the cluster's registry that are known, alive as long as transform() is called; null: it has none.
    // Without `last` transform() gives NEED_SCHEMA where one is not known, see needed(); nothing is counted then.
    void read_by(const SchemaTable* schemas, bool last) {
        schemas_ = schemas;
        last_ = last;
    }
    const std::vector<uint32_t>& needed() const { return values_.needed(); }

    // A frame begins that may have to be opened again: what is counted from here on take_back() forgets.
    void hold() {
        holding_ = true;
        held_.rules.resize(counts.rules.size());
        held_.clear();
        paths.hold();
        key_paths.hold();
        values_.hold();
    }
    void take_back() {
        counts.take_back(held_);
        held_.clear();
        paths.take_back_held();
        key_paths.take_back_held();
        values_.take_back_held();
    }
    // Of values: calls tell(path, emitted, masked) for each path that has counts, and zeroes them. One path may be told twice.
    template <typename Tell>
    void take_paths(Tell& tell) {
        paths.take(tell);
        values_.take_paths(tell);
    }

    const Buffer& out() const { return *out_; }
    // To be called once `out` was copied: large buffers go back to the system.
    void done() {
        scratch_->give_back();
        values_.give_back();
        keys_.give_back();
        in_values_.give_back();
        in_keys_.give_back();
    }

    int error_code = 0;
    std::string message;
    std::vector<std::pair<int, std::string>> record_errors;
    std::vector<int> blocked_rules;             // by record error; -1: the value could not be read
    size_t records = 0;                         // walked by the last call
    PathTree paths, key_paths;
    Counts counts;

  private:
    int attempt(const char* data, size_t length, bool zstd) {
        message.clear();
        record_errors.clear();
        blocked_rules.clear();
        error_code = 0;
        pending_.clear();
        scratch_ = &Scratch::of_thread();
        out_ = &scratch_->out;
        out_->clear();
        data_ = data;
        length_ = length;
        zstd_ = zstd;
        copied_ = 0;
        refused_at_ = 0;
        values_.read_by(schemas_, last_);
        int outcome = walk_batches();
        if (!values_.needed().empty()) {
            settle_paths(false);
            return NEED_SCHEMA;
        }
        if (outcome == REFUSED && !rules_.enforced()) {
            pending_.uninspected++;
            outcome = SAME;
        }
        settle_paths(outcome != REFUSED);
        if (outcome != REFUSED) {
            counts.add(pending_);
            if (holding_) held_.add(pending_);
        }
        records = pending_.records;
        return outcome;
    }

    void settle_paths(bool left) {
        paths.settle(left);
        key_paths.settle(left);
        values_.settle(left);
    }

    int refuse(int code, const char* text) {
        error_code = code;
        message = text;
        return REFUSED;
    }
    int refuse_malformed(const char* text) { return refuse(rules_.produce ? INVALID_RECORD : CORRUPT_MESSAGE, text); }

    // -- batches -----------------------------------------------------------------------------------------------------

    int walk_batches() {
        size_t at = 0;
        bool changed = false;
        if (rules_.produce && !length_) return refuse_malformed("kproxy: a partition must have exactly one record batch");
        while (at < length_) {
            size_t left = length_ - at;
            refused_at_ = at;
            int32_t said = left >= 12 ? static_cast<int32_t>(get32(data_ + at + 8)) : 0;
            if (left >= 12 && said < SMALLEST_OLD) return refuse_malformed("kproxy: a record batch is malformed");
            size_t size = static_cast<size_t>(said) + 12;
            if (left < 17 || size > left) {
                if (rules_.produce) return refuse_malformed("kproxy: a record batch is malformed");
                // A partial last batch, which consumers skip. It holds records that nobody looked at, so it is dropped.
                if (!rules_.enforced()) break;
                settle(at);
                copied_ = length_;
                changed = true;
                break;
            }
            if (rules_.produce && (at || size != length_))
                return refuse_malformed("kproxy: a partition must have exactly one record batch");
            int outcome = one_batch(at, size);
            if (outcome == REFUSED) return REFUSED;
            if (!record_errors.empty())
                return refuse(rules_.produce ? INVALID_RECORD : POLICY_VIOLATION, record_errors.front().second.c_str());
            changed = changed || outcome == REPLACED;
            at += size;
        }
        if (!changed) return SAME;
        settle(length_);
        return REPLACED;
    }

    // Copies the original up to `at`, as far as it was not copied or replaced before.
    void settle(size_t at) {
        if (at > copied_) out_->append(data_ + copied_, at - copied_);
        copied_ = std::max(copied_, at);
    }

    int one_batch(size_t at, size_t size) {
        const char* batch = data_ + at;
        if (batch[16] == 0 || batch[16] == 1)
            return refuse(rules_.produce ? INVALID_RECORD : UNSUPPORTED_FOR_MESSAGE_FORMAT,
                          "kproxy: records in the message format before magic 2 cannot be inspected");
        if (batch[16] != 2 || size < BATCH_HEAD) return refuse_malformed("kproxy: a record batch is malformed");
        int attributes = static_cast<unsigned char>(batch[22]);
        int32_t count = static_cast<int32_t>(get32(batch + 57));
        if (attributes & CONTROL_BIT) {
            if (rules_.produce) return refuse_malformed("kproxy: a client may not write control records");
            return SAME;
        }
        if (rules_.produce && !is_producible(batch, count)) return REFUSED;
        if (count == 0 && size == BATCH_HEAD) return SAME;
        if (crc32c(reinterpret_cast<const unsigned char*>(batch) + CRC_FROM, size - CRC_FROM) != get32(batch + 17))
            return refuse(CORRUPT_MESSAGE, "kproxy: the checksum of a record batch does not fit its bytes");
        const char* body = batch + BATCH_HEAD;
        size_t length = size - BATCH_HEAD;
        spare_ = length_ - at - size;
        int codec = attributes & 7;
        if (codec != NONE && !decompress(codec, &body, &length)) return REFUSED;
        // A record has at least seven bytes; a count beyond that is no reason to begin.
        if (count < 0 || static_cast<size_t>(count) > length / SMALLEST_RECORD) return refuse_records();
        return codec == NONE ? rebuild(at, size, body, length, count) : rebuild_packed(at, size, codec, body, length, count);
    }

    // What a broker asks of a produced batch, so that nothing is inspected which it would read differently or refuse.
    bool is_producible(const char* batch, int32_t count) {
        bool counts_fit = count > 0 && count - 1 == static_cast<int32_t>(get32(batch + 23));
        bool has_producer = !(batch[43] & 0x80), has_sequence = !(batch[53] & 0x80);
        if (!counts_fit) refuse_malformed("kproxy: the record count does not fit the offsets");
        else if (has_producer && !has_sequence) refuse_malformed("kproxy: a batch with a producer id needs a sequence");
        return counts_fit && (!has_producer || has_sequence);
    }

    bool decompress(int codec, const char** body, size_t* length) {
        if (!is_readable(codec, *body, *length)) return false;
        Buffer& plain = scratch_->plain;
        size_t most = std::min(rules_.limits.of_batch(*length), scratch_->frame.left(rules_.limits));
        CodecStatus status = scratch_->codecs.read(codec, *body, *length, most, &plain);
        scratch_->frame.spent += plain.size();
        if (status == CODEC_TOO_BIG)
            refuse(rules_.produce ? INVALID_RECORD : POLICY_VIOLATION,
                   "kproxy: a compressed batch is larger than is allowed when decompressed");
        else if (status != CODEC_OK) refuse_malformed("kproxy: a compressed batch cannot be decompressed");
        plain.room(JsonIndex::PADDING);
        *body = plain.data();
        *length = plain.size();
        spare_ = JsonIndex::PADDING;
        return status == CODEC_OK;
    }

    // Whether Kafka allows the codec here, and the form of it.
    bool is_readable(int codec, const char* body, size_t length) {
        if (codec > ZSTD)
            refuse(rules_.produce ? UNSUPPORTED_COMPRESSION_TYPE : CORRUPT_MESSAGE, "kproxy: a batch names a codec that Kafka does not have");
        else if (codec == ZSTD && !zstd_)
            refuse(UNSUPPORTED_COMPRESSION_TYPE, "kproxy: zstd needs Produce 7 or Fetch 10");
        else if (codec == LZ4 && rules_.produce && !is_lz4_for_java(body, length))
            refuse_malformed("kproxy: Kafka takes LZ4 frames of independent blocks only");
        else return true;
        return false;
    }

    int rebuild(size_t at, size_t size, const char* body, size_t length, int32_t count) {
        size_t from = 0;
        int outcome = walk_records(body, length, count, out_, [&] {
            settle(at);
            from = out_->size();
            out_->append(data_ + at, BATCH_HEAD);
        });
        return outcome == REPLACED ? finish(from, at + size) : outcome;
    }

    int rebuild_packed(size_t at, size_t size, int codec, const char* body, size_t length, int32_t count) {
        Buffer& changed = scratch_->changed;
        changed.clear();
        int outcome = walk_records(body, length, count, &changed, [] {});
        if (outcome != REPLACED) return outcome;
        settle(at);
        size_t from = out_->size();
        out_->append(data_ + at, BATCH_HEAD);
        if (scratch_->codecs.write(codec, changed.data(), changed.size(), out_) != CODEC_OK)
            return refuse(CORRUPT_MESSAGE, "kproxy: a changed batch could not be compressed");
        return finish(from, at + size);
    }

    // Sets length and checksum of the batch that begins at `from` in `out`.
    int finish(size_t from, size_t settled) {
        char* batch = out_->data() + from;
        size_t size = out_->size() - from;
        put32(batch + 8, static_cast<uint32_t>(size - 12));
        put32(batch + 17, crc32c(reinterpret_cast<const unsigned char*>(batch) + CRC_FROM, size - CRC_FROM));
        copied_ = settled;
        return REPLACED;
    }

    // -- records -----------------------------------------------------------------------------------------------------

    // Calls `begin` once, before the first byte goes into `to`.
    template <typename Begin>
    int walk_records(const char* body, size_t length, int32_t count, Buffer* to, Begin begin) {
        RecordCursor cursor{body, body + length};
        bool changed = false;
        const char* copied = body;
        for (int32_t i = 0; i < count; i++) {
            const char* from = cursor.at;
            int64_t size = cursor.varint();
            std::string_view record = cursor.take(size);
            if (cursor.bad || size < 0) return refuse_records();
            pending_.records++;
            scratch_->edits.clear();
            Verdict verdict;
            if (!one_record(record, static_cast<size_t>(body + length - cursor.at) + spare_, &verdict)) return refuse_records();
            if (verdict.too_large) return refuse(MESSAGE_TOO_LARGE, "kproxy: the records are too large once values are hidden");
            if (verdict.blocked_by >= 0 || (verdict.unknown && rules_.refuse_unknown)) note_blocked(i, verdict);
            if (!scratch_->edits.count() || !record_errors.empty()) continue;
            if (!changed) begin();
            changed = true;
            to->append(copied, static_cast<size_t>(from - copied));
            put_varint(to, size + scratch_->edits.growth());
            scratch_->edits.apply(record, to);
            copied = cursor.at;
            if (to->size() > rules_.limits.most_bytes) return refuse(MESSAGE_TOO_LARGE, "kproxy: the records are too large once values are hidden");
        }
        if (cursor.at != cursor.end) return refuse_records();
        if (!changed || !record_errors.empty()) return SAME;
        to->append(copied, static_cast<size_t>(cursor.end - copied));
        return REPLACED;
    }

    int refuse_records() { return refuse_malformed("kproxy: the records of a batch are malformed"); }

    // `spare` bytes behind the record may be read. False: its parts do not add up to its length.
    bool one_record(std::string_view record, size_t spare, Verdict* verdict) {
        RecordCursor cursor{record.data(), record.data() + record.size()};
        cursor.take(1);
        cursor.varint();
        cursor.varint();
        one_part(&cursor, record, [&](std::string_view key, size_t at) {
            bool fields = !rules_.key_fields.empty();
            if (fields || rules_.in_keys) keys_.rewrite(*scratch_, key, at, behind(cursor, spare), fields, rules_.in_keys, verdict);
        });
        one_part(&cursor, record, [&](std::string_view value, size_t at) {
            values_.rewrite(*scratch_, value, at, behind(cursor, spare), true, rules_.in_values, verdict);
        });
        int64_t headers = cursor.varint();
        if (cursor.bad || headers < 0 || headers > cursor.end - cursor.at) return false;
        for (int64_t i = 0; i < headers && !cursor.bad; i++)
            if (!one_header(&cursor, record, spare, verdict)) return false;
        return !cursor.bad && cursor.at == cursor.end;
    }

    // Readable bytes behind the part that was just read.
    static size_t behind(const RecordCursor& cursor, size_t spare) { return spare + static_cast<size_t>(cursor.end - cursor.at); }

    // False: its name is null.
    bool one_header(RecordCursor* cursor, std::string_view record, size_t spare, Verdict* verdict) {
        RecordCursor ahead = *cursor;
        int64_t length = ahead.varint();
        std::string_view name = ahead.take(length);
        if (length < 0 || ahead.bad) return false;
        const HeaderRule* rule = rules_.about_header(name);
        auto look = [&](std::string_view part, size_t at) {
            if (rules_.in_headers) values_.rewrite(*scratch_, part, at, behind(*cursor, spare), false, true, verdict);
        };
        one_part(cursor, record, look);
        if (!rule) one_part(cursor, record, look);
        else one_part(cursor, record, [&](std::string_view value, size_t at) {
            values_.replace(*scratch_, value, at, *rule, rules_.in_headers, verdict);
        });
        return true;
    }

    // A key, a value, or a header's name or value, given to `rewrite` with its place in the record. A null stays null: a
    // tombstone deletes, and an empty value does not.
    template <typename Rewrite>
    void one_part(RecordCursor* cursor, std::string_view record, Rewrite rewrite) {
        const char* prefix = cursor->at;
        int64_t length = cursor->varint();
        std::string_view part = cursor->take(length);
        if (length < -1) cursor->bad = true;
        if (cursor->bad || length <= 0) return;
        Edits& edits = scratch_->edits;
        size_t number = edits.count(), at = static_cast<size_t>(part.data() - record.data());
        size_t prefix_at = static_cast<size_t>(prefix - record.data());
        edits.begin(prefix_at, at - prefix_at);
        int64_t before = edits.growth();
        rewrite(part, at);
        if (edits.count() == number + 1) {
            edits.cut(number);
            return;
        }
        char text[10];
        edits.fill(number, std::string_view(text, write_varint(text, length + edits.growth() - before)));
    }

    void note_blocked(int index, const Verdict& verdict) {
        if (rules_.observe || record_errors.size() >= rules_.limits.most_record_errors) return;
        std::string text = verdict.message;
        if (text.empty() && verdict.blocked_by >= 0) text = rules_.rule_messages[static_cast<size_t>(verdict.blocked_by)];
        if (text.empty()) text = "kproxy: the value is not JSON, and this topic's fields are protected";
        record_errors.emplace_back(index, text);
        blocked_rules.push_back(verdict.blocked_by);
    }

    Rules rules_;
    Counts pending_;                    // of the record set at hand, which may yet be refused
    bool holding_ = false;
    Counts held_;                       // of the frame at hand, while it may have to be opened again
    Hiding in_values_, in_keys_;
    ValueFormats values_;
    PartRewriter keys_;
    const SchemaTable* schemas_ = nullptr;      // SAFETY: as read_by() says
    bool last_ = true;
    Scratch* scratch_ = nullptr;        // SAFETY: the thread's own, which outlives its plans' calls
    Buffer* out_ = nullptr;
    const char* data_ = nullptr;        // SAFETY: the caller's record set, alive until transform() returns
    size_t length_ = 0;
    size_t refused_at_ = 0;             // where the batch at hand begins
    size_t copied_ = 0;                 // bytes of it that `out` has, as they were or replaced
    bool zstd_ = true;
    size_t spare_ = 0;                  // readable bytes behind the records being walked
};

}  // namespace kproxy
