"""Decides. Default deny; a forbid beats every allow; an approval asks only where the access would be allowed otherwise.

Nothing here depends on the order in which rules were written: the rules of a stage are looked at by name, and a verdict
lives as long as the shortest-lived thing it rests on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

import msgspec

from kproxy.model.access import FOREVER, Access, ApprovalWanted, Facts, Verdict
from kproxy.model.approval import Grant
from kproxy.model.policy import ALL, IMPLIED_BY, Allow, Approval, Forbid, Policy, QuotaInForce, Role
from kproxy.model.record_plan import Direction, RecordPlan
from kproxy.model.settings import Mode
from kproxy.policy import globs
from kproxy.policy.expressions import (
    ACCESS_NAMES,
    GRANT_NAMES,
    SESSION_NAMES,
    Program,
    compile_text,
    missing_names,
    session_names,
)
from kproxy.policy.inquiry import NOW_HOLDS, Inquiry, Seat
from kproxy.policy.plan import Planned, Planner
from kproxy.policy.quotas import Quotas
from kproxy.policy.safeguards import Ready, Safeguards

#: Sessions whose roles are remembered; a worker asks for the same few again and again while it fills its tables.
MOST_SEATS = 4096


class Rule(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A rule ready to be looked up. ``role`` is empty for a forbid, which is for everybody."""

    name: str
    rule: Allow | Forbid | Approval
    operations: frozenset[str]
    role: str = ""
    when: Program | None = None
    unless: Program | None = None

    def is_about(self, operation: str) -> bool:
        return operation in self.operations or ALL in self.operations

    def allows(self, operation: str) -> bool:
        """With Kafka's implications, which hold for allowing only."""
        return self.is_about(operation) or not IMPLIED_BY.get(operation, frozenset()).isdisjoint(self.operations)


