"""A cluster's ACLs as a policy file that decides the same.

Kafka's authoriser (StandardAuthorizer) and kproxy's policy agree in what is implied and in that a denial beats every
allow, so that each ACL becomes one line. What has no words in the policy is told. An allow that cannot be said is left
out, and a denial that cannot be said exactly is said of more than it was: either way nobody may do more than before.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable, Iterator

import msgspec

from kproxy.errors import KproxyError
from kproxy.model.policy import ALL, IMPLIED_BY, LEGAL_OPERATIONS

#: Kafka's resource types by the word that a rule has for them, and the key under which it names them.
KINDS = {"TOPIC": "topic", "GROUP": "group", "CLUSTER": "cluster", "TRANSACTIONAL_ID": "transactional_id"}
KEYS = {"topic": "topics", "group": "groups", "transactional_id": "transactional_ids", "cluster": "cluster"}
CLUSTER_NAME = "kafka-cluster"
EVERYBODY = "User:*"
#: Who has not logged in, in Kafka and in kproxy; no issuer's principal can have that name.
NOT_LOGGED_IN = {"User:ANONYMOUS": "anonymous"}
#: Operations that kproxy has no resource for: they are about SCRAM users and delegation tokens.
NOT_SERVED = frozenset(("create_tokens", "describe_tokens"))

_PATTERN = re.compile(r"ResourcePattern\(resourceType=(\w+), name=(.*), patternType=(\w+)\)")
_ENTRY = re.compile(r"\(principal=(.*), host=([^,]*), operation=(\w+), permissionType=(\w+)\)")


class Acl(msgspec.Struct, frozen=True, order=True):
    """One binding in Kafka's own words, as DescribeAcls answers: ``TOPIC``, ``PREFIXED``, ``User:alice``, ``ALLOW``."""

    principal: str
    host: str
    permission: str
    resource: str
    pattern_type: str
    name: str
    operation: str

    def __str__(self) -> str:
        return (f"{self.permission} {self.operation} on {self.resource} {self.name} ({self.pattern_type}) for"
                f" {self.principal} from {self.host}")


class Imported(msgspec.Struct, frozen=True):
    """A policy file, and each ACL that it does not say exactly, with the reason."""

    text: str
    unsaid: tuple[str, ...]


class _Said(msgspec.Struct, frozen=True, order=True):
    """One ACL in the words of a rule. ``who`` and ``host`` are conditions; empty: everybody, from everywhere."""

    principal: str
    who: str
    host: str
    kind: str
    pattern: str
    operation: str


def read_listing(text: str) -> list[Acl]:
    """What ``kafka-acls.sh --list`` prints. Raises KproxyError for a line that is not understood: it may deny."""
    found: list[Acl] = []
    resource: re.Match[str] | None = None
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        named, entry = _PATTERN.search(line), _ENTRY.fullmatch(line.strip())
        if entry is not None and resource is not None:
            principal, host, operation, permission = entry.groups()
            found.append(Acl(principal, host, permission, resource[1], resource[3], resource[2], operation))
        elif named is not None and line.startswith("Current ACLs for resource"):
            resource = named
        else:
            raise KproxyError(f"line {number} is not one that kafka-acls.sh --list prints: {_quoted(line[:200])}")
    return found


def import_acls(acls: Iterable[Acl], template: str) -> Imported:
    """``template`` makes a principal's name in kproxy of a user's in Kafka: ``corp:{name}``. Raises KproxyError."""
    if template.count("{name}") != 1:
        raise KproxyError(f"a principal's name is made of a user's with one {{name}} in it, not {template!r}")
    allows: set[_Said] = set()
    forbids: set[_Said] = set()
    unsaid = []
    for acl in sorted(set(acls)):
        reasons: list[str] = []
        said = _say(acl, template, reasons)
        denies = acl.permission != "ALLOW"
        if reasons:
            instead = "left out" if said is None or not denies else f"denied instead: {_in_words(said)}"
            unsaid.append(f"{_plain(str(acl))}: {'; '.join(reasons)} ({instead})")
        if said is not None and (denies or not reasons):
            (forbids if denies else allows).add(said)
    return Imported("\n".join(_lines(sorted(allows), sorted(forbids), unsaid)) + "\n", tuple(unsaid))


def _say(acl: Acl, template: str, reasons: list[str]) -> _Said | None:
    """The ACL in a rule's words, widened where there are ``reasons``; None where no request can ask for it."""
    if acl.permission not in ("ALLOW", "DENY"):
        reasons.append("neither an allow nor a denial that kproxy knows")
    kind = KINDS.get(acl.resource)
    if kind is None:
        reasons.append(f"kproxy has no rules for resources of the type {acl.resource}")
        return None
    pattern = _pattern(acl, kind, reasons)
    operation = _operation(acl, kind, reasons)
    who = _who(acl.principal, template, reasons)
    host = _host(acl.host, reasons)
    return _Said(acl.principal, who, host, kind, pattern, operation) if pattern and operation else None


