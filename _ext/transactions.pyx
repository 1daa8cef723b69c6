# cython: wraparound=True
"""Transactions, and what is shown of those under way. The first four need WRITE on the transactional id, else 53. A
transaction of the second kind (KIP-890) adds its partitions by Produce and its group by TxnOffsetCommit, which ask for the
same rights.

    24 AddPartitionsToTxn 0-3  WRITE on each topic, and none of them Kafka's own, else 29 there and 55 on all others:
                               nothing is added. Later versions are brokers' own
    25 AddOffsetsToTxn 0-4     READ on the group, else 30
    26 EndTxn 0-5              nothing else
    28 TxnOffsetCommit 0-6     READ on the group, else 30 on every partition; then READ on each topic, else 29
    61 DescribeProducers 0     READ on each topic, else 29 on its partitions
    65 DescribeTransactions 0  DESCRIBE on each transactional id, else 53; of its topics those are shown that may be described
    66 ListTransactions 0-2    shows those that may be described. A pattern is the broker's to match, and tells no more

A producer id is not checked: a broker knows it by the transactional id, and that is.
"""
from kproxy._ext.authorise cimport OPERATION_NOT_ATTEMPTED, READ_GROUP, TOPIC_AUTHORIZATION_FAILED
from kproxy._ext.authorise cimport TRANSACTIONAL_ID_AUTHORIZATION_FAILED, WRITE_TRANSACTION, Gate, Gated, NameRule
from kproxy._ext.authorise cimport TopicRule, add_refused, apply_edits, find, find_top, is_internal
from kproxy._ext.authorise cimport open_gated, text
from kproxy._ext.fields cimport F_TOPIC, F_TOPICS, F_TRANSACTION_STATES, F_TRANSACTIONAL_ID, F_TRANSACTIONAL_IDS
from kproxy._ext.fields cimport F_V3_AND_BELOW_TOPICS, F_V3_AND_BELOW_TRANSACTIONAL_ID
from kproxy._ext.lists cimport hide_names, hide_topics
from kproxy._ext.opening cimport Opening
from kproxy._ext.policy_table cimport OPERATION_DESCRIBE, OPERATION_READ, OPERATION_WRITE, RESOURCE_TOPIC
from kproxy._ext.policy_table cimport RESOURCE_TRANSACTIONAL_ID
from kproxy._ext.schema cimport Mark, Marks

from kproxy._ext import schema

cdef enum:
    ADD_PARTITIONS = 24
    ADD_OFFSETS = 25
    END = 26
    TXN_OFFSET_COMMIT = 28
    DESCRIBE_PRODUCERS = 61
    DESCRIBE_TRANSACTIONS = 65
    LIST_TRANSACTIONS = 66


cdef class AddRule(TopicRule):
    """A transaction reaches Kafka's own topics through AddOffsetsToTxn alone; nobody writes to them."""

    cdef int decide(self, Opening opening, int item, Mark* name) except -1:
        if not opening.allowed(RESOURCE_TOPIC, OPERATION_WRITE, text(opening, name), name.length):
            return TOPIC_AUTHORIZATION_FAILED
        if is_internal(text(opening, name), name.length):
            opening.tell_refusal(RESOURCE_TOPIC, OPERATION_WRITE, text(opening, name), name.length,
                                 "Kafka keeps its own state in this topic")
            return TOPIC_AUTHORIZATION_FAILED
        return 0


cdef Gate OLD_TRANSACTION = Gate(RESOURCE_TRANSACTIONAL_ID, OPERATION_WRITE, F_V3_AND_BELOW_TRANSACTIONAL_ID,
                                 TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
cdef dict WAYS = {
    ADD_PARTITIONS: Gated(
        (OLD_TRANSACTION,), topics=F_V3_AND_BELOW_TOPICS, answered="results_by_topic_v3_and_below",
        rest_code=OPERATION_NOT_ATTEMPTED,
        rule=AddRule(OPERATION_WRITE, "results_by_partition", {}, code_field="partition_error_code")),
    ADD_OFFSETS: Gated((WRITE_TRANSACTION, READ_GROUP), refusal={}),
    END: Gated((WRITE_TRANSACTION,), refusal={}),
    TXN_OFFSET_COMMIT: Gated((WRITE_TRANSACTION, READ_GROUP), topics=F_TOPICS,
                             rule=TopicRule(OPERATION_READ, "partitions", {})),
    DESCRIBE_PRODUCERS: Gated((), topics=F_TOPICS, rule=TopicRule(OPERATION_READ, "partitions", {})),
    DESCRIBE_TRANSACTIONS: Gated((), topics=F_TRANSACTIONAL_IDS, answered="transaction_states", rule=NameRule(
        RESOURCE_TRANSACTIONAL_ID, OPERATION_DESCRIBE, TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "transactional_id")),
}


cdef int open_request(Opening opening) except -1:
    if opening.head.api_key == LIST_TRANSACTIONS:
        return 0
    return open_gated(opening, WAYS[opening.head.api_key])


cdef int open_response(Opening opening, object memo) except -1:
    cdef list edits = []
    if opening.head.api_key == LIST_TRANSACTIONS:
        hide_names(opening, F_TRANSACTION_STATES, F_TRANSACTIONAL_ID, RESOURCE_TRANSACTIONAL_ID, OPERATION_DESCRIBE, -1,
                   edits)
    elif opening.head.api_key == DESCRIBE_TRANSACTIONS:
        show_transactions(opening, edits)
        add_refused(opening, F_TRANSACTION_STATES, "transaction_states", memo, edits)
    else:
        add_refused(opening, F_TOPICS, "topics", memo, edits)
    return apply_edits(opening, edits)


cdef int show_transactions(Opening opening, list edits) except -1:
    """One that may not be described now is refused, whatever the request was let through for."""
    cdef Marks marks = opening.marks
    cdef Mark* states = find_top(opening, F_TRANSACTION_STATES)
    cdef Mark* item
    cdef Mark* name
    cdef TopicRule rule = (<Gated>WAYS[DESCRIBE_TRANSACTIONS]).rule
    cdef int i = <int>(states - marks.items) + 1
    while i < states.until:
        item = &marks.items[i]
        name = find(opening, F_TRANSACTIONAL_ID, 1, i + 1, item.until)
        if opening.visible(RESOURCE_TRANSACTIONAL_ID, OPERATION_DESCRIBE, text(opening, name), name.length):
            hide_topics(opening, find(opening, F_TOPICS, 1, i + 1, item.until), F_TOPIC, edits)
        else:
            edits.append((item.whole_at, item.whole_length, schema.build_item(
                DESCRIBE_TRANSACTIONS, opening.head.api_version, True, "transaction_states",
                rule.answer_item(opening, i, name, TRANSACTIONAL_ID_AUTHORIZATION_FAILED))))
        i = item.until
    return 0
