"""Random messages straight from the table of facts, for every served (api key, version, direction)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

from kproxy._ext import schema

INTEGERS = {"int8": 8, "int16": 16, "int32": 32, "int64": 64}
FLOATS = (0.0, -0.0, 1.5, -1e300, float("inf"))
WORDS = ("", "a", "orders", "__consumer_offsets", "Zażółć", "日本", "x" * 130, "\U0001f980")


def random_values(chance: random.Random, api: int, version: int, response: bool, *, tags: bool = True,
                  most: int = 3) -> dict[str, Any]:
    """Field values of a message: nulls, defaults and extremes among them. ``tags``: unknown tagged fields too."""
    return _struct(chance, schema.fields_of(api, response), version, schema.flexible(api, version) and tags, most)


def random_body(chance: random.Random, api: int, version: int, response: bool, *, tags: bool = True,
                most: int = 3) -> bytes:
    return schema.build(api, version, response, random_values(chance, api, version, response, tags=tags, most=most))


def without_default_tags(values: dict[str, Any], fields: Sequence[schema.Field], version: int) -> dict[str, Any]:
    """The same values with known tagged fields left out where they say the default, as Java writes them."""
    kept = dict(values)
    for field in fields:
        if field.name not in kept:
            continue
        if field.fields and isinstance(kept[field.name], dict):
            kept[field.name] = without_default_tags(kept[field.name], field.fields, version)
        elif field.fields and kept[field.name]:
            kept[field.name] = [without_default_tags(item, field.fields, version) for item in kept[field.name]]
        if field.is_tagged(version) and _is_default(kept[field.name], field, version):
            del kept[field.name]
    return kept


def count_positions(api: int, version: int, response: bool, body: bytes) -> Iterator[tuple[int, int]]:
    """(offset, length) of every length or count that the walk marks."""
    for mark in schema.walk(api, version, response, body):
        if mark["kind"] in (2, 3, 4):
            yield mark["whole_at"], mark["whole_length"] - max(mark["length"], 0)
        elif mark["kind"] == 5:
            yield mark["whole_at"], mark["whole_length"]


def _is_default(value: Any, field: schema.Field, version: int) -> bool:
    if field.type == "struct" and isinstance(value, dict):
        known = {one.name: one for one in field.fields}
        return all(name in known and _is_default(one, known[name], version) for name, one in value.items())
    return bool(value == field.default)


def _struct(chance: random.Random, fields: Sequence[schema.Field], version: int, tags: bool,
            most: int) -> dict[str, Any]:
    values: dict[str, Any] = {}
    known = set()
    for field in fields:
        known.add(field.tag)
        if not field.at(version):
            continue
        if field.is_tagged(version):
            if chance.random() < 0.5:
                values[field.name] = _value(chance, field, field.type, version, tags, most)
        elif chance.random() < 0.9:
            values[field.name] = _value(chance, field, field.type, version, tags, most)
    if tags and chance.random() < 0.3:
        numbers = chance.sample([one for one in (*range(6), 127, 128, 70000, 0x7FFFFFFE) if one not in known], 2)
        values["_tags"] = [(number, chance.randbytes(chance.choice((0, 1, 5, 200)))) for number in sorted(numbers)]
    return values


def _value(chance: random.Random, field: schema.Field, kind: str, version: int, tags: bool, most: int) -> Any:
    if kind == field.type and field.is_nullable(version) and chance.random() < 0.2:
        return None
    if kind.startswith("[]"):
        count = chance.choice((0, 1, 2, most))
        return [_value(chance, field, kind[2:], version, tags, most) for _ in range(count)]
    if kind == "struct":
        return _struct(chance, field.fields, version, tags, most)
    if kind == "string":
        return chance.choice(WORDS)
    if kind in ("bytes", "records"):
        return chance.randbytes(chance.choice((0, 1, 70, 300)))
    if kind == "uuid":
        return chance.choice((bytes(16), chance.randbytes(16)))
    if kind == "float64":
        return chance.choice(FLOATS)
    if kind == "uint16":
        return chance.choice((0, 1, 9092, 0x7FFF, 0x8000, 0xFFFF))
    if kind == "bool":
        return chance.random() < 0.5
    bits = INTEGERS[kind]
    return chance.choice((0, 1, -1, 7, 2 ** (bits - 1) - 1, -(2 ** (bits - 1)), chance.getrandbits(bits - 1)))
