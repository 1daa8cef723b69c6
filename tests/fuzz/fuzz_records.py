"""Invariant: whatever bytes a record set is, what leaves is whole batches, alike but for values, with nothing to hide.

    python -m tests.fuzz.fuzz_records --seconds 30 [--seed 1] [FILE ...]

Record sets of one to three batches with fields and entities to hide, harmed as values, as records, as compressed
frames of every codec, as heads, and cut off, go through plans of both directions; bombs are among them. A file given is
one record set.
"""

from __future__ import annotations

import contextlib
import random
import re

from kproxy._ext import compression, mask, record_batch
from kproxy.errors import WireError
from tests.fuzz.harness import Harness
from tests.support.bombs import bomb_batch, lz4_bomb, zstd_bomb
from tests.support.record_sets import check_passed, harm, harm_batch, harm_records, hiding_plan, random_batch

PLANS = {
    "consume": (hiding_plan(count_fields=True), True),
    "consume, detect": (hiding_plan(fields=False), False),
    "consume, pass": (hiding_plan(on_unknown="pass"), False),
    "produce": (hiding_plan("produce"), True),
    "produce, detect": (hiding_plan("produce", fields=False), False),
}
OBSERVER = hiding_plan(observe=True, count_fields=True)
BOMBS = (bomb_batch("zstd", zstd_bomb(64 << 20)), bomb_batch("lz4", lz4_bomb(64 << 20)))
ERRORS = {2, 10, 43, 44, 76, 87}


def check(data: bytes) -> dict[str, str]:
    """Holds the invariant against one record set; what each plan said."""
    said = {}
    for plan_name, (plan, fields) in PLANS.items():
        got = plan.transform(data)
        said[plan_name] = got.status
        if got.status == "refused":
            assert got.data is None and got.error_code in ERRORS and got.message.isascii(), got
            continue
        assert got.status == "same" or got.data != data
        check_passed(data, got.data if got.status == "replaced" else data, fields)
        counts = plan.take_counts()
        for path in counts["fields_emitted"]:
            # By name: what two names and the dot between them make up was in no record.
            for step in re.findall(r"(?:[^.\\]|\\.)+", path, re.DOTALL):
                name = re.sub(r"\\(.)", r"\1", step, flags=re.DOTALL)
                assert not mask.find_entities(name.encode(), mask.ENTITIES), counts
    observed = OBSERVER.transform(data)
    assert observed.status == "same" and not OBSERVER.take_counts()["fields_masked"]
    first, last, records, batches, whole = record_batch.summarise(data)
    assert batches or (first, last, records) == (-1, -1, 0)
    assert not whole or batches or not data
    for codec in compression.CODECS[1:]:
        with contextlib.suppress(WireError):
            assert len(compression.decompress(codec, data[61:], 1 << 20)) <= 1 << 20
    return said


def random_set(chance: random.Random) -> bytes:
    harmed = chance.random() < 0.7
    batches = [random_batch(chance, harmed) for _ in range(chance.choice([1, 1, 1, 2, 3]))]
    if harmed and chance.random() < 0.6:
        at = chance.randrange(len(batches))
        batches[at] = harm_batch(batches[at], chance)
        if chance.random() < 0.1:
            batches[at] = harm_records(batches[at], chance)
    if chance.random() < 0.003:
        batches.append(chance.choice(BOMBS))
    data = b"".join(batches)
    return harm(data, chance) if chance.random() < 0.05 else data


def change(data: bytes, chance: random.Random) -> bytes:
    """Harms one batch of a set that is kept, behind its head, in its records or anywhere; or puts another beside it."""
    batches, at = [], 0
    while len(data) - at > 61 and 61 <= (size := int.from_bytes(data[at + 8 : at + 12], "big") + 12) <= len(data) - at:
        batches.append(data[at : at + size])
        at += size
    if not batches:
        return harm(data, chance)
    which = chance.randrange(len(batches))
    kind = chance.randrange(8)
    if kind < 4:
        batches[which] = harm_records(batches[which], chance)
    elif kind < 7:
        batches[which] = harm_batch(batches[which], chance)
    elif len(batches) < 4:
        batches.insert(which, random_batch(chance, False))
    return b"".join([*batches, data[at:]])


def check_input(data: bytes) -> str:
    said = check(data)
    return f"{said['consume']} {said['produce']}"


HARNESS = Harness("records", random_set, change, check_input)

if __name__ == "__main__":
    HARNESS.main(__doc__)
