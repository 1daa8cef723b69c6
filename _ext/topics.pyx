# cython: wraparound=True
"""ListOffsets, OffsetForLeaderEpoch, CreateTopics, InitProducerId.

    2  ListOffsets 1-11        DESCRIBE on each topic, else 29 with offset and timestamp -1 on its partitions.
                               replica_id becomes -1: a follower's id would see beyond the high watermark
    19 CreateTopics 2-7        CREATE on the cluster or on each topic, else 29; 44 with the request where an approval is
                               asked for. From v5 an answer shows a topic's configs only with DESCRIBE_CONFIGS on it
    22 InitProducerId 0-5      WRITE on the transactional id, else 53; without one IDEMPOTENT_WRITE on the cluster or
                               WRITE on any topic, else 31
    23 OffsetForLeaderEpoch 2-4    CLUSTER_ACTION on the cluster or DESCRIBE on each topic, else 29 with epoch and
                               offset -1 on its partitions. replica_id becomes -1
"""
from kproxy._ext.authorise cimport CLUSTER_AUTHORIZATION_FAILED, INVALID_REQUEST, REPEATS_REFUSED_ONCE
from kproxy._ext.authorise cimport TOPIC_AUTHORIZATION_FAILED, WRITE_TRANSACTION, Gated, TextRule, TopicRule, add_refused
from kproxy._ext.authorise cimport apply_edits, cluster_granted, cluster_visible, covered_by_cluster, find, find_top
from kproxy._ext.authorise cimport is_internal, open_gated, span, text, topic_code, topic_visible
from kproxy._ext.fields cimport F_ERROR_CODE, F_ERROR_MESSAGE, F_NAME, F_REPLICA_ID, F_TOPICS, F_TRANSACTIONAL_ID
from kproxy._ext.opening cimport WAIT, Opening
from kproxy._ext.policy_table cimport EFFECT_ASK, OPERATION_ALTER, OPERATION_CLUSTER_ACTION, OPERATION_CREATE
from kproxy._ext.policy_table cimport OPERATION_DESCRIBE, OPERATION_DESCRIBE_CONFIGS, OPERATION_IDEMPOTENT_WRITE
from kproxy._ext.policy_table cimport OPERATION_WRITE, RESOURCE_ANY_TOPIC, RESOURCE_TOPIC, Cell
from kproxy._ext.request cimport build_string
from kproxy._ext.schema cimport Mark, Marks, is_flexible
from kproxy._ext.topic_limits cimport hold_to_limits

from kproxy._ext import schema

cdef enum:
    LIST_OFFSETS = 2
    CREATE_TOPICS = 19
    INIT_PRODUCER_ID = 22
    FIRST_WITH_CONFIGS = 5
    FIRST_WITH_ID = 7
    INVALID_TOPIC = 17

cdef Gated OFFSETS = Gated((), topics=F_TOPICS, replica=F_REPLICA_ID, rule=TopicRule(
    OPERATION_DESCRIBE, "partitions", {"timestamp": -1, "offset": -1, "leader_epoch": -1}))
cdef Gated EPOCHS = Gated((), topics=F_TOPICS, replica=F_REPLICA_ID, rule=EpochRule(
    OPERATION_DESCRIBE, "partitions", {"leader_epoch": -1, "end_offset": -1}, name_field="topic",
    index_field="partition"))
cdef Gated CREATE = Gated((), topics=F_TOPICS, rule=CreateRule((OPERATION_CREATE,), {
    "num_partitions": -1, "replication_factor": -1, "configs": []}, REPEATS_REFUSED_ONCE))
cdef Gated TRANSACTION = Gated((WRITE_TRANSACTION,), refusal={"producer_id": -1, "producer_epoch": -1})


cdef int open_request(Opening opening) except -1:
    cdef int api = opening.head.api_key
    if api == INIT_PRODUCER_ID:
        return open_init_producer_id(opening)
    return open_gated(opening, CREATE if api == CREATE_TOPICS else OFFSETS if api == LIST_OFFSETS else EPOCHS)


cdef int open_response(Opening opening, object memo) except -1:
    cdef list edits = []
    if opening.head.api_key == CREATE_TOPICS:
        hide_collisions(opening, edits)
        if opening.head.api_version >= FIRST_WITH_ID:
            learn_ids(opening)
        if opening.head.api_version >= FIRST_WITH_CONFIGS:
            hide_configs(opening, edits)
    add_refused(opening, F_TOPICS, "topics", memo, edits)
    return apply_edits(opening, edits)


# ---- OffsetForLeaderEpoch

cdef class EpochRule(TopicRule):
    """Followers ask this too, so who acts for the cluster need not be allowed each topic."""

    cdef int decide(self, Opening opening, int item, Mark* name) except -1:
        if not is_internal(text(opening, name), name.length) and covered_by_cluster(
                opening, OPERATION_CLUSTER_ACTION, RESOURCE_TOPIC, OPERATION_DESCRIBE, text(opening, name),
                name.length):
            return 0
        return TopicRule.decide(self, opening, item, name)


