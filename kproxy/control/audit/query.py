"""What an auditor asks of the sink: who launched it, which model wrote these offsets, what left unmasked to whom.

Pure: events in, rows out. A flow line's partitions are runs of offsets without a gap, so a row's offsets are exact,
and an answer is complete up to the audit's own lag.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from kproxy.control.refusals import BAD_REQUEST, Refused
from kproxy.model.audit_event import AuditEvent

_read_event = msgspec.json.Decoder(AuditEvent).decode


class Offsets(msgspec.Struct, frozen=True):
    """Offsets ``first`` to ``last``, both included, of a topic; ``partition`` −1 means any."""

    topic: str
    partition: int = -1
    first: int = 0
    last: int = (1 << 63) - 1


class Filter(msgspec.Struct, frozen=True):
    """What lines are looked at. Empty: all."""

    principal: str = ""
    kinds: tuple[str, ...] = ()
    since: float = 0.0
    until: float = 0.0
    """0: no end. JSON has no infinity."""
    topic: str = ""
    session: str = ""
    run: str = ""
    error_id: str = ""

    def covers(self, event: AuditEvent) -> bool:
        return (
            self.since <= event.ts and (not self.until or event.ts <= self.until)
            and (not self.principal or self.principal == event.principal)
            and (not self.kinds or event.kind in self.kinds)
            and (not self.topic or self.topic in (event.topic, event.name))
            and (not self.session or self.session == event.session)
            and (not self.run or self.run == event.attested.get("run", ""))
            and (not self.error_id or self.error_id == event.error_id)
        )


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One question. At most one of ``launched``, ``wrote`` and ``emitted_to`` is given; without them the answer is the
    lines themselves, the last ``limit`` of them."""

    launched: str = ""
    wrote: str = ""
    emitted_to: str = ""
    where: Filter = Filter()
    limit: int = 1000


def answer(events: Iterable[AuditEvent], question: Question) -> list[dict[str, Any]]:
    """The rows. Raises Refused for a question that cannot be understood."""
    if sum(map(bool, (question.launched, question.wrote, question.emitted_to))) > 1:
        raise Refused(BAD_REQUEST, "ask one of launched, wrote and emitted-to at a time")
    if question.launched:
        return find_launched(events, question.launched, question.where)
    if question.wrote:
        return find_writers(events, parse_offsets(question.wrote), question.where)
    if question.emitted_to:
        return find_emitted(events, question.emitted_to, question.where)
    return find_events(events, question.where, question.limit)


def read_events(paths: Iterable[Path]) -> Iterator[AuditEvent]:
    """Every line of the files, in order. A line that is no event of ours is passed over. Raises Refused for a file that
    cannot be read."""
    for path in paths:
        try:
            with open(path, "rb") as file:
                for line in file:
                    try:
                        yield _read_event(line)
                    except msgspec.MsgspecError:
                        continue
        except OSError as error:
            raise Refused(BAD_REQUEST, f"{path} cannot be read: {error.strerror}") from None


def parse_offsets(text: str) -> Offsets:
    """``topic:partition:first-last``, ``topic:partition`` or ``topic``. Raises Refused."""
    topic, *rest = text.split(":")
    try:
        if not topic or len(rest) > 2:
            raise ValueError
        partition = int(rest[0]) if rest else -1
        first, last = parse_range(rest[1]) if len(rest) == 2 else (0, Offsets("").last)
    except ValueError:
        raise Refused(BAD_REQUEST, f"{text!r} is not topic:partition:first-last") from None
    return Offsets(topic, partition, first, last)


def parse_range(text: str) -> tuple[int, int]:
    """``10-20`` or ``10``. Raises ValueError."""
    first, _, last = text.partition("-")
    found = int(first), int(last or first)
    if found[0] < 0 or found[1] < found[0]:
        raise ValueError(text)
    return found


def overlaps(event: AuditEvent, wanted: Offsets) -> list[tuple[int, int, int]]:
    """The parts of the event's runs that lie within: (partition, first, last)."""
    if event.topic != wanted.topic:
        return []
    return [(partition, max(first, wanted.first), min(last, wanted.last))
            for partition, first, last, _, _ in event.partitions
            if wanted.partition in (-1, partition) and first <= wanted.last and last >= wanted.first]


