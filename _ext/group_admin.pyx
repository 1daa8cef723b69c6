# cython: wraparound=True
"""Groups as an administrator sees them.

    15 DescribeGroups 0-6      DESCRIBE on each group, else 30. The operations a client may do are those of our policy
    16 ListGroups 0-5          DESCRIBE on the cluster or on each group; the rest is left out of the answer
    42 DeleteGroups 0-3        DELETE on each group, else 30
    47 OffsetDelete 0          DELETE on the group, else 30; then READ on each topic, else 29
    91 AlterShareGroupOffsets 0     READ on the group, else 30; then READ on each topic, else 29
    92 DeleteShareGroupOffsets 0    DELETE on the group, else 30; then READ on each topic, else 29

A described member's subscription and assignment are bytes of the clients' own making. A broker shows them as they are; here
the topics of a consumer group that may not be described are left out. A member's host is the one Kafka sees:
kproxy's, or the client's where brokers are told it (PROXY protocol).
"""
from libc.limits cimport INT_MIN

from kproxy._ext.authorise cimport GROUP_AUTHORIZATION_FAILED, POLICY_VIOLATION, READ_GROUP, Gate
from kproxy._ext.authorise cimport Gated, NameRule, TopicRule, add_refused, apply_edits, find, find_top
from kproxy._ext.authorise cimport group_operations, open_gated, replace_number, span, text
from kproxy._ext.fields cimport F_AUTHORIZED_OPERATIONS, F_GROUP_ID, F_GROUPS, F_GROUPS_NAMES, F_MEMBER_ASSIGNMENT
from kproxy._ext.fields cimport F_MEMBER_METADATA, F_PROTOCOL_TYPE, F_RESPONSES, F_RESULTS, F_TOPICS
from kproxy._ext.lists cimport hide_names
from kproxy._ext.opening cimport Opening
from kproxy._ext.policy_table cimport EFFECT_ALLOW, EFFECT_ASK, OPERATION_DELETE, OPERATION_DESCRIBE, OPERATION_READ
from kproxy._ext.policy_table cimport RESOURCE_GROUP, Cell
from kproxy._ext.request cimport build_count
from kproxy._ext.schema cimport Mark, Marks, is_flexible
from kproxy._ext.subscriptions cimport show_assignment, show_subscription

from kproxy._ext import schema

cdef enum:
    DESCRIBE_GROUPS = 15
    LIST_GROUPS = 16
    DELETE_GROUPS = 42
    OFFSET_DELETE = 47
    ALTER_SHARE_OFFSETS = 91
    DELETE_SHARE_OFFSETS = 92

cdef Gated DESCRIBE = Gated((), topics=F_GROUPS, answered="groups", rule=GroupRule(
    RESOURCE_GROUP, OPERATION_DESCRIBE, GROUP_AUTHORIZATION_FAILED, 6))
cdef Gated DELETE = Gated((), topics=F_GROUPS_NAMES, answered="results", rule=GroupRule(
    RESOURCE_GROUP, OPERATION_DELETE, GROUP_AUTHORIZATION_FAILED, 3))
cdef Gate DELETE_GROUP = Gate(RESOURCE_GROUP, OPERATION_DELETE, F_GROUP_ID, GROUP_AUTHORIZATION_FAILED)
cdef dict WAYS = {
    DESCRIBE_GROUPS: DESCRIBE,
    DELETE_GROUPS: DELETE,
    OFFSET_DELETE: Gated((DELETE_GROUP,), refusal={}, topics=F_TOPICS, rule=TopicRule(OPERATION_READ, "partitions", {})),
    ALTER_SHARE_OFFSETS: Gated((READ_GROUP,), refusal={}, topics=F_TOPICS, answered="responses", rule=TopicRule(
        OPERATION_READ, "partitions", {}, "topic_name")),
    DELETE_SHARE_OFFSETS: Gated((DELETE_GROUP,), refusal={}, topics=F_TOPICS, answered="responses", rule=TopicRule(
        OPERATION_READ, None, {}, "topic_name")),
}


cdef int open_request(Opening opening) except -1:
    cdef int api = opening.head.api_key
    if api == LIST_GROUPS:
        return 0
    return open_gated(opening, WAYS[api])


