"""Random messages of every served version: what is built is walked, parsed and built again; what is harmed is bad."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kproxy._ext import request, schema
from kproxy.errors import WireError
from tests.support.messages import count_positions, random_body, random_values

EVERY = schema.served_messages()
messages = st.sampled_from(EVERY)
seeds = st.integers(0, 2**32)


def is_bad(api: int, version: int, response: bool, body: bytes) -> bool:
    """Both readers must agree, but for what stands inside known tags, which only the cold one opens."""
    verdicts = []
    for reader in (schema.walk, schema.parse):
        try:
            reader(api, version, response, body)
            verdicts.append(False)
        except WireError:
            verdicts.append(True)
    if not any(mark["kind"] == 8 and mark["field"] for mark in (schema.walk(api, version, response, body)
                                                                if not verdicts[0] else ())):
        assert verdicts[0] == verdicts[1] or (verdicts == [False, True] and has_hidden_tags(api, version, response))
    return verdicts[0]


def has_hidden_tags(api: int, version: int, response: bool) -> bool:
    """Whether a struct the walk has no interest in may hold known tags."""

    def look(fields: Any) -> bool:
        return any(one.is_tagged(version) or look(one.fields) for one in fields)

    return look(schema.fields_of(api, response))


@pytest.mark.parametrize(("api", "response", "version"), EVERY)
def test_build_parse_build_and_walk(api: int, response: bool, version: int) -> None:
    chance = random.Random(f"{api} {response} {version}")
    for _ in range(12):
        values = random_values(chance, api, version, response)
        body = schema.build(api, version, response, values)
        parsed = schema.parse(api, version, response, body)
        assert schema.build(api, version, response, parsed) == body
        for name, value in values.items():
            assert same(parsed[name], value), name
        assert [mark for mark in expected_marks(api, version, response, parsed)] == \
            [(mark["name"], mark["kind"], mark["depth"], mark["value"]) for mark in schema.walk(api, version, response,
                                                                                                 body)]


def same(read: Any, written: Any) -> bool:
    """Whether ``read`` says what was written, with whatever else took its default."""
    if isinstance(written, dict):
        return all(same(read[name], value) for name, value in written.items())
    if isinstance(written, list) and written and isinstance(written[0], dict):
        return len(read) == len(written) and all(same(*pair) for pair in zip(read, written, strict=True))
    return bool(read == written)


def count(items: list[Any] | None) -> int:
    return -1 if items is None else len(items)


TEXTS = {"string": 2, "bytes": 3, "records": 4}
Found = list[tuple[str, int, int, int]]


def expected_marks(api: int, version: int, response: bool, parsed: dict[str, Any]) -> Found:
    """The marks as the cold codec would lay them: an oracle that shares no line with the walk."""
    found: Found = []
    add_fields(found, version, schema.fields_of(api, response), parsed, 0)
    return found


def add_field(found: Found, version: int, field: schema.Field, value: Any, depth: int) -> None:
    kind = field.type
    if kind.startswith("[]"):
        found.append((field.name, 5, depth, count(value)))
        if kind == "[]struct":
            add_items(found, version, field, value or [], depth)
        elif kind[2:] in TEXTS:
            found.extend((field.name, TEXTS[kind[2:]], depth, 0) for _ in value or ())
    elif kind == "struct":
        one = None if value is None else [value]
        found.append((field.name, 7, depth, count(one)))
        add_items(found, version, field, one or [], depth)
    elif kind in TEXTS:
        found.append((field.name, TEXTS[kind], depth, 0))
    else:
        found.append((field.name, 1, depth, int(value) if kind != "uuid" else 0))


def add_items(found: Found, version: int, field: schema.Field, values: list[dict[str, Any]], depth: int) -> None:
    for one in values:
        found.append((field.name, 6, depth, 0))
        add_fields(found, version, field.fields, one, depth + 1)


def add_fields(found: Found, version: int, fields: Any, values: dict[str, Any], depth: int) -> None:
    for field in fields:
        if field.at(version) and not field.is_tagged(version) and field.marked:
            add_field(found, version, field, values[field.name], depth)
    tags = [(tag, "") for tag, _ in values.get("_tags", ())]
    tags += [(field.tag, field.name) for field in fields if field.is_tagged(version) and field.name in values]
    if tags:
        found.append(("", 9, depth, len(tags)))
        found.extend((name, 8, depth, tag) for tag, name in sorted(tags))


@given(messages, seeds)
@settings(max_examples=120, deadline=None)
def test_truncation_at_every_byte_is_bad(message: tuple[int, bool, int], seed: int) -> None:
    api, response, version = message
    body = random_body(random.Random(seed), api, version, response, most=2)[:1500]
    try:
        schema.walk(api, version, response, body)
    except WireError:
        return      # cut already by the limit above: every shorter piece is bad as well, which the fuzz harness covers
    for size in range(len(body)):
        assert is_bad(api, version, response, body[:size])
    assert is_bad(api, version, response, body + b"\0")


@given(messages, seeds)
@settings(max_examples=120, deadline=None)
def test_any_hostile_length_or_count_is_bad(message: tuple[int, bool, int], seed: int) -> None:
    api, response, version = message
    body = random_body(random.Random(seed), api, version, response)
    left = len(body)
    for at, length in count_positions(api, version, response, body):
        if schema.flexible(api, version):
            hostile = [b"\xff\xff\xff\xff\x0f", b"\x80\x80\x80\x80\x08", b"\xff" * 6, uvarint(left + 2)]
        else:
            bits = length * 8
            hostile = [number.to_bytes(length, "big", signed=True)
                       for number in (-2, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1, min(left + 1, 2 ** (bits - 1) - 1))]
        for prefix in hostile:
            assert is_bad(api, version, response, body[:at] + prefix + body[at + length:])


def uvarint(value: int) -> bytes:
    return request.count_prefix(value - 1, True)


@given(messages, seeds)
@settings(max_examples=200, deadline=None)
def test_spans_stay_inside_and_nest(message: tuple[int, bool, int], seed: int) -> None:
    api, response, version = message
    body = random_body(random.Random(seed), api, version, response)
    check_spans(schema.walk(api, version, response, body), body)


def check_spans(marks: list[dict[str, Any]], body: bytes) -> None:
    end = 0
    for at, mark in enumerate(marks):
        whole_end = mark["whole_at"] + mark["whole_length"]
        assert 0 <= mark["whole_at"] <= whole_end <= len(body)
        assert mark["at"] + max(mark["length"], 0) <= len(body)
        assert at < mark["until"] <= len(marks)
        if mark["kind"] in (6, 9):
            inside = marks[at + 1:mark["until"]]
            assert all(mark["whole_at"] <= one["whole_at"] and one["whole_at"] + one["whole_length"] <= whole_end
                       for one in inside)
        else:
            assert mark["whole_at"] >= end
            end = whole_end


@given(messages, seeds)
@settings(max_examples=200, deadline=None)
def test_cutting_and_putting_back_items_gives_the_intended_edit(message: tuple[int, bool, int], seed: int) -> None:
    """Each top-level array loses its first item; parsing what is left shows exactly that and nothing else."""
    api, response, version = message
    body = random_body(random.Random(seed), api, version, response)
    intended = schema.parse(api, version, response, body)
    marks = schema.walk(api, version, response, body)
    edits = []
    for at, mark in enumerate(marks):
        if mark["kind"] == 5 and mark["depth"] == 0 and mark["value"] > 0 and at + 1 < mark["until"]:
            first = marks[at + 1]
            edits.append((mark["whole_at"], mark["whole_length"],
                          request.count_prefix(mark["value"] - 1, schema.flexible(api, version))))
            edits.append((first["whole_at"], first["whole_length"], b""))
            del intended[mark["name"]][0]
    assert schema.parse(api, version, response, request.splice(body, edits)[4:]) == intended


@given(st.binary(max_size=200), st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.binary(max_size=20)),
                                         max_size=6))
def test_splice_is_what_slicing_says(frame: bytes, steps: list[tuple[int, int, bytes]]) -> None:
    edits, expected, at = [], b"", 0
    for gap, length, new in steps:
        start = min(at + gap, len(frame))
        length = min(length, len(frame) - start)
        edits.append((start, length, new))
        expected += frame[at:start] + new
        at = start + length
    expected += frame[at:]
    whole = len(expected).to_bytes(4, "big") + expected
    assert request.splice(frame, edits) == whole
    assert b"".join(request.splice(frame, edits, segments=True)) == whole