def find_launched(events: Iterable[AuditEvent], what: str, where: Filter) -> list[dict[str, Any]]:
    """Who launched it: ``what`` is a run, a session, a topic, or offsets of one as parse_offsets reads them. One row
    for each launcher, run, principal and model."""
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    offsets = _offsets_or_none(what)
    for event in events:
        if event.kind not in ("connect", "flow") or not where.covers(event) or not _is_about(event, what, offsets):
            continue
        row = rows.setdefault(_launch(event), {
            **_who(event), "sessions": set(), "produced": set(), "consumed": set(), "first_seen": event.ts,
            "last_seen": event.ts})
        row["sessions"].add(event.session)
        if event.topic:
            row["produced" if event.direction == "produce" else "consumed"].add(event.topic)
        row["first_seen"] = min(row["first_seen"], event.ts)
        row["last_seen"] = max(row["last_seen"], event.ts)
    return [{name: sorted(value) if isinstance(value, set) else value for name, value in row.items()}
            for _, row in sorted(rows.items())]


def find_writers(events: Iterable[AuditEvent], offsets: Offsets, where: Filter) -> list[dict[str, Any]]:
    """Which model, run and launcher wrote these offsets: one row for each writer and run of offsets, by offset."""
    found: dict[tuple[Any, ...], list[tuple[int, int, int]]] = {}
    first_event: dict[tuple[Any, ...], AuditEvent] = {}
    for event in events:
        if event.kind != "flow" or event.direction != "produce" or not where.covers(event):
            continue
        parts = overlaps(event, offsets)
        if parts:
            key = (*_launch(event), event.session, event.policy_version)
            found.setdefault(key, []).extend(parts)
            first_event.setdefault(key, event)
    rows = []
    for key, parts in found.items():
        event = first_event[key]
        for partition, first, last in _join(parts):
            rows.append({"topic": offsets.topic, "partition": partition, "first_offset": first, "last_offset": last,
                         **_who(event), "session": event.session, "policy_version": event.policy_version})
    return sorted(rows, key=lambda row: (row["partition"], row["first_offset"], row["session"]))


def find_emitted(events: Iterable[AuditEvent], principal: str, where: Filter) -> list[dict[str, Any]]:
    """Which fields left unmasked to a principal, by topic; ``*`` where nothing looked and so every field may have."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for event in events:
        if event.kind != "flow" or event.direction != "consume" or event.principal != principal:
            continue
        if not where.covers(event):
            continue
        fields = event.fields_emitted if event.fields == "inspected" else {"*": event.records}
        for name in {**fields, **(event.fields_masked if event.fields == "inspected" else {})}:
            row = rows.setdefault((event.topic, name), {
                "topic": event.topic, "field": name, "inspected": event.fields == "inspected", "unmasked": 0,
                "masked": 0, "rules": set(), "first_seen": event.ts, "last_seen": event.ts})
            row["unmasked"] += fields.get(name, 0)
            masked = event.fields_masked.get(name, 0)
            row["masked"] += masked
            if masked:
                row["rules"].update(event.rules)
            row["first_seen"] = min(row["first_seen"], event.ts)
            row["last_seen"] = max(row["last_seen"], event.ts)
    return [{**row, "rules": sorted(row["rules"])} for _, row in sorted(rows.items())]


def find_events(events: Iterable[AuditEvent], where: Filter, limit: int = 1000) -> list[dict[str, Any]]:
    """The lines themselves, the last ``limit`` of them."""
    last = deque((event for event in events if where.covers(event)), maxlen=max(0, limit))
    return [msgspec.to_builtins(event) for event in last]


def _offsets_or_none(what: str) -> Offsets | None:
    try:
        return parse_offsets(what)
    except Refused:
        return None


def _is_about(event: AuditEvent, what: str, offsets: Offsets | None) -> bool:
    if what in (event.attested.get("run", ""), event.session, event.topic):
        return True
    # Of a range somebody wants to know who wrote it, not who read it.
    return offsets is not None and event.direction == "produce" and bool(overlaps(event, offsets))


def _launch(event: AuditEvent) -> tuple[str, ...]:
    named = tuple(event.attested.get(name, "") for name in ("launcher", "run", "model", "commit"))
    return (*named, event.principal)


def _who(event: AuditEvent) -> dict[str, Any]:
    named = {name: event.attested.get(name, "") for name in ("launcher", "run", "model", "commit")}
    return {**named, "principal": event.principal, "issuer": event.issuer}


def _join(parts: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Runs that touch become one."""
    joined: list[tuple[int, int, int]] = []
    for partition, first, last in sorted(set(parts)):
        if joined and joined[-1][0] == partition and first <= joined[-1][2] + 1:
            joined[-1] = (partition, joined[-1][1], max(last, joined[-1][2]))
        else:
            joined.append((partition, first, last))
    return joined
