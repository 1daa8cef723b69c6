"""One node between two tenants and a broker: sessions driven by hand, every frame looked at on both sides.

``Seat`` is one tenant's place. What it asks is remembered until its answer is out; answers are compared with what
Kafka's rules say of the rights there were when the request was taken and when it was answered.
"""

from __future__ import annotations

import random
import struct
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from kproxy._ext import playbook
from kproxy._ext.apis import SERVED
from kproxy._ext.login import Promise, advertised
from kproxy.model.access import Facts, Principal
from tests.support import frames
from tests.support.playbook import NOW, Stage
from tests.support.tenant_checks import check_answer, check_sent
from tests.support.tenant_messages import answer, ask
from tests.support.tenants import Tenants

BROKER = Promise(advertised(SERVED))
LOGIN = (17, 36)


@dataclass
class Asked:
    """A request under way. ``rights``: those when the session took it."""

    api: int
    version: int
    correlation: int
    values: dict[str, Any]
    frame: bytes
    rights: dict[str, int] = field(default_factory=dict)


class Node:
    """``planted``: an API at which kproxy is made to err, and how: its policy says yes to everything ("decider"), or
    its answers go out as the broker gave them ("answer"). ``looked_at`` counts answers."""

    def __init__(self, planted: tuple[str, int] | None = None) -> None:
        self.tenants = Tenants()
        self.planted = planted
        self.current = -1
        self.seats: dict[str, Seat] = {}
        self.first: Stage | None = None
        self.looked_at = 0
        self.now = NOW

    def seat(self, who: str) -> Seat:
        if who not in self.seats or self.seats[who].closed:
            self.seats[who] = Seat(self, who)
        return self.seats[who]

    def errs(self) -> bool:
        return self.planted == ("decider", self.current)

    def stage(self, who: str) -> Stage:
        """A session of its own, in the worker of the others."""
        made = Stage(self.tenants.decider(who, self.errs), beside=self.first)
        self.first = self.first or made
        return made

    def reload(self) -> None:
        if self.first is not None:
            self.first.epoch.value += 1

    def during(self, api: int) -> None:
        """From here on the policy is asked for this API, which may be the one at which it errs."""
        if self.planted is not None and self.planted[0] == "decider":
            self.current = api
            self.reload()


class Seat:
    def __init__(self, node: Node, who: str) -> None:
        self.node, self.who, self.tenants = node, who, node.tenants
        self.stage = node.stage(who)
        self.facts = Facts(Principal(f"corp:{who}", "corp", who), "OAUTHBEARER", "public", expires_at=NOW + 1e9)
        self.stage.log_in(self.facts, BROKER)
        self.correlation = 100
        self.asked: deque[Asked] = deque()
        self.unfed: list[Asked] = []
        self.at_broker: deque[tuple[int, int, int, dict[str, Any]]] = deque()
        self.waiting: tuple[Any, ...] | None = None
        self.closed = False
        self.may_close = False
        self.proving: deque[Facts] = deque()

    def ask(self, rows: Iterable[tuple[int, int]], chance: random.Random) -> None:
        """Requests of these (API, version), in one write."""
        for api, version in rows:
            values = ask(self.tenants, self.who, api, version, chance)
            self._queue(api, version, values)
        self.feed()

    def _queue(self, api: int, version: int, values: dict[str, Any]) -> None:
        self.correlation += 1
        frame = frames.request(api, version, self.correlation, values, client_id=f"{self.who}-client")
        one = Asked(api, version, self.correlation, values, frame)
        self.asked.append(one)
        self.unfed.append(one)

    def renew(self, stranger: bool) -> None:
        """A handshake and a token."""
        facts = msgspec.structs.replace(self.facts, expires_at=NOW + 2e9)
        if stranger:
            facts = msgspec.structs.replace(facts, principal=Principal("corp:eve", "corp", "eve"))
        self.proving.append(facts)
        self.may_close |= stranger
        self._queue(17, 1, {"mechanism": "OAUTHBEARER"})
        self._queue(36, 1, {"auth_bytes": b"token"})
        self.feed()

    def feed(self) -> None:
        """What the session takes of what was written."""
        step = 1 if self.node.planted else len(self.unfed)
        while self.unfed and self.waiting is None and not self.closed:
            taken, self.unfed = self.unfed[:step], self.unfed[step:]
            self.node.now += 2          # One renewal in a second is as many as are taken (KIP-368).
            for one in taken:
                one.rights = self.tenants.rights_now(self.who)
            self.node.during(taken[0].api)
            self._act(self.stage.client(b"".join(one.frame for one in taken), self.node.now), taken)
            self.node.during(-1)

    def resolve(self) -> None:
        """What the session waits for comes."""
        while self.waiting is not None and not self.closed:
            what, *more = self.waiting
            self.waiting = None
            if what == "topic_ids":
                self._learn(more[0])
                self.stage.session.resume_topic_ids()
            else:
                assert what == "token", what
                self.stage.session.resume_login(self.proving.popleft(), self.node.now)
            self._act(playbook.take_actions(self.stage.session), [])
            self.feed()

    def _learn(self, wanted: list[bytes]) -> None:
        ids = self.stage.addresses.topic_ids
        for one in wanted:
            if one == bytes(16):
                ids.teach_all(sorted(self.tenants.ids))
            elif (name := self.tenants.name_of(one)) is not None:
                ids.teach(one, name)

    def answer(self, count: int = 1 << 30) -> None:
        """The broker answers the next of its requests, by what it has now."""
        while self.at_broker and count and not self.closed:
            api, version, correlation, values = self.at_broker.popleft()
            frame = frames.response(api, version, correlation, answer(self.tenants, api, version, values))
            if self.node.planted == ("answer", api):
                one = next(one for one in self.asked if one.correlation == correlation)
                check_answer(self.tenants, self.who, one, frame)
            self.node.during(api)
            self._act(self.stage.broker(frame, self.node.now), [])
            self.node.during(-1)
            count -= 1

    def finish(self) -> None:
        """Everything that was asked is answered."""
        while (self.unfed or self.at_broker or self.waiting) and not self.closed:
            self.resolve()
            self.feed()
            self.answer()
        assert self.closed or not self.asked, f"never answered: {self.asked[0]}"

    def _act(self, actions: list[tuple[str, Any]], taken: list[Asked]) -> None:
        held = []
        for kind, said in actions:
            if kind == "broker":
                self._to_broker(said)
            elif kind == "client":
                self._to_client(said)
            elif kind == "wait":
                self.waiting = said
            elif kind == "held":
                held.append(said)
            else:
                assert kind == "close" and self.may_close, f"{self.who} was closed: {said}"
                self.closed = True
        self.unfed = [one for one in taken if one.frame in held] + self.unfed

    def _to_broker(self, data: bytes) -> None:
        for frame in frames.split(data):
            api, version, correlation, values = frames.read_request(frame)
            one = next(one for one in self.asked if one.correlation == correlation)
            assert (one.api, one.version) == (api, version)
            check_sent(self.tenants, self.who, one, frame)
            self.at_broker.append((api, version, correlation, values))

    def _to_client(self, data: bytes) -> None:
        for frame in frames.split(data):
            one = self.asked.popleft()
            assert struct.unpack_from(">i", frame, 4)[0] == one.correlation, "out of order"
            if self.may_close and one.api == 36:
                continue
            check_answer(self.tenants, self.who, one, frame)
            self.node.looked_at += 1
