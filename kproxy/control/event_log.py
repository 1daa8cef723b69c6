"""The node's event log: an append-only table in SQLite that is the truth about approvals and grants.

State is derived by replaying it, so nothing can be approved without the line that says by whom. Triggers refuse
changing or deleting a line, also by hand. ``born`` tells two logs of the same node apart after one was lost.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS marks (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TRIGGER IF NOT EXISTS events_never_change BEFORE UPDATE ON events
  BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END;
CREATE TRIGGER IF NOT EXISTS events_never_go BEFORE DELETE ON events
  BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END;
"""


class Entry(msgspec.Struct, frozen=True):
    """``seq`` grows by one with every entry; ``body`` is JSON."""

    seq: int
    body: bytes


class EventLog:
    """One writer: the control process, which holds the state directory's lock."""

    def __init__(self, path: Path, born: int) -> None:
        """Opens or creates ``path`` (0600). ``born`` (Unix milliseconds) is kept from the first opening on."""
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        # An approval that was answered must still be there after a power cut; approvals are rare, so a sync is cheap.
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)
        self._db.execute("INSERT OR IGNORE INTO marks VALUES ('born', ?)", (born,))
        self.born = self.mark("born")

    def append(self, bodies: Sequence[bytes]) -> None:
        """All or none. Raises OSError where the disk takes nothing."""
        with _disk_errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany("INSERT INTO events (body) VALUES (?)", [(body,) for body in bodies])
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def read(self, after: int = 0, limit: int = -1) -> list[Entry]:
        """Entries with a higher number than ``after``, in order."""
        rows = self._db.execute("SELECT seq, body FROM events WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit))
        return [Entry(seq, bytes(body)) for seq, body in rows]

    def last(self) -> int:
        """The number of the last entry; 0 if there is none."""
        return int(self._db.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0])

    def mark(self, name: str) -> int:
        """A number kept beside the log; 0 if it was never set."""
        row = self._db.execute("SELECT value FROM marks WHERE name = ?", (name,)).fetchone()
        return int(row[0]) if row else 0

    def raise_mark(self, name: str, value: int) -> None:
        """Sets a number that only grows. Raises OSError where the disk takes nothing."""
        with _disk_errors():
            self._db.execute("INSERT INTO marks VALUES (?, ?)"
                             " ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)", (name, value))

    def close(self) -> None:
        self._db.close()


@contextmanager
def _disk_errors() -> Iterator[None]:
    """SQLite has errors of its own for what the system calls no space left or an I/O error."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise OSError(errno.ENOSPC if "full" in str(error) else errno.EIO, str(error)) from error
