"""Traps that need a broker which dies, cuts its answers, or asks its clients for patience."""

from __future__ import annotations

import contextlib
import json
import select
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support import frames
from tests.support.batches import read_batches
from tests.support.clients import CLIENT_NAMES, ClientError, Record, Sent
from tests.support.java import JavaDriver
from tests.support.kafka_broker import KafkaBroker
from tests.support.ports import wait_for
from tests.support.raw_client import FETCH, METADATA, PRODUCE, fetch, metadata, produce
from tests.support.stage import Stage
from tests.support.tap import fetched_records

pytestmark = pytest.mark.integration


def order(n: int, canary: str) -> Record:
    return Record(json.dumps({"n": n, "user": {"email": f"{canary}-{n}@example.com"}}).encode())


def test_a_partition_that_cannot_be_masked_keeps_nobody_from_the_others(stage: Stage) -> None:
    """T14: where fields are hidden, what is no JSON is refused; the partitions beside it can be read."""
    topic = stage.make_topic("pii.", partitions=3)
    with stage.client("confluent").producer(stage.direct()) as producer:
        for partition, record in enumerate((order(0, "canary"), Record(b"canary, and no JSON"), order(2, "canary"))):
            assert producer.send(topic, [record], partition)[0].offset == 0
    since = len(stage.front.connections)
    asked = fetch(topic, max_wait_ms=1000)
    asked["topics"][0]["partitions"] = [fetch(topic, partition=n)["topics"][0]["partitions"][0] for n in range(3)]
    asked["min_bytes"] = 200
    with stage.raw("tapped") as client:
        answer = client.ask(FETCH, 12, asked)
    found = {one["partition_index"]: one for one in answer["responses"][0]["partitions"]}
    assert [found[n]["error_code"] for n in range(3)] == [0, 44, 0]
    assert not found[1]["records"]
    values = [json.loads(read_batches(bytes(found[n]["records"]))[0].records[0].value or b"") for n in (0, 2)]
    assert values == [{"n": 0, "user": {"email": ""}}, {"n": 2, "user": {"email": ""}}]
    assert b"canary" not in b"".join(bytes(passed.to_client) for passed in stage.front.connections[since:])


@pytest.mark.parametrize("codec", ["none", "lz4"])
def test_a_batch_that_the_broker_cut_off_leaves_no_byte_unmasked(stage: Stage, codec: str) -> None:
    """T36: brokers end an answer where its bytes are used up, in the middle of a batch. Clients wait for the rest; what
    is there of it nobody has masked."""
    topic = stage.make_topic("pii.")
    for n in range(2):
        stage.write_direct(topic, [order(n, "canary")], codec)
    whole = len(stage.read_direct(topic, 2)) == 2
    behind, front = len(stage.behind.connections), len(stage.front.connections)
    asked = fetch(topic, max_wait_ms=1000)
    with stage.raw("tapped") as client:
        full = bytes(client.ask(FETCH, 12, asked)["responses"][0]["partitions"][0]["records"])
        given = fetched_records(stage.behind.responses(FETCH, behind))[0][2]
        first = 12 + int.from_bytes(given[8:12], "big")
        asked["topics"][0]["partitions"][0]["partition_max_bytes"] = len(given) - 1
        cut = bytes(client.ask(FETCH, 12, asked)["responses"][0]["partitions"][0]["records"])
    assert whole and [len(read_batches(data)) for data in (full, cut)] == [2, 1]
    assert full.startswith(cut)
    last = fetched_records(stage.behind.responses(FETCH, behind))[1][2]
    assert first < len(last) == len(given) - 1, "the broker did not cut the batch"
    assert b"canary" not in b"".join(bytes(passed.to_client) for passed in stage.front.connections[front:])
    if codec == "none":
        assert last.count(b"canary") == 2


#: A wait that is long compared with an answer, also on a machine that is busy.
LONG_MS = 2000


