"""Access that ends while connections are open, half of them in a long poll: when did the last record byte arrive?

A trial is one command – a reload, a revoke, a kill, the end of a token or of a grant – and what it measures is the
time from its return to the last record byte that reached any connection it concerns. A SIGHUP returns before anybody
has read the new policy; a revoke answers when every worker decides by it.
"""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest

from tests.support.clients import Record
from tests.support.crowd import CANARY, Crowd, Reader, Trials
from tests.support.java import JavaDriver
from tests.support.kafka_broker import KafkaBroker
from tests.support.ports import wait_for
from tests.support.raw_client import FETCH, RawClient, fetch
from tests.support.stage import Stage
from tests.support.stalls import Stalls

pytestmark = pytest.mark.integration

POLICY = """\
roles:
  crowd:
    members: '"crowd" in principal.groups'
    allow:
      - {operations: [read], topics: [TOPICS, "held.*", "always.*"]}
  approver: {members: {groups: [ml-risk]}}
approvals:
  - {name: reading, operations: [read], topics: ["held.*"], unless: 'attested.model in granted.models',
     approvers: {role: approver}, request_ttl: 1h, max_duration: 8h}
"""
EVEN, ODD = POLICY.replace("TOPICS", '"even.*"'), POLICY.replace("TOPICS", '"odd.*"')
#: After a command its connections are watched this long before it is said that nothing came any more.
WATCH = 1.5


@dataclass(frozen=True)
class Size:
    """How many of each; ``connections`` are spread over what a trial concerns, every other one in a long poll."""

    connections: int
    reloads: int
    revokes: int
    ends: int
    kills: int


SHORT = Size(connections=40, reloads=3, revokes=5, ends=3, kills=20)
LONG = Size(connections=200, reloads=70, revokes=70, ends=20, kills=200)
SIZES = [pytest.param(SHORT, id="short"),
         pytest.param(LONG, id="long", marks=[pytest.mark.slow, pytest.mark.timeout(400)])]


@pytest.fixture(scope="module")
def own(kafka: KafkaBroker, java: JavaDriver) -> Iterator[Stage]:
    with Stage(kafka, java, way="tapped4", workers=2, policy=EVEN) as stage:
        yield stage


@pytest.fixture
def stalls() -> Iterator[Stalls]:
    with Stalls() as stalls:
        yield stalls


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    with Crowd() as crowd:
        yield crowd


def make_topic(stage: Stage, prefix: str) -> str:
    topic = stage.make_topic(prefix)
    stage.write_direct(topic, [Record(b'{"v":"' + CANARY + b'"}')])
    return topic


def poll_ms(at: int) -> int:
    """Every other connection is in a poll, whose end lies somewhere in the second after most commands."""
    return 0 if at % 2 else 600 + 37 * at % 700


def gather(stage: Stage, crowd: Crowd, topic: str, count: int, **about: object) -> list[Reader]:
    token = stage.token("crowd", ["crowd"], **about)
    return [crowd.join(stage.bootstrap("public"), topic, token, poll_ms(at)) for at in range(count)]


def wait_until_read(readers: list[Reader], since: float) -> None:
    wait_for("records at every connection", lambda: all(one.records_at > since for one in readers), 15)


def watch(since: float) -> None:
    wait_for("the time of watching to pass", lambda: time.time() >= since + WATCH, WATCH + 5)


def tell(trials: Trials) -> None:
    print(f"\n{trials}")
    assert trials.too_late == [], trials


