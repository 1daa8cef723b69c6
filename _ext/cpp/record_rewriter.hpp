// Record batches of magic 2, rewritten only where a value must change.
//
//   batch  = base_offset i64, batch_length i32, leader_epoch i32, magic i8, crc u32, attributes i16, last_offset_delta i32,
//            base_timestamp i64, max_timestamp i64, producer_id i64, producer_epoch i16, base_sequence i32, count i32, records
//   record = length, attributes i8, timestamp_delta, offset_delta, key, value, header_count, (key, value)*   -- varints
//
// A rebuilt batch keeps every field but batch_length, crc and the records; a batch without a match is copied as it came.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "crc32c.hpp"
#include "json_fields.hpp"
#include "lz4_frames.hpp"

namespace kproxy {

enum Outcome : int { SAME = 0, REPLACED = 1, REFUSED = 2 };
enum ErrorCode : int { CORRUPT_MESSAGE = 2, UNSUPPORTED_FOR_MESSAGE_FORMAT = 43, POLICY_VIOLATION = 44,
                       UNSUPPORTED_COMPRESSION_TYPE = 76, INVALID_RECORD = 87 };

inline uint32_t get32(const char* at) {
    const unsigned char* p = reinterpret_cast<const unsigned char*>(at);
    return static_cast<uint32_t>(p[0]) << 24 | static_cast<uint32_t>(p[1]) << 16 | static_cast<uint32_t>(p[2]) << 8 | p[3];
}
inline void put32(char* at, uint32_t value) {
    for (int i = 0; i < 4; i++) at[i] = static_cast<char>(value >> (24 - 8 * i));
}

constexpr size_t BATCH_HEAD = 61;
constexpr size_t CRC_FROM = 21;

// Zigzag LEB128 with a sticky error; a varint of more than its ten bytes is bad.
struct RecordCursor {
    const char* at;
    const char* end;
    bool bad = false;

    int64_t varint() {
        uint64_t value = 0;
        for (int shift = 0; shift < 70; shift += 7) {
            if (at == end) break;
            unsigned char byte = static_cast<unsigned char>(*at++);
            value |= static_cast<uint64_t>(byte & 0x7F) << (shift < 64 ? shift : 63);
            if (!(byte & 0x80)) return static_cast<int64_t>(value >> 1) ^ -static_cast<int64_t>(value & 1);
        }
        bad = true;
        return 0;
    }
    // The bytes of a field of `length`; a null one (-1) has no data.
    std::string_view take(int64_t length) {
        if (length < 0) return std::string_view();
        if (bad || length > end - at) {
            bad = true;
            return std::string_view();
        }
        std::string_view found(at, static_cast<size_t>(length));
        at += length;
        return found;
    }
};

inline void put_varint(std::string* out, int64_t value) {
    uint64_t zigzag = (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63);
    while (zigzag >= 0x80) {
        out->push_back(static_cast<char>(zigzag | 0x80));
        zigzag >>= 7;
    }
    out->push_back(static_cast<char>(zigzag));
}

struct Limits {
    size_t most_bytes = 128u << 20;     // of one batch, decompressed
    size_t most_ratio = 1000;           // decompressed over compressed: lz4 cannot honestly do more than 255
};

class RecordRewriter {
  public:
    RecordRewriter(Rules rules, bool produce, bool values, bool headers, bool keys, size_t rule_count)
        : rules_(std::move(rules)), produce_(produce), values_(values), headers_(headers), keys_(keys),
          json_(rules_, paths, counts) {
        counts.rules.resize(rule_count);
    }

    // One partition's records. After REPLACED, `out` has the new ones; after REFUSED, error_code and message.
    int transform(const char* data, size_t length) {
        out.clear();
        message.clear();
        record_errors.clear();
        blocked_rules.clear();
        error_code = 0;
        size_t at = 0, copied = 0, batches = 0;
        bool changed = false;
        while (at < length) {
            size_t left = length - at;
            size_t size = left >= 12 ? static_cast<size_t>(static_cast<int32_t>(get32(data + at + 8))) + 12 : 0;
            bool whole = left >= 17 && static_cast<int32_t>(get32(data + at + 8)) >= 0 && size <= left;
            if (!whole || size < BATCH_HEAD) {
                if (whole && data[at + 16] >= 0 && data[at + 16] < 2)
                    return refuse(UNSUPPORTED_FOR_MESSAGE_FORMAT, "kproxy: records in the message format before magic 2 cannot be inspected");
                if (produce_ || whole) return refuse(produce_ ? INVALID_RECORD : CORRUPT_MESSAGE, "kproxy: a record batch is malformed");
                // A partial last batch, which consumers skip. It holds records nobody has looked at, so it is dropped.
                out.append(data + copied, at - copied);
                copied = length;
                changed = true;
                break;
            }
            if (produce_ && batches++) return refuse(INVALID_RECORD, "kproxy: a partition must have exactly one record batch");
            int outcome = one_batch(data + at, size);
            if (outcome == REFUSED) return REFUSED;
            if (outcome == REPLACED) {
                out.append(data + copied, at - copied);
                out.append(rebuilt_);
                copied = at + size;
                changed = true;
            }
            at += size;
        }
        if (produce_ && !length) return refuse(INVALID_RECORD, "kproxy: a partition must have exactly one record batch");
        if (!record_errors.empty()) return refuse_blocked();
        if (!changed) return SAME;
        out.append(data + copied, length - copied);
        return REPLACED;
    }

