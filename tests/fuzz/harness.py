"""What every fuzz harness shares: its command line, its loop, its corpus, and what it says at the end.

A harness is three functions: ``make(chance)`` builds an input, ``change(data, chance)`` harms one, ``check(data)``
holds the invariant and says in a word what became of it. A run begins with the stored corpus. Where the native modules
are instrumented (scripts/sanitize.sh), or the code is Python (Lines), an input that ran an edge nobody had run before
is kept and harmed further. An input that breaks the invariant is written to a file that the same harness takes as an
argument.
"""

from __future__ import annotations

import argparse
import base64
import ctypes
import hashlib
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType

CORPUS = Path(__file__).resolve().parent / "corpus"
#: What a stored corpus may weigh: a repository is no place for more.
STORED_BYTES = 32 * 1024
#: Of an input that breaks an invariant, in the log.
SHOWN_BYTES = 12 * 1024
#: Beyond this the oldest of the kept inputs make room: what they found is found.
MOST_KEPT = 4096

Make = Callable[[random.Random], bytes]
Change = Callable[[bytes, random.Random], bytes]
Check = Callable[[bytes], str]


def stored(name: str) -> list[bytes]:
    """The inputs of a harness's stored corpus. Its file is one after the other, each behind its length (u32)."""
    path, found, at = CORPUS / f"{name}.inputs", [], 0
    data = path.read_bytes() if path.exists() else b""
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        found.append(data[at + 4 : end])
        at = end
    return found


class Edges:
    """What the instrumented modules ran; blind where nothing is instrumented."""

    def __init__(self) -> None:
        program = ctypes.CDLL(None)
        self._new = getattr(program, "edges_new", None)
        self._known = getattr(program, "edges_known", None)
        self._forget = getattr(program, "edges_forget", None)

    @property
    def seen(self) -> bool:
        return self._new is not None

    def run(self, check: Check, data: bytes) -> str:
        return check(data)

    def take(self) -> int:
        """How many edges the last input was the first to run."""
        return int(self._new()) if self._new is not None else 0

    def known(self) -> int:
        return int(self._known()) if self._known is not None else 0

    def forget(self) -> None:
        """Every edge is new again."""
        if self._forget is not None:
            self._forget()


class Lines:
    """The same face for a parser in Python: steps from line to line in the files of one folder. Tracing costs several
    times the parser's own time, so native modules are not watched this way."""

    seen = True

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._known: set[tuple[object, int, int]] = set()
        self._fresh = 0
        self._before = 0

    def run(self, check: Check, data: bytes) -> str:
        self._fresh, self._before = 0, 0
        sys.settrace(self._on_call)
        try:
            return check(data)
        finally:
            sys.settrace(None)

    def _on_call(self, frame: FrameType, _event: str, _about: object) -> Callable[..., object] | None:
        return self._on_line if self._folder in frame.f_code.co_filename else None

    def _on_line(self, frame: FrameType, event: str, _about: object) -> Callable[..., object]:
        if event == "line":
            step = (frame.f_code, self._before, frame.f_lineno)
            if step not in self._known:
                self._known.add(step)
                self._fresh += 1
            self._before = frame.f_lineno
        return self._on_line

    def take(self) -> int:
        return self._fresh

    def known(self) -> int:
        return len(self._known)

    def forget(self) -> None:
        self._known.clear()


class Harness:
    """``name`` is that of the harness's stored corpus."""

    def __init__(self, name: str, make: Make, change: Change, check: Check, *,
                 edges: Edges | Lines | None = None) -> None:
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
        for data in stored(self.name):
            self.hold(data)
        while time.monotonic() < until:
            known = self._kept and chance.random() < 0.6
            self.hold(self._change(chance.choice(self._kept), chance) if known else self._make(chance))
        return self.said

    def hold(self, data: bytes) -> str:
        """Holds the invariant against one input."""
        try:
            word = self._edges.run(self._check, data)
        except BaseException:
            place = Path(f"crash-{self.name}-{hashlib.sha256(data).hexdigest()[:12]}")
            place.write_bytes(data)
            print(f"{self.name}: {len(data)} bytes break the invariant, see {place}", file=sys.stderr)
            # Of a run elsewhere the log may be all that is left.
            print(f"echo {base64.b64encode(data[:SHOWN_BYTES]).decode()} | base64 -d >{place}"
                  f"{' # its beginning' if len(data) > SHOWN_BYTES else ''}", file=sys.stderr)
            raise
        self.said[word] += 1
        if self._edges.take():
            self._kept.append(data)
            if len(self._kept) > MOST_KEPT:
                self._kept.pop(0)
        return word

    def store(self) -> int:
        """Writes the stored corpus anew, out of what was kept: small inputs first, each that runs an edge which those
        before it did not, as long as there is room. How many there are."""
        self._edges.forget()
        chosen, room = [], STORED_BYTES
        for data in sorted(set(self._kept), key=lambda one: (len(one), one)):
            self._edges.run(self._check, data)
            if self._edges.take() and len(data) + 4 <= room:
                chosen.append(len(data).to_bytes(4, "big") + data)
                room -= len(data) + 4
        CORPUS.mkdir(exist_ok=True)
        (CORPUS / f"{self.name}.inputs").write_bytes(b"".join(chosen))
        return len(chosen)

    def summary(self) -> str:
        words = ", ".join(f"{word} {count}" for word, count in sorted(self.said.items()))
        edges = f"{self._edges.known()} edges, {len(self._kept)} inputs kept" if self._edges.seen \
            else "edges not counted (scripts/sanitize.sh counts them)"
        return f"fuzz_{self.name}: {sum(self.said.values())} inputs ({words}); {edges}"

    def main(self, about: str) -> None:
        options = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
        options.add_argument("--seconds", type=float, default=30)
        options.add_argument("--seed", type=int, default=0)
        options.add_argument("--store", action="store_true", help="write the stored corpus anew out of what was found")
        options.add_argument("files", nargs="*", type=Path, help="inputs to check instead of making some")
        chosen = options.parse_args()
        for path in chosen.files:
            print(f"{path}: {self.hold(path.read_bytes())}")
        if not chosen.files:
            self.run(chosen.seconds, chosen.seed)
        print(self.summary())
        if chosen.store and self._edges.seen:
            print(f"fuzz_{self.name}: {self.store()} inputs stored")


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
