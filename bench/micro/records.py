"""What hiding values in records costs, next to what the libraries alone cost in the same run.

    .venv/bin/python -m bench.micro.records [--rounds 5] [--seconds 0.4]

Records are about 1 KB of JSON with epoch-ms timestamps, UUIDs and 18-digit ids in each, of many shapes: members that
not all have, lists of any length. Sixty are a batch. Fields are counted, as in every plan of a policy. MB/s are of
plain record bytes in CPU time, medians of the rounds, in which kproxy and the libraries take turns; a ratio is the
median of the rounds' own. Needs g++ for the floors. A floor of several steps is what they cost one after the other;
its CRC is one lane of the instruction, unless it says otherwise.
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
RECORDS, BATCH = 600, 60
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
                {"sku": f"S-{chance.randrange(10**6)}", "count": chance.randrange(90), "price": 19.95, "gift": None}
                if chance.random() < 0.2
                else {"sku": f"S-{chance.randrange(10**6)}", "count": chance.randrange(90), "price": 5}
                for _ in range(chance.randrange(13))
            ],
            "note": "card 4111 1111 1111 1111 of ann.lee@example.com"
            if hits
            else "no card and no address in this note",
        }
        if chance.random() < 0.5:
            record["coupon"] = {"code": "SUMMER", "share": 0.15}
        words = ("".join(chance.choices("etaoinshrdlu", k=chance.randint(2, 9))) for _ in range(165))
        record["text"] = " ".join(words)[: max(0, 1010 - len(json.dumps(record)))]
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
            "-lcrypto",
            "-lpthread",
        ],
        check=True,
    )
    return program


def floors(program: Path, records: Path, seconds: float) -> dict[str, float]:
    command = [program, records, str(seconds), str(BATCH)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
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


def speed(made: mask.Plan, batches: list[bytes], plain: int, status: str, seconds: float) -> float:
    """Best MB/s of the time given."""
    best = float("inf")
    until = time.thread_time() + seconds
    while (start := time.thread_time()) < until:
        for batch in batches:
            got = made.transform(batch)
            assert got.status == status, got.status
        best = min(best, time.thread_time() - start)
    return plain / best / 1e6


def series(*megabytes_per_second: float) -> float:
    """Of steps done one after the other."""
    return 1 / sum(1 / speed for speed in megabytes_per_second)


def pack(records: list[bytes], codec: int = 0) -> list[bytes]:
    parts = (records[at : at + BATCH] for at in range(0, len(records), BATCH))
    return [write_batch([Record(value=value) for value in part], codec=codec) for part in parts]


def list_runs(clean: list[bytes], hits: list[bytes]) -> list[tuple[str, Any, list[bytes], list[bytes], str]]:
    """(name, plan, batches, their values, outcome) of everything that is measured."""
    two = {"user.email": Action("redact"), "user.phone": Action("mask", keep_last=2)}
    hmac = dict.fromkeys(two, Action("hmac", key="k1"))
    runs: list[tuple[str, Any, list[bytes], list[bytes], str]] = []
    for codec, name in ((0, "none"), (3, "lz4")):
        runs.append((f"2 fields, {name}", plan(two, count_fields=True), pack(clean, codec), clean, "replaced"))
        runs.append((f"count fields, {name}", plan(count_fields=True), pack(clean, codec), clean, "same"))
    runs.append(("2 fields by HMAC, none", plan(hmac, count_fields=True), pack(clean), clean, "replaced"))
    runs.append(("2 fields + 5 detectors, hits", plan(two, FIVE, count_fields=True), pack(hits), hits, "replaced"))
    for count in (True, False):
        less = "" if count else ", not counted"
        runs.append((f"5 detectors, no hit{less}", plan(detect=FIVE, count_fields=count), pack(clean), clean, "same"))
        runs.append((f"5 detectors, hits{less}", plan(detect=FIVE, count_fields=count), pack(hits), hits, "replaced"))
    return runs


Samples = dict[str, list[float]]


def measure(rounds: int, seconds: float) -> tuple[Samples, Samples]:
    chance = random.Random(7)
    clean, hits = make_records(False, chance), make_records(True, chance)
    runs = list_runs(clean, hits)
    ours: Samples = {}
    theirs: Samples = {}
    with tempfile.TemporaryDirectory() as folder:
        program = build_floors(Path(folder))
        paths = {}
        for name, records in (("clean", clean), ("hits", hits)):
            paths[name] = Path(folder) / name
            paths[name].write_bytes(b"\n".join(records) + b"\n")
        for _ in range(rounds):
            for name, made, batches, records, status in runs:
                ours.setdefault(name, []).append(speed(made, batches, sum(map(len, records)), status, seconds))
            for name, path in paths.items():
                for floor, value in floors(program, path, seconds).items():
                    theirs.setdefault(f"{floor} ({name})", []).append(value)
    return ours, theirs


def bars(at: dict[str, float]) -> list[tuple[str, float, str]]:
    """(what is measured, its floor in MB/s, what that floor is) in one round."""
    crc, share = at["crc32c (clean)"], at["packed_share (clean)"]
    packed = (crc / share, at["lz4_decompress (clean)"], at["lz4_compress (clean)"], crc / share)
    found = []
    for name, simdjson in (("pointers", "2 pointers"), ("look_up", "2 members in one go"), ("whole", "whole document")):
        parse = at[f"{name} (clean)"]
        found.append(("2 fields, none", series(crc, parse, crc), f"CRC + simdjson ({simdjson}) + CRC"))
        found.append(("2 fields, lz4", series(*packed, parse), f"CRC + lz4 + simdjson ({simdjson}) + lz4 + CRC"))
    own, parse = at["crc32c_own (clean)"], at["pointers (clean)"]
    found.append(("2 fields, none", series(own, parse, own), "kproxy's CRC + simdjson (2 pointers) + kproxy's CRC"))
    for less in ("", ", not counted"):
        found.append((f"5 detectors, no hit{less}", at["set (clean)"], "RE2::Set"))
        found.append((f"5 detectors, hits{less}", at["find_all (hits)"], "RE2 alternation, find all"))
    both = series(at["find_all (hits)"], at["pointers (hits)"])
    found.append(("2 fields + 5 detectors, hits", both, "RE2 alternation, find all + simdjson (2 pointers)"))
    return found


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
    ratios: dict[tuple[str, str], list[float]] = {}
    for number in range(options.rounds):
        for name, floor, what in bars({name: values[number] for name, values in theirs.items()}):
            ratios.setdefault((name, what), []).append(ours[name][number] / floor)
    for (name, what), values in ratios.items():
        print(f"{name:34} {statistics.median(values):5.2f} x ({min(values):.2f} to {max(values):.2f})  {what}")


if __name__ == "__main__":
    main()
