"""What a client that means harm tries on its own session: frames that slip past a decision, floods, and doubtful audit.

The native session is driven by hand; what it forwards, answers, tells and keeps is asserted, never only that it lives.
"""

from __future__ import annotations

import gc
import json
import random
import struct
import time
from contextlib import suppress

import msgspec
import pytest

from kproxy._ext import chunk, playbook, schema
from kproxy._ext.request import request_head
from kproxy._ext.session import Session
from kproxy.errors import WireError
from kproxy.model.access import ApprovalWanted, Principal
from kproxy.model.spool import OUTCOME
from tests.support.frames import batch, read_request, read_response, request, split
from tests.support.playbook import BROKER, FACTS, NOW, Rules, Stage, fetch, opened, produce, produced


def told(stage: Stage, kind: str) -> list[dict]:
    return [fields for one, fields in stage.told if one == kind]


# -- frames that slip past ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("acks", [1, 0])
def test_a_denied_topic_without_partitions_is_cut_too(acks: int):
    stage = opened(t="allow")
    actions = stage.client(produce(5, {"secret": [], "t": [0]}, acks=acks))
    assert [topic["name"] for topic in read_request(actions[0][1])[3]["topic_data"]] == ["t"]
    assert [denied["name"] for denied in told(stage, "denied")] == ["secret"]


def test_a_denied_topic_without_partitions_is_not_forwarded_alone():
    stage = opened(t="allow")
    [(side, answer)] = stage.client(produce(5, {"secret": []}))
    assert side == "client" and read_response(0, 9, answer)[1]["responses"] == []


def test_an_internal_topic_without_partitions_is_not_forwarded():
    stage = opened(**{"__consumer_offsets": "allow"})
    [(side, _)] = stage.client(produce(5, {"__consumer_offsets": []}))
    assert side == "client"


def test_a_partition_named_twice_has_no_meaning_that_could_be_audited():
    for topics in ({"t": [0, 0]}, {"t": [*range(100), 7]}):
        stage = opened(t="allow")
        assert stage.client(produce(5, topics)) == [("close", "malformed_request")]
        assert stage.notes() == []


def test_the_same_partition_of_two_topics_is_served():
    stage = opened(t="allow", u="allow")
    frame = produce(5, {"t": [*range(40)], "u": [*range(40)]})
    assert stage.client(frame) == [("broker", frame)]


def test_more_tags_than_a_byte_counts_leave_the_fetch_well_formed():
    stage = opened(t="allow")
    tags = [(number, b"x" * (number % 3)) for number in range(2, 302)]
    [(side, sent)] = stage.client(fetch(5, ["t"], _tags=tags))
    assert side == "broker" and read_request(sent)[3]["_tags"] == tags


@pytest.mark.parametrize("length", [32_768, 65_537])
def test_a_name_longer_than_kafkas_longest_string_is_malformed(length: int):
    name = "t" * length
    stage = opened(**{name: "allow"})
    assert stage.client(produce(5, {name: [0]})) == [("close", "malformed_request")]


def test_a_dead_session_is_not_brought_back_by_a_late_answer():
    stage = Stage(Rules(t="allow"))
    stage.session.resume_versions(BROKER)
    stage.client(request(17, 1, 1, {"mechanism": "PLAIN"}))
    stage.client(request(36, 1, 2, {"auth_bytes": b"x"}))
    stage.session.close("session_killed")
    stage.session.resume_login(FACTS, NOW)
    stage.session.resume_broker(BROKER, NOW)
    stage.session.refuse_login("no", b"{}", NOW)
    assert (stage.session.phase, stage.session.facts, stage.session.waiting) == ("closed", None, None)
    assert stage.client(produce(3, {"t": [0]})) == [("close", "session_killed")]


def test_a_broker_alone_opens_nothing():
    stage = Stage(Rules(t="allow"))
    stage.session.resume_broker(BROKER, NOW)
    assert stage.client(produce(3, {"t": [0]})) == [("close", "not_authenticated")]


@pytest.mark.parametrize("version", [1, 4, 8, 9, 11])
def test_no_bytes_travel_behind_a_request_that_nobody_has_read(version: int):
    stage = opened(t="allow")
    frame = request(3, version, 5, {"topics": [{"name": "t"}]})
    longer = (len(frame) - 1).to_bytes(4, "big") + frame[4:] + b"\0\0\0"
    assert stage.client(longer) == [("close", "malformed_request")]


