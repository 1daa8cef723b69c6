# cython: wraparound=True
"""The treatments that API modules share. See the .pxd."""
from libc.stdint cimport int32_t

from kproxy._ext.fields cimport F_NAME, F_PARTITION_INDEX, F_PARTITION_INDEXES, F_TOPIC
from kproxy._ext.opening cimport WAIT, Opening
from kproxy._ext.policy_table cimport EFFECT_ALLOW, OPERATION_ALTER, OPERATION_ALTER_CONFIGS, OPERATION_CLUSTER_ACTION
from kproxy._ext.policy_table cimport OPERATION_CREATE, OPERATION_DELETE, OPERATION_DESCRIBE
from kproxy._ext.policy_table cimport OPERATION_DESCRIBE_CONFIGS, OPERATION_IDEMPOTENT_WRITE, OPERATION_READ
from kproxy._ext.policy_table cimport OPERATION_WRITE, RESOURCE_CLUSTER, RESOURCE_TOPIC, Cell
from kproxy._ext.request cimport build_count, build_string
from kproxy._ext.schema cimport ARRAY, ITEM, Mark, Marks, is_flexible
from kproxy._ext.wire cimport load_i32, store_i32

from kproxy._ext import schema
from kproxy.errors import WireError

cdef tuple INTERNAL = (b"__consumer_offsets", b"__transaction_state", b"__share_group_state", b"__cluster_metadata")
cdef const char* CLUSTER_NAME = "kafka-cluster"
cdef enum:
    CLUSTER_NAME_LENGTH = 13

cdef tuple TOPIC_OPERATIONS = (OPERATION_READ, OPERATION_WRITE, OPERATION_CREATE, OPERATION_DELETE, OPERATION_ALTER,
                               OPERATION_DESCRIBE, OPERATION_DESCRIBE_CONFIGS, OPERATION_ALTER_CONFIGS)
cdef tuple CLUSTER_OPERATIONS = (OPERATION_CREATE, OPERATION_ALTER, OPERATION_DESCRIBE, OPERATION_CLUSTER_ACTION,
                                 OPERATION_DESCRIBE_CONFIGS, OPERATION_ALTER_CONFIGS, OPERATION_IDEMPOTENT_WRITE)


cdef bint is_internal(const unsigned char* name, Py_ssize_t length) except -1:
    if length < 2 or name[0] != c"_" or name[1] != c"_":
        return False
    return name[:length] in INTERNAL


cdef bint topic_allowed(Opening opening, int operation, const unsigned char* name, Py_ssize_t length) except -1:
    if length < 0 or not opening.allowed(RESOURCE_TOPIC, operation, name, length):
        return False
    return not is_internal(name, length) or cluster_allowed(opening, OPERATION_ALTER)


cdef bint topic_visible(Opening opening, int operation, const unsigned char* name, Py_ssize_t length) except -1:
    if length < 0 or not opening.visible(RESOURCE_TOPIC, operation, name, length):
        return False
    return not is_internal(name, length) or cluster_visible(opening, OPERATION_ALTER)


cdef bint cluster_allowed(Opening opening, int operation) except -1:
    return opening.allowed(RESOURCE_CLUSTER, operation, <const unsigned char*>CLUSTER_NAME, CLUSTER_NAME_LENGTH)


cdef bint cluster_visible(Opening opening, int operation) except -1:
    return opening.visible(RESOURCE_CLUSTER, operation, <const unsigned char*>CLUSTER_NAME, CLUSTER_NAME_LENGTH)


cdef bint cluster_granted(Opening opening, int operation) except -1:
    cdef Cell* cell = opening.table.look_up(RESOURCE_CLUSTER, operation, <const unsigned char*>CLUSTER_NAME,
                                            CLUSTER_NAME_LENGTH, opening.now)
    return cell.effect == EFFECT_ALLOW and cell.would < 0


cdef int topic_operations(Opening opening, const unsigned char* name, Py_ssize_t length) except? -1:
    cdef int bits = 0, operation
    for operation in TOPIC_OPERATIONS:
        if topic_visible(opening, operation, name, length):
            bits |= 1 << operation
    return bits


cdef int cluster_operations(Opening opening) except? -1:
    cdef int bits = 0, operation
    if cluster_visible(opening, OPERATION_DESCRIBE):
        for operation in CLUSTER_OPERATIONS:
            if cluster_visible(opening, operation):
                bits |= 1 << operation
    return bits


cdef const unsigned char* text(Opening opening, Mark* mark) noexcept:
    return opening.data + opening.body + mark.at


cdef bytes span(Opening opening, Mark* mark):
    return text(opening, mark)[:mark.length] if mark.length > 0 else b""


cdef Mark* find(Opening opening, int field, int depth, int first, int until) noexcept:
    cdef Mark* mark
    cdef int i
    for i in range(first, until):
        mark = &opening.marks.items[i]
        if mark.field == field and mark.depth == depth and mark.kind != ITEM:
            return mark
    return NULL


