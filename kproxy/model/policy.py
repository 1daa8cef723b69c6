"""A policy as values: what ``kproxy.policy.load`` makes of the YAML files, and what travels to workers in the snapshot.

Conditions are carried as CEL text with the place they were written at; ``kproxy.policy.compile`` turns them into
programs. Nothing here depends on the configuration, so that a worker can decide from a snapshot alone.

Values cannot refer to themselves, so they are kept from the cyclic collector (``gc=False``): with ten thousand rules it
would otherwise stop a worker for a tenth of a second, again and again.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from kproxy.model.record_plan import Action, Direction

Part = Literal["value", "headers", "key"]

#: Operations that Kafka's authoriser knows, by the resource they are legal on (protocol.md §0.9), in lower case.
LEGAL_OPERATIONS: dict[str, frozenset[str]] = {
    "topic": frozenset(
        ("read", "write", "create", "describe", "delete", "alter", "describe_configs", "alter_configs")
    ),
    "group": frozenset(("read", "describe", "delete", "describe_configs", "alter_configs")),
    "transactional_id": frozenset(("describe", "write", "two_phase_commit")),
    "cluster": frozenset(
        ("create", "cluster_action", "describe_configs", "alter_configs", "idempotent_write", "alter", "describe")
    ),
}
OPERATIONS = frozenset().union(*LEGAL_OPERATIONS.values())
ALL = "all"

#: What an allow of one operation allows besides. A forbid implies nothing.
IMPLIED_BY: dict[str, frozenset[str]] = {
    "describe": frozenset(("read", "write", "delete", "alter")),
    "describe_configs": frozenset(("alter_configs",)),
}


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where something was written; ``path`` as ``roles.fraud.allow[0]``."""

    file: str = ""
    line: int = 0
    path: str = ""


class Condition(msgspec.Struct, frozen=True, gc=False):
    """A CEL expression as written."""

    text: str
    at: Place = Place()


class TopicEntry(msgspec.Struct, frozen=True, gc=False):
    """Labels of the topics that ``match`` (a glob) covers."""

    match: str
    labels: dict[str, str] = {}
    at: Place = Place()


class Resources(msgspec.Struct, frozen=True, gc=False):
    """What a rule is about: globs of names by kind, and whether the cluster itself is meant."""

    topics: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    transactional_ids: tuple[str, ...] = ()
    cluster: bool = False

    def kinds(self) -> tuple[str, ...]:
        """The resource kinds named, in the words of ``Access.resource``."""
        if not self.groups and not self.transactional_ids and not self.cluster:
            return ("topic",) if self.topics else ()
        named = (("topic", self.topics), ("group", self.groups), ("transactional_id", self.transactional_ids),
                 ("cluster", self.cluster))
        return tuple(kind for kind, what in named if what)

    def patterns(self, kind: str) -> tuple[str, ...]:
        """Globs of one kind; for the cluster the glob that matches every name, because there is only one."""
        if kind == "topic":
            return self.topics
        if kind == "cluster":
            return ("*",) if self.cluster else ()
        return {"group": self.groups, "transactional_id": self.transactional_ids}[kind]


class Allow(msgspec.Struct, frozen=True, gc=False):
    """Members of the role may do ``operations`` on ``resources`` while ``when`` is true."""

    name: str
    operations: tuple[str, ...]
    resources: Resources
    when: Condition | None = None
    at: Place = Place()


class Role(msgspec.Struct, frozen=True, gc=False):
    """Members are those in one of ``groups`` and those for whom ``condition`` is true."""

    name: str
    groups: tuple[str, ...] = ()
    condition: Condition | None = None
    allow: tuple[Allow, ...] = ()
    at: Place = Place()


class Forbid(msgspec.Struct, frozen=True, gc=False):
    """Nobody may do ``operations`` on ``resources`` while ``when`` is true; beats every allow."""

    name: str
    operations: tuple[str, ...]
    resources: Resources
    when: Condition | None = None
    message: str = ""
    at: Place = Place()


class Mask(msgspec.Struct, frozen=True, gc=False):
    """What is hidden in records of ``topics`` from everybody outside ``except_roles``."""

    name: str
    topics: tuple[str, ...]
    directions: tuple[Direction, ...]
    action: Action
    fields: tuple[tuple[str, ...], ...] = ()
    detect: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ("value", "headers")
    except_roles: tuple[str, ...] = ()
    when: Condition | None = None
    on_unknown: Literal["refuse", "pass"] = "refuse"
    at: Place = Place()


class Guard(msgspec.Struct, frozen=True, gc=False):
    """Record content that is refused, with the words the client is shown."""

    name: str
    topics: tuple[str, ...]
    directions: tuple[Direction, ...]
    detect: tuple[str, ...]
    message: str = ""
    parts: tuple[Part, ...] = ("value", "headers")
    when: Condition | None = None
    at: Place = Place()


class Approval(msgspec.Struct, frozen=True, gc=False):
    """An access that is allowed and yet waits for people. Times in seconds."""

    name: str
    operations: tuple[str, ...]
    topics: tuple[str, ...]
    approver_role: str
    quorum: int = 1
    when: Condition | None = None
    unless: Condition | None = None
    reason: Literal["required", "optional", "none"] = "none"
    request_ttl: float = 3600.0
    max_duration: float = 28800.0
    while_pending: Literal["refuse"] = "refuse"
    message: str = ""
    at: Place = Place()


class Policy(msgspec.Struct, frozen=True, gc=False):
    """``version`` is the SHA-256 (hex) of the source files. ``declared`` are names of facts that clients may declare,
    beyond launcher, run, model and commit, so that a misspelt one in a condition is found."""

    version: str = ""
    topics: tuple[TopicEntry, ...] = ()
    roles: tuple[Role, ...] = ()
    forbid: tuple[Forbid, ...] = ()
    masks: tuple[Mask, ...] = ()
    guards: tuple[Guard, ...] = ()
    approvals: tuple[Approval, ...] = ()
    declared: tuple[str, ...] = ()

    def allows(self) -> list[Allow]:
        """The allows of every role."""
        return [rule for role in self.roles for rule in role.allow]

    def record_rules(self) -> list[Mask | Guard]:
        """The rules that look into records."""
        return [*self.masks, *self.guards]
