"""What rules about records look at, in words for people."""

from __future__ import annotations

from kproxy.model.policy import Mask
from kproxy.model.record_plan import AllowList, DetectRule, FieldRule, HeaderRule, RecordPlan
from kproxy.policy.field_paths import Path, write


def say_fields(rule: Mask) -> list[str]:
    """The parts of records that a mask names."""
    return [
        *map(write, rule.fields),
        *([_say_list(rule.fields_except)] if rule.fields_except else []),
        *(_say_key(path) for path in rule.key_fields),
        *(f"header {name}" for name in rule.header_names),
        *(f"tag {tag}" for tag in rule.tags),
    ]


def say_plan(plan: RecordPlan) -> list[str]:
    """What is done to which parts, with the rule that does it."""
    rules: list[tuple[str, FieldRule | AllowList | HeaderRule | DetectRule]] = [
        *((f"tag {rule.tag}" if rule.tag else write(rule.path), rule) for rule in plan.fields),
        *((_say_list(rule.paths), rule) for rule in plan.allow_lists),
        *((_say_key(rule.path), rule) for rule in plan.key_fields),
        *((f"header {'*'.join(rule.name)}", rule) for rule in plan.headers),
        *((rule.entity, rule) for rule in plan.detectors),
    ]
    return [f"{what} {rule.action.kind} ({rule.rule})" for what, rule in rules]


def _say_list(kept: tuple[Path, ...]) -> str:
    return f"all but {', '.join(map(write, kept))}"


def _say_key(path: Path) -> str:
    return f"{write(path)} of keys" if path else "keys"
