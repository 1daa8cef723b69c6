"""Workers are replaced, and killed, under a storm of new clients: nobody is refused or left without an answer."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.support.clients import Record
from tests.support.java import JavaDriver
from tests.support.kafka_broker import KafkaBroker
from tests.support.ports import wait_for
from tests.support.raw_client import API_VERSIONS, RawClient
from tests.support.stage import Stage

pytestmark = pytest.mark.integration

STORMS = 4


@pytest.fixture(scope="module")
def own(kafka: KafkaBroker, java: JavaDriver) -> Iterator[Stage]:
    with Stage(kafka, java, way="tapped2", workers=2, more={"limits": {"drain.timeout.ms": 4000}}) as stage:
        yield stage


@dataclass
class Storm:
    """Threads that connect, ask for versions and hang up, again and again. ``slowest`` is the longest wait for an
    answer, in seconds."""

    bootstrap: str
    answered: int = 0
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0

    def __enter__(self) -> Storm:
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._blow) for _ in range(STORMS)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _blow(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            try:
                with RawClient(self.bootstrap) as client:
                    answer = client.ask(API_VERSIONS, 2, {})
                if answer["error_code"] == 0:
                    self.answered += 1
                else:
                    self.failures.append(f"error {answer['error_code']}")
            except (OSError, AssertionError) as problem:
                self.failures.append(repr(problem))
            self.slowest = max(self.slowest, time.monotonic() - began)


def test_a_rolling_restart_refuses_nobody(own: Stage) -> None:
    before = own.node.workers()
    with Storm(own.node.bootstrap("public")) as storm:
        wait_for("the storm to blow", lambda: storm.answered > 100)
        os.kill(own.node.supervisor, signal.SIGUSR2)
        wait_for("new workers in every place", lambda: not set(own.node.workers()) & set(before), 30)
        wait_for("exactly two", lambda: len(own.node.workers()) == 2, 30)
        then = storm.answered
        wait_for("the storm to go on", lambda: storm.answered > then + 100)
    assert (storm.failures, storm.slowest < 5) == ([], True), storm.slowest
    assert own.node.get("/readyz")[0] == 200


def test_clients_go_on_producing_through_a_rolling_restart(own: Stage) -> None:
    topic = own.make_topic("open.")
    before = own.node.workers()
    with own.client("java").producer(own.login(), idempotent=True) as producer:
        sent = [producer.send(topic, [Record(b'{"n":0}')])[0]]
        os.kill(own.node.supervisor, signal.SIGUSR2)
        while set(own.node.workers()) & set(before) or len(own.node.workers()) != 2:
            sent += producer.send(topic, [Record(b'{"n":1}')])
        sent += producer.send(topic, [Record(b'{"n":2}')])
    assert [one.code for one in sent] == [0] * len(sent)
    assert [one.offset for one in sent] == list(range(len(sent)))


def test_who_connects_while_a_worker_is_dead_is_served_by_the_next(own: Stage) -> None:
    for _ in range(3):
        before = own.node.workers()
        for pid in before:
            os.kill(pid, signal.SIGSTOP)
        # Everybody is accepted by the kernel alone: the workers are stopped, and then dead.
        clients = [RawClient(own.node.bootstrap("public")) for _ in range(20)]
        for client in clients:
            client.send(client.frame(API_VERSIONS, 2, {}))
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        for client in clients:
            assert client.receive_answer(API_VERSIONS, 2)[1]["error_code"] == 0
            client.socket.close()
        wait_for("two new workers", lambda before=before: len(set(own.node.workers()) - set(before)) == 2)
