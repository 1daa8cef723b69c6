# cython: wraparound=True
"""Metadata (key 3, versions 0 to 13).

Named topics need DESCRIBE each; a refused one answers 29 without partitions and is not asked for upstream. A request
for all topics is answered with those the client may describe. Brokers appear only at this listener's addresses. Bit
fields of authorized operations are computed from policy, for the broker's own speak of kproxy's account.

Nothing is created for a client that may not create it. From v4 the request says whether topics may be created, and
that is set to false unless the client may create every topic it names. Below v4 a broker creates whatever is named, so
such a request is asked as "all topics", which creates nothing, and the answer is cut down to what was named; a topic
that is not there answers 3.

From v12 a topic may be named by id. Permission is that on its name; refused, it answers 29 with its id and no name, and
an id that is not there 100. Every answer teaches the names of ids, before anything is hidden from it.
"""
from libc.limits cimport INT_MIN

from kproxy._ext.authorise cimport INVALID_REQUEST, TOPIC_AUTHORIZATION_FAILED, UNKNOWN_TOPIC_OR_PARTITION
from kproxy._ext.authorise cimport UNKNOWN_TOPIC_ID, TopicRule, append_items, apply_edits, cluster_visible, find
from kproxy._ext.authorise cimport find_top, id_of, is_unknown, refuse_topics, replace_number, show_brokers
from kproxy._ext.authorise cimport show_cluster_operations, span, text
from kproxy._ext.authorise cimport topic_operations, topic_visible
from kproxy._ext.fields cimport F_ALLOW_AUTO_TOPIC_CREATION, F_BROKERS, F_NAME, F_NODE_ID
from kproxy._ext.fields cimport F_TOPIC_AUTHORIZED_OPERATIONS, F_TOPIC_ID, F_TOPICS
from kproxy._ext.opening cimport WAIT, Opening
from kproxy._ext.policy_table cimport OPERATION_CREATE, OPERATION_DESCRIBE
from kproxy._ext.request cimport build_count
from kproxy._ext.schema cimport Mark, Marks, is_flexible
from kproxy._ext.topic_ids cimport is_zero
from kproxy._ext.topic_limits cimport is_creation_free

from kproxy._ext import schema

cdef enum:
    METADATA = 3
    FIRST_WITH_NULL = 1         # null asks for all topics; in v0 an empty list does
    FIRST_WITH_FLAG = 4         # allow_auto_topic_creation
    FIRST_WITH_ID = 10          # of topics, in answers

cdef bytes NO_NAME = b"\x00"        # a null string, as versions with ids write it

cdef TopicRule RULE = MetadataRule(OPERATION_DESCRIBE, None, {})


cdef class MetadataRule(TopicRule):
    cdef dict answer_item(self, Opening opening, int item, Mark* name, int code):
        return without_partitions(span(opening, name), code, id_of(opening, name))


cdef dict without_partitions(bytes name, int code, bytes topic_id=None):
    answered = {"error_code": code, "name": name, "is_internal": False, "partitions": []}
    if topic_id is not None:
        answered.update(name=None, topic_id=topic_id)
    return answered


# The memo: (names the answer is cut down to or None, answer items to append). "All topics" is (ALL, []).
cdef object ALL = "all"


cdef int open_request(Opening opening) except -1:
    cdef Mark* topics = find_top(opening, F_TOPICS)
    cdef int version = opening.head.api_version
    cdef int array = <int>(topics - opening.marks.items)
    cdef list edits = []
    cdef list refused = []
    cdef int kept
    if topics.value < 0 or (topics.value == 0 and version < FIRST_WITH_NULL):
        opening.memo = (ALL, [])
        return 0
    if names_nothing(opening, topics):
        return answer_invalid(opening, topics)
    kept = refuse_topics(opening, array, RULE, edits, refused)
    if opening.treatment == WAIT:
        return 0
    if version < FIRST_WITH_FLAG:
        if (kept == 0 and refused and version < FIRST_WITH_NULL) or not may_create_all(opening, topics):
            return ask_for_all(opening, topics, refused)
    else:
        forbid_creation(opening, topics, edits)
    if opening.named:
        drop_names(opening, topics, edits)
    opening.memo = (None, refused) if refused else None
    return apply_edits(opening, edits)


cdef int drop_names(Opening opening, Mark* topics, list edits) except -1:
    """A topic that is named by id was decided by that; a broker does not look at the name beside it, which may be any,
    and does not get it."""
    cdef Marks marks = opening.marks
    cdef Mark* item
    cdef Mark* other
    cdef int i = <int>(topics - marks.items) + 1
    cut = {edit[0] for edit in edits}
    while i < topics.until:
        item = &marks.items[i]
        other = &marks.items[i + 2]         # the id stands first
        if item.whole_at not in cut and marks.items[i + 1].at < 0 and other.length >= 0:
            edits.append((other.whole_at, other.whole_length, NO_NAME))
        i = item.until
    return 0


cdef bint names_nothing(Opening opening, Mark* topics) noexcept:
    """Whether an item says neither name nor id. Versions 10 and 11 have the field of the id and no right use for it; a
    broker that took it would answer for a topic nobody authorised."""
    cdef Marks marks = opening.marks
    cdef Mark* mark
    cdef int i
    for i in range(<int>(topics - marks.items) + 1, topics.until):
        mark = &marks.items[i]
        if mark.field == F_TOPIC_ID and not is_zero(text(opening, mark)):
            return True
        if mark.field == F_NAME and mark.length < 0 and not is_unknown(mark):
            return True
    return False


