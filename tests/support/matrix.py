"""What the matrix of clients, codecs and kinds of producers writes and reads, with every client opened once.

Each (client, codec, kind) writes the same records to a topic of its own of each sort: ``open.`` has no rule, ``cards.``
hides numbers on their way in, ``pii.`` hides fields on their way out. Readers read what another client wrote.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from tests.support.batches import Batch, read_batches
from tests.support.client_confluent import _ConfluentConsumer
from tests.support.clients import CLIENT_NAMES, Consumer, Got, Producer, Record, Sent
from tests.support.codecs import NAMES
from tests.support.stage import Stage
from tests.support.tap import FETCH, PRODUCE, Tap, fetched_records, produced_records, topic_ids
from tests.support.transactions import Transactions, open_transactions

KINDS = ("plain", "idempotent", "transactional")
CARD, HIDDEN_CARD = "4111 1111 1111 1111", "***************1111"
#: More than one batch per topic, so that a second base offset is there to be kept.
BATCHES = (3, 4)


@dataclass(frozen=True, slots=True)
class Case:
    client: str
    codec: str
    kind: str
    masked: bool
    reads: bool

    def __str__(self) -> str:
        return "-".join((self.client, self.codec, self.kind, "masked" if self.masked else "unmasked",
                         "consume" if self.reads else "produce"))

    @property
    def factors(self) -> tuple[tuple[str, object], ...]:
        return (("client", self.client), ("codec", self.codec), ("kind", self.kind), ("masked", self.masked),
                ("reads", self.reads))


def all_cases() -> list[Case]:
    return [Case(client, codec, kind, masked, reads) for client in CLIENT_NAMES for codec in NAMES for kind in KINDS
            for masked in (False, True) for reads in (False, True)]


def covering(cases: list[Case], strength: int = 3) -> list[Case]:
    """Some of the cases, always the same ones: every combination of values of any ``strength`` factors is in them."""
    def combinations(case: Case) -> set[tuple[tuple[str, object], ...]]:
        return set(itertools.combinations(case.factors, strength))

    left = set().union(*map(combinations, cases))
    chosen: list[Case] = []
    while left:
        best = max(cases, key=lambda case: len(combinations(case) & left))
        chosen.append(best)
        left -= combinations(best)
    return chosen


def canary(topic: str) -> str:
    return f"canary.{topic}"


def records_for(topic: str, client: str) -> list[Record]:
    """Fields to hide, a card to hide, nothing to hide, a tombstone, and nothing at all; text that every codec makes
    smaller, because some clients give up compressing otherwise."""
    documents = [{"n": n, "note": "ok " * 40} for n in range(sum(BATCHES) - 2)]
    for n in (0, 1, 4):
        documents[n] |= {"user": {"name": "Ada", "email": f"{canary(topic)}@example.com"}, "card": CARD,
                         "items": [{"phone": "0123456789"}]}
    values: list[bytes | None] = [json.dumps(one).encode() for one in documents]
    # kafka-python writes no header without a value.
    headers = (("trace", b"\x00\xff"), ("trace", b""), ("none", b"" if client == "kafka-python" else None))
    return [Record(value, b"key-%d" % n, headers if n % 2 else ())
            for n, value in enumerate([*values[:3], None, *values[3:], b""])]


def hidden(sort: str, value: bytes | None) -> bytes | None:
    """What a rule of the topics of this sort makes of a value; others' stay as they are, to the byte."""
    if not value or b"user" not in value or sort == "open.":
        return value
    if sort == "cards.":
        return value.replace(CARD.encode(), HIDDEN_CARD.encode())
    document = json.loads(value)
    return (value.replace(document["user"]["email"].encode(), b"").replace(b"0123456789", b"********89"))


@dataclass
class Written:
    topic: str
    records: list[Record]
    sent: list[Sent]


