"""Which safeguards apply to an access: those about its topic and operation, for its roles, whose condition holds."""

from __future__ import annotations

import math
from dataclasses import dataclass

from kproxy.model.policy import (
    ADMIN_REQUESTS,
    AdminLimits,
    Bounds,
    ConfigLimit,
    Policy,
    Safeguard,
    SafeguardInForce,
)
from kproxy.model.settings import Mode
from kproxy.policy import globs
from kproxy.policy.expressions import ACCESS_NAMES, Program, compile_text
from kproxy.policy.inquiry import Inquiry


@dataclass(frozen=True, slots=True, eq=False)
class Ready:
    """A safeguard with its condition compiled."""

    rule: Safeguard
    when: Program | None

    def is_for(self, roles: frozenset[str]) -> bool:
        """Whether it is for a session with these roles."""
        is_meant = not self.rule.roles or not roles.isdisjoint(self.rule.roles)
        return is_meant and roles.isdisjoint(self.rule.except_roles)


class Safeguards:
    """The safeguards of a policy, by operation and topic."""

    def __init__(self, policy: Policy) -> None:
        entries: dict[str, list[tuple[str, Ready]]] = {}
        for rule in policy.safeguards:
            ready = Ready(rule, None if rule.when is None else compile_text(rule.when.text, ACCESS_NAMES))
            for operation in operations_of(rule):
                entries.setdefault(operation, []).extend((glob, ready) for glob in rule.topics)
        self._by_operation = {operation: globs.GlobIndex(found) for operation, found in entries.items()}

    def concern(self, resource: str, operation: str) -> bool:
        """Whether any safeguard is about such an access."""
        return resource == "topic" and operation in self._by_operation

    def about(self, operation: str, topic: str) -> list[Ready]:
        """All that are about the topic, for whomever, by name."""
        index = self._by_operation.get(operation)
        distinct = {ready.rule.name: ready for ready in index.find(topic)} if index is not None else {}
        return [distinct[name] for name in sorted(distinct)]

    def applying(self, inquiry: Inquiry, mode: Mode) -> tuple[SafeguardInForce, ...]:
        """Those in force, by name. A condition in error counts as if it were true."""
        roles = inquiry.seat.role_set
        found = []
        for ready in self.about(inquiry.operation, inquiry.name):
            if ready.is_for(roles) and (ready.when is None or inquiry.ask(ready.when, ready.rule.name) is not False):
                misnamed = inquiry.operation == "create" and is_misnamed(ready.rule, inquiry.name)
                if misnamed or inquiry.operation in _operations_without_names(ready.rule):
                    found.append(SafeguardInForce(ready.rule, mode == "observe", misnamed))
        return tuple(found)


def is_misnamed(rule: Safeguard, topic: str) -> bool:
    """Whether a topic of that name may not be created."""
    names = rule.admin.names if rule.admin is not None else ()
    return bool(names) and not any(globs.matches(pattern, topic) for pattern in names)


def say_limits(rule: Safeguard) -> list[str]:
    """What the rule asks for, in words."""
    said: list[str] = []
    if rule.produce is not None:
        limits = rule.produce
        said += [f"acks {'all' if limits.acks == -1 else '1 or all'}"] if limits.acks else []
        said += [f"compression {' or '.join(limits.compression)}"] if limits.compression else []
        said += ["idempotence"] if limits.idempotence else []
        said += [f"batches of {limits.max_batch_bytes} bytes at most"] if limits.max_batch_bytes else []
        said += [f"records of {limits.max_record_bytes} bytes at most"] if limits.max_record_bytes else []
    return said if rule.admin is None else [*said, *_say_admin(rule.admin)]


def _say_admin(limits: AdminLimits) -> list[str]:
    said = [f"no {request}" for request in limits.requests]
    said += [f"names {' or '.join(limits.names)}"] if limits.names else []
    said += [f"partitions {_say_bounds(limits.partitions)}"] if limits.partitions is not None else []
    if limits.replication_factor is not None:
        said.append(f"replication factor {_say_bounds(limits.replication_factor)}")
    said += [_say_config(limit) for limit in limits.configs]
    return said if limits.other_configs == "pass" else [*said, "no other configs"]


def _say_config(limit: ConfigLimit) -> str:
    words = [limit.name]
    if limit.least is not None or limit.most is not None:
        words.append(_say_bounds(limit))
    words += [" or ".join(limit.allowed)] if limit.allowed else []
    words += ["required"] if limit.required else []
    return " ".join((*words, "forbidden") if limit.forbidden else words)


def _say_bounds(bounds: Bounds | ConfigLimit) -> str:
    if bounds.least is not None and bounds.most is not None:
        return f"{bounds.least} to {bounds.most}"
    return f"{bounds.least} at least" if bounds.least is not None else f"{bounds.most} at most"


def numbers_of(rule: Safeguard) -> dict[str, tuple[float, float]]:
    """What it bounds by numbers, with the least and the most."""
    limits = rule.admin
    if limits is None:
        return {}
    bounded: dict[str, Bounds | ConfigLimit | None] = {
        "number of partitions": limits.partitions, "replication factor": limits.replication_factor,
        **{limit.name: limit for limit in limits.configs}}
    return {what: (-math.inf if found.least is None else found.least, math.inf if found.most is None else found.most)
            for what, found in bounded.items() if found is not None and (found.least, found.most) != (None, None)}


def operations_of(rule: Safeguard) -> frozenset[str]:
    """The operations, in Kafka's words, of the requests that the rule looks at."""
    found = _operations_without_names(rule)
    return found | {"create"} if rule.admin is not None and rule.admin.names else found


def _operations_without_names(rule: Safeguard) -> frozenset[str]:
    found = {"write"} if rule.produce is not None else set()
    limits = rule.admin
    if limits is not None:
        found |= {ADMIN_REQUESTS[request] for request in limits.requests}
        if limits.partitions is not None:
            found |= {"create", "alter"}
        if limits.replication_factor is not None:
            found.add("create")
        if limits.configs or limits.other_configs == "refuse":
            found |= {"create", "alter_configs"}
    return frozenset(found)
