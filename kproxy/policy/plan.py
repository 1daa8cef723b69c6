"""What is to be done to a topic's records for one session: the masks and guards that apply, merged into one plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from msgspec.structs import replace

from kproxy.model.policy import Guard, Mask, Part, Policy
from kproxy.model.record_plan import (
    Action,
    AllowList,
    DetectRule,
    Direction,
    FieldRule,
    HeaderRule,
    OwnDetector,
    RecordPlan,
    ValueFormat,
)
from kproxy.model.settings import Mode
from kproxy.policy import globs
from kproxy.policy.expressions import ACCESS_NAMES, Program, compile_text
from kproxy.policy.field_paths import Path, covers
from kproxy.policy.inquiry import Inquiry

R = TypeVar("R", Mask, Guard)

_PARTS: tuple[Part, ...] = ("value", "headers", "key")
_BLOCK = Action(kind="block")


@dataclass(frozen=True, slots=True)
class Planned:
    """``valid_until`` in Unix seconds; ``condition_errors`` are names of rules."""

    plan: RecordPlan | None
    valid_until: float
    condition_errors: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Ready(Generic[R]):
    """A mask or guard with its condition compiled."""

    name: str
    rule: R
    when: Program | None


class Planner:
    """Finds the masks and guards of a topic."""

    def __init__(self, policy: Policy) -> None:
        self._masks = _index(policy.masks)
        self._guards = _index(policy.guards)
        self._own = {own.name: OwnDetector(own.name, own.pattern, own.deny_list, own.context, own.checksum)
                     for own in policy.detectors}
        self._formats: globs.GlobIndex[ValueFormat] = globs.GlobIndex(
            (entry.match, entry.format) for entry in policy.topics if entry.format != "auto")

    def plan(self, inquiry: Inquiry, direction: Direction, mode: Mode, count_fields: bool) -> Planned:
        """Fields are counted wherever a mask or guard is meant for the topic, also for readers it spares: the audit has
        to tell which fields left unmasked."""
        masks = [ready for ready in self._masks.find(inquiry.name) if direction in ready.rule.directions]
        guards = [ready for ready in self._guards.find(inquiry.name) if direction in ready.rule.directions]
        if not masks and not guards and not count_fields:
            return Planned(None, inquiry.valid_until, inquiry.sorted_errors())
        hiding, clearing = _masks_in_force(inquiry, masks, direction)
        active_guards = _applying(inquiry, guards)
        both = [*hiding, *clearing]
        lists = tuple(AllowList(mask.fields_except, mask.action, mask.name) for mask in both if mask.fields_except)
        detectors = _detectors(active_guards, hiding, clearing)
        plan = RecordPlan(
            direction=direction,
            fields=(*_fields(hiding, clearing, lambda mask: mask.fields,
                             [mask for mask in hiding if mask.fields_except]), *_tags(hiding, clearing)),
            allow_lists=lists,
            key_fields=_fields(hiding, clearing, lambda mask: mask.key_fields, []),
            headers=tuple(HeaderRule(globs.parse(name), mask.action, mask.name)
                          for mask in both for name in mask.header_names),
            detectors=detectors,
            own=tuple(self._own[rule.entity] for rule in detectors if rule.entity in self._own),
            parts=_parts(active_guards, both),
            observe=mode == "observe",
            count_fields=True,
            on_unknown="pass" if _is_lenient(hiding, clearing, active_guards) else "refuse",
            format=next(iter(self._formats.find(inquiry.name)), "auto"),
        )
        return Planned(plan, inquiry.valid_until, inquiry.sorted_errors())


def _index(rules: Iterable[R]) -> globs.GlobIndex[Ready[R]]:
    ready = [Ready(rule.name, rule, None if rule.when is None else compile_text(rule.when.text, ACCESS_NAMES))
             for rule in rules]
    return globs.GlobIndex((glob, entry) for entry in ready for glob in entry.rule.topics)


def _applying(inquiry: Inquiry, found: Iterable[Ready[R]]) -> list[R]:
    """Rules in force, by name. A condition in error hides and blocks, as if it were true."""
    distinct = {ready.name: ready for ready in found}
    return [ready.rule for _, ready in sorted(distinct.items())
            if ready.when is None or inquiry.ask(ready.when, ready.name) is not False]


def _masks_in_force(inquiry: Inquiry, found: Iterable[Ready[Mask]],
                    direction: Direction) -> tuple[list[Mask], list[Mask]]:
    """Masks that hide, and those that give this reader what their tokens stand for: these with the action ``clear``.
    Only a condition that is true clears: one in error hides."""
    roles = inquiry.seat.role_set
    hiding: list[Mask] = []
    clearing: list[Mask] = []
    for name, ready in sorted({ready.name: ready for ready in found}.items()):
        mask = ready.rule
        clears = direction == "consume" and not roles.isdisjoint(mask.clear_for)
        is_spared = not roles.isdisjoint(mask.except_roles)
        if is_spared and not clears:
            continue
        holds = True if ready.when is None else inquiry.ask(ready.when, name)
        if clears and holds is True:
            clearing.append(replace(mask, action=replace(mask.action, kind="clear")))
        elif holds is not False and not is_spared:
            hiding.append(mask)
    return hiding, clearing


def _fields(hiding: list[Mask], clearing: list[Mask], paths: Callable[[Mask], Iterable[Path]],
            lists: list[Mask]) -> tuple[FieldRule, ...]:
    """One rule per path. What hides comes before what clears, and the allow-lists ``lists`` hide what they do not name
    from readers who may clear it elsewhere."""
    rules: dict[Path, FieldRule] = {}
    for mask in (*hiding, *clearing):
        for path in paths(mask):
            if mask.action.kind != "clear" or all(covers(one.fields_except, path) for one in lists):
                rules.setdefault(path, FieldRule(path, mask.action, mask.name))
    return tuple(rules[path] for path in sorted(rules, key=lambda path: (rules[path].action.kind == "clear", path)))


def _tags(hiding: list[Mask], clearing: list[Mask]) -> tuple[FieldRule, ...]:
    rules: dict[str, FieldRule] = {}
    for mask in (*hiding, *clearing):
        for tag in mask.tags:
            rules.setdefault(tag, FieldRule((), mask.action, mask.name, tag))
    return tuple(rules[tag] for tag in sorted(rules, key=lambda tag: (rules[tag].action.kind == "clear", tag)))


def _is_lenient(hiding: list[Mask], clearing: list[Mask], guards: list[Guard]) -> bool:
    """Whether every mask that reads into values and keys lets pass what it cannot read; one that clears does. Where
    none does, detectors need values of a registered schema read; a guard lets nothing pass."""
    reading = [mask for mask in hiding if mask.fields or mask.fields_except or mask.key_fields or mask.tags]
    if not reading and not guards:
        reading = [mask for mask in hiding if mask.detect]
    return bool(reading or clearing) and all(mask.on_unknown == "pass" for mask in reading)


def _detectors(guards: list[Guard], hiding: list[Mask], clearing: list[Mask]) -> tuple[DetectRule, ...]:
    """One rule per entity. A guard comes before a mask, because what it refuses needs no hiding."""
    rules: dict[str, DetectRule] = {}
    for guard in guards:
        for entity in guard.detect:
            rules.setdefault(entity, DetectRule(entity, _BLOCK, guard.name, guard.message))
    for mask in hiding:
        for entity in mask.detect:
            rules.setdefault(entity, DetectRule(entity, mask.action, mask.name))
    tokens = (DetectRule("token", mask.action, mask.name) for mask in clearing if mask.detect)
    return (*(rules[entity] for entity in sorted(rules)), *tokens)


def _parts(guards: list[Guard], masks: list[Mask]) -> tuple[Part, ...]:
    rules: list[Mask | Guard] = [*guards, *masks]
    named = {part for rule in rules if rule.detect for part in rule.parts}
    return cast("tuple[Part, ...]", tuple(part for part in _PARTS if part in named)) or ("value", "headers")
