"""What must hold between the rules of a policy: every name defined once, labels and masks that agree."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator

from kproxy.errors import Problem
from kproxy.model.policy import Allow, Approval, Condition, Forbid, Guard, Mask, Place, Policy, Safeguard
from kproxy.model.record_plan import ENTITIES
from kproxy.policy import globs
from kproxy.policy.detector_values import MOST
from kproxy.policy.expressions import GRANT_NAMES, compile_text
from kproxy.policy.field_paths import covers, meet, write
from kproxy.policy.quotas import check_quotas
from kproxy.policy.safeguards import numbers_of


def problem(message: str, at: Place) -> Problem:
    return Problem(message, at.file, at.line, at.path)


def in_order(problems: list[Problem]) -> list[Problem]:
    """Each problem once, as its owner would walk through the files."""
    return sorted(set(problems), key=lambda one: (one.file, one.line, one.path, one.message))


def conditions(policy: Policy) -> Iterator[tuple[str, Condition]]:
    """Every condition with the name of its rule."""
    for role in policy.roles:
        if role.condition is not None:
            yield role.name, role.condition
        for rule in role.allow:
            if rule.when is not None:
                yield rule.name, rule.when
    others: list[Forbid | Mask | Guard | Approval | Safeguard] = [
        *policy.forbid, *policy.record_rules(), *policy.approvals, *policy.safeguards]
    for other in others:
        if other.when is not None:
            yield other.name, other.when
    for approval in policy.approvals:
        if approval.unless is not None:
            yield approval.name, approval.unless


def check_agreement(policy: Policy) -> list[Problem]:
    """Every contradiction and every undefined name within the policy."""
    return [
        *_names(policy),
        *_roles(policy),
        *_labels(policy),
        *_label_names(policy),
        *_detectors(policy),
        *_actions(policy),
        *_safeguards(policy),
        *check_quotas(policy),
    ]


def _detectors(policy: Policy) -> Iterator[Problem]:
    """Names in ``detect`` that are neither of the catalogue nor of the policy, and more detectors than there may be."""
    known = (*ENTITIES, *(own.name for own in policy.detectors))
    for rule in policy.record_rules():
        for name in rule.detect:
            if name not in known:
                close = difflib.get_close_matches(name, known, 3) or [one for one in known if name.lower() in one][:5]
                meant = f"; did you mean {' or '.join(close)}?" if close else ";"
                yield problem(f"{name!r} is no entity{meant} docs/detectors.md lists them", rule.at)
    seen: dict[str, Place] = {}
    for own in policy.detectors:
        if own.name in seen:
            first = seen[own.name]
            yield problem(f"detector {own.name!r} is also defined at {first.file}:{first.line}", own.at)
        seen[own.name] = own.at
    if len(seen) > MOST:
        yield problem(f"the policy has {len(seen)} detectors of its own; {MOST} are the most", policy.detectors[-1].at)


def _names(policy: Policy) -> Iterator[Problem]:
    rules: list[Allow | Forbid | Mask | Guard | Approval | Safeguard] = [
        *policy.allows(), *policy.forbid, *policy.record_rules(), *policy.approvals, *policy.safeguards]
    for what, named in (("role", [(role.name, role.at) for role in policy.roles]),
                        ("rule", [(rule.name, rule.at) for rule in rules])):
        seen: dict[str, Place] = {}
        for name, at in named:
            if name and name in seen:
                yield problem(f"{what} {name!r} is also defined at {seen[name].file}:{seen[name].line}", at)
            seen[name] = at


def _roles(policy: Policy) -> Iterator[Problem]:
    known = {role.name for role in policy.roles}
    wanted = [(role, mask.at) for mask in policy.masks for role in (*mask.except_roles, *mask.clear_for)]
    wanted += [(rule.approver_role, rule.at) for rule in policy.approvals if rule.approver_role]
    wanted += [(role, rule.at) for rule in policy.safeguards for role in (*rule.roles, *rule.except_roles)]
    wanted += [(rule.role, rule.at) for rule in policy.quotas if rule.role]
    for role, at in wanted:
        if role not in known:
            close = difflib.get_close_matches(role, sorted(known), 1, 0.6)
            yield problem(f"role {role!r} is not defined{f'; did you mean {close[0]}?' if close else ''}", at)


def _labels(policy: Policy) -> Iterator[Problem]:
    """A topic bears one value of a label and one format, whichever entries match it, or their order would matter."""
    values: dict[str, dict[str, tuple[str, Place]]] = {}
    for entry in policy.topics:
        known = values.setdefault(entry.match, {})
        said = {f"label {label!r}": value for label, value in entry.labels.items()}
        for what, value in (said | ({"the format": entry.format} if entry.format != "auto" else {})).items():
            other, at = known.setdefault(what, (value, entry.at))
            if other != value:
                yield problem(f"{what} of {entry.match!r} is {value!r} here and {other!r} at"
                              f" {at.file}:{at.line}", entry.at)
    for one, other_match in globs.overlapping_pairs(values):
        for what in values[one].keys() & values[other_match].keys():
            (value, at), (other, other_at) = values[one][what], values[other_match][what]
            if value != other:
                yield problem(f"some topic matches {one!r} and {other_match!r}, and {what} is {value!r} here"
                              f" and {other!r} at {other_at.file}:{other_at.line}", at)


def _label_names(policy: Policy) -> Iterator[Problem]:
    known = {label for entry in policy.topics for label in entry.labels}
    for _, condition in conditions(policy):
        for variable, key in sorted(compile_text(condition.text, GRANT_NAMES).mentions.keys):
            if variable == "topic.labels" and key not in known:
                yield problem(f"no topic has a label {key!r}", condition.at)


def _actions(policy: Policy) -> Iterator[Problem]:
    """Two rules that may meet on one topic must agree on what is done to one field and where they look."""
    rules: dict[str, list[Mask | Guard]] = {}
    for rule in policy.record_rules():
        for pattern in rule.topics:
            rules.setdefault(pattern, []).append(rule)
    seen: set[tuple[str, str]] = set()
    pairs = [(pattern, pattern) for pattern in rules]
    for one, other in (*pairs, *globs.overlapping_pairs(rules)):
        for rule in rules[one]:
            for second in rules[other]:
                key = (max(rule.name, second.name), min(rule.name, second.name))
                if rule is not second and key not in seen and not set(rule.directions).isdisjoint(second.directions):
                    seen.add(key)
                    yield from _clashes(rule, second)


def _clashes(one: Mask | Guard, other: Mask | Guard) -> Iterator[Problem]:
    at = one.at if (one.at.file, one.at.line) > (other.at.file, other.at.line) else other.at
    names = " and ".join(sorted((repr(one.name), repr(other.name))))
    if one.detect and other.detect and set(one.parts) != set(other.parts):
        yield problem(f"{names} look at different parts of the same records, which is not supported yet", at)
    if not isinstance(one, Mask) or not isinstance(other, Mask) or one.action == other.action:
        return
    for what, paths, others in (("field", one.fields, other.fields),
                                ("field of keys", one.key_fields, other.key_fields)):
        for path, second in ((path, second) for path in paths for second in others if meet(path, second)):
            yield problem(f"{names} do two things to the {what} {write(max(path, second, key=len))}", at)
    for header, second_header in ((header, second) for header in one.header_names for second in other.header_names):
        if globs.overlap(header, second_header):
            yield problem(f"{names} do two things to the header {header}", at)
    yield from _clashes_of_lists(one, other, names, at)
    for tag in sorted(set(one.tags) & set(other.tags)):
        yield problem(f"{names} do two things to the tag {tag}", at)
    for entity in sorted(set(one.detect) & set(other.detect)):
        yield problem(f"{names} do two things to {entity}", at)


def _clashes_of_lists(one: Mask, other: Mask, names: str, at: Place) -> Iterator[Problem]:
    """An allow-list hides all that it does not name, so no other mask may do anything else to that."""
    if one.fields_except and other.fields_except:
        yield problem(f"{names} do two things to every field that neither names in fields_except", at)
    for mask, second in ((one, other), (other, one)):
        for path in second.fields if mask.fields_except else ():
            if not covers(mask.fields_except, path):
                yield problem(f"{names} do two things to the field {write(path)}; name it in fields_except of"
                              f" {mask.name!r}", at)


def _safeguards(policy: Policy) -> Iterator[Problem]:
    """Two that are for everybody, always, and that no request about some topic can keep both."""
    rules: dict[str, list[Safeguard]] = {}
    for rule in policy.safeguards:
        is_strict = rule.action != "record" and rule.when is None and not rule.roles and not rule.except_roles
        for pattern in rule.topics if is_strict and numbers_of(rule) else ():
            rules.setdefault(pattern, []).append(rule)
    pairs = [(pattern, pattern) for pattern in rules]
    for first, second in (*pairs, *globs.overlapping_pairs(rules)):
        for one in rules[first]:
            for other in rules[second]:
                if one is not other:
                    yield from _contradictions(*sorted((one, other), key=lambda rule: (rule.at.file, rule.at.line)))


def _contradictions(one: Safeguard, other: Safeguard) -> Iterator[Problem]:
    bounds = numbers_of(one)
    for what, (least, most) in numbers_of(other).items():
        other_least, other_most = bounds.get(what, (-math.inf, math.inf))
        if max(least, other_least) > min(most, other_most):
            yield problem(f"no {what} of a topic that {one.name!r} and {other.name!r} are about is within the bounds of"
                          " both", other.at)