@pytest.mark.parametrize("size", SIZES)
def test_a_reload_takes_access_away(own: Stage, crowd: Crowd, stalls: Stalls, size: Size) -> None:
    half = size.connections // 2
    sides = {policy: gather(own, crowd, make_topic(own, prefix), half)
             for policy, prefix in ((EVEN, "even."), (ODD, "odd."))}
    own.node.reload(EVEN)
    wait_until_read(sides[EVEN], 0)
    trials = Trials(f"reload, {size.connections} connections", stalls)
    for wanted, other in itertools.islice(itertools.cycle(((ODD, EVEN), (EVEN, ODD))), size.reloads):
        own.node.reload(wanted)
        since = time.time()
        polling = sum(one.is_polling for one in sides[other])
        watch(since)
        trials.add(since, max(one.records_at for one in sides[other]))
        assert polling >= len(sides[other]) // 4, "too few connections were in a long poll to mean anything"
        wait_until_read(sides[wanted], since)
    assert all(one.closed_at == 0 for one in crowd.readers), "a reload closes nobody"
    tell(trials)


def approve(stage: Stage, topic: str, model: str, **body: object) -> dict[str, object]:
    waiting = wait_for("the request", lambda: stage.pending(topic))
    status, answer = stage.review(waiting[0]["id"], reason="seen", **body)
    assert status == 200 and answer["in_force"] is True, answer
    return stage.grant(topic)


