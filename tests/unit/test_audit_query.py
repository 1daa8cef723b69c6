"""The three questions, each against lines whose answer is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from kproxy.control.audit.query import (
    Filter,
    Question,
    answer,
    find_emitted,
    find_events,
    find_launched,
    find_writers,
    parse_offsets,
    read_events,
)
from kproxy.control.refusals import Refused
from kproxy.model.audit_event import AuditEvent

NOW = 1_800_000_000.0


def flow(number: int, session: str, launcher: str, model: str, **fields: Any) -> AuditEvent:
    return AuditEvent(
        id=f"edge-1.0.1.{number}", kind="flow", ts=NOW + number, node="edge-1", session=session,
        principal=f"corp:{launcher}-job", issuer="corp", policy_version="v1",
        attested={"launcher": launcher, "run": f"run-{session}", "model": model}, **fields)


def wrote(number: int, session: str, launcher: str, model: str, *partitions: tuple[int, int, int, int, int],
          topic: str = "scores.fraud") -> AuditEvent:
    return flow(number, session, launcher, model, topic=topic, direction="produce", partitions=list(partitions))


EVENTS = [
    AuditEvent(id="edge-1.0.1.0", kind="connect", ts=NOW, node="edge-1", session="0-1", principal="corp:alice-job",
               issuer="corp", attested={"launcher": "alice", "run": "run-0-1", "model": "models:/fraud/4"}),
    wrote(1, "0-1", "alice", "models:/fraud/4", (0, 0, 9, 10, 900), (1, 0, 4, 5, 400)),
    wrote(2, "0-2", "bob", "models:/fraud/5", (0, 10, 14, 5, 500)),
    wrote(3, "0-1", "alice", "models:/fraud/4", (0, 15, 19, 5, 500)),
    wrote(4, "0-1", "alice", "models:/fraud/4", (0, 20, 24, 5, 500)),
    wrote(5, "0-1", "alice", "models:/fraud/4", (0, 0, 99, 100, 1), topic="scores.other"),
    flow(6, "0-3", "carol", "", topic="orders", direction="consume", partitions=[(0, 0, 9, 10, 999)], records=10,
         fields="inspected", fields_emitted={"amount": 10, "user.name": 9}, fields_masked={"user.email": 10},
         rules={"contact": 10}),
    flow(7, "0-3", "carol", "", topic="orders", direction="consume", partitions=[(0, 10, 11, 2, 99)], records=2,
         fields="inspected", fields_emitted={"amount": 2, "user.email": 1}, fields_masked={"user.email": 1},
         rules={"contact": 1}),
    flow(8, "0-3", "carol", "", topic="features.a", direction="consume", partitions=[(0, 0, 6, 7, 99)], records=7,
         fields="not_inspected"),
    flow(9, "0-4", "dave", "", topic="orders", direction="consume", fields="inspected", fields_emitted={"amount": 1}),
]


def test_which_model_wrote_these_offsets() -> None:
    rows = find_writers(EVENTS, parse_offsets("scores.fraud:0:8-22"), Filter())
    assert [(row["first_offset"], row["last_offset"], row["model"], row["run"], row["launcher"]) for row in rows] == [
        (8, 9, "models:/fraud/4", "run-0-1", "alice"),
        (10, 14, "models:/fraud/5", "run-0-2", "bob"),
        (15, 22, "models:/fraud/4", "run-0-1", "alice"),
    ]
    assert rows[0]["principal"] == "corp:alice-job" and rows[0]["policy_version"] == "v1"


def test_offsets_of_another_partition_are_not_meant() -> None:
    rows = find_writers(EVENTS, parse_offsets("scores.fraud:1"), Filter())
    assert [(row["partition"], row["first_offset"], row["last_offset"]) for row in rows] == [(1, 0, 4)]
    assert find_writers(EVENTS, parse_offsets("scores.fraud:2:0-100"), Filter()) == []
    assert find_writers(EVENTS, parse_offsets("scores.fraud:0:25-99"), Filter()) == []


def test_who_launched_what_wrote_there() -> None:
    rows = find_launched(EVENTS, "scores.fraud:0:10-15", Filter())
    assert [(row["launcher"], row["run"], row["sessions"]) for row in rows] == [
        ("alice", "run-0-1", ["0-1"]), ("bob", "run-0-2", ["0-2"])]
    assert find_launched(EVENTS, "orders:0:0-5", Filter()) == [], "these offsets were read here, not written"


@pytest.mark.parametrize("what", ["0-1", "run-0-1"])
def test_who_launched_a_session_or_run_and_what_it_did(what: str) -> None:
    (row,) = find_launched(EVENTS, what, Filter())
    assert (row["launcher"], row["produced"], row["consumed"], row["first_seen"], row["last_seen"]) == (
        "alice", ["scores.fraud", "scores.other"], [], NOW, NOW + 5)


def test_who_launched_what_worked_with_a_topic() -> None:
    assert [row["launcher"] for row in find_launched(EVENTS, "orders", Filter())] == ["carol", "dave"]
    (row,) = find_launched(EVENTS, "orders", Filter(run="run-0-3"))
    assert (row["launcher"], row["consumed"]) == ("carol", ["orders"])


def test_one_question_at_a_time() -> None:
    assert len(answer(EVENTS, Question(launched="0-1"))) == 1
    assert len(answer(EVENTS, Question(wrote="scores.fraud:1"))) == 1
    assert len(answer(EVENTS, Question(emitted_to="corp:dave-job"))) == 1
    assert [row["id"] for row in answer(EVENTS, Question(limit=2))] == ["edge-1.0.1.8", "edge-1.0.1.9"]
    with pytest.raises(Refused, match="one of launched, wrote and emitted-to"):
        answer(EVENTS, Question(launched="0-1", wrote="t"))


def test_which_fields_left_unmasked_to_whom() -> None:
    rows = find_emitted(EVENTS, "corp:carol-job", Filter())
    assert [(row["topic"], row["field"], row["inspected"], row["unmasked"], row["masked"], row["rules"])
            for row in rows] == [
        ("features.a", "*", False, 7, 0, []),
        ("orders", "amount", True, 12, 0, []),
        ("orders", "user.email", True, 1, 11, ["contact"]),
        ("orders", "user.name", True, 9, 0, []),
    ]
    assert {row["topic"] for row in find_emitted(EVENTS, "corp:carol-job", Filter(topic="orders"))} == {"orders"}
    assert find_emitted(EVENTS, "corp:nobody", Filter()) == []


def test_a_recovered_line_whose_fields_nobody_counted_is_not_taken_for_an_empty_one() -> None:
    event = flow(1, "0-9", "carol", "", topic="orders", direction="consume", fields="unknown", records=3)
    (row,) = find_emitted([event], "corp:carol-job", Filter())
    assert (row["field"], row["inspected"], row["unmasked"]) == ("*", False, 3)


@pytest.mark.parametrize(("where", "ids"), [
    (Filter(principal="corp:bob-job"), [2]),
    (Filter(kinds=("connect",)), [0]),
    (Filter(since=NOW + 8), [8, 9]),
    (Filter(topic="orders", until=NOW + 6), [6]),
])
def test_lines_are_filtered(where: Filter, ids: list[int]) -> None:
    assert [row["id"] for row in find_events(EVENTS, where)] == [f"edge-1.0.1.{number}" for number in ids]


@pytest.mark.parametrize("text", ["", ":0", "t:x", "t:0:9-8", "t:0:-1", "t:0:1-2:3", "t:0:a-b"])
def test_what_is_no_range_of_offsets_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="is not topic:partition:first-last"):
        parse_offsets(text)


def test_files_are_read_in_order_and_foreign_lines_passed_over(tmp_path: Path) -> None:
    old, new = tmp_path / "audit.jsonl.1", tmp_path / "audit.jsonl"
    old.write_bytes(msgspec.json.encode(EVENTS[0]) + b"\n{broken\n")
    new.write_bytes(b"\n[]\n" + msgspec.json.encode(EVENTS[1]) + b"\n")
    assert list(read_events([old, new])) == EVENTS[:2]
    with pytest.raises(Refused, match="cannot be read: No such file"):
        list(read_events([tmp_path / "gone"]))