# ---- CreateTopics

cdef class CreateRule(TextRule):
    """CREATE on the cluster is CREATE on every topic, save where a rule of its own forbids the topic or asks for
    people."""

    cdef int decide(self, Opening opening, int item, Mark* name) except -1:
        cdef int code = self.decide_access(opening, name)
        return code if code != 0 else hold_to_limits(opening, OPERATION_CREATE, item, text(opening, name), name.length)

    cdef int decide_access(self, Opening opening, Mark* name) except -1:
        if is_internal(text(opening, name), name.length):
            if span(opening, name) == b"__cluster_metadata":
                return INVALID_REQUEST
            if not cluster_visible(opening, OPERATION_ALTER):
                return TOPIC_AUTHORIZATION_FAILED
        if covered_by_cluster(opening, OPERATION_CREATE, RESOURCE_TOPIC, OPERATION_CREATE, text(opening, name),
                              name.length):
            return 0
        return topic_code(opening, OPERATION_CREATE, text(opening, name), name.length)

    cdef str refusal(self, Opening opening, int resource, const unsigned char* name, Py_ssize_t length, int code):
        if code == INVALID_REQUEST and name[:length] == b"__cluster_metadata":
            return "Creation of internal topic __cluster_metadata is prohibited."
        return TextRule.refusal(self, opening, resource, name, length, code)


cdef int hide_collisions(Opening opening, list edits) except -1:
    """A name collides with one that has a point where it has an underscore, and the broker says with which, though that
    topic may be hidden."""
    cdef Marks marks = opening.marks
    cdef Mark* topics = find_top(opening, F_TOPICS)
    cdef Mark* words
    cdef int i = <int>(topics - marks.items) + 1, until
    while i < topics.until:
        until = marks.items[i].until
        if find(opening, F_ERROR_CODE, 1, i + 1, until).value == INVALID_TOPIC:
            words = find(opening, F_ERROR_MESSAGE, 1, i + 1, until)
            edits.append((words.whole_at, words.whole_length, build_string(
                "The name is not valid, or collides with another topic's.",
                is_flexible(CREATE_TOPICS, opening.head.api_version))))
        i = until
    return 0


cdef int learn_ids(Opening opening) except -1:
    for topic in schema.parse(CREATE_TOPICS, opening.head.api_version, True,
                              opening.data[opening.body:opening.length])["topics"]:
        if topic["error_code"] == 0:
            opening.addresses.topic_ids.teach(topic["topic_id"], topic["name"])
    return 0


cdef int hide_configs(Opening opening, list edits) except -1:
    """As a broker answers who may create a topic and not read its configs: 29 in the tag, counts unknown, no
    configs."""
    cdef Marks marks = opening.marks
    cdef Mark* topics = find_top(opening, F_TOPICS)
    cdef Mark* item
    cdef Mark* name
    cdef int i = <int>(topics - marks.items) + 1, n = 0
    answer = None
    while i < topics.until:
        item = &marks.items[i]
        name = find(opening, F_NAME, 1, i + 1, item.until)
        if (find(opening, F_ERROR_CODE, 1, i + 1, item.until).value == 0
                and not topic_visible(opening, OPERATION_DESCRIBE_CONFIGS, text(opening, name), name.length)):
            if answer is None:
                answer = schema.parse(CREATE_TOPICS, opening.head.api_version, True,
                                      opening.data[opening.body:opening.length])["topics"]
            answer[n].update(topic_config_error_code=TOPIC_AUTHORIZATION_FAILED, num_partitions=-1,
                             replication_factor=-1, configs=[])
            edits.append((item.whole_at, item.whole_length,
                          schema.build_item(CREATE_TOPICS, opening.head.api_version, True, "topics", answer[n])))
        i = item.until
        n += 1
    return 0


# ---- InitProducerId

cdef int open_init_producer_id(Opening opening) except -1:
    if find_top(opening, F_TRANSACTIONAL_ID).length >= 0:
        return open_gated(opening, TRANSACTION)
    if may_be_idempotent(opening) or opening.treatment == WAIT:
        return 0
    return opening.answer_body(schema.build(INIT_PRODUCER_ID, opening.head.api_version, True, {
        "error_code": CLUSTER_AUTHORIZATION_FAILED, "producer_id": -1, "producer_epoch": -1}))


cdef bint may_be_idempotent(Opening opening) except -1:
    """A topic that may be written after an approval counts: the id alone writes nothing, and the write itself will
    ask."""
    cdef const unsigned char* nameless = b""
    cdef Cell* cell
    if cluster_granted(opening, OPERATION_IDEMPOTENT_WRITE):
        return True
    cell = opening.table.look_up(RESOURCE_ANY_TOPIC, OPERATION_WRITE, nameless, 0, opening.now)
    if EFFECT_ASK in (cell.effect, cell.would):
        return True
    return opening.allowed(RESOURCE_ANY_TOPIC, OPERATION_WRITE, nameless, 0)
