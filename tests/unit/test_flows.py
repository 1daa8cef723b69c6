"""Flows of a session: one event for each topic and direction, with what the native plans saw and hid."""

from __future__ import annotations

import json
from types import SimpleNamespace

import msgspec
import pytest

from kproxy._ext.mask import Plan, compile_plan
from kproxy.dataplane.flows import FlowBook
from kproxy.model.record_plan import Action, DetectRule, FieldRule, RecordPlan
from kproxy.model.spool import OUTCOME, READ
from tests.support.frames import batch

MASK = Action("mask", keep_last=4)
VALUES = [
    json.dumps({"user": {"email": "ann@example.com"}, "note": "card 4111 1111 1111 1111 and bob@example.com"}),
    json.dumps({"user": {"email": "cid@example.com"}, "note": "nothing"}),
]


class Book:
    """A FlowBook and what it told."""

    def __init__(self) -> None:
        self.events: list[dict] = []
        self.masked: dict[tuple[str, str], int] = {}
        journal = SimpleNamespace(tell=lambda kind, _, fields: self.events.append(
            json.loads(msgspec.json.encode({"kind": kind, **fields}))))
        self.flows = FlowBook(journal, lambda rule, entity, count: self.masked.__setitem__((rule, entity), count))


class Flow:
    """A session's flow that gives runs of (partition, first, last, records, bytes)."""

    def __init__(self, taken: dict) -> None:
        self.taken = taken
        self.runs = len(taken)
        self.since = 100.0

    def take(self) -> dict:
        taken, self.taken, self.runs = self.taken, {}, 0
        return {key: (json.dumps(runs).encode(), sum(run[3] for run in runs), sum(run[4] for run in runs))
                for key, runs in taken.items()}


def session(taken: dict) -> SimpleNamespace:
    return SimpleNamespace(number=1, flow=Flow(taken))


def plan(**changes) -> Plan:
    rules = {
        "direction": "consume",
        "detectors": (DetectRule("email", MASK, "contact"), DetectRule("credit_card", MASK, "cards")),
        "count_fields": True,
    }
    return Plan(compile_plan(RecordPlan(**{**rules, **changes}), {}))


def moved(one: Plan) -> Plan:
    one.transform(batch([value.encode() for value in VALUES]))
    return one


def test_a_topic_nobody_looked_into_says_so():
    book = Book()
    book.flows.write(session({("orders", READ): [(0, 5, 9, 5, 500), (1, 0, 0, 1, 100)]}), 110.0)
    assert book.events == [
        {
            "kind": "flow",
            "topic": "orders",
            "direction": "consume",
            "partitions": [[0, 5, 9, 5, 500], [1, 0, 0, 1, 100]],
            "records": 6,
            "bytes": 600,
            "fields": "not_inspected",
        }
    ]


def test_fields_and_entities_are_names_and_numbers():
    book = Book()
    book.flows.keep("orders", "read", moved(plan()))
    book.flows.write(session({("orders", READ): [(0, 0, 1, 2, 300)], ("scores", OUTCOME): [(0, 7, 7, 1, 10)]}), 110.0)
    by_topic = {event["topic"]: event for event in book.events}
    assert by_topic["scores"]["fields"] == "not_inspected" and by_topic["scores"]["direction"] == "produce"
    orders = by_topic["orders"]
    assert orders["fields"] == "inspected" and orders["entities"] == {"email": 3, "credit_card": 1}
    assert set(orders["fields_emitted"]) | set(orders["fields_masked"]) == {"user.email", "note"}
    assert book.masked == {("contact", "email"): 3, ("cards", "credit_card"): 1}
    assert "example.com" not in repr(book.events) and "4111" not in repr(book.events)


def test_one_rule_with_paths_and_entities_is_told_apart():
    book = Book()
    rules = {
        "fields": (FieldRule(("user", "email"), Action("redact"), "pii"),),
        "detectors": (DetectRule("credit_card", MASK, "pii"),),
    }
    book.flows.keep("orders", "read", moved(plan(**rules)))
    book.flows.write(session({}), 110.0)
    assert book.masked == {("pii", "credit_card"): 1, ("pii", "field"): 2}


@pytest.mark.parametrize(
    "rules",
    [{"observe": True}, {"direction": "produce", "detectors": (DetectRule("email", Action("block"), "secrets"),)}],
)
def test_what_only_would_be_hidden_or_is_blocked_is_no_masked_value(rules):
    book = Book()
    book.flows.keep("orders", "read", moved(plan(**rules)))
    book.flows.write(session({}), 110.0)
    assert book.masked == {}


def test_counts_of_a_replaced_plan_are_not_lost():
    book = Book()
    book.flows.keep("orders", "read", moved(plan()))
    book.flows.keep("orders", "read", moved(plan()))
    book.flows.write(session({}), 110.0)
    assert book.events[0]["entities"] == {"email": 6, "credit_card": 2}
    book.flows.write(session({}), 111.0)
    assert len(book.events) == 1, "nothing moved since"


def test_a_flow_is_due_by_time_or_by_length():
    book, one = Book(), session({("orders", READ): [(0, 0, 1, 2, 30)]})
    assert not book.flows.due(one, 104.9, 5.0)
    assert book.flows.due(one, 105.0, 5.0)
    one.flow.runs = 512
    assert book.flows.due(one, 100.0, 5.0)
    one.flow.runs = 0
    assert not book.flows.due(one, 200.0, 5.0)


def test_plans_made_by_made_up_names_do_not_pile_up():
    book, one = Book(), session({})
    forgotten = []
    one.forget_decisions = lambda: forgotten.append(True)
    one_plan = moved(plan())
    for at in range(1025):
        book.flows.keep(f"x{at}", "read", one_plan if at == 7 else plan())
    assert book.flows.due(one, 100.0, 5.0)
    book.flows.write(one, 100.0)
    assert [event["topic"] for event in book.events] == ["x7"] and forgotten == [True]
    assert not book.flows.due(one, 200.0, 5.0)


def test_records_that_nobody_could_read_are_not_called_inspected():
    book = Book()
    unread = plan(detectors=())
    old_format = b"\0" * 8 + (30).to_bytes(4, "big") + b"\0\0\0\0\x01" + b"\0" * 25
    assert unread.transform(old_format).status == "same"
    book.flows.keep("t", "read", unread)
    book.flows.write(session({("t", READ): [(0, 5, 5, 1, 42)]}), 1.0)
    [event] = book.events
    assert event["fields"] == "not_inspected"
    assert event["details"] == {"uninspected": 1}
