"""CEL behind one door: conditions are compiled and checked here, and every way of failing becomes ERROR.

cel-expr-python returns errors as values that Python finds truthy, and raises for some inputs. Callers here see three
outcomes and nothing else: True, False and None, where None is a condition in error. Only the boolean true is true.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any

from cel_expr_python import cel

from kproxy.model.access import Facts
from kproxy.policy.cel_ast import Mentions, read_mentions

#: Longer than any condition a reviewer would read.
MAX_TEXT = 4096
_INT64 = 1 << 63

#: Names that are bound whenever a session is known, and what each kind of condition may use besides.
SESSION_NAMES = frozenset((
    "principal.name", "principal.issuer", "principal.groups", "principal.attributes", "attested", "declared",
    "client.id", "client.software", "client.address", "now", "listener",
))
TOPIC_NAMES = frozenset(("topic.name", "topic.labels"))
ACCESS_NAMES = SESSION_NAMES | TOPIC_NAMES | {"operation"}
GRANT_NAMES = ACCESS_NAMES | {"granted.models"}


class BadCondition(ValueError):
    """A condition that cannot be used: ``messages`` for its author, each one line about one thing."""

    def __init__(self, *messages: str) -> None:
        self.messages = messages
        super().__init__("; ".join(messages))


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A compiled condition and what it depends on."""

    text: str
    expression: cel.Expression
    mentions: Mentions

    @property
    def reads_now(self) -> bool:
        return "now" in self.mentions.variables()

    @property
    def reads_topic(self) -> bool:
        return not TOPIC_NAMES.isdisjoint(self.mentions.variables())

    @property
    def reads_grants(self) -> bool:
        return "granted.models" in self.mentions.variables()

    @property
    def is_constant(self) -> bool:
        return not self.mentions.variables()

    def evaluate(self, names: Mapping[str, Any]) -> bool | None:
        """True, False, or None for an error of any kind."""
        try:
            value = self.expression.eval(data=names)
            if value.type() == cel.Type.BOOL:
                return value.value() is True
        except Exception:
            # The binding raises RuntimeError for input it cannot convert; whatever it raises is an error.
            return None
        return None


def missing_names(program: Program, names: Mapping[str, Any]) -> set[str]:
    """What the condition reads of a map that has no such key: why it ended in an error, unless a type was wrong."""
    return {f"{variable}.{key}" for variable, key in program.mentions.keys if key not in names.get(variable, {key: ""})}


@lru_cache(maxsize=32768)
def compile_text(text: str, allowed: frozenset[str]) -> Program:
    """A program that mentions only ``allowed`` names. Raises BadCondition."""
    if len(text) > MAX_TEXT:
        raise BadCondition(f"the condition is longer than {MAX_TEXT} characters")
    try:
        expression = _environment().compile(text)
    except RuntimeError as error:
        raise BadCondition(*_faults(str(error), text, allowed)) from None
    kind = expression.return_type()
    if kind not in (cel.Type.BOOL, cel.Type.DYN):
        raise BadCondition(f"the condition must be true or false, this is {kind.name().lower()}")
    mentions = read_mentions(expression.serialize())
    for name in sorted(mentions.variables() - allowed):
        raise BadCondition(f"{name!r} is not known here; known: {', '.join(sorted(allowed))}")
    for function, arguments in mentions.calls:
        _check_call(function, arguments)
    return Program(text, expression, mentions)


def session_names(facts: Facts, now: float) -> dict[str, Any]:
    """The names that say who asks and when."""
    principal, client = facts.principal, facts.client
    return {
        "principal.name": principal.name,
        "principal.issuer": principal.issuer,
        "principal.groups": list(principal.groups),
        "principal.attributes": {key: value for key, value in principal.attributes.items() if _is_plain(value)},
        "attested": dict(facts.attested),
        "declared": dict(facts.declared),
        "client.id": client.id,
        "client.software": client.software,
        "client.address": client.address,
        "listener": facts.listener,
        "now": datetime.fromtimestamp(now, UTC),
    }


def compile_membership(text: str) -> Program:
    """A program over the names of a session; for roles of the node as well as of the policy. Raises BadCondition."""
    return compile_text(text, SESSION_NAMES)


def is_member(program: Program, facts: Facts, now: float) -> bool:
    """Whether the membership condition holds; an error is not membership."""
    return program.evaluate(session_names(facts, now)) is True


