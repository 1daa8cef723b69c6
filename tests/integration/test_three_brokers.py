"""A cluster of three real brokers behind a node of two workers: brokers die, come back and are restarted while clients
write and read. They recover, lose nothing that was acknowledged, and never learn where a broker is."""

from __future__ import annotations

import struct
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from kproxy.demo.issuer import DevelopmentIssuer, IssuerServer, SigningKey
from tests.support import frames
from tests.support.clients import ClientError, Got, Login, Record, open_client
from tests.support.java import JavaDriver
from tests.support.kafka_cluster import NETWORK, NODES, KafkaCluster
from tests.support.kproxy_node import Cluster, KproxyNode, Listener
from tests.support.ports import wait_for
from tests.support.stage import POLICY, TAPPED_HOST
from tests.support.tap import Tap

# A minute and a half, of which Kafka takes most: for make test-full.
pytestmark = [pytest.mark.integration, pytest.mark.slow]

TOPIC, PARTITIONS = "open.three", 6
METADATA, FIND_COORDINATOR = 3, 10
#: Acknowledged records of each writer between two events, so that each falls into work under way.
BETWEEN = 30
SECONDS = 90
WRITERS = ("java", "confluent", "aiokafka")


@dataclass
class World:
    kafka: KafkaCluster
    node: KproxyNode
    front: Tap
    issuer: DevelopmentIssuer
    java: JavaDriver

    def login(self) -> Login:
        token = self.issuer.issue("job", "kproxy", {"groups": ["workers"]}, lifetime=3600)
        return Login(f"{TAPPED_HOST}:{self.node.ports['tapped']}", "OAUTHBEARER", token)


@pytest.fixture(scope="module")
def world(java: JavaDriver) -> Iterator[World]:
    with IssuerServer() as issuers, KafkaCluster() as kafka:
        issuers.issuer = DevelopmentIssuer(issuers.url, [SigningKey.create("ES256")])
        with (KproxyNode(clusters={"three": Cluster(kafka.addresses())},
                         listeners={"tapped": Listener("three", TAPPED_HOST)}, issuer=issuers.url, policy=POLICY,
                         workers=2, brokers=(NODES[0], NODES[-1])) as node,
              Tap(*node.ways("tapped")) as front):
            kafka.run_tool("org.apache.kafka.tools.TopicCommand", "--create", "--topic", TOPIC, "--partitions",
                           str(PARTITIONS), "--replication-factor", "3")
            yield World(kafka, node, front, issuers.issuer, java)


