"""The session machine, driven by hand: every event is given, every action is asserted."""

from __future__ import annotations

import msgspec
import pytest

from kproxy._ext import playbook
from kproxy._ext.login import Promise, advertised
from kproxy.model.access import ApprovalWanted, Verdict
from kproxy.model.spool import INTENT, OUTCOME, READ
from tests.support.frames import batch, read_request, read_response, request
from tests.support.playbook import BROKER, FACTS, NOW, Rules, Stage, fetch, fetched, opened, produce, produced
from tests.support.record_plans import REDACT, build_plan

# -- before the session is open ----------------------------------------------------------------------------------------


def test_versions_are_the_intersection_of_broker_proxy_and_caps():
    """T4: a client never hears of a version above ours. T7: keys of another maker are not passed on. T8: Produce is
    shown from 0, without which old versions of librdkafka do not compress."""
    stage = Stage(Rules())
    frame = request(18, 3, 1, {"client_software_name": "librdkafka", "client_software_version": "2.6.0"})
    assert stage.client(frame) == [("wait", ("versions",)), ("held", frame)]
    stage.session.resume_versions(
        Promise(advertised({0: (3, 13), 1: (4, 30), 3: (0, 99), 18: (0, 5), 10000: (0, 1), 32767: (0, 0)}))
    )
    [(side, answer)] = stage.client(frame)
    body = read_response(18, 3, answer)[1]
    assert side == "client"
    assert {k["api_key"]: (k["min_version"], k["max_version"]) for k in body["api_keys"]} == {
        0: (0, 13),
        1: (4, 18),
        3: (0, 13),
        17: (0, 1),
        18: (0, 5),
        36: (0, 2),
    }
    assert stage.session.client_software == "librdkafka/2.6.0"


def test_a_handshake_of_version_0_is_shown_and_not_served():
    stage = Stage(Rules())
    assert stage.client(request(17, 0, 1, {"mechanism": "PLAIN"})) == [("close", "unknown_api")]


def test_versions_above_ours_are_answered_35_in_version_0():
    stage = Stage(Rules())
    [(side, answer)] = stage.client(
        request(18, 4, 9, {"client_software_name": "x", "client_software_version": "1"}).replace(
            b"\x00\x12\x00\x04", b"\x00\x12\x00\x63", 1
        )
    )
    assert side == "client"
    assert read_response(18, 0, answer) == (
        9,
        {"error_code": 35, "api_keys": [{"api_key": 18, "min_version": 0, "max_version": 5}]},
    )


@pytest.mark.parametrize("version", range(6))
def test_every_version_of_the_versions_tells_the_same(version: int):
    stage = Stage(Rules())
    stage.session.resume_versions(BROKER)
    software = {"client_software_name": "x", "client_software_version": "1"} if version >= 3 else {}
    [(_, answer)] = stage.client(request(18, version, 1, software))
    body = read_response(18, version, answer)[1]
    ranges = {one["api_key"]: (one["min_version"], one["max_version"]) for one in body["api_keys"]}
    assert body["error_code"] == 0 and ranges[3] == advertised(BROKER.ranges)[3] and 27 not in ranges


@pytest.mark.parametrize("version", range(3))
def test_every_version_of_the_token_logs_in(version: int):
    stage = Stage(Rules())
    stage.session.resume_versions(BROKER)
    stage.client(request(17, 1, 1, {"mechanism": "OAUTHBEARER"}))
    assert stage.client(request(36, version, 2, {"auth_bytes": b"token"})) == [
        ("wait", ("token", "OAUTHBEARER", b"token"))]
    stage.session.resume_login(msgspec.structs.replace(FACTS, expires_at=NOW + 60), NOW)
    assert playbook.take_actions(stage.session) == [("wait", ("broker",))]
    stage.session.resume_broker(BROKER, NOW)
    [(_, answer)] = playbook.take_actions(stage.session)
    body = read_response(36, version, answer)[1]
    assert body["error_code"] == 0 and body.get("session_lifetime_ms", 60_000) == 60_000


def test_versions_with_a_bad_software_name_are_answered_42():
    stage = Stage(Rules())
    stage.session.resume_versions(BROKER)
    [(_, answer)] = stage.client(request(18, 3, 1, {"client_software_name": "-bad-", "client_software_version": "1"}))
    assert read_response(18, 3, answer)[1]["error_code"] == 42


def test_unknown_mechanism_gets_33_and_the_list():
    stage = Stage(Rules())
    (_, answer), close = stage.client(request(17, 1, 4, {"mechanism": "GSSAPI"}))
    assert read_response(17, 1, answer) == (4, {"error_code": 33, "mechanisms": ["OAUTHBEARER", "PLAIN"]})
    assert close == ("close", "unsupported_mechanism")


@pytest.mark.parametrize(
    "frame", [produce(1, {"t": [0]}), request(3, 5, 1, {"topics": []})], ids=["produce", "metadata"]
)
def test_nothing_is_served_before_login(frame: bytes):
    stage = Stage(Rules(t="allow"))
    stage.session.resume_versions(BROKER)
    assert stage.client(frame) == [("close", "not_authenticated")]


