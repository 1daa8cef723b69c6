"""Fetch (key 1, versions 4 to 18): a consumer's fetch, sessionless towards the broker.

Fetch sessions are looked up by number alone on a broker, whoever asks, so with one upstream account they would let one
client read on in another's session; and an incremental answer names topics the request did not. So every fetch goes on
with session id 0 and epoch −1 (KIP-227: a full, sessionless fetch), and each answered topic is authorised again, because
policy may have changed while the broker held the request.

From v13 topics are named by id. Permission is that on the name; an id without one answers 100 on its partitions. What
only followers say is cut out: the replica's id, its state, its directory and how far it has read (v15, v17, v18).
"""
from cpython.bytes cimport PyBytes_AS_STRING

from kproxy._ext.authorise cimport TOPIC_AUTHORIZATION_FAILED, UNKNOWN_TOPIC_ID, answer_values, append_items
from kproxy._ext.authorise cimport apply_edits, id_of, is_unknown, name_of, replace_count, span, text, topic_allowed
from kproxy._ext.authorise cimport topic_visible
from kproxy._ext.fields cimport F_ERROR_CODE, F_FORGOTTEN_TOPICS_DATA, F_PARTITION, F_PARTITION_INDEX, F_PARTITIONS, F_RECORDS
from kproxy._ext.fields cimport F_REPLICA_ID, F_RESPONSES, F_SESSION_EPOCH, F_SESSION_ID, F_TOPICS
from kproxy._ext.mask cimport PLAN_REFUSED, PLAN_REPLACED, PLAN_SAME, Plan
from kproxy._ext.opening cimport READ, WAIT, Opening
from kproxy._ext.policy_table cimport OPERATION_READ, RESOURCE_TOPIC, Cell
from kproxy._ext.record_batch cimport BatchSummary, walk_batch_headers
from kproxy._ext.request cimport build_count, build_records_prefix
from kproxy._ext.schema cimport ARRAY, ITEM, TAG, TAGS, Mark, Marks, is_flexible

from kproxy._ext import schema

cdef enum:
    API = 1
    FIRST_WITH_ZSTD = 10        # KIP-110
    FETCH_SESSION_ID_NOT_FOUND = 70
    INCONSISTENT_TOPIC_ID = 103

cdef bytes MINUS_ONE = b"\xff\xff\xff\xff"
cdef bytes ZERO = b"\x00\x00\x00\x00"


cdef int open_request(Opening opening) except -1:
    cdef Marks marks = opening.marks
    cdef Mark* mark
    cdef int i = 0, topics = -1, kept = 0
    cdef list edits = []        # (offset in the body, length, new bytes)
    cdef list refused = []
    while i < marks.count:
        mark = &marks.items[i]
        i += 1
        if mark.field == F_SESSION_ID and mark.value != 0:
            return answer_values(opening, {"error_code": FETCH_SESSION_ID_NOT_FOUND})
        if mark.field in (F_SESSION_EPOCH, F_REPLICA_ID) and mark.depth == 0 and mark.value != -1:
            edits.append((mark.whole_at, 4, MINUS_ONE))
        elif mark.field == F_TOPICS and mark.kind == ARRAY:
            topics = i - 1
        elif mark.field == F_TOPICS and mark.kind == ITEM:
            kept += keep_topic(opening, i - 1, edits, refused)
            i = mark.until
        elif mark.field == F_FORGOTTEN_TOPICS_DATA and mark.kind == ARRAY:
            if mark.value > 0:
                edits.append((mark.whole_at, mark.whole_length + mark.length,
                              build_count(0, is_flexible(API, opening.head.api_version))))
            i = mark.until
        elif mark.kind == TAGS and mark.depth == 0 and mark.value:
            edits.append((mark.whole_at, mark.whole_length, without_replica_tags(opening, i - 1)))
            i = mark.until
    if opening.treatment == WAIT:
        return 0
    if refused and kept == 0:
        return answer_values(opening, {"responses": refused})
    if refused:
        replace_count(opening, &marks.items[topics], kept, edits)
        opening.memo = refused
    return apply_edits(opening, edits)


