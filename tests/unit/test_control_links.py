"""Snapshots reach the workers and their questions are answered, over restarts of either side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kproxy.control.publication import Publisher
from kproxy.model.access import ApprovalWanted
from kproxy.model.messages import Drain, Hello, KeyWanted, Published, StatsAsked, pack
from kproxy.model.policy import Policy
from kproxy.model.snapshot import IssuerKeys
from tests.support.control_rig import ControlRig, ScriptedWorker, running, session, until


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[ControlRig]:
    async with running(ControlRig(tmp_path)) as one:
        yield one


async def test_a_worker_is_told_of_the_snapshot_and_says_when_it_is_in_force(rig: ControlRig) -> None:
    async with ScriptedWorker(rig) as worker:
        (snapshot,) = worker.snapshots[:1]
        assert snapshot.policy_version == rig.node.reloader.loaded.policy.version
        assert snapshot.modes == {"public": "enforce"}
        await until(lambda: rig.node.links.is_ready())
        (link,) = rig.node.links.links()
        assert (link.worker, link.pid, link.epoch) == (0, 4000, worker.epochs[-1])
        assert rig.node.not_ready() == ""
    assert (rig.runtime / "snapshot.msgpack").stat().st_mode & 0o777 == 0o600
    assert (rig.runtime / "control.sock").stat().st_mode & 0o777 == 0o600
    assert rig.runtime.stat().st_mode & 0o777 == 0o700


async def test_the_issuers_keys_are_published_when_they_are_known(rig: ControlRig) -> None:
    async with ScriptedWorker(rig) as worker:
        keys = await until(lambda: worker.snapshots[-1].issuer_keys)
        assert [(one.issuer, [key["kid"] for key in one.keys]) for one in keys] == [("corp", ["k1"])]


async def test_a_key_nobody_knew_is_found_and_published_before_the_answer(rig: ControlRig) -> None:
    async with ScriptedWorker(rig) as worker:
        await until(lambda: worker.snapshots[-1].issuer_keys)
        rig.list_keys("k1", "k2")
        answer = await worker.ask(lambda number: KeyWanted(number, "corp", "k2"))
        assert answer.found is True
        assert answer.epoch == rig.node.publisher.epoch == rig.snapshot().epoch
        assert [key["kid"] for key in rig.snapshot().issuer_keys[0].keys] == ["k1", "k2"]
        answer = await worker.ask(lambda number: KeyWanted(number, "nobody", "k2"))
        assert (answer.found, answer.reason) == (False, "unknown_issuer")


async def test_a_worker_that_cannot_use_a_snapshot_is_not_counted_as_ready(rig: ControlRig) -> None:
    worker = ScriptedWorker(rig)
    worker.refuses = "the policy cannot be compiled"
    async with worker:
        link = await until(lambda: next((one for one in rig.node.links.links() if one.error), None))
        assert (link.epoch, link.error) == (0, "the policy cannot be compiled")
        assert rig.node.not_ready() == "no worker serves by a snapshot"


async def test_a_draining_worker_takes_the_node_out_of_service(rig: ControlRig) -> None:
    async with ScriptedWorker(rig) as worker, ScriptedWorker(rig, 1, 4001) as other:
        await until(lambda: rig.node.links.is_ready())
        worker.send(Drain(0))
        await until(lambda: rig.node.links.links()[0].draining)
        assert rig.node.not_ready() == ""
        other.send(Drain(1))
        await until(lambda: rig.node.not_ready())
        status, text = await rig.call("GET", "/readyz", over="metrics")
        assert (status, text) == (503, "no worker serves by a snapshot\n")


async def test_an_access_that_waits_has_one_request_whoever_asks(rig: ControlRig) -> None:
    async with ScriptedWorker(rig) as worker, ScriptedWorker(rig, 1, 4001) as other:
        answers = await asyncio.gather(worker.ask_approval(), other.ask_approval(), worker.ask_approval())
        assert {(one.request_id, one.state, one.error) for one in answers} == {("req-0001", "pending", "")}
        gone = ApprovalWanted("no-such-rule", "write", "topic", "scores.fraud")
        answer = await worker.ask_approval(wanted=gone)
        assert (answer.request_id, answer.error) == ("", "rule no-such-rule is no longer in the policy")
    asked = await until(lambda: rig.audit("approval_requested"))
    assert [(one["request_id"], one["principal"], one["attested"]["launcher"]) for one in asked] == [
        ("req-0001", "corp:fraud-job", "alice")]


async def test_a_silent_worker_is_left_out_and_holds_nobody_up(rig: ControlRig,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kproxy.control.node.ASK_SECONDS", 0.1)
    async with ScriptedWorker(rig) as worker, ScriptedWorker(rig, 1, 4001) as silent:
        silent.silent = True
        worker.sessions = [session(2), session(1)]
        silent.sessions = [session(1, worker=1)]
        assert [view.id for view in await rig.node.sessions()] == ["0-1", "0-2"]


async def test_a_worker_that_comes_again_takes_its_own_place(rig: ControlRig) -> None:
    async with ScriptedWorker(rig, 0, 4000) as old, ScriptedWorker(rig, 0, 5000):
        (link,) = rig.node.links.links()
        assert link.pid == 5000
        await until(lambda: old._reader.at_eof())


@pytest.mark.parametrize("data", [
    pack(Published(1)), pack(StatsAsked(1)), b"\x7f\xff\xff\xff", b"\x00\x00\x00\x03abc",
    pack(Hello(0, 1)) + pack(Hello(0, 1)),
])
async def test_what_is_no_workers_word_ends_the_link(rig: ControlRig, data: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(str(rig.runtime / "control.sock"))
    writer.write(data)
    async with asyncio.timeout(5):
        while await reader.read(65536):
            pass
    assert rig.node.links.links() == []
    writer.close()
    async with ScriptedWorker(rig):
        assert len(rig.node.links.links()) == 1


async def test_epochs_grow_over_restarts_with_and_without_the_file(tmp_path: Path) -> None:
    rig = ControlRig(tmp_path)
    seen = []
    for lost in (False, False, True):
        if lost:
            (rig.runtime / "snapshot.msgpack").unlink()
        async with running(rig):
            seen.append(rig.snapshot().epoch)
            await until(lambda: rig.snapshot().issuer_keys)
            seen.append(rig.snapshot().epoch)
    assert seen == sorted(seen)
    assert seen[0] < seen[2] < seen[4]


async def test_a_restart_keeps_the_keys_it_does_not_know_yet(tmp_path: Path) -> None:
    rig = ControlRig(tmp_path)
    async with running(rig):
        await until(lambda: rig.snapshot().issuer_keys)
    rig.jwks.unlink()
    async with running(rig), ScriptedWorker(rig) as worker:
        assert [one.issuer for one in worker.snapshots[0].issuer_keys] == ["corp"]


def test_what_nobody_would_notice_is_not_published(tmp_path: Path) -> None:
    class Marks:
        value = 7

        def mark(self, name: str) -> int:
            return self.value

        def raise_mark(self, name: str, value: int) -> None:
            self.value = value

    announced: list[int] = []
    marks = Marks()
    publisher = Publisher(tmp_path / "snapshot.msgpack", marks, lambda: 100.0, announced.append)  # type: ignore[arg-type]
    keys = (IssuerKeys("corp", ({"kid": "k1"},), 50.0, 150.0),)
    assert publisher.publish(Policy(version="a"), {"public": "enforce"}, keys, (), {}) == 8
    assert publisher.publish(Policy(version="a"), {"public": "enforce"}, keys, (), {}) == 8
    assert publisher.publish(Policy(version="b"), {"public": "enforce"}, keys, (), {}) == 9
    assert publisher.publish(Policy(version="b"), {"public": "observe"}, keys, (), {}) == 10
    assert announced == [8, 9, 10] and marks.value == 10
    after = Publisher(tmp_path / "snapshot.msgpack", Marks(), lambda: 149.0, announced.append)  # type: ignore[arg-type]
    assert after.publish(Policy(version="b"), {"public": "observe"}, (), (), {}) == 11
    assert after.snapshot is not None and after.snapshot.issuer_keys == keys
    late = Publisher(tmp_path / "snapshot.msgpack", Marks(), lambda: 150.0, announced.append)  # type: ignore[arg-type]
    late.publish(Policy(version="b"), {"public": "observe"}, (), (), {})
    assert late.snapshot is not None and late.snapshot.issuer_keys == ()


def test_a_snapshot_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kproxy.control.event_log import EventLog

    events = EventLog(tmp_path / "events.db", born=1)
    announced: list[int] = []
    publisher = Publisher(tmp_path / "snapshot.msgpack", events, lambda: 1.0, announced.append)
    publisher.publish(Policy(version="a"), {}, (), (), {})
    before = (tmp_path / "snapshot.msgpack").read_bytes()

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("kproxy.control.files.os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            publisher.publish(Policy(version="b"), {}, (), (), {})
    assert (tmp_path / "snapshot.msgpack").read_bytes() == before
    assert sorted(path.name for path in tmp_path.glob("*snapshot*")) == ["snapshot.msgpack"]
    assert publisher.publish(Policy(version="b"), {}, (), (), {}) == 3
    assert announced == [1, 3]
    events.close()