cdef int open_response(Opening opening, object memo) except -1:
    cdef int api = opening.head.api_key
    cdef list edits = []
    if api == LIST_GROUPS:
        hide_names(opening, F_GROUPS, F_GROUP_ID, RESOURCE_GROUP, OPERATION_DESCRIBE, OPERATION_DESCRIBE, edits)
    elif api == DESCRIBE_GROUPS:
        show_groups(opening, edits)
        add_refused(opening, F_GROUPS, "groups", memo, edits)
    elif api == DELETE_GROUPS:
        add_refused(opening, F_RESULTS, "results", memo, edits)
    elif api == OFFSET_DELETE:
        add_refused(opening, F_TOPICS, "topics", memo, edits)
    else:
        add_refused(opening, F_RESPONSES, "responses", memo, edits)
    return apply_edits(opening, edits)


cdef class GroupRule(NameRule):
    """From one version on the answer has room for a text."""
    cdef int first_with_text

    def __init__(self, int resource, int operation, int code, int first_with_text):
        super().__init__(resource, operation, code)
        self.first_with_text = first_with_text

    cdef int decide(self, Opening opening, int item, Mark* name) except -1:
        cdef Cell* cell = opening.decide(self.resource, self.operation, text(opening, name), name.length)
        if cell.effect == EFFECT_ALLOW:
            return 0
        return POLICY_VIOLATION if cell.effect == EFFECT_ASK and opening.head.api_version >= self.first_with_text \
            else self.code

    cdef dict answer_item(self, Opening opening, int item, Mark* name, int code):
        cdef dict answered = NameRule.answer_item(self, opening, item, name, code)
        if opening.head.api_version >= self.first_with_text:
            answered["error_message"] = opening.refusal_text(opening.table.look_up(
                self.resource, self.operation, text(opening, name), name.length, opening.now))
        return answered


cdef int show_groups(Opening opening, list edits) except -1:
    """A broker tells what the account of kproxy may do; the client learns what it may do itself. A group that may not
    be described now is refused, whatever the request was let through for."""
    cdef Marks marks = opening.marks
    cdef Mark* groups = find_top(opening, F_GROUPS)
    cdef Mark* item
    cdef Mark* name
    cdef Mark* asked
    cdef int i = <int>(groups - marks.items) + 1
    while i < groups.until:
        item = &marks.items[i]
        name = find(opening, F_GROUP_ID, 1, i + 1, item.until)
        asked = find(opening, F_AUTHORIZED_OPERATIONS, 1, i + 1, item.until)
        if not opening.visible(RESOURCE_GROUP, OPERATION_DESCRIBE, text(opening, name), name.length):
            edits.append((item.whole_at, item.whole_length, schema.build_item(
                DESCRIBE_GROUPS, opening.head.api_version, True, "groups",
                DESCRIBE.rule.answer_item(opening, i, name, GROUP_AUTHORIZATION_FAILED))))
        else:
            if asked != NULL and asked.value != INT_MIN:
                replace_number(asked, group_operations(opening, text(opening, name), name.length), edits)
            show_members(opening, i, edits)
        i = item.until
    return 0


cdef int show_members(Opening opening, int group, list edits) except -1:
    """Members of a group of another kind, Connect's for one, name no topics."""
    cdef Marks marks = opening.marks
    cdef Mark* mark
    cdef int i
    cdef bytes seen
    if span(opening, find(opening, F_PROTOCOL_TYPE, 1, group + 1, marks.items[group].until)) != b"consumer":
        return 0
    for i in range(group + 1, marks.items[group].until):
        mark = &marks.items[i]
        if mark.field == F_MEMBER_METADATA:
            seen = show_subscription(opening, span(opening, mark))
        elif mark.field == F_MEMBER_ASSIGNMENT:
            seen = show_assignment(opening, span(opening, mark))
        else:
            continue
        if seen is not None:
            edits.append((mark.whole_at, mark.whole_length, build_count(
                len(seen), is_flexible(DESCRIBE_GROUPS, opening.head.api_version)) + seen))
    return 0
