"""The order of answers, and what a session does with frames that should not be."""

from __future__ import annotations

import random
import struct

import msgspec
import pytest

from kproxy._ext import playbook, schema
from kproxy._ext.apis import LOCAL, SERVED
from kproxy._ext.refused import REFUSED
from tests.support.frames import batch, note_sent, read_response, request, response, split
from tests.support.messages import random_values
from tests.support.playbook import BROKER, FACTS, NOW, Rules, Spool, Stage, fetch, fetched, opened, produce, produced

# -- order and hostility -----------------------------------------------------------------------------------------------


def test_local_answers_wait_their_turn():
    stage = opened(t="allow")
    first = produce(1, {"t": [0]})
    assert stage.client(first) == [("broker", first)]
    assert stage.client(produce(2, {"secret": [0]})) == []
    assert stage.client(first.replace(b"\0\0\0\1", b"\0\0\0\3", 1))[0][0] == "broker"
    [(_, answers)] = stage.broker(produced(1, {"t": {0: 1}}))
    assert [int.from_bytes(frame[4:8], "big") for frame in split(answers)] == [1, 2]


def test_a_denied_produce_without_an_answer_closes_after_the_answers_before_it():
    stage = opened(t="allow", no="deny")
    stage.client(fetch(5, ["t"]))
    assert stage.client(produce(6, {"no": [0]}, acks=0)) == []
    assert stage.client(produce(7, {"t": [0]})) == []
    (side, answer), close = stage.broker(fetched(5, {"t": batch([b"a"])}))
    assert (side, read_response(1, 12, answer)[0], close) == ("client", 5, ("close", "denied_without_answer"))


def test_an_answer_nobody_asked_for_closes():
    stage = opened(t="allow")
    assert stage.broker(produced(1, {"t": {0: 1}})) == [("close", "unexpected_response")]


def test_an_answer_with_a_foreign_correlation_closes():
    stage = opened(t="allow")
    stage.client(produce(1, {"t": [0]}))
    assert stage.broker(produced(2, {"t": {0: 1}})) == [("close", "unexpected_response")]


@pytest.mark.parametrize(("api", "version", "cause"), [
    (24, 3, "unknown_api"), (4, 0, "unknown_api"), (0, 99, "unknown_api"), (1, 19, "unknown_api"),
    (27, 0, "unknown_api"), (27, 1, "malformed_request"), (58, 0, "malformed_request"), (83, 0, "malformed_request")])
def test_what_is_not_advertised_is_not_served(api: int, version: int, cause: str):
    stage = opened(t="allow")
    head = (
        api.to_bytes(2, "big") + version.to_bytes(2, "big") + (9).to_bytes(4, "big") + b"\xff\xff\x00\x00\x00\x00\x00"
    )
    assert stage.client(len(head).to_bytes(4, "big") + head) == [("close", cause)]


#: Every version that a client might know and kproxy neither serves nor answers, and the APIs that Kafka has given up.
UNSERVED = [(api, version) for api, response, version in schema.served_messages() if not response
            and not (api in SERVED and SERVED[api][0] <= version <= SERVED[api][1])
            and not (api in REFUSED and version >= REFUSED[api][0]) and api not in LOCAL]
UNSERVED += [(api, 0) for api in range(4, 8)]


@pytest.mark.parametrize(("api", "version"), UNSERVED)
def test_a_good_request_of_what_is_not_served_closes_and_reaches_nobody(api: int, version: int):
    """T31, T39: what cannot be authorised is never passed on. T44, T47: as long as groups of Streams are not served,
    they create nothing and show nothing."""
    if api < 4 or api > 7:
        frame = request(api, version, 9, random_values(random.Random(f"{api} {version}"), api, version, False))
    else:
        note_sent(api, version)
        frame = struct.pack(">ihhihi", 14, api, version, 9, -1, 0)
    assert opened(t="allow").client(frame) == [("close", "unknown_api")]


@pytest.mark.parametrize(("api", "version", "values", "code"), [
    (27, 1, {"markers": []}, None), (24, 4, {"transactions": []}, 31),
    (58, 0, {"request_data": b"x", "client_host_address": b"h"}, 31),
    (38, 2, {"renewers": [], "max_lifetime_ms": 1}, 61), (29, 2, {"resource_type_filter": 1, "operation": 1}, 54)])