def test_who_is_throttled_is_told_at_once_and_waits_alone(stage: Stage) -> None:
    """T43, with a real quota: the answer comes with a time, the next request of that connection waits for it in the
    broker, another client's does not."""
    asked = 0.0
    topic, name = stage.make_topic("open."), "throttled"
    stage.kafka.run_tool("kafka.admin.ConfigCommand", "--bootstrap-server", stage.kafka.bootstrap(),
                         "--alter", "--add-config", "producer_byte_rate=100000", "--entity-type", "clients",
                         "--entity-name", name)
    try:
        with stage.raw() as slow, stage.raw() as other:
            def ask(api: int, version: int, body: dict[str, object]) -> dict[str, object]:
                slow.correlation += 1
                slow.send(frames.request(api, version, slow.correlation, body, client_id=name))
                return slow.receive_answer(api, version)[1]

            def throttled() -> int:
                nonlocal asked
                asked = time.monotonic()
                answer = ask(PRODUCE, 9, produce((topic, [b"x" * 150_000])))
                told = int(answer["throttle_time_ms"])      # type: ignore[call-overload]
                return told if told > LONG_MS else 0

            told = wait_for("the quota to be in force, and long", throttled, 30)
            slow.send(slow.frame(METADATA, 9, metadata([topic])))
            assert other.ask(METADATA, 9, metadata([topic]))["throttle_time_ms"] == 0
            assert select.select([slow.socket], [], [], 0)[0] == [], "the one still waits when the other is answered"
            assert slow.receive_answer(METADATA, 9)[0] == slow.correlation
            assert time.monotonic() - asked > told / 1250
    finally:
        stage.kafka.run_tool("kafka.admin.ConfigCommand", "--bootstrap-server", stage.kafka.bootstrap(),
                             "--alter", "--delete-config", "producer_byte_rate", "--entity-type", "clients",
                             "--entity-name", name)


@pytest.fixture(scope="module")
def mortal(java: JavaDriver) -> Iterator[Stage]:
    """A stage whose broker may be killed."""
    with KafkaBroker(taps=["tapped"]) as kafka, Stage(kafka, java) as stage:
        yield stage


def test_a_leader_that_dies_and_comes_back_is_met_at_kproxys_address(mortal: Stage) -> None:
    """T3: every client goes on where it was, once each and in order, and learns no broker's address meanwhile."""
    topics = {name: mortal.make_topic("open.") for name in CLIENT_NAMES}
    sent: dict[str, list[Sent]] = {name: [] for name in CLIENT_NAMES}
    given_up: list[Sent] = []
    stop, login = threading.Event(), mortal.login("tapped", mechanism="PLAIN")

    def work(name: str) -> None:
        while not stop.is_set():
            with contextlib.suppress(ClientError), mortal.client(name).producer(login, idempotent=True) as producer:
                # A producer that has given a record up is opened anew, as an application does.
                while not stop.is_set() and not (sent[name] and sent[name][-1].code):
                    sent[name] += producer.send(topics[name], [Record(b"%d" % len(sent[name]))])
                    stop.wait(0.05)
                if sent[name] and sent[name][-1].code:
                    given_up.append(sent[name].pop())

    threads = [threading.Thread(target=work, args=(name,)) for name in CLIENT_NAMES]
    for one in threads:
        one.start()
    try:
        wait_for("everybody to write", lambda: all(len(one) > 3 for one in sent.values()), 30)
        mortal.kafka.kill()
        mortal.kafka.start()
        before = {name: len(one) for name, one in sent.items()}
        wait_for("everybody to write again", lambda: all(len(sent[name]) > before[name] + 5 for name in sent), 60)
    finally:
        stop.set()
        for one in threads:
            one.join(30)
    for name in CLIENT_NAMES:
        good = [(one.offset, b"%d" % n) for n, one in enumerate(sent[name])]
        assert len(good) > 8
        with mortal.client(name).consumer(login) as consumer:
            consumer.assign(topics[name], 0, 0)
            got = [(one.offset, one.value) for one in consumer.poll(good[-1][0] + 1)]
        assert set(good) <= set(got), name
        if not given_up:
            assert [value for _, value in got] == [b"%d" % n for n in range(len(good))], "once each"
        assert [offset for offset, _ in got] == list(range(len(got)))
    answers = b"".join(bytes(passed.to_client) for passed in mortal.front.connections)
    for way in ("tapped", "sasl", "direct"):
        assert b"127.0.0.1" + mortal.kafka.address(way)[1].to_bytes(4, "big") not in answers
    assert b"127.0.0.2" + (mortal.node.ports["tapped"] + 1).to_bytes(4, "big") in answers
