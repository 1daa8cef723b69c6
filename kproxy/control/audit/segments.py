"""Spool segments as their only reader sees them: which there are, whose they are, and what is new in one."""

from __future__ import annotations

import os
import re
from collections.abc import Container
from pathlib import Path
from typing import NamedTuple

from kproxy.model.spool import END, EVENT, MAGIC, NOTES, walk_entries

_NAME = re.compile(r"(w\d+|control)-(\d+)-(\d+)\.seg")


class Run(NamedTuple):
    """One life of one writer: ``w0`` or ``control``, and its start in Unix milliseconds."""

    writer: str
    start: int

    @property
    def worker(self) -> int:
        """The worker's number; −1 for the control process."""
        return int(self.writer[1:]) if self.writer != "control" else -1


class Segment(NamedTuple):
    run: Run
    number: int
    path: Path

    @property
    def name(self) -> str:
        return self.path.name


class Chunk(NamedTuple):
    """Whole entries that were new; ``offset`` is where the next one begins, ``rest`` the bytes behind it."""

    entries: list[tuple[int, bytes]]
    offset: int
    rest: int
    ended: bool


def list_segments(directory: Path) -> dict[Run, list[Segment]]:
    """Every segment by run, runs by start, segments by number."""
    found = []
    for name in os.listdir(directory):
        match = _NAME.fullmatch(name)
        if match:
            found.append(Segment(Run(match[1], int(match[2])), int(match[3]), directory / name))
    runs: dict[Run, list[Segment]] = {}
    for segment in sorted(found, key=lambda one: (one.run.start, one.run.writer, one.number)):
        runs.setdefault(segment.run, []).append(segment)
    return runs


def read_chunk(path: Path, offset: int, kinds: Container[int] = (EVENT, NOTES)) -> Chunk:
    """What was appended to ``path`` since ``offset`` (0: the beginning). A torn or damaged entry ends the chunk. Only
    entries of ``kinds`` are kept: notes are many times the bytes of events."""
    with open(path, "rb") as file:
        start = offset
        if offset == 0:
            if file.read(len(MAGIC)) != MAGIC:
                return Chunk([], 0, os.fstat(file.fileno()).st_size, False)
            start = len(MAGIC)
        file.seek(start)
        data = file.read()
    entries, at, ended = [], 0, False
    for kind, payload, end in walk_entries(data, passed=0 if NOTES in kinds else NOTES):
        at = end
        if kind == END:
            ended = True
            break
        if kind in kinds:
            entries.append((kind, payload))
    return Chunk(entries, start + at, len(data) - at, ended)


def list_open(directory: Path, proc: Path = Path("/proc")) -> frozenset[str]:
    """Names of the files in ``directory`` that some process of this user, this one aside, holds open. A writer that is
    alive holds its segment; a killed one holds nothing, whatever became of its number."""
    prefix = str(directory.resolve()) + "/"
    held = set()
    for process in proc.iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            for descriptor in os.scandir(process / "fd"):
                target = os.readlink(descriptor.path)
                if target.startswith(prefix):
                    held.add(target[len(prefix):])
        except OSError:
            continue  # It ended while we looked, or it is another user's.
    return frozenset(held)
