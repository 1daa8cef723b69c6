"""What each action makes of values, against a slow reading of what it says, on documents of every shape."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kproxy._ext import mask
from kproxy.model.record_plan import Action, Bucket, FieldRule, RecordPlan
from tests.support.batches import Record, read_batches, write_batch
from tests.support.slow_actions import Tree, hide_in, read, seal, write

KEYS = {"k1": b"0123456789abcdef", "k2": bytes(range(64))}
NAMES = ("a", "b", "c", "d", "who")
PATHS = (*((name,) for name in NAMES), ("a", "b"), ("c", "[*]"), ("c", "[*]", "a"), ("d", "[*]", "[*]"), ("[*]",),
         ("b", "é\\\"\n"))
TOKENS = [seal(key, KEYS, said) for key in KEYS for said in ("0ann", "142", "2true", '4{"x":[1]}', "0")]

clean = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
digits = st.text("0123456789", min_size=1, max_size=30)
numbers = st.one_of(
    st.integers().map(str), st.integers(-10**15, 10**15).map(str), st.decimals(-10**12, 10**12, places=3).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(json.dumps), st.sampled_from(["-0", "0.0", "1e3", "-1E-7"]))
dates = st.one_of(
    st.datetimes().map(lambda at: at.isoformat()), st.datetimes().map(lambda at: f"{at:%Y-%m-%d %H:%M}Z"),
    st.dates().map(str), st.sampled_from(["2024-02-29", "2023-02-29", "0001-01-01", "9999-12-31T23:59:60.9+14:00",
                                          "2024-02-30T00:00Z", "2024-1-1", "2024-01-01T24:00", "2024-01-01 Ann"]))
texts = st.one_of(clean, dates, numbers, digits, st.sampled_from(TOKENS), st.emails(), st.sampled_from(
    ["ann@example.com", "a@b.co.uk", "@b.co", "a@.co", "e\u0301", "+48 601-234-567", "---", "\u0000", "x" * 3000,
     TOKENS[0][:-1], TOKENS[0] + "A", TOKENS[0].replace("k1", "k2"), "a@b@c.com", "é@ü.com"]))
leaves = st.one_of(
    texts.map(lambda text: ("text", text)), numbers.map(lambda token: ("number", token)),
    st.sampled_from([("word", "true"), ("word", "false"), ("word", "null")]))
members = st.sampled_from((*NAMES, "é\\\"\n"))
trees: st.SearchStrategy[Tree] = st.recursive(
    leaves, lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda found: ("array", found)),
        st.lists(st.tuples(members, inner), max_size=6).map(lambda found: ("object", found))), max_leaves=20)
keeps = st.integers(0, 4)
bounds = st.lists(st.decimals(-10**4, 10**4, places=2), min_size=2, max_size=5, unique=True).map(sorted)


def ranges(found: list[Decimal]) -> tuple[Bucket, ...]:
    written = ["", *map(str, found), ""]
    return tuple(Bucket(start, end, f"{start}-{end}" if at % 2 else str(at))
                 for at, (start, end) in enumerate(pairwise(written)) if start or end)


actions = st.one_of(
    st.sampled_from([Action("redact"), Action("replace", text='"x\n'), Action("replace_with_type"),
                     Action("drop_field"), Action("drop_field"), Action("hmac", key="k1"), Action("hmac", key="k2"),
                     Action("token", key="k1"), Action("token", key="k2", old_keys=("k1",)),
                     Action("clear", key="k2", old_keys=("k1",)), Action("clear", key="k1")]),
    st.builds(Action, st.just("mask"), keep_first=keeps, keep_last=keeps, character=st.sampled_from("*é#")),
    st.builds(Action, st.just("mask"), keep_first=keeps, keep_last=keeps, keep_format=st.just(True),
              character=st.sampled_from(["", "", "*"])),
    st.builds(Action, st.just("date_shift"), days=st.integers(1, 3660), key=st.just("k1"),
              per=st.sampled_from([(), ("who",), ("a", "b"), ("a",), ("b", "é\\\"\n")])),
    st.builds(Action, st.just("bucket"), size=st.sampled_from(["1", "10", "0.5", "2.5", "1000", "0.001"])),
    st.builds(Action, st.just("bucket"), ranges=bounds.map(ranges)))
rules = st.dictionaries(st.sampled_from(PATHS), actions, min_size=1, max_size=5)


def is_outermost(path: tuple[str, ...], found: dict[tuple[str, ...], Action]) -> bool:
    return not any(path[:at] in found for at in range(len(path)))


def check(tree: Tree, found: dict[tuple[str, ...], Action]) -> None:
    # Of rules within one another the outer one hides all that is below it: that is for the tests of paths.
    kept = {path: action for path, action in found.items() if is_outermost(path, found)}
    plan = mask.Plan(mask.compile_plan(RecordPlan("consume", fields=tuple(
        FieldRule(path, action, f"f:{'.'.join(path)}") for path, action in kept.items())), KEYS))
    text = write(tree)
    batch = write_batch([Record(value=text.encode())])
    got = plan.transform(batch)
    assert got.status in ("same", "replaced"), got
    [record] = read_batches(got.data or batch)[0].records
    after = (record.value or b"").decode()
    assert read(after) == hide_in(tree, kept, KEYS), (text, kept, after)


@settings(max_examples=400, deadline=None)
@given(trees, rules)
def test_documents_are_hidden_as_the_reference_hides_them(tree: Tree, found: dict[tuple[str, ...], Action]) -> None:
    check(tree, found)


@settings(max_examples=400, deadline=None)
@given(leaves, actions, leaves)
def test_every_kind_of_leaf_meets_every_action(leaf: Tree, action: Action, who: Tree) -> None:
    check(("object", [("who", who), ("a", leaf)]), {("a",): action})


@pytest.mark.slow
@settings(max_examples=100_000, deadline=None)
@given(trees, rules, leaves, actions, leaves)
def test_a_hundred_thousand_documents(tree: Tree, found: dict[tuple[str, ...], Action], leaf: Tree, action: Action,
                                      who: Tree) -> None:
    check(tree, found)
    check(("object", [("who", who), ("a", leaf)]), {("a",): action})


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(members, leaves), max_size=8), st.sets(members, min_size=1),
       st.sampled_from(["", " ", "\n  "]))
def test_what_is_left_of_an_object_keeps_its_bytes(found: list[tuple[str, Tree]], gone: set[str], space: str) -> None:
    def text(kept: list[tuple[str, Tree]]) -> list[str]:
        return [f"{space}{json.dumps(name)}{space}:{space}{write(value)}" for name, value in kept]

    plan = mask.Plan(mask.compile_plan(RecordPlan("consume", fields=tuple(
        FieldRule((name,), Action("drop_field"), name) for name in gone)), KEYS))
    batch = write_batch([Record(value=("{" + ",".join(text(found)) + space + "}").encode())])
    [record] = read_batches(plan.transform(batch).data or batch)[0].records
    after = (record.value or b"").decode()
    kept = [one for one in found if one[0] not in gone]
    assert read(after) == ("object", kept)
    assert all(one in after for one in (piece.strip() for piece in text(kept)))


EVERY_KIND = (
    Action("redact"), Action("mask", keep_format=True, character="", keep_last=2), Action("token", key="k1"),
    Action("date_shift", days=3, key="k1", per=("a",)), Action("bucket", size="10"), Action("drop_field"),
    Action("clear", key="k1"), Action("hmac", key="k1"), Action("replace_with_type"))
HOSTILE = (
    b'{"a":"' + b"x" * 3_000_000 + b'"}', b'{"a":"' + b"\\u0041" * 300_000 + b'"}', b'{"a":' + b"9" * 1_000_000 + b"}",
    b'{"a":"\xff\xfe"}', b'{"a":"\\ud800"}', b'{"a":"' + "e\u0301".encode() * 1000 + b'"}', b'{"a":""}',
    b'{"a":1e999999999}', b'{"a":"kproxy:t1:"}', b'{"a":"kproxy:t1::AAAA"}', b'{"a":"kproxy:t1:k1:_____w"}',
    b'{"a":"' + b"kproxy:t1:" * 50_000 + b'"}', b'{"a":"kproxy:t1:k1:gICAgICAgICA"}',
    b'{"a":' * 100 + b"1" + b"}" * 100,
    b'{"a"', b'[{"a":1},', b'{"a":,"a":}', b'{:"a"}', b'{"a":"a"x:1,"a":2}', b'{"a":{"b":1}',
    b"{" + b'"a":1,' * 50_000 + b'"b":2}')


def everything(value: Any) -> None:
    """Every action on one value, which may be anything that a client sends."""
    for action in EVERY_KIND:
        plan = mask.Plan(mask.compile_plan(
            RecordPlan("consume", fields=(FieldRule(("a",), action, "r"),), on_unknown="pass"), KEYS))
        got = plan.transform(write_batch([Record(value=value)]))
        assert got.status in ("same", "replaced")
        if got.status == "replaced":
            [record] = read_batches(got.data)[0].records
            read((record.value or b"").decode())


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_values_end_in_json_or_as_they_were(value: bytes) -> None:
    everything(value)
