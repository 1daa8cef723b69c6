"""Spool segments as a worker writes them, made by hand."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import msgspec

from kproxy._ext.ledger import read_notes
from kproxy.model.audit_event import AuditEvent
from kproxy.model.spool import END, EVENT, INTENT, MAGIC, NOTES, OUTCOME, READ, Note, pack_entry

START = 1_800_000_000_000
WHO: dict[str, Any] = {
    "principal": "corp:fraud-job", "issuer": "corp", "listener": "public",
    "attested": {"launcher": "alice", "run": "run-7", "model": "models:/fraud/4"},
}


def pack_note(kind: int, session: int, topic: str, partition: int, first: int, last: int, *, correlation: int = 0,
              records: int | None = None, size: int = 100, error: int = 0) -> bytes:
    name = topic.encode()
    count = last - first + 1 if records is None else records
    signed = (correlation, partition, first, last - first, count, size, error)
    return bytes((kind,)) + b"".join((
        varint(session), *(varint(2 * one if one >= 0 else -2 * one - 1) for one in signed), varint(len(name)), name))


def varint(number: int) -> bytes:
    """Kafka's, unsigned."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*found, number))


def walk_notes(payload: bytes) -> list[Note]:
    return list(itertools.starmap(Note, read_notes(payload)))


def intent(session: int, topic: str, partition: int, records: int, correlation: int) -> bytes:
    return pack_note(INTENT, session, topic, partition, -1, -1, correlation=correlation, records=records)


def outcome(session: int, topic: str, partition: int, first: int, last: int, correlation: int, error: int = 0) -> bytes:
    return pack_note(OUTCOME, session, topic, partition, first, last, correlation=correlation, error=error)


def read(session: int, topic: str, partition: int, first: int, last: int) -> bytes:
    return pack_note(READ, session, topic, partition, first, last)


class Worker:
    """Writes segments of one run; ``sequence`` numbers its events."""

    def __init__(self, directory: Path, worker: int = 0, start: int = START, node: str = "edge-1") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory, self.worker, self.start, self.node = directory, worker, start, node
        self.sequence = 0
        self.number = -1
        self.ids: list[str] = []
        self.next_segment()

    def next_segment(self) -> Path:
        self.number += 1
        self.path = self.directory / f"w{self.worker}-{self.start}-{self.number:06d}.seg"
        self.path.write_bytes(MAGIC)
        return self.path

    def append(self, kind: int, payload: bytes) -> None:
        with open(self.path, "ab") as file:
            file.write(pack_entry(kind, payload))

    def event(self, kind: str, session: int = 0, **fields: Any) -> str:
        self.sequence += 1
        event = AuditEvent(
            id=f"{self.node}.{self.worker}.{self.start}.{self.sequence}", kind=kind,
            ts=self.start / 1000 + self.sequence, node=self.node, worker=self.worker,
            session=f"{self.worker}-{session}" if session else "", **fields)
        self.append(EVENT, msgspec.json.encode(event))
        self.ids.append(event.id)
        return event.id

    def connect(self, session: int, **fields: Any) -> None:
        self.event("connect", session, **{**WHO, **fields})

    def flow(self, session: int, **fields: Any) -> None:
        self.event("flow", session, **{**WHO, "fields": "not_inspected", **fields})

    def notes(self, *notes: bytes) -> None:
        self.append(NOTES, b"".join(notes))

    def end(self) -> None:
        self.append(END, b"")