    std::string out;
    int error_code = 0;
    std::string message;
    std::vector<std::pair<int, std::string>> record_errors;
    std::vector<int> blocked_rules;             // by record error; -1: the value could not be read
    PathTree paths;
    Counts counts;
    Limits limits;

  private:
    int refuse(int code, const char* text) {
        error_code = code;
        message = text;
        out.clear();
        return REFUSED;
    }

    int refuse_blocked() {
        error_code = produce_ ? INVALID_RECORD : POLICY_VIOLATION;
        message = record_errors.front().second;
        out.clear();
        return REFUSED;
    }

    int one_batch(const char* batch, size_t size) {
        if (batch[16] != 2) return refuse(UNSUPPORTED_FOR_MESSAGE_FORMAT, "kproxy: records in the message format before magic 2 cannot be inspected");
        uint16_t attributes = static_cast<uint16_t>(static_cast<unsigned char>(batch[21]) << 8 | static_cast<unsigned char>(batch[22]));
        int32_t count = static_cast<int32_t>(get32(batch + 57));
        if (attributes & 0x20) {
            if (produce_) return refuse(INVALID_RECORD, "kproxy: a client may not write control records");
            return SAME;
        }
        if (produce_ && (count <= 0 || count != static_cast<int32_t>(get32(batch + 23)) + 1))
            return refuse(INVALID_RECORD, "kproxy: the record count does not fit the offsets");
        if (count == 0 && size == BATCH_HEAD) return SAME;
        if (crc32c(reinterpret_cast<const unsigned char*>(batch) + CRC_FROM, size - CRC_FROM) != get32(batch + 17))
            return refuse(CORRUPT_MESSAGE, "kproxy: the checksum of a record batch does not fit its bytes");
        int codec = attributes & 7;
        const char* records = batch + BATCH_HEAD;
        size_t length = size - BATCH_HEAD;
        if (codec == 3) {
            size_t most = std::min(limits.most_bytes, length * limits.most_ratio + 65536);
            CodecStatus status = lz4_decompress(records, length, most, &plain_);
            if (status == CODEC_TOO_BIG) return refuse(produce_ ? INVALID_RECORD : CORRUPT_MESSAGE, "kproxy: a compressed batch is larger than is allowed when decompressed");
            if (status != CODEC_OK) return refuse(CORRUPT_MESSAGE, "kproxy: a compressed batch cannot be decompressed");
            records = plain_.data();
            length = plain_.size();
        } else if (codec != 0) {
            return refuse(UNSUPPORTED_COMPRESSION_TYPE, "kproxy: this topic has record rules, and its records may be uncompressed or lz4 only");
        }
        int outcome = walk_records(records, length, count);
        if (outcome == REPLACED && record_errors.empty()) return rebuild(batch, codec);
        return outcome == REFUSED ? REFUSED : SAME;
    }

    int walk_records(const char* records, size_t length, int32_t count) {
        RecordCursor cursor{records, records + length};
        bool changed = false;
        changed_.clear();
        const char* copied = records;
        for (int32_t i = 0; i < count; i++) {
            const char* from = cursor.at;
            int64_t size = cursor.varint();
            std::string_view body = cursor.take(size);
            if (cursor.bad || size < 0) return refuse_shape();
            counts.records++;
            int outcome = one_record(body, i);
            if (outcome == REFUSED) return REFUSED;
            if (outcome == REPLACED) {
                changed_.append(copied, from - copied);
                put_varint(&changed_, static_cast<int64_t>(record_.size()));
                changed_ += record_;
                copied = cursor.at;
                changed = true;
            }
        }
        if (cursor.at != cursor.end) return refuse_shape();
        if (!changed) return SAME;
        changed_.append(copied, cursor.end - copied);
        return REPLACED;
    }

