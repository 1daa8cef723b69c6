"""What kproxy answers of itself before a client is known.

The advertised range of an API is what broker, proxy and caps have in common; an API without one is left out. Versions that
name topics by id are left out too where the broker cannot be asked for the name of an id; families of APIs are offered
whole or not at all. A feature of the cluster (KIP-584) is told at the highest of its levels of which every version that
its clients would use is advertised, so that no client relies on what it cannot have.
"""
from collections import namedtuple

from kproxy._ext import schema
from kproxy._ext.apis import LOCAL, SERVED
from kproxy._ext.topic_ids import HIGHEST_BY_NAME

#: APIs that a client uses together or not at all, and those that are nothing without them.
FAMILIES = (
    (frozenset((76, 77, 78, 79)), frozenset((90, 91, 92))),     # share groups
)

cdef enum:
    PRODUCE = 0
    METADATA = 3
    API_VERSIONS = 18
    SASL_HANDSHAKE = 17
    SASL_AUTHENTICATE = 36
    END_TXN = 26
    TXN_OFFSET_COMMIT = 28
    UNSUPPORTED_VERSION = 35
    INVALID_REQUEST = 42
    REBOOTSTRAP_REQUIRED = 129
    FIRST_WITH_FEATURES = 3
    FIRST_WITH_MINIMUM_ZERO = 4     # an older client refuses a feature whose lowest level is 0

#: Feature → level → what its clients use: {API: lowest version}. What is not here is for brokers.
FEATURES = {
    "group.version": {1: {68: 0, 69: 0}},
    "transaction.version": {1: {}, 2: {PRODUCE: 12, END_TXN: 5, TXN_OFFSET_COMMIT: 5}},     # KIP-890
    "share.version": {1: {76: 1, 77: 1, 78: 1, 79: 1}},                                     # KIP-932
    "streams.version": {1: {88: 0, 89: 0}},                                                 # KIP-1071
}

#: What a client is told before anything else. ``ranges``: {key: (lowest, highest)}; ``levels``: {feature: level} as the
#: broker has them, of ``epoch``; ``cluster_id``, empty where it is not known, and ``node``, -1 at an address that stands
#: for no broker: who a client of ApiVersions 5 must mean (KIP-1242).
Promise = namedtuple("Promise", "ranges levels epoch cluster_id node", defaults=({}, -1, "", -1))


def advertised(broker):
    """``broker``: {key: (lowest, highest)} as its ApiVersions answer says. Gives {key: (lowest, highest)} for clients."""
    ranges = {}
    tells_names = broker.get(METADATA, (0, -1))[1] > HIGHEST_BY_NAME[METADATA]
    for key, (lowest, highest) in SERVED.items():
        if key not in LOCAL:
            if key not in broker:
                continue
            lowest, highest = max(lowest, broker[key][0]), min(highest, broker[key][1])
            if not tells_names:
                highest = min(highest, HIGHEST_BY_NAME.get(key, highest))
        if lowest <= highest:
            ranges[key] = (lowest, highest)
    for family, dependents in FAMILIES:
        if not ranges.keys() >= family:
            for key in family | dependents:
                ranges.pop(key, None)
    return ranges


def levels_shown(levels, ranges):
    """{feature: level} for clients, of the broker's ``levels`` and the advertised ``ranges``."""
    shown = {}
    for name, known in FEATURES.items():
        served = [level for level, needs in known.items()
                  if level <= levels.get(name, 0) and all([ranges.get(key, (0, -1))[1] >= lowest
                                                           for key, lowest in needs.items()])]
        if served:
            shown[name] = max(served)
    return shown


cdef int judge_identity(object promise, object cluster_id, int node) except -1:
    """0, or the error for a client that meant another cluster or broker, or half says whom it means."""
    if (cluster_id is None) != (node < 0):
        return INVALID_REQUEST
    if cluster_id is None or (cluster_id == (promise.cluster_id or cluster_id) and node == promise.node):
        return 0
    return REBOOTSTRAP_REQUIRED


cdef bytes versions_body(int version, object promise):
    # Produce from 0: librdkafka before its fix for KAFKA-18659 turns compression off when the minimum is 3.
    # SaslHandshake from 0: older librdkafka (Debian's 2.0) asks for 0 to be there, to know that SASL is, and then uses 1.
    keys = [{"api_key": key, "min_version": 0 if key in (0, SASL_HANDSHAKE) else lowest, "max_version": highest}
            for key, (lowest, highest) in sorted(promise.ranges.items())]
    told = {"api_keys": keys}
    shown = levels_shown(promise.levels, promise.ranges) if version >= FIRST_WITH_FEATURES else {}
    if shown:
        told["finalized_features_epoch"] = promise.epoch
        told["finalized_features"] = [{"name": name, "min_version_level": level, "max_version_level": level}
                                      for name, level in shown.items()]
        if version >= FIRST_WITH_MINIMUM_ZERO:
            told["supported_features"] = [{"name": name, "min_version": 0, "max_version": level}
                                          for name, level in shown.items()]
    return schema.build(API_VERSIONS, version, True, told)


cdef bytes versions_refusal_body():
    """For a version above ours: the body of version 0, whatever was asked, naming the range to try again with."""
    return schema.build(API_VERSIONS, 0, True, {
        "error_code": UNSUPPORTED_VERSION,
        "api_keys": [{"api_key": API_VERSIONS, "min_version": SERVED[18][0], "max_version": SERVED[18][1]}],
    })


cdef bytes handshake_body(int version, int error, tuple mechanisms):
    return schema.build(SASL_HANDSHAKE, version, True, {"error_code": error, "mechanisms": list(mechanisms)})


cdef bytes authenticate_body(int version, int error, str message, bytes token, long long lifetime_ms):
    return schema.build(SASL_AUTHENTICATE, version, True, {
        "error_code": error, "error_message": message, "auth_bytes": token, "session_lifetime_ms": lifetime_ms,
    })


cdef bint fits_software(str word):
    """``[a-zA-Z0-9]([a-zA-Z0-9\-.]*[a-zA-Z0-9])?`` (KIP-511)."""
    if not word or not word.isascii() or not word[0].isalnum() or not word[len(word) - 1].isalnum():
        return False
    return word.replace("-", "").replace(".", "").isalnum()
