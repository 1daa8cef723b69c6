"""Invariant: any bytes give a value or a TokenRefused of the table that quotes no token; harm is never accepted.

    python -m tests.fuzz.fuzz_identity --seconds 30 [--seed 1]

Inputs are honest tokens and messages, cut, joined, repeated and changed byte by byte, and whole structures of JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time

from kproxy.errors import TokenRefused
from kproxy.identity.jwt import validate
from kproxy.identity.refusals import REASONS
from kproxy.identity.sasl import parse_oauthbearer, parse_plain
from tests.support.tokens import ISS, NOW, b64, claims, header, issuer, issuer_keys, raw, rs, token

PIECES = (b"eyJ", b".", b"..", b"=", b"\x00", b"\x01", b"\xff", b"{", b"}", b"[", b'"', b"\\u", b"1e400", b"NaN",
          b"n,,\x01", b"auth=Bearer ", b'"sub":', b'"kid":', b'"crit":["x"],', b"\xef\xbb\xbf", b"-", b"_", b"9" * 400)
ISSUERS, KEYS = {ISS: issuer()}, {"corp": issuer_keys()}
SLOW = 0.05  # seconds of this thread, so that a busy machine is not a slow parser


def mutate(data: bytes, chance: random.Random) -> bytes:
    """One to four small harms."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(changed) + 1)
        kind = chance.randrange(5)
        if kind == 0 and changed:
            changed[at % len(changed)] = chance.randrange(256)
        elif kind == 1:
            changed[at:at] = chance.choice(PIECES)
        elif kind == 2:
            del changed[at : at + chance.randint(1, 40)]
        elif kind == 3:
            changed[at:at] = changed[: chance.randint(0, 80)]
        else:
            changed[at:] = b""
    return bytes(changed)


def build_signed(chance: random.Random) -> bytes:
    """A token whose signature is right over a header or payload that was harmed before signing."""
    parts = [json.dumps(header()).encode(), json.dumps(claims()).encode()]
    harmed = chance.randrange(2)
    parts[harmed] = mutate(parts[harmed], chance)
    return raw(parts[0], parts[1], rs()).encode()


def check(data: bytes) -> str:
    """Runs every parser over one input and returns what ``validate`` said of it."""
    began = time.thread_time()
    said = ""
    for parser in (parse_oauthbearer, parse_plain, lambda one: validate(one, ISSUERS, KEYS, NOW)):
        try:
            said = f"accepted {parser(data)!r}"
        except TokenRefused as refusal:
            said = refusal.reason
            assert refusal.reason in REASONS, refusal.reason
            assert "eyJ" not in f"{refusal}{refusal.args}", "a refusal quotes the token"
    assert time.thread_time() - began < SLOW, f"{len(data)} bytes took too long"
    return said


def run(seconds: float, seed: int) -> dict[str, int]:
    """Counts of what ``validate`` said. Raises AssertionError, or whatever escaped a parser, with the input's repr."""
    chance, said = random.Random(seed), {}
    good = token().encode()
    seeds = [good, b"n,a=corp:w1,\x01auth=Bearer " + good + b"\x01jobRun=42\x01\x01", b"\0job\0" + good,
             b".".join([b64(b'{"alg":"RS256"}').encode(), b64(b"[" * 40).encode(), b64(b"x").encode()])]
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        signed = chance.random() < 0.2
        data = build_signed(chance) if signed else mutate(chance.choice(seeds), chance)
        try:
            found = check(data)
        except BaseException:
            print(f"seed {seed}, input {data!r}", file=sys.stderr)
            raise
        said[found.split()[0]] = said.get(found.split()[0], 0) + 1
        if found.startswith("accepted") and not signed and data != good:
            raise AssertionError(f"a harmed token was accepted: {data!r}")
    return said


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--seconds", type=float, default=10)
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    said = run(chosen.seconds, chosen.seed)
    print(f"{sum(said.values())} inputs: " + ", ".join(f"{word} {count}" for word, count in sorted(said.items())))


if __name__ == "__main__":
    main()
