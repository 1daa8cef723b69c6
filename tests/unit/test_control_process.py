"""The control process as a process: started, signalled, killed at any moment and started again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.support import children
from tests.support.control_rig import POLICY, ControlRig, ScriptedWorker, until
from tests.support.spool_files import Worker, outcome


class ControlProcess:
    """``python -m kproxy.control`` over a rig's folder."""

    def __init__(self, rig: ControlRig) -> None:
        self.rig = rig
        self.log = rig.folder / "control.log"
        self.child: subprocess.Popen[bytes] | None = None

    async def start(self, *words: str, pass_fds: tuple[int, ...] = ()) -> None:
        command = [sys.executable, "-m", "kproxy.control", "--config", str(self.rig.config), *words]
        self.child = children.start(command, self.log, pass_fds=pass_fds)
        await until(self._answers, 20)

    def _answers(self) -> bool:
        assert self.child is not None and self.child.poll() is None, children.tail(self.log)
        try:
            return httpx.get(f"http://127.0.0.1:{self.rig.metrics}/healthz", trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        assert self.child is not None
        children.kill(self.child)

    def stop(self) -> int:
        assert self.child is not None
        return children.stop(self.child)


@pytest.fixture
async def control(tmp_path: Path) -> AsyncIterator[ControlProcess]:
    one = ControlProcess(ControlRig(tmp_path))
    yield one
    if one.child is not None:
        one.kill()


async def test_it_starts_reloads_and_stops_on_signals(control: ControlProcess) -> None:
    await control.start()
    assert control.child is not None
    async with ScriptedWorker(control.rig) as worker:
        before = worker.snapshots[-1].policy_version
        # In one breath with the signal, so that it is the signal or the watch, whichever is first, and once.
        control.rig.policy.write_text(POLICY.replace("features.a", "features.b"))
        control.child.send_signal(signal.SIGHUP)
        await until(lambda: worker.snapshots[-1].policy_version != before)
        assert control.stop() == 0
    kinds = [one["kind"] for one in control.rig.audit()]
    assert (kinds[0], kinds[-1]) == ("node_started", "node_stopped")
    assert kinds.count("policy_loaded") == 2
    lines = [json.loads(line) for line in control.log.read_text().splitlines()]
    assert {line["process"] for line in lines} == {"control"}
    assert not [line for line in lines if "unknown_keys" in line or line["level"] in ("error", "critical")]


async def test_it_goes_on_giving_signs_of_life(control: ControlProcess) -> None:
    readable, writable = os.pipe()
    os.set_blocking(readable, False)
    heard = 0

    def hear() -> int:
        nonlocal heard
        with contextlib.suppress(BlockingIOError):
            heard += len(os.read(readable, 64))
        return heard

    try:
        await control.start("--ready", str(writable), pass_fds=(writable,))
        await until(lambda: hear() >= 3, 30)
    finally:
        os.close(readable)
        os.close(writable)


async def test_killed_again_and_again_it_ships_every_line_once(control: ControlProcess) -> None:
    spool = control.rig.state / "spool"
    spool.mkdir(parents=True)
    worker = Worker(spool)
    with open(worker.path, "rb"):  # Held open, as its writer would: the run is not over.
        for round_number in range(3):
            for number in range(40):
                worker.connect(round_number * 40 + number + 1)
            await control.start()
            for number in range(200):
                worker.event("denied", number + 1, decision="deny")
            # Somewhere in the middle of shipping these.
            deadline = time.monotonic() + 0.05 * round_number
            await until(lambda end=deadline: time.monotonic() >= end)
            control.kill()
        await control.start()
        await until(lambda: set(worker.ids) <= {one["id"] for one in control.rig.audit()})
        assert control.stop() == 0
    shipped = [one["id"] for one in control.rig.audit() if one["id"].startswith("edge-1.0.")]
    assert shipped == worker.ids
    assert len({one["id"] for one in control.rig.audit()}) == len(control.rig.audit())


async def test_what_a_dead_worker_owed_is_told_by_the_next_control_process(control: ControlProcess) -> None:
    worker = Worker(control.rig.state / "spool")
    worker.connect(1)
    worker.notes(outcome(1, "scores.fraud", 0, 7, 9, 1))
    await control.start()
    (line,) = await until(lambda: [one for one in control.rig.audit("flow")])
    assert (line["recovered"], line["partitions"], line["attested"]["launcher"]) == (True, [[0, 7, 9, 3, 100]], "alice")
    await until(lambda: not worker.path.exists())


async def test_a_killed_one_resumes_requests_grants_and_epochs(control: ControlProcess) -> None:
    rig = control.rig
    await control.start()
    async with ScriptedWorker(rig) as worker:
        await worker.ask_approval()
        _, requests = await rig.call("GET", "/v1/requests", over="socket")
        status, told = await rig.call("POST", f"/v1/requests/{requests[0]['id']}/approve",
                                      rig.token("rita", "ml-risk"), {})
        assert (status, told["in_force"]) == (200, True)
        epoch = worker.epochs[-1]
        control.kill()
    await control.start()
    async with ScriptedWorker(rig) as worker:
        assert worker.epochs[0] > epoch
        assert [grant.id for grant in worker.snapshots[0].grants] == [told["grant"]["id"]]
        answer = await worker.ask_approval()
        assert (answer.request_id, answer.state) == (requests[0]["id"], "approved")
    assert control.stop() == 0
    kinds = [one["kind"] for one in rig.audit() if "request_id" in one]
    assert kinds == ["approval_requested", "approval_reviewed", "grant_started"]


async def test_a_second_one_does_not_work_beside_it(control: ControlProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    from kproxy.control import process as program
    from kproxy.errors import KproxyError

    await control.start()
    monkeypatch.setattr(program, "LOCK_SECONDS", 0.1)
    with pytest.raises(KproxyError, match="another control process works in"):
        program.claim_state(control.rig.state)


def test_an_unusable_configuration_ends_it_with_its_own_exit_code(tmp_path: Path) -> None:
    rig = ControlRig(tmp_path, "roles: {a: {members: 'nobody.knows'}}")
    done = subprocess.run([sys.executable, "-m", "kproxy.control", "--config", str(rig.config)], capture_output=True,
                          text=True, timeout=30, env={**os.environ, "NO_COLOR": "1"})
    assert done.returncode == 78
    (line,) = [json.loads(line) for line in done.stderr.splitlines()]
    assert line["event"] == "config_refused" and line["problem"].startswith(f"{rig.policy}:1: roles.a.members: ")
