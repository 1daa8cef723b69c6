"""What compressing records anew costs by codec and level, and what it saves: why kproxy writes gzip at 4 and zstd at 3.

    .venv/bin/python -m bench.micro.codecs [--rounds 7]

Bodies are orders as JSON, 16 KiB (a producer's batch) and 1 MiB (the largest a topic takes). MB/s are of plain bytes,
the best of the rounds, one thread; `kproxy` is what the native rewriter calls.
"""

from __future__ import annotations

import argparse
import json
import random
import time
import zlib
from collections.abc import Callable
from functools import partial

import cramjam

from kproxy._ext import compression
from tests.support.batches import Record, write_batch


def orders(size: int) -> bytes:
    """The records of a batch, cut at ``size`` bytes."""
    chance = random.Random(3)
    made: list[Record] = []
    while len(made) * 200 < size * 2:
        lines = [{"sku": f"S-{chance.randrange(2000):04d}", "count": chance.randrange(1, 9),
                  "price": round(chance.random() * 100, 2)} for _ in range(chance.randrange(1, 6))]
        made.append(Record(value=json.dumps({
            "id": chance.randrange(10**9), "time": 1_700_000_000_000 + len(made) * 37, "lines": lines,
            "customer": {"name": chance.choice(["ann", "bob", "carol"]), "city": chance.choice(["Berlin", "Oslo"])},
            "status": chance.choice(["NEW", "PAID", "SHIPPED"])}).encode()))
    return write_batch(made)[61:][:size]


def best(work: Callable[[], bytes], rounds: int) -> tuple[float, bytes]:
    least, made = float("inf"), b""
    for _ in range(rounds):
        began = time.perf_counter()
        made = work()
        least = min(least, time.perf_counter() - began)
    return least, made


def gzipped(body: bytes, level: int) -> bytes:
    packer = zlib.compressobj(level, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()


def zstandard(body: bytes, level: int) -> bytes:
    return bytes(cramjam.zstd.compress(body, level=level))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    for size in (16 << 10, 1 << 20):
        body = orders(size)
        works: dict[str, Callable[[], bytes]] = {}
        works |= {f"gzip {level}": partial(gzipped, body, level) for level in (1, 3, 4, 6)}
        works |= {f"zstd {level}": partial(zstandard, body, level) for level in (1, 3, 6)}
        works |= {f"kproxy {codec}": partial(compression.compress, codec, body) for codec in compression.CODECS[1:]}
        print(f"{size >> 10} KiB")
        for name, work in works.items():
            seconds, packed = best(work, rounds)
            line = f"  {name:14} {size / seconds / 1e6:7.0f} MB/s  ratio {size / len(packed):5.2f}"
            if name.startswith("kproxy"):
                codec = name.split()[1]
                seconds, _ = best(partial(compression.decompress, codec, packed, size), rounds)
                line += f"  reading {size / seconds / 1e6:7.0f} MB/s"
            print(line)


if __name__ == "__main__":
    main()
