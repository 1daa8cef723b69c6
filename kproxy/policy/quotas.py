"""Which quotas a session has: its principal's, and those of the roles it holds."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from kproxy.errors import Problem
from kproxy.model.policy import Policy, Quota, QuotaInForce


class Quotas:
    """The quotas of a policy, by whose they are."""

    def __init__(self, policy: Policy) -> None:
        self._of_roles: dict[str, Quota] = {rule.role: rule for rule in policy.quotas if rule.role}
        self._of_principals = {rule.principal: rule for rule in policy.quotas if rule.principal}

    def __bool__(self) -> bool:
        return bool(self._of_roles or self._of_principals)

    def applying(self, principal: str, roles: Collection[str]) -> tuple[QuotaInForce, ...]:
        """In the order of their keys."""
        found = [QuotaInForce(f"{rule.name} {principal}" if rule.each else rule.name, rule)
                 for role in roles if (rule := self._of_roles.get(role)) is not None]
        own = self._of_principals.get(principal)
        found += [QuotaInForce(own.name, own)] if own is not None else []
        return tuple(sorted(found, key=lambda one: one.key))


def check_quotas(policy: Policy) -> Iterator[Problem]:
    """Quotas that are two for the same."""
    seen: dict[str, Quota] = {}
    for rule in policy.quotas:
        if not (rule.role or rule.principal):
            continue  # Whose it is could not be read, which has been told.
        first = seen.setdefault(rule.name, rule)
        if first is not rule:
            yield Problem(f"{rule.name} has a quota already, at {first.at.file}:{first.at.line}; put both into one",
                          rule.at.file, rule.at.line)


def say_quota(rule: Quota) -> list[str]:
    """What it allows, in words."""
    rates = ((rule.produce, "bytes produced"), (rule.consume, "bytes consumed"), (rule.requests, "requests"))
    said = [f"{rate:.0f} {what} a second" for rate, what in rates if rate]
    return said + ([f"{rule.connections} connections"] if rule.connections else [])
