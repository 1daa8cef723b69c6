// One value in Avro's binary encoding (specification 1.12, "Binary encoding"), walked by its writer's schema:
//
//   int, long, count, index = zigzag varint · bytes, string = length, bytes · fixed = its bytes · float 4, double 8, boolean 1
//   record = its fields in order · union = index, value · enum = index
//   array, map = (count, item*)* 0 ; count < 0: -count items, behind the size of the block in bytes
//
// What changes becomes edits. Sizes of blocks are written anew where something in the block changed; every other byte stays.
#pragma once

#include <charconv>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "record_cursor.hpp"
#include "typed_leaves.hpp"
#include "value_schema.hpp"

namespace kproxy {

class AvroFields {
  public:
    explicit AvroFields(Hiding& hiding)
        : hiding_(hiding), paths_(hiding.paths),
          leaves_(hiding, [](char* to, size_t length) { return write_varint(to, static_cast<int64_t>(length)); }) {}

    // False: `part`, which begins `shift` bytes into the record, is not one value of the schema from its start to its end.
    bool walk(const ValueSchema& schema, std::string_view part, size_t shift, PathNode* root, bool detect) {
        schema_ = &schema;
        cursor_ = RecordCursor{part.data(), part.data() + part.size()};
        leaves_.begin(shift, part, detect);
        // Values of no bytes, as nulls are, may not be counted without end.
        steps_ = MOST_EMPTY + 16 * part.size();
        bool whole = value(schema.tops[0], root, -1, Place{}, 0) && cursor_.at == cursor_.end;
        leaves_.give_up();
        return whole;
    }

    void give_back() { leaves_.give_back(); }

  private:
    static constexpr int DEEPEST = 384;         // a union, an array and a record are three: 128 of what JSON would nest
    static constexpr size_t MOST_EMPTY = 1 << 16;

    // Where a value may be left out: in a union with null, whose index begins at `from`.
    struct Place {
        const char* from = nullptr;
        int null_index = -1;
    };

    // One value at the cursor. `rule`: of a record around it, which is hidden leaf by leaf; or -1.
    bool value(int at, PathNode* node, int rule, Place place, int depth) {
        if (!steps_-- || depth > DEEPEST) return false;
        const SchemaNode& type = schema_->at(at);
        int whole = rule >= 0 ? rule : node->match->field_rule;
        if (hiding_.clears(whole)) whole = NO_RULE;     // No array and no record is a token.
        switch (type.kind) {
            case KIND_NULL: hiding_.show(node); return true;
            case KIND_UNION: return a_union(type, node, rule, depth);
            case KIND_RECORD: return record(type, node, whole, place, depth);
            case KIND_ARRAY: case KIND_MAP: return many(type, node, whole, place, depth);
            default: return leaf(type, node, rule >= 0 ? rule : node->match->leaf_rule, place) && !hiding_.is_too_large();
        }
    }

    bool a_union(const SchemaNode& type, PathNode* node, int rule, int depth) {
        Place place{cursor_.at, -1};
        int64_t index = cursor_.varint();
        if (cursor_.bad || index < 0 || static_cast<size_t>(index) >= type.branches.size()) return false;
        for (size_t i = 0; i < type.branches.size(); i++)
            if (schema_->at(type.branches[i]).kind == KIND_NULL) place.null_index = static_cast<int>(i);
        return value(type.branches[static_cast<size_t>(index)], node, rule, place, depth + 1);
    }

    bool record(const SchemaNode& type, PathNode* node, int rule, Place place, int depth) {
        if (rule >= 0 && place.null_index >= 0 && hiding_.drops(rule))
            return whole(node, rule, place, [&](int inner) { return members(type, node, inner, depth); });
        return members(type, node, rule, depth);
    }

    bool members(const SchemaNode& type, PathNode* node, int rule, int depth) {
        const PathNode* before = node;
        PathNode** expected = &node->first;
        for (const SchemaMember& member : type.members) {
            PathNode* child = *expected;
            if (!child || child->name != member.name) {
                child = paths_.member(node, member.name);
                PathTree::expect(before, expected, child);
            }
            int meant = rule >= 0 || child->match->field_rule >= 0 ? rule : hiding_.rule_of_tags(member.tags);
            if (!value(member.node, child, meant, Place{}, depth + 1)) return false;
            before = child;
            expected = &child->follower;
        }
        return true;
    }

    bool many(const SchemaNode& type, PathNode* node, int rule, Place place, int depth) {
        if (rule < 0) return blocks(type, node, depth);
        return whole(node, rule, place, [&](int) { return blocks(type, node, depth); });
    }

