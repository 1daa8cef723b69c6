"""A policy as values: what ``kproxy.policy.load`` makes of the YAML files, and what travels to workers in the snapshot.

Conditions are carried as CEL text with the place they were written at; ``kproxy.policy.compile`` turns them into
programs. Nothing here depends on the configuration, so that a worker can decide from a snapshot alone.

Values cannot refer to themselves, so they are kept from the cyclic collector (``gc=False``): with ten thousand rules it
would otherwise stop a worker for a tenth of a second, again and again.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import msgspec

from kproxy.model.record_plan import Action, Direction, ValueFormat
from kproxy.model.written import NO_KEY, Duration, Pattern, Size, Written

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

#: The codecs of record batches, in the order of Kafka's numbers.
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
#: The requests about topics that a safeguard may rule out, and the operation that each needs.
ADMIN_REQUESTS = {"create_topics": "create", "create_partitions": "alter", "alter_configs": "alter_configs",
                  "delete_topics": "delete", "delete_records": "delete"}

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


Operations = Annotated[tuple[str, ...], Written(kind=f"list of `{'`, `'.join(sorted(OPERATIONS))}`; or `[all]`")]
When = Annotated[Condition | None, Written(kind="condition", default="always")]


class TopicEntry(msgspec.Struct, frozen=True, gc=False):
    """Labels of the topics that ``match`` (a glob) covers."""

    match: Pattern
    """the topics that get the labels"""
    labels: Annotated[dict[str, str], Written(default="none")] = {}
    """conditions read `topic.labels.NAME`"""
    format: ValueFormat = "auto"
    """what values are written in. `auto`: what the cluster's schema registry says of the schema whose id stands first
    in the value, else JSON"""
    at: Annotated[Place, NO_KEY] = Place()


class Resources(msgspec.Struct, frozen=True, gc=False):
    """What a rule is about: globs of names by kind, and whether the cluster itself is meant."""

    topics: Annotated[tuple[Pattern, ...], Written(default="none")] = ()
    """names of topics; a rule names topics, groups, transactional ids or the cluster"""
    groups: Annotated[tuple[Pattern, ...], Written(default="none")] = ()
    """ids of consumer groups"""
    transactional_ids: Annotated[tuple[Pattern, ...], Written(default="none")] = ()
    """transactional ids"""
    cluster: bool = False
    """the cluster itself is meant"""

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

    name: Annotated[str, Written(default="`ROLE.allow[N]`")]
    """what the audit calls the rule"""
    operations: Operations
    """Kafka's ACL operations in lower case"""
    resources: Annotated[Resources, Written(key="*")]
    when: When = None
    """the rule counts while this is true"""
    at: Annotated[Place, NO_KEY] = Place()


class Role(msgspec.Struct, frozen=True, gc=False):
    """Members are those in one of ``groups`` and those for whom ``condition`` is true."""

    name: Annotated[str, NO_KEY]
    groups: Annotated[tuple[str, ...], Written(
        key="members", kind="`{groups: [...]}`, or a condition", default="–")] = ()
    """who has the role: those in one of the groups, or those for whom the condition is true"""
    condition: Annotated[Condition | None, NO_KEY] = None
    allow: Annotated[tuple[Allow, ...], Written(kind="list of allows", default="none")] = ()
    """what its members may do"""
    at: Annotated[Place, NO_KEY] = Place()


class Forbid(msgspec.Struct, frozen=True, gc=False):
    """Nobody may do ``operations`` on ``resources`` while ``when`` is true; beats every allow."""

    name: str
    operations: Operations
    resources: Annotated[Resources, Written(key="*")]
    when: When = None
    message: Annotated[str, Written(default="none")] = ""
    """what the client is told"""
    at: Annotated[Place, NO_KEY] = Place()


class Mask(msgspec.Struct, frozen=True, gc=False):
    """What is hidden in records of ``topics`` from everybody outside ``except_roles``."""

    name: str
    """what audit and metrics call the rule"""
    topics: tuple[Pattern, ...]
    """the topics whose records are looked into"""
    directions: Annotated[tuple[Direction, ...], Written(default="produce, consume")]
    """what is written, what is read, or both"""
    action: Annotated[Action, Written(
        kind="one of the [actions](#actions)")]
    """what happens to what is found (a guard's is always `block`)"""
    fields: Annotated[tuple[tuple[str, ...], ...], Written(kind="list of paths", default="none")] = ()
    """[paths](#paths) into values: `user.email`, `items[*].phone`, `**.ssn`"""
    fields_except: Annotated[tuple[tuple[str, ...], ...], Written(kind="list of paths", default="none")] = ()
    """an allow-list: all that stands elsewhere in a value is hidden"""
    key_fields: Annotated[tuple[tuple[str, ...], ...], Written(kind="list of paths", default="none")] = ()
    """paths into JSON keys of records; `$` is the whole key, whatever it is written in. Only `hmac`, `token` or
    `block`"""
    header_names: Annotated[tuple[Pattern, ...], Written(default="none")] = ()
    """the headers whose values are hidden"""
    tags: Annotated[tuple[str, ...], Written(kind="list of texts", default="none")] = ()
    """the fields that the value's registered schema gives one of these tags. A value without a schema is unknown"""
    detect: Annotated[tuple[str, ...], Written(kind="list of [entities](detectors.md)", default="none")] = ()
    """what is looked for wherever it stands"""
    parts: tuple[Part, ...] = ("value", "headers")
    """where to detect. On keys a mask may only `hmac`, `token` or `block`"""
    except_roles: Annotated[tuple[str, ...], Written(kind="list of roles", default="none")] = ()
    """who sees the value all the same; of tokens, the token"""
    clear_for: Annotated[tuple[str, ...], Written(kind="list of roles", default="none")] = ()
    """who reads what a `token` stands for"""
    when: When = None
    """the rule counts while this is true"""
    on_unknown: Literal["refuse", "pass"] = "refuse"
    """what happens to a value that is not what its format says where fields are looked for, or where it has a schema"""
    at: Annotated[Place, NO_KEY] = Place()