def test_what_nobody_is_served_is_refused_in_its_turn(api: int, version: int, values: dict, code: int | None):
    """T31. Behind the answers before it, with nothing sent to the broker, and the session goes on."""
    stage = opened(t="allow")
    first = produce(1, {"t": [0]})
    assert stage.client(first) == [("broker", first)]
    assert stage.client(request(api, version, 2, values)) == []
    [(_, answers)] = stage.broker(produced(1, {"t": {0: 5}}))
    frames = split(answers)
    assert len(frames) == 2
    correlation, body = read_response(api, version, frames[1])
    assert (correlation, body.get("error_code")) == (2, code)
    again = produce(3, {"t": [0]})
    assert stage.client(again) == [("broker", again)]


def test_sasl_on_an_open_session_is_answered_34_and_changes_nothing():
    stage = opened(t="allow")
    [(_, answer)] = stage.client(request(17, 1, 8, {"mechanism": "PLAIN"}))
    assert read_response(17, 1, answer)[1]["error_code"] == 34
    [(_, answer)] = stage.client(request(36, 1, 9, {"auth_bytes": b"x"}))
    assert read_response(36, 1, answer)[1]["error_code"] == 34
    frame = produce(10, {"t": [0]})
    assert stage.client(frame) == [("broker", frame)]


def test_every_truncation_of_a_produce_closes():
    stage = opened(t="allow")
    whole = produce(5, {"t": [0]})
    for length in range(14, len(whole)):
        cut = (length - 4).to_bytes(4, "big") + whole[4:length]
        fresh = opened(t="allow")
        [(kind, cause)] = fresh.client(cut)
        assert (kind, cause) in {("close", "malformed_request"), ("close", "unknown_api")}, length
    assert stage.client(whole) == [("broker", whole)]


def test_an_expired_session_is_closed_at_its_next_request():
    stage = Stage(Rules(t="allow"))
    stage.session.resume_versions(BROKER)
    stage.client(request(17, 1, 1, {"mechanism": "PLAIN"}))
    stage.client(request(36, 1, 2, {"auth_bytes": b"x"}))
    stage.session.resume_login(msgspec.structs.replace(FACTS, expires_at=NOW + 10), NOW)
    stage.session.resume_broker(BROKER, NOW)
    playbook.take_actions(stage.session)
    frame = produce(10, {"t": [0]})
    assert stage.client(frame, NOW + 9.9) == [("broker", frame)]
    assert stage.client(frame, NOW + 10) == [("close", "session_expired")]


def test_a_full_spool_refuses_produce_with_a_retriable_code():
    stage = opened(t="allow")

    class Broken(Spool):
        def commit(self) -> None:
            raise OSError(28, "no space left on device")

    stage.ledger.spool.commit = Broken().commit
    assert stage.ledger.commit() is False
    [(_, answer)] = stage.client(produce(5, {"t": [0]}))
    assert read_response(0, 9, answer)[1]["responses"][0]["partition_responses"][0]["error_code"] == 56


@pytest.mark.parametrize("denied", [False, True])
def test_a_throttled_answer_keeps_its_time_whatever_was_taken_out_of_it(denied: bool):
    """T43: brokers answer at once, with the time that the client is to wait; quotas are the broker's."""
    stage = opened(t="allow", no="deny")
    topics = {"t": [0], "no": [0]} if denied else {"t": [0]}
    stage.client(produce(5, topics))
    answer = response(0, 9, 5, {"throttle_time_ms": 250, "responses": [
        {"name": "t", "partition_responses": [{"index": 0, "error_code": 0, "base_offset": 3}]}]})
    [(_, answer)] = stage.broker(answer)
    body = read_response(0, 9, answer)[1]
    assert (body["throttle_time_ms"], len(body["responses"])) == (250, len(topics))
    stage.client(fetch(6, list(topics)))
    [(_, answer)] = stage.broker(response(1, 12, 6, {"throttle_time_ms": 70, "responses": []}))
    body = read_response(1, 12, answer)[1]
    assert (body["throttle_time_ms"], [one["topic"] for one in body["responses"]]) == (70, ["no"] if denied else [])


def test_a_broker_whose_host_is_no_text_closes_as_malformed():
    stage = opened(t="allow")
    stage.client(request(3, 4, 5, {"topics": None}))
    answer = response(3, 4, 5, {"brokers": [{"node_id": 1, "host": "?", "port": 9092}]})
    assert stage.broker(answer.replace(b"?", b"\xff")) == [("close", "malformed_response")]