class Decider:
    """A compiled policy. Holds no clock and no state but memos of pure results."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.version = policy.version
        self._roles = {role.name: (role, _program(role, SESSION_NAMES)) for role in policy.roles}
        self._roles_by_group: dict[str, list[str]] = {}
        for role in policy.roles:
            for group in role.groups:
                self._roles_by_group.setdefault(group, []).append(role.name)
        self._conditional_roles = [(name, program) for name, (_, program) in self._roles.items() if program is not None]
        kinds = ("topic", "group", "transactional_id", "cluster")
        allows = [(rule, _allow_rule(role, rule)) for role in policy.roles for rule in role.allow]
        forbids = [(rule, _rule(rule)) for rule in policy.forbid]
        self._allows = {kind: globs.GlobIndex((glob, ready) for rule, ready in allows
                                              for glob in rule.resources.patterns(kind)) for kind in kinds}
        self._forbids = {kind: globs.GlobIndex((glob, ready) for rule, ready in forbids
                                               for glob in rule.resources.patterns(kind)) for kind in kinds}
        self._approvals = globs.GlobIndex((glob, _rule(rule)) for rule in policy.approvals for glob in rule.topics)
        self._labels = globs.GlobIndex((entry.match, entry.labels) for entry in policy.topics)
        self._topic_allows: dict[str, list[tuple[str, Rule]]] = {}
        for rule, ready in allows:
            for glob in rule.resources.topics:
                self._topic_allows.setdefault(ready.role, []).append((glob, ready))
        for entries in self._topic_allows.values():
            entries.sort(key=lambda entry: (entry[1].name, entry[0]))
        self._planner = Planner(policy)
        self._safeguards = Safeguards(policy)
        self._quotas = Quotas(policy)
        self._seats: OrderedDict[int, Seat] = OrderedDict()

    def decide(self, facts: Facts, access: Access, *, grants: Sequence[Grant], mode: Mode, now: float) -> Verdict:
        """The verdict on one access at ``now`` (Unix seconds). In ``observe`` the effect is allow and ``would`` tells
        what enforcing would do."""
        inquiry = self._inquiry(facts, access.operation, access.resource, access.name, now)
        verdict = self._any_topic(inquiry) if access.resource == "any_topic" else self._named(inquiry, grants)
        if mode == "observe" and verdict.effect != "allow":
            return msgspec.structs.replace(verdict, effect="allow", would=verdict.effect, wanted=None)
        return verdict

    def plan_records(self, facts: Facts, topic: str, direction: Direction, *, mode: Mode, now: float,
                     count_fields: bool) -> RecordPlan | None:
        """What is to be done to records of ``topic``; None where nothing is and no fields are to be counted."""
        return self.plan(facts, topic, direction, mode=mode, now=now, count_fields=count_fields).plan

    def plan(self, facts: Facts, topic: str, direction: Direction, *, mode: Mode, now: float,
             count_fields: bool) -> Planned:
        """Like plan_records, with the plan's lifetime and the conditions that ended in an error."""
        inquiry = self._inquiry(facts, "write" if direction == "produce" else "read", "topic", topic, now)
        return self._planner.plan(inquiry, direction, mode, count_fields)

    def plan_for_roles(self, roles: Iterable[str], facts: Facts, topic: str, direction: Direction, *,
                       now: float) -> RecordPlan | None:
        """As plan_records, for somebody who has these roles and no others, where rules are enforced."""
        held = tuple(sorted(set(roles)))
        seat = Seat(facts, held, frozenset(held), (), now, FOREVER)
        operation = "write" if direction == "produce" else "read"
        inquiry = Inquiry(seat, operation, "topic", topic, self.labels_of(topic), now)
        return self._planner.plan(inquiry, direction, "enforce", count_fields=True).plan

    def decide_with_plan(self, facts: Facts, access: Access, *, grants: Sequence[Grant], mode: Mode, now: float,
                         count_fields: bool) -> tuple[Verdict, RecordPlan | None]:
        """What a table's cell holds: the verdict, living no longer than its plan, and the plan for reading or writing a
        topic where that is allowed."""
        verdict = self.decide(facts, access, grants=grants, mode=mode, now=now)
        if self._safeguards.concern(access.resource, access.operation):
            verdict = self._guarded(verdict, facts, access, mode, now)
        if access.resource != "topic" or access.operation not in ("read", "write") or verdict.effect == "deny":
            return verdict, None
        direction: Direction = "produce" if access.operation == "write" else "consume"
        planned = self.plan(facts, access.name, direction, mode=mode, now=now, count_fields=count_fields)
        errors = tuple(sorted({*verdict.condition_errors, *planned.condition_errors}))
        until = min(verdict.valid_until, planned.valid_until)
        if errors != verdict.condition_errors or until != verdict.valid_until:
            verdict = msgspec.structs.replace(verdict, valid_until=until, condition_errors=errors)
        return verdict, planned.plan

    def _guarded(self, verdict: Verdict, facts: Facts, access: Access, mode: Mode, now: float) -> Verdict:
        """With what the request must be like. Refused accesses have it too: a permission on the cluster may stand for
        the one on the topic."""
        inquiry = self._inquiry(facts, access.operation, access.resource, access.name, now)
        found = self._safeguards.applying(inquiry, mode)
        errors = tuple(sorted({*verdict.condition_errors, *inquiry.errors}))
        return msgspec.structs.replace(verdict, valid_until=min(verdict.valid_until, inquiry.valid_until),
                                       condition_errors=errors, safeguards=found)

    def safeguards_for(self, facts: Facts, access: Access, now: float) -> list[tuple[Ready, bool, bool | None]]:
        """Every safeguard about this access, whether it is for these facts, and what its condition says."""
        inquiry = self._inquiry(facts, access.operation, access.resource, access.name, now)
        found = self._safeguards.about(access.operation, access.name) if access.resource == "topic" else []
        return [(ready, ready.is_for(inquiry.seat.role_set),
                 True if ready.when is None else inquiry.ask(ready.when, ready.rule.name)) for ready in found]

    def roles_of(self, facts: Facts, now: float) -> tuple[str, ...]:
        """Names of the policy's roles that these facts make a member of, sorted."""
        return self._seat(facts, now).roles

    def quotas_of(self, facts: Facts, now: float) -> tuple[QuotaInForce, ...]:
        """What these facts may use."""
        return self._quotas.applying(facts.principal.name, self.roles_of(facts, now)) if self._quotas else ()

    def labels_of(self, topic: str) -> dict[str, str]:
        """The labels of all entries that match, merged; loading refuses entries that contradict each other."""
        merged: dict[str, str] = {}
        for labels in self._labels.find(topic):
            for label, value in labels.items():
                merged[label] = min(value, merged.get(label, value))
        return merged

    def rules_for(self, facts: Facts, access: Access, now: float) -> list[tuple[Rule, bool | None]]:
        """Every forbid, allow and approval about this access with what its condition says; for explanations."""
        inquiry = self._inquiry(facts, access.operation, access.resource, access.name, now)
        found = [rule for rule in self._candidates(self._forbids, inquiry) if rule.is_about(access.operation)]
        found += [rule for rule in self._candidates(self._allows, inquiry) if rule.allows(access.operation)]
        if access.resource == "topic":
            found += [rule for rule in self._approvals.find(access.name) if rule.is_about(access.operation)]
        ordered = sorted(set(found), key=lambda rule: rule.name)
        return [(rule, True if rule.when is None else inquiry.ask(rule.when, rule.name)) for rule in ordered]

    def _named(self, inquiry: Inquiry, grants: Sequence[Grant]) -> Verdict:
        forbids = [rule for rule in self._candidates(self._forbids, inquiry) if rule.is_about(inquiry.operation)]
        hit = inquiry.first_holding(forbids, error=True, stop=False)
        if hit is not None:
            message = hit.rule.message if isinstance(hit.rule, Forbid) else ""
            return inquiry.verdict("deny", hit.name, message or f"forbidden by {hit.name}")
        roles = inquiry.seat.role_set
        allows = [rule for rule in self._candidates(self._allows, inquiry)
                  if rule.role in roles and rule.allows(inquiry.operation)]
        hit = inquiry.first_holding(allows, error=False, stop=True)
        if hit is None:
            return inquiry.verdict("deny", "", f"no rule allows {inquiry.operation} on {inquiry.resource}")
        wanted = self._wanted(inquiry, grants) if inquiry.resource == "topic" else None
        if wanted is not None:
            return inquiry.verdict("ask", wanted.rule, f"{wanted.rule} asks for an approval", wanted)
        return inquiry.verdict("allow", hit.name)

    def _wanted(self, inquiry: Inquiry, grants: Sequence[Grant]) -> ApprovalWanted | None:
        """What the first approval by name that nothing covers would have to approve. All are looked at, so that the
        verdict lives as long as the shortest grant."""
        first: ApprovalWanted | None = None
        about = {rule for rule in self._approvals.find(inquiry.name) if rule.is_about(inquiry.operation)}
        for rule in sorted(about, key=lambda found: found.name):
            if rule.when is not None and inquiry.ask(rule.when, rule.name) is False:
                continue
            if not self._is_covered(rule, inquiry, grants) and first is None:
                assert isinstance(rule.rule, Approval)
                first = ApprovalWanted(rule.name, inquiry.operation, inquiry.resource, inquiry.name,
                                       inquiry.seat.facts.attested.get("model", ""), rule.rule.reason)
        return first

    def _is_covered(self, rule: Rule, inquiry: Inquiry, grants: Sequence[Grant]) -> bool:
        """Whether grants of this principal and rule cover the access; the answer holds until one begins or ends."""
        facts = inquiry.seat.facts
        principal, model = facts.principal.name, facts.attested.get("model", "")
        mine = [grant for grant in grants if grant.rule == rule.name and grant.principal == principal
                and inquiry.now < grant.until]
        if rule.unless is None:
            mine = [grant for grant in mine if grant.operation == inquiry.operation
                    and grant.resource == inquiry.resource and grant.name == inquiry.name and grant.model == model]
        if rule.unless is None or rule.unless.reads_grants:
            for grant in mine:
                inquiry.limit(grant.until if grant.since <= inquiry.now else grant.since)
        active = [grant for grant in mine if grant.since <= inquiry.now]
        if rule.unless is None:
            return bool(active)
        models = sorted({grant.model for grant in active if grant.model})
        return inquiry.ask(rule.unless, rule.name, {"granted.models": models}) is True

    def _any_topic(self, inquiry: Inquiry) -> Verdict:
        """Whether the operation is allowed on some topic: an allow whose names no single forbid covers. A condition
        over ``topic`` cannot be settled without a name, so it counts as if it might hold for an allow and might not
        for a forbid; what is then done to a topic is decided under its name."""
        for role in inquiry.seat.roles:
            for glob, rule in self._topic_allows.get(role, ()):
                if not rule.allows(inquiry.operation):
                    continue
                is_settled = rule.when is not None and not rule.when.reads_topic
                if is_settled and rule.when is not None and inquiry.ask(rule.when, rule.name) is not True:
                    continue
                if not self._is_shadowed(glob, inquiry):
                    return inquiry.verdict("allow", rule.name)
        return inquiry.verdict("deny", "", f"no rule allows {inquiry.operation} on any topic")

    def _is_shadowed(self, glob: str, inquiry: Inquiry) -> bool:
        covering = set(self._forbids["topic"].find_containing(glob))
        for rule in sorted(covering, key=lambda found: (found.when is not None, found.name)):
            if not rule.is_about(inquiry.operation) or (rule.when is not None and rule.when.reads_topic):
                continue
            if rule.when is None or inquiry.ask(rule.when, rule.name) is not False:
                return True
        return False

    def _candidates(self, index: dict[str, globs.GlobIndex[Rule]], inquiry: Inquiry) -> list[Rule]:
        by_kind = index.get(inquiry.resource)
        return [] if by_kind is None else by_kind.find(inquiry.name)

    def _inquiry(self, facts: Facts, operation: str, resource: str, name: str, now: float) -> Inquiry:
        labels = self.labels_of(name) if resource == "topic" else None
        return Inquiry(self._seat(facts, now), operation, resource, name, labels, now)

    def _seat(self, facts: Facts, now: float) -> Seat:
        """The roles of ``facts``. Remembered by identity, which is sound because facts are immutable and the memo
        holds them; forgotten in time when a membership rests on the clock."""
        seat = self._seats.get(id(facts))
        if seat is not None and seat.decided_at <= now < seat.valid_until:
            return seat
        names = session_names(facts, now)
        held = {role for group in facts.principal.groups for role in self._roles_by_group.get(group, ())}
        until, errors, missing = FOREVER, [], set[str]()
        for role, program in self._conditional_roles:
            if program.reads_now:
                until = now + NOW_HOLDS
            answer = program.evaluate(names)
            if answer is True:
                held.add(role)
            elif answer is None:
                errors.append(role)
                missing |= missing_names(program, names)
        seat = Seat(facts, tuple(sorted(held)), frozenset(held), tuple(errors), now, until, frozenset(missing))
        self._seats[id(facts)] = seat
        if len(self._seats) > MOST_SEATS:
            self._seats.popitem(last=False)
        return seat


def compile(policy: Policy) -> Decider:
    """A Decider from the policy's values alone. Raises BadCondition for a policy that load would have refused."""
    return Decider(policy)


def _rule(rule: Forbid | Approval) -> Rule:
    when = None if rule.when is None else compile_text(rule.when.text, ACCESS_NAMES)
    unless = rule.unless if isinstance(rule, Approval) else None
    return Rule(rule.name, rule, frozenset(rule.operations), when=when,
                unless=None if unless is None else compile_text(unless.text, GRANT_NAMES))


def _allow_rule(role: Role, rule: Allow) -> Rule:
    when = None if rule.when is None else compile_text(rule.when.text, ACCESS_NAMES)
    return Rule(rule.name, rule, frozenset(rule.operations), role.name, when)


def _program(role: Role, names: frozenset[str]) -> Program | None:
    return None if role.condition is None else compile_text(role.condition.text, names)
