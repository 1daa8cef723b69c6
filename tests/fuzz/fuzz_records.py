"""Invariant: whatever bytes a record set is, what leaves is whole batches, alike but for values, with nothing to hide.

    python -m tests.fuzz.fuzz_records --seconds 30 [--seed 1] [FILE ...]

Record sets of one to three batches with fields and entities to hide, harmed as values, as records, as compressed
frames, as heads, and cut off, go through plans of both directions. A file given is one record set.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import time
from pathlib import Path

from kproxy._ext import compression, mask, record_batch
from kproxy.errors import WireError
from tests.support.record_sets import check_passed, harm, harm_batch, hiding_plan, random_batch

PLANS = {
    "consume": (hiding_plan(count_fields=True), True),
    "consume, detect": (hiding_plan(fields=False), False),
    "consume, pass": (hiding_plan(on_unknown="pass"), False),
    "produce": (hiding_plan("produce"), True),
    "produce, detect": (hiding_plan("produce", fields=False), False),
}
OBSERVER = hiding_plan(observe=True, count_fields=True)
ERRORS = {2, 10, 43, 44, 76, 87}


def check(data: bytes) -> list[str]:
    """Holds the invariant against one record set; what each plan said."""
    said = []
    for name, (plan, fields) in PLANS.items():
        got = plan.transform(data)
        said.append(f"{name}: {got.status}")
        if got.status == "refused":
            assert got.data is None and got.error_code in ERRORS and got.message.isascii(), got
            continue
        assert got.status == "same" or got.data != data
        check_passed(data, got.data if got.status == "replaced" else data, fields)
        counts = plan.take_counts()
        assert all(not mask.find_entities(path.encode(), mask.ENTITIES) for path in counts["fields_emitted"]), counts
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
    data = b"".join(batches)
    return harm(data, chance) if chance.random() < 0.05 else data


def run(seconds: float, seed: int) -> dict[str, int]:
    """How often each plan said what. Raises AssertionError for the first input that breaks the invariant."""
    chance = random.Random(seed)
    said: dict[str, int] = {}
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        data = random_set(chance)
        try:
            for word in check(data):
                said[word] = said.get(word, 0) + 1
        except BaseException:
            print(f"seed {seed}, input: {data.hex()}", file=sys.stderr)
            raise
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("files", nargs="*", type=Path)
    options = parser.parse_args()
    for path in options.files:
        check(path.read_bytes())
    said = run(0 if options.files else options.seconds, options.seed)
    print(f"fuzz_records: {sum(said.values()) // len(PLANS)} inputs; "
          + ", ".join(f"{word} {count}" for word, count in sorted(said.items())))


if __name__ == "__main__":
    main()
