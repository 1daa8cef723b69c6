"""What lies between brokers and controllers, or would act as kproxy's own account. None of it is advertised; who sends it
all the same is told so in the API's own answer, and the audit is told as well. Nothing of it reaches a broker.

A request is parsed and its answer built from values: nobody asks twice.
"""
from kproxy._ext.mirrors cimport mirrored
from kproxy._ext.opening cimport CLOSE, Opening
from kproxy._ext.policy_table cimport OPERATION_ALTER, OPERATION_CLUSTER_ACTION, OPERATION_DESCRIBE, RESOURCE_CLUSTER

from kproxy._ext import schema
from kproxy.errors import CloseCause, WireError

cdef enum:
    CLUSTER_AUTHORIZATION_FAILED = 31
    SECURITY_DISABLED = 54
    DELEGATION_TOKEN_AUTH_DISABLED = 61
    LONGEST = 65536             # bytes of a request that is worth an answer

cdef bytes CLUSTER = b"kafka-cluster"
cdef str REASON = "kproxy does not serve this API"

#: Key -> (first version refused, the operation on the cluster that Kafka asks for, error code). What is not here and not
#: served closes the connection, as a broker does that does not know it.
REFUSED = {
    24: (4, "cluster_action", CLUSTER_AUTHORIZATION_FAILED),        # from here on for brokers that verify
    27: (0, "cluster_action", CLUSTER_AUTHORIZATION_FAILED),        # WriteTxnMarkers ends anybody's transaction
    29: (0, "describe", SECURITY_DISABLED),                         # ACLs: those of kproxy's own account
    30: (0, "alter", SECURITY_DISABLED),
    31: (0, "alter", SECURITY_DISABLED),
    34: (0, "alter", CLUSTER_AUTHORIZATION_FAILED),
    38: (0, "alter", DELEGATION_TOKEN_AUTH_DISABLED),               # a token would be kproxy's
    39: (0, "alter", DELEGATION_TOKEN_AUTH_DISABLED),
    40: (0, "alter", DELEGATION_TOKEN_AUTH_DISABLED),
    41: (0, "describe", DELEGATION_TOKEN_AUTH_DISABLED),
    50: (0, "describe", CLUSTER_AUTHORIZATION_FAILED),
    51: (0, "alter", CLUSTER_AUTHORIZATION_FAILED),
    57: (0, "alter", CLUSTER_AUTHORIZATION_FAILED),
    64: (0, "alter", CLUSTER_AUTHORIZATION_FAILED),
    80: (0, "alter", CLUSTER_AUTHORIZATION_FAILED),
    81: (0, "alter", CLUSTER_AUTHORIZATION_FAILED),
    94: (0, "alter", CLUSTER_AUTHORIZATION_FAILED),
    # Controllers, and the state of share groups that coordinators keep.
    **{key: (0, "cluster_action", CLUSTER_AUTHORIZATION_FAILED) for key in (
        52, 53, 54, 56, 58, 59, 62, 63, 67, 70, 73, 82, 83, 84, 85, 86, 87)},
}
cdef dict OPERATIONS = {"cluster_action": OPERATION_CLUSTER_ACTION, "describe": OPERATION_DESCRIBE, "alter": OPERATION_ALTER}

# Answers without one error code for the whole; see kproxy/_ext/mirrors.pxd.
_SHARE_STATE = ("results", "topics", {"topic_id": "topic_id"}, ("partitions", "partitions", {"partition": "partition"}, None))
cdef dict MIRRORS = {
    27: ("markers", "markers", {"producer_id": "producer_id"},
         ("topics", "topics", {"name": "name"}, ("partitions", "partition_indexes", {"partition_index": ""}, None))),
    30: ("results", "creations", {}, None),
    31: ("filter_results", "filters", {}, None),
    34: ("results", "dirs.topics", {"topic_name": "name"}, ("partitions", "partitions", {"partition_index": ""}, None)),
    51: ("results", "deletions upsertions", {"user": "name"}, None),
    83: _SHARE_STATE, 84: _SHARE_STATE, 85: _SHARE_STATE, 86: _SHARE_STATE, 87: _SHARE_STATE,
}


cdef int open_request(Opening opening) except -1:
    cdef int api = opening.head.api_key, version = opening.head.api_version
    _, operation, code = REFUSED[api]
    if opening.length > LONGEST:
        return give_up(opening)
    try:
        answer = {"error_code": code}
        if api in MIRRORS:
            asked = schema.parse(api, version, False, opening.data[opening.body:opening.length])
            answer = {MIRRORS[api][0]: mirrored(asked, MIRRORS[api], code)}
        opening.answer_body(schema.build(api, version, True, answer))
    except (WireError, ValueError):
        return give_up(opening)
    return opening.tell_refusal(RESOURCE_CLUSTER, OPERATIONS[operation], CLUSTER, len(CLUSTER), REASON)


cdef int give_up(Opening opening) except -1:
    opening.treatment = CLOSE
    opening.cause = CloseCause.UNKNOWN_API
    return 0
