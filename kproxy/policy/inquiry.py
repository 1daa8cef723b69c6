"""One question being decided: who asks, what the conditions say, and how long the answer holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from kproxy.model.access import ApprovalWanted, Effect, Facts, Verdict
from kproxy.policy.expressions import Program, missing_names, session_names

#: How long a verdict may rest on the time of day. A condition such as ``now < t`` is thus never late by more.
NOW_HOLDS = 1.0


@dataclass(frozen=True, slots=True)
class Seat:
    """Facts with the roles they give. ``errors`` are roles whose condition ended in an error; those are not held.
    ``missing`` is what those conditions name and the facts do not have."""

    facts: Facts
    roles: tuple[str, ...]
    role_set: frozenset[str]
    errors: tuple[str, ...]
    decided_at: float
    valid_until: float
    missing: frozenset[str] = frozenset()


class Conditional(Protocol):
    """What first_holding needs to know of a rule."""

    @property
    def name(self) -> str: ...
    @property
    def when(self) -> Program | None: ...


C = TypeVar("C", bound=Conditional)


class Inquiry:
    """Collects, while rules are looked at, the conditions in error and the time until which the answer holds."""

    __slots__ = ("_names", "_until", "errors", "labels", "missing", "name", "now", "operation", "resource", "seat")

    def __init__(self, seat: Seat, operation: str, resource: str, name: str, labels: dict[str, str] | None,
                 now: float) -> None:
        self.seat = seat
        self.operation = operation
        self.resource = resource
        self.name = name
        self.labels = labels
        self.now = now
        self.errors: set[str] = set(seat.errors)
        self.missing: set[str] = set(seat.missing)
        self._until = seat.valid_until
        self._names: dict[str, Any] | None = None

    def ask(self, program: Program, rule: str, more: Mapping[str, Any] | None = None) -> bool | None:
        """What the condition says; an error is noted under the rule's name."""
        if program.reads_now:
            self.limit(self.now + NOW_HOLDS)
        names = self._bound_names()
        answer = program.evaluate(names if more is None else {**names, **more})
        if answer is None:
            self.errors.add(rule)
            self.missing |= missing_names(program, names)
        return answer

    def first_holding(self, rules: Iterable[C], *, error: bool, stop: bool) -> C | None:
        """The first rule, by name, whose condition holds; a condition in error holds if ``error``. Rules without a
        condition come first. With ``stop`` the rest is not looked at; without it every condition is asked."""
        hit: C | None = None
        for rule in sorted(dict.fromkeys(rules), key=lambda found: (found.when is not None, found.name)):
            answer = True if rule.when is None else self.ask(rule.when, rule.name)
            if hit is None and (answer is True or (answer is None and error)):
                hit = rule
                if stop:
                    break
        return hit

    def limit(self, until: float) -> None:
        """The answer holds no longer than ``until``."""
        self._until = min(self._until, until)

    @property
    def valid_until(self) -> float:
        return self._until

    def sorted_errors(self) -> tuple[str, ...]:
        return tuple(sorted(self.errors))

    def verdict(self, effect: Effect, rule: str, reason: str = "", wanted: ApprovalWanted | None = None) -> Verdict:
        return Verdict(effect, rule, reason, self._until, wanted, None, self.sorted_errors(),
                       tuple(sorted(self.missing)))

    def _bound_names(self) -> dict[str, Any]:
        """Built at the first condition: most accesses meet none. Where there is no topic its names stay unbound, and a
        condition that reads them is in error."""
        if self._names is None:
            self._names = session_names(self.seat.facts, self.now)
            self._names["operation"] = self.operation
            if self.labels is not None:
                self._names["topic.name"] = self.name
                self._names["topic.labels"] = self.labels
        return self._names
