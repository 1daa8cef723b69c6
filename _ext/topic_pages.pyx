# cython: wraparound=True
"""DescribeTopicPartitions (key 75, version 0): topics and their partitions, page by page (KIP-966).

DESCRIBE on each topic that is named, else 29 with no id; a request that names none is about those that may be described.
A broker counts partitions until a page is full, and says by name where the next begins. If it counted for kproxy's
account, pages would be as short as what is hidden is big, and the name could be a hidden one. So it is always asked for
topics by name, and only for those the client may describe: of "all" kproxy learns the names first.

A page begins where the client's cursor says. The broker is shown the cursor only where it names a topic that is asked for
with it; any other name, hidden or made up, is a place in the order of names and nothing else. As with a broker, a refused
topic stands on every page until a cursor has passed its name, and a topic of "all" that is gone, or that the broker hides
from the client's account there, is left out.
"""
from bisect import bisect_left

from kproxy._ext.authorise cimport INVALID_REQUEST, TOPIC_AUTHORIZATION_FAILED, UNKNOWN_TOPIC_OR_PARTITION
from kproxy._ext.authorise cimport answer_values, append_items, apply_edits, count_refused, find, find_top, name_of
from kproxy._ext.authorise cimport replace_count, replace_number, span, text, topic_allowed, topic_operations, topic_visible
from kproxy._ext.fields cimport F_CURSOR, F_ERROR_CODE, F_NAME, F_NEXT_CURSOR, F_PARTITION_INDEX
from kproxy._ext.fields cimport F_RESPONSE_PARTITION_LIMIT, F_TOPIC_AUTHORIZED_OPERATIONS, F_TOPIC_ID, F_TOPIC_NAME
from kproxy._ext.fields cimport F_TOPICS
from kproxy._ext.opening cimport CLOSE, WAIT, Opening
from kproxy._ext.policy_table cimport OPERATION_DESCRIBE
from kproxy._ext.request cimport build_string
from kproxy._ext.schema cimport Mark, Marks

from kproxy._ext import schema
from kproxy.errors import CloseCause

cdef enum:
    DESCRIBE_TOPIC_PARTITIONS = 75
    MOST_TOPICS = 2000          # of "all" that a broker is asked for at once; its own limit of partitions, which each has

cdef bytes ALL = bytes(16)      # in place of an id: the names of all topics
cdef bytes NULL_STRUCT = b"\xff"


# What is kept for the answer.
cdef class Page:
    cdef object names           # sorted: all topics there are, or those that were asked for by name
    cdef bint is_all
    cdef Py_ssize_t end         # in ``names``, behind the last that the broker was asked for
    cdef list refused           # names, sorted


cdef int open_request(Opening opening) except -1:
    cdef Marks marks = opening.marks
    cdef Mark* topics = find_top(opening, F_TOPICS)
    cdef Mark* cursor = find_top(opening, F_CURSOR)
    cdef int at = <int>(cursor - marks.items) + 1
    cdef bytes first = b""
    if cursor.value >= 0:
        first = span(opening, find(opening, F_TOPIC_NAME, 1, at, cursor.until))
        if (find(opening, F_PARTITION_INDEX, 1, at, cursor.until).value < 0
                or (topics.value > 0 and first not in named(opening, topics))):
            return refuse_cursor(opening, topics)
    return open_named(opening, topics, cursor, first) if topics.value > 0 else open_all(opening, topics, cursor, first)


cdef list named(Opening opening, Mark* topics):
    cdef Marks marks = opening.marks
    cdef int i = <int>(topics - marks.items) + 1
    cdef list names = []
    while i < topics.until:
        names.append(span(opening, name_of(opening, i)))
        i = marks.items[i].until
    return names


cdef int refuse_cursor(Opening opening, Mark* topics) except -1:
    """As a broker does, before it looks at any topic."""
    count_refused(opening, topics.value)
    return answer_values(opening, {"topics": [without_partitions(name, INVALID_REQUEST)
                                              for name in named(opening, topics)]})


cdef dict without_partitions(bytes name, int code):
    return {"error_code": code, "name": name, "partitions": []}


cdef int open_named(Opening opening, Mark* topics, Mark* cursor, bytes first) except -1:
    cdef Marks marks = opening.marks
    cdef Mark* item
    cdef Mark* name
    cdef int i = <int>(topics - marks.items) + 1, kept = 0
    cdef list edits = []
    cdef set allowed = set(), refused = set()
    cdef bytes called
    cdef Page page = Page()
    while i < topics.until:
        item = &marks.items[i]
        name = name_of(opening, i)
        called = span(opening, name)
        if called >= first and called not in refused:
            if called in allowed or topic_allowed(opening, OPERATION_DESCRIBE, text(opening, name), name.length):
                allowed.add(called)
            else:
                count_refused(opening, 1)
                refused.add(called)
            if opening.treatment == WAIT:
                return 0
        if called in allowed:
            kept += 1
        else:
            edits.append((item.whole_at, item.whole_length, b""))
        i = item.until
    page.names, page.end, page.refused = sorted(allowed), len(allowed), sorted(refused)
    if kept == 0:
        return answer_values(opening, {"topics": [without_partitions(one, TOPIC_AUTHORIZATION_FAILED)
                                                  for one in page.refused]})
    replace_count(opening, topics, kept, edits)
    if first not in allowed:
        drop_cursor(cursor, edits)
    opening.memo = page
    return apply_edits(opening, edits)


