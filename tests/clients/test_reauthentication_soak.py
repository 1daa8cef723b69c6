"""Clients that can re-authenticate, with ten-second tokens and no clock skew: nobody is cut off, nothing is lost.

librdkafka begins at 90 % of the lifetime it was told and kafka-python at 85–95 %, by timers; Java as late, when it next
has something to send, so its heartbeats are made frequent here. Its bootstrap connection has nothing to send once the
brokers are known, and ends with its session; that one is not counted. aiokafka does not know KIP-368.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import confluent_kafka
import kafka
import pytest
from kafka.net.sasl.oauth import AbstractTokenProvider

from tests.support.client_java import JavaClient
from tests.support.client_kafka_python import learn_partitions
from tests.support.clients import Got, Record, token_expiry
from tests.support.java import JavaDriver
from tests.support.kafka_broker import KafkaBroker
from tests.support.ports import wait_for
from tests.support.stage import Stage

pytestmark = pytest.mark.integration

#: Of tokens, and by ``connections.max.reauth.ms`` of sessions whose PLAIN password lives longer.
LIFETIME = 10
#: A record every so often. Seconds.
PACE = 0.1


@pytest.fixture
def own(kafka: KafkaBroker, java: JavaDriver) -> Iterator[Stage]:
    with Stage(kafka, java, way="tapped3", clock_skew="0s",
               more={"limits": {"connections.max.reauth.ms": LIFETIME * 1000}}) as stage:
        yield stage


class Pair:
    """One producer and one consumer of a topic, in a thread. ``sent`` and ``got`` are record values in order."""

    def __init__(self, stage: Stage, name: str, topic: str, mechanism: str) -> None:
        self.stage, self.name, self.topic, self.mechanism = stage, name, topic, mechanism
        self.sent: list[bytes] = []
        self.got: list[bytes] = []
        self.errors: list[str] = []
        self._thread = threading.Thread(target=self._run, name=name)
        self._end = 0.0

    def token(self) -> str:
        lifetime = LIFETIME if self.mechanism == "OAUTHBEARER" else 600
        return self.stage.token(self.name, lifetime=lifetime)

    def start(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._thread.start()

    def join(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive(), f"{self.name} hangs"

    def _run(self) -> None:
        try:
            with ExitStack() as stack:
                self.work(stack)
        except Exception as error:
            self.errors.append(f"{type(error).__name__}: {error}")

    def work(self, stack: ExitStack) -> None:
        raise NotImplementedError

    def turn(self, at: int, send: Callable[[bytes], int], poll: Callable[[], list[bytes]]) -> None:
        value = b'{"n":%d}' % at
        code = send(value)
        if code:
            self.errors.append(f"record {at}: error {code}")
        self.sent.append(value)
        self.got += poll()

    def drive(self, send: Callable[[bytes], int], poll: Callable[[], list[bytes]],
              renew: Callable[[], None] = lambda: None) -> None:
        at, due = 0, time.monotonic()
        while time.monotonic() < self._end:
            self.turn(at, send, poll)
            at += 1
            if at % 10 == 0:
                renew()
            due += PACE
            while time.monotonic() < due:
                self.got += poll()
        deadline = time.monotonic() + 10
        while len(self.got) < len(self.sent) and time.monotonic() < deadline:
            self.got += poll()


class ConfluentPair(Pair):
    def work(self, stack: ExitStack) -> None:
        outcomes: list[Any] = []
        producer = confluent_kafka.Producer(self._settings() | {"linger.ms": 0, "enable.idempotence": True})
        consumer = confluent_kafka.Consumer(self._settings() | {
            "group.id": f"g.{self.name}", "auto.offset.reset": "earliest", "enable.auto.commit": False})
        stack.callback(consumer.close)
        consumer.subscribe([self.topic])

        def send(value: bytes) -> int:
            producer.produce(self.topic, value, on_delivery=lambda error, _: outcomes.append(error))
            producer.flush(10)
            error = outcomes.pop() if outcomes else None
            return 0 if error is None else int(error.code())

        def poll() -> list[bytes]:
            message = consumer.poll(0.02)
            if message is not None and message.error() is not None:
                self.errors.append(str(message.error()))
                return []
            return [] if message is None else [bytes(message.value() or b"")]

        self.drive(send, poll)

    def _settings(self) -> dict[str, Any]:
        common: dict[str, Any] = {
            "bootstrap.servers": self.stage.bootstrap("public"), "security.protocol": "SASL_PLAINTEXT", "log_level": 0,
            "sasl.mechanism": self.mechanism, "error_cb": lambda error: self.errors.append(str(error)),
            "broker.address.family": "v4", "topic.metadata.refresh.interval.ms": 1000}
        if self.mechanism == "PLAIN":
            return common | {"sasl.username": "token", "sasl.password": self.token()}

        def give_token(_config: str) -> tuple[str, float]:
            token = self.token()
            return token, token_expiry(token, 0)

        return common | {"oauth_cb": give_token}


class KafkaPythonPair(Pair):
    def work(self, stack: ExitStack) -> None:
        producer = kafka.KafkaProducer(acks="all", **self._settings())
        stack.callback(producer.close)
        consumer = kafka.KafkaConsumer(
            self.topic, group_id=f"g.{self.name}", auto_offset_reset="earliest", enable_auto_commit=False,
            fetch_max_wait_ms=100, **self._settings())
        stack.callback(consumer.close)
        learn_partitions(consumer, self.topic)

        def send(value: bytes) -> int:
            producer.send(self.topic, value).get(timeout=10)
            return 0

        def poll() -> list[bytes]:
            found = consumer.poll(timeout_ms=20)
            return [bytes(one.value) for records in found.values() for one in records]

        self.drive(send, poll)

    def _settings(self) -> dict[str, Any]:
        common = {"bootstrap_servers": self.stage.bootstrap("public"), "security_protocol": "SASL_PLAINTEXT",
                  "sasl_mechanism": self.mechanism}
        if self.mechanism == "PLAIN":
            return common | {"sasl_plain_username": "token", "sasl_plain_password": self.token()}
        return common | {"sasl_oauth_token_provider": FreshTokens(self)}


class FreshTokens(AbstractTokenProvider):  # type: ignore[misc]
    def __init__(self, pair: Pair) -> None:
        self._pair = pair

    def token(self) -> str:
        return self._pair.token()


class JavaPair(Pair):
    def work(self, stack: ExitStack) -> None:
        client = JavaClient(self.stage.java)
        login = self.stage.login(token=self.token(), mechanism=self.mechanism)
        producer = stack.enter_context(client.producer(login, idempotent=True))
        consumer = stack.enter_context(client.consumer(login, f"g.{self.name}", heartbeat_ms=200))
        consumer.subscribe(self.topic)

        def poll() -> list[bytes]:
            found: list[Got] = consumer.poll(1, 0.02)
            return [bytes(one.value or b"") for one in found]

        def renew() -> None:
            # As a token agent would: whenever the client looks, it finds one that is fresh.
            if self.mechanism == "OAUTHBEARER":
                producer.put_token(self.token())
                consumer.put_token(self.token())

        self.drive(lambda value: producer.send(self.topic, [Record(value)])[0].code, poll, renew)


def watch_sessions(stage: Stage, seen: dict[str, dict[str, Any]]) -> None:
    status, found = stage.node.admin("GET", "/v1/sessions", stage.token("olga", ["operators"]))
    assert status == 200, found
    seen.update({one["id"]: one for one in found})


@pytest.mark.parametrize("seconds", [pytest.param(22, id="short"),
                                     pytest.param(150, id="long", marks=[pytest.mark.slow, pytest.mark.timeout(300)])])
def test_nobody_is_disconnected_who_can_prove_himself_anew(own: Stage, seconds: int) -> None:
    pairs = [kind(own, f"{name}-{mechanism.lower()}", own.make_topic("open."), mechanism)
             for name, kind in (("confluent", ConfluentPair), ("python", KafkaPythonPair), ("java", JavaPair))
             for mechanism in ("OAUTHBEARER", "PLAIN")]
    seen: dict[str, dict[str, Any]] = {}
    for pair in pairs:
        pair.start(seconds)
    end = time.monotonic() + seconds - 1
    wait_for("the time of the soak", lambda: watch_sessions(own, seen) or time.monotonic() >= end, seconds + 30, 0.5)
    ended = time.time()
    in_time = [event for event in own.node.audit() if event["kind"] == "disconnect"]
    for pair in pairs:
        pair.join()
    for pair in pairs:
        assert pair.errors == [], (pair.name, pair.errors)
        assert pair.got == pair.sent and len(pair.sent) > seconds, pair.name
    working = {number: one for number, one in seen.items() if one["broker"]}
    dropped = [event for event in in_time if event["session"] in working]
    assert dropped == []
    # As often as its lifetime went by, each session has been proven anew.
    renewed = Counter(event["session"] for event in own.node.audit() if event["kind"] == "reauthenticated")
    for number, one in working.items():
        assert renewed[number] >= int((ended - one["connected_at"]) / LIFETIME), (one, renewed[number])
    print(f"\n{len(working)} sessions of {len(pairs)} pairs, {sum(renewed.values())} re-authentications, "
          f"{sum(len(pair.sent) for pair in pairs)} records, {len(dropped)} disconnects")
    assert {one["mechanism"] for one in working.values()} == {"OAUTHBEARER", "PLAIN"}