@pytest.mark.parametrize("size", SIZES)
def test_a_revoke_takes_a_grant_away(own: Stage, crowd: Crowd, stalls: Stalls, size: Size) -> None:
    groups = min(10, size.revokes)
    held = [(make_topic(own, "held."), f"models:/m/{at}") for at in range(groups)]
    readers = {topic: gather(own, crowd, topic, size.connections // groups, model_uri=model) for topic, model in held}
    trials = Trials(f"revoke, {size.connections} connections", stalls)
    for _ in range(size.revokes // groups):
        revoked: list[tuple[str, float]] = []
        for topic, model in held:
            since = time.time()
            grant = approve(own, topic, model)
            wait_until_read(readers[topic], since)
            own.revoke(str(grant["id"]))
            revoked.append((topic, time.time()))
        watch(revoked[-1][1])
        for topic, since in revoked:
            trials.add(since, max(one.records_at for one in readers[topic]))
    assert all(one.closed_at == 0 for one in crowd.readers)
    tell(trials)


@pytest.mark.parametrize("size", SIZES)
def test_a_grant_ends_by_itself(own: Stage, crowd: Crowd, stalls: Stalls, size: Size) -> None:
    held = [(make_topic(own, "held."), f"models:/e/{at}") for at in range(size.ends)]
    readers = {topic: gather(own, crowd, topic, max(2, size.connections // size.ends), model_uri=model)
               for topic, model in held}
    ends: dict[str, float] = {}
    for topic, model in held:
        since = time.time()
        ends[topic] = float(str(approve(own, topic, model, **{"for": 4.0})["until"]))
        wait_until_read(readers[topic], since)
    watch(max(ends.values()))
    trials = Trials(f"grant's end, {len(crowd.readers)} connections", stalls)
    for topic, end in ends.items():
        trials.add(end, max(one.records_at for one in readers[topic]))
    tell(trials)


@pytest.mark.parametrize("size", SIZES)
def test_a_session_ends_with_its_token(own: Stage, crowd: Crowd, stalls: Stalls, size: Size) -> None:
    topic = make_topic(own, "always.")
    readers = [crowd.join(own.bootstrap("public"), topic, own.token("crowd", ["crowd"], 3 + at % 3), poll_ms(at))
               for at in range(size.connections)]
    wait_for("every session's end", lambda: all(one.closed_at for one in readers), 20)
    bytes_ = Trials(f"expiry, last byte, {size.connections} connections", stalls, 0.05)
    closes = Trials("expiry, close", stalls)
    for one in readers:
        assert 0 < one.lifetime_ms <= (one.expires_at - one.login_at) * 1000 + 1
        bytes_.add(one.expires_at, one.records_at)
        closes.add(one.expires_at, one.closed_at)
        assert one.closed_at >= one.expires_at, "no session ends before its time"
    tell(bytes_)
    tell(closes)
    assert own.node.metric("kproxy_close_total", cause="session_expired") >= size.connections
    wait_for("the audit", lambda: sum(
        event.get("cause") == "session_expired" for event in own.node.audit()) >= size.connections)


@pytest.mark.parametrize("size", SIZES)
def test_a_killed_session_is_gone(own: Stage, crowd: Crowd, stalls: Stalls, size: Size) -> None:
    topic = make_topic(own, "always.")
    readers = {one.port: one for one in gather(own, crowd, topic, size.kills)}
    wait_until_read(list(readers.values()), 0)
    operator = own.token("olga", ["operators"])
    status, sessions = own.node.admin("GET", "/v1/sessions?principal=dev:crowd", operator)
    assert status == 200 and len(sessions) == size.kills, sessions
    trials, closes = Trials(f"kill, {size.kills} connections", stalls), Trials("kill, close", stalls)
    for session in sessions:
        still = {port for port, one in readers.items() if not one.closed_at}
        assert own.node.admin("DELETE", f"/v1/sessions/{session['id']}?reason=trial", operator)[0] == 200
        since = time.time()
        [gone] = wait_for("one connection to close", lambda still=still: [
            port for port in still if readers[port].closed_at])
        trials.add(since, readers[gone].records_at)
        closes.add(since, readers[gone].closed_at)
    tell(trials)
    tell(closes)


def slow_reader(stage: Stage, topic: str) -> RawClient:
    """Asked for twenty megabytes and read nothing, until every buffer on the way is full."""
    client = RawClient(stage.bootstrap("public"))
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    assert client.log_in(stage.token("crowd", ["crowd"]))["error_code"] == 0
    for number in range(5):
        client.send(client.frame(FETCH, 12, fetch(topic, offset=8 * number)))
    client.wait_until_full()
    return client


def read_to_end(client: RawClient) -> int:
    """Whole answers until the other side closes or five are there."""
    found = 0
    with suppress(TimeoutError):
        while found < 5 and client.receive() is not None:
            found += 1
    return found


def test_what_waits_for_a_slow_reader_is_thrown_away_with_its_access(own: Stage, stalls: Stalls) -> None:
    big = [Record(CANARY + bytes(500_000))] * 40
    lost, kept = own.make_topic("even."), own.make_topic("always.")
    for topic in (lost, kept):
        own.write_direct(topic, big)
    own.node.reload(EVEN)
    wait_for("the policy", lambda: fetch_code(own, lost) == 0)
    with slow_reader(own, lost) as loser, slow_reader(own, kept) as keeper:
        before = own.node.metric("kproxy_close_total", cause="access_ended")
        own.node.reload(ODD)
        since = time.time()
        wait_for("the slow reader to be cut", lambda: own.node.metric(
            "kproxy_close_total", cause="access_ended") == before + 1)
        assert time.time() - since <= 1.0 + stalls.since(since)
        assert read_to_end(loser) < 5
        assert read_to_end(keeper) == 5
        assert own.node.metric("kproxy_close_total", cause="access_ended") == before + 1


def test_what_waits_for_a_slow_reader_ends_with_its_session(own: Stage, stalls: Stalls) -> None:
    topic = own.make_topic("always.")
    own.write_direct(topic, [Record(CANARY + bytes(500_000))] * 40)
    with slow_reader(own, topic) as client:
        operator = own.token("olga", ["operators"])
        [session] = own.node.admin("GET", "/v1/sessions?principal=dev:crowd", operator)[1]
        assert own.node.admin("DELETE", f"/v1/sessions/{session['id']}?reason=trial", operator)[0] == 200
        since = time.time()
        wait_for("the connection to end", lambda: own.node.admin(
            "GET", "/v1/sessions?principal=dev:crowd", operator)[1] == [])
        assert time.time() - since <= 1.0 + stalls.since(since)
        assert read_to_end(client) < 5


def fetch_code(stage: Stage, topic: str) -> int:
    with stage.raw(token=stage.token("crowd", ["crowd"])) as client:
        answer = client.ask(FETCH, 12, fetch(topic))
    return int(answer["responses"][0]["partitions"][0]["error_code"])