cdef int open_all(Opening opening, Mark* topics, Mark* cursor, bytes first) except -1:
    cdef Page page = Page()
    cdef list edits = []
    cdef list asked = []
    cdef Py_ssize_t at, most = min(max(find_top(opening, F_RESPONSE_PARTITION_LIMIT).value, 1), MOST_TOPICS)
    if not opening.looked_up:
        opening.want(ALL)
        opening.treatment = WAIT
        return 0
    page.names = opening.addresses.topic_ids.everything
    if page.names is None:
        # The answer has no place for an error of its own, and an empty one would be a lie.
        opening.treatment = CLOSE
        opening.cause = CloseCause.BROKER_UNREACHABLE
        return 0
    at = find_visible(opening, page.names, bisect_left(page.names, first))
    while at < len(page.names) and len(asked) < most:
        asked.append(page.names[at])
        at = find_visible(opening, page.names, at + 1)
    if not asked:
        return answer_values(opening, {"topics": []})
    page.is_all, page.end, page.refused = True, at, []
    replace_count(opening, topics, len(asked), edits)
    edits.append((topics.at + topics.length, 0, b"".join(
        [schema.build_item(DESCRIBE_TOPIC_PARTITIONS, opening.head.api_version, False, "topics", {"name": name})
         for name in asked])))
    if asked[0] != first:
        drop_cursor(cursor, edits)
    opening.memo = page
    return apply_edits(opening, edits)


cdef Py_ssize_t find_visible(Opening opening, object names, Py_ssize_t at) except -1:
    """Where the first name from ``at`` on stands that may be described; behind the last if there is none."""
    cdef bytes name
    while at < len(names):
        name = names[at]
        if topic_visible(opening, OPERATION_DESCRIBE, <const unsigned char*>name, len(name)):
            break
        at += 1
    return at


cdef int drop_cursor(Mark* cursor, list edits) except -1:
    if cursor.value >= 0:
        edits.append((cursor.whole_at, cursor.whole_length + cursor.length, NULL_STRUCT))
    return 0


cdef int open_response(Opening opening, object memo) except -1:
    cdef Page page = memo
    cdef Mark* topics = find_top(opening, F_TOPICS)
    cdef list edits = []
    cdef list refused = []
    cdef int kept = show_topics(opening, topics, page.is_all, edits, refused)
    show_cursor(opening, page, edits)
    append_items(opening, topics, kept, "topics",
                 [without_partitions(name, TOPIC_AUTHORIZATION_FAILED) for name in (*page.refused, *refused)], edits)
    return apply_edits(opening, edits)


cdef int show_topics(Opening opening, Mark* topics, bint is_all, list edits, list refused) except -1:
    """How many stay. Policy may have changed while the broker answered; a topic that was named is never left out in
    silence."""
    cdef Marks marks = opening.marks
    cdef Mark* item
    cdef Mark* name
    cdef int i = <int>(topics - marks.items) + 1, kept = 0, until, error
    while i < topics.until:
        item = &marks.items[i]
        until = item.until
        name = find(opening, F_NAME, 1, i + 1, until)
        error = <int>find(opening, F_ERROR_CODE, 1, i + 1, until).value
        opening.addresses.topic_ids.learn(text(opening, find(opening, F_TOPIC_ID, 1, i + 1, until)),
                                          text(opening, name), name.length)
        if is_all and error in (UNKNOWN_TOPIC_OR_PARTITION, TOPIC_AUTHORIZATION_FAILED):
            edits.append((item.whole_at, item.whole_length, b""))
        elif not topic_visible(opening, OPERATION_DESCRIBE, text(opening, name), name.length):
            edits.append((item.whole_at, item.whole_length, b""))
            if not is_all and name.length >= 0:
                refused.append(span(opening, name))
        else:
            replace_number(find(opening, F_TOPIC_AUTHORIZED_OPERATIONS, 1, i + 1, until),
                           topic_operations(opening, text(opening, name), name.length), edits)
            kept += 1
        i = until
    return kept


cdef int show_cursor(Opening opening, Page page, list edits) except -1:
    """The next page begins with a topic that may be seen. Where the broker has answered all it was asked for, that is
    the first it was not asked for."""
    cdef Mark* cursor = find_top(opening, F_NEXT_CURSOR)
    cdef int at = <int>(cursor - opening.marks.items) + 1
    cdef bytes said = None
    cdef bytes following = None
    cdef Py_ssize_t place = page.end
    if cursor.value >= 0:
        said = span(opening, find(opening, F_TOPIC_NAME, 1, at, cursor.until))
        place = bisect_left(page.names, said)
    place = find_visible(opening, page.names, place)
    if place < len(page.names):
        following = page.names[place]
    if following != said:
        edits.append((cursor.whole_at, cursor.whole_length + (cursor.length if cursor.value >= 0 else 0),
                      NULL_STRUCT if following is None
                      else b"\x01" + build_string(following, True) + bytes(4) + b"\x00"))
    return 0
