"""Ships audit lines from the spool into the sink: everything once, also when anybody dies at any moment.

One pass:

    1  list the segments; of each run read what is new, segment by segment
    2  for a run whose writer is gone: work out the lines it still owed (recovery)
    3  append all lines to the sink, sync, write the position
    4  delete what is told and no longer needed

A closed segment of a living worker stays for a while after it was read: if the worker dies, its notes are needed for
what the worker had not summed up yet. A pass runs on a thread and shares nothing with the event loop but its arguments.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from kproxy.control.audit import segments as spool
from kproxy.control.audit.recovery import Head, Recovery, read_head
from kproxy.control.audit.segments import Chunk, Run, Segment, list_segments, read_chunk
from kproxy.control.audit.sink import Position, Sink, read_lines_backwards
from kproxy.model.spool import EVENT

log = structlog.get_logger("kproxy.audit")

#: A pass writes about this much before it commits, so that catching up neither grows nor repeats much.
PASS_BYTES = 8 * 1024 * 1024
#: How often open files are looked at to tell a dead writer from an idle one.
LOOK_SECONDS = 5.0


class Shipper:
    """``away(worker)`` says whether a worker has been without a link for long. ``own_start`` is this control process's
    run; ``summed`` (seconds) is the time in which a worker has summed up its notes, ``settle`` is well beyond it."""

    def __init__(self, directory: Path, sink: Sink, node: str, *, own_start: int, settle: float, summed: float,
                 max_bytes: int, now: Callable[[], float], away: Callable[[int], bool],
                 list_open: Callable[[Path], frozenset[str]] = spool.list_open) -> None:
        self._directory = directory
        self._sink = sink
        self._node = node
        self._own = Run("control", own_start)
        self._settle = settle
        self._summed = summed
        self._max_bytes = max_bytes
        self._now = now
        self._away = away
        self._list_open = list_open
        self._looked_at = float("-inf")
        self._complete_at = now()
        self._unread = 0
        self.bytes = 0

    def look_soon(self) -> None:
        """A writer may have died: the next pass looks."""
        self._looked_at = float("-inf")

    def lag(self, now: float) -> float:
        """Seconds for which lines may have been waiting; 0 when nothing waits."""
        return max(0.0, now - self._complete_at) if self._unread else 0.0

    def told_approvals(self, born: int) -> int:
        """The last entry of the event log ``born`` then that is in the sink."""
        return self._sink.position.approvals if self._sink.position.born == born else 0

    def ship(self, approvals: list[tuple[int, bytes]], born: int) -> bool:
        """One pass; ``approvals`` are the lines made of the event log's entries that are not told yet, by number.
        True if it read everything there was. Raises OSError; then nothing of this pass counts."""
        began = self._now()
        runs = list_segments(self._directory)
        position = _copy(self._sink.position)
        lines, complete = self._read_all(runs, position)
        if approvals:
            lines += [line for _, line in approvals]
            position.approvals, position.born = approvals[-1][0], born
        over = self._find_over(runs, position) if complete else []
        for run in over:
            lines += self._recover(run, runs[run])
            position.finished.append(_label(run))
        self._unread += len(lines)
        changed = self._sink.append(lines) > 0 or bool(lines) or bool(over)
        self._sink.position = position
        if changed:
            self._sink.commit()
        self._delete(runs, position)
        self._measure(position)
        if complete:
            self._complete_at = began
            self._sink.caught_up()
        return complete

    def _read_all(self, runs: dict[Run, list[Segment]], position: Position) -> tuple[list[bytes], bool]:
        lines: list[bytes] = []
        size = 0
        for run, found in runs.items():
            if _label(run) in position.finished:
                continue
            for segment in found:
                if segment.name in position.ended:
                    continue
                chunk = self._read(segment, position)
                # JSON has line breaks between tokens at most; one in a line would make it two.
                new = [payload.replace(b"\n", b" ") for _, payload in chunk.entries]
                lines += new
                size += sum(map(len, new))
                if size > PASS_BYTES:
                    return lines, False
        return lines, True

    def _read(self, segment: Segment, position: Position) -> Chunk:
        chunk = read_chunk(segment.path, position.segments.get(segment.name, 0), kinds=(EVENT,))
        position.segments[segment.name] = chunk.offset
        if chunk.ended:
            position.ended.append(segment.name)
        return chunk

    def _find_over(self, runs: dict[Run, list[Segment]], position: Position) -> list[Run]:
        """Runs whose writer is gone for good and whose segments are read to their ends."""
        open_runs = [run for run in runs if _label(run) not in position.finished and run != self._own]
        if not open_runs or self._now() - self._looked_at < LOOK_SECONDS:
            return []
        self._looked_at = self._now()
        held = self._list_open(self._directory)
        return [run for run in open_runs if self._is_over(run, runs, position, held)]

    def _is_over(self, run: Run, runs: dict[Run, list[Segment]], position: Position, held: frozenset[str]) -> bool:
        if run.writer == "control":
            return True  # There is one control process, and this run is not it.
        last = runs[run][-1]
        if last.name in held or len(list_segments(self._directory)[run]) != len(runs[run]):
            return False
        if last.name in position.ended:
            # A living worker without anything to tell has no open segment either.
            return self._away(run.worker) or any(
                other.writer == run.writer and other.start > run.start for other in runs)
        # Nobody holds it and it has no END. What came after our last look is read first, by the next pass.
        return last.path.stat().st_size == position.segments[last.name] + read_chunk(
            last.path, position.segments[last.name]).rest

    def _recover(self, run: Run, found: list[Segment]) -> list[bytes]:
        if run.writer == "control":
            return []
        recovery = Recovery(run, self._node)
        for segment in found:
            chunk = read_chunk(segment.path, 0)
            for kind, payload in chunk.entries:
                recovery.add(kind, payload)
            if chunk.rest and not chunk.ended:
                log.warning("audit_segment_torn", segment=segment.name, bytes=chunk.rest)
        known = self._find_heads(run, recovery.unknown_sessions())
        lines = [msgspec.json.encode(event) for event in recovery.events(known.get)]
        log.info("audit_run_over", worker=run.worker, entries=len(lines))
        return lines

    def _find_heads(self, run: Run, names: set[str]) -> dict[str, Head]:
        """Who the sessions are, from lines shipped long ago."""
        prefix = f'"id":"{self._node}.{run.worker}.{run.start}.'.encode()
        found: dict[str, Head] = {}
        for line in read_lines_backwards(self._sink.path) if names else ():
            if prefix not in line:
                continue
            with contextlib.suppress(msgspec.MsgspecError):
                head = read_head(line)
                if head.session in names and head.principal:
                    found.setdefault(head.session, head)
            if len(found) == len(names):
                break
        return found

    def _delete(self, runs: dict[Run, list[Segment]], position: Position) -> None:
        """Told segments of runs that are over; of others those that nobody can need any more. A spool that fills up
        refuses traffic, so in one that is half full they go earlier, but never before their notes must be summed up:
        were the worker to die now, nothing else would say what it moved."""
        for run, found in runs.items():
            if _label(run) in position.finished:
                gone = found
            else:
                patience = self._settle if self.bytes <= self._max_bytes // 2 else self._summed
                gone = [one for one in found[:-1] if one.name in position.ended
                        and one.path.stat().st_mtime < self._now() - patience]
            for segment in gone:
                segment.path.unlink(missing_ok=True)
                position.segments.pop(segment.name, None)
                if segment.name in position.ended:
                    position.ended.remove(segment.name)
        position.finished[:] = [label for label in position.finished
                                if any(label == _label(run) for run in list_segments(self._directory))]

    def _measure(self, position: Position) -> None:
        self.bytes = self._unread = 0
        for found in list_segments(self._directory).values():
            for segment in found:
                with contextlib.suppress(FileNotFoundError):
                    size = os.stat(segment.path).st_size
                    self.bytes += size
                    self._unread += max(0, size - position.segments.get(segment.name, 0))


def _label(run: Run) -> str:
    return f"{run.writer}-{run.start}"


def _copy(position: Position) -> Position:
    return msgspec.structs.replace(position, segments=dict(position.segments), ended=list(position.ended),
                                   finished=list(position.finished))
