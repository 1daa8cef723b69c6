"""Invariant: YAML that is composed natively is the tree that PyYAML composes, and only where it finds nothing wrong.

    python -m tests.fuzz.fuzz_yaml --seconds 30 [--seed 1] [FILE ...]

Inputs are the demo's own files, cut to lines, joined and harmed, and runs of YAML's own marks.
"""

from __future__ import annotations

import random

from kproxy.yaml_nodes import MAX_DEPTH
from tests.fuzz.harness import Harness, mutate
from tests.property.test_yaml_tree import ROOT, agree

LINES = [line for path in sorted((ROOT / "kproxy").rglob("*.yaml")) for line in path.read_bytes().splitlines(True)]
PIECES = (b"- ", b": ", b"? ", b"\n", b"\n  ", b"\n    ", b"[", b"]", b"{", b"}", b", ", b" # said\n", b"|\n  x\n",
          b">-\n  x\n", b"&x ", b"*x", b"!t ", b"!!str ", b"%YAML 1.2\n", b"---\n", b"...\n", b"\t", b"\xef\xbb\xbf",
          b"\0", b"\xc2\x85", b"\r\n", b"'", b'"', b"\\u00e9", b"<<", b"~", b"12", b"\xff", b"\xf0\x9f\x98\x80",
          b"[" * MAX_DEPTH, b"]" * MAX_DEPTH, b"{a: " * 7, b"- " * 9)


def make(chance: random.Random) -> bytes:
    if chance.random() < 0.4:
        return b"".join(chance.choices(PIECES, k=chance.randrange(24)))
    at = chance.randrange(len(LINES))
    return mutate(b"".join(LINES[at : at + chance.randrange(1, 12)]), chance, PIECES)


HARNESS = Harness("yaml", make, lambda data, chance: mutate(data, chance, PIECES),
                  lambda data: "plain" if agree(data) else "not plain")

if __name__ == "__main__":
    HARNESS.main(__doc__)
