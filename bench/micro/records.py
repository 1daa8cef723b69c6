"""What hiding values in records costs, next to what the libraries alone cost in the same run.

    .venv/bin/python -m bench.micro.records [--rounds 5] [--seconds 0.4]

Records are 1 KB of JSON with epoch-ms timestamps, UUIDs and 18-digit ids in each. MB/s are of plain record bytes,
medians of the rounds, in which kproxy and the libraries take turns; a ratio is of two medians. Needs g++ for the
floors. A floor of several steps is what they cost one after the other.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from kproxy._ext import mask
from kproxy.model.record_plan import Action, DetectRule, FieldRule, RecordPlan
from tests.support.batches import Record, write_batch

ROOT = Path(__file__).parents[2]
RECORDS = 600
FIVE = ("email", "credit_card", "us_ssn", "iban", "ipv4")
KEYS = {"k1": b"0123456789abcdef"}


def make_records(hits: bool, chance: random.Random) -> list[bytes]:
    """About 1 KB each. ``hits``: an e-mail address and a card number in every record."""
    made = []
    for number in range(RECORDS):
        record = {
            "id": str(uuid.UUID(int=chance.getrandbits(128))),
            "time": 1_700_000_000_000 + number,
            "account": chance.randrange(10**17, 2 * 10**17),
            "trace": str(uuid.UUID(int=chance.getrandbits(128))),
            "user": {"name": "Ann Lee", "email": "ann.lee(at)example.com", "phone": "n/a", "level": number % 7},
            "items": [
                {"sku": f"S-{chance.randrange(10**6)}", "count": chance.randrange(9), "price": 19.95} for _ in range(6)
            ],
            "note": "card 4111 1111 1111 1111 of ann.lee@example.com"
            if hits
            else "no card and no address in this note",
            "text": " ".join("".join(chance.choices("etaoinshrdlu", k=chance.randint(2, 9))) for _ in range(65)),
        }
        made.append(json.dumps(record).encode())
    return made


def build_floors(target: Path) -> Path:
    program = target / "record_floors"
    subprocess.run(
        [
            "g++",
            "-std=c++17",
            "-O3",
            "-DNDEBUG",
            f"-I{ROOT}/_ext/cpp",
            str(ROOT / "bench/native/record_floors.cpp"),
            "-o",
            str(program),
            "-lre2",
            "-lsimdjson",
            "-llz4",
            "-lpthread",
        ],
        check=True,
    )
    return program


def floors(program: Path, records: Path, seconds: float) -> dict[str, float]:
    told = subprocess.run([program, records, str(seconds)], check=True, capture_output=True, text=True).stdout
    return {name: float(value) for name, value in (line.split() for line in told.splitlines())}


def plan(
    fields: dict[str, Action] | None = None, detect: tuple[str, ...] = (), count_fields: bool = False
) -> mask.Plan:
    return mask.Plan(
        mask.compile_plan(
            RecordPlan(
                direction="consume",
                count_fields=count_fields,
                fields=tuple(FieldRule(tuple(path.split(".")), action, "f") for path, action in (fields or {}).items()),
                detectors=tuple(DetectRule(entity, Action("mask", keep_last=4), "d") for entity in detect),
            ),
            KEYS,
        )
    )


def speed(made: mask.Plan, batch: bytes, plain: int, status: str, seconds: float) -> float:
    """Best MB/s of the time given."""
    best = float("inf")
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        start = time.perf_counter()
        got = made.transform(batch)
        best = min(best, time.perf_counter() - start)
        assert got.status == status, got.status
    return plain / best / 1e6


def series(*megabytes_per_second: float) -> float:
    """Of steps done one after the other."""
    return 1 / sum(1 / speed for speed in megabytes_per_second)


def list_runs(clean: list[bytes], hits: list[bytes]) -> list[tuple[str, Any, bytes, list[bytes], str]]:
    """(name, plan, batch, its values, outcome) of everything that is measured."""
    two = {"user.email": Action("redact"), "user.phone": Action("mask", keep_last=2)}
    runs = []
    for codec, name in ((0, "none"), (3, "lz4")):
        batch = write_batch([Record(value=value) for value in clean], codec=codec)
        runs.append((f"2 fields, {name}", plan(two), batch, clean, "replaced"))
        runs.append((f"count fields, {name}", plan(count_fields=True), batch, clean, "same"))
    runs.append(
        (
            "2 fields by HMAC, none",
            plan(dict.fromkeys(two, Action("hmac", key="k1"))),
            write_batch([Record(value=value) for value in clean]),
            clean,
            "replaced",
        )
    )
    for count in (False, True):
        also = " + count fields" if count else ""
        runs.append(
            (
                f"5 detectors, no hit{also}",
                plan(detect=FIVE, count_fields=count),
                write_batch([Record(value=value) for value in clean]),
                clean,
                "same",
            )
        )
        runs.append(
            (
                f"5 detectors, hits{also}",
                plan(detect=FIVE, count_fields=count),
                write_batch([Record(value=value) for value in hits]),
                hits,
                "replaced",
            )
        )
    return runs


def measure(rounds: int, seconds: float) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    chance = random.Random(7)
    clean, hits = make_records(False, chance), make_records(True, chance)
    runs = list_runs(clean, hits)
    ours: dict[str, list[float]] = {}
    theirs: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        program = build_floors(Path(folder))
        paths = {}
        for name, records in (("clean", clean), ("hits", hits)):
            paths[name] = Path(folder) / name
            paths[name].write_bytes(b"\n".join(records) + b"\n")
        for _ in range(rounds):
            for name, made, batch, records, status in runs:
                ours.setdefault(name, []).append(speed(made, batch, sum(map(len, records)), status, seconds))
            for name, path in paths.items():
                for floor, value in floors(program, path, seconds).items():
                    theirs.setdefault(f"{floor} ({name})", []).append(value)
    return ours, theirs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.4)
    options = parser.parse_args()
    ours, theirs = measure(options.rounds, options.seconds)
    for samples in (theirs, ours):
        for name, values in samples.items():
            print(f"{name:42} {statistics.median(values):9.1f}  ({min(values):.1f} to {max(values):.1f})")
        print()
    mid = {name: statistics.median(values) for name, values in theirs.items()}
    crc, parse, share = mid["crc32c (clean)"], mid["simdjson (clean)"], mid["packed_share (clean)"]
    pack, unpack = mid["lz4_compress (clean)"], mid["lz4_decompress (clean)"]
    bars = {
        "2 fields, none": (series(crc, parse, crc), "CRC + simdjson + CRC"),
        "2 fields, lz4": (series(crc / share, unpack, parse, pack, crc / share), "CRC + lz4 + simdjson + lz4 + CRC"),
        "5 detectors, no hit": (mid["set (clean)"], "RE2::Set"),
        "5 detectors, no hit + count fields": (mid["set (clean)"], "RE2::Set"),
        "5 detectors, hits": (mid["find_all (hits)"], "RE2 alternation, find all"),
        "5 detectors, hits + count fields": (mid["find_all (hits)"], "RE2 alternation, find all"),
    }
    for name, (floor, what) in bars.items():
        print(f"{name:42} {statistics.median(ours[name]) / floor:6.2f} x  {what}")


if __name__ == "__main__":
    main()
