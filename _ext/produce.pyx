"""Produce (key 0, versions 3 to 12).

Request, in the order of the bytes: transactional_id, acks, timeout_ms, topic_data[name, partition_data[index, records]].
A frame in which every topic is allowed and no plan changes a record set goes on as it came. Otherwise the refused
partitions are cut out, changed record sets are replaced, and the refusals wait in ``memo`` for the broker's answer.
"""
from libc.stdint cimport int16_t, int32_t, int64_t
from libc.string cimport memcmp

from kproxy._ext.authorise cimport is_internal, span, text
from kproxy._ext.fields cimport F_ACKS, F_BASE_OFFSET, F_ERROR_CODE, F_INDEX, F_NAME, F_PARTITION_DATA
from kproxy._ext.fields cimport F_PARTITION_RESPONSES, F_RECORDS, F_RESPONSES, F_TOPIC_DATA, F_TRANSACTIONAL_ID
from kproxy._ext.mask cimport PLAN_REFUSED, PLAN_REPLACED, Plan
from kproxy._ext.opening cimport ANSWER, CLOSE, FORWARD, WAIT, NoteRow, Opening
from kproxy._ext.policy_table cimport EFFECT_ALLOW, EFFECT_ASK, Cell
from kproxy._ext.policy_table cimport OPERATION_WRITE, RESOURCE_TOPIC, RESOURCE_TRANSACTIONAL_ID
from kproxy._ext.request cimport build_count, build_records_prefix
from kproxy._ext.schema cimport ARRAY, ITEM, TAG, Mark, Marks, is_flexible
from kproxy._ext.wire cimport load_i16, load_i32

from kproxy._ext import schema
from kproxy.errors import CloseCause

cdef enum:
    API = 0
    FIRST_WITH_ZSTD = 7         # KIP-110
    FIRST_WITH_TEXT = 8         # record_errors and error_message exist from here on (KIP-467)
    TOPIC_AUTHORIZATION_FAILED = 29
    POLICY_VIOLATION = 44
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53
    KAFKA_STORAGE_ERROR = 56
    INTENT = 1                  # kproxy.model.spool
    OUTCOME = 2
    BATCH_HEAD = 61             # bytes of a magic 2 batch before its records
    TRANSACTIONAL_BIT = 0x10
    FEW = 32                    # partitions that are compared each with each


