"""Fetch (key 1, versions 4 to 12): a consumer's fetch, sessionless towards the broker.

Fetch sessions are looked up by number alone on a broker, whoever asks, so with one upstream account they would let one
client read on in another's session; and an incremental answer names topics the request did not. So every fetch goes on
with session id 0 and epoch −1 (KIP-227: a full, sessionless fetch), and each answered topic is authorised again, because
policy may have changed while the broker held the request.
"""
from libc.stdint cimport int32_t

from kproxy._ext.fields cimport F_ERROR_CODE, F_FORGOTTEN_TOPICS_DATA, F_PARTITION, F_PARTITION_INDEX, F_PARTITIONS
from kproxy._ext.fields cimport F_RECORDS, F_REPLICA_ID, F_RESPONSES, F_SESSION_EPOCH, F_SESSION_ID, F_TOPIC, F_TOPICS
from kproxy._ext.mask cimport PLAN_REFUSED, PLAN_REPLACED, Plan
from kproxy._ext.opening cimport WAIT, Opening
from kproxy._ext.policy_table cimport EFFECT_ALLOW, EFFECT_ASK, OPERATION_READ, RESOURCE_TOPIC, Cell
from kproxy._ext.record_batch cimport BatchSummary, walk_batch_headers
from kproxy._ext.request cimport build_count, build_records_prefix
from kproxy._ext.schema cimport ARRAY, ITEM, TAG, TAGS, Mark, Marks, is_flexible

from kproxy._ext import schema
from kproxy.errors import WireError

cdef enum:
    API = 1
    TOPIC_AUTHORIZATION_FAILED = 29
    FETCH_SESSION_ID_NOT_FOUND = 70
    READ = 3                    # kproxy.model.spool

cdef bytes MINUS_ONE = b"\xff\xff\xff\xff"
cdef bytes ZERO = b"\x00\x00\x00\x00"


cdef int open_request(Opening opening) except -1:
    cdef Marks marks = opening.marks
    cdef Py_ssize_t body = opening.body
    cdef bint flexible = is_flexible(API, opening.head.api_version)
    cdef Mark* mark
    cdef Mark* forgotten = NULL
    cdef Cell* cell
    cdef int i = 0, topics = -1, kept = 0
    cdef list edits = []
    cdef list refused = []
    while i < marks.count:
        mark = &marks.items[i]
        i += 1
        if mark.field == F_SESSION_ID and mark.value != 0:
            return opening.answer_body(schema.build(API, opening.head.api_version, True,
                                                    {"error_code": FETCH_SESSION_ID_NOT_FOUND}))
        if mark.field == F_SESSION_EPOCH and mark.value != -1:
            edits.append((body + mark.whole_at, 4, MINUS_ONE))
        elif mark.field == F_REPLICA_ID and mark.value != -1:
            edits.append((body + mark.whole_at, 4, MINUS_ONE))
        elif mark.field == F_TOPICS and mark.kind == ARRAY:
            topics = i - 1
        elif mark.field == F_TOPICS and mark.kind == ITEM:
            cell = decide_topic(opening, i - 1)
            if cell == NULL:
                return opening.refuse_malformed()
            if cell.effect == EFFECT_ALLOW:
                kept += 1
            else:
                refused.append(refusal_of(opening, i - 1, cell))
                edits.append((body + mark.whole_at, mark.whole_length, b""))
            i = mark.until
        elif mark.field == F_FORGOTTEN_TOPICS_DATA and mark.kind == ARRAY:
            if mark.value > 0:
                edits.append((body + mark.whole_at, mark.whole_length + mark.length, build_count(0, flexible)))
            i = mark.until
        elif mark.kind == TAGS and mark.depth == 0 and mark.value:
            edits.append((body + mark.whole_at, mark.whole_length, without_replica_tags(opening, i - 1)))
            i = mark.until
    if opening.treatment == WAIT:
        return 0
    if refused and kept == 0:
        return opening.answer_body(schema.build(API, opening.head.api_version, True, {"responses": refused}))
    if not edits:
        return 0
    if refused:
        mark = &marks.items[topics]
        edits.append((body + mark.whole_at, mark.whole_length, build_count(kept, flexible)))
        edits.sort(key=offset_of)
        opening.memo = refused
    opening.splice.begin(opening.data, opening.length)
    for at, length, new in edits:
        opening.splice.replace(at, length, new)
    return opening.replace_with_splice()


def offset_of(edit):
    return edit[0]


cdef Cell* decide_topic(Opening opening, int item) except? NULL:
    """The cell of one topic item; NULL where the item has no name."""
    cdef Mark* name = &opening.marks.items[item + 1]
    if item + 1 >= opening.marks.items[item].until or name.field != F_TOPIC or name.length < 0:
        return NULL
    return opening.decide(RESOURCE_TOPIC, OPERATION_READ, opening.data + opening.body + name.at, name.length)


cdef dict refusal_of(Opening opening, int item, Cell* cell):
    """The answer's item for a refused topic: every partition asked for answers 29 without records."""
    cdef Marks marks = opening.marks
    cdef int i
    partitions = []
    for i in range(item + 1, marks.items[item].until):
        if marks.items[i].field in (F_PARTITION, F_PARTITION_INDEX):
            partitions.append(empty_partition(<int>marks.items[i].value, TOPIC_AUTHORIZATION_FAILED))
    return {"topic": topic_name(opening, item), "partitions": partitions}


