"""Invariant: only the one message that proves the password ends a SCRAM login; others are refused, soon and quietly.

    python -m tests.fuzz.fuzz_scram --seconds 30 [--seed 1] [FILE ...]

An input is what a broker says: the length of its first message (u16), that message, then its last one. Of an honest
first message the honest last one follows from the exchange; the word LAST in an input stands for it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import random
import time

from kproxy.errors import BrokerRefusedLogin
from kproxy.identity.scram import LONGEST_MESSAGE, SaltedKeys, ScramClient
from tests.fuzz.harness import Harness, Lines, mutate

NONCE, PASSWORD = "rOprNGfwEbeRWgbNEkqO", "a-password-that-nobody-sees"
KEYS = SaltedKeys()
FIRSTS = (b"r=%s!srv,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096" % NONCE.encode(),
          b"r=%s!srv,s=QSXCR+Q6sek8bf92,i=4096,x=later" % NONCE.encode())
LASTS = (b"LAST", b"LAST,x=later", b"e=invalid-proof", b"v=", b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
PIECES = (b",", b"=", b"r=", b"s=", b"i=", b"m=x,", b"v=", b"e=", b"i=4095", b"i=65537", b"i=" + b"9" * 300, b"\xff",
          b"\0", b"i=\xd9\xa4\xd9\xa0\xd9\xa9\xd9\xa6", NONCE.encode(), b"LAST", b"AAAA", b"====")
SLOW = 0.5  # seconds of this thread: the most iterations that are taken are a tenth of it


def honest_last(first: bytes, said: bytes) -> bytes:
    """The server's signature over this exchange, worked out without the client."""
    fields = dict(part.split(b"=", 1) for part in first.split(b",")[:3])
    salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), base64.b64decode(fields[b"s"]), int(fields[b"i"]))
    key = hmac.digest(salted, b"Server Key", "sha256")
    proven = b",".join((b"n=user,r=" + NONCE.encode(), first, said.rpartition(b",p=")[0]))
    return base64.b64encode(hmac.digest(key, proven, "sha256"))


def check(data: bytes) -> str:
    size = int.from_bytes(data[:2], "big")
    first, last = data[2 : 2 + size], data[2 + size :]
    client = ScramClient("SCRAM-SHA-256", "user", PASSWORD, NONCE, KEYS)
    assert client.build_first() == b"n,,n=user,r=" + NONCE.encode()
    try:
        said = client.receive(first)
        assert said is not None and not client.done and len(first) <= LONGEST_MESSAGE
        assert first.startswith(b"r=" + NONCE.encode()) and said.startswith(b"c=biws," + first.split(b",")[0] + b",p=")
        assert 4096 <= int(first.split(b",")[2][2:]) <= 65536, "too little work, or too much"
        right = b"v=" + honest_last(first, said)
        last = last.replace(b"LAST", right)
        assert client.receive(last) is None and client.done
        assert last == right or last.startswith(right + b","), "a signature that proves nothing"
    except BrokerRefusedLogin as refusal:
        assert not client.done and PASSWORD not in f"{refusal}{refusal.args}"
        return "refused"
    return "proved"


def check_input(data: bytes) -> str:
    began = time.thread_time()
    word = check(data)
    assert time.thread_time() - began < SLOW, f"{len(data)} bytes took too long"
    return word


def make(chance: random.Random) -> bytes:
    first, last = chance.choice(FIRSTS), chance.choice(LASTS)
    if chance.random() < 0.7:
        first = mutate(first, chance, PIECES)
    if chance.random() < 0.5:
        last = mutate(last, chance, PIECES)
    return len(first).to_bytes(2, "big") + first + last


HARNESS = Harness("scram", make, lambda data, chance: mutate(data, chance, PIECES), check_input,
                  edges=Lines("kproxy/identity"))

if __name__ == "__main__":
    HARNESS.main(__doc__)
