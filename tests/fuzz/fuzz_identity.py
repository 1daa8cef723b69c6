"""Invariant: any bytes give a value or a TokenRefused of the table that quotes no token; harm is never accepted.

    python -m tests.fuzz.fuzz_identity --seconds 30 [--seed 1]

Inputs are honest tokens and messages, cut, joined, repeated and changed byte by byte, and whole structures of JSON.
"""

from __future__ import annotations

import json
import random
import time

from kproxy.errors import TokenRefused
from kproxy.identity.jwt import validate
from kproxy.identity.refusals import REASONS
from kproxy.identity.sasl import parse_oauthbearer, parse_plain
from tests.fuzz.harness import Harness, Lines, mutate
from tests.support.tokens import ISS, NOW, b64, claims, header, issuer, issuer_keys, raw, rs, token

PIECES = (b"eyJ", b".", b"..", b"=", b"\x00", b"\x01", b"\xff", b"{", b"}", b"[", b'"', b"\\u", b"1e400", b"NaN",
          b"n,,\x01", b"auth=Bearer ", b'"sub":', b'"kid":', b'"crit":["x"],', b"\xef\xbb\xbf", b"-", b"_", b"9" * 400)
ISSUERS, KEYS = {ISS: issuer()}, {"corp": issuer_keys()}
SLOW = 0.05  # seconds of this thread, so that a busy machine is not a slow parser


def build_signed(chance: random.Random) -> bytes:
    """A token whose signature is right over a header or payload that was harmed before signing."""
    parts = [json.dumps(header()).encode(), json.dumps(claims()).encode()]
    harmed = chance.randrange(2)
    parts[harmed] = mutate(parts[harmed], chance, PIECES)
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


GOOD = token().encode()
SEEDS = (GOOD, b"n,a=corp:w1,\x01auth=Bearer " + GOOD + b"\x01jobRun=42\x01\x01", b"\0job\0" + GOOD,
         b".".join([b64(b'{"alg":"RS256"}').encode(), b64(b"[" * 40).encode(), b64(b"x").encode()]))
#: What was signed with the issuer's key, and may be accepted.
signed: set[bytes] = {GOOD}


def make(chance: random.Random) -> bytes:
    if chance.random() < 0.2:
        data = build_signed(chance)
        signed.add(data)
        return data
    return mutate(chance.choice(SEEDS), chance, PIECES)


def check_input(data: bytes) -> str:
    word = check(data).split()[0]
    assert word != "accepted" or data in signed, "a harmed token was accepted"
    return word


HARNESS = Harness("identity", make, lambda data, chance: mutate(data, chance, PIECES), check_input,
                  edges=Lines("kproxy/identity"))

if __name__ == "__main__":
    HARNESS.main(__doc__)
