# cython: wraparound=True
"""Records of share groups (KIP-932), whose topics are named by id.

    78 ShareFetch 1-2           READ on the group, else 30; then READ on each topic, else 29 on its partitions; 100 for an id
                                that no topic has; all of it again with the answer
    79 ShareAcknowledge 1-2     the same, with the request

Records are inspected and changed as a fetch's are. A client takes an acquired offset without a record for a gap and
says so, and a broker never gives a gap to anybody again; so what is withheld is not told as acquired either: its lock
ends, and it is delivered again, as often as the group's limit says. Brokers that an answer names are shown at their
addresses here.

A request is always sent on, even with nothing left in it: broker and client count the requests of a session.
"""
from libc.stdint cimport int64_t

from kproxy._ext.authorise cimport GROUP_AUTHORIZATION_FAILED, READ_GROUP, TOPIC_AUTHORIZATION_FAILED, UNKNOWN_TOPIC_ID
from kproxy._ext.authorise cimport TopicRule, add_refused, answer_values, apply_edits, count_refused, find, find_top, id_of
from kproxy._ext.authorise cimport is_unknown, name_of, refuse_topics, replace_count, show_brokers, span, text
from kproxy._ext.authorise cimport topic_allowed, topic_visible
from kproxy._ext.fetch cimport give_records
from kproxy._ext.fields cimport F_ACKNOWLEDGE_ERROR_CODE, F_ACKNOWLEDGEMENT_BATCHES, F_ACQUIRED_RECORDS, F_ERROR_CODE
from kproxy._ext.fields cimport F_FIRST_OFFSET, F_FORGOTTEN_TOPICS_DATA, F_GROUP_ID, F_LAST_OFFSET, F_MEMBER_ID
from kproxy._ext.fields cimport F_NODE_ENDPOINTS, F_NODE_ID, F_PARTITION_INDEX, F_PARTITIONS, F_RECORDS, F_RESPONSES
from kproxy._ext.fields cimport F_SHARE_SESSION_EPOCH, F_TOPIC_ID, F_TOPICS
from kproxy._ext.mask cimport PLAN_REFUSED, PLAN_REPLACED, Plan
from kproxy._ext.opening cimport WAIT, Opening
from kproxy._ext.policy_table cimport OPERATION_READ, RESOURCE_GROUP, RESOURCE_TOPIC, Cell
from kproxy._ext.record_batch cimport BatchSummary
from kproxy._ext.schema cimport ARRAY, ITEM, Mark, Marks
from kproxy._ext.wire cimport load_i32

from kproxy._ext import schema
from kproxy.errors import RefusalTooLongError

cdef enum:
    FETCH = 78
    INCONSISTENT_TOPIC_ID = 103
    FIRST_EPOCH = 0             # opens a session, in the place of one there is
    LAST_EPOCH = -1             # closes it
    MOST_SESSIONS = 16          # of one connection whose topics are remembered; a client has one
    MOST_PARTITIONS = 1 << 16   # in the sessions of one connection

cdef TopicRule ACKNOWLEDGED = TopicRule(OPERATION_READ, "partitions", {})


cdef class SharedTopic:
    def __init__(self, bytes name):
        self.name = name
        self.partitions = set()


cdef class ShareSession:
    def __init__(self):
        self.topics = {}

    cdef SharedTopic put(self, bytes topic_id, bytes name, object partitions):
        cdef SharedTopic topic = self.topics.get(topic_id)
        if topic is None:
            topic = self.topics[topic_id] = SharedTopic(name)
            self.size += 1
        self.size -= len(topic.partitions)
        topic.partitions.update(partitions)
        self.size += len(topic.partitions)
        if self.size > MOST_PARTITIONS:
            raise RefusalTooLongError(f"a share session with more than {MOST_PARTITIONS} partitions")
        return topic

    cdef int drop(self, bytes topic_id, list partitions) except -1:
        cdef SharedTopic topic = self.topics.get(topic_id)
        if topic is not None:
            self.size -= len(topic.partitions)
            topic.partitions.difference_update(partitions)
            self.size += len(topic.partitions)
            if not topic.partitions:
                del self.topics[topic_id]
                self.size -= 1
        return 0


cdef int open_request(Opening opening) except -1:
    cdef int code = READ_GROUP.decide(opening)
    cdef int epoch = <int>find_top(opening, F_SHARE_SESSION_EPOCH).value
    if opening.treatment == WAIT:
        return 0
    if code != 0:
        return answer_values(opening, {"error_code": GROUP_AUTHORIZATION_FAILED})
    if opening.head.api_key == FETCH and epoch != LAST_EPOCH:
        return open_fetch(opening, epoch)
    return open_acknowledgements(opening, epoch)


