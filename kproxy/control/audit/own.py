"""The control process's own audit lines, spooled in the same shape as the workers', so that they ship the same way."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import structlog

from kproxy.model.audit_event import AuditEvent
from kproxy.model.spool import END, EVENT, MAGIC, pack_entry

log = structlog.get_logger("kproxy.audit")

SEGMENT_BYTES = 1024 * 1024


class OwnSpool:
    """``start`` is this process's start in Unix milliseconds, ``now`` gives Unix seconds."""

    def __init__(self, directory: Path, node: str, start: int, now: Callable[[], float]) -> None:
        self._directory = directory
        self._node = node
        self._start = start
        self._now = now
        self._sequence = itertools.count(1)
        self._numbers = itertools.count()
        self._fd = -1
        self._size = 0

    def record(self, kind: str, **fields: Any) -> str:
        """Appends one event and gives its id. A disk that takes nothing is told in the log: it has happened anyhow."""
        event = AuditEvent(id=f"{self._node}.control.{self._start}.{next(self._sequence)}", kind=kind, ts=self._now(),
                           node=self._node, **fields)
        try:
            self._write(pack_entry(EVENT, msgspec.json.encode(event)))
        except OSError as error:
            log.error("audit_spool_write_failed", kind=kind, error=error.strerror)
            self._leave()
        return event.id

    def close(self) -> None:
        """Writes END, so that the segment can go as soon as it is shipped."""
        if self._fd < 0:
            return
        try:
            os.write(self._fd, pack_entry(END, b""))
        except OSError as error:
            log.warning("audit_spool_end_not_written", error=error.strerror)
        self._leave()

    def _write(self, entry: bytes) -> None:
        if self._fd < 0:
            name = f"control-{self._start}-{next(self._numbers):06d}.seg"
            self._fd = os.open(self._directory / name,
                               os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._size = os.write(self._fd, MAGIC)
        written = os.write(self._fd, entry)
        self._size += written
        if written != len(entry):
            raise OSError(28, "short write")  # A torn entry hides what follows it: nothing more goes into this file.
        if self._size >= SEGMENT_BYTES:
            self.close()

    def _leave(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._size = -1, 0