def _cidr(network: str, address: str) -> bool:
    """Raises ValueError, which CEL turns into an error value, for anything that is no network or no address."""
    where = ipaddress.ip_address(address)
    mapped = where.ipv4_mapped if isinstance(where, ipaddress.IPv6Address) else None
    return (mapped or where) in _network(network)


@lru_cache(maxsize=4096)
def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(text)


@cache
def _environment() -> cel.Env:
    """One environment for all conditions; which names a condition may use is checked on its tree."""
    kinds = cel.Type
    texts, labels = kinds.List(kinds.STRING), kinds.Map(kinds.STRING, kinds.STRING)
    special = {
        "principal.groups": texts, "granted.models": texts, "now": kinds.TIMESTAMP, "attested": labels,
        "declared": labels, "topic.labels": labels, "principal.attributes": kinds.Map(kinds.STRING, kinds.DYN),
    }
    pair = [kinds.STRING, kinds.STRING]
    cidr = cel.Overload("cidr_string_string", return_type=kinds.BOOL, parameters=pair, impl=_cidr)
    return cel.NewEnv(
        variables={name: special.get(name, kinds.STRING) for name in GRANT_NAMES},
        functions=[cel.FunctionDecl("cidr", [cidr])],
    )


def _check_call(function: str, arguments: tuple[str | None, ...]) -> None:
    """Constants that can only ever be errors are found now and not when the rule is needed."""
    if function == "cidr" and arguments and arguments[0] is not None:
        try:
            _network(arguments[0])
        except ValueError as error:
            raise BadCondition(f"cidr: {error}") from None
    if function == "timestamp" and len(arguments) == 1 and arguments[0] is not None:
        literal = _environment().compile(f"timestamp({_quoted(arguments[0])})").eval(data={})
        if literal.type() != cel.Type.TIMESTAMP:
            raise BadCondition(f"timestamp: {arguments[0]!r} is no RFC 3339 time")
    if function == "matches" and arguments and arguments[-1] is not None:
        literal = _environment().compile(f"''.matches({_quoted(arguments[-1])})").eval(data={})
        if literal.type() != cel.Type.BOOL:
            raise BadCondition(f"matches: {_clean(str(literal.value()))}")


def _quoted(text: str) -> str:
    return '"' + "".join(f"\\U{ord(character):08x}" for character in text) + '"'


def _is_plain(value: Any, depth: int = 0) -> bool:
    """Whether CEL can hold a claim's value. One that it cannot is left out, so that it is missing instead of spoiling
    its neighbours: the library refuses a whole map for one number beyond 64 bits."""
    if value is None or isinstance(value, bool | float | str):
        return True
    if isinstance(value, int):
        return -_INT64 <= value < _INT64
    if depth > 8:
        return False
    if isinstance(value, list):
        return all(_is_plain(element, depth + 1) for element in value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(element, depth + 1) for key, element in value.items())
    return False


def _faults(message: str, text: str, allowed: frozenset[str]) -> list[str]:
    """The library's messages one by one; what follows of another is left out, and of an unknown name the known ones
    are told."""
    parts = [_clean(part) for part in re.split(r"\n(?=ERROR: <input>:)", message)]
    return [part + _known_names(part, text, allowed) for part in parts if "'*error*'" not in part] or parts


def _known_names(fault: str, text: str, allowed: frozenset[str]) -> str:
    found = re.search(r"undeclared reference to '([\w.]+)'", fault)
    if found is None or re.search(rf"\b{re.escape(found[1])}\s*\(", text):
        return ""  # A function that does not exist is not mended by a name.
    close = difflib.get_close_matches(found[1], sorted(allowed), n=1, cutoff=0.85)
    return f"{f'; did you mean {close[0]}?' if close else ''}; known: {', '.join(sorted(allowed))}"


def _clean(message: str) -> str:
    """The library's message in one line, without its drawing of the source and its status code."""
    lines = [line for line in message.splitlines() if not line.startswith(" |")]
    text = " ".join(lines).replace("ERROR: <input>:1:", "column ").replace("(in container '')", "")
    text = re.sub(r"ERROR: <input>:(\d+):", r"line \1, column ", text)
    return re.sub(r"\s+", " ", re.sub(r"^[A-Z_]+: |\s*\[[A-Z_]+\]\s*$", "", text)).strip()