cdef int open_request(Opening opening) except -1:
    cdef Marks marks = opening.marks
    cdef const unsigned char* body = opening.data + opening.body
    cdef Mark* mark
    cdef Mark* transaction = NULL
    cdef Mark* topic = NULL
    cdef Cell* cell = NULL
    cdef int i = 0, acks = -1
    cdef int index = -1
    cdef bint plain = True, transactional = False
    for i in range(marks.count):
        mark = &marks.items[i]
        if mark.field == F_RECORDS:
            if cell == NULL:
                return opening.refuse_malformed()
            if mark.length >= BATCH_HEAD and load_i16(body + mark.at + 21) & TRANSACTIONAL_BIT:
                transactional = True
            note_intent(opening, topic, mark, index)
        elif mark.field == F_INDEX:
            index = <int>mark.value
        elif mark.field == F_NAME:
            if mark.length < 0:
                return opening.refuse_malformed()
            topic = mark
            cell = opening.decide(RESOURCE_TOPIC, OPERATION_WRITE, body + mark.at, mark.length)
            if cell.effect != EFFECT_ALLOW or cell.plan != NULL:
                plain = False
            if cell.effect == EFFECT_ALLOW and is_internal(body + mark.at, mark.length):
                plain = False
                opening.tell_refusal(RESOURCE_TOPIC, OPERATION_WRITE, body + mark.at, mark.length,
                                     "Kafka keeps its own state in this topic")
        elif mark.field == F_TRANSACTIONAL_ID:
            transaction = mark
        elif mark.field == F_ACKS:
            acks = opening.acks = <int>mark.value
    if names_one_twice(opening):
        return opening.refuse_malformed()
    if transactional and not may_use_transaction(opening, transaction):
        plain = False
        if opening.treatment != WAIT:
            # The transactional id is not this client's to use.
            return refuse_everything(opening, acks, TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
    if plain or opening.treatment == WAIT:
        return 0
    return open_with_changes(opening, acks)


cdef bint names_one_twice(Opening opening) except -1:
    """Whether a partition is named twice. Kafka would write one of the two and say nothing of the other, so the audit
    could not say which records the offset it answers belongs to; no client does this."""
    cdef NoteRow* one
    cdef NoteRow* other
    cdef int i, j
    if opening.note_count > FEW:
        return len({(opening.notes[i].topic[:opening.notes[i].topic_length], opening.notes[i].partition)
                    for i in range(opening.note_count)}) < opening.note_count
    for i in range(1, opening.note_count):
        one = &opening.notes[i]
        for j in range(i):
            other = &opening.notes[j]
            if (one.partition == other.partition and one.topic_length == other.topic_length
                    and memcmp(one.topic, other.topic, one.topic_length) == 0):
                return True
    return False


cdef int note_intent(Opening opening, Mark* topic, Mark* records, int index) except -1:
    cdef const unsigned char* body = opening.data + opening.body
    return opening.note(INTENT, body + topic.at, topic.length, index, -1, -1,
                        count_records(body + records.at, records.length), records.length if records.length > 0 else 0, 0)


cdef int count_records(const unsigned char* batch, int length) noexcept:
    """The count a magic 2 batch claims; 0 where the bytes are too few to claim anything."""
    if length < BATCH_HEAD or batch[16] != 2:
        return 0
    cdef int count = load_i32(batch + 57)
    return count if count > 0 else 0


cdef bint may_use_transaction(Opening opening, Mark* transaction) except -1:
    if transaction == NULL or transaction.length < 0:
        opening.tell_refusal(RESOURCE_TRANSACTIONAL_ID, OPERATION_WRITE, b"", 0,
                             "a transactional batch without a transactional id")
        return False
    return opening.allowed(RESOURCE_TRANSACTIONAL_ID, OPERATION_WRITE, opening.data + opening.body + transaction.at,
                           transaction.length)


cdef int refuse_everything(Opening opening, int acks, int code) except -1:
    """Every partition answers ``code``, nothing is forwarded."""
    refused = []
    cdef Marks marks = opening.marks
    cdef int i
    name = b""
    opening.note_count = 0
    opening.records = 0
    for i in range(marks.count):
        if marks.items[i].field == F_NAME:
            name = span(opening, &marks.items[i])
        elif marks.items[i].field == F_INDEX:
            refused.append((name, <int>marks.items[i].value, code, None, []))
    return answer_refusals(opening, refused, acks)


cdef int refuse_unaudited(Opening opening) except -1:
    """The spool takes nothing more, so nothing may be produced: every partition answers 56, which producers retry."""
    cdef int i
    for i in range(opening.marks.count):
        if opening.marks.items[i].field == F_ACKS:
            opening.acks = <int>opening.marks.items[i].value
    refuse_everything(opening, opening.acks, KAFKA_STORAGE_ERROR)
    if opening.treatment == CLOSE:
        opening.cause = CloseCause.AUDIT_UNAVAILABLE
    return 0


cdef int open_with_changes(Opening opening, int acks) except -1:
    """Cuts what is refused, replaces what a plan changes. The frame goes on as it came if neither happened."""
    cdef Marks marks = opening.marks
    cdef Py_ssize_t body = opening.body
    cdef bint flexible = is_flexible(API, opening.head.api_version)
    cdef int i = 0, kept_topics = 0, topics_array = -1
    cdef list edits = []        # (offset, length, replacement), gathered before any is applied: counts come first
    cdef list refused = []
    cdef list within
    opening.note_count = 0          # only what goes on is noted, so the notes are written anew
    opening.records = 0
    while i < marks.count:
        if marks.items[i].field == F_TOPIC_DATA and marks.items[i].kind == ARRAY:
            topics_array = i
        elif marks.items[i].field == F_TOPIC_DATA and marks.items[i].kind == ITEM:
            within = []
            if keep_topic(opening, i, flexible, within, refused):
                kept_topics += 1
                edits.extend(within)
            else:
                edits.append((body + marks.items[i].whole_at, marks.items[i].whole_length, b""))
            i = marks.items[i].until
            continue
        i += 1
    if not edits:
        return 0
    if kept_topics == 0:
        return answer_refusals(opening, refused, acks)
    opening.splice.begin(opening.data, opening.length)
    opening.splice.replace(body + marks.items[topics_array].whole_at, marks.items[topics_array].whole_length,
                           build_count(kept_topics, flexible))
    for at, length, new in edits:
        opening.splice.replace(at, length, new)
    opening.memo = refused or None
    if acks == 0 and refused:
        opening.cause = CloseCause.DENIED_WITHOUT_ANSWER
    return opening.replace_with_splice()


cdef bint keep_topic(Opening opening, int at, bint flexible, list edits, list refused) except -1:
    """Decides one topic item. False: none of its partitions goes on. ``edits`` gets what changes inside it."""
    cdef Marks marks = opening.marks
    cdef Mark* mark
    cdef Mark* name = NULL
    cdef Cell* cell = NULL
    cdef int i = at + 1, partitions = -1, partition_item = -1, kept = 0, total = 0, index = -1
    while i < marks.items[at].until:
        mark = &marks.items[i]
        if mark.field == F_NAME:
            name = mark
            cell = opening.table.look_up(RESOURCE_TOPIC, OPERATION_WRITE, opening.data + opening.body + mark.at,
                                         mark.length, opening.now)
        elif mark.field == F_PARTITION_DATA and mark.kind == ARRAY:
            partitions = i
        elif mark.field == F_PARTITION_DATA and mark.kind == ITEM:
            partition_item = i
            total += 1
        elif mark.field == F_INDEX:
            index = <int>mark.value
        elif mark.field == F_RECORDS:
            if name == NULL or partition_item < 0:
                return opening.refuse_malformed() == 1
            refusal = refuse_or_edit(opening, cell, name, mark, index, flexible, edits)
            if refusal is None:
                kept += 1
                note_intent(opening, name, mark, index)
            else:
                refused.append(refusal)
                edits.append((opening.body + marks.items[partition_item].whole_at,
                              marks.items[partition_item].whole_length, b""))
        i += 1
    if kept and kept < total:
        edits.insert(0, (opening.body + marks.items[partitions].whole_at, marks.items[partitions].whole_length,
                         build_count(kept, flexible)))
    if total == 0 and cell != NULL:
        return cell.effect == EFFECT_ALLOW and not is_internal(text(opening, name), name.length)
    return kept > 0


cdef object refuse_or_edit(Opening opening, Cell* cell, Mark* name, Mark* records, int index, bint flexible, list edits):
    """None when the partition goes on (perhaps with an edit), else its refusal for the answer:
    (topic, partition, error code, message, record errors)."""
    cdef const unsigned char* body = opening.data + opening.body
    cdef Plan plan
    cdef int outcome
    if is_internal(body + name.at, name.length):
        return span(opening, name), index, TOPIC_AUTHORIZATION_FAILED, None, []
    if cell.effect == EFFECT_ASK and opening.head.api_version >= FIRST_WITH_TEXT:
        return span(opening, name), index, POLICY_VIOLATION, opening.refusal_text(cell), []
    if cell.effect != EFFECT_ALLOW:
        return span(opening, name), index, TOPIC_AUTHORIZATION_FAILED, opening.refusal_text(cell), []
    if cell.plan == NULL or records.length < 0:
        return None
    plan = <Plan>cell.plan
    outcome = plan.transform_span(body + records.at, records.length, opening.head.api_version >= FIRST_WITH_ZSTD)
    if outcome == PLAN_REFUSED:
        opening.refused_records.append((span(opening, name), index, plan.message, dict(plan.record_rules)))
        return span(opening, name), index, plan.error_code, plan.message, list(plan.record_errors)
    if outcome == PLAN_REPLACED:
        edits.append((opening.body + records.whole_at, records.whole_length,
                      build_records_prefix(len(plan.out), flexible) + plan.out))
    return None


cdef int answer_refusals(Opening opening, list refused, int acks) except -1:
    if acks == 0:
        opening.treatment = CLOSE
        opening.cause = CloseCause.DENIED_WITHOUT_ANSWER
        return 0
    responses = build_responses(refused, opening.head.api_version)
    return opening.answer_body(schema.build(API, opening.head.api_version, True, {"responses": responses}))


cdef list build_responses(list refused, int version):
    """The answer's items for what kproxy refused, one per topic, in the order of the request."""
    topics = {}
    for name, index, code, message, record_errors in refused:
        item = {"index": index, "error_code": code, "base_offset": -1}
        if version >= FIRST_WITH_TEXT:
            item["error_message"] = message
            item["record_errors"] = [{"batch_index": at, "batch_index_error_message": text}
                                     for at, text in record_errors]
        topics.setdefault(name, []).append(item)
    return [{"name": name, "partition_responses": items} for name, items in topics.items()]


cdef int open_response(Opening opening, object memo) except -1:
    """Notes each partition's outcome; adds what kproxy refused; shows brokers only at this listener's addresses."""
    cdef Marks marks = opening.marks
    cdef const unsigned char* body = opening.data + opening.body
    cdef Mark* mark
    cdef Mark* topic = NULL
    cdef Mark* error = NULL
    cdef int i, index = -1, responses = -1
    cdef bint endpoints = False
    for i in range(marks.count):
        mark = &marks.items[i]
        if mark.field == F_BASE_OFFSET:
            if topic == NULL or error == NULL:
                return opening.refuse_malformed()
            opening.note(OUTCOME, body + topic.at, topic.length, index, mark.value, -1, 0, 0, <int>error.value)
        elif mark.field == F_ERROR_CODE:
            error = mark
        elif mark.field == F_INDEX:
            index = <int>mark.value
        elif mark.field == F_NAME and mark.depth <= 2:
            topic = mark
        elif mark.field == F_RESPONSES and mark.kind == ARRAY:
            responses = i
        elif mark.kind == TAG and mark.depth == 0 and mark.value == 0:
            endpoints = True
    if endpoints:
        return rebuild_with_endpoints(opening, memo)
    if memo is None:
        return 0
    mark = &marks.items[responses]
    added = build_responses(memo, opening.head.api_version)
    opening.splice.begin(opening.data, opening.length)
    opening.splice.replace(opening.body + mark.whole_at, mark.whole_length,
                           build_count(<int>mark.value + len(added), is_flexible(API, opening.head.api_version)))
    opening.splice.insert(opening.body + mark.at + mark.length,
                          b"".join([schema.build_item(API, opening.head.api_version, True, "responses", item)
                                    for item in added]))
    return opening.replace_with_splice()


cdef int rebuild_with_endpoints(Opening opening, object memo) except -1:
    """A leader moved (KIP-951): the answer names brokers. Rare, so the whole answer is rebuilt; a node without an address
    on this listener is left out, which a client must bear, as it is only a hint."""
    version = opening.head.api_version
    answer = schema.parse(API, version, True, (opening.data + opening.body)[:opening.length - opening.body])
    shown = []
    for endpoint in answer.get("node_endpoints", []):
        place = opening.addresses.teach(endpoint["node_id"], endpoint["host"], endpoint["port"])
        if place is not None:
            endpoint["host"], endpoint["port"] = place[0].decode(), place[1]
            shown.append(endpoint)
    answer["node_endpoints"] = shown
    answer["responses"] += build_responses(memo or [], version)
    return opening.answer_body(schema.build(API, version, True, answer))
