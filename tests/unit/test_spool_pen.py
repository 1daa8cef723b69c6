"""The short way to the disk: the ledger writes what the spool would have written, and no more than it may."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from kproxy._ext.ledger import Ledger, add_note
from kproxy.dataplane import spool as spool_module
from kproxy.dataplane.spool import Spool
from kproxy.model.settings import Audit
from kproxy.model.spool import END, EVENT, MAGIC, NOTES, OUTCOME, pack_entry, walk_entries
from tests.support.spool_files import walk_notes


def build(directory: Path, **settings) -> tuple[Spool, Ledger]:
    spool = Spool(directory, 1, 1700000000000, Audit(**settings), clock=lambda: 0.0, call_soon=lambda action: None)
    return spool, Ledger(spool)


def note(ledger: Ledger, number: int, topic: str = "orders") -> None:
    add_note(ledger, OUTCOME, 7, number, 0, -1, -1, 1, 0, 0, topic)


def entries(directory: Path) -> list[tuple[int, bytes]]:
    found = []
    for segment in sorted(directory.glob("*.seg")):
        data = segment.read_bytes()
        read = list(walk_entries(data, len(MAGIC)))
        # A full disk may cut END itself short, behind which nothing comes any more.
        assert len(data) - read[-1][2] < len(pack_entry(END, b"")), "nothing unreadable is left behind"
        found += [(kind, payload) for kind, payload, _ in read]
    return found


def numbers(directory: Path) -> list[int]:
    return [one.correlation for kind, payload in entries(directory) if kind == NOTES for one in walk_notes(payload)]


def lent(tmp_path: Path, **settings) -> tuple[Spool, Ledger]:
    """The first turn opens the segment; from the second on the pen is lent."""
    spool, ledger = build(tmp_path, **settings)
    note(ledger, 0)
    assert ledger.commit() and spool.pen.room > 0
    return spool, ledger


@contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """The kernel cuts a write short there, and the next one fails: what a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_turn_of_notes_is_on_disk_when_commit_returns_and_python_wrote_nothing(tmp_path, monkeypatch):
    spool, ledger = lent(tmp_path)
    monkeypatch.setattr(spool_module.os, "write", lambda fd, data: pytest.fail("the long way"))
    for turn in range(1, 4):
        note(ledger, 2 * turn - 1)
        note(ledger, 2 * turn)
        assert ledger.commit()
        assert numbers(tmp_path) == list(range(2 * turn + 1))
    assert ledger.commit()
    assert spool.bytes_used == next(tmp_path.glob("*.seg")).stat().st_size


def test_both_ways_write_the_same_bytes(tmp_path):
    for name in ("short", "long"):
        spool, ledger = lent(tmp_path / name)
        if name == "long":
            ledger = Ledger(spool_without_pen(spool))
        for turn in range(1, 40):
            note(ledger, turn, "t" * turn)
            assert ledger.commit()
        spool.close()
    short, long = (next((tmp_path / name).glob("*.seg")).read_bytes() for name in ("short", "long"))
    assert short == long


def spool_without_pen(spool: Spool):
    class Plain:
        append, commit = spool.append, spool.commit
        refusing = False

    return Plain()


def test_an_event_takes_the_pen_back_and_comes_after_the_notes_of_its_turn(tmp_path):
    spool, ledger = lent(tmp_path)
    note(ledger, 1)
    spool.append(EVENT, b"{}")
    assert spool.pen.room == 0
    note(ledger, 2)
    assert ledger.commit() and spool.pen.room > 0
    note(ledger, 3)
    assert ledger.commit()
    assert [kind for kind, _ in entries(tmp_path)] == [NOTES, NOTES, EVENT, NOTES]
    assert numbers(tmp_path) == [0, 1, 2, 3]


def test_what_waits_for_a_commit_finds_one(tmp_path):
    spool, ledger = lent(tmp_path)
    spool.at_commit(lambda: spool.append(EVENT, b"after"))
    note(ledger, 1)
    assert ledger.commit()
    assert [kind for kind, _ in entries(tmp_path)] == [NOTES, NOTES, EVENT]


