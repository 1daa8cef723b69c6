"""Rules about records as a policy writes them: masks and guards."""

from __future__ import annotations

from kproxy.model.policy import Guard, Mask
from kproxy.policy.action_values import DISTINCT, action
from kproxy.policy.expressions import ACCESS_NAMES
from kproxy.policy.field_paths import NAMES, write
from kproxy.policy.rule_values import condition, field_path, glob, place
from kproxy.yaml_nodes import Section, Value, choice, some_text, text, tuple_of

_directions = tuple_of(choice("produce", "consume"))
_parts = tuple_of(choice("value", "headers", "key"))
_when = condition(ACCESS_NAMES)


def mask(value: Value) -> Mask | None:
    section = Section(value)
    looks_for = {"fields", "fields_except", "key_fields", "header_names", "tags", "detect"} & section.entries.keys()
    rule = Mask(
        name=section.need("name", some_text, ""),
        topics=section.need("topics", tuple_of(glob), ()),
        directions=section.take("directions", _directions, ("produce", "consume")),
        action=section.need("action", action, None),  # type: ignore[arg-type]
        fields=section.take("fields", tuple_of(field_path), ()),
        fields_except=section.take("fields_except", tuple_of(field_path), ()),
        key_fields=section.take("key_fields", tuple_of(field_path), ()),
        header_names=section.take("header_names", tuple_of(glob), ()),
        tags=section.take("tags", tuple_of(some_text), ()),
        detect=section.take("detect", tuple_of(some_text), ()),
        parts=section.take("parts", _parts, ("value", "headers")),
        except_roles=section.take("except_roles", tuple_of(some_text), ()),
        clear_for=section.take("clear_for", tuple_of(some_text), ()),
        when=section.take("when", _when, None),
        on_unknown=section.take("on_unknown", choice("refuse", "pass"), "refuse"),
        at=place(value),
    )
    section.close()
    if rule.action is None:
        return None
    if not looks_for:
        value.complain("the mask names no fields, tags or headers and nothing to detect, so it can never fire")
    if (rule.fields or rule.fields_except or rule.tags) and "value" not in rule.parts:
        value.complain("fields are looked for in values only, and parts leaves value out: they can never be found")
    if () in rule.fields_except:
        value.complain("fields_except names the whole value, so nothing is hidden")
    if rule.action.kind == "drop_field" and (rule.header_names or () in rule.fields):
        value.complain("drop_field leaves out members and elements; of a whole value or header nothing would be left")
    if rule.clear_for:
        _complain_of_what_is_not_cleared(value, rule)
    if rule.action.kind not in DISTINCT:
        _complain_of_what_must_stay_distinct(value, rule)
    return rule


def _complain_of_what_is_not_cleared(value: Value, rule: Mask) -> None:
    if rule.action.kind != "token":
        value.complain(f"clear_for gives back what tokens stand for, and the action is {rule.action.kind}")
    if "consume" not in rule.directions:
        value.complain("clear_for is about what is read, and directions leave consume out")
    for role in sorted(set(rule.clear_for) & set(rule.except_roles)):
        value.complain(f"role {role!r} is in clear_for and in except_roles, which leave tokens as they are")


def _complain_of_what_must_stay_distinct(value: Value, rule: Mask) -> None:
    kind, only = rule.action.kind, f"{', '.join(DISTINCT[:-1])} or {DISTINCT[-1]}"
    if (rule.detect and "key" in rule.parts) or rule.key_fields:
        value.complain(f"{kind} on keys would move records to other partitions: only {only} there")
    for path in rule.fields:
        if path and path[-1] == NAMES:
            value.complain(f"{kind} would give several members of one object the same name: only {only} on"
                           f" {write(path)}")


def guard(value: Value) -> Guard:
    section = Section(value)
    section.take("action", choice("block"), "block")
    rule = Guard(
        name=section.need("name", some_text, ""),
        topics=section.need("topics", tuple_of(glob), ()),
        directions=section.take("directions", _directions, ("produce",)),
        detect=section.need("detect", tuple_of(some_text), ()),
        message=section.take("message", text, ""),
        parts=section.take("parts", _parts, ("value", "headers")),
        when=section.take("when", _when, None),
        at=place(value),
    )
    section.close()
    return rule
