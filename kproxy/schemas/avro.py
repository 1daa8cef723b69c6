"""Avro schemas (specification 1.12, "Schema Declaration"), with the schemas they refer to, as tables.

Logical types are read as what they are written as: a date is an int, a decimal is bytes. Of those only two matter to
whoever changes a value: an empty decimal and a UUID that is none would not be read again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from kproxy.model.value_schema import MOST_DEPTH, Member, Node, ValueSchema
from kproxy.schemas.faults import BadSchema, Table, as_tags

PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
TAGS = "confluent:tags"
#: One item of a fixed; Avro says nothing, and a record has no room for more.
LARGEST_FIXED = 1 << 30


def read_avro(text: str, references: Iterable[str] = ()) -> ValueSchema:
    """``references``: the texts of the schemas that this one names, each after those it names itself.

    Raises BadSchema."""
    reader = _Reader()
    try:
        for reference in references:
            reader.read(_decoded(reference), "", 0)
        top = reader.read(_decoded(text), "", 0)
    except RecursionError:
        raise BadSchema("the schema is nested too deeply") from None
    return ValueSchema("avro", reader.table.whole(), (top,))


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        # The name of a primitive type may stand there without quotes.
        if text.strip() in PRIMITIVES:
            return text.strip()
        raise BadSchema("the schema is not JSON") from None


class _Reader:
    def __init__(self) -> None:
        self.table = Table()
        self._named: dict[str, int] = {}

    def read(self, written: Any, space: str, depth: int) -> int:
        """The place of the type that is ``written`` within the namespace ``space``."""
        if depth > MOST_DEPTH:
            raise BadSchema(f"the schema is nested deeper than {MOST_DEPTH} types")
        if isinstance(written, str):
            return self._by_name(written, space)
        if isinstance(written, list):
            return self._union(written, space, depth)
        if not isinstance(written, dict):
            raise BadSchema("a type is a name, a list or an object")
        kind = written.get("type")
        if kind in ("record", "error"):
            return self._record(written, space, depth)
        if kind in ("enum", "fixed"):
            return self._named_leaf(kind, written, space)
        if kind == "array":
            return self.table.add(Node("array", item=self.read(_need(written, "items"), space, depth + 1)))
        if kind == "map":
            return self.table.add(Node("map", item=self.read(_need(written, "values"), space, depth + 1)))
        if kind in ("bytes", "string"):
            return self.table.add(Node(kind, logical=_logical(kind, written)))
        return self.read(kind, space, depth + 1)

    def _by_name(self, name: str, space: str) -> int:
        if name in PRIMITIVES:
            return self.table.add(Node(name))
        for full in ((name,) if "." in name else (f"{space}.{name}" if space else name, name)):
            if full in self._named:
                return self._named[full]
        raise BadSchema(f"the schema names the type {name[:200]!r}, which nothing declares")

    def _union(self, written: list[Any], space: str, depth: int) -> int:
        branches = tuple(self.read(branch, space, depth + 1) for branch in written)
        nodes = [self.table.node(branch) for branch in branches]
        if any(node is not None and node.kind == "union" for node in nodes):
            raise BadSchema("a union stands directly in a union")
        return self.table.add(Node("union", branches=branches))

    def _record(self, written: dict[str, Any], space: str, depth: int) -> int:
        place, space = self._declare(written, space)
        fields = _need(written, "fields")
        if not isinstance(fields, list):
            raise BadSchema("the fields of a record are a list")
        members = []
        for field in fields:
            if not isinstance(field, dict) or not isinstance(field.get("name"), str):
                raise BadSchema("a field of a record is an object with a name")
            node = self.read(_need(field, "type"), space, depth + 1)
            kind = field["type"]
            tags = as_tags(field.get(TAGS)) + (as_tags(kind.get(TAGS)) if isinstance(kind, dict) else ())
            members.append(Member(field["name"], node, tags=tags))
        return self.table.put(place, Node("record", members=tuple(members)))

    def _named_leaf(self, kind: str, written: dict[str, Any], space: str) -> int:
        place, _ = self._declare(written, space)
        if kind == "fixed":
            size = _need(written, "size")
            if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= LARGEST_FIXED:
                raise BadSchema("the size of a fixed is a whole number")
            return self.table.put(place, Node("fixed", size=size))
        symbols = _need(written, "symbols")
        if not isinstance(symbols, list) or not symbols or not all(isinstance(symbol, str) for symbol in symbols):
            raise BadSchema("the symbols of an enum are a list of texts")
        return self.table.put(place, Node("enum", symbols=tuple(symbols)))

    def _declare(self, written: dict[str, Any], space: str) -> tuple[int, str]:
        """The place of the named type, and the namespace within it."""
        name, said = _need(written, "name"), written.get("namespace", space)
        if not isinstance(name, str) or not isinstance(said, str):
            raise BadSchema("names and namespaces are texts")
        inner, _, simple = name.rpartition(".")
        inner = inner if "." in name else said
        full = f"{inner}.{simple}" if inner else simple
        if full in self._named or full in PRIMITIVES:
            raise BadSchema(f"the type {full[:200]!r} is declared twice")
        place = self._named[full] = self.table.take()
        return place, inner


def _logical(kind: str, written: dict[str, Any]) -> str:
    logical = written.get("logicalType")
    return str(logical) if (kind, logical) in (("bytes", "decimal"), ("string", "uuid")) else ""


def _need(written: dict[str, Any], key: str) -> Any:
    if key not in written:
        raise BadSchema(f"a type or field lacks {key!r}")
    return written[key]
