"""Completes the audit of a worker that died: its notes say what was moved, and no ``flow`` line of its own says so.

    EVENT connect(session)      remember who it is
    NOTES INTENT / OUTCOME      a produce went out / was answered: offsets, records, bytes
    NOTES READ                  records went to the client
    EVENT flow(session, topic)  the session's notes on it in this direction are told; unanswered intents still count
    EVENT disconnect(session)   all is told
    … the worker dies           what is left becomes flow events with recovered=true
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from kproxy._ext.ledger import read_notes
from kproxy.control.audit.segments import Run
from kproxy.model.audit_event import AuditEvent
from kproxy.model.spool import EVENT, INTENT, NOTES, OUTCOME, Note

#: The fields of an event that say whose session it was.
IDENTITY = ("listener", "principal", "issuer", "mechanism", "client_id", "address", "attested", "declared",
            "policy_version", "mode")


class Head(msgspec.Struct, frozen=True):
    """What recovery needs of an event."""

    id: str
    kind: str
    ts: float
    session: str = ""
    listener: str = ""
    principal: str = ""
    issuer: str = ""
    mechanism: str = ""
    client_id: str = ""
    address: str = ""
    attested: dict[str, str] = {}
    declared: dict[str, str] = {}
    policy_version: str = ""
    mode: str = ""
    topic: str = ""
    direction: str = ""

    def identity(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in IDENTITY}


read_head = msgspec.json.Decoder(Head).decode


class _Flow:
    """One topic in one direction. ``runs``: [partition, first, last, records, bytes] without gaps."""

    def __init__(self) -> None:
        self.runs: list[list[int]] = []
        self.errors: dict[str, int] = {}
        self._last: dict[int, list[int]] = {}

    def add(self, note: Note) -> None:
        if note.error:
            self.errors[str(note.error)] = self.errors.get(str(note.error), 0) + 1
            return
        # Only with the last run of its partition: others may have written thousands in between.
        run = self._last.get(note.partition)
        if run is not None and (note.first_offset == run[2] + 1 or run[1] <= note.first_offset <= run[2]):
            run[2] = max(run[2], note.last_offset)
            run[3] += note.records
            run[4] += note.bytes
            return
        fresh = [note.partition, note.first_offset, note.last_offset, note.records, note.bytes]
        self._last[note.partition] = fresh
        self.runs.append(fresh)


class _Session:
    def __init__(self) -> None:
        self.flows: dict[tuple[str, str], _Flow] = {}
        self.intents: dict[tuple[int, str, int], Note] = {}

    def add(self, note: Note) -> None:
        key = (note.correlation, note.topic, note.partition)
        if note.kind == INTENT:
            self.intents[key] = note
            return
        self.intents.pop(key, None)
        direction = "produce" if note.kind == OUTCOME else "consume"
        self.flows.setdefault((note.topic, direction), _Flow()).add(note)


class Recovery:
    """Feed it the entries of all segments of one run, in order; ``events`` then gives the lines still owed."""

    def __init__(self, run: Run, node: str) -> None:
        self._run = run
        self._node = node
        self._sessions: dict[int, _Session] = {}
        self._who: dict[int, Head] = {}
        self._last_ts = run.start / 1000.0

    def add(self, kind: int, payload: bytes) -> None:
        if kind == NOTES:
            for note in itertools.starmap(Note, read_notes(payload)):
                self._sessions.setdefault(note.session, _Session()).add(note)
        elif kind == EVENT:
            self._on_event(read_head(payload))

    def unknown_sessions(self) -> set[str]:
        """Sessions that owe lines and of which no event of these segments says who they are."""
        return {self._name(number) for number in self._sessions if number not in self._who}

    def events(self, who: Callable[[str], Head | None]) -> Iterable[AuditEvent]:
        """``who`` finds the identity of a session whose connect line is no longer in the spool. Ids are the same every
        time, so that telling them twice can be noticed."""
        sequence = 0
        for number, session in sorted(self._sessions.items()):
            head = self._who.get(number) or who(self._name(number))
            identity = head.identity() if head is not None else {}
            for topic, direction in sorted({*session.flows, *((one.topic, "produce") for one in
                                                              session.intents.values())}):
                sequence += 1
                flow = session.flows.get((topic, direction), _Flow())
                yield AuditEvent(
                    id=f"{self._node}.{self._run.worker}.{self._run.start}.recovered.{sequence}", kind="flow",
                    ts=self._last_ts, node=self._node, worker=self._run.worker, session=self._name(number),
                    topic=topic, direction=direction,
                    partitions=[(run[0], run[1], run[2], run[3], run[4]) for run in flow.runs],
                    records=sum(run[3] for run in flow.runs), bytes=sum(run[4] for run in flow.runs),
                    fields="unknown", recovered=True, **identity,
                    **_unanswered(session, topic, direction, flow.errors))

    def _on_event(self, head: Head) -> None:
        self._last_ts = max(self._last_ts, head.ts)
        _, _, number_text = head.session.rpartition("-")
        if not number_text.isdigit():
            return
        number = int(number_text)
        if head.kind == "disconnect":
            self._sessions.pop(number, None)
            self._who.pop(number, None)
            return
        if head.principal:
            self._who[number] = head
        session = self._sessions.get(number)
        if head.kind == "flow" and session is not None:
            # Of the lines of one turn the first may be all that a kill in the middle of the write has left.
            session.flows.pop((head.topic, head.direction), None)
            if not session.intents and not session.flows:
                del self._sessions[number]

    def _name(self, number: int) -> str:
        return f"{self._run.worker}-{number}"


def _unanswered(session: _Session, topic: str, direction: str, errors: dict[str, int]) -> dict[str, Any]:
    details: dict[str, Any] = {"errors": dict(errors)} if errors else {}
    if direction != "produce":
        return {"details": details}
    notes = [note for note in session.intents.values() if note.topic == topic]
    if notes:
        details["unanswered_records"] = sum(note.records for note in notes)
        details["unanswered_partitions"] = sorted({note.partition for note in notes})
    return {"unanswered": len({note.correlation for note in notes}), "details": details}
