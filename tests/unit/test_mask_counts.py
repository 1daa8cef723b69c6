"""What a plan counts, and whom it refuses: names and numbers of what left, nothing where no rule is in force."""

from __future__ import annotations

import json
import random
import struct
from collections import Counter
from collections.abc import Iterator
from typing import Any

import crc32c
import pytest

from kproxy.model.record_plan import Action
from tests.support.batches import Record, read_batches, write_batch
from tests.support.record_plans import BLOCK, REDACT, build_plan, value_after

HMAC = Action("hmac", key="k1")
DOCUMENT = b'{"a":"secret","b":"ann@example.com"}'


def wrongly_named_codec() -> bytes:
    data = bytearray(write_batch([Record(value=DOCUMENT)]))
    struct.pack_into(">h", data, 21, 4)
    struct.pack_into(">I", data, 17, crc32c.crc32c(bytes(data[21:])))
    return bytes(data)


def broken_batch() -> bytes:
    data = bytearray(write_batch([Record(value=DOCUMENT)]))
    data[-1] ^= 1
    return bytes(data)


OLD = struct.pack(">qiIbb", 0, 14, 0, 1, 0) + b"\0" * 8
UNREADABLE = {
    "not zstd": wrongly_named_codec(),
    "checksum": broken_batch(),
    "magic 1": OLD,
    "tail": write_batch([Record(value=DOCUMENT)])[:70],
}


@pytest.mark.parametrize("name", UNREADABLE)
@pytest.mark.parametrize("direction", ["produce", "consume"])
def test_a_reader_whom_every_rule_spares_is_refused_nothing(direction: str, name: str):
    plan = build_plan(direction, count_fields=True)
    got = plan.transform(UNREADABLE[name])
    assert (got.status, got.error_code) == ("same", 0)
    assert plan.take_counts().get("uninspected", 0) == (0 if (direction, name) == ("consume", "tail") else 1)


@pytest.mark.parametrize("name", UNREADABLE)
@pytest.mark.parametrize("direction", ["produce", "consume"])
def test_observing_refuses_nothing(direction: str, name: str):
    plan = build_plan(direction, fields={"a": REDACT}, detect={"email": BLOCK}, observe=True, count_fields=True)
    assert plan.transform(UNREADABLE[name]).status == "same"
    assert plan.transform(write_batch([Record(value=b"not JSON")])).status == "same"
    counts = plan.take_counts()
    assert counts["unknown"] == 1 and counts["rules"] == {}


def test_what_is_refused_is_not_counted_as_seen_by_anybody():
    plan = build_plan("produce", fields={"a": REDACT}, detect={"email": BLOCK}, count_fields=True)
    assert plan.transform(write_batch([Record(value=DOCUMENT)])).status == "refused"
    assert plan.take_counts() == {"records": 0, "fields_emitted": {}, "fields_masked": {}, "entities": {}, "rules": {}}
    assert plan.transform(write_batch([Record(value=b'{"a":"x","c":1}')])).status == "replaced"
    assert plan.take_counts() == {
        "records": 1,
        "fields_emitted": {"c": 1},
        "fields_masked": {"a": 1},
        "entities": {},
        "rules": {"f:a": 1},
    }


def test_a_value_that_is_not_json_counts_no_field():
    plan = build_plan(count_fields=True, detect={"email": REDACT})
    assert plan.transform(write_batch([Record(value=b'{"a":1,"b":{"c":2}'), Record(value=None)])).status == "same"
    assert plan.take_counts() == {
        "records": 2,
        "fields_emitted": {},
        "fields_masked": {},
        "entities": {},
        "rules": {},
        "unknown": 1,
    }


def test_parts_say_where_detectors_look_and_fields_are_always_of_values():
    plan = build_plan(fields={"a": REDACT}, detect={"email": HMAC}, parts=("key",))
    batch = write_batch([Record(value=DOCUMENT, key=b"ann@example.com", headers=[("h", b"ann@example.com")])])
    [record] = read_batches(plan.transform(batch).data)[0].records
    assert record.value == b'{"a":"","b":"ann@example.com"}' and record.headers == [("h", b"ann@example.com")]
    assert (record.key or b"").startswith(b"k1:") and len(record.key or b"") == 35


def test_a_guard_looks_at_what_a_field_rule_hides():
    plan = build_plan("produce", fields={"a": REDACT, "o": REDACT}, detect={"email": BLOCK})
    for value in (b'{"a":"ann@example.com"}', b'{"o":{"in":["ann@example.com"]}}'):
        got = plan.transform(write_batch([Record(value=b"{}"), Record(value=value)]))
        assert (got.status, got.record_errors) == ("refused", [(1, "not here")])


def test_a_hidden_container_is_one_masked_field_and_its_leaves_are_none():
    plan = build_plan(fields={"o": REDACT}, detect={"email": REDACT}, count_fields=True)
    assert value_after(plan, b'{"o":{"in":["ann@example.com", 1, {"x":"y"}]},"p":1}') == b'{"o":"","p":1}'
    assert plan.take_counts() == {
        "records": 1,
        "fields_emitted": {"p": 1},
        "fields_masked": {"o": 1},
        "entities": {},
        "rules": {"f:o": 1},
    }


