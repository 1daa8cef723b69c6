"""Schemas of one registry; see the .pxd. The tables come from kproxy/schemas by way of the control process."""
from libcpp.memory cimport make_shared

#: In the order of value_schema.hpp's numbers; kproxy.model.value_schema has the same (a test holds the two together).
KINDS = ("null", "boolean", "int", "long", "float", "double", "bytes", "string", "fixed", "enum", "array", "map",
         "union", "record", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64", "sfixed32", "sfixed64")
FORMATS = ("avro", "protobuf", "json")


cdef class Registered:
    def __cinit__(self):
        self.table = make_shared[SchemaTable]()

    def __len__(self):
        return self.table.get().size()

    def __contains__(self, uint32_t schema_id):
        return self.table.get().knows(schema_id)

    def add(self, uint32_t schema_id, schema):
        """``schema``: a kproxy.model.value_schema.ValueSchema. Raises ValueError where it names what it does not have."""
        cdef shared_ptr[ValueSchema] made = make_shared[ValueSchema]()
        cdef ValueSchema* to = made.get()
        cdef int count = len(schema.nodes)
        to.format = FORMATS.index(schema.format)
        to.nodes.resize(count)
        for i, node in enumerate(schema.nodes):
            fill(&to.nodes[i], node, count)
        to.tops = [held(top, count) for top in schema.tops]
        if not schema.tops and schema.format != "json":
            raise ValueError("a schema has a type to begin with")
        for one in schema.tagged:
            to.tagged.push_back(pair[vector[string], vector[string]](encoded(one.path), encoded(one.tags)))
        self.table.get().add(schema_id, made)


cdef int fill(SchemaNode* to, node, int count) except -1:
    cdef SchemaMember member
    to.kind = KINDS.index(node.kind)
    to.logical = node.logical.encode()
    to.symbols = encoded(node.symbols)
    to.numbers = node.numbers
    to.branches = [held(branch, count) for branch in node.branches]
    to.item = held(node.item, count) if node.kind in ("array", "map") and not node.members else -1
    to.size = node.size
    if node.kind == "map" and node.members and len(node.members) != 2:
        raise ValueError("a map's entry is a key and a value")
    if node.numbers and len(node.numbers) != len(node.symbols):
        raise ValueError("an enum has a number for each symbol")
    for one in node.members:
        member.name = one.name.encode()
        member.node = held(one.node, count)
        member.number = one.number
        member.repeated = one.repeated
        member.required = one.required
        member.tags = encoded(one.tags)
        to.members.push_back(member)
    return 0


cdef int held(int place, int count) except -1:
    if not 0 <= place < count:
        raise ValueError("a schema names a type that it does not have")
    return place


cdef list encoded(texts):
    return [text.encode("utf-8", "surrogatepass") for text in texts]
