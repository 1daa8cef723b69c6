"""What a slow reader left in the transport when access changes: known to be safe, drained in time, or thrown away."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from kproxy.dataplane.backlog import MOST_SHOWN, Backlog
from kproxy.model.access import Verdict
from tests.support.record_plans import REDACT, build_plan

EMAIL, PHONE = "user.email", "user.phone"


def native(hidden: str | None) -> Any:
    """A new plan that hides this field, as each cell of a table has one of its own."""
    return None if hidden is None else build_plan(fields={hidden: REDACT})


class Half:
    """A client's half whose transport holds ``waiting`` bytes of the ``sent`` ones."""

    def __init__(self, waiting: int = 0, sent: int = 0) -> None:
        self.waiting, self.sent = waiting, sent
        self.session = SimpleNamespace(cause=None)

    def queued(self) -> int:
        return self.waiting


def decide(**found: Any) -> Any:
    def answer(resource: str, operation: str, name: str, now: float) -> tuple[Verdict, Any]:
        assert (resource, operation) == ("topic", "read")
        effect, plan = found[name]
        return Verdict(effect), plan

    return answer


def test_what_would_be_written_the_same_is_safe():
    backlog = Backlog(Half(waiting=10))
    backlog.note("plain", None)
    backlog.note("masked", native(EMAIL))
    assert backlog.find_ended(decide(plain=("allow", None), masked=("allow", native(EMAIL))), 1.0) == []


@pytest.mark.parametrize(("before", "effect", "after"), [
    (None, "deny", None), (None, "ask", None), (None, "allow", EMAIL), (EMAIL, "allow", None), (EMAIL, "allow", PHONE)],
    ids=["denied", "asked", "masked now", "unmasked", "masked otherwise"])
def test_what_would_not_be_written_so_has_ended(before: str | None, effect: str, after: str | None):
    backlog = Backlog(Half(waiting=10))
    backlog.note("t", native(before))
    [(topic, plan)] = backlog.find_ended(decide(t=(effect, native(after))), 1.0)
    assert topic == "t" and plan == (native(before).program.plan if before else None)


def test_a_decision_that_fails_counts_as_a_refusal():
    backlog = Backlog(Half(waiting=10))
    backlog.note("t", None)
    assert backlog.find_ended(decide(), 1.0) == [("t", None)]


def test_a_topic_shown_under_two_plans_is_safe_only_if_both_are():
    backlog = Backlog(Half(waiting=10))
    backlog.note("t", None)
    backlog.note("t", native(EMAIL))
    assert backlog.find_ended(decide(t=("allow", native(EMAIL))), 1.0) == [("t", None)]


def test_past_the_bound_nothing_is_safe():
    backlog = Backlog(Half(waiting=10))
    for at in range(MOST_SHOWN + 1):
        backlog.note(f"t{at}", None)
    assert backlog.too_long
    assert len(backlog.find_ended(lambda *_: (Verdict("allow"), None), 1.0)) == MOST_SHOWN + 1
    backlog.forget()
    assert not backlog.too_long


def test_bytes_that_leave_in_time_cost_nobody_the_connection():
    half = Half(waiting=100, sent=1000)
    backlog = Backlog(half)
    backlog.note("t", None)

    async def play() -> bool:
        draining = asyncio.create_task(backlog.drain([("t", None)]))
        await asyncio.sleep(0)
        half.sent, half.waiting = 5000, 4000     # The old ones have left; what is queued now came after them.
        return await draining

    assert asyncio.run(play()) is True
    assert backlog.find_ended(decide(), 1.0) == []


def test_bytes_that_stay_do():
    backlog = Backlog(Half(waiting=100, sent=1000))
    backlog.note("t", None)
    assert asyncio.run(backlog.drain([("t", None)])) is False
