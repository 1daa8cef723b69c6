"""Which safeguards apply to an access: those about its topic and operation, for its roles, whose condition holds."""

from __future__ import annotations

from dataclasses import dataclass

from kproxy.model.policy import Policy, Safeguard, SafeguardInForce
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
        return tuple([SafeguardInForce(ready.rule, mode == "observe")
                      for ready in self.about(inquiry.operation, inquiry.name) if ready.is_for(roles)
                      and (ready.when is None or inquiry.ask(ready.when, ready.rule.name) is not False)])


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
    return said


def operations_of(rule: Safeguard) -> tuple[str, ...]:
    """The operations, in Kafka's words, of the requests that the rule looks at."""
    return ("write",) if rule.produce is not None else ()
