"""A second reading of the policy's semantics, written to be obviously right and not to be fast.

No index, no memo, no order, no early end: every rule is looked at for every access, patterns are regular expressions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from kproxy.model.access import Access, ApprovalWanted, Facts, Verdict
from kproxy.model.approval import Grant
from kproxy.model.policy import Allow, Approval, Condition, Forbid, Policy
from kproxy.policy.expressions import GRANT_NAMES, compile_text, session_names

IMPLIED = {"describe": {"read", "write", "delete", "alter"}, "describe_configs": {"alter_configs"}}


def glob_matches(pattern: str, name: str) -> bool:
    pieces = re.findall(r"\\.|.", pattern, re.DOTALL)
    return re.fullmatch("".join(".*" if piece == "*" else re.escape(piece[-1]) for piece in pieces), name,
                        re.DOTALL) is not None


class NaivePolicy:
    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def effect(self, facts: Facts, access: Access, grants: Sequence[Grant], now: float) -> tuple[str, set[str]]:
        """What enforcing does, and the rules of which one may be named as the reason."""
        names = session_names(facts, now)
        roles = {role.name for role in self.policy.roles
                 if set(role.groups) & set(facts.principal.groups)
                 or (role.condition is not None and value(role.condition, names) is True)}
        names["operation"] = access.operation
        if access.resource == "topic":
            names["topic.name"] = access.name
            names["topic.labels"] = self.labels(access.name)
        forbids = {rule.name for rule in self.policy.forbid
                   if meant(rule, access) and {access.operation, "all"} & set(rule.operations)
                   and (rule.when is None or value(rule.when, names) is not False)}
        if forbids:
            return "deny", forbids
        wanted = {access.operation, "all"} | IMPLIED.get(access.operation, set())
        allows = {rule.name for role in self.policy.roles if role.name in roles for rule in role.allow
                  if meant(rule, access) and wanted & set(rule.operations)
                  and (rule.when is None or value(rule.when, names) is True)}
        if not allows:
            return "deny", {""}
        asks = {rule.name for rule in self.policy.approvals if self.asks(rule, facts, access, grants, now, names)}
        return ("ask", {min(asks)}) if asks else ("allow", allows)

    def labels(self, topic: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for entry in self.policy.topics:
            if glob_matches(entry.match, topic):
                for key, label in entry.labels.items():
                    found[key] = min(label, found.get(key, label))
        return found

    def asks(self, rule: Approval, facts: Facts, access: Access, grants: Sequence[Grant], now: float,
             names: dict[str, object]) -> bool:
        if access.resource != "topic" or not any(glob_matches(pattern, access.name) for pattern in rule.topics):
            return False
        if not {access.operation, "all"} & set(rule.operations):
            return False
        if rule.when is not None and value(rule.when, names) is False:
            return False
        mine = [grant for grant in grants if grant.rule == rule.name and grant.principal == facts.principal.name
                and grant.since <= now < grant.until]
        if rule.unless is not None:
            models = sorted({grant.model for grant in mine} - {""})
            return value(rule.unless, {**names, "granted.models": models}) is not True
        wanted = (access.operation, "topic", access.name, facts.attested.get("model", ""))
        return not any((grant.operation, grant.resource, grant.name, grant.model) == wanted for grant in mine)


def value(condition: Condition, names: dict[str, object]) -> bool | None:
    return compile_text(condition.text, GRANT_NAMES).evaluate(names)


def meant(rule: Allow | Forbid, access: Access) -> bool:
    if access.resource == "cluster":
        return rule.resources.cluster
    patterns = {"topic": rule.resources.topics, "group": rule.resources.groups,
                "transactional_id": rule.resources.transactional_ids}[access.resource]
    return any(glob_matches(pattern, access.name) for pattern in patterns)


def check_verdict(naive: NaivePolicy, verdict: Verdict, facts: Facts, access: Access, grants: Sequence[Grant],
                  now: float) -> None:
    """Asserts that a verdict of enforcing is what the naive reading says."""
    effect, rules = naive.effect(facts, access, grants, now)
    assert verdict.effect == effect, (verdict, effect, rules)
    assert verdict.rule in rules
    if effect == "ask":
        assert verdict.wanted == ApprovalWanted(min(rules), access.operation, access.resource, access.name,
                                                facts.attested.get("model", ""), "required")
    else:
        assert verdict.wanted is None
