"""Invariant: in any order of frames, verdicts and time, answers keep their order, and strangers reach no broker.

    python -m tests.fuzz.fuzz_session --seconds 30 [--seed 1] [FILE ...]

An input is a run of events for one session machine: frames of the client and of the broker, honest and harmed, verdicts
of the shell in and out of place, clocks that jump, policies that change. Each event is its kind (u8), its length (u16)
and its bytes; Kafka's frames stand without their size.
"""

from __future__ import annotations

import random
import struct
from collections import deque
from typing import Any

import msgspec

from kproxy._ext import frame, playbook
from kproxy.model.access import Principal
from tests.fuzz.fuzz_wire import PIECES
from tests.fuzz.harness import Harness, mutate
from tests.support.frames import request, response, split
from tests.support.messages import random_values
from tests.support.playbook import BROKER, FACTS, NOW, Rules, Stage, fetch, fetched, produce, produced

(CLIENT, BROKER_SAYS, BROKER_ANSWERS, VERSIONS, PROVED, REFUSED, CONNECTED, APPROVED, LATER, RELOADED, TOLD) = range(11)
MOST_EVENTS = 60
#: What ids may turn out to be called.
TOPICS = ("open", "ask", "shut")
#: Unix seconds, by the first byte of PROVED: how long the facts are good for, and whose they are.
LIFETIMES = (float("inf"), 30.0, 1.0, 0.0, -5.0)
NOBODY = Principal(name="corp:other", issuer="corp", subject="other")


def is_frame(data: bytes) -> bool:
    """What the framing lets through; it has a harness of its own."""
    return frame.scan(struct.pack(">i", len(data)) + data, 1 << 20)[0] == "frame"


class Player:
    """One session and those around it: what is held while a verdict is waited for, what is owed, what was said."""

    def __init__(self) -> None:
        self.stage = Stage(Rules(open="allow", ask="ask", g="allow"))
        self.now = NOW
        self.waiting: deque[bytes] = deque()
        self.asked: list[int] = []
        self.owed: deque[bytes] = deque()
        self.said = 0
        self.ever_open = False
        self.closed = ""
        self.ends = float("inf")

    def take(self, kind: int, data: bytes) -> None:
        session = self.stage.session
        variant = data[0] if data else 0
        if kind == CLIENT and is_frame(data):
            self.waiting.append(struct.pack(">i", len(data)) + data)
        elif kind == BROKER_SAYS and is_frame(data):
            self.heard(self.stage.broker(struct.pack(">i", len(data)) + data, self.now))
        elif kind == BROKER_ANSWERS:
            self.answer(data)
        elif kind == VERSIONS:
            session.resume_versions(None if variant == 1 else BROKER)
        elif kind == PROVED:
            self.prove(variant)
        elif kind == REFUSED:
            session.refuse_login("no", b'{"status":"invalid_token"}' if variant else None, self.now)
        elif kind == CONNECTED:
            session.resume_broker(BROKER, self.now)
        elif kind == APPROVED and session.waiting is not None:
            self.answer_ticket(variant, *session.waiting)
        elif kind == LATER:
            self.now += int.from_bytes(data[:2], "big", signed=True) / 10
        elif kind == RELOADED:
            self.stage.epoch.value += 1
        elif kind == TOLD:
            session.tell_repeats()
            self.stage.notes()
        self.heard(playbook.take_actions(session))
        self.feed()

    def answer_ticket(self, variant: int, what: str, *details: Any) -> None:
        session = self.stage.session
        if what == "approval":
            state = ("requested", "approved", "denied")[variant % 3]
            session.resume_approval({wanted: ("id", state) for wanted in details[0]})
        elif what == "topic_ids":
            for topic_id in details[0][variant % 2:]:
                self.stage.addresses.topic_ids.teach(topic_id, TOPICS[topic_id[0] % len(TOPICS)])
            session.resume_topic_ids()

    def prove(self, variant: int) -> None:
        lifetime = LIFETIMES[variant % len(LIFETIMES)]
        facts = msgspec.structs.replace(FACTS, expires_at=self.now + lifetime,
                                        principal=NOBODY if variant & 0x80 else FACTS.principal)
        self.stage.session.resume_login(facts, self.now)

    def feed(self) -> None:
        """What the shell does: one frame after the other until the session waits; what it gives back comes again."""
        session = self.stage.session
        while self.waiting and session.waiting is None and not self.closed:
            whole = self.waiting.popleft()
            actions = self.stage.client(whole, self.now)
            held = [data for kind, data in actions if kind == "held"]
            assert held in ([], [whole]), "what is held is the frame itself"
            if held:
                self.waiting.appendleft(whole)
            elif not self.closed and len(whole) >= 12:
                self.asked.append(int.from_bytes(whole[8:12], "big", signed=True))
            self.heard(actions)
            if held and session.waiting is None:
                break

    def answer(self, data: bytes) -> None:
        """The broker's answer to the oldest request that it was sent, with this body."""
        if self.owed:
            asked = self.owed.popleft()
            flexible = data[:1] == b"\1"
            said = asked[8:12] + (b"\0" if flexible else b"") + data[1:]
            if is_frame(said):
                self.heard(self.stage.broker(struct.pack(">i", len(said)) + said, self.now))

    def heard(self, actions: list[tuple[str, Any]]) -> None:
        session = self.stage.session
        for kind, data in actions:
            if kind == "close":
                self.closed = self.closed or data
                assert self.closed == data, "the first cause stands"
            elif kind == "broker":
                assert session.facts is not None, "nothing goes to a broker before a login"
                assert not self.closed or self.closed == data, "nothing goes to a broker after the end"
                self.owed.extend(split(data))
            elif kind == "client":
                for answer in split(data):
                    self.in_order(int.from_bytes(answer[4:8], "big", signed=True))

    def in_order(self, correlation: int) -> None:
        """Answers follow the requests; some requests have none."""
        while self.said < len(self.asked):
            self.said += 1
            if self.asked[self.said - 1] == correlation:
                return
        raise AssertionError("an answer that is lost, doubled or out of order")


