"""The spool: what is on disk when, what is refused when nothing more fits, what a reader finds after a torn write."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import structlog

from kproxy.dataplane import spool as spool_module
from kproxy.dataplane.spool import SEGMENT_SECONDS, Spool
from kproxy.errors import SpoolFull
from kproxy.model.settings import Audit
from kproxy.model.spool import END, EVENT, INTENT, MAGIC, NOTES, pack_entry, walk_entries
from tests.support.spool_files import pack_note, walk_notes

NOTE = pack_note(INTENT, 7, "orders", 0, -1, -1, correlation=3, records=10, size=1000)


class Turns:
    """call_soon of a loop that turns when told to."""

    def __init__(self) -> None:
        self.waiting: list = []
        self.seconds = 0.0

    def call_soon(self, action) -> None:
        self.waiting.append(action)

    def turn(self) -> None:
        waiting, self.waiting = self.waiting, []
        for action in waiting:
            action()


def build(tmp_path: Path, turns: Turns | None = None, **settings) -> tuple[Spool, Turns]:
    turns = turns or Turns()
    return Spool(tmp_path, 1, 1700000000000, Audit(**settings), clock=lambda: turns.seconds,
                 call_soon=turns.call_soon), turns


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.seg"))


def entries(directory: Path) -> list[tuple[int, bytes]]:
    found = []
    for segment in segments(directory):
        data = segment.read_bytes()
        assert data[: len(MAGIC)] == MAGIC
        found += [(kind, payload) for kind, payload, _ in walk_entries(data, len(MAGIC))]
    return found


def test_a_commit_is_on_disk_when_it_returns(tmp_path):
    spool, _ = build(tmp_path)
    spool.append(NOTES, NOTE)
    assert segments(tmp_path) == []
    spool.commit()
    assert entries(tmp_path) == [(NOTES, NOTE)]
    assert [note.topic for note in walk_notes(entries(tmp_path)[0][1])] == ["orders"]


def test_a_turn_is_one_write(tmp_path, monkeypatch):
    spool, _ = build(tmp_path)
    spool.append(NOTES, NOTE)
    spool.commit()
    written: list[int] = []
    real = os.write
    monkeypatch.setattr(spool_module.os, "write", lambda fd, data: written.append(len(data)) or real(fd, data))
    for _ in range(5):
        spool.append(NOTES, NOTE)
    spool.append(EVENT, b"{}")
    spool.commit()
    assert len(written) == 1


def test_events_of_a_turn_come_after_its_notes(tmp_path):
    spool, _ = build(tmp_path)
    spool.append(EVENT, b'{"kind":"flow"}')
    spool.append(NOTES, NOTE)
    spool.commit()
    assert [kind for kind, _ in entries(tmp_path)] == [NOTES, EVENT]


def test_an_action_at_commit_finds_all_notes_handed_over(tmp_path):
    spool, _ = build(tmp_path)
    spool.at_commit(lambda: spool.append(EVENT, b"after"))
    spool.append(NOTES, NOTE)
    spool.commit()
    spool.append(NOTES, NOTE)
    spool.commit()
    assert entries(tmp_path) == [(NOTES, NOTE), (EVENT, b"after"), (NOTES, NOTE)]


def test_an_event_outside_any_turn_is_written_by_the_next(tmp_path):
    spool, turns = build(tmp_path)
    spool.append(EVENT, b"{}")
    turns.turn()
    assert entries(tmp_path) == [(EVENT, b"{}")]


def test_the_ledgers_owner_ends_the_turn(tmp_path):
    spool, turns = build(tmp_path)

    def end_turn() -> None:
        spool.append(NOTES, NOTE)
        spool.commit()

    spool.end_turn = end_turn
    spool.append(EVENT, b"{}")
    turns.turn()
    assert [kind for kind, _ in entries(tmp_path)] == [NOTES, EVENT]


def test_closing_writes_end(tmp_path):
    spool, _ = build(tmp_path)
    spool.append(EVENT, b"{}")
    spool.close()
    assert entries(tmp_path) == [(EVENT, b"{}"), (END, b"")]


def test_interval_waits_for_the_second_to_end(tmp_path):
    spool, turns = build(tmp_path, durability="interval")
    spool.append(NOTES, NOTE)
    spool.commit()
    turns.turn()
    assert segments(tmp_path) == []
    spool.tick()
    assert entries(tmp_path) == [(NOTES, NOTE)]


def test_rotation_by_size(tmp_path):
    spool, _ = build(tmp_path, max_spool_bytes=80_000)  # segments of 10 000 bytes
    for _ in range(3):
        spool.append(NOTES, bytes(6000))
        spool.commit()
    kinds = [[kind for kind, _, _ in walk_entries(path.read_bytes(), len(MAGIC))] for path in segments(tmp_path)]
    assert kinds == [[NOTES, NOTES, END], [NOTES]]
    assert [path.name for path in segments(tmp_path)] == ["w1-1700000000000-000000.seg", "w1-1700000000000-000001.seg"]


def test_rotation_by_age(tmp_path):
    spool, turns = build(tmp_path)
    spool.append(EVENT, b"{}")
    turns.turn()
    turns.seconds = SEGMENT_SECONDS - 1
    spool.tick()
    assert entries(tmp_path)[-1][0] == EVENT
    turns.seconds = SEGMENT_SECONDS
    spool.tick()
    assert entries(tmp_path)[-1][0] == END


def test_files_are_for_this_user_alone(tmp_path):
    spool, _ = build(tmp_path / "spool")
    spool.append(EVENT, b"{}")
    spool.close()
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700
    assert segments(tmp_path / "spool")[0].stat().st_mode & 0o777 == 0o600


def fill(spool: Spool) -> None:
    with pytest.raises(SpoolFull):
        for _ in range(1000):
            spool.append(NOTES, bytes(1000))
            spool.commit()


def test_full_refuses_and_keeps_below_the_limit(tmp_path):
    spool, _ = build(tmp_path, max_spool_bytes=40_000)
    fill(spool)
    assert spool.refusing
    assert sum(path.stat().st_size for path in segments(tmp_path)) <= 40_000 + 100
    assert entries(tmp_path)[-1][0] == END, "only a closed segment can be shipped and deleted"
    with pytest.raises(SpoolFull):
        spool.append(NOTES, NOTE)
        spool.commit()


def test_new_work_is_refused_while_there_is_room_for_outcomes(tmp_path):
    spool, _ = build(tmp_path, max_spool_bytes=160_000)  # a reserve of 10 000 bytes
    while not spool.refusing:
        spool.append(NOTES, bytes(1000))
        spool.commit()
    assert not spool.full and 149_000 < spool.bytes_used <= 160_000
    assert entries(tmp_path)[-1][0] == END, "only a closed segment can be shipped and deleted"
    for _ in range(5):
        spool.append(NOTES, bytes(1000))
        spool.commit()
    assert spool.refusing and spool.pen.room == 0
    for path in segments(tmp_path)[:-1]:
        path.unlink()
    spool.tick()
    assert not spool.refusing and spool.pen.room > 0


def test_a_disk_that_runs_short_refuses_before_it_is_full(tmp_path, monkeypatch):
    spool, _ = build(tmp_path)
    disk = Disk(1 << 20)
    monkeypatch.setattr(spool_module, "os", disk)
    for round_number in range(1, 3):
        disk.free = 15 << 20
        with structlog.testing.capture_logs() as lines:
            spool.tick()
            spool.tick()
        assert [line["event"] for line in lines] == ["audit_spool_nearly_full"], "told once"
        assert (spool.refusing, spool.full) == (True, False)
        spool.append(NOTES, NOTE)
        spool.commit()
        assert [kind for kind, _ in entries(tmp_path)].count(NOTES) == round_number, "an outcome still has its place"
        disk.free = 17 << 20
        spool.tick()
        assert not spool.refusing


def test_a_small_disk_keeps_an_eighth_free(tmp_path, monkeypatch):
    spool, _ = build(tmp_path)
    disk = Disk(1 << 20, free=1 << 20, size=8 << 20)
    monkeypatch.setattr(spool_module, "os", disk)
    spool.tick()
    assert not spool.refusing
    disk.free -= 4096
    spool.tick()
    assert spool.refusing
    disk.size = 0  # A file system that has no bounds of its own says so.
    spool.tick()
    assert not spool.refusing


def test_who_passes_keeps_nothing_back(tmp_path, monkeypatch):
    spool, _ = build(tmp_path, max_spool_bytes=160_000, when_full="pass")
    disk = Disk(1 << 20, free=0)
    monkeypatch.setattr(spool_module, "os", disk)
    spool.tick()
    while not spool.full:
        before = spool.bytes_used
        spool.append(NOTES, bytes(1000))
        spool.commit()
        assert not spool.refusing
    assert before + 1009 > 160_000, "every byte is used"


def test_full_counts_what_others_wrote(tmp_path):
    (tmp_path / "w0-1-000000.seg").write_bytes(bytes(40_000))
    spool, _ = build(tmp_path, max_spool_bytes=40_000)
    spool.append(NOTES, NOTE)
    with pytest.raises(SpoolFull):
        spool.commit()


def test_room_comes_back_when_segments_are_shipped(tmp_path):
    spool, turns = build(tmp_path, max_spool_bytes=40_000)
    fill(spool)
    spool.append(EVENT, b"denied while full")
    turns.turn()
    for path in segments(tmp_path):
        path.unlink()
    spool.tick()
    assert not spool.refusing
    spool.append(NOTES, NOTE)
    spool.commit()
    assert entries(tmp_path) == [(EVENT, b"denied while full"), (NOTES, NOTE)]


def test_when_full_pass_loses_notes_and_counts_them(tmp_path):
    spool, _ = build(tmp_path, max_spool_bytes=40_000, when_full="pass")
    for _ in range(60):
        spool.append(NOTES, bytes(1000))
        spool.commit()
    assert spool.full and not spool.refusing
    kept = sum(1 for kind, _ in entries(tmp_path) if kind == NOTES)
    assert spool.take_lost() == 60 - kept
    assert spool.take_lost() == 0


class Disk:
    """os with a disk that fills up: a write beyond ``room`` is cut short, the next one fails."""

    def __init__(self, room: int, free: int = 1 << 30, size: int = 1 << 32) -> None:
        self.room = room
        self.free = free
        self.size = size

    def statvfs(self, path: object) -> SimpleNamespace:
        return SimpleNamespace(f_bavail=self.free // 4096, f_blocks=self.size // 4096, f_frsize=4096)

    def __getattr__(self, name: str):
        return getattr(os, name)

    def write(self, fd: int, data: bytes) -> int:
        if self.room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        part = data[: self.room]
        self.room -= len(part)
        return os.write(fd, part)


def test_a_torn_write_leaves_no_torn_entry(tmp_path, monkeypatch):
    spool, _ = build(tmp_path)
    spool.append(NOTES, NOTE)
    spool.commit()
    disk = Disk(20)
    monkeypatch.setattr(spool_module, "os", disk)
    spool.append(NOTES, NOTE)
    with pytest.raises(SpoolFull):
        spool.commit()
    assert spool.refusing
    disk.room = 1 << 20
    spool.tick()
    assert not spool.refusing
    spool.append(NOTES, NOTE)
    spool.commit()
    assert [kind for kind, _ in entries(tmp_path) if kind != END] == [NOTES, NOTES]
    data = segments(tmp_path)[0].read_bytes()
    assert list(walk_entries(data, len(MAGIC)))[-1][2] == len(data), "nothing unreadable is left behind"


def test_entries_of_one_kind_can_be_passed_over_by_their_length() -> None:
    """Notes are many times the bytes of events, and who ships events does not read them."""
    event, notes = pack_entry(EVENT, b"{}"), pack_entry(NOTES, b"abc")
    data = MAGIC + event + notes[:-1] + b"!" + event + notes[:-1]
    at = [len(MAGIC) + len(event), len(MAGIC) + len(event + notes), len(MAGIC) + len(event + notes + event)]
    assert list(walk_entries(data, len(MAGIC), passed=NOTES)) == [
        (EVENT, b"{}", at[0]), (NOTES, b"", at[1]), (EVENT, b"{}", at[2])], "half an entry is none"
    assert list(walk_entries(data, len(MAGIC))) == [(EVENT, b"{}", at[0])], "who reads notes sees that they are harmed"
