"""What one session moved, summed up for the audit: offsets, records and bytes by topic and direction, and which
fields."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from kproxy.model.record_plan import RecordPlan
from kproxy.model.spool import OUTCOME, READ

DIRECTIONS = {READ: "consume", OUTCOME: "produce"}
KINDS = {"read": READ, "write": OUTCOME}

#: Actions after which nothing is hidden: a guard's, and the one that gives back what a token stands for.
_SHOWS = ("block", "clear")
#: A session that moves many short runs of offsets, because others write between its records, is written out early.
MOST_RUNS = 512
#: Plans kept for their counts. A client that may use any topic of a wide pattern makes one with every name it invents.
MOST_PLANS = 1024


OnMasked = Callable[[str, str, int], None]


class FlowBook:
    """The plans of one session and the events made of their counts."""

    def __init__(self, journal: Any, on_masked: OnMasked) -> None:
        """``on_masked(rule, entity, count)`` counts what was hidden for the metrics."""
        self._journal = journal
        self._on_masked = on_masked
        self._plans: dict[tuple[str, int], list[Any]] = {}

    def keep(self, topic: str, operation: str, plan: Any) -> None:
        """A cell of the session's table now works by ``plan``. Its predecessor still holds counts that nobody has
        read."""
        plans = self._plans.setdefault((topic, KINDS[operation]), [])
        if not plans or plans[-1] is not plan:
            plans.append(plan)

    def due(self, session: Any, now: float, interval: float) -> bool:
        flow = session.flow
        if len(self._plans) > MOST_PLANS:
            return True
        return bool(flow.runs > 0 and (now - flow.since >= interval or flow.runs >= MOST_RUNS))

    def write(self, session: Any, now: float) -> None:
        """One ``flow`` event for each topic and direction that moved records or was inspected."""
        taken = session.flow.take()
        for key in {*taken, *self._plans}:
            runs, records, size = taken.get(key, (b"", 0, 0))
            counts = self._take_counts(key)
            if not runs and not (counts and counts["records"]):
                continue
            topic, kind = key
            fields: dict[str, Any] = {"fields": "not_inspected"}
            if counts is not None:
                fields = {"fields": "inspected", "fields_emitted": counts["fields_emitted"],
                          "fields_masked": counts["fields_masked"], "entities": counts["entities"],
                          "rules": counts["rules"]}
                # Sets that nobody could read passed, because no rule is in force for this reader; and tokens of
                # another key stayed as they were.
                details = {name: counts[name] for name in ("uninspected", "unread_tokens") if counts[name]}
                if details:
                    fields["details"] = details
                if counts["uninspected"] and not counts["records"]:
                    fields["fields"] = "not_inspected"
            self._journal.tell("flow", session, {
                "topic": topic, "direction": DIRECTIONS[kind], "partitions": msgspec.Raw(runs) if runs else [],
                "records": records, "bytes": size, **fields})

        if len(self._plans) > MOST_PLANS:
            # No cell may go on counting in a plan that nobody reads any more.
            self._plans.clear()
            session.forget_decisions()

    def _take_counts(self, key: tuple[str, int]) -> dict[str, Any] | None:
        plans = self._plans.get(key)
        if not plans:
            return None
        total: dict[str, Any] = {"records": 0, "uninspected": 0, "unread_tokens": 0, "fields_emitted": Counter(),
                                 "fields_masked": Counter(), "entities": Counter(), "rules": Counter()}
        for plan in plans:
            counts = plan.take_counts()
            for (rule, entity), hidden in pair_masked(plan.program.plan, counts).items():
                self._on_masked(rule, entity, hidden)
            total["records"] += counts["records"]
            for name in ("uninspected", "unread_tokens"):
                total[name] += counts.get(name, 0)
            for name in ("fields_emitted", "fields_masked", "entities", "rules"):
                total[name].update(counts[name])
        del plans[:-1]
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in total.items()}


def pair_masked(plan: RecordPlan, counts: dict[str, Any]) -> dict[tuple[str, str], int]:
    """Values hidden by (mask, entity), ``field`` where a path named them. A plan that only observes hides nothing, and
    what a guard blocks is no masked value."""
    if plan.observe:
        return {}
    pairs: dict[tuple[str, str], int] = {}
    seen: set[str] = set()
    for detector in plan.detectors:
        found = counts["entities"].get(detector.entity, 0)
        # Counts are by entity, so of two rules about one entity the first, which acts, has them.
        if found and detector.entity not in seen and detector.action.kind not in _SHOWS:
            pairs[detector.rule, detector.entity] = found
        seen.add(detector.entity)
    for rule in {named.rule for named in plan.named_parts() if named.action.kind not in _SHOWS}:
        by_path = counts["rules"].get(rule, 0) - sum(found for (name, _), found in pairs.items() if name == rule)
        if by_path > 0:
            pairs[rule, "field"] = by_path
    return pairs