cdef bint keep_topic(Opening opening, int item, list edits, list refused) except -1:
    cdef Mark* mark = &opening.marks.items[item]
    cdef Mark* name = name_of(opening, item)
    cdef int code = UNKNOWN_TOPIC_ID
    if not is_unknown(name):
        if topic_allowed(opening, OPERATION_READ, text(opening, name), name.length):
            cut_partition_tags(opening, item, edits)
            return True
        code = TOPIC_AUTHORIZATION_FAILED
    refused.append(refusal_of(opening, item, code))
    edits.append((mark.whole_at, mark.whole_length, b""))
    return False


cdef int cut_partition_tags(Opening opening, int item, list edits) except -1:
    cdef Mark* mark
    cdef int i
    for i in range(item + 1, opening.marks.items[item].until):
        mark = &opening.marks.items[i]
        if mark.kind == TAGS and mark.value:
            edits.append((mark.whole_at, mark.whole_length, without_replica_tags(opening, i)))
    return 0


cdef dict refusal_of(Opening opening, int item, int code):
    """The answer's item for a refused topic: every partition asked for answers the code without records."""
    cdef Marks marks = opening.marks
    cdef Mark* name = name_of(opening, item)
    cdef int i
    partitions = []
    for i in range(item + 1, marks.items[item].until):
        if marks.items[i].field in (F_PARTITION, F_PARTITION_INDEX):
            partitions.append(empty_partition(<int>marks.items[i].value, code))
    if id_of(opening, name) is not None:
        return {"topic_id": id_of(opening, name), "partitions": partitions}
    return {"topic": span(opening, name), "partitions": partitions}


cdef dict empty_partition(int index, int error):
    return {"partition_index": index, "error_code": error, "high_watermark": -1, "last_stable_offset": -1,
            "log_start_offset": -1, "aborted_transactions": [], "preferred_read_replica": -1, "records": b""}


cdef bytes without_replica_tags(Opening opening, int section):
    """The tag section without what makes a fetch a follower's: cluster id 0 and replica state 1 of a request, replica
    directory 0 and high watermark 1 of a partition. Tags that are not ours to know stay, byte for byte."""
    cdef Marks marks = opening.marks
    cdef int i
    kept = []
    for i in range(section + 1, marks.items[section].until):
        if marks.items[i].kind == TAG and marks.items[i].value > 1:
            kept.append((opening.data + opening.body + marks.items[i].whole_at)[:marks.items[i].whole_length])
    return build_count(len(kept) - 1, True) + b"".join(kept)    # a tag count is not off by one as an array's is


cdef int open_response(Opening opening, object memo) except -1:
    cdef Marks marks = opening.marks
    cdef Mark* mark
    cdef Mark* responses = NULL
    cdef int i = 0
    cdef list edits = []
    while i < marks.count:
        mark = &marks.items[i]
        i += 1
        if mark.field == F_SESSION_ID and mark.value != 0:
            edits.append((mark.whole_at, 4, ZERO))
        elif mark.field == F_RESPONSES and mark.kind == ARRAY:
            responses = mark
        elif mark.field == F_RESPONSES and mark.kind == ITEM:
            open_topic(opening, i - 1, edits)
            i = mark.until
        elif mark.kind == TAGS and mark.depth == 0 and mark.value > 0 and marks.items[i].value == 0:
            edits.append((mark.whole_at, mark.whole_length, show_endpoints(opening, mark)))
            i = mark.until
    if memo is not None:
        append_items(opening, responses, <int>responses.value, "responses", memo, edits)
    return apply_edits(opening, edits)


cdef bytes show_endpoints(Opening opening, Mark* tags):
    """The tag section with the leaders' addresses here. It is read as that of an answer that has nothing else, because
    the answer itself may be large."""
    version = opening.head.api_version
    nothing = schema.build(API, version, True, {})
    before = nothing[:len(nothing) - 1]     # An empty section is one byte.
    answer = schema.parse(API, version, True,
                          before + (opening.data + opening.body + tags.whole_at)[:tags.whole_length])
    answer["node_endpoints"] = opening.addresses.show(answer["node_endpoints"])
    return schema.build(API, version, True, answer)[len(before):]


