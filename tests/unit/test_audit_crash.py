"""Whoever dies when: every line is in the sink exactly once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.ship_rig import Rig
from tests.support.spool_files import START, outcome, read


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def _busy(rig: Rig) -> list[str]:
    """A living and a dead worker with several segments; the ids that must be in the sink in the end."""
    living, dead = rig.worker(), rig.worker(worker=1, start=START + 1)
    for worker in (living, dead):
        for session in range(1, 4):
            worker.connect(session)
            worker.notes(outcome(session, "t", 0, session * 10, session * 10 + 1, 1))
        worker.end()
        rig.alive.discard(worker.path.name)
        worker.next_segment()
        worker.event("denied", 2)
        worker.notes(read(1, "t", 0, 0, 3))
    rig.alive.add(living.path.name)
    # Three sessions wrote and one of them read, and nobody had said so when the worker died.
    return living.ids + dead.ids + [f"edge-1.1.{START + 1}.recovered.{number}" for number in range(1, 5)]


class Crash(BaseException):
    """Stands for SIGKILL: nothing of ours runs afterwards."""


CALLS = ("write", "fsync", "replace", "unlink", "ftruncate", "open")


@pytest.fixture
def crash(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """Dies before the ``at``-th system call that changes a file; a dying write may leave ``torn`` bytes behind."""
    state = {"at": -1, "count": 0, "torn": 0}

    def wrap(name: str) -> None:
        real = getattr(os, name)

        def call(*args: Any, **more: Any) -> Any:
            state["count"] += 1
            if state["count"] == state["at"]:
                if name == "write":
                    real(args[0], bytes(args[1])[:state["torn"]])
                raise Crash
            return real(*args, **more)

        monkeypatch.setattr(os, name, call)

    for name in CALLS:
        wrap(name)
    yield state
    state["at"] = -1


@pytest.mark.parametrize("torn", [0, 1, 200, 10**6])
def test_killed_before_any_system_call_it_ships_everything_once(tmp_path: Path, crash: dict[str, int],
                                                                torn: int) -> None:
    crash["torn"] = torn
    died = 0
    while True:
        rig = Rig(tmp_path / str(died))
        expected = _busy(rig)
        approvals = [(1, b'{"id":"edge-1.approvals.1.1"}')]
        crash.update(count=0, at=died + 1)
        try:
            rig.ship(approvals)
            finished = True
        except Crash:
            finished = False
        crash["at"] = -1
        rig.restart()
        told = rig.shipper.told_approvals(born=1)
        rig.ship(approvals[told:])
        rig.ship()
        assert sorted(rig.ids()) == sorted([*expected, "edge-1.approvals.1.1"]), f"killed before call {died + 1}"
        assert [line["recovered"] for line in rig.lines() if "recovered" in line["id"]] == [True] * 4
        rig.sink.close()
        if finished:
            break
        died += 1
    assert died >= 6


def test_a_sink_cut_at_any_byte_behind_its_position_is_completed(rig: Rig) -> None:
    worker = rig.worker()
    worker.connect(1)
    rig.ship()
    kept, position = rig.path.stat().st_size, rig.positions.read_bytes()
    worker.connect(2)
    worker.connect(3)
    rig.ship()
    whole = rig.path.read_bytes()
    for cut in range(kept, len(whole) + 1):
        rig.sink.close()
        os.truncate(rig.path, cut)
        rig.positions.write_bytes(position)
        rig.restart()
        rig.ship()
        assert rig.path.read_bytes() == whole, f"cut at {cut}"


def test_without_a_position_what_is_in_the_sink_is_not_written_again(rig: Rig) -> None:
    worker = rig.worker()
    worker.connect(1)
    worker.connect(2)
    rig.ship()
    rig.positions.unlink()
    rig.restart()
    rig.ship()
    worker.connect(3)
    rig.ship()
    assert rig.ids() == worker.ids


def test_a_rotated_sink_goes_on_under_its_name(rig: Rig) -> None:
    worker = rig.worker()
    worker.connect(1)
    rig.ship()
    rig.path.rename(rig.path.with_suffix(".1"))
    worker.connect(2)
    rig.ship()
    assert rig.ids() == worker.ids[1:]
    rig.restart()
    worker.connect(3)
    rig.ship()
    assert rig.ids() == worker.ids[1:]
