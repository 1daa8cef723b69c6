"""The JSON Lines file that audit lines end in, and the position that says how far each source has been shipped into it.

Order of a batch: append to the sink → fsync → write the position beside it and rename → only then forget the source.
After a crash the sink may hold lines that the position does not know of yet: their ids are read back and those lines
are not written again. A last line without its end was being written when we died; it is cut off and written anew.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import structlog

from kproxy.control.files import sync_directory, write_whole

log = structlog.get_logger("kproxy.audit")


#: Reading back more than this takes long enough to be told of.
TOLD_BYTES = 16 << 20


class Position(msgspec.Struct):
    """``segments``: bytes read of each, ``ended`` those read up to their END. ``finished``: runs that are over and
    wholly told, as ``writer-start``. ``approvals``: entries told of the event log that was ``born`` then. The rest is
    the sink's inode and its length."""

    segments: dict[str, int] = {}
    ended: list[str] = []
    finished: list[str] = []
    approvals: int = 0
    born: int = 0
    sink_inode: int = 0
    sink_bytes: int = 0


class _Id(msgspec.Struct):
    id: str


_read_id = msgspec.json.Decoder(_Id).decode


class Sink:
    """Appends lines to ``path``. ``positions`` is the file of the position."""

    def __init__(self, path: Path, positions: Path) -> None:
        self.path = path
        self._positions = positions
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        positions.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._fd = -1
        self.position = self._read_position()
        self._open()
        self._told = self._read_tail()

    def append(self, lines: Iterable[bytes]) -> int:
        """Writes and syncs the lines that are not there yet; how many. Raises OSError, and then nothing is counted."""
        if self._told:
            lines = [line for line in lines if _read_id(line).id not in self._told]
        data = b"".join(line + b"\n" for line in lines)
        if not data:
            return 0
        self._follow_rotation()
        before = os.fstat(self._fd).st_size
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._fd, rest):]
            os.fsync(self._fd)
        except OSError:
            os.ftruncate(self._fd, before)
            raise
        return data.count(b"\n")

    def commit(self) -> None:
        """Makes the position outlive us, together with the sink's length it belongs to."""
        status = os.fstat(self._fd)
        self.position.sink_inode, self.position.sink_bytes = status.st_ino, status.st_size
        write_whole(self._positions, msgspec.json.encode(self.position))

    def caught_up(self) -> None:
        """Every source was read to its end since the start: nothing that is told already can come again."""
        self._told.clear()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> None:
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        sync_directory(self.path.parent)

    def _follow_rotation(self) -> None:
        """Somebody may have renamed or removed the file: lines go to the one of this name."""
        try:
            same = os.stat(self.path).st_ino == os.fstat(self._fd).st_ino
        except FileNotFoundError:
            same = False
        if not same:
            self.close()
            self._open()

    def _read_position(self) -> Position:
        try:
            return msgspec.json.decode(self._positions.read_bytes(), type=Position)
        except FileNotFoundError:
            return Position()
        except (msgspec.MsgspecError, OSError) as error:
            log.error("audit_position_unreadable", file=str(self._positions), error=str(error))
            return Position()

    def _read_tail(self) -> set[str]:
        """Ids of the lines behind the position's length; behind nothing, where the position belongs to another file."""
        status = os.fstat(self._fd)
        start = self.position.sink_bytes
        if status.st_ino != self.position.sink_inode or status.st_size < start:
            start = 0
        told, end = set(), start
        if status.st_size - start > TOLD_BYTES:
            log.info("audit_sink_read_back", file=str(self.path), bytes=status.st_size - start)
        with open(self.path, "rb") as file:
            file.seek(start)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                end += len(line)
                try:
                    told.add(_read_id(line).id)
                except msgspec.MsgspecError:
                    continue  # Not ours; it stays as it is.
        if end < status.st_size:
            log.warning("audit_torn_line_cut", file=str(self.path), bytes=status.st_size - end)
            os.ftruncate(self._fd, end)
        return told


def read_tail(path: Path, count: int, after: int) -> tuple[list[bytes], int]:
    """The last ``count`` lines, or the first ``count`` after byte ``after``; and where to go on."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
    if not 0 <= after <= size:  # Nothing asked for yet, or the file was rotated.
        return list(itertools.islice(read_lines_backwards(path, size), count))[::-1], size
    lines = []
    with open(path, "rb") as file:
        file.seek(after)
        for line in itertools.islice(file, count):
            if not line.endswith(b"\n"):
                break  # It is being written.
            lines.append(line[:-1])
            after += len(line)
    return lines, after


def read_lines_backwards(path: Path, end: int = -1, block: int = 1 << 20) -> Iterator[bytes]:
    """Lines from the one that ends at byte ``end`` (−1: the file's end) to the first, a block at a time."""
    with open(path, "rb") as file:
        at = file.seek(0, os.SEEK_END) if end < 0 else end
        rest = b""
        while at > 0:
            size = min(block, at)
            at -= size
            file.seek(at)
            lines = (file.read(size) + rest).split(b"\n")
            rest = lines[0]
            for line in reversed(lines[1:]):
                if line:
                    yield line
        if rest:
            yield rest