cdef tuple session_key(Opening opening):
    return span(opening, find_top(opening, F_GROUP_ID)), span(opening, find_top(opening, F_MEMBER_ID))


cdef int open_acknowledgements(Opening opening, int epoch) except -1:
    """Of a ShareAcknowledge, and of the ShareFetch that closes a session: it fetches nothing."""
    cdef list edits = []
    cdef list refused = []
    cdef int array = <int>(find_top(opening, F_TOPICS) - opening.marks.items)
    if opening.head.api_key == FETCH:
        put_items(opening, array, cut_topics(opening, array, decide_topics(opening, array, None), edits, refused), [],
                  "topics", edits)
    else:
        refuse_topics(opening, array, ACKNOWLEDGED, edits, refused)
    if opening.treatment == WAIT:
        return 0
    if epoch == LAST_EPOCH and opening.share_sessions is not None:
        opening.share_sessions.pop(session_key(opening), None)
    keep_for_answer(opening, refused)
    return apply_edits(opening, edits)


cdef int keep_for_answer(Opening opening, list refused) except -1:
    opening.memo = (span(opening, find_top(opening, F_GROUP_ID)), refused)
    return 0


# ---- ShareFetch, the request

cdef int open_fetch(Opening opening, int epoch) except -1:
    cdef Marks marks = opening.marks
    cdef tuple key = session_key(opening)
    cdef int array = <int>(find_top(opening, F_TOPICS) - marks.items)
    cdef int forgotten = <int>(find_top(opening, F_FORGOTTEN_TOPICS_DATA) - marks.items)
    cdef ShareSession session = None
    cdef list edits = []
    cdef list refused = []
    if epoch != FIRST_EPOCH and opening.share_sessions is not None:
        session = opening.share_sessions.get(key)
    if session is None:
        session = ShareSession()
    cdef dict codes = decide_topics(opening, array, session)
    if opening.treatment == WAIT:
        return 0        # Nothing has been remembered: the frame will be opened again.
    cdef int cut = cut_topics(opening, array, codes, edits, refused)
    take_named(opening, array, session, codes, edits)
    drop_forgotten(opening, forgotten, session)
    cdef list added = []
    cdef list removed = []
    bring_in_line(opening, session, codes, added, removed, refused)
    put_items(opening, array, cut, added, "topics", edits)
    put_items(opening, forgotten, 0, removed, "forgotten_topics_data", edits)
    remember(opening, key, session)
    keep_for_answer(opening, refused)
    return apply_edits(opening, edits)


cdef dict decide_topics(Opening opening, int array, ShareSession session):
    """Id -> 0 or the error code, of the topics that are named and of those the session has."""
    cdef Mark* name
    cdef SharedTopic topic
    cdef int i = array + 1
    cdef dict codes = {}
    while i < opening.marks.items[array].until:
        name = name_of(opening, i)
        codes[id_of(opening, name)] = UNKNOWN_TOPIC_ID if is_unknown(name) else 0 if topic_allowed(
            opening, OPERATION_READ, text(opening, name), name.length) else TOPIC_AUTHORIZATION_FAILED
        i = opening.marks.items[i].until
    if session is not None:
        for topic_id, topic in session.topics.items():
            if topic_id not in codes:
                codes[topic_id] = decide_again(opening, topic_id, topic)
    return codes


cdef int decide_again(Opening opening, bytes topic_id, SharedTopic topic) except -1:
    if topic.name is None:
        topic.name = opening.addresses.topic_ids.find(topic_id)
        if topic.name is None:
            return UNKNOWN_TOPIC_ID
    if topic_visible(opening, OPERATION_READ, topic.name, len(topic.name)):
        return 0
    if topic.held:
        # It has changed since it was allowed: told.
        topic_allowed(opening, OPERATION_READ, topic.name, len(topic.name))
    return TOPIC_AUTHORIZATION_FAILED


cdef int cut_topics(Opening opening, int array, dict codes, list edits, list refused) except -1:
    """How many items were taken out."""
    cdef Mark* item
    cdef int i = array + 1, cut = 0, code
    while i < opening.marks.items[array].until:
        item = &opening.marks.items[i]
        topic_id = id_of(opening, name_of(opening, i))
        code = codes[topic_id]
        if code != 0:
            refused.append({"topic_id": topic_id, "partitions": refused_partitions(opening, i, code)})
            edits.append((item.whole_at, item.whole_length, b""))
            cut += 1
        i = item.until
    return cut