def test_librdkafkas_list_is_served_and_no_longer_one():
    head = struct.pack(">hhih", 3, 11, 5, 7) + b"rdkafka" + b"\0" * 5 + b"\1\0\0"
    for more, expected in ((b"", "broker"), (b"\0\0", "close")):
        frame = struct.pack(">i", len(head + more)) + head + more
        assert [side for side, _ in opened(t="allow").client(frame)] == [expected]


# -- what the audit is told --------------------------------------------------------------------------------------------


def test_a_refusal_by_kproxy_itself_is_told_like_a_rules():
    stage = opened(**{"__consumer_offsets": "allow", "t": "allow"})
    stage.client(produce(5, {"__consumer_offsets": [0]}))
    stage.client(transactional(6, None))
    assert [(one["resource"], one["operation"], one["name"], one["verdict"].effect) for one in told(stage, "denied")] \
        == [("topic", "write", "__consumer_offsets", "deny"), ("transactional_id", "write", "", "deny")]


def transactional(correlation: int, transactional_id: str | None) -> bytes:
    return request(0, 9, correlation, {
        "transactional_id": transactional_id, "acks": 1, "timeout_ms": 1000, "topic_data": [
            {"name": "t", "partition_data": [{"index": 0, "records": batch([b"v"], attributes=0x10)}]}]})


def test_topics_whose_hashes_collide_stay_apart():
    # These two have one FNV-1a hash of 64 bits.
    one, other = "8yn0iYCKYHlIj4-BwPqk", "GReLUrM4wMqfg9yzV3KQ"
    stage = opened(**{one: "allow", other: "allow"})
    for correlation, name in enumerate((one, other)):
        stage.client(produce(correlation, {name: [0]}))
        stage.broker(produced(correlation, {name: {0: 10}}))
    assert {key: [run[:3] for run in json.loads(runs)] for key, (runs, _, _) in stage.session.flow.take().items()} == {
        (one, OUTCOME): [[0, 10, 11]], (other, OUTCOME): [[0, 10, 11]]}


def test_an_outcome_nobody_asked_for_moves_nothing():
    stage = opened(t="allow")
    stage.client(produce(1, {"t": [0]}))
    stage.broker(produced(1, {"t": {0: 4, 9: 700}, "u": {0: 1}}))
    assert stage.session.flow.take().keys() == {("t", OUTCOME)}


# -- floods ------------------------------------------------------------------------------------------------------------


def test_one_frame_of_many_denied_topics_does_not_fill_the_audit():
    stage = opened(t="allow")
    [(_, answer)] = stage.client(produce(5, {f"x{at}": [0] for at in range(5000)}))
    assert len(read_response(0, 9, answer)[1]["responses"]) == 5000
    assert len(told(stage, "denied")) == 256
    stage.session.tell_repeats()
    assert told(stage, "denied")[256:] == [{"details": {"more": 5000 - 256}}]


def test_a_repeated_refusal_is_told_once_a_second_with_its_count():
    stage = opened(t="allow")
    for at in range(1000):
        stage.client(produce(at, {"secret": [0]}))
    assert [one["name"] for one in told(stage, "denied")] == ["secret"]
    stage.session.tell_repeats()
    assert [(one["name"], one.get("details")) for one in told(stage, "denied")] \
        == [("secret", None), ("secret", {"repeated": 999})]
    stage.client(produce(1, {"secret": [0]}))
    stage.session.tell_repeats()
    assert len(told(stage, "denied")) == 3
    assert stage.counters.read()["requests"][0, "deny"] == 1001


def test_what_is_kept_for_an_answer_counts_as_queued():
    stage = opened(t="allow")
    stage.client(produce(1, {"t": [0]}))
    least = stage.session.slots.waiting
    assert least > 0
    denied = {f"x{at}": [0] for at in range(1000)}
    [(_, sent)] = stage.client(produce(2, {"t": [0], **denied}))
    assert len(sent) < 300 and stage.session.slots.waiting - least > 100_000
    stage.broker(produced(1, {"t": {0: 1}}) + produced(2, {"t": {0: 2}}))
    assert (stage.session.slots.count, stage.session.slots.waiting) == (0, 0)