cdef int open_topic(Opening opening, int item, list edits) except -1:
    """One answered topic: authorised again, its records noted, and transformed where a plan says so."""
    cdef Marks marks = opening.marks
    cdef Mark* mark = &marks.items[item]
    cdef Mark* name = name_of(opening, item)
    cdef Mark* partition = NULL
    cdef int i, index = -1
    # Most topics are allowed, and that leaves no trace. One that is not has changed since the request was allowed: told.
    if is_unknown(name):
        return replace_topic(opening, item, UNKNOWN_TOPIC_ID, edits)
    if not topic_visible(opening, OPERATION_READ, text(opening, name), name.length):
        topic_allowed(opening, OPERATION_READ, text(opening, name), name.length)
        return replace_topic(opening, item, TOPIC_AUTHORIZATION_FAILED, edits)
    cdef Cell* cell = opening.table.look_up(RESOURCE_TOPIC, OPERATION_READ, text(opening, name), name.length,
                                            opening.now)
    for i in range(item + 1, mark.until):
        if marks.items[i].field == F_PARTITIONS and marks.items[i].kind == ITEM:
            partition = &marks.items[i]
        elif marks.items[i].field == F_PARTITION_INDEX:
            index = <int>marks.items[i].value
        elif marks.items[i].field == F_ERROR_CODE:
            if marks.items[i].value in (UNKNOWN_TOPIC_ID, INCONSISTENT_TOPIC_ID) and name.at < 0:
                opening.addresses.topic_ids.forget(id_of(opening, name))
        elif marks.items[i].field == F_RECORDS and marks.items[i].length > 0 and partition != NULL:
            open_records(opening, cell, name, partition, &marks.items[i], index, edits)
    return 0


cdef int replace_topic(Opening opening, int item, int code, list edits) except -1:
    cdef Mark* mark = &opening.marks.items[item]
    edits.append((mark.whole_at, mark.whole_length,
                  schema.build_item(API, opening.head.api_version, True, "responses", refusal_of(opening, item, code))))
    return 0


cdef int open_records(Opening opening, Cell* cell, Mark* name, Mark* partition, Mark* records, int index,
                      list edits) except -1:
    cdef BatchSummary given
    if give_records(opening, cell, name, records, index, opening.head.api_version >= FIRST_WITH_ZSTD, &given,
                    edits) == PLAN_REFUSED:
        edits.append((partition.whole_at, partition.whole_length,
                      schema.build_item(API, opening.head.api_version, True, "responses.partitions",
                                        empty_partition(index, (<Plan>cell.plan).error_code))))
    return 0


cdef int give_records(Opening opening, Cell* cell, Mark* name, Mark* records, int index, bint zstd,
                      BatchSummary* given, list edits) except -1:
    cdef const unsigned char* data = text(opening, records)
    cdef Py_ssize_t length = records.length
    cdef Plan plan
    cdef int outcome = PLAN_SAME
    if cell.plan != NULL:
        plan = <Plan>cell.plan
        outcome = opening.transform(plan, data, records.length, zstd)
        if outcome == PLAN_REFUSED:
            # What is refused begins with its batch, whose base offset comes first.
            opening.refused_records.append((span(opening, name), index, plan.message, dict(plan.record_rules),
                                            int.from_bytes(data[:8], "big", signed=True) if records.length >= 8 else -1))
            return outcome
        if outcome == PLAN_REPLACED:
            edits.append((records.whole_at, records.whole_length,
                          build_records_prefix(len(plan.out), is_flexible(
                              opening.head.api_key, opening.head.api_version)) + plan.out))
            # Noted is what is given out, which may end before a batch that is refused. The plan keeps its bytes.
            data = <const unsigned char*>PyBytes_AS_STRING(plan.out)
            length = len(plan.out)
    if walk_batch_headers(data, length, given) == 0 and given.batches:
        opening.note(READ, text(opening, name), name.length, index, given.first_offset, given.last_offset,
                     given.records, length, 0)
    return outcome