cdef Mark* find_top(Opening opening, int field) noexcept:
    return find(opening, field, 0, 0, opening.marks.count)


cdef Mark* name_of(Opening opening, int item) except NULL:
    """A version that names topics by id is not served; if one came here it must end here."""
    cdef Mark* mark = &opening.marks.items[item]
    cdef Mark* name = find(opening, F_NAME, mark.depth + 1, item + 1, mark.until)
    if name == NULL:
        name = find(opening, F_TOPIC, mark.depth + 1, item + 1, mark.until)     # as Fetch calls it
    if name == NULL or name.length < 0:
        raise WireError(f"api {opening.head.api_key} version {opening.head.api_version}: a topic without a name")
    return name


cdef class TopicRule:
    def __init__(self, int operation, str list_name, dict partition):
        self.operation = operation
        self.list_name = list_name
        self.partition = partition

    cdef int decide(self, Opening opening, Mark* name) except -1:
        return 0 if topic_allowed(opening, self.operation, text(opening, name), name.length) \
            else TOPIC_AUTHORIZATION_FAILED

    cdef dict answer_item(self, Opening opening, int item, Mark* name, int code):
        cdef dict answered = {"name": span(opening, name)}
        if self.list_name is not None:
            answered[self.list_name] = [dict(self.partition, partition_index=index, error_code=code)
                                        for index in partition_indexes(opening, item)]
        return answered


cdef list partition_indexes(Opening opening, int item):
    """The partitions a topic item of a request names: items that hold an index, or a bare array of numbers."""
    cdef Marks marks = opening.marks
    cdef const unsigned char* body = opening.data + opening.body
    cdef Mark* mark
    cdef int i, n
    cdef list found = []
    for i in range(item + 1, marks.items[item].until):
        mark = &marks.items[i]
        if mark.field == F_PARTITION_INDEX:
            found.append(<int>mark.value)
        elif mark.field == F_PARTITION_INDEXES and mark.kind == ARRAY:
            for n in range(mark.length // 4):
                found.append(load_i32(body + mark.at + 4 * n))
    return found


cdef int refuse_topics(Opening opening, int array, TopicRule rule, list edits, list refused) except -1:
    cdef Marks marks = opening.marks
    cdef Mark* item
    cdef Mark* name
    cdef int i = array + 1, kept = 0, code
    cdef int until = marks.items[array].until
    cdef Py_ssize_t before = len(refused)
    while i < until:
        item = &marks.items[i]
        name = name_of(opening, i)
        code = rule.decide(opening, name)
        if opening.treatment == WAIT:
            return 0
        if code == 0:
            kept += 1
        else:
            refused.append(rule.answer_item(opening, i, name, code))
            edits.append((item.whole_at, item.whole_length, b""))
        i = item.until
    if len(refused) > before:
        edits.append((marks.items[array].whole_at, marks.items[array].whole_length,
                      build_count(kept, is_flexible(opening.head.api_key, opening.head.api_version))))
    return kept


cdef list refuse_every_topic(Opening opening, int array, TopicRule rule, int code):
    cdef Marks marks = opening.marks
    cdef Mark* item
    cdef int i = array + 1
    cdef list refused = []
    while i < marks.items[array].until:
        item = &marks.items[i]
        refused.append(rule.answer_item(opening, i, name_of(opening, i), code))
        i = item.until
    return refused


cdef int append_items(Opening opening, Mark* array, int kept, str path, list items, list edits) except -1:
    cdef int api_key = opening.head.api_key, version = opening.head.api_version
    if not items and kept == array.value:
        return 0
    edits.append((array.whole_at, array.whole_length, build_count(kept + len(items), is_flexible(api_key, version))))
    edits.append((array.at + array.length, 0,
                  b"".join([schema.build_item(api_key, version, True, path, item) for item in items])))
    return 0


def _position(edit):
    # An insertion comes before a cut that starts at the same place.
    return edit[0], edit[1]


cdef int apply_edits(Opening opening, list edits) except -1:
    if not edits:
        return 0
    edits.sort(key=_position)
    opening.splice.begin(opening.data, opening.length)
    for at, length, new in edits:
        opening.splice.replace(opening.body + at, length, new)
    return opening.replace_with_splice()


cdef bint rewrite_address(Opening opening, Mark* node, Mark* host, Mark* port, list edits) except -1:
    cdef unsigned char number[4]
    try:
        name = span(opening, host).decode()
    except UnicodeDecodeError as error:
        raise WireError("a broker's host is not text") from error
    place = opening.addresses.teach(<int>node.value, name, <int>port.value)
    if place is None:
        return False
    store_i32(number, <int32_t>place[1])
    edits.append((host.whole_at, host.whole_length,
                  build_string(place[0], is_flexible(opening.head.api_key, opening.head.api_version))))
    edits.append((port.whole_at, 4, number[:4]))
    return True
