"""The native table: what it keeps, when it asks again, what it never keeps."""

from __future__ import annotations

import gc
import sys

import pytest

from kproxy._ext.policy_table import OPERATIONS, RESOURCES, PolicyTable
from kproxy.model.access import FOREVER, Verdict

ALLOW = Verdict("allow")


class Interpreter:
    """Answers with what it was told to and counts the questions."""

    def __init__(self, verdict: Verdict = ALLOW, plan: object = None) -> None:
        self.verdict = verdict
        self.plan = plan
        self.asked: list[tuple[str, str, str, float]] = []

    def __call__(self, resource: str, operation: str, name: str, now: float) -> tuple[Verdict, object]:
        self.asked.append((resource, operation, name, now))
        return self.verdict, self.plan


def test_a_cell_is_filled_once_and_counts_its_hits() -> None:
    interpreter = Interpreter(plan="plan")
    table = PolicyTable(interpreter)
    assert table.look_up_py("topic", "read", b"orders", 5.0) == (ALLOW, "plan", 1)
    assert table.look_up_py("topic", "read", b"orders", 6.0) == (ALLOW, "plan", 2)
    assert interpreter.asked == [("topic", "read", "orders", 5.0)]
    assert len(table) == 1


def test_resource_operation_and_name_all_make_the_key() -> None:
    interpreter = Interpreter()
    table = PolicyTable(interpreter)
    keys = [(resource, operation, name) for resource in RESOURCES for operation in OPERATIONS
            for name in ("", "a", "b", "ab", "a\0", "ü")]
    for _ in range(2):
        for resource, operation, name in keys:
            table.look_up_py(resource, operation, name.encode(), 0.0)
    assert [asked[:3] for asked in interpreter.asked] == keys
    assert len(table) == len(keys)


def test_a_cell_is_decided_anew_from_valid_until_on() -> None:
    interpreter = Interpreter(Verdict("ask", "first", valid_until=10.0), plan="old")
    table = PolicyTable(interpreter)
    assert table.look_up_py("topic", "write", b"t", 9.0)[0].rule == "first"
    assert table.look_up_py("topic", "write", b"t", 9.999)[0].rule == "first"
    interpreter.verdict, interpreter.plan = Verdict("deny", "second"), None
    assert table.look_up_py("topic", "write", b"t", 10.0) == (Verdict("deny", "second"), None, 3)
    assert table.look_up_py("topic", "write", b"t", 1e12)[0].rule == "second"
    assert len(interpreter.asked) == 2


def test_a_clock_that_is_set_back_makes_a_cell_stale() -> None:
    interpreter = Interpreter(Verdict("allow", valid_until=11.0))
    table = PolicyTable(interpreter)
    table.look_up_py("topic", "write", b"t", 10.0)
    table.look_up_py("topic", "write", b"t", 9.0)
    assert len(interpreter.asked) == 2


def test_a_verdict_already_over_is_given_and_not_kept() -> None:
    interpreter = Interpreter(Verdict("allow", valid_until=5.0))
    table = PolicyTable(interpreter)
    table.look_up_py("topic", "read", b"t", 5.0)
    table.look_up_py("topic", "read", b"t", 5.0)
    assert len(interpreter.asked) == 2
    interpreter.verdict = Verdict("allow", valid_until=float("nan"))
    table.look_up_py("topic", "read", b"u", 5.0)
    table.look_up_py("topic", "read", b"u", 5.0)
    assert len(interpreter.asked) == 4


def test_a_name_that_is_not_utf8_is_denied_without_asking() -> None:
    interpreter = Interpreter()
    verdict, plan, _ = PolicyTable(interpreter).look_up_py("topic", "read", b"a\xff", 0.0)
    assert (verdict.effect, verdict.rule, verdict.would, verdict.wanted, plan) == ("deny", "", None, None, None)
    assert verdict.reason == "the name is not UTF-8"
    assert (verdict.valid_until, verdict.condition_errors) == (FOREVER, ())
    assert interpreter.asked == []