def test_one_frame_asks_for_no_more_approvals_than_a_principal_may_have():
    stage = opened(**{f"s{at}": "ask" for at in range(1000)})
    frame = produce(5, {f"s{at}": [0] for at in range(1000)})
    (_, (_, wanted)), _ = stage.client(frame)
    assert len(wanted) == 100
    stage.session.resume_approval({one: ("R-1", "pending") for one in wanted})
    [(_, answer)] = stage.client(frame)
    items = [item["partition_responses"][0] for item in read_response(0, 9, answer)[1]["responses"]]
    assert {item["error_code"] for item in items} == {44}
    assert sum("none could be asked" in item["error_message"] for item in items) == 900


@pytest.mark.parametrize("answer", [("R-1", "pending"), ("", "unavailable")])
def test_an_old_answer_about_an_approval_is_asked_for_again(answer: tuple[str, str]):
    stage = opened(scores="ask")
    frame = produce(5, {"scores": [0]})
    wanted = ApprovalWanted("new-model", "write", "topic", "scores", "m1")
    stage.client(frame)
    stage.session.resume_approval({wanted: answer})
    assert [kind for kind, _ in stage.client(frame, NOW + 1)] == ["client"]
    assert [kind for kind, _ in stage.client(frame, NOW + 5)] == ["client"]
    assert stage.client(frame, NOW + 7)[0] == ("wait", ("approval", [wanted]))


def test_an_idle_session_holds_no_read_buffer():
    stages = [opened(t="allow") for _ in range(10)]
    for stage in stages:
        stage.client(produce(1, {"t": [0]}))
        stage.broker(produced(1, {"t": {0: 1}}))
    gc.collect()
    idle = chunk.idle_bytes()
    del stages, stage
    gc.collect()
    assert chunk.idle_bytes() == idle


# -- a hammer ----------------------------------------------------------------------------------------------------------

SECONDS = 8.0
ENDING = msgspec.structs.replace(FACTS, expires_at=NOW + 1000)
#: A re-authentication as a client pipelines it; the mutated frames around it find its places.
AGAIN = request(17, 1, 8, {"mechanism": "PLAIN"}) + request(36, 1, 9, {"auth_bytes": b"y"})


def seeds() -> list[bytes]:
    offsets = {"name": "t", "partitions": [{"partition_index": 0}]}
    return [
        produce(1, {"t": [0, 1], "secret": [0]}), produce(1, {"t": [0]}, acks=0), produce(1, {"t": [0]}, version=7),
        produce(1, {"scores": [0], "t": [1]}), fetch(1, ["t", "secret"]), transactional(1, "t"),
        request(3, 9, 1, {"topics": [{"name": "t"}, {"name": "secret"}]}), request(3, 1, 1, {"topics": None}),
        request(2, 6, 1, {"replica_id": -1, "topics": [offsets, {**offsets, "name": "secret"}]}),
        request(10, 4, 1, {"key_type": 0, "coordinator_keys": ["t", "secret"]}),
        request(17, 1, 1, {"mechanism": "PLAIN"}), request(36, 1, 1, {"auth_bytes": b"x"}), request(18, 0, 1, {}),
    ]


