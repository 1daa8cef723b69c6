"""The halves that hold the sockets, over transports that only write down what they are told."""

from __future__ import annotations

import random
from typing import Any

import pytest

from kproxy._ext.ledger import Counters, Ledger
from kproxy._ext.login import Promise, advertised
from kproxy._ext.opening import Addresses
from kproxy._ext.protocol import ClientHalf, Turn
from kproxy._ext.session import Epoch, Session
from kproxy.model.access import Facts, Principal, Verdict
from tests.support.frames import batch, request, response

PROMISE = Promise(advertised({0: (0, 12), 1: (4, 12), 3: (0, 12)}))
FACTS = Facts(principal=Principal(name="p", issuer="i", subject="s"), mechanism="PLAIN", listener="l")


class Spool:
    refusing = False

    def __init__(self) -> None:
        self.log: list[str] = []
        self.broken = False

    def append(self, kind: int, payload: bytes) -> None:
        self.log.append("append")

    def commit(self) -> None:
        if self.broken:
            raise OSError(28, "no space left on device")
        self.log.append("commit")


class Transport:
    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log
        self.sent = b""
        self.reading = True
        self.closed = False

    def set_write_buffer_limits(self, high: int) -> None:
        assert high > 0

    def write(self, data: Any) -> None:
        self.log.append(f"{self.name} write")
        self.sent += bytes(data)

    def writelines(self, parts: list[Any]) -> None:
        self.write(b"".join(bytes(part) for part in parts))

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close


class Loop:
    def __init__(self) -> None:
        self.soon: list[Any] = []

    def call_soon(self, what: Any) -> None:
        self.soon.append(what)

    def run(self) -> None:
        while self.soon:
            self.soon.pop(0)()


class Shell:
    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.failures: list[Exception] = []
        self.ended = 0

    def opened(self, half: ClientHalf) -> None: ...

    def ask(self, half: ClientHalf, ticket: Any) -> None:
        self.asked.append(ticket)

    def failed(self, half: ClientHalf, error: Exception) -> None:
        self.failures.append(error)

    def closed(self, half: ClientHalf) -> None:
        self.ended += 1


class Rig:
    def __init__(self, most_queued: int = 1 << 24, limit: int = 1 << 20) -> None:
        self.spool, self.loop, self.shell = Spool(), Loop(), Shell()
        ledger = Ledger(self.spool)
        self.counters = Counters("l")
        self.session = Session(
            1, (), Addresses("h", 0, 9, 9100), self.decide, Epoch(1), ledger, self.counters, lambda *told: None, FACTS
        )
        self.half = ClientHalf(self.session, self.shell, Turn(self.loop, ledger), limit, most_queued)
        self.client, self.broker = Transport("client", self.spool.log), Transport("broker", self.spool.log)
        self.half.connection_made(self.client)
        self.session.resume_versions(PROMISE)

    def decide(self, resource: str, operation: str, name: str, now: float) -> tuple[Verdict, None]:
        if name == "boom":
            raise RuntimeError("the policy fell over")
        return Verdict(effect="allow" if name == "t" else "deny", rule="r"), None

    def open_broker(self) -> None:
        self.half.attach_broker(None).connection_made(self.broker)
        self.session.resume_broker(PROMISE, 1.0)
        self.half.resumed()

    def feed(self, half: Any, data: bytes) -> None:
        while data:
            room = memoryview(half.get_buffer(-1))
            taken = min(len(room), len(data))
            room[:taken] = data[:taken]
            room.release()
            half.buffer_updated(taken)
            data = data[taken:]


def produce(correlation: int, topic: str = "t", size: int = 20) -> bytes:
    return request(
        0,
        9,
        correlation,
        {
            "acks": 1,
            "timeout_ms": 1,
            "topic_data": [{"name": topic, "partition_data": [{"index": 0, "records": batch([b"x" * size])}]}],
        },
    )


def produced(correlation: int) -> bytes:
    return response(
        0,
        9,
        correlation,
        {
            "responses": [
                {"name": "t", "partition_responses": [{"index": 0, "error_code": 0, "base_offset": correlation}]}
            ]
        },
    )


def opened(**limits: int) -> Rig:
    rig = Rig(**limits)
    rig.feed(rig.half, produce(1))
    assert rig.shell.asked == [("broker",)]
    rig.open_broker()
    rig.loop.run()
    assert rig.broker.sent == produce(1)
    return rig


def test_notes_are_written_before_the_bytes_they_are_about():
    rig = opened()
    rig.spool.log.clear()
    rig.feed(rig.half, produce(2))
    rig.loop.run()
    assert rig.spool.log == ["append", "commit", "broker write"]
    rig.spool.log.clear()
    rig.feed(rig.half.broker, produced(1))
    rig.loop.run()
    assert rig.spool.log == ["append", "commit", "client write"]


def test_bytes_whose_notes_cannot_be_written_never_leave():
    rig = opened()
    rig.spool.broken = True
    before = rig.broker.sent
    rig.feed(rig.half, produce(2))
    rig.loop.run()
    assert rig.broker.sent == before
    assert rig.session.cause == "audit_unavailable"
    assert rig.client.closed and rig.broker.closed