cdef list refused_partitions(Opening opening, int item, int code):
    """The answer's partitions. What was to be acknowledged on them was not."""
    cdef Mark* mark
    cdef int i
    cdef list partitions = []
    for i in range(item + 1, opening.marks.items[item].until):
        mark = &opening.marks.items[i]
        if mark.field == F_PARTITION_INDEX:
            count_refused(opening, 1)
            partitions.append({"partition_index": <int>mark.value, "error_code": code, "records": b""})
        elif mark.field == F_ACKNOWLEDGEMENT_BATCHES and mark.kind == ARRAY and mark.value > 0:
            partitions[len(partitions) - 1]["acknowledge_error_code"] = code
    return partitions


cdef list indexes_of(Opening opening, int item):
    cdef int i
    return [<int>opening.marks.items[i].value for i in range(item + 1, opening.marks.items[item].until)
            if opening.marks.items[i].field == F_PARTITION_INDEX]


cdef int take_named(Opening opening, int array, ShareSession session, dict codes, list edits) except -1:
    """What the request names is in the session from here on."""
    cdef Mark* name
    cdef SharedTopic topic
    cdef int i = array + 1
    cdef list indexes
    while i < opening.marks.items[array].until:
        name = name_of(opening, i)
        topic_id = id_of(opening, name)
        indexes = indexes_of(opening, i)
        topic = session.put(topic_id, None if is_unknown(name) else span(opening, name), indexes)
        if codes[topic_id] == 0 and not topic.held:
            # Others of its partitions were refused before, and the client will not name them again.
            put_items(opening, <int>(find(opening, F_PARTITIONS, 1, i + 1, opening.marks.items[i].until)
                                     - opening.marks.items), 0,
                      [{"partition_index": index} for index in sorted(topic.partitions.difference(indexes))],
                      "topics.partitions", edits)
            topic.held = True
        i = opening.marks.items[i].until
    return 0