def _pattern(acl: Acl, kind: str, reasons: list[str]) -> str:
    """The glob; empty where it is about no name that there is."""
    literal = acl.name.replace("\\", "\\\\").replace("*", "\\*")
    if acl.pattern_type not in ("LITERAL", "PREFIXED"):
        reasons.append(f"kproxy knows no patterns of the type {acl.pattern_type}")
        return "*"
    is_prefix = acl.pattern_type == "PREFIXED"
    if kind == "cluster":
        is_meant = CLUSTER_NAME.startswith(acl.name) if is_prefix else acl.name in ("*", CLUSTER_NAME)
        return "*" if is_meant else ""
    if is_prefix:
        return literal + "*"
    return "*" if acl.name == "*" else literal


def _operation(acl: Acl, kind: str, reasons: list[str]) -> str:
    """A word that is legal on the resource; empty where no request asks for it. Kafka keeps an ACL with an operation
    that its resource does not have, and what is implied by it is allowed all the same."""
    word = acl.operation.lower()
    if word == ALL or word in LEGAL_OPERATIONS[kind]:
        return word
    if word not in NOT_SERVED.union(*LEGAL_OPERATIONS.values()):
        reasons.append(f"kproxy knows no operation {acl.operation}")
        return ALL
    if acl.permission == "ALLOW":
        return next((implied for implied, by in IMPLIED_BY.items()
                     if word in by and implied in LEGAL_OPERATIONS[kind]), "")
    return ""


def _who(principal: str, template: str, reasons: list[str]) -> str:
    if principal == EVERYBODY:
        return ""
    kind, colon, name = principal.partition(":")
    if kind != "User" or not colon:
        reasons.append("only principals of the type User are known to kproxy")
        return ""
    return f"principal.name == {_quoted(NOT_LOGGED_IN.get(principal) or template.replace('{name}', name))}"


def _host(host: str, reasons: list[str]) -> str:
    if host == "*":
        return ""
    try:
        return f"client.address == {_quoted(str(ipaddress.ip_address(host)))}"
    except ValueError:
        reasons.append("the host is no address")
        return ""


def _lines(allows: list[_Said], forbids: list[_Said], unsaid: list[str]) -> Iterator[str]:
    yield "# Made from a cluster's ACLs by `kproxy policy import-acls`."
    yield "# The brokers' super.users and allow.everyone.if.no.acl.found are no ACLs: what they allow is not here."
    if any(said.host for said in (*allows, *forbids)):
        yield "# client.address is the address that kproxy sees: a load balancer before it shows its own."
    for reason in unsaid:
        yield f"# NOT EQUIVALENT: {reason}"
    if allows:
        yield "roles:"
    for principal in dict.fromkeys(said.principal for said in allows):
        mine = [said for said in allows if said.principal == principal]
        yield f"  {_quoted(principal)}:"
        yield f"    members: {_single(mine[0].who or 'true')}"
        yield "    allow:"
        for operations, kind, patterns, (_, host) in _merged(mine):
            yield f"      - {{{_body(operations, kind, patterns, host)}}}"
    if forbids:
        yield "forbid:"
    for number, (operations, kind, patterns, (who, host)) in enumerate(_merged(forbids), 1):
        when = " && ".join(part for part in (who, host) if part)
        yield f"  - {{name: denied-{number}, {_body(operations, kind, patterns, when)}}}"


def _merged(rules: list[_Said]) -> Iterator[tuple[tuple[str, ...], str, list[str], tuple[str, str]]]:
    """Rules that differ in their names alone are one: (operations, kind, patterns, (who, host))."""
    operations: dict[tuple[str, str, str, str], set[str]] = {}
    for said in rules:
        operations.setdefault((said.who, said.host, said.kind, said.pattern), set()).add(said.operation)
    patterns: dict[tuple[str, str, str, tuple[str, ...]], list[str]] = {}
    for (who, host, kind, pattern), words in operations.items():
        wanted = (ALL,) if ALL in words else tuple(sorted(words))
        patterns.setdefault((who, host, kind, wanted), []).append(pattern)
    for (who, host, kind, wanted), globs in patterns.items():
        yield wanted, kind, globs, (who, host)


def _body(operations: tuple[str, ...], kind: str, patterns: list[str], when: str) -> str:
    names = "true" if kind == "cluster" else f"[{', '.join(_quoted(pattern) for pattern in patterns)}]"
    condition = f", when: {_single(when)}" if when else ""
    return f"operations: [{', '.join(operations)}], {KEYS[kind]}: {names}{condition}"


def _in_words(said: _Said) -> str:
    when = " && ".join(part for part in (said.who, said.host) if part)
    return f"{said.operation} on {said.kind} {_plain(said.pattern)} {f'where {when}' if when else 'for everybody'}"


def _quoted(text: str) -> str:
    """In double quotes, for YAML and CEL alike: whatever cannot be seen is escaped."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted)


def _single(text: str) -> str:
    """A condition in YAML's single quotes, which leave its own quotes and escapes as they are."""
    return "'" + text.replace("'", "''") + "'"


def _plain(text: str) -> str:
    """For comments and terminals: nothing that ends a line or steers a terminal."""
    return _quoted(text)[1:-1]