@pytest.mark.parametrize("seed", range(20))
def test_any_split_of_the_streams_gives_the_same_bytes(seed: int):
    chance = random.Random(seed)
    asked = b"".join(
        produce(n, "t" if n % 3 else "secret", chance.choice([10, 500, 70_000, 300_000])) for n in range(2, 14)
    )
    answers = b"".join(produced(n) for n in [1, *(n for n in range(2, 14) if n % 3)])
    whole = opened()
    whole.feed(whole.half, asked)
    whole.loop.run()
    whole.feed(whole.half.broker, answers)
    whole.loop.run()
    rig = opened()
    for half, data in ((rig.half, asked), (rig.half.broker, answers)):
        at = 0
        while at < len(data):
            step = chance.choice([1, 2, 3, 4, 5, 100, 5_000, 131_072])
            rig.feed(half, data[at : at + step])
            at += step
            if chance.random() < 0.3:
                rig.loop.run()
    rig.loop.run()
    assert rig.broker.sent == whole.broker.sent
    assert rig.client.sent == whole.client.sent
    assert rig.session.slots.count == 0


def test_a_byte_at_a_time_is_framed():
    rig = opened()
    for byte in produce(2) + produce(3):
        rig.feed(rig.half, bytes((byte,)))
    rig.loop.run()
    assert rig.broker.sent == produce(1) + produce(2) + produce(3)


def test_a_client_is_not_read_while_its_broker_cannot_take_more():
    rig = opened()
    rig.half.broker.pause_writing()
    assert not rig.client.reading
    rig.feed(rig.half, produce(2))
    rig.loop.run()
    assert rig.broker.sent == produce(1)
    rig.half.broker.resume_writing()
    assert rig.client.reading
    rig.loop.run()
    assert rig.broker.sent == produce(1) + produce(2)


def test_a_broker_is_not_read_while_its_client_cannot_take_more():
    rig = opened()
    rig.half.pause_writing()
    assert not rig.broker.reading
    rig.half.resume_writing()
    assert rig.broker.reading


def test_a_turn_takes_no_more_than_the_queue_may_hold():
    rig = opened(most_queued=1000)
    rig.feed(rig.half, b"".join(produce(n, size=400) for n in range(2, 12)))
    assert rig.session.to_broker.queued < 1600
    rig.loop.run()
    assert rig.broker.sent == produce(1) + b"".join(produce(n, size=400) for n in range(2, 12))


@pytest.mark.parametrize(
    ("start", "cause"),
    [
        (b"\x00\x00\x00\x00", "bad_length"),
        (b"\xff\xff\xff\xff", "bad_length"),
        (b"\x7f\xff\xff\xff", "too_big"),
        (b"\x16\x03\x01\x02\x00\x01", "tls_on_plaintext"),
        (b"GET / HTTP/1.1\r\n\r\n", "too_big"),
        (b"\x00\x00\x00\x04abcd", "not_kafka"),
    ],
)
def test_what_is_not_kafka_is_closed_with_its_cause(start: bytes, cause: str):
    rig = Rig()
    rig.feed(rig.half, start)
    rig.loop.run()
    assert rig.session.cause == cause
    assert rig.client.closed


def test_our_own_failure_closes_and_passes_nothing_on():
    rig = opened()
    rig.feed(rig.half, produce(2, "boom"))
    rig.loop.run()
    assert rig.session.cause == "internal"
    assert [type(error).__name__ for error in rig.shell.failures] == ["RuntimeError"]
    assert rig.broker.sent == produce(1)
    assert rig.client.closed and rig.broker.closed


def test_either_end_going_closes_the_other():
    rig = opened()
    rig.half.broker.connection_lost(None)
    rig.loop.run()
    assert rig.client.closed and rig.session.cause == "broker_closed"
    other = opened()
    other.half.connection_lost(None)
    assert other.broker.closed and other.session.cause == "client_closed" and other.shell.ended == 1


def test_one_transport_that_fails_costs_the_others_nothing():
    rig, other, loop = Rig(), Rig(), Loop()
    turn = Turn(loop, Ledger(Spool()))
    halves = []
    for one in (rig, other):
        half = ClientHalf(one.session, one.shell, turn, 1 << 20, 1 << 24)
        one.client.closed = one.client.reading = True
        one.client = Transport("client", [])
        half.connection_made(one.client)
        halves.append(half)

    def broken(data: Any) -> None:
        raise RuntimeError("the transport fell over")

    rig.client.write = broken
    for half in halves:
        rig.feed(half, request(18, 0, 1, {}))
    loop.run()
    assert rig.session.cause == "internal" and rig.client.closed
    assert other.client.sent and not other.client.closed


def test_bytes_out_are_those_that_leave_for_the_client():
    rig = opened()
    rig.feed(rig.half.broker, produced(1))
    rig.feed(rig.half, produce(2, "secret"))
    rig.feed(rig.half, request(18, 0, 3, {}))
    rig.loop.run()
    counted = rig.counters.read()
    assert counted["bytes_in"] == len(produce(1) + produce(2, "secret") + request(18, 0, 3, {}))
    assert counted["bytes_out"] == len(rig.client.sent) > len(produced(1)), "local answers as well"
    rig.spool.broken = True
    rig.feed(rig.half, produce(4))
    rig.feed(rig.half.broker, produced(4))
    rig.loop.run()
    assert rig.session.cause == "audit_unavailable"
    assert rig.counters.read()["bytes_out"] == counted["bytes_out"] == len(rig.client.sent)


def test_a_connection_whose_place_was_taken_changes_nothing():
    rig = Rig()
    rig.feed(rig.half, produce(1))
    slow = rig.half.attach_broker(None)
    late = Transport("slow", [])
    slow.connection_made(late)
    rig.open_broker()
    rig.loop.run()
    rig.feed(slow, produced(1))
    slow.connection_lost(None)
    rig.loop.run()
    assert late.closed and rig.session.cause is None and rig.client.sent == b""
    rig.feed(rig.half.broker, produced(1))
    rig.loop.run()
    assert rig.client.sent == produced(1)


def test_peers_that_read_nothing_are_cut_off():
    rig = opened()
    rig.half.abort()
    assert rig.client.closed and rig.broker.closed
