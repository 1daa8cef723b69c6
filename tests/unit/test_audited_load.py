"""The judge of the kill suite finds what it is there to find."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.audited_load import Account, judge
from tests.support.clients import Got

FLOW = {"id": "n.0.1.2", "kind": "flow", "topic": "t", "principal": "dev:c0-1", "partitions": [[0, 0, 2, 3, 30]]}
INTENT = {"id": "n.0.1.recovered.1", "kind": "flow", "topic": "t", "principal": "dev:c0-1", "partitions": [],
          "unanswered": 1, "recovered": True}


def problems(tmp_path: Path, lines: list[dict[str, Any]], acked: range, stored: range, tail: str = "") -> list[str]:
    file = tmp_path / "audit.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines) + tail)
    values = {offset: b"c0-1/%d" % offset for offset in stored}
    account = Account(acked={offset: values.get(offset, b"gone") for offset in acked})
    kafka = [Got("t", 0, offset, None, value, ()) for offset, value in values.items()]
    return judge("t", account, kafka, [file]).problems


def test_what_is_whole_has_no_problem(tmp_path):
    assert problems(tmp_path, [FLOW, INTENT], range(3), range(4)) == []


@pytest.mark.parametrize(("lines", "acked", "stored", "problem"), [
    ([FLOW], range(4), range(4), "offset 3 was acknowledged and has no outcome"),
    ([FLOW], range(3), range(4), "1 records of dev:c0-1 are in Kafka and only 0 intents are told"),
    ([FLOW], range(3), range(2), "offset 2 was acknowledged and Kafka holds something else"),
    ([FLOW], range(2), range(2), "offset 2 is told and is not in Kafka"),
    ([FLOW, FLOW], range(3), range(3), "told twice: n.0.1.2"),
    ([FLOW, {**FLOW, "id": "n.0.1.3"}], range(3), range(3), "offset 0 is told 2 times"),
    ([{**FLOW, "principal": "dev:c9-9"}], range(3), range(3), "offset 0 is dev:c0-1's and is told of 'dev:c9-9'"),
    ([{**FLOW, "partitions": [[0, 0, 2, 2, 20]]}], range(3), range(3), "n.0.1.2: 2 records in 0-2"),
])
def test_what_is_wrong_is_named(tmp_path, lines, acked, stored, problem):
    assert problem in problems(tmp_path, lines, acked, stored)


def test_a_torn_line_is_named(tmp_path):
    found = problems(tmp_path, [FLOW], range(3), range(3), tail='{"id": "n.0')
    assert found == ["audit.jsonl ends within a line", "audit.jsonl:2 is no event"]
