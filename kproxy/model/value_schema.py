"""A registered schema as a table of types: what the control process makes of a registry's text, and workers walk by.

Types name each other by their place in ``ValueSchema.nodes``, so that a type may hold itself.
"""

from __future__ import annotations

from typing import Literal

import msgspec

SchemaFormat = Literal["avro", "protobuf", "json"]
FORMATS: tuple[SchemaFormat, ...] = ("avro", "protobuf", "json")
#: In the order of the numbers of ``_ext/cpp/value_schema.hpp``. The last eight are Protobuf's own ways of numbers.
KINDS = ("null", "boolean", "int", "long", "float", "double", "bytes", "string", "fixed", "enum", "array", "map",
         "union", "record", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64", "sfixed32", "sfixed64")
#: Bounds of one schema. Honest ones have some hundreds of types, and a name is as long as its author likes to type.
MOST_NODES = 20_000
MOST_MEMBERS = 50_000
MOST_DEPTH = 64


class Member(msgspec.Struct, frozen=True, array_like=True):
    """A field of a record or message. ``number``, ``repeated`` and ``required`` are Protobuf's."""

    name: str
    node: int
    number: int = 0
    repeated: bool = False
    required: bool = False
    tags: tuple[str, ...] = ()


class Node(msgspec.Struct, frozen=True, array_like=True):
    """A type. ``logical`` is ``decimal`` or ``uuid`` where not every text is a value of the type. ``numbers`` are those
    of an enum's symbols; ``branches`` are a union's, or the messages that a message declares; a map of Protobuf's has
    the members ``key`` and ``value``."""

    kind: str
    logical: str = ""
    members: tuple[Member, ...] = ()
    symbols: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()
    branches: tuple[int, ...] = ()
    item: int = -1
    size: int = 0


class Tagged(msgspec.Struct, frozen=True, array_like=True):
    """A path of a JSON Schema and the tags it gives what stands there."""

    path: tuple[str, ...]
    tags: tuple[str, ...]


class ValueSchema(msgspec.Struct, frozen=True, array_like=True):
    """``tops``: where values begin; of Avro one, of Protobuf the messages of the file in their order."""

    format: SchemaFormat
    nodes: tuple[Node, ...] = ()
    tops: tuple[int, ...] = ()
    tagged: tuple[Tagged, ...] = ()