cdef int answer_invalid(Opening opening, Mark* topics) except -1:
    cdef Marks marks = opening.marks
    cdef int i
    items = []
    for i in range(<int>(topics - marks.items) + 1, topics.until):
        if marks.items[i].field == F_NAME:
            items.append(without_partitions(span(opening, &marks.items[i]), INVALID_REQUEST))
    return opening.answer_body(schema.build(METADATA, opening.head.api_version, True, {"topics": items}))


cdef bint may_create_all(Opening opening, Mark* topics) except -1:
    """Whether every topic named and allowed may be created, as the broker would do it. A hidden right to create is no
    refusal, so nothing is told."""
    cdef Marks marks = opening.marks
    cdef Mark* mark
    cdef int i
    cdef bint granted = cluster_visible(opening, OPERATION_CREATE)
    for i in range(<int>(topics - marks.items) + 1, topics.until):
        mark = &marks.items[i]
        if (mark.field == F_NAME and topic_visible(opening, OPERATION_DESCRIBE, text(opening, mark), mark.length)
                and not ((granted or topic_visible(opening, OPERATION_CREATE, text(opening, mark), mark.length))
                         and is_creation_free(opening, text(opening, mark), mark.length))):
            return False
    return True


cdef int forbid_creation(Opening opening, Mark* topics, list edits) except -1:
    cdef Mark* flag = find_top(opening, F_ALLOW_AUTO_TOPIC_CREATION)
    if flag.value != 0 and not may_create_all(opening, topics):
        edits.append((flag.whole_at, 1, b"\x00"))
    return 0


cdef int ask_for_all(Opening opening, Mark* topics, list refused) except -1:
    cdef Marks marks = opening.marks
    cdef Mark* mark
    cdef int i
    cdef dict wanted = {}
    hidden = {item["name"] for item in refused}
    for i in range(<int>(topics - marks.items) + 1, topics.until):
        mark = &marks.items[i]
        if mark.field == F_NAME and span(opening, mark) not in hidden:
            wanted[span(opening, mark)] = True
    opening.memo = (wanted, refused)
    everything = build_count(-1 if opening.head.api_version >= FIRST_WITH_NULL else 0, False)
    return apply_edits(opening, [(topics.whole_at, topics.whole_length + topics.length, everything)])


cdef int open_response(Opening opening, object memo) except -1:
    cdef list edits = []
    show_brokers(opening, find_top(opening, F_BROKERS), F_NODE_ID, edits)
    show_topics(opening, find_top(opening, F_TOPICS), memo or (None, []), edits)
    show_cluster_operations(opening, edits)
    return apply_edits(opening, edits)


cdef int show_topics(Opening opening, Mark* topics, tuple memo, list edits) except -1:
    """Each answered topic stays, goes, or becomes a refusal; what was refused or is missing is appended."""
    cdef Marks marks = opening.marks
    cdef Mark* item
    cdef Mark* name
    cdef Mark* topic_id = NULL
    cdef int i = <int>(topics - marks.items) + 1, kept = 0
    only, added = memo
    missing = dict(only) if isinstance(only, dict) else {}
    while i < topics.until:
        item = &marks.items[i]
        name = find(opening, F_NAME, 1, i + 1, item.until)
        if opening.head.api_version >= FIRST_WITH_ID:
            topic_id = find(opening, F_TOPIC_ID, 1, i + 1, item.until)
            opening.addresses.topic_ids.learn(text(opening, topic_id), text(opening, name), name.length)
        if missing:
            missing.pop(span(opening, name), None)
        i = item.until
        if name.length < 0:
            edits.append((item.whole_at, item.whole_length, b""))
            added = [*added, not_there(opening, topic_id)]
            continue
        named = only is None or (only != ALL and span(opening, name) in only)
        if not named and only != ALL:
            edits.append((item.whole_at, item.whole_length, b""))
        elif topic_visible(opening, OPERATION_DESCRIBE, text(opening, name), name.length):
            show_operations(opening, item, name, edits)
            kept += 1
        else:
            edits.append((item.whole_at, item.whole_length, b""))
            if named:
                # The policy changed while the broker answered; a topic that was named is never left out in silence.
                added = [*added, without_partitions(span(opening, name), TOPIC_AUTHORIZATION_FAILED,
                                                    asked_id(opening, topic_id))]
    added = [*added, *(without_partitions(absent, UNKNOWN_TOPIC_OR_PARTITION) for absent in missing)]
    return append_items(opening, topics, kept, "topics", added, edits)


cdef bytes asked_id(Opening opening, Mark* topic_id):
    """The id where it was the id that the topic was asked for by."""
    if topic_id == NULL or not opening.named or span(opening, topic_id) not in opening.named:
        return None
    return span(opening, topic_id)


cdef dict not_there(Opening opening, Mark* topic_id):
    """An answer without a name is about an id that no topic has any more."""
    opening.addresses.topic_ids.forget(span(opening, topic_id))
    return without_partitions(None, UNKNOWN_TOPIC_ID, span(opening, topic_id))


cdef int show_operations(Opening opening, Mark* item, Mark* name, list edits) except -1:
    cdef int at = <int>(item - opening.marks.items)
    cdef Mark* asked = find(opening, F_TOPIC_AUTHORIZED_OPERATIONS, 1, at + 1, item.until)
    if asked != NULL and asked.value != INT_MIN:
        replace_number(asked, topic_operations(opening, text(opening, name), name.length), edits)
    return 0
