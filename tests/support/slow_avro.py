"""Avro, slowly: random schemas and values, an encoder that chooses how blocks are cut, and what hiding makes of them.

A value is a tree of plain Python, with ``Branch`` where a union stands, so that nobody has to guess which one is meant.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from kproxy._ext import mask

#: What stands in the place of whatever is hidden: a text that is a number too.
NEW = "77"
NIL = "00000000-0000-0000-0000-000000000000"
NAMES = ("a", "b", "secret", "user", "items", "note")
PIECES = ("", "x", "hello ", "Zażółć", "ann@example.com", " 4111 1111 1111 1111 ", "\\",
          '{"in":"ann@example.com"}', "@")
ENTITIES = ("email", "credit_card")
PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")


class Branch(NamedTuple):
    index: int
    value: Any


class Entries(list[tuple[str, Any]]):
    """A map whose keys may have become alike."""

    def items(self) -> list[tuple[str, Any]]:
        return self


# -- making ----------------------------------------------------------------------------------------------------------


class SchemaMaker:
    """Schemas as JSON has them. ``named`` are the types a name may stand for, by full name."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.named: dict[str, Any] = {}
        self.done: list[str] = []       # types that do not hold themselves without end

    def make(self, depth: int = 0) -> Any:
        chance = self.chance
        kind = chance.choice((*PRIMITIVES, *PRIMITIVES, "record", "record", "array", "map", "union", "enum", "fixed",
                              "decimal", "uuid", "timestamp", "name")) if depth else "record"
        if depth > 3 and kind in ("record", "array", "map", "union"):
            kind = "string"
        if kind == "name":
            return chance.choice(self.done) if self.done else "long"
        if kind in PRIMITIVES:
            return kind if chance.random() < 0.8 else {"type": kind}
        return getattr(self, f"_{kind}")(depth)

    def _name(self, written: dict[str, Any]) -> str:
        """Gives the type a name, and tells it in full."""
        written["name"] = f"N{len(self.named)}"
        full = written["name"]
        if self.chance.random() < 0.3:
            written["namespace"] = "some.space"
            full = f"some.space.{full}"
        elif self.chance.random() < 0.3:
            written["name"] = full = f"other.{full}"
        else:
            written["namespace"], full = "own", f"own.{full}"
        self.named[full] = written
        return str(full)

    def _record(self, depth: int) -> Any:
        written: dict[str, Any] = {"type": "record", "fields": []}
        full = self._name(written)
        for name in self.chance.sample(NAMES, self.chance.randint(0, len(NAMES))):
            written["fields"].append({"name": name, "type": self.make(depth + 1)})
        if self.chance.random() < 0.3:
            written["fields"].append({"name": "next", "type": ["null", full]})
        self.done.append(full)
        return written

    def _array(self, depth: int) -> Any:
        return {"type": "array", "items": self.make(depth + 1)}

    def _map(self, depth: int) -> Any:
        return {"type": "map", "values": self.make(depth + 1)}

    def _union(self, depth: int) -> Any:
        some = self.chance.sample(PRIMITIVES, self.chance.randint(1, 3))
        if self.chance.random() < 0.4:
            some.append(self._record(depth + 1))
        return some

    def _enum(self, _depth: int) -> Any:
        return self._leaf({"type": "enum", "symbols": ["RED", "GREEN", "BLUE"][self.chance.randint(0, 2):]})

    def _fixed(self, _depth: int) -> Any:
        return self._leaf({"type": "fixed", "size": self.chance.choice((0, 2, 16))})

    def _leaf(self, written: dict[str, Any]) -> Any:
        self.done.append(self._name(written))
        return written

    def _decimal(self, _depth: int) -> Any:
        return {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 2}

    def _uuid(self, _depth: int) -> Any:
        return {"type": "string", "logicalType": "uuid"}

    def _timestamp(self, _depth: int) -> Any:
        return {"type": "long", "logicalType": "local-timestamp-micros"}


def kind_of(schema: Any, named: dict[str, Any]) -> tuple[str, Any]:
    """(kind, the schema with its names resolved)."""
    if isinstance(schema, list):
        return "union", schema
    if isinstance(schema, str):
        return (schema, schema) if schema in PRIMITIVES else kind_of(named[schema], named)
    known = (*PRIMITIVES, "record", "enum", "fixed", "array", "map")
    return (schema["type"], schema) if schema["type"] in known else kind_of(schema["type"], named)


def without_logical(schema: Any) -> Any:
    """fastavro would turn decimals and timestamps into objects of its own."""
    if isinstance(schema, dict):
        return {key: without_logical(one) for key, one in schema.items() if key != "logicalType"}
    return [without_logical(one) for one in schema] if isinstance(schema, list) else schema


def random_text(chance: random.Random) -> str:
    return "".join(chance.choice(PIECES) for _ in range(chance.randint(0, 4)))


def random_value(schema: Any, named: dict[str, Any], chance: random.Random, depth: int = 0) -> Any:
    kind, schema = kind_of(schema, named)
    inner = lambda one: random_value(one, named, chance, depth + 1)  # noqa: E731
    few = 0 if depth > 8 else chance.choice((0, 1, 1, 2, 5))
    match kind:
        case "record":
            return {field["name"]: inner(field["type"]) for field in schema["fields"]}
        case "array":
            return [inner(schema["items"]) for _ in range(few)]
        case "map":
            return {chance.choice((*NAMES, random_text(chance))): inner(schema["values"]) for _ in range(few)}
        case "union":
            index = chance.randrange(len(schema)) if depth < 8 else 0
            return Branch(index, inner(schema[index]))
    return random_leaf(kind, schema, chance)