def events(data: bytes) -> list[tuple[int, bytes]]:
    found, at = [], 0
    while len(data) - at >= 3 and len(found) < MOST_EVENTS:
        size = int.from_bytes(data[at + 1 : at + 3], "big")
        found.append((data[at] % (TOLD + 1), data[at + 3 : at + 3 + size]))
        at += 3 + size
    return found


def joined(found: list[tuple[int, bytes]]) -> bytes:
    return b"".join(struct.pack(">BH", kind, len(data)) + data for kind, data in found if len(data) < 1 << 16)


def check_input(data: bytes) -> str:
    player = Player()
    for kind, payload in events(data):
        player.take(kind, payload)
    session = player.stage.session
    assert session.unanswered() >= 0
    player.stage.notes()
    return player.closed or session.phase


# -- inputs ------------------------------------------------------------------------------------------------------------

def login(chance: random.Random, correlation: int) -> list[tuple[int, bytes]]:
    mechanism = chance.choice(("OAUTHBEARER", "OAUTHBEARER", "PLAIN", "SCRAM-SHA-256"))
    return [(CLIENT, request(17, 1, correlation, {"mechanism": mechanism})[4:]),
            (CLIENT, request(36, chance.randrange(3), correlation + 1, {"auth_bytes": b"token"})[4:]),
            (REFUSED if chance.random() < 0.1 else PROVED, bytes([chance.choice((0, 0, 0, 1, 1, 2, 3, 4, 0x81))])),
            (CONNECTED, b"")]


def some_request(chance: random.Random, correlation: int) -> list[tuple[int, bytes]]:
    topic, other = chance.choice(("open", "open", "ask", "shut")), chance.choice(("open", "shut"))
    kind = chance.randrange(6)
    if kind < 2:
        acks, version = chance.choice((0, 1, -1)), chance.choice((3, 8, 9, 12))
        offsets = {topic: {0: chance.randrange(100)}, other: {0: 5}}
        return [(CLIENT, produce(correlation, {topic: [0], other: [0]}, acks, version)[4:]),
                (BROKER_SAYS if chance.random() < 0.1 else BROKER_ANSWERS,
                 answer_body(produced(correlation, offsets, version), 0, version))]
    if kind < 4:
        return [(CLIENT, fetch(correlation, [topic, other])[4:]),
                (BROKER_ANSWERS, answer_body(fetched(correlation, {topic: b"", other: b""}), 1, 12))]
    if kind == 4:
        software = {"client_software_name": "a", "client_software_version": "1"}
        return [(CLIENT, request(18, 3, correlation, software)[4:]), (VERSIONS, bytes([chance.random() < 0.05]))]
    api, version = chance.choice(((3, 12), (3, 4), (10, 4), (2, 7)))
    values = random_values(chance, api, version, False, tags=False)
    said = response(api, version, correlation, random_values(chance, api, version, True))
    return [(CLIENT, request(api, version, correlation, values)[4:]), (BROKER_ANSWERS, answer_body(said, api, version))]


def answer_body(frame: bytes, api: int, version: int) -> bytes:
    flexible = (api, version) in ((0, 9), (0, 12), (1, 12), (3, 12), (10, 4))
    return (b"\1" if flexible else b"\0") + frame[9 if flexible else 8:]


def other_event(chance: random.Random) -> tuple[int, bytes]:
    kind = chance.choice((LATER, LATER, RELOADED, TOLD, APPROVED, APPROVED, CONNECTED, VERSIONS, PROVED, REFUSED))
    data = struct.pack(">h", chance.choice((1, 9, 11, 60, 400, -20))) if kind == LATER else bytes([chance.randrange(6)])
    return kind, data


def make(chance: random.Random) -> bytes:
    found: list[tuple[int, bytes]] = []
    if chance.random() < 0.9:
        found += [(VERSIONS, b"\0"), *login(chance, 1)]
    for number in range(chance.randrange(9)):
        draw, correlation = chance.random(), 10 * number + 10
        if draw < 0.25:
            found.append(other_event(chance))
        else:
            found += login(chance, correlation) if draw < 0.4 else some_request(chance, correlation)
    return change(joined(found), chance) if chance.random() < 0.5 else joined(found)


def change(data: bytes, chance: random.Random) -> bytes:
    """An event is harmed, left out, doubled, moved, or put in."""
    found = events(data)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(found) + 1)
        kind = chance.randrange(5)
        if kind == 0 or at == len(found):
            one = chance.random() < 0.5
            found[at:at] = [other_event(chance)] if one else some_request(chance, chance.randrange(99))
        elif kind == 1:
            found[at] = (found[at][0], mutate(found[at][1], chance, PIECES))
        elif kind == 2:
            del found[at]
        elif kind == 3:
            found.insert(at, found[at])
        else:
            found.insert(chance.randrange(len(found)), found.pop(at))
    return joined(found)


HARNESS = Harness("session", make, change, check_input)

if __name__ == "__main__":
    HARNESS.main(__doc__)
