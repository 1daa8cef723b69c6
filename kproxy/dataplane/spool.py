"""A worker's audit spool: segment files that survive the worker's death at any instruction.

What the ledger adds during a turn of the event loop is one ``write(2)`` in ``commit``, made before that turn's bytes
leave the worker: a killed worker loses nothing that a client has seen. ``fdatasync`` follows once a second on a thread
of its own, which bounds what a power cut may take. With ``durability: interval`` also the write waits up to a second.

A turn that cannot be written raises SpoolFull and its notes are dropped: nothing of that turn may leave the worker, and
its connections are closed. So new work is refused a little earlier (``scant``), while there is room for the outcomes of
what was forwarded already, and for the control process to ship by.
Events (a denial, a closed session) did happen, so they stay in memory, bounded, until there is room again.

Within a turn events come after notes. A flow event covers the notes before it, and the ledger hands over its notes only
at the end of the turn; so an event that is appended meanwhile waits for them.

Most turns have notes only and fit into the open segment. Those the ledger writes itself, through the ``pen`` that is
lent to it after a turn and taken back before anything else is done here.
The shape of the files is kproxy/model/spool.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path

import structlog

from kproxy._ext.ledger import Pen
from kproxy.errors import SpoolFull
from kproxy.model.settings import Audit
from kproxy.model.spool import END, EVENT, MAGIC, pack_entry

log = structlog.get_logger("kproxy.spool")

#: Kafka's own default for a log segment is 1 GiB; these are deleted as soon as they are shipped, so small ones free
#: space early.
SEGMENT_BYTES = 64 * 1024 * 1024
#: A segment is closed at this age, so that a quiet worker's lines become deletable too.
SEGMENT_SECONDS = 300.0
#: With ``durability: interval`` a buffer of this size is written without waiting for the second to end.
BUFFER_BYTES = 256 * 1024
#: Room below ``max_spool_bytes`` that is kept for outcomes; a sixteenth of the limit where that is less.
RESERVE_BYTES = 1024 * 1024
#: Room that is left on the disk itself, also for what the control process writes in a pass (PASS_BYTES in
#: kproxy/control/audit/ship.py); an eighth of a smaller disk.
DISK_RESERVE_BYTES = 16 * 1024 * 1024
_END_ENTRY = pack_entry(END, b"")
#: Events kept in memory while the spool takes nothing.
HELD_EVENT_BYTES = 8 * 1024 * 1024


class Spool:
    """The one writer of ``directory/w<worker>-<start>-<number>.seg``.

    ``start`` is the worker's start in Unix milliseconds, ``clock`` gives monotonic seconds, ``executor`` has one thread
    and is used for ``fdatasync`` and closing only. ``call_soon`` schedules ``end_turn`` for what was added outside a
    turn's own.
    """

    def __init__(self, directory: Path, worker: int, start: int, settings: Audit, *, clock: Callable[[], float],
                 call_soon: Callable[[Callable[[], None]], object], executor: Executor | None = None) -> None:
        self._directory = directory
        self._prefix = f"w{worker}-{start}-"
        self._settings = settings
        self._clock = clock
        self._call_soon = call_soon
        self._executor = executor
        self._interval = settings.durability == "interval"
        self._segment_bytes = max(4096, min(SEGMENT_BYTES, settings.max_spool_bytes // 8))
        self._notes: list[bytes] = []
        self._events: list[bytes] = []
        self._waiting_bytes = 0
        self._at_commit: list[Callable[[], None]] = []
        self.end_turn: Callable[[], object] = self._commit_events
        """What ends a turn: the owner of the ledger puts its own in place, so that notes are handed over first."""
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._scheduled = False
        self._fd = -1
        self._unended: list[tuple[int, int]] = []
        self._torn: list[int] = []
        self._number = 0
        self._size = 0
        self._synced = 0
        self._opened_at = 0.0
        self._elsewhere = 0
        self._lost = 0
        self._refuses = settings.when_full == "refuse"
        self._reserve = min(RESERVE_BYTES, settings.max_spool_bytes // 16) if self._refuses else 0
        self._scarce = False
        self.scant = False
        """Whether there is room for outcomes only. Never where nothing is refused: then there is nothing to keep it
        for."""
        self.full = False
        self.pen = Pen()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._measure()

    @property
    def refusing(self) -> bool:
        """Whether work that must be audited is to be refused now, before it is begun."""
        return self.scant or (self.full and self._refuses)

    @property
    def bytes_used(self) -> int:
        """Bytes in the whole directory as last measured, with what this worker has written since."""
        return self._elsewhere + self._size + int(self.pen.written)

    def take_lost(self) -> int:
        """Entries dropped since the last call because the spool was full."""
        lost, self._lost = self._lost, 0
        return lost

    def append(self, kind: int, payload: bytes) -> None:
        """Adds an entry to this turn. It is on its way to the disk after the next ``commit``, at the latest this turn's
        end."""
        self._take_pen_back()
        entry = pack_entry(kind, payload)
        (self._events if kind == EVENT else self._notes).append(entry)
        self._waiting_bytes += len(entry)
        if not self._scheduled:
            self._scheduled = True
            self._call_soon(self._end_turn)

    def at_commit(self, action: Callable[[], None]) -> None:
        """Runs ``action`` once inside the next ``commit``, when all notes have been handed over and none is written."""
        self._take_pen_back()
        self._at_commit.append(action)

    def commit(self) -> None:
        """Writes the turn. Raises SpoolFull where nothing of this turn may leave the worker."""
        self._take_pen_back()
        if self._at_commit:
            actions, self._at_commit = self._at_commit, []
            for action in actions:
                action()
        if self._waiting_bytes and not (self._interval and self._waiting_bytes < BUFFER_BYTES and not self.full):
            self._write_turn()
        self._lend_pen()

    def on_failed(self, error: Exception) -> None:
        """Told by the ledger what else went wrong in a commit: a bug, not a disk."""
        log.error("audit_failed", exc_info=error)

    def tick(self) -> None:
        """Once a second: writes what waits, rotates by age, syncs, and looks whether there is room again."""
        self._take_pen_back()
        self._measure()
        self._end_the_unended()
        if self.full and self._has_room(self._held_bytes):
            self._recover()
        self._look_at_reserve()
        if self._interval and self._waiting_bytes:
            # It was told once where the spool turned full; whoever needs an answer hears of it in commit().
            with suppress(SpoolFull):
                self._write_turn()
        if self._fd >= 0 and self._clock() - self._opened_at >= SEGMENT_SECONDS:
            self._close_segment()
        self._sync()
        self._lend_pen()

    def close(self) -> None:
        """Writes what is left and END. What still cannot be written is counted in the log."""
        self._take_pen_back()
        with suppress(SpoolFull):
            if self._held:
                self._recover()
            if self._waiting_bytes:
                self._write_turn()
        if self._held or self._lost:
            log.error("audit_lines_lost", entries=self._lost + len(self._held))
        self._close_segment()
        self._end_the_unended()
        for fd in (*self._torn, *(fd for fd, _ in self._unended)):
            self._retire(fd)

    def _end_turn(self) -> None:
        self._scheduled = False
        self.end_turn()

    def _commit_events(self) -> None:
        # Without a ledger there are only events, and those are held.
        with suppress(SpoolFull):
            self.commit()

    def _write_turn(self) -> None:
        notes, turn = bool(self._notes), [*self._notes, *self._events]
        data = turn[0] if len(turn) == 1 else b"".join(turn)
        self._notes, self._events, self._waiting_bytes = [], [], 0
        if not self.full and self._has_room(len(data)) and self._write(data):
            self._look_at_reserve()
            return
        self._turn_full()
        self._hold(turn)
        if self._refuses and notes:
            raise SpoolFull("the audit spool is full")

    def _lend_pen(self) -> None:
        """While a turn of notes needs nothing but one write: the segment is not closed by it, and all of it fits."""
        if self._fd < 0 or self.full or self.scant or self._interval or self._waiting_bytes or self._at_commit:
            return
        self.pen.fd = self._fd
        limit = self._settings.max_spool_bytes - self._reserve
        self.pen.room = min(self._segment_bytes - self._size, limit - self.bytes_used)

    def _take_pen_back(self) -> None:
        self.pen.room = 0
        self._size += self.pen.written
        self.pen.written = 0
        if self.pen.torn:
            self.pen.torn = False
            self._cut_back()
            log.error("audit_spool_write_failed", error="short write")

    def _hold(self, turn: list[bytes]) -> None:
        for entry in turn:
            if entry[8] == EVENT and self._held_bytes + len(entry) <= HELD_EVENT_BYTES:
                self._held.append(entry)
                self._held_bytes += len(entry)
            else:
                self._lost += 1

    def _write(self, data: bytes) -> bool:
        """One ``write(2)``. False leaves the segment as it was: a torn entry would hide all that follow it."""
        try:
            if self._fd < 0:
                self._open_segment()
            written = os.write(self._fd, data)
        except OSError as error:
            log.error("audit_spool_write_failed", error=error.strerror)
            return False
        if written != len(data):
            # First of all: on a full disk the log may fail as well.
            self._cut_back()
            log.error("audit_spool_write_failed", error="short write")
            return False
        self._size += written
        if self._size >= self._segment_bytes:
            self._close_segment()
        return True

    def _cut_back(self) -> None:
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            # The torn tail stays. Readers stop at it, so nothing may follow it in this file; it stays open as above.
            self._torn.append(self._fd)
            self._elsewhere += self._size
            self._fd, self._size, self._synced = -1, 0, 0

    def _open_segment(self) -> None:
        name = self._directory / f"{self._prefix}{self._number:06d}.seg"
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._number += 1
        try:
            if os.write(fd, MAGIC) != len(MAGIC):
                raise OSError(28, "short write")
        except OSError:
            os.close(fd)
            name.unlink(missing_ok=True)
            raise
        self._fd, self._size, self._synced = fd, len(MAGIC), 0
        self._opened_at = self._clock()

    def _close_segment(self) -> None:
        if self._fd < 0:
            return
        if self._write_end(self._fd, self._size):
            self._size += len(_END_ENTRY)
            self._retire(self._fd)
        else:
            # Held open until END is there: a segment without it that nobody holds reads as that of a dead writer.
            self._unended.append((self._fd, self._size))
        self._elsewhere += self._size
        self._fd, self._size, self._synced = -1, 0, 0

    def _write_end(self, fd: int, size: int) -> bool:
        try:
            if os.write(fd, _END_ENTRY) == len(_END_ENTRY):
                return True
            os.ftruncate(fd, size)
        except OSError as error:
            log.warning("audit_spool_end_not_written", error=error.strerror)
        return False

    def _end_the_unended(self) -> None:
        for one in list(self._unended):
            if self._write_end(*one):
                self._unended.remove(one)
                self._retire(one[0])

    def _retire(self, fd: int) -> None:
        def sync_and_close() -> None:
            try:
                os.fdatasync(fd)
            finally:
                os.close(fd)

        self._run(sync_and_close)

    def _sync(self) -> None:
        if self._fd < 0 or self._synced == self._size:
            return
        fd, self._synced = self._fd, self._size
        self._run(lambda: os.fdatasync(fd))

    def _run(self, job: Callable[[], None]) -> None:
        if self._executor is None:
            job()
        else:
            self._executor.submit(job)

    def _has_room(self, size: int) -> bool:
        return self.bytes_used + size <= self._settings.max_spool_bytes

    def _look_at_reserve(self) -> None:
        scant = self._refuses and (self._scarce or not self._has_room(self._reserve))
        if scant == self.scant:
            return
        self.scant = scant
        if self.full:
            return  # Which was told, and is worse.
        if scant:
            log.error("audit_spool_nearly_full", used=self.bytes_used, limit=self._settings.max_spool_bytes,
                      reason="the disk" if self._scarce else "max_spool_bytes")
            self._close_segment()  # Only closed segments are deleted once shipped.
        else:
            log.warning("audit_spool_has_room", used=self.bytes_used, lost=self._lost)

    def _turn_full(self) -> None:
        if self.full:
            return
        self.full = True
        log.error("audit_spool_full", used=self.bytes_used, limit=self._settings.max_spool_bytes,
                  when_full=self._settings.when_full)
        self._close_segment()  # Only closed segments are deleted once shipped, so this one must not stay open.

    def _recover(self) -> None:
        """Full no more, if the disk takes what is held, or at least the beginning of a segment."""
        held = b"".join(self._held)
        if not self._write(held):
            return
        self._held, self._held_bytes = [], 0
        if self.full:
            self.full = False
            log.warning("audit_spool_has_room", used=self.bytes_used, lost=self._lost)

    def _measure(self) -> None:
        """Sums the directory, this worker's open segment aside: the limit is the node's, not the worker's. Looks at the
        disk too, which others fill as well."""
        disk = os.statvfs(self._directory)
        self._scarce = disk.f_bavail * disk.f_frsize < min(DISK_RESERVE_BYTES, disk.f_blocks * disk.f_frsize // 8)
        own = f"{self._prefix}{self._number - 1:06d}.seg" if self._fd >= 0 else ""
        total = 0
        with os.scandir(self._directory) as entries:
            for entry in entries:
                if entry.name.endswith(".seg") and entry.name != own:
                    try:
                        total += entry.stat().st_size
                    except FileNotFoundError:
                        continue  # Shipped and deleted between the listing and the look.
        self._elsewhere = total
