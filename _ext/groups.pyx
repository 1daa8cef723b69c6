# cython: wraparound=True
"""Consumer groups (keys 8 to 14), and the offsets of share groups.

    8  OffsetCommit 2-10       READ on the group, else 30 on every partition; then READ on each topic, else 29
    9  OffsetFetch 1-10        DESCRIBE on each group, else 30 (per partition in v1); then DESCRIBE on each topic,
                               else 29. Topics null means all topics of the group: hidden ones are left out of the answer.
                               Version 10 of both names topics by id, and one that is not there answers 100
    10 FindCoordinator 0-6     DESCRIBE on the group (30) or the transactional id (53); share groups need CLUSTER_ACTION
                               (31). Addresses become this listener's
    11-14 Join, Heartbeat, Leave, Sync    READ on the group, else 30
    90 DescribeShareGroupOffsets 0-1      as OffsetFetch asks for several groups
"""
from kproxy._ext.authorise cimport CLUSTER_AUTHORIZATION_FAILED, COORDINATOR_NOT_AVAILABLE, GROUP_AUTHORIZATION_FAILED
from kproxy._ext.authorise cimport INVALID_REQUEST, READ_GROUP, TRANSACTIONAL_ID_AUTHORIZATION_FAILED, Gated, NameRule
from kproxy._ext.authorise cimport TopicRule, add_refused, answer_values, append_items, apply_edits, cluster_allowed, find, find_top
from kproxy._ext.authorise cimport name_of, open_gated, refuse_every_topic, refuse_topics, replace_count, rewrite_address
from kproxy._ext.authorise cimport span, text, topic_visible
from kproxy._ext.fields cimport F_COORDINATOR_KEYS, F_COORDINATORS, F_ERROR_CODE, F_GROUP_ID, F_GROUPS, F_HOST, F_KEY
from kproxy._ext.fields cimport F_KEY_TYPE, F_NODE_ID, F_PORT, F_TOPICS
from kproxy._ext.opening cimport WAIT, Opening
from kproxy._ext.policy_table cimport OPERATION_CLUSTER_ACTION, OPERATION_DESCRIBE, OPERATION_READ
from kproxy._ext.policy_table cimport RESOURCE_CLUSTER, RESOURCE_GROUP, RESOURCE_TRANSACTIONAL_ID
from kproxy._ext.schema cimport Mark, Marks

from kproxy._ext import schema

cdef enum:
    OFFSET_COMMIT = 8
    OFFSET_FETCH = 9
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    SHARE_OFFSETS = 90
    KEY_GROUP = 0               # FindCoordinator's key types
    KEY_TRANSACTION = 1
    KEY_SHARE = 2
    FIRST_WITH_GROUPS = 8       # OffsetFetch asks for several groups from here on
    FIRST_WITH_KEYS = 4         # FindCoordinator for several keys
    FIRST_TOP_LEVEL_ERROR = 2   # OffsetFetch
    FIRST_NULL_PROTOCOL = 7     # JoinGroup

cdef Gated COMMIT = Gated((READ_GROUP,), topics=F_TOPICS, rule=TopicRule(OPERATION_READ, "partitions", {}))
cdef Gated MEMBERSHIP = Gated((READ_GROUP,), refusal={})
cdef Gated JOIN = Gated((READ_GROUP,), refusal={"protocol_name": None})
cdef TopicRule FETCH_RULE = TopicRule(OPERATION_DESCRIBE, "partitions", {
    "committed_offset": -1, "committed_leader_epoch": -1, "metadata": ""})
cdef TopicRule SHARE_OFFSETS_RULE = TopicRule(OPERATION_DESCRIBE, "partitions", {"start_offset": -1}, "topic_name")

#: Kafka's own words, which name nobody.
cdef dict COORDINATOR_TEXT = {
    COORDINATOR_NOT_AVAILABLE: "The coordinator is not available.",
    GROUP_AUTHORIZATION_FAILED: "Not authorized to access group: Group authorization failed.",
    CLUSTER_AUTHORIZATION_FAILED: "Cluster authorization failed.",
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "Transactional Id authorization failed.",
    INVALID_REQUEST: "This most likely occurs because of a request being malformed by the client library.",
}


cdef int open_request(Opening opening) except -1:
    cdef int api = opening.head.api_key
    if api == OFFSET_COMMIT:
        return open_gated(opening, COMMIT)
    if api == OFFSET_FETCH:
        return open_offset_fetch(opening)
    if api == SHARE_OFFSETS:
        return open_groups(opening, SHARE_OFFSETS_RULE)
    if api == FIND_COORDINATOR:
        return open_find_coordinator(opening)
    if api == JOIN_GROUP and opening.head.api_version >= FIRST_NULL_PROTOCOL:
        return open_gated(opening, JOIN)
    return open_gated(opening, MEMBERSHIP)


