"""A broker that answers what it was not asked: nothing a client may not see passes, and nothing but a close follows."""

from __future__ import annotations

import random
import time
from typing import Any

from kproxy._ext import schema
from kproxy._ext.request import response_head
from kproxy.errors import WireError
from tests.security.test_session_attacks import mutate
from tests.support.frames import batch, request, response, split
from tests.support.playbook import fetch, fetched, opened, produce, produced

SECONDS = 4.0
SECRET = b"canary-in-a-record"
HOST = "broker.internal"


def plays() -> list[tuple[int, int, bytes, bytes]]:
    """(api, version, what a client asks, what a broker answers)."""
    at = {"node_id": 1, "host": HOST, "port": 9092}
    topics = [{"name": name, "partitions": [], "topic_authorized_operations": 4095} for name in ("t", "secret")]
    return [
        (1, 12, fetch(1, ["t"]), fetched(1, {"t": batch([b"a"]), "secret": batch([SECRET])})),
        (3, 9, request(3, 9, 1, {"topics": None}), response(3, 9, 1, {"brokers": [at], "topics": topics})),
        (3, 1, request(3, 1, 1, {"topics": [{"name": "t"}]}),
         response(3, 1, 1, {"brokers": [at], "topics": [{"name": "t"}, {"name": "secret"}]})),
        (10, 3, request(10, 3, 1, {"key": "t"}), response(10, 3, 1, at)),
        (10, 4, request(10, 4, 1, {"coordinator_keys": ["t"]}),
         response(10, 4, 1, {"coordinators": [{"key": "t", **at}]})),
        (0, 10, produce(1, {"t": [0]}, version=10),
         response(0, 10, 1, {"node_endpoints": [at], "responses": [
             {"name": "t", "partition_responses": [{"index": 0, "error_code": 6, "base_offset": -1}]}]})),
        (0, 9, produce(1, {"t": [0], "secret": [1]}), produced(1, {"t": {0: 5}})),
    ]


def check_shown(api: int, frame: bytes, body: dict[str, Any]) -> None:
    if api == 1:
        for topic in body["responses"]:
            if topic["topic"] != "t":
                assert all(not one["records"] and one["error_code"] == 29 for one in topic["partitions"]), frame
    if api == 3:
        assert {topic["name"] for topic in body["topics"] if not topic["error_code"]} <= {"t"}, frame
        assert all((one["host"], one["port"]) == ("kproxy.test", 9100 + one["node_id"]) for one in body["brokers"])
    if api == 10:
        for one in body.get("coordinators", [body]):
            assert one["host"] in ("", "kproxy.test"), frame
    if api == 0:
        assert {one["host"] for one in body.get("node_endpoints", ())} <= {"kproxy.test"}, frame


def test_mutated_answers_show_nothing_they_may_not():
    rng = random.Random(951)
    all_plays = plays()
    answers = [answer for *_, answer in all_plays]
    until = time.monotonic() + SECONDS
    shown = closed = 0
    while time.monotonic() < until:
        stage = opened(t="allow")
        for api, version, asked, answer in rng.sample(all_plays, 4):
            if stage.session.cause is not None:
                break
            stage.client(asked)
            try:
                actions = stage.broker(mutate(rng, answer, answers))
            except WireError:
                break       # The protocol closes the connection with cause ``internal``.
            for side, what in actions:
                if side == "client":
                    for frame in split(what):
                        _, at = response_head(api, version, frame[4:])
                        check_shown(api, frame, schema.parse(api, version, True, frame[4 + at:]))
                        shown += 1
            closed += stage.session.cause is not None
    assert shown > 500 and closed > 500
