"""Finds rules that can never fire and names that nothing gives a value to. Reports only what is certain.

Loading already refuses what is wrong in itself; what stands here is right in itself and yet pointless, or wrong for the
configuration the policy is to run under.
"""

from __future__ import annotations

from collections.abc import Iterator

from kproxy.errors import Problem
from kproxy.model.policy import ALL, Allow, Approval, Forbid, Guard, Mask, Policy, Safeguard
from kproxy.model.settings import Config
from kproxy.policy import globs
from kproxy.policy.agreement import conditions, in_order, problem
from kproxy.policy.expressions import (
    GRANT_NAMES,
    BadCondition,
    compile_membership,
    compile_text,
)
from kproxy.policy.safeguards import operations_of

#: What every issuer may attest and every client declare without further ado.
STANDARD_FACTS = frozenset(("launcher", "run", "model", "commit"))
_OPERATION = {"produce": "write", "consume": "read"}


def check(policy: Policy, config: Config | None = None, whole: bool = True,
          declared_lost: bool = False) -> list[Problem]:
    """Every problem of a loaded policy; those that need the configuration only where it is given. Of one that is not
    ``whole`` only what is certain without the rest: an allow that did not load may be what makes a mask fire;
    with ``declared_lost``, a list that did not load may declare the fact that seems unknown."""
    found = [*_constants(policy)]
    if whole:
        found += [*_shadowed(policy), *_unreachable_records(policy), *_unreachable_approvals(policy),
                  *_unreachable_safeguards(policy)]
    if config is not None:
        found += [*_keys(policy, config), *_registries(policy, config), *_facts(policy, config, declared_lost),
                  *(_config_roles(policy, config) if whole else ())]
    return in_order(found)


def _constants(policy: Policy) -> Iterator[Problem]:
    """Conditions that depend on nothing and come out so that their rule is dead."""
    for role in policy.roles:
        if role.condition is not None and _constant(role.condition.text) not in (True, "varies"):
            yield problem(f"nobody can be in role {role.name!r}: its condition is never true", role.condition.at)
        for rule in role.allow:
            if rule.when is not None and _constant(rule.when.text) not in (True, "varies"):
                yield problem("the rule can never fire: its condition is never true", rule.when.at)
    others: list[Forbid | Mask | Guard | Approval | Safeguard] = [
        *policy.forbid, *policy.record_rules(), *policy.approvals, *policy.safeguards]
    for other in others:
        if other.when is not None and _constant(other.when.text) is False:
            yield problem(f"{other.name!r} can never fire: its condition is always false", other.when.at)
    for approval in policy.approvals:
        if approval.unless is not None and _constant(approval.unless.text) is True:
            yield problem(f"{approval.name!r} can never fire: its unless is always true", approval.unless.at)


def _constant(text: str) -> bool | str | None:
    """True, False or None (an error) for a condition that mentions no name; "varies" for every other."""
    program = compile_text(text, GRANT_NAMES)
    return program.evaluate({}) if program.is_constant else "varies"


def _shadowed(policy: Policy) -> Iterator[Problem]:
    """Allows of an operation on names of which every one is always forbidden."""
    for kind in ("topic", "group", "transactional_id", "cluster"):
        forbids: globs.GlobIndex[Forbid] = globs.GlobIndex(
            (pattern, rule) for rule in policy.forbid if rule.when is None for pattern in rule.resources.patterns(kind))
        for role in policy.roles:
            for rule in role.allow:
                for pattern in rule.resources.patterns(kind):
                    covering = forbids.find_containing(pattern)
                    yield from _dead_operations(rule, pattern, covering) if covering else ()


def _dead_operations(rule: Allow, pattern: str, covering: list[Forbid]) -> Iterator[Problem]:
    for operation in rule.operations:
        by = sorted(forbid.name for forbid in covering if operation in forbid.operations or ALL in forbid.operations)
        if by:
            yield problem(f"{operation} on {pattern!r} can never be allowed: {by[0]!r} always forbids it", rule.at)


def _unreachable_records(policy: Policy) -> Iterator[Problem]:
    """Masks and guards whose records nobody can read or write, or only those whom they spare."""
    access = {direction: _Access(policy, operation) for direction, operation in _OPERATION.items()}
    for rule in policy.record_rules():
        spared = frozenset(rule.except_roles) if isinstance(rule, Mask) else frozenset()
        if not any(access[direction].is_possible(rule, spared) for direction in rule.directions):
            whom = "any role but those it excepts" if spared else "any role"
            doing = " or ".join(_OPERATION[direction] for direction in rule.directions)
            yield problem(f"{rule.name!r} can never fire: nothing allows {whom} to {doing} its topics", rule.at)


