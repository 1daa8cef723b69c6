# cython: wraparound=True
"""The treatments that API modules share. See the .pxd."""
from libc.limits cimport INT_MIN
from libc.stdint cimport int32_t

from kproxy._ext.fields cimport F_CLUSTER_AUTHORIZED_OPERATIONS, F_ERROR_CODE, F_GROUP_ID, F_HOST, F_NAME, F_PARTITION
from kproxy._ext.fields cimport F_PARTITION_INDEX, F_PORT, F_RESOURCE_NAME, F_TOPIC, F_TOPIC_NAME, F_TRANSACTIONAL_ID
from kproxy._ext.opening cimport WAIT, Opening
from kproxy._ext.policy_table cimport EFFECT_ALLOW, EFFECT_ASK, EFFECT_DENY, OPERATION_ALTER, OPERATION_ALTER_CONFIGS
from kproxy._ext.policy_table cimport OPERATION_CLUSTER_ACTION, OPERATION_CREATE, OPERATION_DELETE, OPERATION_DESCRIBE
from kproxy._ext.policy_table cimport OPERATION_DESCRIBE_CONFIGS, OPERATION_IDEMPOTENT_WRITE, OPERATION_READ
from kproxy._ext.policy_table cimport OPERATION_WRITE, RESOURCE_CLUSTER, RESOURCE_GROUP, RESOURCE_TOPIC
from kproxy._ext.policy_table cimport RESOURCE_TRANSACTIONAL_ID, Cell
from kproxy._ext.request cimport build_count, build_string
from kproxy._ext.schema cimport ARRAY, ITEM, SCALAR, STRING, Mark, Marks, is_flexible
from kproxy._ext.topic_limits cimport hold_to_limits
from kproxy._ext.wire cimport load_i32, store_i32

from kproxy._ext import schema
from kproxy.errors import RefusalTooLongError, WireError

cdef tuple INTERNAL = (b"__consumer_offsets", b"__transaction_state", b"__share_group_state", b"__cluster_metadata")
cdef const char* CLUSTER_NAME = "kafka-cluster"
cdef enum:
    CLUSTER_NAME_LENGTH = 13
    # Items, partitions among them, of one request that are answered with a refusal. Each costs far more than the four
    # bytes that may name it, so a request with more of them is not answered.
    MOST_REFUSED = 1 << 16

cdef tuple TOPIC_OPERATIONS = (OPERATION_READ, OPERATION_WRITE, OPERATION_CREATE, OPERATION_DELETE, OPERATION_ALTER,
                               OPERATION_DESCRIBE, OPERATION_DESCRIBE_CONFIGS, OPERATION_ALTER_CONFIGS)
cdef tuple GROUP_OPERATIONS = (OPERATION_READ, OPERATION_DELETE, OPERATION_DESCRIBE, OPERATION_DESCRIBE_CONFIGS,
                               OPERATION_ALTER_CONFIGS)
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


cdef int topic_code(Opening opening, int operation, const unsigned char* name, Py_ssize_t length) except -1:
    cdef Cell* cell = opening.decide(RESOURCE_TOPIC, operation, name, length)
    if cell.effect == EFFECT_ASK:
        return POLICY_VIOLATION
    if cell.effect != EFFECT_ALLOW or (is_internal(name, length) and not cluster_allowed(opening, OPERATION_ALTER)):
        return TOPIC_AUTHORIZATION_FAILED
    return 0


cdef bint cluster_allowed(Opening opening, int operation) except -1:
    return opening.allowed(RESOURCE_CLUSTER, operation, <const unsigned char*>CLUSTER_NAME, CLUSTER_NAME_LENGTH)


cdef bint cluster_visible(Opening opening, int operation) except -1:
    return opening.visible(RESOURCE_CLUSTER, operation, <const unsigned char*>CLUSTER_NAME, CLUSTER_NAME_LENGTH)


cdef bint cluster_granted(Opening opening, int operation) except -1:
    cdef Cell* cell = opening.table.look_up(RESOURCE_CLUSTER, operation, <const unsigned char*>CLUSTER_NAME,
                                            CLUSTER_NAME_LENGTH, opening.now)
    return cell.effect == EFFECT_ALLOW and cell.would < 0


