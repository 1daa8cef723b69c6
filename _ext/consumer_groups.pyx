# cython: wraparound=True
"""Groups whose members a broker assigns: those of consumers (KIP-848), and share groups (KIP-932).

    68 ConsumerGroupHeartbeat 0-1   READ on the group, else 30; then DESCRIBE on every topic it subscribes to by name, else
                                    29, for the whole heartbeat. A pattern would be matched by the broker, which knows
                                    kproxy's account only: it is refused (128) unless it is empty
    69 ConsumerGroupDescribe 0-1    DESCRIBE on each group, else 30. A group with a topic that may not be described is
                                    shown as 29 and nothing more; a pattern of its members is not shown
    76 ShareGroupHeartbeat 1        as 68, without a pattern
    77 ShareGroupDescribe 1         as 69

An assignment names topics by id, which is no secret: what may be read of them is decided when it is fetched.
"""
from libc.limits cimport INT_MIN

from kproxy._ext.authorise cimport GROUP_AUTHORIZATION_FAILED, READ_GROUP, TOPIC_AUTHORIZATION_FAILED, Gated, NameRule
from kproxy._ext.authorise cimport add_refused, answer_values, apply_edits, find, find_top, group_operations, open_gated
from kproxy._ext.authorise cimport replace_number, span, text, topic_allowed, topic_visible
from kproxy._ext.fields cimport F_AUTHORIZED_OPERATIONS, F_GROUP_ID, F_GROUP_IDS, F_GROUPS, F_SUBSCRIBED_TOPIC_NAMES
from kproxy._ext.fields cimport F_SUBSCRIBED_TOPIC_REGEX, F_TOPIC_NAME
from kproxy._ext.opening cimport WAIT, Opening
from kproxy._ext.policy_table cimport OPERATION_DESCRIBE, RESOURCE_GROUP
from kproxy._ext.request cimport build_string
from kproxy._ext.schema cimport STRING, Mark, Marks

from kproxy._ext import schema

cdef enum:
    DESCRIBE = 69
    SHARE_DESCRIBE = 77
    INVALID_REGULAR_EXPRESSION = 128

cdef str NO_PATTERN = "kproxy: a subscription by pattern is not served; name the topics"
# Kafka's own words, which name nobody.
cdef str HIDDEN = "The group has described topic(s) that the client is not authorized to describe."

cdef Gated DESCRIBED = Gated((), topics=F_GROUP_IDS, answered="groups", rule=NameRule(
    RESOURCE_GROUP, OPERATION_DESCRIBE, GROUP_AUTHORIZATION_FAILED))


cdef int open_request(Opening opening) except -1:
    if opening.head.api_key in (DESCRIBE, SHARE_DESCRIBE):
        return open_gated(opening, DESCRIBED)
    return open_heartbeat(opening)


cdef int open_heartbeat(Opening opening) except -1:
    cdef Mark* pattern = find_top(opening, F_SUBSCRIBED_TOPIC_REGEX)
    cdef Mark* mark
    cdef int code = READ_GROUP.decide(opening), i
    for i in range(opening.marks.count):
        if code != 0 or opening.treatment == WAIT:
            break
        mark = &opening.marks.items[i]
        if (mark.field == F_SUBSCRIBED_TOPIC_NAMES and mark.kind == STRING
                and not topic_allowed(opening, OPERATION_DESCRIBE, text(opening, mark), mark.length)):
            code = TOPIC_AUTHORIZATION_FAILED
    if opening.treatment == WAIT:
        return 0
    if code != 0:
        return answer_values(opening, {"error_code": code})
    if pattern != NULL and pattern.length > 0:
        return answer_values(opening, {"error_code": INVALID_REGULAR_EXPRESSION, "error_message": NO_PATTERN})
    return 0


cdef int open_response(Opening opening, object memo) except -1:
    cdef list edits = []
    if opening.head.api_key in (DESCRIBE, SHARE_DESCRIBE):
        show_groups(opening, edits)
        add_refused(opening, F_GROUPS, "groups", memo, edits)
    return apply_edits(opening, edits)


cdef int show_groups(Opening opening, list edits) except -1:
    """Policy may have changed while the broker answered, and what a group reads is known only now."""
    cdef Marks marks = opening.marks
    cdef Mark* groups = find_top(opening, F_GROUPS)
    cdef Mark* item
    cdef Mark* name
    cdef Mark* asked
    cdef int i = <int>(groups - marks.items) + 1
    while i < groups.until:
        item = &marks.items[i]
        name = find(opening, F_GROUP_ID, 1, i + 1, item.until)
        if not opening.visible(RESOURCE_GROUP, OPERATION_DESCRIBE, text(opening, name), name.length):
            replace_group(opening, item, name, GROUP_AUTHORIZATION_FAILED, None, edits)
        elif names_hidden_topic(opening, i):
            replace_group(opening, item, name, TOPIC_AUTHORIZATION_FAILED, HIDDEN, edits)
        else:
            hide_patterns(opening, i, edits)
            asked = find(opening, F_AUTHORIZED_OPERATIONS, 1, i + 1, item.until)
            if asked != NULL and asked.value != INT_MIN:
                replace_number(asked, group_operations(opening, text(opening, name), name.length), edits)
        i = item.until
    return 0


cdef int replace_group(Opening opening, Mark* item, Mark* name, int code, object message, list edits) except -1:
    edits.append((item.whole_at, item.whole_length, schema.build_item(
        opening.head.api_key, opening.head.api_version, True, "groups",
        {"group_id": span(opening, name), "error_code": code, "error_message": message})))
    return 0


cdef bint names_hidden_topic(Opening opening, int group) except -1:
    cdef Mark* mark
    cdef int i
    for i in range(group + 1, opening.marks.items[group].until):
        mark = &opening.marks.items[i]
        if (mark.kind == STRING and mark.field in (F_SUBSCRIBED_TOPIC_NAMES, F_TOPIC_NAME)
                and not topic_visible(opening, OPERATION_DESCRIBE, text(opening, mark), mark.length)):
            return True
    return False


cdef int hide_patterns(Opening opening, int group, list edits) except -1:
    cdef Mark* mark
    cdef int i
    for i in range(group + 1, opening.marks.items[group].until):
        mark = &opening.marks.items[i]
        if mark.field == F_SUBSCRIBED_TOPIC_REGEX and mark.length > 0:
            edits.append((mark.whole_at, mark.whole_length, build_string(None, True)))
    return 0
