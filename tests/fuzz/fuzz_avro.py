"""Invariant: whatever stands behind a schema's id is unknown, or Avro before and after with nothing left to hide.

    python -m tests.fuzz.fuzz_avro --seconds 30 [--seed 1] [FILE ...]

An input is four bytes, out of which a schema is made, and a value, harmed or whole. What the walker takes for a value
of the schema fastavro must read to its last byte, as it came and as it left.
"""

from __future__ import annotations

import io
import json
import random
from functools import lru_cache
from typing import Any

import fastavro

from kproxy._ext import mask
from kproxy._ext.registered import Registered
from kproxy.model.record_plan import Action
from kproxy.schemas.avro import read_avro
from tests.fuzz.harness import Harness, mutate
from tests.support.batches import Record, read_batches, write_batch
from tests.support.record_plans import build_plan
from tests.support.slow_avro import ENTITIES, SchemaMaker, encode, random_value, without_logical

HEAD = b"\0\0\0\0\7"
MARK = "_Q_"
HIDE = Action("replace", text=MARK)
SCHEMAS = 4096      # so many different ones
PIECES = (b"\0", b"\1", b"\2", b"\x7f", b"\x80", b"\xff", b"\xff" * 9 + b"\1", b"\xff" * 10, b"\x01\x02", b"@",
          b"ann@example.com")


@lru_cache(maxsize=SCHEMAS)
def stage(seed: int) -> tuple[Any, dict[str, Any], Any, mask.Plan]:
    """A schema, its named types, as fastavro has it, and a plan that hides in its values."""
    maker = SchemaMaker(random.Random(seed))
    schema = maker.make()
    known = Registered()
    known.add(7, read_avro(json.dumps(schema)))
    plan = build_plan(fields={"secret": HIDE, "user.a": HIDE, "items": HIDE}, detect=dict.fromkeys(ENTITIES, HIDE),
                      on_unknown="pass")
    plan.read_by(known)
    parsed = without_logical(fastavro.parse_schema(json.loads(json.dumps(schema))))
    return schema, maker.named, parsed, plan


def read(parsed: Any, data: bytes) -> Any:
    """Raises ValueError where something is left of the data."""
    stream = io.BytesIO(data)
    value = fastavro.schemaless_reader(stream, parsed, None, handle_unicode_errors="replace")
    if stream.read():
        raise ValueError("not to its last byte")
    return value


def texts(value: Any) -> list[bytes]:
    if isinstance(value, str | bytes):
        return [value.encode("utf-8", "replace") if isinstance(value, str) else value]
    if isinstance(value, dict):
        return [text for pair in value.items() for one in pair for text in texts(one)]
    return [text for one in value for text in texts(one)] if isinstance(value, list) else []


def check(data: bytes) -> str:
    if len(data) < 4:
        return "short"
    _, _, parsed, plan = stage(int.from_bytes(data[:4], "big") % SCHEMAS)
    batch = write_batch([Record(value=HEAD + data[4:])])
    got = plan.transform(batch)
    counts = plan.take_counts()
    if got.status == "refused" or "unknown" in counts:
        return "unknown"
    [record] = read_batches(got.data or batch)[0].records
    assert record.value is not None and record.value[:5] == HEAD
    read(parsed, data[4:])
    after = read(parsed, record.value[5:])
    for text in texts(after):
        # What is hidden may be half of what looks like an address together with what stands beside it.
        found = [text[at : at + length] for _, at, length in mask.find_entities(text, ENTITIES)]
        assert all(MARK.encode() in one for one in found), (found, text)
    return got.status


def make(chance: random.Random) -> bytes:
    seed = chance.randrange(SCHEMAS)
    schema, named, _, _ = stage(seed)
    value = encode(schema, random_value(schema, named, chance), named, lambda: chance.random() < 0.5,
                   lambda: chance.randint(1, 3))
    data = seed.to_bytes(4, "big") + value
    return data[:4] + mutate(data[4:], chance, PIECES) if chance.random() < 0.6 else data


def change(data: bytes, chance: random.Random) -> bytes:
    return data[:4] + mutate(data[4:], chance, PIECES)


HARNESS = Harness("avro", make, change, check)

if __name__ == "__main__":
    HARNESS.main(__doc__)