@dataclass
class Writer:
    """One client that writes numbers to every partition in turn, each until it is acknowledged or given up."""

    name: str
    world: World
    acked: dict[int, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    given_up: set[bytes] = field(default_factory=set)
    done: threading.Event = field(default_factory=threading.Event)

    def count(self) -> int:
        return sum(map(len, self.acked.values()))

    def run(self) -> None:
        client, number = open_client(self.name, self.world.java if self.name == "java" else None), 0
        # aiokafka's idempotent producer gives up for good over an error that the others wait out.
        idempotent = self.name != "aiokafka"
        while not self.done.is_set():
            try:
                with client.producer(self.world.login(), idempotent=idempotent) as producer:
                    while not self.done.is_set():
                        value, partition = f"{self.name} {number}".encode(), number % PARTITIONS
                        number += 1
                        self.given_up.add(value)
                        (sent,) = producer.send(TOPIC, [Record(value)], partition)
                        if sent.code == 0:
                            self.given_up.discard(value)
                            self.acked[partition].append(value)
            except ClientError:
                time.sleep(0.2)


class Reader:
    """A member of a group that commits what it has seen."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.seen: set[bytes] = set()
        self.done = threading.Event()

    def run(self) -> None:
        client = open_client("confluent", None)
        while not self.done.is_set():
            try:
                with client.consumer(self.world.login(), "g.three") as consumer:
                    consumer.subscribe(TOPIC)
                    while not self.done.is_set():
                        self.seen.update(one.value or b"" for one in consumer.poll(1, 1.0))
                        consumer.commit()
            except ClientError:
                time.sleep(0.2)


def kill_a_leader(world: World, node: int) -> None:
    broker = world.kafka.brokers[node]
    broker.kill()
    broker.start()


def restart(world: World, node: int) -> None:
    broker = world.kafka.brokers[node]
    broker.stop()
    broker.start()


def run_events(world: World, events: list[Callable[[], None]]) -> tuple[list[Writer], Reader]:
    writers, reader = [Writer(name, world) for name in WRITERS], Reader(world)
    threads = [threading.Thread(target=one.run, name=type(one).__name__, daemon=True) for one in (*writers, reader)]
    for thread in threads:
        thread.start()
    try:
        for event in (*events, lambda: None):
            for writer in writers:
                enough = writer.count() + BETWEEN
                wait_for(f"{writer.name} to write", lambda one=writer, most=enough: one.count() >= most, SECONDS)
            event()
        for writer in writers:
            writer.done.set()
        for thread in threads[:-1]:
            thread.join(SECONDS)
        acked = {value for writer in writers for values in writer.acked.values() for value in values}
        wait_for("the group to see all that was acknowledged", lambda: acked <= reader.seen, SECONDS)
    finally:
        for one in (*writers, reader):
            one.done.set()
    threads[-1].join(SECONDS)
    assert not any(thread.is_alive() for thread in threads)
    return writers, reader


def read_all(world: World) -> dict[int, list[Got]]:
    """Everything that is in the topic, from the brokers themselves. A consumer whose leader moves while it reads may be
    sent back to the start, so what is at an offset may come twice, and must be the same."""
    found: dict[int, list[Got]] = {}
    direct = Login(world.kafka.bootstrap())
    for partition in range(PARTITIONS):
        with open_client("confluent", None).producer(direct) as producer:
            (end,) = producer.send(TOPIC, [Record(b"end")], partition)
        with open_client("confluent", None).consumer(direct) as consumer:
            consumer.assign(TOPIC, partition, 0)
            at: dict[int, Got] = {}
            while max(at, default=-1) < end.offset:
                for one in consumer.poll(1):
                    assert at.setdefault(one.offset, one).value == one.value
        found[partition] = [at[offset] for offset in sorted(at)]
    return found


def judge(world: World, writers: list[Writer]) -> None:
    there = read_all(world)
    for writer in writers:
        for partition, acked in writer.acked.items():
            own = [one.value for one in there[partition] if one.value and one.value.startswith(writer.name.encode())]
            assert set(acked) <= set(own), "what was acknowledged is there"
            assert set(own) - set(acked) <= writer.given_up
            if writer.name != "aiokafka":
                kept = [value for value in own if value not in writer.given_up]
                assert kept == acked, "once each and in order"


def find_leaks(world: World) -> list[str]:
    """Whatever a client was told that leads past kproxy: a broker's address as text, or another node and port."""
    ports = {TAPPED_HOST: range(world.node.ports["tapped"], world.node.ports["tapped"] + len(NODES) + 1)}
    leaks = []
    for passed in world.front.connections:
        if NETWORK.encode() in passed.to_client:
            leaks.append(f"connection {passed.number} was told of {NETWORK}*")
        for frame in passed.responses():
            if frame.api in (METADATA, FIND_COORDINATOR):
                whole = struct.pack(">i", len(frame.data)) + frame.data
                body = frames.read_response(frame.api, frame.version, whole)[1]
                told = body.get("brokers") or body.get("coordinators") or [body]
                leaks += [f"{one['host']}:{one['port']}" for one in told
                          if one.get("host") and one["port"] not in ports.get(one["host"], ())]
    return leaks


def count_audited(world: World) -> int:
    return sum(one["records"] for one in world.node.audit()
               if one["kind"] == "flow" and one.get("direction") == "produce" and one.get("topic") == TOPIC)


def finish(world: World, writers: list[Writer]) -> None:
    judge(world, writers)
    assert find_leaks(world) == []
    acked = sum(writer.count() for writer in writers)
    wait_for("every acknowledged record to be in the audit", lambda: count_audited(world) >= acked, 30)
    assert len(world.node.workers()) == 2
    print(f"{acked} acknowledged, {sum(len(writer.given_up) for writer in writers)} given up,"
          f" {len(world.front.connections)} connections")


@pytest.mark.timeout(600)
def test_a_leader_dies_leaders_move_and_all_are_restarted(world: World) -> None:
    writers, _ = run_events(world, [
        lambda: kill_a_leader(world, 2),
        world.kafka.wait_until_whole,
        world.kafka.elect_preferred,
        *[lambda node=node: (restart(world, node), world.kafka.wait_until_whole()) for node in NODES],
    ])
    finish(world, writers)


@pytest.mark.timeout(1800)
def test_every_broker_dies_again_and_again(world: World) -> None:
    events = [lambda node=node: (kill_a_leader(world, node), world.kafka.wait_until_whole(),
                                 world.kafka.elect_preferred()) for _ in range(4) for node in NODES]
    writers, _ = run_events(world, events)
    finish(world, writers)