def test_what_the_interpreter_raises_passes_through_and_nothing_is_kept() -> None:
    calls = []

    def decide(resource: str, operation: str, name: str, now: float) -> tuple[Verdict, None]:
        calls.append(name)
        if len(calls) == 1:
            raise ZeroDivisionError(name)
        return Verdict("deny", valid_until=2.0) if len(calls) == 2 else 1 / 0, None  # type: ignore[return-value]

    table = PolicyTable(decide)
    with pytest.raises(ZeroDivisionError):
        table.look_up_py("topic", "read", b"t", 1.0)
    assert len(table) == 0
    assert table.look_up_py("topic", "read", b"t", 1.0)[0].effect == "deny"
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            table.look_up_py("topic", "read", b"t", 2.0)


@pytest.mark.parametrize("answer", [
    (Verdict("maybe"), None),  # type: ignore[arg-type]
    (Verdict("allow", would="maybe"), None),  # type: ignore[arg-type]
    (None, None), None, (ALLOW,),
])
def test_an_answer_that_is_none_is_an_error_and_not_an_allow(answer: object) -> None:
    table = PolicyTable(lambda *_: answer)  # type: ignore[arg-type,return-value]
    with pytest.raises((KeyError, AttributeError, TypeError, ValueError)):
        table.look_up_py("topic", "read", b"t", 0.0)
    assert len(table) == 0


def test_a_full_table_drops_everything_and_begins_anew() -> None:
    interpreter = Interpreter()
    table = PolicyTable(interpreter, most=100)
    for number in range(100):
        table.look_up_py("topic", "read", b"%d" % number, 0.0)
    assert (len(table), table.drops) == (100, 0)
    table.look_up_py("topic", "read", b"one more", 0.0)
    assert (len(table), table.drops) == (1, 1)
    table.look_up_py("topic", "read", b"5", 0.0)
    assert len(interpreter.asked) == 102


def test_long_names_fill_a_table_by_their_bytes() -> None:
    table = PolicyTable(Interpreter(), most=100)
    for number in range(20):
        table.look_up_py("group", "read", b"%05d" % number * 400, 0.0)
    assert table.drops >= 2
    assert len(table) < 10


def test_clear_forgets_and_releases() -> None:
    plan, verdict = object(), Verdict("allow", "rule")
    before = sys.getrefcount(plan), sys.getrefcount(verdict)
    interpreter = Interpreter(verdict, plan)
    table = PolicyTable(interpreter, most=10)
    for number in range(35):
        table.look_up_py("topic", "read", b"%d" % number, 0.0)
    assert sys.getrefcount(plan) > before[0] + 1
    table.clear()
    assert (len(table), table.drops) == (0, 3)
    table.look_up_py("topic", "read", b"1", 0.0)
    assert len(interpreter.asked) == 36
    del table
    interpreter.plan = interpreter.verdict = None
    gc.collect()
    assert (sys.getrefcount(plan), sys.getrefcount(verdict)) == before


def test_a_refill_releases_what_it_replaces() -> None:
    plan = object()
    before = sys.getrefcount(plan)
    interpreter = Interpreter(Verdict("allow", valid_until=1.0), plan)
    table = PolicyTable(interpreter)
    for _ in range(100):
        table.look_up_py("topic", "read", b"t", 1.0)
    assert sys.getrefcount(plan) == before + 2


def test_a_decision_may_not_turn_on_its_own_table() -> None:
    tables: list[PolicyTable] = []

    def decide(resource: str, operation: str, name: str, now: float) -> tuple[Verdict, None]:
        if name == "clear":
            tables[0].clear()
        tables[0].look_up_py(resource, operation, b"other", now)
        return ALLOW, None

    tables.append(PolicyTable(decide))
    for name, words in ((b"clear", "clear its own table"), (b"ask", "ask its own table")):
        with pytest.raises(RuntimeError, match=words):
            tables[0].look_up_py("topic", "read", name, 0.0)
    assert len(tables[0]) == 0


def test_many_names_are_all_found_again() -> None:
    interpreter = Interpreter()
    table = PolicyTable(interpreter)
    names = [b"team-%d.topic" % number for number in range(20_000)]
    assert table.repeat_look_up("topic", "write", names, 0.0, 3) == 60_000
    assert (len(interpreter.asked), len(table), table.drops) == (20_000, 20_000, 0)


@pytest.mark.parametrize("most", [0, -1])
def test_a_table_holds_at_least_one_cell(most: int) -> None:
    with pytest.raises(ValueError):
        PolicyTable(Interpreter(), most)
    assert PolicyTable(Interpreter(), 1).look_up_py("topic", "read", b"t", 0.0)[0] == ALLOW
