"""Quotas before a real Kafka: kept by all workers together, told to clients, and no hold on anything else."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.clients import Record
from tests.support.java import JavaDriver
from tests.support.kafka_broker import KafkaBroker
from tests.support.ports import wait_for
from tests.support.raw_client import FETCH, METADATA, PRODUCE, RawClient, fetch, metadata, produce
from tests.support.stage import POLICY, Stage

pytestmark = pytest.mark.integration

RATE = 1_000_000
VALUE = b"x" * 50_000
QUOTAS = """
  limited: {members: {groups: [limited]}}
  crowded: {members: {groups: [crowded]}}
  slow: {members: {groups: [slow]}}
quotas:
  - {for: {role: limited}, produce: 1MB/s, consume: 1MB/s}
  - {for: {role: crowded, each: true}, connections: 3}
  - {for: {role: slow}, requests: 1/s}
"""
QUOTED = POLICY.replace("masks:\n", QUOTAS.lstrip("\n") + "masks:\n", 1)


@pytest.fixture(scope="module")
def quoted(kafka: KafkaBroker, java: JavaDriver) -> Iterator[Stage]:
    with Stage(kafka, java, way="tapped3", policy=QUOTED, workers=2) as stage:
        yield stage


def logged_in(stage: Stage, *groups: str, subject: str = "job") -> RawClient:
    return stage.raw(token=stage.token(subject, groups=("workers", *groups)))


def connected_to_both_workers(stage: Stage, count: int) -> list[RawClient]:
    """As many and more, until each worker has one; the kernel spreads them."""
    subject, clients = f"spread-{time.monotonic_ns()}", []
    while True:
        clients += [logged_in(stage, "limited", subject=subject) for _ in range(count)]
        _, found = stage.node.admin("GET", "/v1/sessions", token=stage.token("olga", groups=("operators",)))
        workers = {one["id"].partition("-")[0] for one in found if one["principal"].endswith(subject)}
        if len(workers) == 2:
            return clients


def write_for(client: RawClient, topic: str, until: float) -> int:
    """Writes without a pause of its own; how many bytes were acknowledged by ``until``."""
    written = 0
    while time.monotonic() < until:
        client.ask(PRODUCE, 8, produce((topic, [VALUE])))
        written += len(VALUE) if time.monotonic() < until else 0
    return written


def test_two_workers_keep_one_quota_together(quoted: Stage) -> None:
    topic = quoted.make_topic("open.")
    clients = connected_to_both_workers(quoted, 4)
    began, seconds = time.monotonic(), 6.0
    with ThreadPoolExecutor(len(clients)) as pool:
        written = sum(pool.map(lambda client: write_for(client, topic, began + seconds), clients))
    for client in clients:
        client.socket.close()
    # A second's worth is free, and each client may have had one more request taken before it was made to wait.
    allowed = RATE * (seconds + 1)
    assert 0.6 * allowed <= written <= 1.1 * allowed + len(clients) * len(VALUE)
    assert quoted.node.metric("kproxy_throttled_requests_total", quota="role limited") > 0


def test_the_answer_comes_at_once_with_the_time_and_the_next_request_waits(quoted: Stage) -> None:
    """T43."""
    topic = quoted.make_topic("open.")
    with logged_in(quoted, "slow") as slow, logged_in(quoted) as free:
        slow.ask(METADATA, 4, metadata([]))
        began = time.monotonic()
        told = slow.ask(PRODUCE, 8, produce((topic, [b"v"])))["throttle_time_ms"]
        waited = time.monotonic() - began
        assert 0 < told <= 1_100
        slow.send(slow.frame(METADATA, 4, metadata([])))
        for _ in range(20):
            assert free.ask(PRODUCE, 8, produce((topic, [b"v"])))["throttle_time_ms"] == 0
        slow.receive_answer(METADATA, 4)
        assert time.monotonic() - began >= told / 1000 - waited - 0.05


def test_readers_wait_too(quoted: Stage) -> None:
    topic = quoted.make_topic("open.")
    quoted.write_direct(topic, [Record(VALUE) for _ in range(60)])
    with logged_in(quoted, "limited") as client:
        began, told, offset = time.monotonic(), [], 0
        while offset < 60:
            answer = client.ask(FETCH, 11, fetch(topic, offset))
            told.append(answer["throttle_time_ms"])
            offset += len(answer["responses"][0]["partitions"][0]["records"] or b"") // len(VALUE)
        assert max(told) > 0
        client.ask(METADATA, 4, metadata([]))
        assert time.monotonic() - began >= 60 * len(VALUE) / RATE - 1.1


def test_javas_producer_is_told_and_goes_on(quoted: Stage) -> None:
    topic = quoted.make_topic("open.")
    login = quoted.login(groups=("workers", "limited"), subject="java")
    with quoted.client("java").producer(login) as producer:
        for _ in range(4):
            assert all(one.code == 0 for one in producer.send(topic, [Record(VALUE) for _ in range(12)]))
        longest = producer.metrics()["produce-throttle-time-max"]
    assert longest > 0
    assert quoted.end_offset(topic) == 48


def test_a_session_that_waits_is_ended_at_once_all_the_same(quoted: Stage) -> None:
    topic = quoted.make_topic("open.")
    with logged_in(quoted, "slow", subject="ended") as client:
        for _ in range(4):
            client.send(client.frame(PRODUCE, 8, produce((topic, [b"v"]))))
        client.receive_answer(PRODUCE, 8)
        operator = quoted.token("olga", groups=("operators",))
        _, found = quoted.node.admin("GET", "/v1/sessions?principal=dev:ended", token=operator)
        began = time.monotonic()
        for one in found:
            assert quoted.node.admin("DELETE", f"/v1/sessions/{one['id']}", token=operator)[0] == 200
        assert found
        while client.receive() is not None:
            pass
        assert time.monotonic() - began < 5


def test_one_connection_too_many_is_closed_and_another_principal_has_its_own(quoted: Stage) -> None:
    clients = [logged_in(quoted, "crowded", subject="one") for _ in range(3)]
    before = quoted.node.metric("kproxy_close_total", cause="connection_quota")
    with (RawClient(quoted.bootstrap("public")) as late,
          pytest.raises(AssertionError, match="closed instead of answered")):
        late.log_in(quoted.token("one", groups=("workers", "crowded")))
    clients.append(logged_in(quoted, "crowded", subject="two"))
    wait_for("the close to be counted", lambda: quoted.node.metric(
        "kproxy_close_total", cause="connection_quota") > before)
    clients.pop(0).socket.close()
    wait_for("room for another", lambda: _may_log_in(quoted, "one"))
    for client in clients:
        client.socket.close()


def test_a_worker_that_is_killed_gives_its_places_back(quoted: Stage) -> None:
    subject = f"killed-{time.monotonic_ns()}"
    clients = [logged_in(quoted, "crowded", subject=subject) for _ in range(3)]
    assert not _may_log_in(quoted, subject)
    killed = set(quoted.node.workers())
    assert len(killed) == 2
    for worker in killed:
        os.kill(worker, signal.SIGKILL)
    for client in clients:
        assert client.receive() is None, "it went with its worker"
    wait_for("two other workers", lambda: len(found := quoted.node.workers()) == 2 and not killed & set(found), 60)
    again: list[RawClient] = []
    while len(again) < 3:
        wait_for("a place", lambda: _take_place(quoted, subject, again), 60)
    assert not _may_log_in(quoted, subject), "and no more than there are"
    for client in again:
        client.socket.close()


def _take_place(stage: Stage, subject: str, taken: list[RawClient]) -> bool:
    try:
        taken.append(logged_in(stage, "crowded", subject=subject))
    except (AssertionError, OSError):
        return False
    return True


def _may_log_in(stage: Stage, subject: str) -> bool:
    try:
        logged_in(stage, "crowded", subject=subject).socket.close()
    except AssertionError:
        return False
    return True


def test_a_reload_lifts_a_quota_of_an_open_connection(quoted: Stage) -> None:
    with logged_in(quoted, "slow") as client:
        client.ask(METADATA, 4, metadata([]))
        assert client.ask(METADATA, 4, metadata([]))["throttle_time_ms"] > 0
        quoted.node.reload(QUOTED.replace("requests: 1/s", "requests: 100000/s"))
        try:
            client.ask(METADATA, 4, metadata([]))
            assert [client.ask(METADATA, 4, metadata([]))["throttle_time_ms"] for _ in range(20)] == [0] * 20
        finally:
            quoted.node.reload(QUOTED)