cdef bint covered_by_cluster(Opening opening, int cluster_operation, int resource, int operation,
                             const unsigned char* name, Py_ssize_t length) except -1:
    cdef Cell* cell = opening.table.look_up(resource, operation, name, length, opening.now)
    # A verdict without a rule is the default: nothing was said of this name.
    return (EFFECT_DENY in (cell.effect, cell.would) and not (<object>cell.verdict).rule
            and cluster_granted(opening, cluster_operation))


cdef int topic_operations(Opening opening, const unsigned char* name, Py_ssize_t length) except? -1:
    cdef int bits = 0, operation
    for operation in TOPIC_OPERATIONS:
        if topic_visible(opening, operation, name, length):
            bits |= 1 << operation
    return bits


cdef int group_operations(Opening opening, const unsigned char* name, Py_ssize_t length) except? -1:
    cdef int bits = 0, operation
    for operation in GROUP_OPERATIONS:
        if opening.visible(RESOURCE_GROUP, operation, name, length):
            bits |= 1 << operation
    return bits


cdef int cluster_operations(Opening opening) except? -1:
    cdef int bits = 0, operation
    if cluster_visible(opening, OPERATION_DESCRIBE):
        for operation in CLUSTER_OPERATIONS:
            if cluster_visible(opening, operation):
                bits |= 1 << operation
    return bits


cdef int show_cluster_operations(Opening opening, list edits) except -1:
    cdef Mark* asked = find_top(opening, F_CLUSTER_AUTHORIZED_OPERATIONS)
    if asked != NULL and asked.value != INT_MIN:
        replace_number(asked, cluster_operations(opening), edits)
    return 0


cdef const unsigned char* text(Opening opening, Mark* mark) noexcept:
    # A topic that is named by id has its name elsewhere: Opening.name_topics.
    return <const unsigned char*><size_t>mark.value if mark.at < 0 else opening.data + opening.body + mark.at


cdef bytes span(Opening opening, Mark* mark):
    return text(opening, mark)[:mark.length] if mark.length > 0 else b""


cdef bytes id_of(Opening opening, Mark* name):
    return (opening.data + opening.body + name.whole_at)[:16] if name.at < 0 else None


cdef bint is_unknown(Mark* name) noexcept:
    return name.at < 0 and name.length < 0


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
    cdef Mark* mark = &opening.marks.items[item]
    cdef Mark* name = mark if mark.kind == STRING else find(opening, F_NAME, mark.depth + 1, item + 1, mark.until)
    if name == NULL:
        name = find(opening, F_TOPIC, mark.depth + 1, item + 1, mark.until)     # as Fetch calls it
    if name == NULL:
        name = find(opening, F_RESOURCE_NAME, mark.depth + 1, item + 1, mark.until)
    if name == NULL:
        name = find(opening, F_TOPIC_NAME, mark.depth + 1, item + 1, mark.until)    # where share groups have offsets
    if name == NULL or (name.length < 0 and not is_unknown(name)):
        raise WireError(f"api {opening.head.api_key} version {opening.head.api_version}: a topic without a name")
    return name


cdef class TopicRule:
    def __init__(self, int operation, str list_name, dict partition, str name_field="name",
                 str index_field="partition_index", str code_field="error_code", int repeats=REPEATS_FORWARDED):
        self.operation = operation
        self.list_name = list_name
        self.partition = partition
        self.name_field = name_field
        self.index_field = index_field
        self.code_field = code_field
        self.repeats = repeats

    cdef int decide(self, Opening opening, int item, Mark* name) except -1:
        return 0 if topic_allowed(opening, self.operation, text(opening, name), name.length) \
            else TOPIC_AUTHORIZATION_FAILED

    cdef dict answer_item(self, Opening opening, int item, Mark* name, int code):
        cdef bytes topic_id = id_of(opening, name)
        cdef dict answered = {self.name_field: span(opening, name)} if topic_id is None else {"topic_id": topic_id}
        if self.list_name is None:
            return {**answered, self.code_field: code}
        answered[self.list_name] = [{**self.partition, self.index_field: index, self.code_field: code}
                                    for index in partition_indexes(opening, item)]
        return answered

    cdef list gather(self, list refused):
        return refused

    cdef object identity(self, Opening opening, int item, Mark* name):
        # A topic named by its name and by its id is two items: that they are one is not told here.
        topic_id = id_of(opening, name)
        return span(opening, name) if topic_id is None else topic_id