def test_segments_are_closed_at_their_size(tmp_path):
    spool, ledger = lent(tmp_path, max_spool_bytes=80_000)  # segments of 10 000 bytes
    for turn in range(1, 600):
        note(ledger, turn)
        assert ledger.commit()
    assert numbers(tmp_path) == list(range(600))
    assert entries(tmp_path).count((END, b"")) == 1
    sizes = [path.stat().st_size for path in sorted(tmp_path.glob("*.seg"))]
    assert 10_000 <= sizes[0] < 10_100 and sum(sizes) == spool.bytes_used


def test_a_full_spool_lends_nothing_until_there_is_room(tmp_path):
    spool, ledger = lent(tmp_path, max_spool_bytes=40_000)
    turn = 0
    while ledger.commit():
        turn += 1
        note(ledger, turn)
    assert ledger.refusing and spool.pen.room == 0
    assert numbers(tmp_path) == list(range(turn))
    assert sum(path.stat().st_size for path in tmp_path.glob("*.seg")) <= 40_100
    note(ledger, turn)
    assert not ledger.commit()
    for path in tmp_path.glob("*.seg"):
        path.unlink()
    spool.tick()
    assert ledger.commit() and not ledger.refusing
    note(ledger, 1000)
    assert ledger.commit()
    assert numbers(tmp_path) == [1000]


def test_others_that_fill_the_directory_are_seen_once_a_second(tmp_path):
    spool, ledger = lent(tmp_path, max_spool_bytes=40_000)
    (tmp_path / "w0-1-000000.seg").write_bytes(bytes(40_000))
    spool.tick()
    assert spool.pen.room <= 0
    note(ledger, 1)
    assert not ledger.commit() and ledger.refusing


@pytest.mark.parametrize("room", [0, 1, 20])
def test_a_write_that_the_disk_cuts_short_leaves_no_torn_entry(tmp_path, room):
    spool, ledger = lent(tmp_path)
    size = next(tmp_path.glob("*.seg")).stat().st_size
    # The log of a test is a file as well.
    with capture_logs(), files_end_at(size + room):
        note(ledger, 1)
        assert not ledger.commit() and ledger.refusing
    assert numbers(tmp_path) == [0]
    spool.tick()
    note(ledger, 2)
    assert ledger.commit() and not ledger.refusing
    assert numbers(tmp_path) == [0, 2]


def test_a_bug_in_a_commit_is_told_as_one_and_not_as_a_full_disk(tmp_path):
    spool, ledger = lent(tmp_path)

    def fail() -> None:
        raise ZeroDivisionError("a bug")

    spool.at_commit(fail)
    note(ledger, 1)
    with capture_logs() as logs:
        assert not ledger.commit() and not ledger.refusing, "nothing leaves, and nothing is refused for a disk's sake"
    assert [(line["event"], type(line["exc_info"])) for line in logs] == [("audit_failed", ZeroDivisionError)]
    note(ledger, 2)
    assert ledger.commit()
    assert numbers(tmp_path) == [0, 1, 2], "what was noted before is as true as it was"


def test_interval_never_lends(tmp_path):
    spool, ledger = build(tmp_path, durability="interval")
    for turn in range(3):
        note(ledger, turn)
        assert ledger.commit() and spool.pen.room == 0
    assert list(tmp_path.glob("*.seg")) == []
    spool.tick()
    assert numbers(tmp_path) == [0, 1, 2] and spool.pen.room == 0


def test_closing_counts_what_the_pen_wrote(tmp_path):
    spool, ledger = lent(tmp_path)
    note(ledger, 1)
    assert ledger.commit()
    spool.close()
    assert spool.pen.room == 0
    assert spool.bytes_used == sum(path.stat().st_size for path in tmp_path.glob("*.seg"))
    assert numbers(tmp_path) == [0, 1] and entries(tmp_path)[-1] == (END, b"")
    assert os.path.getsize(next(tmp_path.glob("*.seg"))) > len(MAGIC)
