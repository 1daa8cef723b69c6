"""A whole conversation in one write, over a bad network: what was answered, and whether Kafka agrees.

Login, metadata, a produce, one that is refused by kproxy itself, another produce, a fetch. Answers may stop anywhere,
but what comes is what was asked for, in its order and once, and what was acknowledged is where it was acknowledged.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import struct
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.support.clients import TOPIC_DENIED
from tests.support.ports import wait_for
from tests.support.raw_client import (
    FETCH,
    METADATA,
    PRODUCE,
    SASL_AUTHENTICATE,
    SASL_HANDSHAKE,
    RawClient,
    fetch,
    first_message,
    metadata,
    produce,
)
from tests.support.stage import Stage
from tests.support.tap import Passed, Strike, Tap

#: (api, version) of each answer, in order.
ASKED = ((SASL_HANDSHAKE, 1), (SASL_AUTHENTICATE, 2), (METADATA, 9), (PRODUCE, 9), (PRODUCE, 9), (PRODUCE, 9),
         (FETCH, 12))
API_VERSIONS = 18


def inside(direction: str, api: int) -> Callable[[Passed], int | None]:
    """The middle of the first frame of this API."""
    return lambda passed: _frame(passed, direction, api, 0.5)


def behind(direction: str, api: int) -> Callable[[Passed], int | None]:
    """Between the first frame of this API and the next."""
    return lambda passed: _frame(passed, direction, api, 1.0)


def _frame(passed: Passed, direction: str, api: int, part: float) -> int | None:
    """Told as soon as the frame has begun: a broker may send its head and its records apart."""
    at, stream, waiting = 0, getattr(passed, direction), passed.requests()
    while at + 8 <= len(stream):
        size, correlation = struct.unpack_from(">ii", stream, at)
        if direction == "to_broker":
            found = correlation >> 16
        else:
            while waiting and waiting[0].correlation != correlation:
                waiting.pop(0)
            found = waiting.pop(0).api
        if found == api:
            return at + int((4 + size) * part)
        at += 4 + size
    return None


def at_byte(tap: Tap, direction: str, number: int) -> Callable[[Passed], int | None]:
    """A byte of a connection that comes from now on and is a client's (kproxy's own begin with ApiVersions)."""
    since = len(tap.connections)

    def where(passed: Passed) -> int | None:
        own = passed.to_broker[4:6] == API_VERSIONS.to_bytes(2, "big")
        return None if passed.number < since or own else number

    return where


def soon(tap: Tap, direction: str, more: int) -> Callable[[Passed], int | None]:
    """So many bytes from now, on whichever connection has them first."""
    begun = {passed.number: len(getattr(passed, direction)) for passed in tap.connections}
    return lambda passed: begun.get(passed.number, 0) + more


@dataclass
class Outcome:
    """``answered``: bodies, as far as they came. ``seconds``: until the last of them or the end of the connection."""

    answered: list[dict[str, object]] = field(default_factory=list)
    closed: bool = False
    seconds: float = 0.0


class Conversations:
    """On one topic of a stage. ``check`` holds everything that was acknowledged against Kafka, in the end."""

    def __init__(self, stage: Stage, context: ssl.SSLContext | None = None) -> None:
        self.stage = stage
        self.topic = stage.make_topic("open.")
        self.denied = stage.make_topic("closed.")
        self.token = stage.token(lifetime=3600)
        self.acknowledged: dict[int, bytes] = {}
        self.count = 0
        self._context = context

    def bytes_of_one(self, client: RawClient, number: int) -> bytes:
        last, now = max(self.acknowledged, default=-1), int(time.time() * 1000)
        bodies = [{"mechanism": "OAUTHBEARER"}, {"auth_bytes": first_message(self.token)}, metadata([self.topic]),
                  produce((self.topic, [b"a-%d" % number]), timestamp=now), produce((self.denied, [b"x"])),
                  produce((self.topic, [b"b-%d" % number]), timestamp=now),
                  fetch(self.topic, last + 1, max_wait_ms=500)]
        return b"".join(client.frame(*api, body) for api, body in zip(ASKED, bodies, strict=True))

    def hold(self, listener: str = "tapped", seconds: float = 10.0,
             until: Callable[[], object] = lambda: True) -> Outcome:
        """One of them. Asserts the order and content of the answers that came within ``seconds`` of silence, which
        count from the moment when ``until`` is so."""
        self.count += 1
        outcome, begun = Outcome(), time.monotonic()
        with contextlib.suppress(ConnectionError, ssl.SSLError), \
                RawClient(self.stage.bootstrap(listener), self._context if listener == "secure" else None) as client:
            client.socket.settimeout(seconds)
            client.send(self.bytes_of_one(client, self.count))
            done, give_up = until(), begun + 10 * seconds
            while not self._receive(client, outcome) and not (done or time.monotonic() > give_up):
                done = until()
        outcome.seconds = time.monotonic() - begun
        return outcome

    def _receive(self, client: RawClient, outcome: Outcome) -> bool:
        """Whether it came to an end: with all answers or the connection's."""
        for place, api in list(enumerate(ASKED))[len(outcome.answered):]:
            try:
                frame = client.receive()
            except TimeoutError:
                return False
            if frame is None:
                outcome.closed = True
                return True
            client._rest = frame + client._rest
            correlation, body = client.receive_answer(*api)
            assert correlation == place + 1, "lost, doubled or out of order"
            outcome.answered.append(body)
            self._note(place, body)
        return True

    def _note(self, place: int, body: dict[str, object]) -> None:
        if ASKED[place][0] != PRODUCE:
            return
        one = body["responses"][0]["partition_responses"][0]    # type: ignore[index]
        assert one["error_code"] == (TOPIC_DENIED if place == 4 else 0)
        if place != 4:
            assert one["base_offset"] not in self.acknowledged
            self.acknowledged[one["base_offset"]] = b"%s-%d" % (b"a" if place == 3 else b"b", self.count)

    def hold_whole(self, listener: str = "tapped") -> None:
        """One of them that must come to its end, whatever the network does to it."""
        outcome = self.hold(listener)
        assert len(outcome.answered) == len(ASKED), outcome
        partition = outcome.answered[-1]["responses"][0]["partitions"][0]     # type: ignore[index]
        assert partition["error_code"] == 0 and partition["high_watermark"] == max(self.acknowledged) + 1
        assert b"a-%d" % self.count in bytes(partition["records"])

    def check(self) -> None:
        """Every acknowledged record is in Kafka where it was acknowledged, and nothing is there twice."""
        end = self.stage.end_offset(self.topic)
        found = {one.offset: one.value for one in self.stage.read_direct(self.topic, end)}
        missing = [offset for offset in range(end) if offset not in found]
        assert missing == [], f"Kafka was not read to its end, {end}: {missing[0]} is missing, {len(missing)} in all"
        wrong = {offset: found[offset] for offset, value in self.acknowledged.items() if found[offset] != value}
        assert wrong == {}
        assert max(Counter(found.values()).values(), default=1) == 1
        assert self.stage.end_offset(self.denied) == 0


class Baseline:
    """What a quiet worker holds: descriptors, connections of clients, those to brokers that are clients'."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.pid = stage.node.workers()[0]
        wait_for("everybody to be gone", lambda: stage.front.open_count() == 0)
        self.descriptors = self._settled()

    def _settled(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def check(self, seconds: float = 8) -> None:
        assert self.stage.node.workers()[0] == self.pid, "the worker died"
        wait_for(f"descriptors to be {self.descriptors} again", lambda: self._settled() <= self.descriptors, seconds)
        assert "session_failed" not in self.stage.node.log.read_text()


def strike(tap: Tap, direction: str, where: Callable[[Passed], int | None], what: str) -> None:
    tap.strike = Strike(direction, where, what)