cdef class TextRule(TopicRule):
    def __init__(self, tuple operations, dict values, int repeats, str repeated="Duplicate topic name."):
        TopicRule.__init__(self, operations[len(operations) - 1], None, {}, repeats=repeats)
        self.operations = operations
        self.values = values
        self.repeated = repeated

    cdef int decide(self, Opening opening, int item, Mark* name) except -1:
        cdef int operation, code
        for operation in self.operations:
            code = topic_code(opening, operation, text(opening, name), name.length)
            if code != 0:
                return code
        return hold_to_limits(opening, self.operation, item, text(opening, name), name.length)

    cdef dict answer_item(self, Opening opening, int item, Mark* name, int code):
        return dict(self.values, name=span(opening, name), error_code=code, error_message=self.refusal(
            opening, RESOURCE_TOPIC, text(opening, name), name.length, code))

    cdef str refusal(self, Opening opening, int resource, const unsigned char* name, Py_ssize_t length, int code):
        """The words of the rule that refused; where no rule of this resource did, words that name nobody."""
        cdef Cell* cell
        cdef int operation
        if code == INVALID_REQUEST:
            return self.repeated
        if resource == RESOURCE_TOPIC and opening.limit_texts is not None and name[:length] in opening.limit_texts:
            return opening.limit_texts[name[:length]]
        for operation in self.operations:
            cell = opening.table.look_up(resource, operation, name, length, opening.now)
            if cell.effect != EFFECT_ALLOW:
                return opening.refusal_text(cell)
        return "Authorization failed."


cdef class NameRule(TopicRule):
    def __init__(self, int resource, int operation, int code, str name_field="group_id"):
        super().__init__(operation, None, {}, name_field)
        self.resource = resource
        self.code = code

    cdef int decide(self, Opening opening, int item, Mark* name) except -1:
        return 0 if opening.allowed(self.resource, self.operation, text(opening, name), name.length) else self.code

    cdef dict answer_item(self, Opening opening, int item, Mark* name, int code):
        return {self.name_field: span(opening, name), self.code_field: code}


cdef class Gate:
    def __init__(self, int resource, int operation, int field, int code):
        self.resource = resource
        self.operation = operation
        self.field = field
        self.code = code

    cdef int decide(self, Opening opening) except -1:
        """A field that is not there names nothing that could be allowed."""
        cdef Mark* name = find_top(opening, self.field)
        if name == NULL or name.length < 0:
            return self.code
        return 0 if opening.allowed(self.resource, self.operation, text(opening, name), name.length) else self.code


READ_GROUP = Gate(RESOURCE_GROUP, OPERATION_READ, F_GROUP_ID, GROUP_AUTHORIZATION_FAILED)
WRITE_TRANSACTION = Gate(RESOURCE_TRANSACTIONAL_ID, OPERATION_WRITE, F_TRANSACTIONAL_ID,
                         TRANSACTIONAL_ID_AUTHORIZATION_FAILED)


cdef class Gated:
    def __init__(self, tuple gates, *, dict refusal=None, TopicRule rule=None, int topics=0, str answered="topics",
                 int rest_code=0, int replica=0):
        self.gates = gates
        self.refusal = refusal
        self.rule = rule
        self.topics = topics
        self.answered = answered
        self.rest_code = rest_code
        self.replica = replica