def test_requests_pipelined_behind_the_token_wait_for_the_verdict():
    stage = Stage(Rules(t="allow"))
    stage.session.resume_versions(BROKER)
    stage.client(request(17, 1, 1, {"mechanism": "PLAIN"}))
    data = produce(3, {"t": [0]})
    actions = stage.client(request(36, 1, 2, {"auth_bytes": b"\0u\0tok"}) + data)
    assert actions == [("wait", ("token", "PLAIN", b"\0u\0tok")), ("held", data)]


def test_refused_oauthbearer_is_challenged_then_answered_58():
    stage = Stage(Rules())
    stage.session.resume_versions(BROKER)
    stage.client(request(17, 1, 1, {"mechanism": "OAUTHBEARER"}))
    stage.client(request(36, 1, 2, {"auth_bytes": b"bad"}))
    stage.session.refuse_login("Authentication failed (error id 5)", b'{"status":"invalid_token"}', NOW)
    [(_, answer)] = playbook.take_actions(stage.session)
    assert read_response(36, 1, answer) == (
        2,
        {"error_code": 0, "error_message": None, "session_lifetime_ms": 0, "auth_bytes": b'{"status":"invalid_token"}'},
    )
    (_, answer), close = stage.client(request(36, 1, 3, {"auth_bytes": b"\x01"}))
    assert read_response(36, 1, answer)[1]["error_code"] == 58
    assert close == ("close", "login_failed")


def test_refused_plain_is_answered_58_at_once():
    stage = Stage(Rules())
    stage.session.resume_versions(BROKER)
    stage.client(request(17, 1, 1, {"mechanism": "PLAIN"}))
    stage.client(request(36, 0, 2, {"auth_bytes": b"bad"}))
    stage.session.refuse_login("Authentication failed (error id 5)", None, NOW)
    (_, answer), close = playbook.take_actions(stage.session)
    assert read_response(36, 0, answer)[1] == {
        "error_code": 58,
        "error_message": "Authentication failed (error id 5)",
        "auth_bytes": b"",
    }
    assert close == ("close", "login_failed")


# -- produce -----------------------------------------------------------------------------------------------------------


def test_allowed_produce_goes_on_byte_for_byte_and_is_noted():
    stage = opened(t="allow")
    frame = produce(5, {"t": [3]})
    assert stage.client(frame) == [("broker", frame)]
    [note] = stage.notes()
    assert (note.kind, note.session, note.correlation, note.topic, note.partition, note.records) == (
        INTENT,
        7,
        5,
        "t",
        3,
        2,
    )
    answer = produced(5, {"t": {3: 40}})
    assert stage.broker(answer) == [("client", answer)]
    [note] = stage.notes()
    assert (note.kind, note.first_offset, note.last_offset, note.records, note.error) == (OUTCOME, 40, 41, 2, 0)
    assert stage.session.flow.take() == {("t", OUTCOME): (b"[[3,40,41,2,%d]]" % note.bytes, 2, note.bytes)}


def test_denied_produce_is_answered_29_here():
    stage = opened(t="allow")
    [(side, answer)] = stage.client(produce(5, {"secret": [0, 1]}))
    assert side == "client"
    correlation, body = read_response(0, 9, answer)
    assert correlation == 5
    assert [
        (r["name"], [(p["index"], p["error_code"], p["base_offset"]) for p in r["partition_responses"]])
        for r in body["responses"]
    ] == [("secret", [(0, 29, -1), (1, 29, -1)])]
    assert stage.notes() == []
    assert [kind for kind, _ in stage.told] == ["denied"]


def test_mixed_produce_forwards_the_allowed_part_and_merges_the_answer():
    stage = opened(t="allow")
    [(side, sent)] = stage.client(produce(5, {"secret": [0], "t": [1]}))
    assert side == "broker"
    body = read_request(sent)[3]
    assert [topic["name"] for topic in body["topic_data"]] == ["t"]
    assert body["acks"] == 1 and body["timeout_ms"] == 1000
    [(side, answer)] = stage.broker(produced(5, {"t": {1: 7}}))
    assert side == "client"
    assert [
        (r["name"], r["partition_responses"][0]["error_code"]) for r in read_response(0, 9, answer)[1]["responses"]
    ] == [("t", 0), ("secret", 29)]


def test_internal_topics_are_never_written():
    stage = opened(**{"__consumer_offsets": "allow"})
    [(side, answer)] = stage.client(produce(5, {"__consumer_offsets": [0]}))
    assert side == "client"
    assert read_response(0, 9, answer)[1]["responses"][0]["partition_responses"][0]["error_code"] == 29


def test_acks_0_leaves_no_slot_and_a_denied_one_closes():
    stage = opened(t="allow")
    frame = produce(5, {"t": [0]}, acks=0)
    for _ in range(10_000):
        stage.client(frame)
    assert stage.session.slots.count == 0
    assert stage.client(produce(6, {"secret": [0]}, acks=0)) == [("close", "denied_without_answer")]


