"""A session that proves itself anew on the live connection (KIP-368): every step, every order that is not legal."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kproxy._ext import playbook
from kproxy.model.access import Facts, Principal
from tests.support.frames import batch, read_response, request, split
from tests.support.playbook import BROKER, FACTS, NOW, Rules, Stage, fetch, fetched, opened, produce, produced

#: What the first token proved, and what a later one does.
FIRST = msgspec.structs.replace(FACTS, expires_at=NOW + 60)
NEXT = msgspec.structs.replace(FACTS, expires_at=NOW + 120, attested={"run": "r2"})
JSON = b'{"status":"invalid_token"}'


def handshake(correlation: int, mechanism: str = "OAUTHBEARER", version: int = 1) -> bytes:
    return request(17, version, correlation, {"mechanism": mechanism})


def token(correlation: int, payload: bytes = b"t2", version: int = 1) -> bytes:
    return request(36, version, correlation, {"auth_bytes": payload})


def begun(facts: Facts = FIRST, now: float = NOW + 1, **effects: str) -> Stage:
    """An open session whose handshake for a re-authentication has been answered."""
    stage = opened(facts, **effects)
    [(_, answer)] = stage.client(handshake(10, facts.mechanism), now)
    assert read_response(17, 1, answer) == (10, {"error_code": 0, "mechanisms": ["OAUTHBEARER", "PLAIN"]})
    assert stage.session.phase == "reauthenticating"
    return stage


def answers_of(actions: list[tuple[str, Any]]) -> list[bytes]:
    return [frame for side, data in actions if side == "client" for frame in split(data)]


@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "PLAIN"])
def test_a_token_of_the_same_principal_renews_the_session(mechanism: str):
    first = msgspec.structs.replace(FIRST, mechanism=mechanism)
    after = msgspec.structs.replace(NEXT, mechanism=mechanism)
    stage = begun(first, t="allow")
    assert stage.client(token(11), NOW + 1) == [("wait", ("token", mechanism, b"t2"))]
    stage.session.resume_login(after, NOW + 2)
    [(_, answer)] = playbook.take_actions(stage.session)
    assert read_response(36, 1, answer) == (
        11, {"error_code": 0, "error_message": None, "auth_bytes": b"", "session_lifetime_ms": 118_000})
    assert (stage.session.phase, stage.session.facts) == ("open", after)
    frame = produce(12, {"t": [0]})
    assert stage.client(frame, NOW + 119) == [("broker", frame)]
    assert stage.client(frame, NOW + 120) == [("close", "session_expired")]


@pytest.mark.parametrize(("left", "told"), [(60, 60_000), (0.0019, 1), (0.5, 500), (float("inf"), 0)])
def test_the_first_answer_tells_how_long_the_session_lasts(left: float, told: int):
    assert Stage(Rules()).log_in(msgspec.structs.replace(FACTS, expires_at=NOW + left)) == told


def test_a_client_of_version_0_is_told_nothing_and_ends_all_the_same():
    stage = Stage(Rules(t="allow"))
    stage.session.resume_versions(BROKER)
    stage.client(handshake(1, "PLAIN"))
    stage.client(token(2, version=0))
    stage.session.resume_login(FIRST, NOW)
    stage.session.resume_broker(BROKER, NOW)
    [(_, answer)] = playbook.take_actions(stage.session)
    assert read_response(36, 0, answer) == (2, {"error_code": 0, "error_message": None, "auth_bytes": b""})
    frame = produce(3, {"t": [0]})
    assert stage.client(frame, NOW + 59) == [("broker", frame)]
    assert stage.client(frame, NOW + 60) == [("close", "session_expired")]


@pytest.mark.parametrize("left", [0.0, -5.0, 0.0009])
@pytest.mark.parametrize("again", [False, True])
def test_a_token_that_ends_now_is_refused_because_a_lifetime_of_0_would_mean_none(left: float, again: bool):
    ended = msgspec.structs.replace(FACTS, expires_at=NOW + 1 + left)
    if again:
        stage = begun()
        stage.client(token(11), NOW + 1)
        stage.session.resume_login(ended, NOW + 1)
    else:
        stage = Stage(Rules())
        stage.session.resume_versions(BROKER)
        stage.client(handshake(10))
        stage.client(token(11))
        stage.session.resume_login(ended, NOW)
        stage.session.resume_broker(BROKER, NOW + 1)
    (_, answer), close = playbook.take_actions(stage.session)
    body = read_response(36, 1, answer)[1]
    assert (body["error_code"], body["session_lifetime_ms"]) == (58, 0)
    assert close == ("close", "session_expired")


def test_five_in_flight_keep_their_slots_and_their_order():
    stage = opened(FIRST, t="allow", no="deny")
    asked = [fetch(20 + n, ["t"]) for n in range(4)] + [produce(24, {"t": [0]})]
    for frame in asked:
        assert [side for side, _ in stage.client(frame, NOW + 1)] == ["broker"]
    assert stage.client(handshake(30), NOW + 1) == []
    assert stage.client(token(31) + produce(32, {"t": [0]}), NOW + 1)[0][0] == "wait"
    early = stage.broker(fetched(20, {"t": batch([b"a"])}), NOW + 1)
    assert [read_response(1, 12, frame)[0] for frame in answers_of(early)] == [20]
    stage.session.resume_login(NEXT, NOW + 1)
    assert playbook.take_actions(stage.session) == []
    assert stage.session.phase == "open"
    refused = produce(33, {"no": [0]})
    assert stage.client(refused, NOW + 1) == []
    later = [actions for n in (21, 22, 23) for actions in stage.broker(fetched(n, {"t": batch([b"a"])}), NOW + 1)]
    assert [read_response(1, 12, frame)[0] for frame in answers_of(later)] == [21, 22, 23]
    last = answers_of(stage.broker(produced(24, {"t": {0: 7}}), NOW + 1))
    assert [int.from_bytes(frame[4:8], "big") for frame in last] == [24, 30, 31, 33]
    assert read_response(36, 1, last[2])[1]["session_lifetime_ms"] == 119_000
    assert stage.session.slots.count == 0


def test_requests_behind_the_token_wait_for_its_verdict():
    stage = begun(t="allow")
    behind = produce(12, {"t": [0]})
    assert stage.client(token(11) + behind, NOW + 1) == [
        ("wait", ("token", "OAUTHBEARER", b"t2")), ("held", behind)]
    stage.session.resume_login(NEXT, NOW + 1)
    playbook.take_actions(stage.session)
    assert stage.client(behind, NOW + 1) == [("broker", behind)]


def test_in_a_long_poll_the_answers_come_after_the_poll_and_by_the_new_facts():
    stage = opened(FIRST, t="allow")
    stage.client(fetch(20, ["t"]), NOW + 1)
    assert stage.client(handshake(30), NOW + 1) == []
    stage.client(token(31), NOW + 1)
    stage.session.resume_login(NEXT, NOW + 1)
    stage.rules.effects["t"] = "deny"
    frames = answers_of(stage.broker(fetched(20, {"t": batch([b"secret"])}), NOW + 1))
    assert [int.from_bytes(frame[4:8], "big") for frame in frames] == [20, 30, 31]
    [topic] = read_response(1, 12, frames[0])[1]["responses"]
    assert topic["partitions"][0]["error_code"] == 29 and b"secret" not in frames[0]


def test_every_decision_is_taken_anew():
    stage = begun(t="allow")
    frame = produce(12, {"t": [0]})
    asked = len(stage.rules.questions)
    stage.client(token(11), NOW + 1)
    stage.session.resume_login(NEXT, NOW + 1)
    playbook.take_actions(stage.session)
    stage.client(frame, NOW + 1)
    assert stage.rules.questions[asked:] == [("topic", "write", "t")]
    stage.client(frame, NOW + 1)
    assert len(stage.rules.questions) == asked + 1


@pytest.mark.parametrize("other", [
    Principal(name="corp:eve", issuer="corp", subject="eve"),
    Principal(name="corp:job", issuer="other", subject="job"),
    Principal(name="corp:job", issuer="corp", subject="another job"),
], ids=["name", "issuer", "subject"])
@pytest.mark.parametrize("in_flight", [False, True])
def test_another_principal_is_refused_58(other: Principal, in_flight: bool):
    """T18."""
    stage = opened(FIRST, t="allow")
    if in_flight:
        stage.client(fetch(20, ["t"]), NOW + 1)
    first = stage.client(handshake(10), NOW + 1)
    stage.client(token(11), NOW + 1)
    stage.session.resume_login(msgspec.structs.replace(NEXT, principal=other), NOW + 1)
    last = playbook.take_actions(stage.session)
    if in_flight:
        assert first == last == [] and stage.session.phase == "ending"
        assert stage.client(produce(12, {"t": [0]}), NOW + 1) == []
        last = stage.broker(fetched(20, {"t": batch([b"a"])}), NOW + 1)
    frames = answers_of(first + last)
    assert [int.from_bytes(frame[4:8], "big") for frame in frames] == ([20, 10, 11] if in_flight else [10, 11])
    body = read_response(36, 1, frames[-1])[1]
    assert (body["error_code"], body["error_message"]) == (
        58, f"Cannot change principals during re-authentication from corp:job to {other.name}")
    assert last[-1] == ("close", "principal_changed")
    assert stage.session.facts is FIRST


def test_another_mechanism_is_refused_with_the_token():
    """T18."""
    stage = opened(FIRST, t="allow")
    [(_, answer)] = stage.client(handshake(10, "PLAIN"), NOW + 1)
    assert read_response(17, 1, answer)[1]["error_code"] == 0
    (_, answer), close = stage.client(token(11, b"\0u\0t"), NOW + 1)
    body = read_response(36, 1, answer)[1]
    assert (body["error_code"], body["error_message"]) == (
        58, "The mechanism of a session, OAUTHBEARER, cannot be changed by re-authentication")
    assert close == ("close", "mechanism_changed")


def test_an_unknown_mechanism_gets_33_and_the_end():
    stage = opened(FIRST)
    (_, answer), close = stage.client(handshake(10, "GSSAPI"), NOW + 1)
    assert read_response(17, 1, answer)[1] == {"error_code": 33, "mechanisms": ["OAUTHBEARER", "PLAIN"]}
    assert close == ("close", "unsupported_mechanism")


def test_a_refused_oauthbearer_token_is_challenged_then_58():
    stage = begun()
    stage.client(token(11), NOW + 1)
    stage.session.refuse_login("Authentication failed (error id 5)", JSON, NOW + 1)
    [(_, answer)] = playbook.take_actions(stage.session)
    assert read_response(36, 1, answer) == (
        11, {"error_code": 0, "error_message": None, "auth_bytes": JSON, "session_lifetime_ms": 0})
    (_, answer), close = stage.client(token(12, b"\x01"), NOW + 1)
    assert read_response(36, 1, answer)[0] == 12 and read_response(36, 1, answer)[1]["error_code"] == 58
    assert close == ("close", "reauthentication_failed")


def test_a_refused_plain_token_is_58_behind_what_is_in_flight():
    stage = opened(msgspec.structs.replace(FIRST, mechanism="PLAIN"), t="allow")
    stage.client(produce(20, {"t": [0]}), NOW + 1)
    stage.client(handshake(10, "PLAIN"), NOW + 1)
    stage.client(token(11), NOW + 1)
    stage.session.refuse_login("Authentication failed (error id 5)", None, NOW + 1)
    assert playbook.take_actions(stage.session) == []
    *answers, close = stage.broker(produced(20, {"t": {0: 3}}), NOW + 1)
    frames = answers_of(answers)
    assert [int.from_bytes(frame[4:8], "big") for frame in frames] == [20, 10, 11]
    assert read_response(36, 1, frames[2])[1]["error_message"] == "Authentication failed (error id 5)"
    assert close == ("close", "reauthentication_failed")


def test_twice_within_a_second_is_answered_34_and_the_connection_stays():
    """T18."""
    stage = begun(t="allow", now=NOW + 1)
    stage.client(token(11), NOW + 1)
    stage.session.resume_login(NEXT, NOW + 1)
    playbook.take_actions(stage.session)
    [(_, answer)] = stage.client(handshake(12), NOW + 1.999)
    assert read_response(17, 1, answer) == (12, {"error_code": 34, "mechanisms": ["OAUTHBEARER", "PLAIN"]})
    frame = produce(13, {"t": [0]})
    assert stage.client(frame, NOW + 1.999) == [("broker", frame)]
    stage.broker(produced(13, {"t": {0: 1}}), NOW + 2)
    [(_, answer)] = stage.client(handshake(14), NOW + 2)
    assert read_response(17, 1, answer)[1]["error_code"] == 0


def test_right_after_the_login_a_first_one_may_come():
    stage = opened(FIRST)
    [(_, answer)] = stage.client(handshake(10), NOW)
    assert read_response(17, 1, answer)[1]["error_code"] == 0


def test_a_session_without_an_end_needs_none():
    stage = opened(t="allow")
    [(_, answer)] = stage.client(handshake(10), NOW + 50)
    assert read_response(17, 1, answer)[1]["error_code"] == 34
    assert stage.session.phase == "open"


def test_a_token_without_a_handshake_is_answered_34_and_the_connection_stays():
    stage = opened(FIRST, t="allow")
    [(_, answer)] = stage.client(token(10), NOW + 1)
    body = read_response(36, 1, answer)[1]
    assert (body["error_code"], body["error_message"]) == (34, "A re-authentication has not begun")
    frame = produce(13, {"t": [0]})
    assert stage.client(frame, NOW + 1) == [("broker", frame)]


@pytest.mark.parametrize(("frame", "api", "version"), [
    (request(22, 3, 12, {}), 22, 3), (fetch(12, ["t"]), 1, 12), (handshake(12), 17, 1),
    (request(18, 3, 12, {"client_software_name": "a", "client_software_version": "1"}), 18, 3)],
    ids=["init_producer_id", "fetch", "handshake", "versions"])
def test_between_handshake_and_token_nothing_else_is_served(frame: bytes, api: int, version: int):
    stage = begun(t="allow")
    (_, answer), close = stage.client(frame, NOW + 1)
    correlation, body = read_response(api, version, answer)
    assert (correlation, body["error_code"]) == (12, 34)
    assert close == ("close", "illegal_sasl_state")


def test_an_answer_without_a_place_for_34_is_left_out():
    stage = begun(t="allow")
    assert stage.client(produce(12, {"t": [0]}), NOW + 1) == [("close", "illegal_sasl_state")]


def test_after_the_challenge_only_the_last_word_counts():
    stage = begun(t="allow")
    stage.client(token(11), NOW + 1)
    stage.session.refuse_login("no", JSON, NOW + 1)
    playbook.take_actions(stage.session)
    assert stage.client(produce(12, {"t": [0]}), NOW + 1) == [("close", "illegal_sasl_state")]


def test_the_end_comes_during_a_re_authentication_too():
    stage = begun(t="allow")
    assert stage.client(token(11), NOW + 60) == [("close", "session_expired")]


def test_no_answer_is_written_after_the_end():
    stage = opened(FIRST, t="allow")
    for correlation in (20, 21):
        stage.client(fetch(correlation, ["t"]), NOW + 1)
    assert stage.broker(fetched(20, {"t": batch([b"a"])}), NOW + 59.999)[0][0] == "client"
    assert stage.broker(fetched(21, {"t": batch([b"late"])}), NOW + 60) == [("close", "session_expired")]


def test_a_verdict_about_nothing_changes_nothing():
    stage = opened(FIRST)
    stage.session.resume_login(NEXT, NOW + 1)
    stage.session.refuse_login("no", None, NOW + 1)
    stage.session.resume_broker(BROKER, NOW + 1)
    assert (stage.session.phase, stage.session.facts) == ("open", FIRST)
    assert playbook.take_actions(stage.session) == []


@pytest.mark.parametrize("mangled", [b"\xff\xff\xff\xff", b""], ids=["length", "empty"])
def test_a_mangled_token_frame_closes(mangled: bytes):
    stage = begun()
    head = (36).to_bytes(2, "big") + (1).to_bytes(2, "big") + (11).to_bytes(4, "big") + b"\xff\xff" + mangled
    assert stage.client(len(head).to_bytes(4, "big") + head, NOW + 1) == [("close", "malformed_request")]


def test_an_old_client_that_authenticates_raw_is_not_read():
    stage = opened(FIRST)
    [(_, answer)] = stage.client(handshake(10, version=0), NOW + 1)
    assert read_response(17, 0, answer)[1]["error_code"] == 34
    assert stage.session.phase == "open"