cdef int open_response(Opening opening, object memo) except -1:
    cdef int api = opening.head.api_key
    cdef list edits = []
    if api == FIND_COORDINATOR:
        answer_find_coordinator(opening, memo, edits)
    elif memo is None:
        return 0
    elif api == SHARE_OFFSETS or (api == OFFSET_FETCH and opening.head.api_version >= FIRST_WITH_GROUPS):
        answer_groups(opening, memo, edits)
    elif api == OFFSET_FETCH and memo == ALL_TOPICS:
        answer_all_topics(opening, find_top(opening, F_TOPICS), edits)
    else:
        add_refused(opening, F_TOPICS, "topics", memo, edits)
    return apply_edits(opening, edits)


cdef bint group_allowed(Opening opening, int operation, Mark* group) except -1:
    return opening.allowed(RESOURCE_GROUP, operation, text(opening, group), group.length)


# ---- OffsetFetch

cdef str ALL_TOPICS = "all topics"


cdef int open_offset_fetch(Opening opening) except -1:
    if opening.head.api_version >= FIRST_WITH_GROUPS:
        return open_groups(opening, FETCH_RULE)
    cdef Mark* topics = find_top(opening, F_TOPICS)
    cdef int array = <int>(topics - opening.marks.items)
    cdef list edits = []
    cdef list refused = []
    if not group_allowed(opening, OPERATION_DESCRIBE, find_top(opening, F_GROUP_ID)):
        if opening.treatment == WAIT:
            return 0
        if opening.head.api_version >= FIRST_TOP_LEVEL_ERROR:
            return answer_values(opening, {"error_code": GROUP_AUTHORIZATION_FAILED})
        refused = refuse_every_topic(opening, array, FETCH_RULE, GROUP_AUTHORIZATION_FAILED)
        return answer_values(opening, {"topics": refused})
    if topics.value < 0:
        opening.memo = ALL_TOPICS
        return 0
    cdef int kept = refuse_topics(opening, array, FETCH_RULE, edits, refused)
    if opening.treatment == WAIT or not refused:
        return 0
    if kept == 0:
        return answer_values(opening, {"topics": refused})
    opening.memo = refused
    return apply_edits(opening, edits)


cdef int open_groups(Opening opening, TopicRule rule) except -1:
    """The memo: (refused groups' items, {group: [what its answers need, in the order asked]})."""
    cdef Marks marks = opening.marks
    cdef Mark* groups = find_top(opening, F_GROUPS)
    cdef Mark* item
    cdef int i = <int>(groups - marks.items) + 1, until = groups.until
    cdef list edits = []
    cdef list denied = []
    cdef dict wanted = {}
    while i < until:
        item = &marks.items[i]
        open_group(opening, i, rule, edits, denied, wanted)
        if opening.treatment == WAIT:
            return 0
        i = item.until
    if not denied and not any([treatment is not None for asked in wanted.values() for treatment in asked]):
        return 0
    if not wanted:
        return answer_values(opening, {"groups": denied})
    if denied:
        replace_count(opening, groups, groups.value - len(denied), edits)
    opening.memo = (denied, wanted)
    return apply_edits(opening, edits)


cdef int open_group(Opening opening, int at, TopicRule rule, list edits, list denied, dict wanted) except -1:
    cdef Mark* item = &opening.marks.items[at]
    cdef Mark* group = find(opening, F_GROUP_ID, 1, at + 1, item.until)
    cdef Mark* topics = find(opening, F_TOPICS, 1, at + 1, item.until)
    cdef list refused = []
    if not group_allowed(opening, OPERATION_DESCRIBE, group):
        denied.append({"group_id": span(opening, group), "error_code": GROUP_AUTHORIZATION_FAILED})
        edits.append((item.whole_at, item.whole_length, b""))
        return 0
    if topics.value < 0:
        treatment = ALL_TOPICS
    else:
        refuse_topics(opening, <int>(topics - opening.marks.items), rule, edits, refused)
        treatment = refused or None
    wanted.setdefault(span(opening, group), []).append(treatment)
    return 0


cdef int answer_groups(Opening opening, object memo, list edits) except -1:
    """A broker answers groups by id; one asked for twice is answered twice, in the order asked."""
    cdef Marks marks = opening.marks
    cdef Mark* groups = find_top(opening, F_GROUPS)
    cdef Mark* item
    cdef Mark* topics
    cdef int i = <int>(groups - marks.items) + 1
    denied, wanted = memo
    wanted = {group: list(asked) for group, asked in wanted.items()}
    while i < groups.until:
        item = &marks.items[i]
        asked = wanted.get(span(opening, find(opening, F_GROUP_ID, 1, i + 1, item.until)))
        treatment = asked.pop(0) if asked else ALL_TOPICS
        topics = find(opening, F_TOPICS, 1, i + 1, item.until)
        if treatment == ALL_TOPICS:
            answer_all_topics(opening, topics, edits)
        elif treatment is not None:
            append_items(opening, topics, <int>topics.value, "groups.topics", treatment, edits)
        i = item.until
    return append_items(opening, groups, <int>groups.value, "groups", denied, edits)