def test_mixed_acks_0_forwards_the_allowed_part_then_closes():
    stage = opened(t="allow")
    (side, sent), close = stage.client(produce(6, {"secret": [0], "t": [0]}, acks=0))
    assert side == "broker" and [t["name"] for t in read_request(sent)[3]["topic_data"]] == ["t"]
    assert close == ("close", "denied_without_answer")


def test_an_unapproved_produce_waits_is_refused_44_and_passes_once_approved():
    stage = opened(scores="ask")
    frame = produce(5, {"scores": [0]})
    wait, held = stage.client(frame)
    wanted = ApprovalWanted("new-model", "write", "topic", "scores", "m1")
    assert wait == ("wait", ("approval", [wanted])) and held == ("held", frame)
    stage.session.resume_approval({wanted: ("R-1", "pending")})
    [(_, answer)] = stage.client(frame)
    item = read_response(0, 9, answer)[1]["responses"][0]["partition_responses"][0]
    assert item["error_code"] == 44 and "R-1" in item["error_message"]
    # The table holds the refusal until the epoch moves.
    [(_, answer)] = stage.client(frame)
    assert read_response(0, 9, answer)[1]["responses"][0]["partition_responses"][0]["error_code"] == 44
    stage.rules.effects["scores"] = "allow"
    stage.epoch.value += 1
    assert stage.client(frame) == [("broker", frame)]


def test_below_version_8_an_unapproved_produce_is_29():
    stage = opened(scores="ask")
    frame = produce(5, {"scores": [0]}, version=7)
    (_, (_, [wanted])), _ = stage.client(frame)
    stage.session.resume_approval({wanted: ("R-1", "pending")})
    [(_, answer)] = stage.client(frame)
    assert read_response(0, 7, answer)[1]["responses"][0]["partition_responses"][0]["error_code"] == 29


# -- fetch -------------------------------------------------------------------------------------------------------------


def test_fetch_is_made_sessionless_and_a_consumers():
    stage = opened(t="allow")
    [(side, sent)] = stage.client(fetch(5, ["t"], replica_id=3))
    body = read_request(sent)[3]
    assert side == "broker"
    assert (body["replica_id"], body["session_id"], body["session_epoch"]) == (-1, 0, -1)
    assert body["topics"][0]["partitions"][0]["fetch_offset"] == 5
    answer = fetched(5, {"t": batch([b"a", b"b", b"c"], base_offset=5)})
    assert stage.broker(answer) == [("client", answer)]
    [note] = stage.notes()
    assert (note.kind, note.first_offset, note.last_offset, note.records) == (READ, 5, 7, 3)


def test_a_read_is_noted_as_far_as_it_was_given_out():
    """The answer ends before a batch that cannot be read."""
    plan = build_plan("consume", {"a": REDACT})
    stage = Stage(lambda resource, operation, name, now: (Verdict("allow"), plan if operation == "read" else None))
    stage.log_in()
    stage.client(fetch(5, ["t"]))
    broken = batch([b'{"b":1}', b'{"b":2}'], base_offset=5) + batch([b"no JSON"], base_offset=7) + batch(
        [b'{"b":3}'] * 3, base_offset=8)
    [(side, answer)] = stage.broker(fetched(5, {"t": broken}))
    given = bytes(read_response(1, 12, answer)[1]["responses"][0]["partitions"][0]["records"])
    assert side == "client" and given == batch([b'{"b":1}', b'{"b":2}'], base_offset=5)
    [note] = stage.notes()
    assert (note.kind, note.first_offset, note.last_offset, note.records, note.bytes) == (READ, 5, 6, 2, len(given))
    assert stage.session.flow.take() == {("t", READ): (b"[[0,5,6,2,%d]]" % len(given), 2, len(given))}


def test_a_foreign_fetch_session_is_answered_70():
    """T28."""
    stage = opened(t="allow")
    [(side, answer)] = stage.client(fetch(5, ["t"], session_id=77, session_epoch=3))
    assert side == "client" and read_response(1, 12, answer)[1]["error_code"] == 70


def test_denied_topics_leave_the_request_and_come_back_as_29():
    stage = opened(t="allow")
    [(_, sent)] = stage.client(fetch(5, ["secret", "t"]))
    assert [topic["topic"] for topic in read_request(sent)[3]["topics"]] == ["t"]
    [(_, answer)] = stage.broker(fetched(5, {"t": batch([b"a"])}))
    got = {r["topic"]: r["partitions"][0] for r in read_response(1, 12, answer)[1]["responses"]}
    assert got["secret"]["error_code"] == 29 and not got["secret"]["records"] and got["secret"]["high_watermark"] == -1
    assert got["t"]["error_code"] == 0 and got["t"]["records"] == batch([b"a"])


def test_a_policy_that_changed_during_a_long_poll_holds_the_answer_back():
    stage = opened(t="allow")
    stage.client(fetch(5, ["t"]))
    stage.rules.effects["t"] = "deny"
    stage.epoch.value += 1
    [(_, answer)] = stage.broker(fetched(5, {"t": batch([b"canary"])}))
    assert b"canary" not in answer
    assert read_response(1, 12, answer)[1]["responses"][0]["partitions"][0]["error_code"] == 29
