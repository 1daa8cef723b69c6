"""Reads policy files into one Policy. Everything wrong is told in one run; nothing half right comes out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from typing import Any

from kproxy.errors import PolicyError, Problem
from kproxy.model.policy import Allow, Approval, Condition, Forbid, Policy, Role, TopicEntry
from kproxy.model.record_plan import FORMATS
from kproxy.policy import agreement
from kproxy.policy.detector_values import detector
from kproxy.policy.expressions import ACCESS_NAMES, GRANT_NAMES, SESSION_NAMES, compile_text
from kproxy.policy.quota_values import quota
from kproxy.policy.record_values import guard, mask
from kproxy.policy.rule_values import condition, glob, operation, place, take_resources
from kproxy.policy.safeguard_values import safeguard
from kproxy.yaml_documents import read_document, uncollected
from kproxy.yaml_nodes import (
    Section,
    Value,
    Wrong,
    choice,
    dict_of,
    duration,
    integer,
    some_text,
    text,
    tuple_of,
)

_when = condition(ACCESS_NAMES)


def load(sources: Mapping[str, bytes]) -> Policy:
    """The policy of all files together, whatever their order. Raises PolicyError with every problem of every file."""
    reader = _Reader()
    with uncollected():
        for file in sorted(sources):
            reader.read(sources[file], file)
        policy = reader.policy(version_of(sources))
        reader.problems += agreement.check_agreement(policy)
    if reader.problems:
        raise PolicyError(agreement.in_order(reader.problems), policy, reader.declared_lost)
    return policy


def version_of(sources: Mapping[str, bytes]) -> str:
    """SHA-256 over the contents, whatever the files are called and wherever they lie: neither means anything."""
    digests = sorted(hashlib.sha256(source).digest() for source in sources.values())
    return hashlib.sha256(b"".join(digests)).hexdigest()


class _Reader:
    """Gathers the parts of all files."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.declared_lost = False
        self.parts: dict[str, list[Any]] = {
            "topics": [], "roles": [], "forbid": [], "masks": [], "guards": [], "approvals": [],
            "safeguards": [], "quotas": [], "detectors": [], "declared": []
        }

    def read(self, source: bytes, file: str) -> None:
        root, report = read_document(source, file)
        if root is not None:
            self._read_root(Section(root))
        elif report.problems:
            self.declared_lost = True
        self.problems += report.problems

    def _read_root(self, section: Section) -> None:
        for key, convert in (("topics", _topic), ("forbid", _forbid), ("masks", mask), ("guards", guard),
                             ("approvals", _approval), ("safeguards", safeguard), ("quotas", quota)):
            for value in section.values(key):
                self._add(key, value.convert(convert, None))
        for name, value, _ in section.named("roles"):
            self._add("roles", value.convert(partial(_role, name), None))
        for name, value, _ in section.named("detectors"):
            self._add("detectors", value.convert(partial(detector, name), None))
        is_declaring = "declared" in section.entries
        declared: tuple[str, ...] | None = section.take("declared", tuple_of(some_text), None)
        self.parts["declared"] += declared or ()
        self.declared_lost |= is_declaring and declared is None
        section.close()

    def _add(self, key: str, part: Any) -> None:
        if part is not None:
            self.parts[key].append(part)

    def policy(self, version: str) -> Policy:
        return Policy(version=version, **{key: tuple(found) for key, found in self.parts.items()})


def _topic(value: Value) -> TopicEntry:
    section = Section(value)
    entry = TopicEntry(
        match=section.need("match", glob, ""),
        labels=section.take("labels", dict_of(text), {}),
        format=section.take("format", choice(*FORMATS), "auto"),
        at=place(value),
    )
    section.close()
    return entry


def _role(name: str, value: Value) -> Role:
    section = Section(value)
    nobody: tuple[tuple[str, ...], Condition | None] = ((), None)
    groups, members = section.need("members", _members, nobody)
    allow = tuple(_allow(f"{name}.allow[{index}]", found) for index, found in enumerate(section.values("allow")))
    section.close()
    return Role(name, groups, members, allow, place(value))


def _members(value: Value) -> tuple[tuple[str, ...], Condition | None]:
    if value.kind() == "text":
        return (), condition(SESSION_NAMES)(value)
    section = Section(value)
    groups: tuple[str, ...] = section.need("groups", tuple_of(some_text), ())
    section.close()
    return groups, None


def _allow(name: str, value: Value) -> Allow:
    section = Section(value)
    operations: tuple[str, ...] = section.need("operations", tuple_of(operation), ())
    resources = take_resources(section, operations)
    rule = Allow(
        name=section.take("name", some_text, name),
        operations=operations,
        resources=resources,
        when=section.take("when", _when, None),
        at=place(value),
    )
    section.close()
    _refuse_topic_names(value, rule)
    return rule


def _forbid(value: Value) -> Forbid:
    section = Section(value)
    operations: tuple[str, ...] = section.need("operations", tuple_of(operation), ())
    resources = take_resources(section, operations)
    rule = Forbid(
        name=section.need("name", some_text, ""),
        operations=operations,
        resources=resources,
        when=section.take("when", _when, None),
        message=section.take("message", text, ""),
        at=place(value),
    )
    section.close()
    _refuse_topic_names(value, rule)
    return rule


def _refuse_topic_names(value: Value, rule: Allow | Forbid) -> None:
    """A condition over ``topic`` is in error where there is none: an allow would be dead there, a forbid absolute."""
    others = [kind for kind in rule.resources.kinds() if kind != "topic"]
    if rule.when is not None and others and compile_text(rule.when.text, ACCESS_NAMES).reads_topic:
        value.complain(f"the condition reads topic, which a {others[0]} does not have; make two rules of it")


def _approval(value: Value) -> Approval:
    section = Section(value)
    operations: tuple[str, ...] = section.need("operations", tuple_of(operation), ())
    approvers = section.section("approvers")
    role, quorum = "", 1
    if approvers is None:
        value.complain("'approvers' is missing")
    else:
        role, quorum = approvers.need("role", some_text, ""), approvers.take("quorum", integer(1, 100), 1)
        approvers.close()
    rule = Approval(
        name=section.need("name", some_text, ""),
        operations=operations,
        topics=section.need("topics", tuple_of(glob), ()),
        approver_role=role,
        quorum=quorum,
        when=section.take("when", _when, None),
        unless=section.take("unless", condition(GRANT_NAMES), None),
        reason=section.take("reason", choice("required", "optional", "none"), "none"),
        request_ttl=section.take("request_ttl", duration, 3600.0),
        max_duration=section.take("max_duration", duration, 28800.0),
        while_pending=section.take("while_pending", _while_pending, "refuse"),
        message=section.take("message", text, ""),
        at=place(value),
    )
    section.close()
    if rule.request_ttl <= 0 or rule.max_duration <= 0:
        value.complain("request_ttl and max_duration must be longer than nothing")
    return rule


def _while_pending(value: Value) -> Any:
    if text(value) == "hold":
        raise Wrong(value, "while_pending: hold is not supported yet")
    return choice("refuse")(value)
