"""What another policy would have made of what the audit tells: accesses that it would refuse or let pass, values that
it would hide or show. Pure: events in, findings out.

The audit has names and numbers and no values, so what detectors and guards would have found cannot be told; they are
named. Whether people would have approved cannot either: an access that waits for them is told as such.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal, cast

import msgspec

from kproxy.model.access import Access, Client, Facts, Principal, Resource
from kproxy.model.audit_event import AuditEvent
from kproxy.model.record_plan import Direction, RecordPlan
from kproxy.policy.decide import Decider
from kproxy.policy.field_paths import BadPath, Path, covers, parse

What = Literal["denied", "asked", "allowed", "masked", "shown", "unknown"]

_KEY = "key:"


class Finding(msgspec.Struct, frozen=True):
    """Something that would have gone another way, summed up over all lines that say the same.

    ``what``: an access would be ``denied``, ``asked`` about or ``allowed``; values at ``field`` would be ``masked`` or
    ``shown``; ``unknown``: ``rule`` looks for something of which the audit has no trace. ``count`` is of records where
    they moved, of values for fields, else of refusals."""

    what: What
    principal: str
    operation: str
    name: str
    rule: str = ""
    reason: str = ""
    field: str = ""
    count: int = 0
    last_seen: float = 0.0


class Simulation(msgspec.Struct, frozen=True):
    """``sessions`` were looked at; ``untold``: lines of sessions whose beginning the audit does not have, or that began
    before their groups were written down, so that nobody can say which roles they had."""

    findings: tuple[Finding, ...]
    sessions: int
    lines: int
    untold: int


def simulate(decider: Decider, events: Iterable[AuditEvent]) -> Simulation:
    """Decides anew what ``events``, in their order, tell of."""
    seen: dict[str, Facts] = {}
    found: dict[tuple[str, ...], Finding] = {}
    lines = untold = 0
    for event in events:
        if event.kind in ("connect", "reauthenticated"):
            facts = facts_of(event, seen.get(event.session))
            if facts is not None:
                seen[event.session] = facts
        elif event.kind in ("flow", "denied", "would"):
            if event.session not in seen:
                untold += 1
                continue
            lines += 1
            facts = seen[event.session]
            told = _of_flow(decider, facts, event) if event.kind == "flow" else _of_refusal(decider, facts, event)
            for one in told:
                _add(found, one)
    def place(one: Finding) -> tuple[str, ...]:
        return one.what, one.principal, one.name, one.operation, one.field, one.rule

    return Simulation(tuple(sorted(found.values(), key=place)), len(seen), lines, untold)


def facts_of(event: AuditEvent, before: Facts | None) -> Facts | None:
    """Who the session is from this line on; None where the line does not say it."""
    groups = event.details.get("groups")
    if not isinstance(groups, list):
        return None
    attributes = event.details.get("attributes", {})
    software = event.details.get("software", before.client.software if before is not None else "")
    return Facts(
        principal=Principal(event.principal, event.issuer, event.principal, tuple(map(str, groups)), attributes),
        mechanism=event.mechanism, listener=event.listener, attested=event.attested, declared=event.declared,
        client=Client(event.client_id, str(software), event.address),
    )


def _add(found: dict[tuple[str, ...], Finding], one: Finding) -> None:
    key = (one.what, one.principal, one.operation, one.name, one.rule, one.field)
    former = found.get(key)
    count = one.count + (former.count if former is not None else 0)
    last = max(one.last_seen, former.last_seen if former is not None else 0.0)
    found[key] = msgspec.structs.replace(one, count=count, last_seen=last)


def _of_refusal(decider: Decider, facts: Facts, event: AuditEvent) -> Iterator[Finding]:
    if not event.operation or not event.resource:
        return
    access = Access(event.operation, cast(Resource, event.resource), event.name)
    verdict = decider.decide(facts, access, grants=(), mode="enforce", now=event.ts)
    refused = event.would if event.kind == "would" else event.decision
    if verdict.effect == "allow" and refused != "allow":
        count = 1 + int(event.details.get("repeated", 0))
        name = f"{event.resource} {event.name}".strip()
        yield Finding("allowed", event.principal, event.operation, name, verdict.rule, verdict.reason, count=count,
                      last_seen=event.ts)


def _of_flow(decider: Decider, facts: Facts, event: AuditEvent) -> Iterator[Finding]:
    direction = cast(Direction, event.direction)
    operation = "write" if direction == "produce" else "read"
    verdict = decider.decide(facts, Access(operation, "topic", event.topic), grants=(), mode="enforce", now=event.ts)
    if verdict.effect != "allow":
        what: What = "asked" if verdict.effect == "ask" else "denied"
        yield Finding(what, event.principal, operation, f"topic {event.topic}", verdict.rule, verdict.reason,
                      count=event.records, last_seen=event.ts)
        return
    plan = decider.plan_records(facts, event.topic, direction, mode="enforce", now=event.ts, count_fields=False)

    def finding(what: What, rule: str, field: str, count: int) -> Finding:
        return Finding(what, event.principal, operation, f"topic {event.topic}", rule, "", field, count, event.ts)

    for field, count in event.fields_emitted.items():
        rule = rule_about(plan, field)
        if rule is not None:
            yield finding("masked", rule, field, count)
    by_detectors = {one.rule for one in plan.detectors} if plan is not None else set()
    for field, count in event.fields_masked.items():
        if rule_about(plan, field) is None and not by_detectors:
            yield finding("shown", "", field, count)
    for rule in sorted(by_detectors - event.rules.keys()):
        yield finding("unknown", rule, "", event.records)
    if plan is not None and event.fields != "inspected":
        for rule in sorted({one.rule for one in plan.named_parts()}):
            yield finding("unknown", rule, "", event.records)


def rule_about(plan: RecordPlan | None, field: str) -> str | None:
    """The rule that hides values at a path as the audit writes it; None: none, or the path is no place of its own."""
    if plan is None:
        return None
    rules = plan.key_fields if field.startswith(_KEY) else plan.fields
    try:
        path: Path = parse(field.removeprefix(_KEY))
    except BadPath:
        return None
    for rule in rules:
        if covers([rule.path], path) and rule.action.kind != "block":
            return rule.rule
    for listed in plan.allow_lists if rules is plan.fields else ():
        if not covers(listed.paths, path):
            return listed.rule
    return None


def as_rows(simulation: Simulation) -> list[dict[str, Any]]:
    """The findings as JSON has them."""
    return cast("list[dict[str, Any]]", msgspec.to_builtins(simulation.findings))
