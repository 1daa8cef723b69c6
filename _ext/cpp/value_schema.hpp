// A registered schema as a table: what the walker of Avro's or Protobuf's bytes goes by. kproxy/schemas makes it, which has
// held every number in it against the table's size.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace kproxy {

// In the order of kproxy.model.value_schema.KINDS.
enum SchemaKind : int {
    KIND_NULL, KIND_BOOLEAN, KIND_INT, KIND_LONG, KIND_FLOAT, KIND_DOUBLE, KIND_BYTES, KIND_STRING, KIND_FIXED, KIND_ENUM,
    KIND_ARRAY, KIND_MAP, KIND_UNION, KIND_RECORD,
    // Protobuf's own ways to write a number, and its fields that stand for themselves.
    KIND_UINT32, KIND_UINT64, KIND_SINT32, KIND_SINT64, KIND_FIXED32, KIND_FIXED64, KIND_SFIXED32, KIND_SFIXED64,
};

enum SchemaFormat : int { FORMAT_AVRO, FORMAT_PROTOBUF, FORMAT_JSON };

struct SchemaMember {
    std::string name;
    int node = 0;
    uint32_t number = 0;            // Protobuf
    bool repeated = false;
    bool required = false;
    std::vector<std::string> tags;
};

struct SchemaNode {
    int kind = KIND_NULL;
    std::string logical;                    // Avro: `decimal`, `uuid`
    std::vector<SchemaMember> members;      // of a record; Protobuf: by number
    std::vector<std::string> symbols;       // of an enum
    std::vector<int64_t> numbers;           // of those symbols, in Protobuf
    std::vector<int> branches;              // of a union; Protobuf: the messages declared in this one
    int item = -1;                          // of an array or map
    size_t size = 0;                        // of a fixed
};

struct ValueSchema {
    int format = FORMAT_AVRO;
    std::vector<SchemaNode> nodes;
    std::vector<int> tops;                  // Avro: the one it begins with; Protobuf: the messages of the file
    std::vector<std::pair<std::vector<std::string>, std::vector<std::string>>> tagged;     // JSON Schema: path, tags

    const SchemaNode& at(int node) const { return nodes[static_cast<size_t>(node)]; }
};

// The schemas of one registry that this process knows, by id. They never change.
class SchemaTable {
  public:
    static constexpr size_t MOST = 4096;

    std::shared_ptr<const ValueSchema> find(uint32_t id) const {
        auto found = known_.find(id);
        return found == known_.end() ? nullptr : found->second;
    }
    void add(uint32_t id, std::shared_ptr<const ValueSchema> schema) {
        // Those that are needed again are asked for again.
        if (known_.size() >= MOST) known_.clear();
        known_[id] = std::move(schema);
    }
    bool knows(uint32_t id) const { return known_.count(id) != 0; }
    size_t size() const { return known_.size(); }

  private:
    std::unordered_map<uint32_t, std::shared_ptr<const ValueSchema>> known_;
};

}  // namespace kproxy
