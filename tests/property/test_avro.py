"""Random Avro values through record plans: what leaves is what a slow reading makes of them, byte for byte, and what
fastavro reads of it is the hidden value."""

from __future__ import annotations

import io
import json
import random
from collections import Counter
from typing import Any

import fastavro
import pytest
from fastavro.schema import parse_schema
from fastavro.types import Schema

from kproxy._ext.registered import Registered
from kproxy.model.record_plan import Action
from kproxy.schemas.avro import read_avro
from tests.fuzz import fuzz_avro
from tests.support.batches import Record, read_batches, write_batch
from tests.support.record_plans import build_plan
from tests.support.slow_avro import (
    ENTITIES,
    NEW,
    Branch,
    Entries,
    SchemaMaker,
    encode,
    hidden,
    kind_of,
    random_value,
    without_logical,
)

HIDE = Action("replace", text=NEW)
HEAD = b"\0\0\0\0\7"


def random_paths(schema: Any, named: dict[str, Any], chance: random.Random) -> set[tuple[str, ...]]:
    """Some paths that lead somewhere, at every depth."""
    found = set()
    for _ in range(chance.randint(0, 4)):
        path: tuple[str, ...] = ()
        at = schema
        for _ in range(chance.randint(1, 6)):
            kind, at = kind_of(at, named)
            if kind == "union":
                at = chance.choice(at)
                continue
            if kind == "record" and at["fields"]:
                field = chance.choice(at["fields"])
                path, at = (*path, field["name"]), field["type"]
            elif kind in ("array", "map"):
                path = (*path, "[*]" if kind == "array" else chance.choice(("a", "secret")))
                at = at["items" if kind == "array" else "values"]
        if path:
            found.add(path)
    return found


def plain(value: Any) -> Any:
    """As fastavro gives it: without branches; of keys that are alike the last counts."""
    if isinstance(value, Branch):
        return plain(value.value)
    if isinstance(value, dict | Entries):
        return {name: plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list) else value


def encode_hidden(schema: Any, value: Any, named: dict[str, Any], chance: random.Random) -> bytes:
    return encode(schema, value, named, lambda: chance.random() < 0.5, lambda: chance.randint(1, 3))


def one_case(seed: int) -> str:
    chance = random.Random(seed)
    maker = SchemaMaker(chance)
    schema = maker.make()
    named = maker.named
    value = random_value(schema, named, chance)
    paths, detects = random_paths(schema, named, chance), chance.random() < 0.5
    cuts = chance.getrandbits(64)
    before = encode_hidden(schema, value, named, random.Random(cuts))
    after = hidden(schema, value, named, paths, detects)
    known = Registered()
    known.add(7, read_avro(json.dumps(schema)))
    plan = build_plan(fields={}, detect=dict.fromkeys(ENTITIES, HIDE) if detects else {}, count_fields=True,
                      exact_fields=dict.fromkeys(paths, HIDE))
    plan.read_by(known)
    batch = write_batch([Record(value=HEAD + before)])
    got = plan.transform(batch)
    assert got.status in ("same", "replaced"), got
    assert "unknown" not in plan.take_counts()
    [record] = read_batches(got.data or batch)[0].records
    assert record.value is not None and record.value[:5] == HEAD
    check_read(schema, record.value[5:], after)
    if plain(after) == plain(value):
        assert got.status == "same" or paths
    if not any(paths) or not has_containers(schema, named):
        assert record.value[5:] == encode_hidden(schema, after, named, random.Random(cuts))
    return got.status


def has_containers(schema: Any, named: dict[str, Any]) -> bool:
    """Whether a rule may empty an array or map, after which the cuts of blocks are no longer drawn alike."""
    return '"array"' in json.dumps(schema) or '"map"' in json.dumps(schema)


def check_read(schema: Any, data: bytes, wanted: Any) -> None:
    parsed: Schema = parse_schema(json.loads(json.dumps(schema)))
    stream = io.BytesIO(data)
    read = fastavro.schemaless_reader(stream, without_logical(parsed), None)
    assert stream.read() == b""
    assert read == plain(wanted)


def test_what_is_hidden_is_what_a_slow_reading_hides() -> None:
    assert Counter(one_case(seed) for seed in range(2_000))["replaced"] > 400


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_what_is_hidden_is_what_a_slow_reading_hides_many_times() -> None:
    assert Counter(one_case(seed) for seed in range(10_000, 110_000))["replaced"] > 20_000


def test_whatever_stands_behind_a_schema_is_unknown_or_avro_before_and_after() -> None:
    chance = random.Random(5)
    said = Counter(fuzz_avro.check(fuzz_avro.make(chance)) for _ in range(1_000))
    assert said["unknown"] > 100 and said["replaced"] > 100 and said["same"] > 100, said
