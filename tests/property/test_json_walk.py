"""The walk over JSON tokens, held against Python's reader: what is JSON, which leaves it has, which are hidden."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from kproxy._ext import mask
from kproxy.model.record_plan import Action, FieldRule, RecordPlan
from tests.support.batches import Record, read_batches, write_batch
from tests.support.record_plans import build_plan

CHUNK = 2_000
DEEPEST = 128


class Pairs(list[tuple[str, Any]]):
    """An object with all its members, also those that have the same name."""


def refuse_constant(name: str) -> float:
    raise ValueError(name)


def read_json(text: bytes) -> Any:
    """Raises ValueError for what is not JSON."""
    return json.loads(text.decode(), object_pairs_hook=Pairs, parse_constant=refuse_constant, parse_int=str)


def leaves(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, Pairs):
        for name, inner in value:
            yield from leaves(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, path + "[*]")
    else:
        yield path or "$"


def expect(texts: Iterable[bytes]) -> tuple[int, Counter[str]]:
    """How many of the texts are not JSON, and the leaves of the others."""
    unknown, paths = 0, Counter[str]()
    for text in texts:
        try:
            paths.update(leaves(read_json(text)))
        except ValueError:
            unknown += 1
    return unknown, paths


def see(plan: mask.Plan, texts: list[bytes]) -> tuple[int, Counter[str]]:
    assert plan.transform(write_batch([Record(value=text) for text in texts])).status == "same"
    counts = plan.take_counts()
    return counts.get("unknown", 0), Counter(counts["fields_emitted"])


def compare(texts: list[bytes]) -> int:
    """Raises AssertionError that names the first text about which the two disagree. How many of all are JSON."""
    plan, good = build_plan(count_fields=True), 0
    for start in range(0, len(texts), CHUNK):
        chunk = texts[start : start + CHUNK]
        expected = expect(chunk)
        good += len(chunk) - expected[0]
        if see(plan, chunk) != expected:
            for text in chunk:
                assert see(build_plan(count_fields=True), [text]) == expect([text]), text
            raise AssertionError(f"only together with others: {chunk}")
    return good


@pytest.mark.parametrize("space", [b"", b" "])
def test_every_short_row_of_tokens_is_judged_alike(space: bytes):
    tokens = [b"{", b"}", b"[", b"]", b",", b":", b'"a"', b"1"]
    rows = [space.join(row) for length in range(1, 6) for row in itertools.product(tokens, repeat=length)]
    assert compare(rows) > 15


def test_longer_rows_that_begin_well_are_judged_alike():
    heads = [b'{"a":', b'{"a":1,', b'[1,', b'{"a":{', b'[[', b'[{"a":']
    tokens = [b"{", b"}", b"[", b"]", b",", b":", b'"b"', b"null"]
    rows = [head + b"".join(row) for head in heads for row in itertools.product(tokens, repeat=5)]
    assert compare(rows) > 30


def test_every_short_number_is_judged_alike():
    rows = [b"[" + bytes(row) + b"]" for length in range(1, 7) for row in itertools.product(b"01-+.e", repeat=length)]
    assert compare(rows) > 500


def test_long_numbers_and_what_follows_them_are_judged_alike():
    chance = random.Random(3)

    def number() -> str:
        text = "".join(chance.choices("0123456789", k=chance.randint(1, 40)))
        if chance.random() < 0.5:
            text += "." + "".join(chance.choices("0123456789", k=chance.randint(0, 40)))
        return text + chance.choice(["", "", "", "e5", "E-7", "e", ".", "x", " ", "\n", " 1", '"', "-", "\0"])

    rows = [chance.choice(['{{"a":{}}}', "[{}]", "{}", "[{},1]"]).format(number()).encode() for _ in range(20_000)]
    assert compare(rows) > 5_000


def test_what_stands_behind_a_value_in_memory_does_not_complete_it():
    for text in (b'{"a":1', b"[1", b'{"a":', b'{"a', b"[", b'{"a":1,', b"12"):
        for behind in (b"}", b"]", b"1", b'":1}', b',"b":1}', b" " * 70 + b"}"):
            record = Record(value=text, headers=[(behind.decode(), behind)])
            plan = build_plan(count_fields=True)
            assert plan.transform(write_batch([record, Record(value=behind)])).status == "same"
            seen = expect([text])[0] + expect([behind])[0]
            assert plan.take_counts().get("unknown", 0) == seen, (text, behind)


@pytest.mark.parametrize(("head", "inner", "tail"), [(b"[", b"1", b"]"), (b'{"a":', b"1", b"}"), (b"[", b"[]", b"]")])
def test_documents_are_read_to_a_depth_of_128(head: bytes, inner: bytes, tail: bytes):
    for depth in (1, DEEPEST, DEEPEST + 1, 2_000):
        plan = build_plan(count_fields=True)
        plan.transform(write_batch([Record(value=head * depth + inner + tail * depth)]))
        assert ("unknown" in plan.take_counts()) == (depth > DEEPEST), depth


# -- hiding ----------------------------------------------------------------------------------------------------------

NAMES = ("a", "b", "secret", "a.b", "né", "", "a rather long name of a member", 'q"', "exactly13bytes", "twelve bytes")
MARK = "#"


def spell(text: str, chance: random.Random) -> str:
    if chance.random() < 0.8:
        return json.dumps(text, ensure_ascii=False)
    return '"' + "".join(f"\\u{ord(c):04x}" if chance.random() < 0.5 or c in '"\\\n' else c for c in text) + '"'


def write_value(value: Any, chance: random.Random) -> str:
    def space() -> str:
        return chance.choice(["", "", "", " ", "\n\t "])

    if isinstance(value, Pairs):
        names = [space() + spell(name, chance) + space() for name, _ in value]
        members = [f"{name}:{space()}{write_value(one, chance)}" for name, (_, one) in zip(names, value, strict=True)]
        return "{" + ",".join(members) + space() + "}"
    if isinstance(value, list):
        return "[" + ",".join(space() + write_value(one, chance) for one in value) + space() + "]"
    return (spell(value, chance) if isinstance(value, str) else json.dumps(value)) + space()


def random_value(chance: random.Random, names: Callable[[], str], depth: int = 0) -> Any:
    kind = chance.randrange(10 if depth < 4 else 6)
    if kind > 7:
        return [random_value(chance, names, depth + 1) for _ in range(chance.randint(0, 4))]
    if kind > 5:
        return Pairs((names(), random_value(chance, names, depth + 1)) for _ in range(chance.randint(0, 5)))
    return [None, True, False, chance.randrange(10**15), "text", 't\\e"xt\n'][kind]


def hidden(value: Any, paths: set[tuple[str, ...]], path: tuple[str, ...] = ()) -> Any:
    """The value as it should be once what stands at ``paths`` is hidden."""
    if value is not None and path in paths:
        return MARK
    if isinstance(value, Pairs):
        return Pairs((name, hidden(inner, paths, (*path, name))) for name, inner in value)
    if isinstance(value, list):
        return [hidden(inner, paths, (*path, "[*]")) for inner in value]
    return value


PATHS = {("secret",), ("a", "secret"), ("a", "[*]", "secret"), ("né", "a"), ("[*]", "b"), ("b", "", 'q"'),
         ("a rather long name of a member",), ("a", "exactly13bytes"), ("b", "twelve bytes")}


@pytest.mark.parametrize("many", [False, True], ids=["few names", "more names than are kept"])
def test_every_occurrence_is_hidden_in_whatever_order_members_come(many: bool):
    chance = random.Random(11 + many)
    rules = tuple(FieldRule(path, Action("replace", text=MARK), "f") for path in sorted(PATHS))
    plan = mask.Plan(mask.compile_plan(RecordPlan("consume", fields=rules, count_fields=True), {}))

    def name() -> str:
        return f"n{chance.randrange(900)}" if many and chance.random() < 0.5 else chance.choice(NAMES)

    found = 0
    for _ in range(60):
        values = [random_value(chance, name) for _ in range(100)]
        batch = write_batch([Record(value=write_value(value, chance).encode()) for value in values])
        got = plan.transform(batch)
        after = [read_json(record.value or b"") for record in read_batches(got.data or batch)[0].records]
        expected = [keep(hidden(value, PATHS)) for value in values]
        assert [as_plain(one) for one in after] == [as_plain(one) for one in expected]
        counts = plan.take_counts()
        shown = Counter(path for value in expected for path in leaves(value))
        found += sum(counts["fields_masked"].values())
        assert sum(counts["fields_emitted"].values()) + sum(counts["fields_masked"].values()) == sum(shown.values())
    assert found > 300


def keep(value: Any) -> Any:
    """As read_json() reads the value once it is written: whole numbers are text."""
    if isinstance(value, Pairs):
        return Pairs((name, keep(inner)) for name, inner in value)
    if isinstance(value, list):
        return [keep(inner) for inner in value]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def as_plain(value: Any) -> Any:
    """Pairs told from lists, which compare alike."""
    if isinstance(value, Pairs):
        return ("object", [(name, as_plain(inner)) for name, inner in value])
    return ("array", [as_plain(inner) for inner in value]) if isinstance(value, list) else value