cdef int drop_forgotten(Opening opening, int array, ShareSession session) except -1:
    """What a broker never had in its session it may be told to forget all the same."""
    cdef Mark* partitions
    cdef Mark* topic_id
    cdef const unsigned char* body = opening.data + opening.body
    cdef int i = array + 1, n
    while i < opening.marks.items[array].until:
        topic_id = find(opening, F_TOPIC_ID, 1, i + 1, opening.marks.items[i].until)
        partitions = find(opening, F_PARTITIONS, 1, i + 1, opening.marks.items[i].until)
        session.drop((body + topic_id.at)[:16],
                     [load_i32(body + partitions.at + 4 * n) for n in range(partitions.length // 4)])
        i = opening.marks.items[i].until
    return 0


cdef int bring_in_line(Opening opening, ShareSession session, dict codes, list added, list removed,
                       list refused) except -1:
    """What the broker's session has too little or too much by the policy of now; what it may not have is answered."""
    cdef SharedTopic topic
    cdef int code
    cdef dict answered = {one["topic_id"]: one for one in refused}
    for topic_id, topic in session.topics.items():
        code = codes[topic_id]
        if code == 0:
            opening.named[topic_id] = topic.name
            if not topic.held:
                added.append({"topic_id": topic_id, "partitions": [
                    {"partition_index": index} for index in sorted(topic.partitions)]})
                topic.held = True
            continue
        if topic.held:
            removed.append({"topic_id": topic_id, "partitions": sorted(topic.partitions)})
            topic.held = False
        if topic_id not in answered:
            answered[topic_id] = {"topic_id": topic_id, "partitions": []}
            refused.append(answered[topic_id])
        told = {one["partition_index"] for one in answered[topic_id]["partitions"]}
        count_refused(opening, len(topic.partitions))
        answered[topic_id]["partitions"] += [{"partition_index": index, "error_code": code, "records": b""}
                                             for index in sorted(topic.partitions.difference(told))]
    return 0


cdef int put_items(Opening opening, int array, int cut, list items, str path, list edits) except -1:
    """At the end of a request's array, of which ``cut`` items were taken out."""
    cdef Mark* mark = &opening.marks.items[array]
    replace_count(opening, mark, mark.value - cut + len(items), edits)
    if items:
        edits.append((mark.at + mark.length, 0, b"".join([schema.build_item(
            FETCH, opening.head.api_version, False, path, item) for item in items])))
    return 0


cdef int remember(Opening opening, tuple key, ShareSession session) except -1:
    """Forgetting a session lets nothing out: what a broker answers of it is authorised by its names."""
    cdef ShareSession one
    cdef int size = session.size, kept = 1
    if opening.share_sessions is None:
        opening.share_sessions = {}
    opening.share_sessions.pop(key, None)
    for other in list(opening.share_sessions)[::-1]:    # the latest first
        one = opening.share_sessions[other]
        size += one.size
        kept += 1
        if size > MOST_PARTITIONS or kept > MOST_SESSIONS:
            del opening.share_sessions[other]
    opening.share_sessions[key] = session
    return 0


# ---- the answers

cdef int open_response(Opening opening, object memo) except -1:
    cdef Marks marks = opening.marks
    cdef Mark* responses = find_top(opening, F_RESPONSES)
    cdef list edits = []
    cdef bytes group
    cdef int i = <int>(responses - marks.items) + 1
    group, refused = memo
    if opening.head.api_key == FETCH:
        if not opening.visible(RESOURCE_GROUP, OPERATION_READ, group, len(group)):
            # Lost while the broker held the fetch. What it has acquired for the client it gives to another in time.
            opening.allowed(RESOURCE_GROUP, OPERATION_READ, group, len(group))
            return answer_values(opening, {"error_code": GROUP_AUTHORIZATION_FAILED})
        while i < responses.until:
            open_topic(opening, i, edits)
            i = marks.items[i].until
    show_brokers(opening, find_top(opening, F_NODE_ENDPOINTS), F_NODE_ID, edits)
    add_refused(opening, F_RESPONSES, "responses", refused, edits)
    return apply_edits(opening, edits)


cdef int open_topic(Opening opening, int item, list edits) except -1:
    """One answered topic: authorised again, because policy may have changed while the broker held the fetch."""
    cdef Marks marks = opening.marks
    cdef Mark* name = name_of(opening, item)
    cdef int i = item + 1, code = UNKNOWN_TOPIC_ID
    cdef Cell* cell = NULL
    if not is_unknown(name):
        code = TOPIC_AUTHORIZATION_FAILED
        if topic_visible(opening, OPERATION_READ, text(opening, name), name.length):
            code = 0
            cell = opening.table.look_up(RESOURCE_TOPIC, OPERATION_READ, text(opening, name), name.length, opening.now)
        else:
            topic_allowed(opening, OPERATION_READ, text(opening, name), name.length)
    while i < marks.items[item].until:
        if marks.items[i].field == F_PARTITIONS and marks.items[i].kind == ITEM:
            if code != 0:
                refuse_partition(opening, i, code, edits)
            else:
                open_partition(opening, i, name, cell, edits)
            i = marks.items[i].until
        else:
            i += 1
    return 0


cdef int open_partition(Opening opening, int item, Mark* name, Cell* cell, list edits) except -1:
    cdef int until = opening.marks.items[item].until, outcome
    cdef Mark* records = find(opening, F_RECORDS, 2, item + 1, until)
    cdef BatchSummary given
    if find(opening, F_ERROR_CODE, 2, item + 1, until).value in (UNKNOWN_TOPIC_ID, INCONSISTENT_TOPIC_ID):
        opening.addresses.topic_ids.forget(id_of(opening, name))
    if records.length <= 0:
        return 0
    outcome = give_records(opening, cell, name, records,
                           <int>find(opening, F_PARTITION_INDEX, 2, item + 1, until).value, True, &given, edits)
    if outcome == PLAN_REFUSED:
        return refuse_partition(opening, item, (<Plan>cell.plan).error_code, edits)
    if outcome == PLAN_REPLACED:
        withhold_acquired(opening, find(opening, F_ACQUIRED_RECORDS, 2, item + 1, until), given.last_offset, edits)
    return 0


cdef int refuse_partition(Opening opening, int item, int code, list edits) except -1:
    """What the broker made of the acknowledgements stays."""
    cdef Mark* mark = &opening.marks.items[item]
    edits.append((mark.whole_at, mark.whole_length, schema.build_item(
        FETCH, opening.head.api_version, True, "responses.partitions", {
            "partition_index": find(opening, F_PARTITION_INDEX, 2, item + 1, mark.until).value, "error_code": code,
            "acknowledge_error_code": find(opening, F_ACKNOWLEDGE_ERROR_CODE, 2, item + 1, mark.until).value,
            "records": b""})))
    return 0


cdef int withhold_acquired(Opening opening, Mark* acquired, int64_t last, list edits) except -1:
    """Nothing beyond the last offset that is given out has been acquired, as far as the client knows."""
    cdef Marks marks = opening.marks
    cdef Mark* end
    cdef int i = <int>(acquired - marks.items) + 1, kept = 0
    while i < acquired.until:
        end = find(opening, F_LAST_OFFSET, 3, i + 1, marks.items[i].until)
        if find(opening, F_FIRST_OFFSET, 3, i + 1, marks.items[i].until).value > last:
            edits.append((marks.items[i].whole_at, marks.items[i].whole_length, b""))
        else:
            kept += 1
            if end.value > last:
                edits.append((end.whole_at, 8, int(last).to_bytes(8, "big")))
        i = marks.items[i].until
    return replace_count(opening, acquired, kept, edits)