def mutate(rng: random.Random, frame: bytes, seeds_: list[bytes]) -> bytes:
    body = bytearray(frame[4:])
    for _ in range(rng.choice((0, 0, 1, 1, 2, 5))):
        at = rng.randrange(len(body))
        kind = rng.randrange(5)
        if kind == 0:
            body[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif kind == 1:
            del body[at : at + rng.randrange(1, 9)]
        elif kind == 2:
            body[at:at] = rng.randbytes(rng.randrange(1, 5))
        elif kind == 3:
            body[at:at] = body[at : at + rng.randrange(1, 60)]
        else:
            other = rng.choice(seeds_)[4:]
            body[at:] = other[min(at, len(other) - 1) :]
        body = body or bytearray(b"\0")
    return struct.pack(">i", len(body)) + bytes(body)


ALLOWED = {"t", "u"}


def names_of(value: object) -> set[str]:
    """Every topic, group and transactional id that a parsed request names."""
    found: set[str] = set()
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("name", "topic", "key") and isinstance(inner, str):
                found.add(inner)
            elif key == "coordinator_keys":
                found.update(inner)
            else:
                found |= names_of(inner)
    elif isinstance(value, list):
        for inner in value:
            found |= names_of(inner)
    return found


def read_sent(frame: bytes) -> tuple[int, dict]:
    """(api key, body) of a forwarded frame, whose header may hold tags. librdkafka's list of all topics is read without
    the bytes it has too many, three at most."""
    api, version, _, _, at = request_head(frame[4:])
    body = frame[4 + at :]
    if api == 3 and version >= 9 and body[:1] == b"\0":
        for spare in (0, 1, 2):
            with suppress(WireError):
                return api, schema.parse(api, version, False, body[: len(body) - spare])
        body = body[:-3]
    return api, schema.parse(api, version, False, body)


def check_sent(sent: bytes) -> int:
    """How many of the forwarded frames have answers."""
    answers = 0
    for frame in split(sent):
        api, body = read_sent(frame)
        assert api not in (17, 18, 36)
        assert names_of(body) <= ALLOWED, frame
        answers += not (api == 0 and body["acks"] == 0)
    return answers


def open_at_last(rng: random.Random, stage: Stage) -> bool:
    """Brings a session on by honest steps, whatever state the mutated frames left it in."""
    session = stage.session
    if session.waiting is None:
        stage.client(request(17, 1, 1, {"mechanism": "PLAIN"}))
    if session.waiting is None:
        stage.client(request(36, 1, 2, {"auth_bytes": b"x"}))
    if session.waiting is not None and session.waiting[0] == "token":
        session.resume_login(ENDING, NOW)
    if session.waiting is not None and session.waiting[0] == "broker":
        session.resume_broker(BROKER, NOW)
    playbook.take_actions(session)
    return session.phase == "open"


def judge(rng: random.Random, session: Session, now: float) -> None:
    """One of the verdicts a token can have."""
    facts = msgspec.structs.replace(ENDING, expires_at=now + 1000)
    other = msgspec.structs.replace(facts, principal=Principal("corp:eve", "corp", "eve"))
    verdict = rng.randrange(6)
    if verdict < 3:
        session.resume_login(facts, now)
        assert (session.facts, session.phase) == (facts, "open")
    elif verdict == 3:
        held = session.facts
        session.resume_login(other, now)
        assert session.facts is held and session.phase in ("ending", "closed")
    else:
        session.refuse_login("no", b"{}" if verdict == 4 else None, now)


def play(rng: random.Random, seeds_: list[bytes]) -> tuple[int, int]:
    """One session; how many frames were taken and how many went to the broker."""
    stage = Stage(Rules(t="allow", u="allow", scores="ask"))
    session = stage.session
    session.resume_versions(BROKER)
    taken = forwarded = 0
    for _ in range(rng.randrange(3)):
        for side, _ in stage.client(mutate(rng, rng.choice(seeds_), seeds_)):
            assert side != "broker", "nothing is forwarded for nobody"
    if session.phase == "closed" or not open_at_last(rng, stage):
        return taken, forwarded
    answers = 0
    while session.phase != "closed" and taken < 60:
        taken += 1
        was = session.phase
        frame = AGAIN if rng.random() < 0.1 else mutate(rng, rng.choice(seeds_), seeds_)
        taken += frame is AGAIN     # two frames
        for side, what in stage.client(frame, NOW + taken):
            if side == "broker":
                assert was == "open", "nobody is served between a handshake and its verdict"
                answers += check_sent(what)
                forwarded += 1
            elif side == "wait" and what[0] == "token":
                judge(rng, session, NOW + taken)
            elif side == "wait":
                session.resume_approval({wanted: ("R-1", "pending") for wanted in what[1]})
        local = session.slots.count - answers
        assert 0 <= local <= taken and session.slots.count <= taken
        assert (session.slots.count == 0) == (session.slots.waiting == 0)
        if rng.random() < 0.02:
            stage.epoch.value += 1
    return taken, forwarded


def test_mutated_frames_never_carry_a_name_that_is_not_allowed():
    rng = random.Random(20261122)
    seeds_ = seeds()
    until = time.monotonic() + SECONDS
    sessions = frames = forwarded = 0
    while time.monotonic() < until:
        taken, sent = play(rng, seeds_)
        sessions, frames, forwarded = sessions + 1, frames + taken, forwarded + sent
    # The hammer must reach what it is to break.
    assert sessions > 200 and frames > 1000 and forwarded > 500