cdef int answer_all_topics(Opening opening, Mark* array, list edits) except -1:
    """Leaves out of an answer about all topics of a group those the client may not know of."""
    cdef Marks marks = opening.marks
    cdef Mark* item
    cdef Mark* name
    cdef int i = <int>(array - marks.items) + 1, kept = 0
    while i < array.until:
        item = &marks.items[i]
        name = name_of(opening, i)
        if topic_visible(opening, OPERATION_DESCRIBE, text(opening, name), name.length):
            kept += 1
        else:
            edits.append((item.whole_at, item.whole_length, b""))
        i = item.until
    return replace_count(opening, array, kept, edits)


# ---- FindCoordinator

cdef int open_find_coordinator(Opening opening) except -1:
    cdef Mark* key_type = find_top(opening, F_KEY_TYPE)
    cdef int kind = <int>key_type.value if key_type != NULL else KEY_GROUP
    cdef Gated way = KEYS.get(kind, NO_SUCH_KEYS)
    cdef Mark* key
    cdef int code
    if opening.head.api_version >= FIRST_WITH_KEYS:
        return open_gated(opening, way)
    key = find_top(opening, F_KEY)
    code = way.rule.decide(opening, <int>(key - opening.marks.items), key)
    if code == 0 or opening.treatment == WAIT:
        return 0
    return opening.answer_body(schema.build(FIND_COORDINATOR, opening.head.api_version, True,
                                            no_coordinator(None, code)))


cdef class KeyRule(NameRule):
    cdef dict answer_item(self, Opening opening, int item, Mark* name, int code):
        return no_coordinator(span(opening, name), code)


cdef class ShareKeyRule(KeyRule):
    """The keys of share groups hold names of topics that kproxy does not read: they are for who acts for the
    cluster."""

    cdef int decide(self, Opening opening, int item, Mark* name) except -1:
        return 0 if cluster_allowed(opening, self.operation) else self.code


cdef class UnknownKeyRule(KeyRule):
    cdef int decide(self, Opening opening, int item, Mark* name) except -1:
        return self.code


cdef Gated keys_under(KeyRule rule):
    return Gated((), topics=F_COORDINATOR_KEYS, answered="coordinators", rule=rule)


cdef dict KEYS = {
    KEY_GROUP: keys_under(KeyRule(RESOURCE_GROUP, OPERATION_DESCRIBE, GROUP_AUTHORIZATION_FAILED)),
    KEY_TRANSACTION: keys_under(KeyRule(RESOURCE_TRANSACTIONAL_ID, OPERATION_DESCRIBE,
                                        TRANSACTIONAL_ID_AUTHORIZATION_FAILED)),
    KEY_SHARE: keys_under(ShareKeyRule(RESOURCE_CLUSTER, OPERATION_CLUSTER_ACTION, CLUSTER_AUTHORIZATION_FAILED)),
}
cdef Gated NO_SUCH_KEYS = keys_under(UnknownKeyRule(0, 0, INVALID_REQUEST))


cdef dict no_coordinator(object key, int code):
    answered = {"error_code": code, "error_message": COORDINATOR_TEXT.get(code), "node_id": -1, "host": "", "port": -1}
    if key is not None:
        answered["key"] = key
    return answered


cdef int answer_find_coordinator(Opening opening, object memo, list edits) except -1:
    cdef Marks marks = opening.marks
    cdef int version = opening.head.api_version
    cdef Mark* array
    cdef Mark* item
    cdef int i, code
    if version < FIRST_WITH_KEYS:
        code = show_coordinator(opening, 0, 0, marks.count, edits)
        if code != 0:
            opening.answer_body(schema.build(FIND_COORDINATOR, version, True, no_coordinator(None, code)))
        return 0
    array = find_top(opening, F_COORDINATORS)
    i = <int>(array - marks.items) + 1
    while i < array.until:
        item = &marks.items[i]
        code = show_coordinator(opening, 1, i + 1, item.until, edits)
        if code != 0:
            key = span(opening, find(opening, F_KEY, 1, i + 1, item.until))
            edits.append((item.whole_at, item.whole_length, schema.build_item(
                FIND_COORDINATOR, version, True, "coordinators", no_coordinator(key, code))))
        i = item.until
    return append_items(opening, array, <int>array.value, "coordinators", memo or [], edits)


cdef int show_coordinator(Opening opening, int depth, int first, int until, list edits) except? -1:
    """0, or the error to answer instead: a node without an address on this listener is no coordinator to a client."""
    cdef Mark* node = find(opening, F_NODE_ID, depth, first, until)
    cdef Mark* host = find(opening, F_HOST, depth, first, until)
    cdef Mark* port = find(opening, F_PORT, depth, first, until)
    cdef int error = <int>find(opening, F_ERROR_CODE, depth, first, until).value
    if (error != 0 and host.length <= 0) or rewrite_address(opening, node, host, port, edits):
        return 0
    return error or COORDINATOR_NOT_AVAILABLE