def test_a_name_that_is_personal_itself_is_not_told():
    plan = build_plan(detect={"email": REDACT}, count_fields=True)
    assert value_after(plan, b'{"by":{"ann@example.com":{"n":1}}}') == b'{"by":{"":{"n":1}}}'
    assert plan.take_counts()["fields_emitted"] == {"by.<detected>.n": 1}
    watching = build_plan(detect={"email": REDACT}, count_fields=True, observe=True)
    assert watching.transform(write_batch([Record(value=b'{"ann\\u0040example.com":1}')])).status == "same"
    assert watching.take_counts()["fields_emitted"] == {"<detected>": 1}


def test_names_are_spelled_as_policies_spell_them():
    plan = build_plan(count_fields=True)
    plan.transform(
        write_batch(
            [
                Record(value=b'{"a.b":1,"c\\\\d":[[2]],"":3,"\\u00e9":4}'),
                Record(value=b"5"),
                Record(value=b'[6,{"x":7}]'),
            ]
        )
    )
    assert plan.take_counts()["fields_emitted"] == {
        "a\\.b": 1,
        "c\\\\d[*][*]": 1,
        "": 1,
        "é": 1,
        "$": 1,
        "[*]": 1,
        "[*].x": 1,
    }


def leaves(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, path + "[*]")
    else:
        yield path or "$"


def random_json(chance: random.Random, depth: int = 0) -> Any:
    kind = chance.randrange(8 if depth < 4 else 6)
    if kind == 6:
        return [random_json(chance, depth + 1) for _ in range(chance.randrange(4))]
    if kind == 7:
        names = [f"n{chance.randrange(30)}" for _ in range(chance.randrange(14))]
        return {name: random_json(chance, depth + 1) for name in names}
    return [None, True, False, chance.randrange(-(10**12), 10**12), chance.random() * 1e9, 't\\e"xt é\n'][kind]


def test_every_leaf_of_many_documents_is_counted_once():
    chance = random.Random(8)
    plan = build_plan(count_fields=True)
    documents = [{"n0": random_json(chance)} for _ in range(40)]
    expected = Counter(path for document in documents for path in leaves(document))
    for start in range(0, 40, 10):
        values = [json.dumps(one, indent=chance.choice([None, 2])).encode() for one in documents[start : start + 10]]
        assert plan.transform(write_batch([Record(value=value) for value in values])).status == "same"
    counted = plan.take_counts()["fields_emitted"]
    rest = counted.pop("…", 0)
    assert all(expected[path] >= count for path, count in counted.items())
    assert sum(counted.values()) + rest == sum(expected.values()) and len(counted) <= 512
    assert rest or counted == expected


@pytest.mark.parametrize(
    "text",
    [
        b"1e999",
        b"-0",
        b"12345678901234567890123456789",
        b"1.5E+3",
        b"0.0",
        b'"x"',
        b" null ",
        b"true",
        b"[]",
        b"{}",
        b" [ {} , [ ] ] ",
        b'{"a":-1e-5}',
        b'"\\ud83d\\ude00"',
    ],
)
def test_json_is_known_as_such(text: bytes):
    plan = build_plan(count_fields=True)
    plan.transform(write_batch([Record(value=text)]))
    assert "unknown" not in plan.take_counts()


@pytest.mark.parametrize(
    "text",
    [
        b"01",
        b"+1",
        b"1.",
        b".5",
        b"1e",
        b"NaN",
        b"Infinity",
        b"'x'",
        b'"x',
        b"[1,]",
        b"[,1]",
        b'{"a":1,}',
        b"{a:1}",
        b'{"a"}',
        b"tru",
        b"nulll",
        b"true false",
        b'"\\ud800"',
        b'"\x01"',
        b"[1 2]",
        b'["x":1,"secret":"s"]',
        b'{"a":"x":{"secret":"s"}}',
        b'{"a":1 "b":2}',
        b'{"a" "b"}',
        b"[1]]",
        b"[[1]",
        b'{"a":[}',
        b'{"a":"b"x}',
        b'{"a":1x}',
        b'{"a":}',
        b"[-]",
        b"\xef\xbb\xbf{}",
        b'{"a":"\xc3"}',
    ],
)
def test_what_is_not_json_is_unknown(text: bytes):
    plan = build_plan(count_fields=True)
    plan.transform(write_batch([Record(value=text)]))
    counts = plan.take_counts()
    assert counts["unknown"] == 1 and counts["fields_emitted"] == {}


def test_random_harm_to_json_is_judged_as_python_judges_it():
    chance = random.Random(9)
    plan = build_plan(count_fields=True)
    judged = {True: 0, False: 0}
    pieces = [b'"', b"{", b"}", b"[", b"]", b",", b":", b"0", b"-", b".", b"e", b"\\", b"n", b"\n", b"t", b" "]
    for _ in range(6000):
        text = bytearray(json.dumps(random_json(chance, 2)).encode())
        for _ in range(chance.randint(1, 2)):
            at = chance.randrange(len(text) + 1)
            text[at : at + chance.randrange(2)] = chance.choice(pieces) if chance.random() < 0.7 else b""
        if not text:
            continue
        try:
            json.loads(bytes(text).decode(), parse_constant=refuse_constant)
            is_json = True
        except ValueError:
            is_json = False
        plan.transform(write_batch([Record(value=bytes(text))]))
        assert ("unknown" not in plan.take_counts()) == is_json, bytes(text)
        judged[is_json] += 1
    assert min(judged.values()) > 500, judged


def refuse_constant(name: str) -> float:
    raise ValueError(name)
