"""Produce (key 0, versions 3 to 13).

Request, in the order of the bytes: transactional_id, acks, timeout_ms, topic_data[name, partition_data[index, records]].
A frame in which every topic is allowed and no plan changes a record set goes on as it came. Otherwise the refused
partitions are cut out, changed record sets are replaced, and the refusals wait in ``memo`` for the broker's answer.

From v13 topics are named by id. Everything rests on their names all the same; an id without one answers 100.
"""
from libc.string cimport memcmp

from kproxy._ext.batch_limits cimport BATCH_OVERRIDES, BATCH_REFUSED, BatchLimits, begin_measuring
from kproxy._ext.authorise cimport POLICY_VIOLATION, TOPIC_AUTHORIZATION_FAILED, TRANSACTIONAL_ID_AUTHORIZATION_FAILED
from kproxy._ext.authorise cimport UNKNOWN_TOPIC_ID, WRITE_TRANSACTION, add_refused, answer_values, apply_edits, find
from kproxy._ext.authorise cimport find_top, id_of, is_internal, is_unknown, name_of, replace_count, span, text
from kproxy._ext.fields cimport F_ACKS, F_BASE_OFFSET, F_ERROR_CODE, F_INDEX, F_NAME, F_PARTITION_DATA
from kproxy._ext.fields cimport F_RECORDS, F_RESPONSES, F_TOPIC_DATA, F_TOPIC_ID, F_TRANSACTIONAL_ID
from kproxy._ext.mask cimport PLAN_REFUSED, PLAN_REPLACED, Plan
from kproxy._ext.opening cimport CLOSE, INTENT, OUTCOME, WAIT, NoteRow, Opening
from kproxy._ext.policy_table cimport EFFECT_ALLOW, EFFECT_ASK, Cell
from kproxy._ext.policy_table cimport OPERATION_WRITE, RESOURCE_TOPIC, RESOURCE_TRANSACTIONAL_ID
from kproxy._ext.request cimport build_records_prefix
from kproxy._ext.schema cimport TAG, Mark, Marks, is_flexible
from kproxy._ext.wire cimport load_i16, load_i32

from kproxy._ext import schema
from kproxy.errors import CloseCause

cdef enum:
    API = 0
    FIRST_WITH_ZSTD = 7         # KIP-110
    FIRST_WITH_TEXT = 8         # record_errors and error_message exist from here on (KIP-467)
    FIRST_WITH_ID = 13          # KIP-516
    INCONSISTENT_TOPIC_ID = 103
    KAFKA_STORAGE_ERROR = 56
    BATCH_HEAD = 61             # bytes of a magic 2 batch before its records
    TRANSACTIONAL_BIT = 0x10
    ALL_REPLICAS = -1           # acks
    FEW = 32                    # partitions that are compared each with each


