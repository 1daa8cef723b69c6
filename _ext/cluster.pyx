# cython: wraparound=True
"""What is asked of a cluster as a whole. Each needs one permission on it, else 31; its answers show no address, no path, and
of topics and groups that nobody named those that may be described. A topic that is named needs no more, but a rule that
speaks of it comes first.

    35 DescribeLogDirs 1-5                 DESCRIBE, else a topic is left out; directories are numbered, not named
    43 ElectLeaders 0-2                    ALTER, else 29 on a topic's partitions
    45 AlterPartitionReassignments 0-1     ALTER, else 29 on a topic's partitions
    46 ListPartitionReassignments 0        DESCRIBE, else a topic is left out
    48 DescribeClientQuotas 0-1            DESCRIBE_CONFIGS
    49 AlterClientQuotas 0-1               ALTER_CONFIGS, else 31 on each entry
    55 DescribeQuorum 0-2                  DESCRIBE, else 29 on a topic's partitions; controllers are shown without their listeners
    74 ListConfigResources 0-1             DESCRIBE_CONFIGS
"""
from kproxy._ext.authorise cimport CLUSTER_AUTHORIZATION_FAILED, TOPIC_AUTHORIZATION_FAILED, Gated, TopicRule, add_refused
from kproxy._ext.authorise cimport answer_values, apply_edits, cluster_allowed, covered_by_cluster, find, find_top
from kproxy._ext.authorise cimport open_gated, replace_count, text, topic_visible
from kproxy._ext.fields cimport F_CONFIG_RESOURCES, F_LISTENERS, F_LOG_DIR, F_NAME, F_REPLICA_ELECTION_RESULTS
from kproxy._ext.fields cimport F_RESOURCE_NAME, F_RESOURCE_TYPE, F_RESPONSES, F_RESULTS, F_TOPIC, F_TOPIC_PARTITIONS
from kproxy._ext.fields cimport F_TOPICS
from kproxy._ext.lists cimport hide_topics
from kproxy._ext.mirrors cimport mirrored
from kproxy._ext.opening cimport WAIT, Opening
from kproxy._ext.policy_table cimport OPERATION_ALTER, OPERATION_ALTER_CONFIGS, OPERATION_DESCRIBE
from kproxy._ext.policy_table cimport OPERATION_DESCRIBE_CONFIGS, RESOURCE_GROUP, RESOURCE_TOPIC
from kproxy._ext.request cimport build_string
from kproxy._ext.schema cimport Mark, Marks, is_flexible

from kproxy._ext import schema
from kproxy.errors import RefusalTooLongError

cdef enum:
    DESCRIBE_LOG_DIRS = 35
    ELECT_LEADERS = 43
    ALTER_REASSIGNMENTS = 45
    LIST_REASSIGNMENTS = 46
    DESCRIBE_QUOTAS = 48
    ALTER_QUOTAS = 49
    DESCRIBE_QUORUM = 55
    LIST_CONFIG_RESOURCES = 74
    # Kafka's types of resources that have configs.
    CONFIGS_TOPIC = 2
    CONFIGS_GROUP = 32
    LONGEST = 1 << 20           # bytes of a request whose refusal names everything in it


cdef class NamedRule(TopicRule):
    """The cluster's permission is enough, save where a rule of its own forbids the topic or asks for people."""

    cdef int decide(self, Opening opening, int item, Mark* name) except -1:
        if covered_by_cluster(opening, self.operation, RESOURCE_TOPIC, self.operation, text(opening, name),
                              name.length):
            return 0
        return 0 if opening.allowed(RESOURCE_TOPIC, self.operation, text(opening, name), name.length) \
            else TOPIC_AUTHORIZATION_FAILED


cdef class UnansweredRule(NamedRule):
    """For answers in which a topic has no error code: one that is refused is not in them."""

    cdef list gather(self, list refused):
        return []


cdef class ClusterWay:
    cdef int operation
    cdef dict refusal           # what the answer holds besides its code
    cdef tuple mirror           # of the items that have one too, or None
    cdef Gated named            # the topics that a request names, which may be null for "all of them"; None: none
    cdef int answered           # field of the answer's array of them

    def __init__(self, int operation, dict refusal, tuple mirror=None, Gated named=None, int answered=0):
        self.operation = operation
        self.refusal = refusal
        self.mirror = mirror
        self.named = named
        self.answered = answered


cdef dict WAYS = {
    DESCRIBE_LOG_DIRS: ClusterWay(OPERATION_DESCRIBE, {}, named=Gated((), topics=F_TOPICS, rule=UnansweredRule(
        OPERATION_DESCRIBE, None, {}))),
    ELECT_LEADERS: ClusterWay(OPERATION_ALTER, {}, (
        "replica_election_results", "topic_partitions", {"topic": "topic"},
        ("partition_result", "partitions", {"partition_id": ""}, None)), Gated(
        (), topics=F_TOPIC_PARTITIONS, answered="replica_election_results", rule=NamedRule(
            OPERATION_ALTER, "partition_result", {}, "topic", "partition_id")), F_REPLICA_ELECTION_RESULTS),
    ALTER_REASSIGNMENTS: ClusterWay(OPERATION_ALTER, {}, (
        "responses", "topics", {"name": "name"},
        ("partitions", "partitions", {"partition_index": "partition_index"}, None)), Gated(
        (), topics=F_TOPICS, answered="responses", rule=NamedRule(OPERATION_ALTER, "partitions", {})), F_RESPONSES),
    LIST_REASSIGNMENTS: ClusterWay(OPERATION_DESCRIBE, {}, named=Gated((), topics=F_TOPICS, rule=UnansweredRule(
        OPERATION_DESCRIBE, None, {}))),
    DESCRIBE_QUOTAS: ClusterWay(OPERATION_DESCRIBE_CONFIGS, {"entries": None}),
    ALTER_QUOTAS: ClusterWay(OPERATION_ALTER_CONFIGS, {}, ("entries", "entries", {"entity": "entity"}, None)),
    DESCRIBE_QUORUM: ClusterWay(OPERATION_DESCRIBE, {}, named=Gated((), topics=F_TOPICS, rule=NamedRule(
        OPERATION_DESCRIBE, "partitions", {}, "topic_name")), answered=F_TOPICS),
    LIST_CONFIG_RESOURCES: ClusterWay(OPERATION_DESCRIBE_CONFIGS, {}),
}