class Guard(msgspec.Struct, frozen=True, gc=False):
    """Record content that is refused, with the words the client is shown."""

    name: str
    topics: tuple[Pattern, ...]
    directions: Annotated[tuple[Direction, ...], Written(default="produce")]
    detect: Annotated[tuple[str, ...], Written(kind="list of [entities](detectors.md)")]
    message: Annotated[str, Written(default="none")] = ""
    """what the client is told"""
    parts: tuple[Part, ...] = ("value", "headers")
    when: When = None
    at: Annotated[Place, NO_KEY] = Place()


class Detector(msgspec.Struct, frozen=True, gc=False):
    """What masks and guards may look for by ``name``, beside the entities of the catalogue."""

    name: Annotated[str, NO_KEY]
    pattern: Annotated[str, Written(kind="RE2 pattern", default="none")] = ""
    """what is looked for; 2000 characters at most. A find is never part of a longer word"""
    deny_list: Annotated[tuple[str, ...], Written(kind="list of texts", default="none")] = ()
    """instead of a pattern: words that are looked for in any case, as whole words"""
    context: Annotated[tuple[str, ...], Written(kind="list of texts", default="none")] = ()
    """words of which one must stand beside a find, as the catalogue's do"""
    checksum: Literal["none", "luhn"] = "none"
    """what the digits of a find must pass (ISO/IEC 7812-1)"""
    at: Annotated[Place, NO_KEY] = Place()


class Approval(msgspec.Struct, frozen=True, gc=False):
    """An access that is allowed and yet waits for people. Times in seconds."""

    name: str
    """what audit and requests call the rule"""
    operations: Annotated[tuple[str, ...], Written(
        kind=f"list of `{'`, `'.join(sorted(LEGAL_OPERATIONS['topic']))}`; or `[all]`")]
    """those that are asked about"""
    topics: tuple[Pattern, ...]
    """on which topics; approvals are about topics only"""
    approver_role: Annotated[str, Written(key="approvers", kind="`{role: NAME, quorum: N}`")]
    """a role of this policy, and how many different people of it (1 to 100, 1 by default)"""
    quorum: Annotated[int, NO_KEY] = 1
    when: When = None
    """people are asked while this is true"""
    unless: Annotated[Condition | None, Written(kind="condition", default="none")] = None
    """while it is true nobody is asked. It may read `granted.models`: the models of this principal's grants under this
    rule"""
    reason: Literal["required", "optional", "none"] = "none"
    """whether the requester must say why"""
    request_ttl: Duration = 3600.0
    """how long a request waits"""
    max_duration: Duration = 28800.0
    """how long a grant may last"""
    while_pending: Literal["refuse"] = "refuse"
    """what a client gets that has to wait; `hold` is not supported yet"""
    message: Annotated[str, Written(default="none")] = ""
    """what the client is told"""
    at: Annotated[Place, NO_KEY] = Place()


class ProduceLimits(msgspec.Struct, frozen=True, gc=False):
    """What a produce must be like. Only ``acks`` can be overridden: what a batch is, its client alone can change."""

    acks: Annotated[Literal[0, 1, -1], Written(kind="`1` or `all`", default="any")] = 0
    """the acknowledgements a producer must ask for: `1` is the leader's at least, `all` is those of all replicas in
    sync"""
    compression: Annotated[tuple[str, ...], Written(
        kind=f"list of `{'`, `'.join(CODECS)}`", default="any")] = ()
    """the codecs that batches may have; without `none` they must be compressed"""
    idempotence: bool = False
    """every batch must bear a producer id"""
    max_batch_bytes: Annotated[Size, Written(default="none")] = 0
    """of one batch as it comes over the wire, compressed"""
    max_record_bytes: Annotated[Size, Written(default="none")] = 0
    """of one record with its key and headers, before compression"""


class Bounds(msgspec.Struct, frozen=True, gc=False):
    """Whole numbers from ``least`` to ``most``, both included; None where there is no end."""

    least: int | None = None
    most: int | None = None