def _unreachable_approvals(policy: Policy) -> Iterator[Problem]:
    for rule in policy.approvals:
        if not any(_may(allow, operation, pattern) for role in policy.roles for allow in role.allow
                   for operation in rule.operations for pattern in rule.topics):
            yield problem(f"{rule.name!r} can never fire: nothing allows any role what it asks about", rule.at)


def _unreachable_safeguards(policy: Policy) -> Iterator[Problem]:
    for rule in policy.safeguards:
        if rule.roles and set(rule.roles) <= set(rule.except_roles):
            yield problem(f"{rule.name!r} can never fire: every role it is for is excepted", rule.at)
        elif not any(_may(allow, operation, pattern) or _may_create_all(allow, operation) for role in policy.roles
                     if role.name not in rule.except_roles for allow in role.allow
                     for operation in operations_of(rule) for pattern in rule.topics):
            doing = " or ".join(sorted(operations_of(rule)))
            yield problem(f"{rule.name!r} can never fire: nothing allows any role it is for to {doing} its topics",
                          rule.at)


def _may_create_all(allow: Allow, operation: str) -> bool:
    """The cluster's permission stands for one on each topic."""
    return operation == "create" and allow.resources.cluster and not {"create", ALL}.isdisjoint(allow.operations)


def _may(allow: Allow, operation: str, pattern: str) -> bool:
    if operation != ALL and ALL not in allow.operations and operation not in allow.operations:
        return False
    return any(globs.overlap(pattern, topic) for topic in allow.resources.topics)


class _Access:
    """Which roles are allowed one operation on which topics."""

    def __init__(self, policy: Policy, operation: str) -> None:
        self.topics: dict[str, set[str]] = {}
        for role in policy.roles:
            for rule in role.allow:
                if operation in rule.operations or ALL in rule.operations:
                    for pattern in rule.resources.topics:
                        self.topics.setdefault(pattern, set()).add(role.name)

    def is_possible(self, rule: Mask | Guard, spared: frozenset[str]) -> bool:
        """Whether a role outside ``spared`` may reach a topic of the rule. A session that holds such a role may hold a
        spared one too, so a yes is no promise; a no is."""
        return any(not roles <= spared and any(globs.overlap(pattern, wanted) for wanted in rule.topics)
                   for pattern, roles in self.topics.items())


def _keys(policy: Policy, config: Config) -> Iterator[Problem]:
    for mask in policy.masks:
        for key in (mask.action.key, *mask.action.old_keys):
            if key and key not in config.keys:
                yield problem(f"key {key!r} is not among the keys of {config.file}", mask.at)


def _registries(policy: Policy, config: Config) -> Iterator[Problem]:
    """Rules that need a registered schema, where no cluster has a registry to ask."""
    if any(cluster.schema_registry is not None for cluster in config.clusters.values()):
        return
    for mask in policy.masks:
        if mask.tags:
            yield problem(f"{mask.name!r} hides by tags, and no cluster has a schema_registry that tells them", mask.at)
    for entry in policy.topics:
        if entry.format in ("avro", "json_schema"):
            yield problem(f"the format {entry.format!r} needs a schema_registry, and no cluster has one", entry.at)


def _facts(policy: Policy, config: Config, declared_lost: bool) -> Iterator[Problem]:
    """Names under maps: the type checker of CEL cannot know them, the configuration does."""
    attested = STANDARD_FACTS.union(*(issuer.attest for issuer in config.issuers.values()))
    known = {
        "attested": attested,
        "declared": attested | set(policy.declared),
        "principal.attributes": frozenset().union(*(issuer.attributes for issuer in config.issuers.values())),
    }
    if declared_lost:
        del known["declared"]
    for _, condition in conditions(policy):
        for variable, key in sorted(compile_text(condition.text, GRANT_NAMES).mentions.keys):
            names = known.get(variable)
            if names is not None and key not in names:
                yield problem(f"{variable}.{key} never has a value; known: {', '.join(sorted(names)) or 'none'}",
                              condition.at)


def _config_roles(policy: Policy, config: Config) -> Iterator[Problem]:
    roles = {role.name for role in policy.roles}
    for cluster in config.clusters.values():
        for index, credential in enumerate(cluster.credentials):
            if credential.role and credential.role not in roles:
                yield Problem(f"role {credential.role!r} is not defined in the policy", config.file, 0,
                              f"clusters.{cluster.name}.credentials[{index}].for.role")
    for name, text in config.node_roles.items():
        try:
            compile_membership(text)
        except BadCondition as error:
            for message in error.messages:
                yield Problem(message, config.file, 0, f"admin.roles.{name}")
