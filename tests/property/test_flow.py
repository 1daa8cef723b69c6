"""What a session moved, added up: the native flow against a plain one."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from kproxy._ext.ledger import Flow, add_outcome
from kproxy.model.spool import OUTCOME

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