cdef str topic_name(Opening opening, int item):
    cdef Mark* name = &opening.marks.items[item + 1]
    return (opening.data + opening.body + name.at)[:name.length].decode("utf-8", "replace")


cdef dict empty_partition(int index, int error):
    return {"partition_index": index, "error_code": error, "high_watermark": -1, "last_stable_offset": -1,
            "log_start_offset": -1, "aborted_transactions": None, "preferred_read_replica": -1, "records": b""}


cdef bytes without_replica_tags(Opening opening, int section):
    """The tag section without what makes a fetch a follower's (cluster id 0, replica state 1, and later kin). Tags that
    are not ours to know stay, byte for byte."""
    cdef Marks marks = opening.marks
    cdef int i
    kept = []
    for i in range(section + 1, marks.items[section].until):
        if marks.items[i].kind == TAG and marks.items[i].value > 1:
            kept.append((opening.data + opening.body + marks.items[i].whole_at)[:marks.items[i].whole_length])
    return bytes((len(kept),)) + b"".join(kept)


cdef int open_response(Opening opening, object memo) except -1:
    cdef Marks marks = opening.marks
    cdef Py_ssize_t body = opening.body
    cdef bint flexible = is_flexible(API, opening.head.api_version)
    cdef Mark* mark
    cdef int i = 0, responses = -1
    cdef list edits = []
    while i < marks.count:
        mark = &marks.items[i]
        i += 1
        if mark.field == F_SESSION_ID and mark.value != 0:
            edits.append((body + mark.whole_at, 4, ZERO))
        elif mark.field == F_RESPONSES and mark.kind == ARRAY:
            responses = i - 1
        elif mark.field == F_RESPONSES and mark.kind == ITEM:
            open_topic(opening, i - 1, flexible, edits)
            i = mark.until
    if memo is not None:
        mark = &marks.items[responses]
        items = [schema.build_item(API, opening.head.api_version, True, "responses", item) for item in memo]
        edits.append((body + mark.whole_at, mark.whole_length, build_count(<int>mark.value + len(items), flexible)))
        edits.append((body + mark.at + mark.length, 0, b"".join(items)))
        edits.sort(key=offset_of)
    if not edits:
        return 0
    opening.splice.begin(opening.data, opening.length)
    for at, length, new in edits:
        opening.splice.replace(at, length, new)
    return opening.replace_with_splice()


cdef int open_topic(Opening opening, int item, bint flexible, list edits) except -1:
    """One answered topic: authorised again, its records noted, and transformed where a plan says so."""
    cdef Marks marks = opening.marks
    cdef const unsigned char* body = opening.data + opening.body
    cdef Mark* mark
    cdef Mark* name = &marks.items[item + 1]
    cdef Cell* cell
    cdef int i, index = -1
    if name.field != F_TOPIC or name.length < 0:
        raise WireError("an answered topic has no name")
    # The request was told already; only a change of mind since then is worth a word.
    cell = opening.table.look_up(RESOURCE_TOPIC, OPERATION_READ, body + name.at, name.length, opening.now)
    if cell.effect != EFFECT_ALLOW:
        opening.decide(RESOURCE_TOPIC, OPERATION_READ, body + name.at, name.length)
        edits.append((opening.body + marks.items[item].whole_at, marks.items[item].whole_length,
                      schema.build_item(API, opening.head.api_version, True, "responses",
                                        refusal_of(opening, item, cell))))
        return 0
    cdef int partition = -1
    for i in range(item + 1, marks.items[item].until):
        mark = &marks.items[i]
        if mark.field == F_PARTITIONS and mark.kind == ITEM:
            partition = i
        elif mark.field == F_PARTITION_INDEX:
            index = <int>mark.value
        elif mark.field == F_RECORDS and mark.length > 0:
            open_records(opening, cell, name, &marks.items[partition], mark, index, flexible, edits)
    return 0


cdef int open_records(Opening opening, Cell* cell, Mark* name, Mark* partition, Mark* records, int index, bint flexible,
                      list edits) except -1:
    cdef const unsigned char* body = opening.data + opening.body
    cdef BatchSummary summary
    cdef Plan plan
    cdef int outcome
    if cell.plan != NULL:
        plan = <Plan>cell.plan
        outcome = plan.transform_span(body + records.at, records.length)
        if outcome == PLAN_REFUSED:
            opening.refused_records.append(((body + name.at)[:name.length], index, plan.message,
                                            dict(plan.record_rules)))
            item = schema.build_item(API, opening.head.api_version, True, "responses.partitions",
                                     empty_partition(index, plan.error_code))
            edits.append((opening.body + partition.whole_at, partition.whole_length, item))
            return 0
        if outcome == PLAN_REPLACED:
            edits.append((opening.body + records.whole_at, records.whole_length,
                          build_records_prefix(len(plan.out), flexible) + plan.out))
    if walk_batch_headers(body + records.at, records.length, &summary) == 0 and summary.batches:
        opening.note(READ, body + name.at, name.length, index, summary.first_offset, summary.last_offset,
                     summary.records, records.length, 0)
    return 0