class ConfigLimit(msgspec.Struct, frozen=True, gc=False):
    """What one config of a topic may be. Either numbers or a list of values are limited; neither: any value will do."""

    name: Annotated[str, NO_KEY]
    least: Annotated[int | float | None, Written(key="min", kind="number", default="none")] = None
    """the least that may be set. Without a limit (`-1` of `retention.ms`) is more than any number"""
    most: Annotated[int | float | None, Written(key="max", kind="number", default="none")] = None
    """the most that may be set"""
    allowed: Annotated[tuple[str, ...], Written(kind="list of texts", default="any")] = ()
    """the values that may be set; of a list of values each"""
    required: bool = False
    """a topic that is created must be given it, and it may not be reset to the broker's default"""
    forbidden: Annotated[bool, NO_KEY] = False


class AdminLimits(msgspec.Struct, frozen=True, gc=False):
    """What requests of administrators must be like."""

    requests: Annotated[tuple[str, ...], Written(
        kind=f"list of `{'`, `'.join(ADMIN_REQUESTS)}`", default="none")] = ()
    """requests that are not made about these topics; `alter_configs` is both ways to alter them"""
    names: Annotated[tuple[Pattern, ...], Written(default="any")] = ()
    """what a topic that is created may be called"""
    partitions: Annotated[Bounds | None, Written(kind="`{min: N, max: N}`", default="any")] = None
    """how many partitions a topic may be created with, or get later"""
    replication_factor: Annotated[Bounds | None, Written(kind="`{min: N, max: N}`", default="any")] = None
    """how many replicas a topic may be created with"""
    configs: Annotated[tuple[ConfigLimit, ...], Written(
        kind="`{NAME: `[limits](#limits-of-a-config)`}`, or `forbidden` in their place", default="any")] = ()
    """what configs may be set to, when a topic is created and later"""
    other_configs: Literal["pass", "refuse"] = "pass"
    """whether configs that `configs` does not name may be set"""


class Safeguard(msgspec.Struct, frozen=True, gc=False):
    """What requests of everybody, or of members of ``roles``, must be like, outside ``except_roles``."""

    name: str
    """what audit and metrics call the rule"""
    topics: tuple[Pattern, ...]
    """the topics it is about"""
    produce: Annotated[ProduceLimits | None, Written(kind="[limits](#limits-of-a-produce)", default="none")] = None
    """what a produce must be like"""
    admin: Annotated[AdminLimits | None, Written(
        kind="[limits](#limits-of-an-administrator)", default="none")] = None
    """what creating, altering and deleting the topics must be like"""
    action: Literal["refuse", "override", "record"] = "refuse"
    """what happens to a request that is not: it is refused, changed until it is, or let pass and told to the audit"""
    roles: Annotated[tuple[str, ...], Written(kind="list of roles", default="everybody")] = ()
    """whom it is for"""
    except_roles: Annotated[tuple[str, ...], Written(kind="list of roles", default="none")] = ()
    """whom it is not for"""
    when: When = None
    """the rule counts while this is true"""
    message: Annotated[str, Written(default="none")] = ""
    """what the client is told, before what is wrong"""
    at: Annotated[Place, NO_KEY] = Place()


class Quota(msgspec.Struct, frozen=True, gc=False):
    """What a principal, or the members of a role, may use on this node. Rates are bytes and requests a second."""

    role: Annotated[str, Written(
        key="for", kind="`{role: NAME}`, `{role: NAME, each: true}` or `{principal: NAME}`", default="–")] = ""
    """whose quota it is: the members of a role share one, or have one each; or one principal's, written
    `ISSUER:SUBJECT`"""
    principal: Annotated[str, NO_KEY] = ""
    each: Annotated[bool, NO_KEY] = False
    produce: Annotated[float, Written(kind="size a second, as `10MB/s`", default="none")] = 0.0
    """what may be written"""
    consume: Annotated[float, Written(kind="size a second, as `50MB/s`", default="none")] = 0.0
    """what may be read"""
    requests: Annotated[float, Written(kind="number a second, as `1000/s`", default="none")] = 0.0
    """requests of every kind"""
    connections: Annotated[int, Written(kind="whole number", default="none")] = 0
    """how many connections may be open at once"""
    at: Annotated[Place, NO_KEY] = Place()

    @property
    def name(self) -> str:
        """What metrics and the log call it."""
        return f"principal {self.principal}" if self.principal else f"role {self.role}"


class QuotaInForce(NamedTuple):
    """A quota that applies to a session. Sessions with the same ``key`` share it, whichever worker they are on."""

    key: str
    rule: Quota


class SafeguardInForce(msgspec.Struct, frozen=True, gc=False):
    """A safeguard that applies to an access. ``observed``: the listener only observes, so that it records.
    ``misnamed``: a topic of this name may not be created."""

    rule: Safeguard
    observed: bool = False
    misnamed: bool = False


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
    safeguards: tuple[Safeguard, ...] = ()
    quotas: tuple[Quota, ...] = ()
    detectors: tuple[Detector, ...] = ()
    declared: tuple[str, ...] = ()

    def allows(self) -> list[Allow]:
        """The allows of every role."""
        return [rule for role in self.roles for rule in role.allow]

    def record_rules(self) -> list[Mask | Guard]:
        """The rules that look into records."""
        return [*self.masks, *self.guards]