cdef list partition_indexes(Opening opening, int item):
    """The partitions a topic item of a request names: items that hold an index, or a bare array of numbers."""
    cdef Marks marks = opening.marks
    cdef const unsigned char* body = opening.data + opening.body
    cdef Mark* mark
    cdef int i, n
    cdef list found = []
    for i in range(item + 1, marks.items[item].until):
        mark = &marks.items[i]
        if mark.kind == SCALAR and mark.field in (F_PARTITION_INDEX, F_PARTITION):
            count_refused(opening, 1)
            found.append(<int>mark.value)
        elif mark.kind == ARRAY and mark.until == i + 1:
            count_refused(opening, mark.length // 4)
            for n in range(mark.length // 4):
                found.append(load_i32(body + mark.at + 4 * n))
    return found


cdef int count_refused(Opening opening, Py_ssize_t more) except -1:
    if more > MOST_REFUSED - opening.refused_count:
        raise RefusalTooLongError(f"more than {MOST_REFUSED} refusals in one answer")
    opening.refused_count += <int>more
    return 0


cdef int refuse_topics(Opening opening, int array, TopicRule rule, list edits, list refused) except -1:
    cdef Marks marks = opening.marks
    cdef Mark* item
    cdef Mark* name
    cdef int i = array + 1, kept = 0, code
    cdef int until = marks.items[array].until
    cdef dict repeated = {} if rule.repeats == REPEATS_FORWARDED else count_repeats(opening, array, rule)
    while i < until:
        item = &marks.items[i]
        name = name_of(opening, i)
        if repeated and rule.identity(opening, i, name) in repeated:
            code = INVALID_REQUEST
        elif is_unknown(name):
            code = UNKNOWN_TOPIC_ID
        else:
            code = rule.decide(opening, i, name)
        if opening.treatment == WAIT:
            return 0
        if code == 0:
            kept += 1
        else:
            count_refused(opening, 1)
            edits.append((item.whole_at, item.whole_length, b""))
            if code != INVALID_REQUEST or is_to_answer(opening, i, name, rule, repeated):
                refused.append(rule.answer_item(opening, i, name, code))
        i = item.until
    if kept < marks.items[array].value:
        replace_count(opening, &marks.items[array], kept, edits)
    return kept


cdef dict count_repeats(Opening opening, int array, TopicRule rule):
    """Identity of each item named more than once -> whether it was answered."""
    cdef Marks marks = opening.marks
    cdef int i = array + 1
    cdef set seen = set()
    cdef dict repeated = {}
    while i < marks.items[array].until:
        same = rule.identity(opening, i, name_of(opening, i))
        if same in seen:
            repeated[same] = False
        seen.add(same)
        i = marks.items[i].until
    return repeated


cdef bint is_to_answer(Opening opening, int item, Mark* name, TopicRule rule, dict repeated) except -1:
    if rule.repeats != REPEATS_REFUSED_ONCE:
        return True
    same = rule.identity(opening, item, name)
    told = repeated.get(same)
    if told is not None:
        repeated[same] = True
    return not told


cdef int refuse_rest(Opening opening, int array, Gated way, list edits, list refused) except -1:
    """Where one topic is refused none goes on: what has not been cut out is answered as well."""
    cdef Mark* item
    cdef int i = array + 1
    cut = {edit[0] for edit in edits}
    while i < opening.marks.items[array].until:
        item = &opening.marks.items[i]
        if item.whole_at not in cut:
            count_refused(opening, 1)
            refused.append(way.rule.answer_item(opening, i, name_of(opening, i), way.rest_code))
        i = item.until
    return 0


cdef list refuse_every_topic(Opening opening, int array, TopicRule rule, int code):
    cdef Marks marks = opening.marks
    cdef Mark* item
    cdef int i = array + 1
    cdef list refused = []
    while i < marks.items[array].until:
        item = &marks.items[i]
        count_refused(opening, 1)
        refused.append(rule.answer_item(opening, i, name_of(opening, i), code))
        i = item.until
    return refused


cdef int replace_count(Opening opening, Mark* array, Py_ssize_t count, list edits) except -1:
    if count != array.value:
        edits.append((array.whole_at, array.whole_length,
                      build_count(count, is_flexible(opening.head.api_key, opening.head.api_version))))
    return 0


cdef int append_items(Opening opening, Mark* array, int kept, str path, list items, list edits) except -1:
    cdef int api_key = opening.head.api_key, version = opening.head.api_version
    replace_count(opening, array, kept + len(items), edits)
    if items:
        edits.append((array.at + array.length, 0,
                      b"".join([schema.build_item(api_key, version, True, path, item) for item in items])))
    return 0


cdef int replace_number(Mark* mark, int value, list edits) except -1:
    cdef unsigned char number[4]
    store_i32(number, <int32_t>value)
    edits.append((mark.whole_at, 4, number[:4]))
    return 0


cdef int open_gated(Opening opening, Gated way) except -1:
    cdef Mark* replica = find_top(opening, way.replica) if way.replica != 0 else NULL
    cdef Gate gate
    cdef int code = 0, kept = 0, array
    cdef list edits = []
    cdef list refused = []
    for gate in way.gates:
        code = gate.decide(opening)
        if opening.treatment == WAIT:
            return 0
        if code != 0:
            break
    if code != 0 and way.refusal is not None:
        return answer_values(opening, {**way.refusal, "error_code": code})
    if way.rule is None:
        return 0
    array = <int>(find_top(opening, way.topics) - opening.marks.items)
    if code != 0:
        refused = refuse_every_topic(opening, array, way.rule, code)
        return answer_values(opening, {way.answered: refused})
    kept = refuse_topics(opening, array, way.rule, edits, refused)
    if opening.treatment == WAIT:
        return 0
    if refused and way.rest_code != 0:
        refuse_rest(opening, array, way, edits, refused)
        kept = 0
    refused = way.rule.gather(refused)
    if refused and kept == 0:
        return answer_values(opening, {way.answered: refused})
    if replica != NULL and replica.value != -1:
        replace_number(replica, -1, edits)
    opening.memo = refused or None
    return apply_edits(opening, edits)


cdef int answer_values(Opening opening, dict values) except -1:
    return opening.answer_body(schema.build(opening.head.api_key, opening.head.api_version, True, values))


cdef int add_refused(Opening opening, int array, str path, object memo, list edits) except -1:
    cdef Mark* topics = find_top(opening, array)
    cdef Mark* error = find_top(opening, F_ERROR_CODE)
    if not memo or (error != NULL and error.value != 0):
        return 0
    return append_items(opening, topics, <int>topics.value, path, memo, edits)


def _position(edit):
    # An insertion comes before a cut that starts at the same place.
    return edit[0], edit[1]


cdef int apply_edits(Opening opening, list edits) except -1:
    if opening.overrides is not None:
        edits = edits + opening.overrides
    if not edits:
        return 0
    edits.sort(key=_position)
    opening.splice.begin(opening.data, opening.length)
    for at, length, new in edits:
        opening.splice.replace(opening.body + at, length, new)
    return opening.replace_with_splice()


cdef int show_brokers(Opening opening, Mark* brokers, int node, list edits) except -1:
    cdef Marks marks = opening.marks
    cdef Mark* item
    cdef int i = <int>(brokers - marks.items) + 1, kept = 0
    while i < brokers.until:
        item = &marks.items[i]
        if rewrite_address(opening, find(opening, node, 1, i + 1, item.until),
                           find(opening, F_HOST, 1, i + 1, item.until), find(opening, F_PORT, 1, i + 1, item.until),
                           edits):
            kept += 1
        else:
            edits.append((item.whole_at, item.whole_length, b""))
        i = item.until
    return replace_count(opening, brokers, kept, edits)


cdef bint rewrite_address(Opening opening, Mark* node, Mark* host, Mark* port, list edits) except -1:
    try:
        name = span(opening, host).decode()
    except UnicodeDecodeError as error:
        raise WireError("a broker's host is not text") from error
    place = opening.addresses.teach(<int>node.value, name, <int>port.value)
    if place is None:
        return False
    edits.append((host.whole_at, host.whole_length,
                  build_string(place[0], is_flexible(opening.head.api_key, opening.head.api_version))))
    replace_number(port, place[1], edits)
    return True
