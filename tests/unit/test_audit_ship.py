"""Shipping tells every line, in order, and completes what a dead worker still owed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kproxy.control.audit import sink as sink_module
from kproxy.control.audit.own import OwnSpool
from kproxy.control.audit.segments import Run, list_open, list_segments, read_chunk
from kproxy.control.audit.sink import read_lines_backwards
from tests.support.ship_rig import NOW, Rig
from tests.support.spool_files import START, intent, outcome, read


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_a_growing_segment_is_followed(rig: Rig) -> None:
    worker = rig.worker()
    worker.connect(1)
    rig.ship()
    assert rig.ids() == worker.ids
    worker.notes(intent(1, "scores.fraud", 0, 5, 9))
    worker.event("denied", 1, decision="deny", rule="default")
    rig.ship()
    rig.ship()
    assert rig.ids() == worker.ids
    assert rig.lines()[0]["attested"]["launcher"] == "alice"
    assert rig.path.stat().st_mode & 0o777 == 0o600


def test_half_an_entry_waits_for_its_other_half(rig: Rig) -> None:
    worker = rig.worker()
    worker.connect(1)
    whole = worker.path.read_bytes()
    for cut in range(len(whole)):
        worker.path.write_bytes(whole[:cut])
        rig.ship()
        assert not rig.path.read_bytes()
    worker.path.write_bytes(whole)
    rig.ship()
    assert rig.ids() == worker.ids


def test_several_runs_and_segments_ship_in_their_order(rig: Rig) -> None:
    one, other = rig.worker(worker=0), rig.worker(worker=1, start=START + 1)
    for worker in (one, other):
        worker.connect(1)
        worker.end()
        worker.next_segment()
        rig.alive.add(worker.path.name)
        worker.connect(2)
    rig.ship()
    assert rig.ids() == one.ids + other.ids


def test_a_told_segment_goes_when_nobody_can_need_it(rig: Rig) -> None:
    worker = rig.worker()
    worker.connect(1)
    worker.end()
    first = worker.path
    worker.next_segment()
    rig.alive = {worker.path.name}
    os.utime(first, (rig.now, rig.now))
    rig.ship()
    assert rig.segments() == [first.name, worker.path.name]
    rig.now += 30.1
    rig.ship()
    assert rig.segments() == [worker.path.name]
    rig.ship()
    assert rig.ids() == worker.ids


def test_a_spool_that_is_half_full_gives_up_told_segments_once_they_are_summed_up(rig: Rig) -> None:
    worker = rig.worker()
    worker.connect(1, details={"pad": "x" * 700_000})
    worker.notes(intent(1, "scores.fraud", 0, 1, 1), outcome(1, "scores.fraud", 0, 4, 4, 1))
    worker.end()
    first = worker.path
    os.utime(first, (rig.now, rig.now))
    worker.next_segment()
    rig.alive = {worker.path.name}
    rig.ship()
    rig.ship()
    assert rig.segments() == [first.name, worker.path.name], "its notes may be all that tells of what was moved"
    rig.now += 10
    rig.ship()
    assert rig.segments() == [worker.path.name]


def test_a_worker_that_dies_in_a_full_spool_leaves_its_notes(rig: Rig) -> None:
    worker = rig.worker()
    worker.connect(1, details={"pad": "x" * 700_000})
    worker.notes(intent(1, "scores.fraud", 0, 1, 1), outcome(1, "scores.fraud", 0, 4, 4, 1))
    worker.end()
    os.utime(worker.path, (rig.now, rig.now))
    worker.next_segment()
    rig.alive = {worker.path.name}
    rig.ship()
    rig.ship()
    rig.kill(worker)
    rig.ship()
    (line,) = [line for line in rig.lines() if line["kind"] == "flow"]
    assert (line["recovered"], line["partitions"]) == (True, [[0, 4, 4, 1, 100]])


def test_lines_of_a_dead_worker_are_completed_from_its_notes(rig: Rig) -> None:
    worker = rig.worker()
    worker.connect(1)
    worker.notes(intent(1, "scores.fraud", 0, 3, 1), outcome(1, "scores.fraud", 0, 10, 12, 1))
    worker.flow(1, topic="scores.fraud", direction="produce", partitions=[(0, 10, 12, 3, 100)], records=3, bytes=100)
    worker.notes(intent(1, "scores.fraud", 0, 2, 2), intent(1, "scores.fraud", 1, 1, 2))
    worker.notes(outcome(1, "scores.fraud", 0, 13, 14, 2), outcome(1, "scores.fraud", 1, 7, 7, 2))
    worker.notes(intent(1, "scores.fraud", 0, 4, 3))
    worker.notes(read(1, "features.a", 0, 100, 149), read(1, "features.a", 0, 150, 151))
    worker.notes(outcome(1, "scores.fraud", 1, -1, -1, 2, error=44))
    rig.ship()
    assert rig.ids() == worker.ids
    rig.kill(worker)
    rig.ship()
    consumed, produced = rig.lines()[len(worker.ids):]
    assert consumed["id"] == f"edge-1.0.{START}.recovered.1"
    assert produced["id"] == f"edge-1.0.{START}.recovered.2"
    for one in (consumed, produced):
        assert (one["kind"], one["recovered"], one["fields"], one["session"], one["principal"], one["listener"]) == (
            "flow", True, "unknown", "0-1", "corp:fraud-job", "public")
        assert one["attested"] == {"launcher": "alice", "run": "run-7", "model": "models:/fraud/4"}
    assert (consumed["topic"], consumed["direction"], consumed["partitions"]) == (
        "features.a", "consume", [[0, 100, 151, 52, 200]])
    assert (produced["topic"], produced["direction"], produced["records"], produced["bytes"]) == (
        "scores.fraud", "produce", 3, 200)
    assert produced["partitions"] == [[0, 13, 14, 2, 100], [1, 7, 7, 1, 100]]
    assert produced["unanswered"] == 1
    assert produced["details"] == {"errors": {"44": 1}, "unanswered_records": 4, "unanswered_partitions": [0]}
    assert rig.segments() == []


def test_a_session_that_had_said_goodbye_owes_nothing(rig: Rig) -> None:
    worker = rig.worker()
    worker.connect(1)
    worker.notes(intent(1, "t", 0, 1, 1))
    worker.event("disconnect", 1, cause="client_closed", unanswered=1)
    rig.kill(worker)
    rig.ship()
    assert rig.ids() == worker.ids
    assert rig.segments() == []


def test_an_intent_before_a_flow_still_counts_as_unanswered(rig: Rig) -> None:
    worker = rig.worker()
    worker.connect(1)
    worker.notes(outcome(1, "t", 0, 0, 4, 1), intent(1, "t", 0, 2, 2))
    worker.flow(1, topic="t", direction="produce", partitions=[(0, 0, 4, 5, 100)])
    rig.kill(worker)
    rig.ship()
    last = rig.lines()[-1]
    assert (last["unanswered"], last.get("records", 0), last.get("partitions", [])) == (1, 0, [])


def test_a_turn_of_lines_that_was_torn_by_the_kill_owes_what_was_cut_off(rig: Rig) -> None:
    worker = rig.worker()
    worker.connect(1)
    worker.notes(outcome(1, "a", 0, 0, 4, 1), outcome(1, "b", 0, 7, 8, 2), read(1, "a", 0, 0, 2))
    # One write of lines for a, b and the reads of a: the kernel may stop at any page of it when the writer is killed.
    worker.flow(1, topic="a", direction="produce", partitions=[(0, 0, 4, 5, 100)])
    whole = worker.path.stat().st_size
    worker.flow(1, topic="b", direction="produce", partitions=[(0, 7, 8, 2, 100)])
    os.truncate(worker.path, whole + 20)
    rig.kill(worker)
    rig.ship()
    assert [(one["topic"], one["direction"], one["partitions"]) for one in rig.lines() if one.get("recovered")] == [
        ("a", "consume", [[0, 0, 2, 3, 100]]), ("b", "produce", [[0, 7, 8, 2, 100]])]


def test_who_it_was_is_found_in_the_sink_when_the_spool_no_longer_says(rig: Rig) -> None:
    other = rig.worker(worker=1)
    other.connect(1, principal="corp:somebody-else")
    worker = rig.worker()
    worker.connect(1)
    worker.end()
    first = worker.path
    os.utime(first, (rig.now, rig.now))
    worker.next_segment()
    rig.alive.add(worker.path.name)
    rig.ship()
    rig.now += 31
    rig.ship()
    assert first.name not in rig.segments()
    worker.notes(outcome(1, "scores.fraud", 0, 5, 6, 1))
    rig.kill(worker)
    rig.ship()
    last = rig.lines()[-1]
    assert (last["recovered"], last["principal"], last["partitions"]) == (True, "corp:fraud-job", [[0, 5, 6, 2, 100]])


def test_a_quiet_worker_is_not_taken_for_a_dead_one(rig: Rig) -> None:
    worker = rig.worker()
    worker.connect(1)
    worker.notes(outcome(1, "t", 0, 0, 0, 1))
    worker.end()
    rig.alive.clear()
    rig.ship()
    assert rig.segments() == [worker.path.name]
    assert len(rig.lines()) == 1
    rig.away = True
    rig.ship()
    assert rig.lines()[-1]["recovered"] is True
    assert rig.segments() == []


def test_the_next_run_of_a_worker_ends_the_one_before(rig: Rig) -> None:
    old = rig.worker()
    old.connect(1)
    old.end()
    rig.alive.clear()
    new = rig.worker(start=START + 2)
    new.connect(1)
    rig.ship()
    assert rig.ids() == old.ids + new.ids
    assert rig.segments() == [new.path.name]


def test_a_torn_tail_of_a_dead_worker_is_left_behind(rig: Rig) -> None:
    worker = rig.worker()
    worker.connect(1)
    worker.connect(2)
    data = worker.path.read_bytes()
    worker.path.write_bytes(data[:-3])
    rig.kill(worker)
    rig.ship()
    assert rig.ids() == worker.ids[:1]
    assert rig.segments() == []


def test_a_damaged_entry_hides_nothing_before_it(rig: Rig) -> None:
    worker = rig.worker()
    worker.connect(1)
    size = worker.path.stat().st_size
    worker.connect(2)
    data = bytearray(worker.path.read_bytes())
    data[size + 20] ^= 1
    worker.path.write_bytes(data)
    rig.ship()
    assert rig.ids() == worker.ids[:1]


def test_own_lines_ship_like_the_workers(rig: Rig) -> None:
    own = OwnSpool(rig.spool, "edge-1", START + 5, lambda: NOW)
    first = own.record("policy_loaded", policy_version="v1")
    rig.ship()
    assert rig.ids() == [first] == [f"edge-1.control.{START + 5}.1"]
    second = own.record("session_killed", session="0-1", actor="operator:0")
    rig.restart(own_start=START + 6)
    rig.ship()
    assert rig.ids() == [first, second]
    assert rig.segments() == []
    own.close()


def test_approval_steps_are_told_once(rig: Rig) -> None:
    lines = [(number, json.dumps({"id": f"edge-1.approvals.1.{number}"}).encode()) for number in (1, 2, 3)]
    rig.ship(lines[:2])
    assert rig.shipper.told_approvals(born=1) == 2
    assert rig.shipper.told_approvals(born=2) == 0
    rig.restart()
    assert rig.shipper.told_approvals(born=1) == 2
    rig.ship(lines[2:])
    assert rig.ids() == ["edge-1.approvals.1.1", "edge-1.approvals.1.2", "edge-1.approvals.1.3"]


def test_a_full_disk_loses_nothing_and_shows_as_lag(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = rig.worker()
    worker.connect(1)
    rig.ship()
    assert rig.shipper.lag(rig.now) == 0.0
    worker.connect(2)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(sink_module.os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            rig.ship()
    assert rig.ids() == worker.ids[:1]
    assert rig.shipper.lag(rig.now + 7) == 7.0
    rig.now += 9
    rig.ship()
    assert rig.ids() == worker.ids
    assert rig.shipper.lag(rig.now + 50) == 0.0
    assert rig.shipper.bytes == sum(path.stat().st_size for path in rig.spool.iterdir())


def test_open_files_of_other_processes_are_seen(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.seg", tmp_path / "theirs.seg"
    theirs.touch()
    ready, done = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        descriptor = os.open(theirs, os.O_RDONLY)
        os.write(ready[1], b"x")
        os.read(done[0], 1)
        os._exit(descriptor < 0)
    with open(ours, "w"):
        os.read(ready[0], 1)
        assert list_open(tmp_path) == frozenset({"theirs.seg"})
    os.write(done[1], b"x")
    assert os.waitpid(child, 0)[1] == 0
    assert list_open(tmp_path) == frozenset()


def test_foreign_files_in_the_spool_are_left_alone(rig: Rig) -> None:
    (rig.spool / "w0-x-1.seg").write_bytes(b"kpspool1")
    (rig.spool / "w0-1-1.seg").write_bytes(b"something else")
    assert list(list_segments(rig.spool)) == [Run("w0", 1)]
    chunk = read_chunk(rig.spool / "w0-1-1.seg", 0)
    assert (chunk.entries, chunk.offset, chunk.rest, chunk.ended) == ([], 0, 14, False)


@pytest.mark.parametrize("block", [1, 2, 3, 7, 1 << 20])
def test_lines_are_read_backwards_whatever_the_block(tmp_path: Path, block: int) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"one\ntwo\n\nthree\nfour")
    assert list(read_lines_backwards(path, block=block)) == [b"four", b"three", b"two", b"one"]
