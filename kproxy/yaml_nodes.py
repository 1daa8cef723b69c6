"""YAML 1.2 core schema, read as nodes that know their line, so that every problem of a file is found in one run.

A YAML library alone would read YAML 1.1 (``on`` is a boolean, ``1:30`` a number) and let the last duplicate key win.
Here libyaml only composes (``kproxy.yaml_documents``); scalars keep their text until a converter asks for a type.
Anchors, aliases, merge keys and tags are refused: a policy is to be read by people, and what a line means must stand on
it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from kproxy._ext.yaml_tree import COLLECTION, MAPPING, PLAIN, QUOTED, SCALAR, SEQUENCE, Node
from kproxy.errors import Problem

#: Deeper than any real file.
MAX_DEPTH = 100

T = TypeVar("T")
Converter = Callable[["Value"], T]

_NULL = re.compile(r"~|null|Null|NULL|")
_BOOLEAN = re.compile(r"true|True|TRUE|false|False|FALSE")
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
                    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_NOT_TEXT = re.compile("|".join(f"(?:{kind.pattern})" for kind in (_BOOLEAN, _INTEGER, _FLOAT, _NULL)))
_SCALARS = (PLAIN, QUOTED)
_TAGS = (PLAIN, QUOTED, COLLECTION)


class Wrong(Exception):
    """One value that cannot be used; the caller that walks the file turns it into a Problem."""

    def __init__(self, value: Value, message: str) -> None:
        self.value = value
        super().__init__(message)


class Report:
    """Problems of one file, in the order they are met."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []

    def add(self, message: str, line: int = 0, path: str = "") -> None:
        self.problems.append(Problem(message, self.file, line, path))


class Value:
    """A node with its path. Converters take one and return a Python value or raise Wrong."""

    __slots__ = ("_above", "_step", "node", "report")

    def __init__(self, node: Node, report: Report, above: Value | None = None, step: str | int = "") -> None:
        self.node = node
        self.report = report
        self._above = above
        self._step = step

    @property
    def path(self) -> str:
        """As ``roles.fraud.allow[0]``. Worked out when asked for: most values are never told of."""
        if self._above is None:
            return ""
        above, step = self._above.path, self._step
        if isinstance(step, int):
            return f"{above}[{step}]"
        return f"{above}.{step}" if above else step

    @property
    def line(self) -> int:
        return self.node.line + 1

    @property
    def is_null(self) -> bool:
        return self.node.tag == PLAIN and _NULL.fullmatch(self.node.value) is not None

    def complain(self, message: str) -> None:
        self.report.add(message, self.line, self.path)

    def kind(self) -> str:
        """What a reader would call this node, for error messages."""
        node = self.node
        if node.kind == MAPPING:
            return "a mapping"
        if node.kind == SEQUENCE:
            return "a list"
        if node.tag == QUOTED:
            return "text"
        kinds = ((_NULL, "nothing"), (_BOOLEAN, "a boolean"), (_INTEGER, "a number"), (_FLOAT, "a number"))
        for pattern, name in kinds:
            if pattern.fullmatch(node.value):
                return name
        return "text"

    def items(self) -> list[tuple[str, Value, int]]:
        """A mapping's (key, value, line of the key); duplicate keys and keys that are not text are problems."""
        if self.node.kind != MAPPING:
            raise Wrong(self, f"expected a mapping, found {self.kind()}")
        found: list[tuple[str, Value, int]] = []
        seen: set[str] = set()
        for key_node, value_node in self.node.value:
            if key_node.tag not in _SCALARS or key_node.value in seen:
                self._refuse_key(key_node, seen)
                continue
            name = key_node.value
            seen.add(name)
            found.append((name, Value(value_node, self.report, self, name), key_node.line + 1))
        return found

    def _refuse_key(self, node: Node, seen: set[str]) -> None:
        key = Value(node, self.report, self._above, self._step)
        if node.kind != SCALAR:
            key.complain(f"a key must be text, found {key.kind()}")
        elif node.value in seen:
            key.complain(f"duplicate key {node.value!r}")
        else:
            _refuse_tag(key)

    def elements(self) -> list[Value]:
        if self.node.kind != SEQUENCE:
            raise Wrong(self, f"expected a list, found {self.kind()}")
        return [Value(node, self.report, self, index) for index, node in enumerate(self.node.value)]

    def convert(self, converter: Converter[T], fallback: T) -> T:
        """The converted value; or ``fallback`` with the problem reported."""
        try:
            _refuse_tag(self)
            return converter(self)
        except Wrong as wrong:
            wrong.value.complain(str(wrong))
            return fallback