cdef int open_request(Opening opening) except -1:
    cdef Marks marks = opening.marks
    cdef const unsigned char* body = opening.data + opening.body
    cdef const unsigned char* name
    cdef Mark* mark
    cdef Mark* topic = NULL
    cdef Cell* cell = NULL
    cdef int i, index = -1
    cdef bint plain = True, transactional = False, measured = False
    for i in range(marks.count):
        mark = &marks.items[i]
        if mark.field == F_RECORDS:
            if topic == NULL:
                return opening.refuse_malformed()
            if mark.length >= BATCH_HEAD and load_i16(body + mark.at + 21) & TRANSACTIONAL_BIT:
                transactional = True
            if topic.length >= 0:
                note_intent(opening, topic, mark, index)
            if plain and cell.safeguards != NULL:
                plain = keeps_limits(opening, cell, mark, &measured)
        elif mark.field == F_INDEX:
            index = <int>mark.value
        elif mark.field == F_NAME:
            topic = mark
            if is_unknown(mark):
                plain = False
                continue
            if mark.length < 0:
                return opening.refuse_malformed()
            name = text(opening, mark)
            cell = opening.decide(RESOURCE_TOPIC, OPERATION_WRITE, name, mark.length)
            if cell.effect != EFFECT_ALLOW or cell.plan != NULL:
                plain = False
            if cell.effect == EFFECT_ALLOW and is_internal(name, mark.length):
                plain = False
                opening.tell_refusal(RESOURCE_TOPIC, OPERATION_WRITE, name, mark.length,
                                     "Kafka keeps its own state in this topic")
        elif mark.field == F_ACKS:
            opening.acks = <int>mark.value
    if names_one_twice(opening):
        return opening.refuse_malformed()
    if transactional and not may_use_transaction(opening):
        plain = False
        if opening.treatment != WAIT:
            return refuse_everything(opening, TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
    if plain or opening.treatment == WAIT:
        return 0
    return open_with_changes(opening)


cdef bint keeps_limits(Opening opening, Cell* cell, Mark* records, bint* measured) except -1:
    if not measured[0]:
        measured[0] = True
        begin_measuring(opening.length)
    return records.length < 0 or not (<BatchLimits?>cell.safeguards).is_broken(
        opening.acks, text(opening, records), records.length)


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
    return opening.note(INTENT, text(opening, topic), topic.length, index, -1, -1,
                        count_records(body + records.at, records.length), records.length if records.length > 0 else 0, 0)


cdef int count_records(const unsigned char* batch, int length) noexcept:
    """The count a magic 2 batch claims; 0 where the bytes are too few to claim anything."""
    if length < BATCH_HEAD or batch[16] != 2:
        return 0
    cdef int count = load_i32(batch + 57)
    return count if count > 0 else 0


cdef bint may_use_transaction(Opening opening) except -1:
    cdef Mark* name = find_top(opening, F_TRANSACTIONAL_ID)
    if name == NULL or name.length < 0:
        opening.tell_refusal(RESOURCE_TRANSACTIONAL_ID, OPERATION_WRITE, b"", 0,
                             "a transactional batch without a transactional id")
    return WRITE_TRANSACTION.decide(opening) == 0


cdef int refuse_everything(Opening opening, int code) except -1:
    """Every partition answers ``code``, nothing is forwarded."""
    refused = []
    cdef Marks marks = opening.marks
    cdef int i
    name = b""
    opening.note_count = 0
    opening.records = 0
    for i in range(marks.count):
        if marks.items[i].field in (F_NAME, F_TOPIC_ID):
            name = key_of(opening, &marks.items[i])
        elif marks.items[i].field == F_INDEX:
            refused.append((name, <int>marks.items[i].value, code, None, []))
    return answer_refusals(opening, refused)


cdef bytes key_of(Opening opening, Mark* name):
    """What an answer calls the topic: its id from v13, whether it was looked at or not."""
    topic_id = id_of(opening, name)
    return span(opening, name) if topic_id is None else topic_id


cdef int refuse_unaudited(Opening opening) except -1:
    """The spool takes nothing more, so nothing may be produced: every partition answers 56, which producers retry."""
    opening.acks = <int>find_top(opening, F_ACKS).value
    refuse_everything(opening, KAFKA_STORAGE_ERROR)
    if opening.treatment == CLOSE:
        opening.cause = CloseCause.AUDIT_UNAVAILABLE
    return 0


cdef int open_with_changes(Opening opening) except -1:
    """Cuts what is refused, replaces what a plan changes. The frame goes on as it came if neither happened."""
    cdef Marks marks = opening.marks
    cdef Mark* topics = find_top(opening, F_TOPIC_DATA)
    cdef Mark* acks = find_top(opening, F_ACKS)
    cdef Mark* topic
    cdef int i = <int>(topics - marks.items) + 1, kept = 0
    cdef list edits = []        # (offset in the body, length, replacement)
    cdef list within
    cdef list refused = []
    opening.note_count = 0          # only what goes on is noted, so the notes are written anew
    opening.records = 0
    begin_measuring(opening.length)
    while i < topics.until:
        topic = &marks.items[i]
        within = []
        if keep_topic(opening, i, within, refused):
            kept += 1
            edits.extend(within)
        else:
            edits.append((topic.whole_at, topic.whole_length, b""))
        i = topic.until
    if edits and kept == 0:
        return answer_refusals(opening, refused)
    if opening.acks != acks.value:
        edits.append((acks.whole_at, 2, b"\xff\xff"))
    if kept < topics.value:
        replace_count(opening, topics, kept, edits)
    opening.memo = refused or None
    if refused and opening.acks == 0:
        opening.cause = CloseCause.DENIED_WITHOUT_ANSWER
    return apply_edits(opening, edits)


cdef bint keep_topic(Opening opening, int item, list edits, list refused) except -1:
    """Decides one topic item. False: none of its partitions goes on. ``edits`` gets what changes inside it."""
    cdef Marks marks = opening.marks
    cdef Mark* topic = &marks.items[item]
    cdef Mark* name = name_of(opening, item)
    cdef Mark* partitions = find(opening, F_PARTITION_DATA, topic.depth + 1, item + 1, topic.until)
    cdef Mark* partition
    cdef Mark* records
    cdef Cell* cell = NULL
    cdef int i = <int>(partitions - marks.items) + 1, kept = 0, index
    if not is_unknown(name):
        cell = opening.table.look_up(RESOURCE_TOPIC, OPERATION_WRITE, text(opening, name), name.length, opening.now)
    if partitions.value <= 0:
        return cell != NULL and cell.effect == EFFECT_ALLOW and not is_internal(text(opening, name), name.length)
    while i < partitions.until:
        partition = &marks.items[i]
        index = <int>find(opening, F_INDEX, partition.depth + 1, i + 1, partition.until).value
        records = find(opening, F_RECORDS, partition.depth + 1, i + 1, partition.until)
        refusal = refuse_or_edit(opening, cell, name, records, index, edits)
        if refusal is None:
            kept += 1
            note_intent(opening, name, records, index)
        else:
            refused.append(refusal)
            edits.append((partition.whole_at, partition.whole_length, b""))
        i = partition.until
    if kept < partitions.value:
        replace_count(opening, partitions, kept, edits)
    return kept > 0


cdef object refuse_or_edit(Opening opening, Cell* cell, Mark* name, Mark* records, int index, list edits):
    """None when the partition goes on (perhaps with an edit), else its refusal for the answer:
    (topic, partition, error code, message, record errors)."""
    cdef Plan plan
    cdef int outcome
    if cell == NULL:
        return key_of(opening, name), index, UNKNOWN_TOPIC_ID, None, []
    if is_internal(text(opening, name), name.length):
        return key_of(opening, name), index, TOPIC_AUTHORIZATION_FAILED, None, []
    if cell.effect == EFFECT_ASK and opening.head.api_version >= FIRST_WITH_TEXT:
        return key_of(opening, name), index, POLICY_VIOLATION, opening.refusal_text(cell), []
    if cell.effect != EFFECT_ALLOW:
        return key_of(opening, name), index, TOPIC_AUTHORIZATION_FAILED, opening.refusal_text(cell), []
    if records.length < 0:
        return None
    if cell.safeguards != NULL:
        refusal = hold_to_limits(opening, cell, name, records, index)
        if refusal is not None:
            return refusal
    if cell.plan == NULL:
        return None
    plan = <Plan>cell.plan
    outcome = opening.transform(plan, text(opening, records), records.length,
                                opening.head.api_version >= FIRST_WITH_ZSTD)
    if outcome == PLAN_REFUSED:
        opening.refused_records.append((span(opening, name), index, plan.message, dict(plan.record_rules), -1))
        return key_of(opening, name), index, plan.error_code, plan.message, list(plan.record_errors)
    if outcome == PLAN_REPLACED:
        edits.append((records.whole_at, records.whole_length,
                      build_records_prefix(len(plan.out), is_flexible(API, opening.head.api_version)) + plan.out))
    return None


cdef object hold_to_limits(Opening opening, Cell* cell, Mark* name, Mark* records, int index):
    """None, or the refusal. The acknowledgements that were asked for count for every topic, also where one has them
    overridden: what one topic is refused may not rest on its neighbours."""
    cdef list told = [], refusal = []
    cdef int judgement = (<BatchLimits?>cell.safeguards).judge(
        <int>find_top(opening, F_ACKS).value, text(opening, records), records.length, told, refusal)
    for safeguard, action, why in told:
        opening.guarded.append((span(opening, name), safeguard, action, why, {"partition": index}))
    if judgement == BATCH_REFUSED:
        code, words = refusal
        return key_of(opening, name), index, code, words, []
    if judgement == BATCH_OVERRIDES:
        opening.acks = ALL_REPLICAS
    return None


cdef int answer_refusals(Opening opening, list refused) except -1:
    if opening.acks == 0:
        opening.treatment = CLOSE
        opening.cause = CloseCause.DENIED_WITHOUT_ANSWER
        return 0
    return answer_values(opening, {"responses": build_responses(refused, opening.head.api_version)})


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
    called = "topic_id" if version >= FIRST_WITH_ID else "name"
    return [{called: name, "partition_responses": items} for name, items in topics.items()]


cdef int open_response(Opening opening, object memo) except -1:
    """Notes each partition's outcome; adds what kproxy refused; shows brokers only at this listener's addresses."""
    cdef Marks marks = opening.marks
    cdef Mark* mark
    cdef Mark* topic = NULL
    cdef Mark* error = NULL
    cdef int i, index = -1
    cdef bint endpoints = False
    for i in range(marks.count):
        mark = &marks.items[i]
        if mark.field == F_BASE_OFFSET:
            if topic == NULL or topic.length < 0 or error == NULL:
                return opening.refuse_malformed()
            opening.note(OUTCOME, text(opening, topic), topic.length, index, mark.value, -1, 0, 0, <int>error.value)
        elif mark.field == F_ERROR_CODE:
            error = mark
            if mark.value in (UNKNOWN_TOPIC_ID, INCONSISTENT_TOPIC_ID) and topic != NULL and topic.at < 0:
                opening.addresses.topic_ids.forget(id_of(opening, topic))
        elif mark.field == F_INDEX:
            index = <int>mark.value
        elif mark.field == F_NAME and mark.depth <= 2:
            topic = mark
        elif mark.kind == TAG and mark.depth == 0 and mark.value == 0:
            endpoints = True
    if endpoints:
        return rebuild_with_endpoints(opening, memo)
    if memo is None:
        return 0
    edits = []
    add_refused(opening, F_RESPONSES, "responses", build_responses(memo, opening.head.api_version), edits)
    return apply_edits(opening, edits)


cdef int rebuild_with_endpoints(Opening opening, object memo) except -1:
    """A leader moved (KIP-951): the answer names brokers. Rare, so the whole answer is rebuilt."""
    version = opening.head.api_version
    answer = schema.parse(API, version, True, (opening.data + opening.body)[:opening.length - opening.body])
    answer["node_endpoints"] = opening.addresses.show(answer["node_endpoints"])
    answer["responses"] += build_responses(memo or [], version)
    return answer_values(opening, answer)
