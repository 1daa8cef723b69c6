"""Re-authentication on live connections before a real Kafka: bytes in one write, answers in their order."""

from __future__ import annotations

import struct

import pytest

from tests.support.ports import wait_for
from tests.support.raw_client import (
    FETCH,
    METADATA,
    PRODUCE,
    SASL_AUTHENTICATE,
    SASL_HANDSHAKE,
    RawClient,
    fetch,
    first_message,
    metadata,
    produce,
)
from tests.support.stage import Stage

pytestmark = pytest.mark.integration

MECHANISMS = ("OAUTHBEARER", "PLAIN")


def renewal(client: RawClient, token: str, mechanism: str, version: int = 2) -> bytes:
    return (client.frame(SASL_HANDSHAKE, 1, {"mechanism": mechanism})
            + client.frame(SASL_AUTHENTICATE, version, {"auth_bytes": first_message(token, mechanism)}))


def opened(stage: Stage, mechanism: str, **about: object) -> RawClient:
    client = RawClient(stage.bootstrap("public"))
    answer = client.log_in(stage.token(**about), mechanism)
    assert answer["error_code"] == 0
    return client


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_everything_in_one_write_is_answered_in_its_order(stage: Stage, mechanism: str) -> None:
    """T16, T18, T22: five in flight, some of them long polls, a renewal, and requests right behind it."""
    topic = stage.make_topic("open.")
    with opened(stage, mechanism) as client:
        before = [client.frame(FETCH, 12, fetch(topic, max_wait_ms=150)) for _ in range(3)]
        before += [client.frame(PRODUCE, 9, produce((topic, [b"%d" % n]))) for n in range(2)]
        again = renewal(client, stage.token(run_id="run-8"), mechanism)
        behind = [client.frame(PRODUCE, 9, produce((topic, [b"after"]))), client.frame(METADATA, 9, metadata([topic]))]
        client.send(b"".join([*before, again, *behind]))
        apis = [(FETCH, 12)] * 3 + [(PRODUCE, 9)] * 2 + [(SASL_HANDSHAKE, 1), (SASL_AUTHENTICATE, 2),
                                                         (PRODUCE, 9), (METADATA, 9)]
        answers = [client.receive_answer(*api) for api in apis]
    first = answers[0][0]
    assert [number for number, _ in answers] == list(range(first, first + 9))
    bodies = [body for _, body in answers]
    written = [body["responses"][0]["partition_responses"][0] for body in (bodies[3], bodies[4], bodies[7])]
    assert [one["base_offset"] for one in written] == [0, 1, 2]
    assert (bodies[5]["error_code"], bodies[6]["error_code"]) == (0, 0)
    assert 590_000 < bodies[6]["session_lifetime_ms"] <= 600_000
    assert bodies[8]["topics"][0]["error_code"] == 0


def test_the_audit_says_which_run_moved_what(stage: Stage) -> None:
    topic = stage.make_topic("open.")
    with opened(stage, "OAUTHBEARER", subject="renewed", run_id="run-a") as client:
        client.ask(PRODUCE, 9, produce((topic, [b"a"])))
        client.send(renewal(client, stage.token("renewed", run_id="run-b"), "OAUTHBEARER"))
        for api, version in ((SASL_HANDSHAKE, 1), (SASL_AUTHENTICATE, 2)):
            assert client.receive_answer(api, version)[1]["error_code"] == 0
        client.ask(PRODUCE, 9, produce((topic, [b"b"])))

    def told() -> list[tuple[str, str, list[list[int]]]]:
        found = [event for event in stage.node.audit() if event.get("principal") == "dev:renewed"]
        return [(event["kind"], event["attested"]["run"], [row[:3] for row in event.get("partitions", [])])
                for event in found]

    wait_for("the end of the session in the audit", lambda: any(kind == "disconnect" for kind, _, _ in told()))
    assert told() == [("connect", "run-a", []), ("flow", "run-a", [[0, 0, 0]]), ("reauthenticated", "run-b", []),
                      ("flow", "run-b", [[0, 1, 1]]), ("disconnect", "run-b", [])]


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_somebody_else_is_refused_behind_what_is_in_flight(stage: Stage, mechanism: str) -> None:
    topic = stage.make_topic("open.")
    closes = stage.node.metric("kproxy_close_total", cause="principal_changed")
    with opened(stage, mechanism) as client:
        client.send(client.frame(FETCH, 12, fetch(topic, max_wait_ms=200)) + renewal(
            client, stage.token("eve"), mechanism) + client.frame(PRODUCE, 9, produce((topic, [b"eve"]))))
        assert client.receive_answer(FETCH, 12)[1]["error_code"] == 0
        assert client.receive_answer(SASL_HANDSHAKE, 1)[1]["error_code"] == 0
        body = client.receive_answer(SASL_AUTHENTICATE, 2)[1]
        assert (body["error_code"], body["error_message"]) == (
            58, "Cannot change principals during re-authentication from dev:job to dev:eve")
        assert client.is_closed()
    wait_for("the cause", lambda: stage.node.metric("kproxy_close_total", cause="principal_changed") == closes + 1)
    assert stage.end_offset(topic) == 0


def test_twice_within_a_second_is_once_too_often(stage: Stage) -> None:
    with opened(stage, "OAUTHBEARER") as client:
        client.send(renewal(client, stage.token(), "OAUTHBEARER") + renewal(client, stage.token(), "OAUTHBEARER"))
        codes = [client.receive_answer(api, version)[1]["error_code"]
                 for api, version in ((SASL_HANDSHAKE, 1), (SASL_AUTHENTICATE, 2)) * 2]
        assert codes == [0, 0, 34, 34]
        assert client.ask(METADATA, 9, metadata([]))["topics"] == []


def test_a_refused_token_ends_the_session_with_its_cause(stage: Stage) -> None:
    closes = stage.node.metric("kproxy_close_total", cause="reauthentication_failed")
    with opened(stage, "OAUTHBEARER") as client:
        client.send(renewal(client, "not.a.token", "OAUTHBEARER"))
        client.receive_answer(SASL_HANDSHAKE, 1)
        body = client.receive_answer(SASL_AUTHENTICATE, 2)[1]
        assert body["error_code"] == 0 and b'"status":"invalid_token"' in body["auth_bytes"]
        assert client.ask(SASL_AUTHENTICATE, 2, {"auth_bytes": b"\x01"})["error_code"] == 58
        assert client.is_closed()
    wait_for("the cause", lambda: stage.node.metric(
        "kproxy_close_total", cause="reauthentication_failed") == closes + 1)


def test_a_client_of_version_0_is_told_nothing_and_closed_at_the_end(stage: Stage) -> None:
    """T16, second half."""
    with RawClient(stage.bootstrap("public")) as client:
        token = stage.token(lifetime=2)
        client.send(renewal(client, token, "PLAIN", version=0))
        client.receive_answer(SASL_HANDSHAKE, 1)
        frame = client.receive()
        assert frame is not None
        # Error 0, no message, no bytes, and there it ends: version 0 has no place for a lifetime.
        assert frame[8:] == struct.pack(">hhi", 0, -1, 0)
        assert client.ask(METADATA, 9, metadata([]))["topics"] == []
        assert client.is_closed()