    // A rule on a container hides it whole: what was found inside is forgotten, unless it blocks. In the place of an array or
    // map an empty one stands, one byte.
    template <typename Walk>
    bool whole(PathNode* node, int rule, Place place, Walk walk_inside) {
        const char* from = cursor_.at;
        Hiding::State before = hiding_.state();
        hiding_.part_shown();       // so that no entry before is added to
        if (!walk_inside(-1)) return false;
        if (hiding_.rules.observe) {
            hiding_.observe_field(rule);
            return true;
        }
        hiding_.go_back(before);
        if (hiding_.hide_field(node, rule, std::string_view(), CONTAINER_VALUE)) write(from, place, std::string_view("\0", 1));
        return true;
    }

    bool blocks(const SchemaNode& type, PathNode* node, int depth) {
        for (;;) {
            int64_t count = cursor_.varint();
            if (cursor_.bad || count == INT64_MIN) return false;
            if (!count) return true;
            if (count > 0) {
                if (!items(type, node, count, depth)) return false;
                continue;
            }
            const char* said = cursor_.at;
            int64_t size = cursor_.varint();
            const char* first = cursor_.at;
            if (cursor_.bad || size < 0 || size > cursor_.end - first) return false;
            size_t opened = leaves_.open_length(said, first);
            if (!items(type, node, -count, depth) || cursor_.at - first != size) return false;
            leaves_.close_length(opened, static_cast<size_t>(size));
        }
    }

    bool items(const SchemaNode& type, PathNode* node, int64_t count, int depth) {
        PathNode* element = type.kind == KIND_ARRAY ? paths_.element(node) : nullptr;
        for (int64_t i = 0; i < count; i++) {
            PathNode* child = element ? element : entry(node);
            if (!child || !value(type.item, child, -1, Place{}, depth + 1)) return false;
        }
        return true;
    }

    // A map's key at the cursor: the node of what stands under it, or null.
    PathNode* entry(PathNode* node) {
        const char* from = cursor_.at;
        std::string_view key;
        if (!text(&key)) return nullptr;
        int rule = hiding_.rule_of_leaf(node->match->name_rule, key);
        if (rule >= 0) {
            if (leaves_.hide_field(nullptr, rule, key, TEXT_VALUE)) leaves_.write_text(from, key, leaves_.text());
            return paths_.unnamed_member(node, key);
        }
        size_t events = hiding_.event_count();
        leaves_.change_found(from, key, TEXT_VALUE);
        // A name that holds what detectors look for is no name to write into an audit log.
        return hiding_.event_count() > events ? paths_.detected_member(node, key) : paths_.member(node, key);
    }

    bool leaf(const SchemaNode& type, PathNode* node, int rule, Place place) {
        const char* from = cursor_.at;
        std::string_view plain;
        switch (type.kind) {
            case KIND_STRING: case KIND_BYTES:
                if (!text(&plain)) return false;
                a_text(type, from, plain, node, rule, place);
                return true;
            case KIND_FIXED:
                plain = cursor_.take(static_cast<int64_t>(type.size));
                if (!cursor_.bad && leaves_.hide(node, rule, plain, BYTES_VALUE)) write_fixed(from, plain.size(), place);
                return !cursor_.bad;
            case KIND_INT: return integer(node, rule, place, INT32_MIN, INT32_MAX);
            case KIND_LONG: return integer(node, rule, place, INT64_MIN, INT64_MAX);
            case KIND_FLOAT: return real<float>(node, rule, place);
            case KIND_DOUBLE: return real<double>(node, rule, place);
            case KIND_BOOLEAN: return boolean(node, rule, place);
            case KIND_ENUM: return symbol(type, node, rule, place);
            default: return false;
        }
    }

    bool text(std::string_view* plain) {
        int64_t length = cursor_.varint();
        if (length < 0) return false;
        *plain = cursor_.take(length);
        return !cursor_.bad;
    }

    void a_text(const SchemaNode& type, const char* from, std::string_view plain, PathNode* node, int rule, Place place) {
        ValueKind kind = type.kind == KIND_STRING ? TEXT_VALUE : BYTES_VALUE;
        rule = hiding_.rule_of_leaf(rule, plain);
        if (rule >= 0) {
            if (!leaves_.hide(node, rule, plain, kind)) return;
            if (leaves_.hidden().dropped && place.null_index >= 0) return write(from, place, "");
            return leaves_.write_text(from, plain, valid(type, leaves_.text()));
        }
        if (!type.logical.empty()) {    // A text of a form of its own cannot change in parts.
            if (leaves_.hide(node, rule, plain, kind)) leaves_.write_text(from, plain, valid(type, leaves_.text()));
        } else if (leaves_.change_found(from, plain, kind)) {
            hiding_.on_masked(node);
        } else {
            hiding_.show(node);
        }
    }

