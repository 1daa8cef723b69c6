"""What kproxy answers of itself before a client is known.

The advertised range of an API is what broker, proxy and caps have in common; an API without one is left out. Versions that
name topics by id are left out too where the broker cannot be asked for the name of an id. Features are
never advertised: what they promise (transactions v2, share and streams groups) lies above the caps.
"""
from kproxy._ext import schema
from kproxy._ext.apis import LOCAL, SERVED
from kproxy._ext.topic_ids import HIGHEST_BY_NAME

cdef enum:
    METADATA = 3
    API_VERSIONS = 18
    SASL_HANDSHAKE = 17
    SASL_AUTHENTICATE = 36
    UNSUPPORTED_VERSION = 35


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
    return ranges


cdef bytes versions_body(int version, dict ranges):
    # Produce from 0: librdkafka before its fix for KAFKA-18659 turns compression off when the minimum is 3.
    # SaslHandshake from 0: older librdkafka (Debian's 2.0) asks for 0 to be there, to know that SASL is, and then uses 1.
    keys = [{"api_key": key, "min_version": 0 if key in (0, SASL_HANDSHAKE) else lowest, "max_version": highest}
            for key, (lowest, highest) in sorted(ranges.items())]
    return schema.build(API_VERSIONS, version, True, {"api_keys": keys})


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