cdef int open_request(Opening opening) except -1:
    cdef ClusterWay way = WAYS[opening.head.api_key]
    cdef bint allowed = cluster_allowed(opening, way.operation)
    if opening.treatment == WAIT:
        return 0
    if not allowed:
        return refuse(opening, way)
    if way.named is None:
        return 0
    if find_top(opening, way.named.topics).value >= 0:
        return open_gated(opening, way.named)
    opening.memo = True     # What was not named is shown by what may be described.
    return 0


cdef int refuse(Opening opening, ClusterWay way) except -1:
    cdef int api = opening.head.api_key
    values = {**way.refusal, "error_code": CLUSTER_AUTHORIZATION_FAILED}
    if api == ALTER_QUOTAS:
        del values["error_code"]
    if way.mirror is not None:
        if opening.length > LONGEST:
            raise RefusalTooLongError("more than a mebibyte of what is refused")
        asked = schema.parse(api, opening.head.api_version, False, opening.data[opening.body:opening.length])
        values[way.mirror[0]] = mirrored(asked, way.mirror, CLUSTER_AUTHORIZATION_FAILED)
    return answer_values(opening, values)


cdef int open_response(Opening opening, object memo) except -1:
    cdef int api = opening.head.api_key
    cdef ClusterWay way = WAYS[api]
    cdef bint all_topics = memo is True
    cdef list edits = []
    if api == DESCRIBE_LOG_DIRS:
        show_directories(opening, all_topics, edits)
    elif api == DESCRIBE_QUORUM:
        hide_listeners(opening, edits)
    elif api == LIST_CONFIG_RESOURCES:
        hide_resources(opening, edits)
    elif api == ELECT_LEADERS and all_topics:
        hide_topics(opening, find_top(opening, F_REPLICA_ELECTION_RESULTS), F_TOPIC, edits)
    elif api == LIST_REASSIGNMENTS and all_topics:
        hide_topics(opening, find_top(opening, F_TOPICS), F_NAME, edits)
    if memo is not None and not all_topics:
        add_refused(opening, way.answered, way.named.answered, memo, edits)
    return apply_edits(opening, edits)


cdef int show_directories(Opening opening, bint all_topics, list edits) except -1:
    """A path on a broker's disk is nobody's business here; which of its disks are full is."""
    cdef Marks marks = opening.marks
    cdef Mark* results = find_top(opening, F_RESULTS)
    cdef Mark* path
    cdef int i = <int>(results - marks.items) + 1, number = 1
    cdef bint flexible = is_flexible(opening.head.api_key, opening.head.api_version)
    while i < results.until:
        path = find(opening, F_LOG_DIR, 1, i + 1, marks.items[i].until)
        edits.append((path.whole_at, path.whole_length, build_string(f"disk-{number}", flexible)))
        if all_topics:
            hide_topics(opening, find(opening, F_TOPICS, 1, i + 1, marks.items[i].until), F_NAME, edits)
        number += 1
        i = marks.items[i].until
    return 0


cdef int hide_listeners(Opening opening, list edits) except -1:
    """No client reaches a controller."""
    cdef Mark* mark
    cdef int i
    for i in range(opening.marks.count):
        mark = &opening.marks.items[i]
        if mark.field == F_LISTENERS and mark.depth == 1 and mark.until > i + 1:
            edits.append((mark.at, mark.length, b""))
            replace_count(opening, mark, 0, edits)
    return 0


cdef int hide_resources(Opening opening, list edits) except -1:
    cdef Marks marks = opening.marks
    cdef Mark* resources = find_top(opening, F_CONFIG_RESOURCES)
    cdef Mark* name
    cdef Mark* kind
    cdef bint shown
    cdef int i = <int>(resources - marks.items) + 1, kept = 0
    while i < resources.until:
        name = find(opening, F_RESOURCE_NAME, 1, i + 1, marks.items[i].until)
        kind = find(opening, F_RESOURCE_TYPE, 1, i + 1, marks.items[i].until)
        shown = True
        if kind != NULL and kind.value == CONFIGS_TOPIC:
            shown = topic_visible(opening, OPERATION_DESCRIBE, text(opening, name), name.length)
        elif kind != NULL and kind.value == CONFIGS_GROUP:
            shown = opening.visible(RESOURCE_GROUP, OPERATION_DESCRIBE, text(opening, name), name.length)
        if shown:
            kept += 1
        else:
            edits.append((marks.items[i].whole_at, marks.items[i].whole_length, b""))
        i = marks.items[i].until
    return replace_count(opening, resources, kept, edits)
