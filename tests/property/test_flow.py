"""What a session moved: the native notes and their sum against plain ones."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kproxy._ext.ledger import Flow, Ledger, add_note, add_outcome, read_notes
from kproxy.model.spool import INTENT, NOTES, OUTCOME, READ
from tests.support.spool_files import pack_note

OFFSETS = st.one_of(st.integers(0, 12), st.integers(-(1 << 63), (1 << 63) - 9))
ANSWERS = st.lists(st.tuples(st.sampled_from([b"t", b"u", "ü".encode(), b"\xff"]), st.integers(0, 3), OFFSETS,
                             st.integers(0, 8), st.integers(0, 1 << 30)), max_size=60)


@given(ANSWERS)
def test_runs_are_those_of_a_plain_sum(answers: list[tuple[bytes, int, int, int, int]]) -> None:
    flow, expected = Flow(), {}
    for topic, partition, first, more, size in answers:
        add_outcome(flow, topic, partition, first, first + more, more + 1, size)
        runs = expected.setdefault((topic.decode("utf-8", "replace"), OUTCOME), {}).setdefault(partition, [])
        last = runs[-1] if runs else None
        if last is not None and (first == last[2] + 1 or last[1] <= first <= last[2]):
            runs[-1] = [partition, min(last[1], first), max(last[2], first + more), last[3] + more + 1, last[4] + size]
        else:
            runs.append([partition, first, first + more, more + 1, size])
    assert flow.runs == sum(len(runs) for parts in expected.values() for runs in parts.values())
    found = {key: (json.loads(runs), records, size) for key, (runs, records, size) in flow.take().items()}
    assert found == {key: (whole := [run for runs in parts.values() for run in runs], sum(run[3] for run in whole),
                           sum(run[4] for run in whole)) for key, parts in expected.items()}
    assert flow.runs == 0 and flow.take() == {}


INT32, INT64 = st.integers(-(1 << 31), (1 << 31) - 1), st.integers(-(1 << 63), (1 << 63) - 1)
NOTE = st.tuples(st.sampled_from([INTENT, OUTCOME, READ]), st.integers(0, (1 << 64) - 1), INT32, INT32, INT64, INT64,
                 INT32, INT32, st.integers(-(1 << 15), (1 << 15) - 1), st.text(max_size=40))


class Spool:
    refusing = False

    def __init__(self) -> None:
        self.entries: list[tuple[int, bytes]] = []

    def append(self, kind: int, payload: bytes) -> None:
        self.entries.append((kind, payload))

    def commit(self) -> None: ...


@given(st.lists(NOTE, max_size=8), st.integers(0, 400))
def test_notes_are_read_as_they_were_written(notes: list[tuple[Any, ...]], cut: int) -> None:
    spool = Spool()
    ledger = Ledger(spool)
    for note in notes:
        add_note(ledger, *note)
    assert ledger.commit()
    [(kind, payload)] = spool.entries or [(NOTES, b"")]
    assert kind == NOTES and read_notes(payload) == notes
    left = read_notes(payload[:cut])
    assert left == notes[:len(left)], "what is cut short is left out"
    if all(-(1 << 63) <= note[5] - note[4] < 1 << 63 for note in notes):
        assert payload == b"".join(
            pack_note(kind, session, topic, partition, first, last, correlation=correlation, records=records, size=size,
                      error=error)
            for kind, session, correlation, partition, first, last, records, size, error, topic in notes)


@given(st.binary(max_size=200))
def test_any_bytes_are_some_notes_or_none(payload: bytes) -> None:
    assert all(len(note) == 10 for note in read_notes(payload))
