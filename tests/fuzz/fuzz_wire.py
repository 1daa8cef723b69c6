"""Invariant: on any bytes walk and codec agree, spans stay inside and nest, and an empty splice changes nothing.

    python -m tests.fuzz.fuzz_wire --seconds 30 [--seed 1] [FILE ...]

Inputs are honest messages of every served version, cut, joined and changed byte by byte, and runs of random bytes. Each
goes to the walk, the codec, the heads of requests and answers, and the framing, whole and byte by byte. A file given is
one input: api key (i16), version (i16), is response (i8), then the body.
"""

from __future__ import annotations

import random
import struct

from kproxy._ext import frame, request, schema
from kproxy.errors import WireError
from tests.fuzz.harness import Harness, mutate
from tests.property.test_wire import check_spans, has_hidden_tags
from tests.support.messages import random_body

EVERY = schema.served_messages()
PIECES = (b"\0", b"\x01", b"\x02", b"\x7f", b"\x80", b"\xff", b"\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff",
          b"\xff\xff\xff\xff\x0f", b"\x80\x80\x80\x80\x08", b"\x01\x05\x00", b"\x02\x05\x00\x05\x00")


def change(data: bytes, chance: random.Random) -> bytes:
    return data[:5] + mutate(data[5:], chance, PIECES)


def check(api: int, version: int, response: bool, body: bytes) -> bool:
    """Holds the invariant against one input. True if the walk took it."""
    try:
        marks = schema.walk(api, version, response, body)
    except WireError:
        marks = None
    try:
        values = schema.parse(api, version, response, body)
    except WireError:
        values = None
    assert marks is not None or values is None, "the codec takes what the walk refuses"
    if marks is None:
        return False
    check_spans(marks, body)
    tagged = any(mark["kind"] == 8 and mark["field"] for mark in marks) or has_hidden_tags(api, version, response)
    assert values is not None or tagged, "the walk takes what the codec refuses"
    if values is not None:
        again = schema.build(api, version, response, values)
        # As text, in which a number that is none equals itself.
        assert len(again) <= len(body) and repr(schema.parse(api, version, response, again)) == repr(values)
    same = [(mark["whole_at"], mark["whole_length"], body[mark["whole_at"]:mark["whole_at"] + mark["whole_length"]])
            for mark in marks if mark["kind"] not in (6, 9)]
    assert request.splice(body, same)[4:] == body
    return True


def check_heads(data: bytes, limit: int = 1000) -> None:
    """The smaller parsers, which see every byte a stranger sends."""
    try:
        api, version, _, _, at = request.request_head(data)
        assert schema.versions(api)[0] <= version and 8 <= at <= len(data)
    except ValueError as error:
        assert str(error) in ("bad", "unknown_api")
    for api, version in ((0, 9), (12, 3), (18, 3)):
        assert -1 <= request.response_head(api, version, data)[1] <= len(data)
    verdict = frame.scan(data, limit)
    for have in range(min(len(data), 12)):
        early = frame.scan(data[:have], limit)
        assert early == verdict or early[0] == "need_data", "bytes that come later change nothing already said"


def make(chance: random.Random) -> bytes:
    api, response, version = chance.choice(EVERY)
    body = random_body(chance, api, version, response, most=2)
    data = struct.pack(">hh?", api, version, response)
    return data + (chance.randbytes(chance.randrange(80)) if chance.random() < 0.1 else mutate(body, chance, PIECES))


def check_input(data: bytes) -> str:
    api, version, response = struct.unpack_from(">hh?", data)
    taken = check(api, version, response, data[5:])
    check_heads(data[5:])
    check_heads(struct.pack(">hhi", api, version, 1) + data[5:])
    return "taken" if taken else "refused"


HARNESS = Harness("wire", make, change, check_input)

if __name__ == "__main__":
    HARNESS.main(__doc__)
