# cython: wraparound=True
"""Transactions of the first kind (before KIP-890's second part). All of them need WRITE on the transactional id, else 53.

    24 AddPartitionsToTxn 0-3  WRITE on each topic, and none of them Kafka's own, else 29 there and 55 on all others:
                               nothing is added. Later versions are brokers' own
    25 AddOffsetsToTxn 0-4     READ on the group, else 30
    26 EndTxn 0-4              nothing else
    28 TxnOffsetCommit 0-4     READ on the group, else 30 on every partition; then READ on each topic, else 29

A producer id is not checked: a broker knows it by the transactional id, and that is.
"""
from kproxy._ext.authorise cimport OPERATION_NOT_ATTEMPTED, READ_GROUP, TOPIC_AUTHORIZATION_FAILED
from kproxy._ext.authorise cimport TRANSACTIONAL_ID_AUTHORIZATION_FAILED, WRITE_TRANSACTION, Gate, Gated, TopicRule
from kproxy._ext.authorise cimport add_refused, apply_edits, is_internal, open_gated, text
from kproxy._ext.fields cimport F_TOPICS, F_V3_AND_BELOW_TOPICS, F_V3_AND_BELOW_TRANSACTIONAL_ID
from kproxy._ext.opening cimport Opening
from kproxy._ext.policy_table cimport OPERATION_READ, OPERATION_WRITE, RESOURCE_TOPIC, RESOURCE_TRANSACTIONAL_ID
from kproxy._ext.schema cimport Mark

cdef enum:
    ADD_PARTITIONS = 24
    ADD_OFFSETS = 25
    END = 26
    TXN_OFFSET_COMMIT = 28


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
}


cdef int open_request(Opening opening) except -1:
    return open_gated(opening, WAYS[opening.head.api_key])


cdef int open_response(Opening opening, object memo) except -1:
    cdef list edits = []
    add_refused(opening, F_TOPICS, "topics", memo, edits)
    return apply_edits(opening, edits)