class Section:
    """A mapping whose keys are taken by name; what nobody took is an unknown key."""

    def __init__(self, value: Value) -> None:
        self.value = value
        self.entries: dict[str, tuple[Value, int]] = {}
        try:
            _refuse_tag(value)
            for name, entry, line in value.items():
                self.entries[name] = (entry, line)
        except Wrong as wrong:
            wrong.value.complain(str(wrong))
        self._known: list[str] = []

    def take(self, key: str, converter: Converter[T], default: T) -> T:
        """The value under ``key``, or ``default`` when it is absent or wrong (which is reported)."""
        self._known.append(key)
        entry = self.entries.pop(key, None)
        return default if entry is None else entry[0].convert(converter, default)

    def need(self, key: str, converter: Converter[T], blank: T) -> T:
        """Like take, but the absence of the key is a problem too."""
        if key not in self.entries:
            self._known.append(key)
            self.value.complain(f"{key!r} is missing")
            return blank
        return self.take(key, converter, blank)

    def optional(self, key: str, converter: Converter[T]) -> T | None:
        return self.take(key, converter, None)

    def section(self, key: str) -> Section | None:
        """The mapping under ``key``, to be taken apart and closed by the caller."""
        self._known.append(key)
        entry = self.entries.pop(key, None)
        return None if entry is None else Section(entry[0])

    def values(self, key: str) -> list[Value]:
        """The elements of the list under ``key``; none when it is absent or no list (which is reported)."""
        return self.take(key, lambda value: value.elements(), [])

    def named(self, key: str) -> list[tuple[str, Value, int]]:
        """The entries of the mapping under ``key``."""
        return self.take(key, lambda value: value.items(), [])

    def not_yet(self, key: str, what: str) -> None:
        """A key of the documented format that this version cannot honour: refused, never ignored."""
        self._known.append(key)
        entry = self.entries.pop(key, None)
        if entry is not None:
            entry[0].complain(f"{what} is not supported yet")

    def close(self) -> None:
        """Reports every key that was not taken."""
        for name, (value, line) in self.entries.items():
            self.value.report.add(f"unknown key {name!r}; known here: {', '.join(self._known)}", line, value.path)
        self.entries = {}


def text(value: Value) -> str:
    node = value.node
    if node.kind == SCALAR:
        if node.tag == QUOTED or _NOT_TEXT.fullmatch(node.value) is None:
            return str(node.value)
        if not value.is_null:
            raise Wrong(value, f"expected text, found {value.kind()}; put it in quotes: \"{node.value}\"")
    raise Wrong(value, f"expected text, found {value.kind()}")


def some_text(value: Value) -> str:
    """Text that says something."""
    found = text(value)
    if not found:
        raise Wrong(value, "must not be empty")
    return found


def boolean(value: Value) -> bool:
    if value.node.tag == PLAIN and _BOOLEAN.fullmatch(value.node.value):
        return value.node.value[0] in "tT"
    raise Wrong(value, f"expected true or false, found {value.kind()}{_shown(value)}")


def integer(minimum: int = 0, maximum: int = 2**63 - 1) -> Converter[int]:
    def convert(value: Value) -> int:
        if value.node.tag != PLAIN or _INTEGER.fullmatch(value.node.value) is None:
            raise Wrong(value, f"expected a whole number, found {value.kind()}{_shown(value)}")
        written = value.node.value
        number = int(written, 0) if written[:2] in ("0x", "0o") else int(written, 10)
        if not minimum <= number <= maximum:
            raise Wrong(value, f"{number} is less than {minimum}" if number < minimum and maximum == 2**63 - 1 else
                        f"{number} is not between {minimum} and {maximum}")
        return number

    return convert


def choice(*words: str) -> Converter[Any]:
    def convert(value: Value) -> str:
        word = text(value)
        if word not in words:
            raise Wrong(value, f"{word!r} is not one of {', '.join(words)}")
        return word

    return convert


def tuple_of(converter: Converter[T], blank: bool = False) -> Converter[tuple[T, ...]]:
    """Every element converted; a wrong one is reported and left out. An empty list is wrong unless ``blank``."""

    def convert(value: Value) -> tuple[T, ...]:
        elements = value.elements()
        if not elements and not blank:
            raise Wrong(value, "the list is empty")
        found: list[T] = []
        for element in elements:
            try:
                _refuse_tag(element)
                found.append(converter(element))
            except Wrong as wrong:
                wrong.value.complain(str(wrong))
        return tuple(found)

    return convert


def dict_of(converter: Converter[T]) -> Converter[dict[str, T]]:
    def convert(value: Value) -> dict[str, T]:
        found: dict[str, T] = {}
        for name, entry, _ in value.items():
            try:
                _refuse_tag(entry)
                found[name] = converter(entry)
            except Wrong as wrong:
                wrong.value.complain(str(wrong))
        return found

    return convert


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?:[0-9]+(?:ms|s|m|h|d))+")
_DURATION_PART = re.compile(r"([0-9]+)(ms|s|m|h|d)")
SIZES = {"": 1, "B": 1, "kB": 1000, "KB": 1000, "MB": 1000**2, "GB": 1000**3,
          "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_SIZE = re.compile(r"([0-9]+)([A-Za-z]*)")


def duration(value: Value) -> float:
    """Seconds, from ``250ms``, ``10m`` or ``1h30m``."""
    written = value.node.value if value.node.kind == SCALAR else ""
    if _DURATION.fullmatch(written) is None:
        raise Wrong(value, f"expected a duration such as 250ms, 10m or 1h30m, found {value.kind()}{_shown(value)}")
    return sum(int(count) * _UNITS[unit] for count, unit in _DURATION_PART.findall(written))


def size(value: Value) -> int:
    """Bytes, from ``64KiB``, ``10MB`` or a bare number."""
    written = value.node.value if value.node.kind == SCALAR else ""
    match = _SIZE.fullmatch(written)
    if match is None or match[2] not in SIZES:
        raise Wrong(value, f"expected a size such as 64KiB or 10MB, found {value.kind()}{_shown(value)}")
    return int(match[1]) * SIZES[match[2]]


def _refuse_tag(value: Value) -> None:
    if value.node.tag not in _TAGS:
        raise Wrong(value, f"tags are not allowed: {value.node.tag}")


def _shown(value: Value) -> str:
    return f" {value.node.value!r}" if value.node.kind == SCALAR and value.node.value else ""