class RecordsSeen:
    """The record sets that passed a tap, by topic. Frames are read once, however often one asks."""

    def __init__(self, tap: Tap, api: int) -> None:
        self._tap = tap
        self._api = api
        self._taken: dict[int, tuple[int, int]] = {}
        self._sets: dict[str, list[bytes]] = {}
        self._ids: dict[str, set[str]] = {}

    def of(self, topic: str) -> list[bytes]:
        for passed in self._tap.connections:
            requests, responses = passed.requests(), passed.responses()
            asked, answered = self._taken.get(passed.number, (0, 0))
            self._taken[passed.number] = len(requests), len(responses)
            for name, number in topic_ids(responses[answered:]):
                self._ids.setdefault(name, set()).add(number)
            frames, read = ((requests[asked:], produced_records) if self._api == PRODUCE
                            else (responses[answered:], fetched_records))
            for name, _, data in read([frame for frame in frames if frame.api == self._api]):
                self._sets.setdefault(name, []).append(data)
        return [data for name in (topic, *self._ids.get(topic, ())) for data in self._sets.get(name, [])]


def user_batches(sets: list[bytes]) -> list[Batch]:
    """Every batch that holds users' records, in order and once, though several fetches may have brought it."""
    found = {batch.base_offset: batch for data in sets for batch in read_batches(data) if not batch.attributes & 32}
    return [found[offset] for offset in sorted(found)]


class Matrix:
    """A context manager over a stage: whatever is opened is used again, and closed in the end."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.produced_front = RecordsSeen(stage.front, PRODUCE)
        self.produced_behind = RecordsSeen(stage.behind, PRODUCE)
        self.fetched_front = RecordsSeen(stage.front, FETCH)
        self.fetched_behind = RecordsSeen(stage.behind, FETCH)
        self._stack = contextlib.ExitStack()
        self._writers: dict[tuple[str, str, str], Producer | Transactions] = {}
        self._readers: dict[tuple[str, str], Consumer] = {}
        self._written: dict[tuple[str, str, str, str], Written] = {}

    def __enter__(self) -> Matrix:
        self._admin = self._stack.enter_context(self.stage.client("confluent").admin(self.stage.direct()))
        self._direct = self._stack.enter_context(self.stage.client("confluent").consumer(
            self.stage.direct(), isolation="read_committed"))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._stack.close()

    def write(self, client: str, codec: str, kind: str, sort: str) -> Written:
        """The records in a topic of their own, through kproxy; a transactional producer aborts some before."""
        key = client, codec, kind, sort
        if key not in self._written:
            topic = f"{sort}{uuid.uuid4().hex[:10]}"
            self._admin.create_topic(topic)
            written = Written(topic, records_for(topic, client), [])
            self._send(self._writer(client, codec, kind), written)
            self._written[key] = written
        return self._written[key]

    def read(self, client: str, topic: str, kind: str, count: int) -> list[Got]:
        """Through kproxy; what was written in transactions is read as committed."""
        isolation = "read_committed" if kind == "transactional" else "read_uncommitted"
        if (client, isolation) not in self._readers:
            self._readers[client, isolation] = self._stack.enter_context(self.stage.client(client).consumer(
                self.stage.login("tapped"), isolation=isolation))
        return _read(self._readers[client, isolation], topic, count)

    def read_direct(self, topic: str, count: int) -> list[Got]:
        """What is committed in Kafka itself."""
        return _read(self._direct, topic, count)

    def _writer(self, client: str, codec: str, kind: str) -> Producer | Transactions:
        if (client, codec, kind) not in self._writers:
            login = self.stage.login("tapped", mechanism="PLAIN")
            made: Producer | Transactions
            if kind == "transactional":
                made = open_transactions(client, self.stage.java, login, f"tx.{uuid.uuid4().hex}", codec)
            else:
                made = self.stage.client(client).producer(login, codec=codec, idempotent=kind == "idempotent")
            self._writers[client, codec, kind] = self._stack.enter_context(made)
        return self._writers[client, codec, kind]

    def _send(self, writer: Producer | Transactions, written: Written) -> None:
        send: Callable[[str, list[Record]], list[Sent]]
        if isinstance(writer, Transactions):
            writer.begin()
            writer.send_records(written.topic, written.records[:2])
            writer.abort()
            writer.begin()
            send = writer.send_records
        else:
            send = writer.send
        at = 0
        for count in BATCHES:
            written.sent += send(written.topic, written.records[at:at + count])
            at += count
        if isinstance(writer, Transactions):
            writer.commit()


def _read(consumer: Consumer, topic: str, count: int) -> list[Got]:
    if isinstance(consumer, _ConfluentConsumer):
        # librdkafka looks for leaders it does not know once a second only, unless somebody asks for the topic.
        consumer._consumer.list_topics(topic, 10)
    consumer.assign(topic, 0, 0)
    return consumer.poll(count)
