"""What every fuzz harness shares: its command line, its loop, its corpus, and what it says at the end.

A harness is three functions: ``make(chance)`` builds an input, ``change(data, chance)`` harms one, ``check(data)``
holds the invariant and says in a word what became of it. Where the native modules are instrumented
(scripts/sanitize.sh), an input that ran an edge nobody had run before is kept and harmed further. An input that breaks
the invariant is written to a file that the same harness takes as an argument.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

CORPUS = Path(__file__).resolve().parent / "corpus"
#: Beyond this the oldest of the kept inputs make room: what they found is found.
MOST_KEPT = 4096

Make = Callable[[random.Random], bytes]
Change = Callable[[bytes, random.Random], bytes]
Check = Callable[[bytes], str]


class Edges:
    """What the instrumented modules ran; blind where nothing is instrumented."""

    def __init__(self) -> None:
        program = ctypes.CDLL(None)
        self._new = getattr(program, "edges_new", None)
        self._known = getattr(program, "edges_known", None)

    @property
    def seen(self) -> bool:
        return self._new is not None

    def take(self) -> int:
        """How many edges the last input was the first to run."""
        return int(self._new()) if self._new is not None else 0

    def known(self) -> int:
        return int(self._known()) if self._known is not None else 0


class Harness:
    """``name`` is that of the harness's corpus folder."""

    def __init__(self, name: str, make: Make, change: Change, check: Check, *, edges: Edges | None = None) -> None:
        self.name = name
        self.said: Counter[str] = Counter()
        self._make, self._change, self._check = make, change, check
        self._edges = edges or Edges()
        self._kept: list[bytes] = []

    def run(self, seconds: float, seed: int) -> Counter[str]:
        """The stored corpus first, then new inputs until the time is over: how often ``check`` said what. Raises
        whatever ``check`` raised, after the input was written to a file."""
        chance = random.Random(seed)
        until = time.monotonic() + seconds
        for path in sorted((CORPUS / self.name).glob("*")):
            self.hold(path.read_bytes())
        while time.monotonic() < until:
            known = self._kept and chance.random() < 0.6
            self.hold(self._change(chance.choice(self._kept), chance) if known else self._make(chance))
        return self.said

    def hold(self, data: bytes) -> str:
        """Holds the invariant against one input."""
        try:
            word = self._check(data)
        except BaseException:
            place = Path(f"crash-{self.name}-{hashlib.sha256(data).hexdigest()[:12]}")
            place.write_bytes(data)
            print(f"{self.name}: {len(data)} bytes break the invariant, see {place}", file=sys.stderr)
            raise
        self.said[word] += 1
        if self._edges.take():
            self._kept.append(data)
            if len(self._kept) > MOST_KEPT:
                self._kept.pop(0)
        return word

    def summary(self) -> str:
        words = ", ".join(f"{word} {count}" for word, count in sorted(self.said.items()))
        edges = f"{self._edges.known()} edges, {len(self._kept)} inputs kept" if self._edges.seen \
            else "edges not counted (scripts/sanitize.sh counts them)"
        return f"fuzz_{self.name}: {sum(self.said.values())} inputs ({words}); {edges}"

    def main(self, about: str) -> None:
        options = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
        options.add_argument("--seconds", type=float, default=30)
        options.add_argument("--seed", type=int, default=0)
        options.add_argument("files", nargs="*", type=Path, help="inputs to check instead of making some")
        chosen = options.parse_args()
        for path in chosen.files:
            print(f"{path}: {self.hold(path.read_bytes())}")
        if not chosen.files:
            self.run(chosen.seconds, chosen.seed)
        print(self.summary())


def mutate(data: bytes, chance: random.Random, pieces: tuple[bytes, ...]) -> bytes:
    """None to four small harms: a byte, a piece in or over, a run out, the beginning repeated, the end cut off."""
    changed = bytearray(data)
    for _ in range(chance.randint(0, 4)):
        at = chance.randrange(len(changed) + 1)
        kind = chance.randrange(6)
        if kind == 0 and changed:
            changed[at % len(changed)] = chance.randrange(256)
        elif kind == 1:
            changed[at:at] = chance.choice(pieces)
        elif kind == 2:
            piece = chance.choice(pieces)
            changed[at:at + len(piece)] = piece
        elif kind == 3:
            del changed[at:at + chance.randint(1, 40)]
        elif kind == 4:
            changed[at:at] = changed[:chance.randint(0, 80)]
        elif chance.random() < 0.3:
            changed[at:] = b""
    return bytes(changed)
