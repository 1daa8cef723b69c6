"""Safeguards for tests: a desk whose topics have them, policies that hold them."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import msgspec

from kproxy._ext.batch_limits import BatchLimits
from kproxy.model.access import Verdict
from kproxy.model.policy import Policy, Safeguard, SafeguardInForce
from kproxy.policy.safeguards import is_misnamed, operations_of
from tests.support.desk import Desk
from tests.support.policies import loaded

#: Somebody may do everything, so that a policy of safeguards loads.
EVERYBODY = "roles: {all: {members: 'true', allow: [{operations: [all], topics: ['*']}]}}\nsafeguards:\n"


def read_safeguards(*lines: str) -> tuple[Safeguard, ...]:
    """From flow mappings as a policy has them."""
    made: Policy = loaded(EVERYBODY + "".join(f"  - {line}\n" for line in lines))
    return made.safeguards


class GuardedDesk(Desk):
    """A desk with safeguards, each for all topics that one of its patterns matches; ``observed``: they only record."""

    def __init__(self, safeguards: tuple[Safeguard, ...], *allow: str, observed: bool = False, **more: Any) -> None:
        super().__init__(*allow, **more)
        self.safeguards, self.observed = safeguards, observed

    def decide(self, resource: str, operation: str, name: str, now: float) -> tuple[Verdict, Any]:
        verdict, plan = super().decide(resource, operation, name, now)
        found = tuple(SafeguardInForce(one, self.observed, operation == "create" and is_misnamed(one, name))
                      for one in self.safeguards
                      if resource == "topic" and operation in operations_of(one)
                      and any(fnmatchcase(name, pattern) for pattern in one.topics))
        if not found:
            return verdict, plan
        return msgspec.structs.replace(
            verdict, safeguards=BatchLimits(found) if operation == "write" else found), plan

    def told(self) -> list[tuple[str, str, str]]:
        """What the audit is told of the last frame: (topic, safeguard, what was done)."""
        return [(name.decode(), found.rule.name, action) for name, found, action, _, _ in self.opened.guarded]
