"""Producers that go on through every death, and what the audit must say of all that they did.

Every connection has a principal of its own, so that a line of the audit can be held against the connection. The
verdict rests on three accounts that know nothing of each other: what clients were answered, what Kafka holds, and what
the audit says.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.clients import Got
from tests.support.raw_client import PRODUCE, RawClient, produce
from tests.support.stage import Stage

#: Produces a connection has under way.
WINDOW = 4
PRODUCE_VERSION = 9


@dataclass
class Account:
    """What clients know. ``acked``: offset to value. ``refused``: error codes they were answered."""

    acked: dict[int, bytes] = field(default_factory=dict)
    refused: Counter[int] = field(default_factory=Counter)
    connections: int = 0
    broken: int = 0


class Load:
    """``count`` clients that produce to one topic as fast as they are answered, and connect again when they are cut.
    A record's value is ``principal/number``."""

    def __init__(self, stage: Stage, topic: str, count: int = 3) -> None:
        self.account = Account()
        self._stage = stage
        self._topic = topic
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._keep_going, args=(number,)) for number in range(count)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def acked(self) -> int:
        return len(self.account.acked)

    def _keep_going(self, number: int) -> None:
        connection = 0
        while not self._stop.is_set():
            connection += 1
            try:
                self._produce(f"c{number}-{connection}")
            except (OSError, AssertionError):
                with self._lock:
                    self.account.broken += 1
                self._stop.wait(0.02)

    def _produce(self, principal: str) -> None:
        token = self._stage.token(principal)
        with self._stage.raw(token=token) as client:
            with self._lock:
                self.account.connections += 1
            waiting: dict[int, bytes] = {}
            sent = 0
            while waiting or not self._stop.is_set():
                while len(waiting) < WINDOW and not self._stop.is_set():
                    value = f"{principal}/{sent}".encode()
                    client.send(client.frame(PRODUCE, PRODUCE_VERSION, produce((self._topic, [value]))))
                    waiting[client.correlation] = value
                    sent += 1
                if waiting:
                    self._receive(client, waiting)

    def _receive(self, client: RawClient, waiting: dict[int, bytes]) -> None:
        correlation, body = client.receive_answer(PRODUCE, PRODUCE_VERSION)
        value = waiting.pop(correlation)
        (part,) = body["responses"][0]["partition_responses"]
        with self._lock:
            if part["error_code"] == 0:
                self.account.acked[part["base_offset"]] = value
            else:
                self.account.refused[part["error_code"]] += 1


@dataclass
class Verdict:
    """``problems`` is empty where both invariants hold; the rest says how much was looked at."""

    problems: list[str]
    acked: int
    in_kafka: int
    told: int
    only_intended: int
    recovered: int


def read_lines(files: Sequence[Path]) -> tuple[list[dict[str, Any]], list[str]]:
    """Every line of the audit, and what is wrong with the files themselves."""
    lines, problems = [], []
    for file in files:
        data = file.read_bytes()
        if data and not data.endswith(b"\n"):
            problems.append(f"{file.name} ends within a line")
        for number, text in enumerate(data.splitlines(), 1):
            try:
                lines.append(json.loads(text))
            except ValueError:
                problems.append(f"{file.name}:{number} is no event")
    doubled = [name for name, times in Counter(line["id"] for line in lines).items() if times > 1]
    return lines, problems + [f"told twice: {name}" for name in doubled]


def judge(topic: str, account: Account, in_kafka: Sequence[Got], files: Sequence[Path]) -> Verdict:
    """Holds the three accounts against each other, offset by offset."""
    lines, problems = read_lines(files)
    about = [line for line in lines if line["kind"] == "flow" and line.get("topic") == topic]
    told: Counter[int] = Counter()
    who: dict[int, str] = {}
    intended: Counter[str] = Counter()
    for line in about:
        for _, first, last, records, _ in line.get("partitions", ()):
            if records != last - first + 1:
                problems.append(f"{line['id']}: {records} records in {first}-{last}")
            for offset in range(first, last + 1):
                told[offset] += 1
                who[offset] = line.get("principal", "")
    for line in lines:
        # A session that ended says how many of its produces nobody answered; a dead worker's lines do, per topic.
        if line["kind"] == "disconnect" or (line["kind"] == "flow" and line.get("topic") == topic):
            intended[line.get("principal", "")] += line.get("unanswered", 0)
    problems += [f"offset {offset} was acknowledged and has no outcome" for offset in account.acked
                 if offset not in told]
    problems += [f"offset {offset} is told {times} times" for offset, times in told.items() if times > 1]
    stored = {got.offset: got.value or b"" for got in in_kafka}
    problems += [f"offset {offset} was acknowledged and Kafka holds something else"
                 for offset, value in account.acked.items() if stored.get(offset) != value]
    problems += [f"offset {offset} is told and is not in Kafka" for offset in told if offset not in stored]
    only_intended: Counter[str] = Counter()
    for offset, value in stored.items():
        principal = f"dev:{value.decode().partition('/')[0]}"
        if offset not in told:
            only_intended[principal] += 1
        elif who[offset] != principal:
            problems.append(f"offset {offset} is {principal}'s and is told of {who[offset]!r}")
    problems += [f"{count} records of {principal} are in Kafka and only {intended[principal]} intents are told"
                 for principal, count in only_intended.items() if count > intended[principal]]
    recovered = sum(bool(line.get("recovered")) for line in about)
    return Verdict(problems, len(account.acked), len(stored), len(told), sum(only_intended.values()), recovered)