    // A decimal needs a byte at least, and a UUID its form.
    static std::string_view valid(const SchemaNode& type, std::string_view text) {
        if (type.logical == "decimal") return std::string_view("\0", 1);
        if (type.logical == "uuid" && !is_uuid(text)) return "00000000-0000-0000-0000-000000000000";
        return text;
    }
    static bool is_uuid(std::string_view text) {
        if (text.size() != 36) return false;
        for (size_t i = 0; i < 36; i++) {
            char c = text[i], low = static_cast<char>(c | 0x20);
            bool dash = i == 8 || i == 13 || i == 18 || i == 23;
            if (dash ? c != '-' : !((c >= '0' && c <= '9') || (low >= 'a' && low <= 'f'))) return false;
        }
        return true;
    }

    bool integer(PathNode* node, int rule, Place place, int64_t least, int64_t most) {
        const char* from = cursor_.at;
        int64_t number = cursor_.varint();
        if (cursor_.bad || number < least || number > most) return false;
        if (rule < 0 && !leaves_.detects()) {
            hiding_.show(node);
            return true;
        }
        char plain[24];
        size_t length = static_cast<size_t>(std::to_chars(plain, plain + sizeof plain, number).ptr - plain);
        if (!leaves_.hide(node, rule, std::string_view(plain, length), NUMBER_VALUE)) return true;
        char text[10];
        write(from, place, std::string_view(text, write_varint(text, leaves_.number<int64_t>(least, most))));
        return true;
    }

    template <typename Real>
    bool real(PathNode* node, int rule, Place place) {
        const char* from = cursor_.at;
        Real number;
        std::string_view bytes = cursor_.take(sizeof number);
        if (cursor_.bad) return false;
        if (rule < 0 && !leaves_.detects()) {
            hiding_.show(node);
            return true;
        }
        std::memcpy(&number, bytes.data(), sizeof number);      // little endian, as this machine is
        char plain[64];
        size_t length = static_cast<size_t>(std::to_chars(plain, plain + sizeof plain, number).ptr - plain);
        if (!leaves_.hide(node, rule, std::string_view(plain, length), NUMBER_VALUE)) return true;
        number = leaves_.number<Real>(std::numeric_limits<Real>::lowest(), std::numeric_limits<Real>::max());
        write(from, place, std::string_view(reinterpret_cast<const char*>(&number), sizeof number));
        return true;
    }

    bool boolean(PathNode* node, int rule, Place place) {
        const char* from = cursor_.at;
        std::string_view byte = cursor_.take(1);
        if (cursor_.bad || static_cast<unsigned char>(byte[0]) > 1) return false;
        if (rule < 0) hiding_.show(node);       // No detector looks for `true`.
        else if (leaves_.hide(node, rule, byte[0] ? "true" : "false", BOOLEAN_VALUE))
            write(from, place, std::string_view(leaves_.text() == "true" ? "\1" : "\0", 1));
        return true;
    }

    // The symbols are the schema's own: no detector looks into them.
    bool symbol(const SchemaNode& type, PathNode* node, int rule, Place place) {
        const char* from = cursor_.at;
        int64_t index = cursor_.varint();
        if (cursor_.bad || index < 0 || static_cast<size_t>(index) >= type.symbols.size()) return false;
        if (rule < 0) {
            hiding_.show(node);
        } else if (leaves_.hide(node, rule, type.symbols[static_cast<size_t>(index)], TEXT_VALUE)) {
            size_t now = 0;
            for (size_t i = 0; i < type.symbols.size(); i++)
                if (type.symbols[i] == leaves_.text()) now = i;
            char text[10];
            write(from, place, std::string_view(text, write_varint(text, static_cast<int64_t>(now))));
        }
        return true;
    }

    // Of the same size: the hidden text if it has it, or zeros.
    void write_fixed(const char* from, size_t size, Place place) {
        if (leaves_.text().size() == size || (leaves_.hidden().dropped && place.null_index >= 0)) return write(from, place, leaves_.text());
        fixed_.assign(size, '\0');
        leaves_.replace(from, cursor_.at, fixed_);
    }

    // In the place of the value that begins at `from` and ends at the cursor: `text`, or null where a rule drops it.
    void write(const char* from, Place place, std::string_view text) {
        if (!leaves_.hidden().dropped || place.null_index < 0) return leaves_.replace(from, cursor_.at, text);
        char index[10];
        leaves_.replace(place.from, cursor_.at, std::string_view(index, write_varint(index, place.null_index)));
    }

    Hiding& hiding_;
    PathTree& paths_;
    TypedLeaves leaves_;
    const ValueSchema* schema_ = nullptr;       // SAFETY: the caller's, alive until walk() returns
    RecordCursor cursor_{nullptr, nullptr};
    size_t steps_ = 0;
    std::string fixed_;
};

}  // namespace kproxy