def random_leaf(kind: str, schema: Any, chance: random.Random) -> Any:
    logical = isinstance(schema, dict) and schema.get("logicalType")
    made: dict[str, Callable[[], Any]] = {
        "null": lambda: None,
        "enum": lambda: chance.choice(schema["symbols"]),
        "fixed": lambda: chance.randbytes(schema["size"]),
        "bytes": lambda: chance.randbytes(chance.randint(1, 20)) if logical else random_text(chance).encode(),
        "string": lambda: "123e4567-e89b-12d3-a456-426614174000" if logical else random_text(chance),
        "int": lambda: chance.choice((0, -1, 2**31 - 1, -(2**31), chance.randrange(1000))),
        "long": lambda: chance.choice((0, -1, 2**63 - 1, -(2**63), 4111111111111111, chance.randrange(10**12))),
        "float": lambda: chance.choice((0.0, -1.5, 1e10, 0.25)),
        "double": lambda: chance.choice((0.0, -1.5, 1e10, 0.25)),
        "boolean": lambda: chance.random() < 0.5,
    }
    return made[kind]()


# -- encoding --------------------------------------------------------------------------------------------------------


def varint(number: int) -> bytes:
    number = (number << 1) ^ (number >> 63)
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


def encode(schema: Any, value: Any, named: dict[str, Any], sized: Callable[[], bool], cuts: Callable[[], int]) -> bytes:
    """``sized()`` says whether a block tells its size in bytes, ``cuts()`` how many items the next block has."""
    kind, schema = kind_of(schema, named)
    inner = lambda one, what: encode(one, what, named, sized, cuts)  # noqa: E731
    match kind:
        case "record":
            return b"".join(inner(field["type"], value[field["name"]]) for field in schema["fields"])
        case "array":
            return blocks([inner(schema["items"], one) for one in value], sized, cuts)
        case "map":
            return blocks([text(name.encode()) + inner(schema["values"], one) for name, one in value.items()],
                          sized, cuts)
        case "union":
            return varint(value.index) + inner(schema[value.index], value.value)
    return encode_leaf(kind, schema, value)


def encode_leaf(kind: str, schema: Any, value: Any) -> bytes:
    match kind:
        case "enum":
            return varint(schema["symbols"].index(value))
        case "bytes" | "string":
            return text(value.encode() if isinstance(value, str) else value)
        case "int" | "long":
            return varint(value)
        case "float" | "double":
            return struct.pack("<f" if kind == "float" else "<d", value)
        case "boolean":
            return b"\1" if value else b"\0"
    return b"" if value is None else bytes(value)


def text(of: bytes) -> bytes:
    return varint(len(of)) + of


def blocks(items: list[bytes], sized: Callable[[], bool], cuts: Callable[[], int]) -> bytes:
    out = b""
    while items:
        now = cuts()
        block, items = items[:now], items[now:]
        data = b"".join(block)
        out += varint(-len(block)) + varint(len(data)) + data if sized() else varint(len(block)) + data
    return out + b"\0"


# -- hiding ----------------------------------------------------------------------------------------------------------


def hidden(schema: Any, value: Any, named: dict[str, Any], paths: set[tuple[str, ...]], detects: bool,
           path: tuple[str, ...] = (), whole: bool = False) -> Any:
    """What is left of a value where ``paths`` are replaced by NEW, as are all entities if ``detects``."""
    kind, schema = kind_of(schema, named)
    whole = whole or path in paths
    inner = lambda one, what, *step: hidden(one, what, named, paths, detects, path + step, whole)  # noqa: E731
    match kind:
        case "record":
            return {field["name"]: inner(field["type"], value[field["name"]], field["name"])
                    for field in schema["fields"]}
        case "union":
            return Branch(value.index, inner(schema[value.index], value.value))
        case "array":
            return [] if whole else [inner(schema["items"], one, "[*]") for one in value]
        case "map":
            return Entries() if whole else Entries(
                (clean(name.encode(), detects).decode(), inner(schema["values"], one, name))
                for name, one in value.items())
        case "null":
            return None
    return zero(kind, schema) if whole else leaf(kind, schema, value, detects)


def zero(kind: str, schema: Any) -> Any:
    logical = schema.get("logicalType") if isinstance(schema, dict) else None
    if kind == "string":
        return NIL if logical == "uuid" else NEW
    if kind == "bytes":
        return b"\0" if logical == "decimal" else NEW.encode()
    if kind == "fixed":
        return NEW.encode() if schema["size"] == len(NEW) else bytes(schema["size"])
    if kind == "enum":
        return schema["symbols"][0]
    return False if kind == "boolean" else int(NEW) if kind in ("int", "long") else float(NEW)


def leaf(kind: str, schema: Any, value: Any, detects: bool) -> Any:
    if kind == "string":
        return clean(value.encode(), detects).decode()
    if kind == "bytes" and not (isinstance(schema, dict) and "logicalType" in schema):
        return clean(value, detects)
    if kind in ("int", "long") and detects and mask.find_entities(str(value).encode(), ENTITIES):
        return int(NEW)
    return value


def clean(value: bytes, detects: bool) -> bytes:
    found = sorted(mask.find_entities(value, ENTITIES), key=lambda one: one[1]) if detects else []
    for _, at, length in reversed(found):
        value = value[:at] + NEW.encode() + value[at + length:]
    return value
