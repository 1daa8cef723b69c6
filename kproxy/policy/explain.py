"""Says why: which roles are held, which rules are about the access, what their conditions came to, what follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from kproxy.model.access import Access, Facts, Verdict
from kproxy.model.approval import Grant
from kproxy.model.policy import Approval, Forbid, Place
from kproxy.model.record_plan import Direction, RecordPlan
from kproxy.model.settings import Mode
from kproxy.policy.decide import Decider, Rule
from kproxy.policy.expressions import missing_names, session_names
from kproxy.policy.quotas import say_quota
from kproxy.policy.safeguards import Ready, say_limits

Outcome = Literal["holds", "does not hold", "error"]
_OUTCOMES: dict[bool | None, Outcome] = {True: "holds", False: "does not hold", None: "error"}


class RuleView(msgspec.Struct, frozen=True):
    """One rule about the access. ``condition`` is its text, empty without one; ``held`` is whether its role is held."""

    kind: Literal["allow", "forbid", "approval"]
    name: str
    at: Place
    role: str = ""
    held: bool = True
    condition: str = ""
    outcome: Outcome = "holds"
    missing: tuple[str, ...] = ()
    """What a condition in error, or an approval's ``unless`` in error, names and these facts do not have."""
    approvers: str = ""
    """Of an approval: who must agree, for how long at most."""


class SafeguardView(msgspec.Struct, frozen=True):
    """One safeguard about the access. ``held`` is whether it is for these facts' roles; ``limits`` in words. One whose
    condition is in error counts."""

    name: str
    at: Place
    action: Literal["refuse", "override", "record"]
    limits: tuple[str, ...]
    held: bool
    observed: bool
    condition: str = ""
    outcome: Outcome = "holds"
    missing: tuple[str, ...] = ()
    """What a condition in error names and these facts do not have."""


class QuotaView(msgspec.Struct, frozen=True):
    """One quota of these facts; all sessions with the same ``shared_by`` use it up together."""

    shared_by: str
    at: Place
    limits: tuple[str, ...]


class Explanation(msgspec.Struct, frozen=True):
    """``plans`` are what would be done to records, for reading and writing a topic that is not denied."""

    access: Access
    policy_version: str
    roles: tuple[str, ...]
    labels: dict[str, str]
    rules: tuple[RuleView, ...]
    verdict: Verdict
    plans: tuple[RecordPlan, ...] = ()
    safeguards: tuple[SafeguardView, ...] = ()
    """What the request must be like besides."""
    quotas: tuple[QuotaView, ...] = ()
    """What the session may use, whatever it does with it."""


def explain(decider: Decider, facts: Facts, access: Access, *, grants: Sequence[Grant] = (), mode: Mode = "enforce",
            now: float) -> Explanation:
    """The decision with everything it was taken from; ``now`` in Unix seconds."""
    verdict = decider.decide(facts, access, grants=grants, mode=mode, now=now)
    roles = decider.roles_of(facts, now)
    rules = tuple(_view(rule, answer, roles, facts, now, verdict)
                  for rule, answer in decider.rules_for(facts, access, now))
    plans: list[RecordPlan] = []
    directions: dict[str, Direction] = {"write": "produce", "read": "consume"}
    if access.resource == "topic" and access.operation in directions and verdict.effect != "deny":
        plan = decider.plan_records(facts, access.name, directions[access.operation], mode=mode, now=now,
                                    count_fields=False)
        plans += [plan] if plan is not None else []
    labels = decider.labels_of(access.name) if access.resource == "topic" else {}
    safeguards = tuple(_view_safeguard(ready, held, answer, mode, facts, now)
                       for ready, held, answer in decider.safeguards_for(facts, access, now))
    return Explanation(access, decider.version, roles, labels, rules, verdict, tuple(plans), safeguards,
                       tuple(QuotaView(one.key, one.rule.at, tuple(say_quota(one.rule)))
                             for one in decider.quotas_of(facts, now)))


def _view(rule: Rule, answer: bool | None, roles: tuple[str, ...], facts: Facts, now: float,
          verdict: Verdict) -> RuleView:
    kind: Literal["allow", "forbid", "approval"] = "allow"
    if isinstance(rule.rule, Forbid):
        kind = "forbid"
    approvers = ""
    if isinstance(rule.rule, Approval):
        kind = "approval"
        approvers = f"{rule.rule.quorum} of {rule.rule.approver_role}, for {rule.rule.max_duration / 3600:g} h at most"
    condition = rule.when.text if rule.when is not None else ""
    if rule.unless is not None:
        condition = f"{condition} unless {rule.unless.text}".strip()
    # Where ``when`` came to an answer and the rule is in error all the same, it is its ``unless`` that is.
    failed = rule.when if answer is None else rule.unless if rule.name in verdict.condition_errors else None
    missing = () if failed is None else tuple(sorted(missing_names(failed, session_names(facts, now))))
    return RuleView(kind, rule.name, rule.rule.at, rule.role, not rule.role or rule.role in roles, condition,
                    _OUTCOMES[answer], missing, approvers)


def _view_safeguard(ready: Ready, held: bool, answer: bool | None, mode: Mode, facts: Facts,
                    now: float) -> SafeguardView:
    rule, failed = ready.rule, ready.when if answer is None else None
    return SafeguardView(
        rule.name, rule.at, rule.action, tuple(say_limits(rule)), held, mode == "observe",
        ready.when.text if ready.when is not None else "", _OUTCOMES[answer],
        () if failed is None else tuple(sorted(missing_names(failed, session_names(facts, now)))))