    int refuse_shape() {
        return refuse(produce_ ? INVALID_RECORD : CORRUPT_MESSAGE, "kproxy: the records of a batch are malformed");
    }

    int one_record(std::string_view body, int index) {
        RecordCursor cursor{body.data(), body.data() + body.size()};
        cursor.take(1);
        cursor.varint();
        cursor.varint();
        const char* key_from = cursor.at;
        int64_t key_length = cursor.varint();
        std::string_view key = cursor.take(key_length);
        int64_t value_length = cursor.varint();
        std::string_view value = cursor.take(value_length);
        const char* headers_from = cursor.at;
        int64_t header_count = cursor.varint();
        if (cursor.bad || key_length < -1 || value_length < -1 || header_count < 0 || header_count > cursor.end - cursor.at)
            return refuse_shape();
        Verdict verdict;
        new_key_.clear();
        new_value_.clear();
        // A null stays null: a tombstone deletes, and an empty value does not.
        bool key_changed = keys_ && key_length > 0 && json_.rewrite_text(key, &new_key_, &verdict);
        bool value_changed = values_ && value_length >= 0 && json_.rewrite(value, &new_value_, &verdict);
        bool headers_changed = false;
        new_headers_.clear();
        if (!walk_headers(&cursor, header_count, headers_from, &headers_changed, &verdict)) return refuse_shape();
        if (verdict.blocked_by >= 0 || (verdict.unknown && rules_.refuse_unknown)) {
            note_blocked(index, verdict);
            return SAME;
        }
        if (!key_changed && !value_changed && !headers_changed) return SAME;
        record_.assign(body.data(), key_from - body.data());
        put_field(key_changed ? std::string_view(new_key_) : key, key_length);
        put_field(value_changed ? std::string_view(new_value_) : value, value_length);
        if (headers_changed) record_ += new_headers_;
        else record_.append(headers_from, cursor.end - headers_from);
        return REPLACED;
    }

    void put_field(std::string_view data, int64_t original_length) {
        put_varint(&record_, original_length < 0 ? -1 : static_cast<int64_t>(data.size()));
        record_.append(data);
    }

    bool walk_headers(RecordCursor* cursor, int64_t count, const char* from, bool* changed, Verdict* verdict) {
        const char* copied = from;
        for (int64_t i = 0; i < count; i++) {
            int64_t name_length = cursor->varint();
            cursor->take(name_length);
            const char* value_from = cursor->at;
            int64_t value_length = cursor->varint();
            std::string_view value = cursor->take(value_length);
            if (cursor->bad || name_length < 0 || value_length < -1) return false;
            std::string seen;
            if (headers_ && value_length > 0 && json_.rewrite_text(value, &seen, verdict)) {
                new_headers_.append(copied, value_from - copied);
                put_varint(&new_headers_, static_cast<int64_t>(seen.size()));
                new_headers_ += seen;
                copied = cursor->at;
                *changed = true;
            }
        }
        if (cursor->at != cursor->end) return false;
        if (*changed) new_headers_.append(copied, cursor->at - copied);
        return true;
    }

    void note_blocked(int index, const Verdict& verdict) {
        if (rules_.observe) return;
        if (record_errors.size() >= 100) return;
        std::string text = verdict.message;
        if (text.empty() && verdict.blocked_by >= 0) text = rules_.rule_messages[verdict.blocked_by];
        if (text.empty()) text = "kproxy: the value is not JSON, and this topic's fields are protected";
        record_errors.emplace_back(index, text);
        blocked_rules.push_back(verdict.blocked_by);
    }

    int rebuild(const char* batch, int codec) {
        rebuilt_.assign(batch, BATCH_HEAD);
        if (codec == 3) {
            if (lz4_compress(changed_.data(), changed_.size(), &packed_) != CODEC_OK)
                return refuse(CORRUPT_MESSAGE, "kproxy: a changed batch could not be compressed");
            rebuilt_ += packed_;
        } else {
            rebuilt_ += changed_;
        }
        put32(&rebuilt_[8], static_cast<uint32_t>(rebuilt_.size() - 12));
        put32(&rebuilt_[17], crc32c(reinterpret_cast<const unsigned char*>(rebuilt_.data()) + CRC_FROM, rebuilt_.size() - CRC_FROM));
        return REPLACED;
    }

    Rules rules_;
    bool produce_, values_, headers_, keys_;
    JsonFields json_;
    std::string plain_, packed_, changed_, rebuilt_, record_, new_key_, new_value_, new_headers_;
};

}  // namespace kproxy
