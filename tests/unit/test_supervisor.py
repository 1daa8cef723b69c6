"""The supervisor over real processes: small Python programs stand in for the control process and the workers."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from kproxy.dataplane import child, supervisor
from kproxy.dataplane.launches import Launch
from kproxy.dataplane.supervisor import (
    AlreadyRunning,
    Supervisor,
    claim_node,
    count_workers,
    cpu_quota,
    prepare_directories,
)
from kproxy.errors import EXIT_CONFIG, KproxyError
from kproxy.model.settings import Config, Node
from tests.support.children import is_alive
from tests.support.stalls import Stalls

#: Writes its name and each signal to a log that all share, and ends on SIGTERM after ``linger`` seconds.
PROGRAM = """
import os, signal, sys, time
name, log, linger = sys.argv[1], sys.argv[2], float(sys.argv[3])
def say(what):
    fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, f"{name} {what} {os.getpid()}\\n".encode())
    os.close(fd)
def end(*_):
    say("term")
    time.sleep(linger)
    say("end")
    os._exit(0)
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGHUP, lambda *_: say("hup"))
say("start")
while True:
    signal.pause()
"""


class Log:
    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self) -> list[list[str]]:
        return [line.split() for line in self.path.read_text().splitlines()] if self.path.exists() else []

    def said(self, name: str, what: str) -> list[int]:
        """The process ids that said so, in order."""
        return [int(pid) for said_by, said, pid in self.lines() if (said_by, said) == (name, what)]


@pytest.fixture
def log(tmp_path) -> Log:
    return Log(tmp_path / "log")


def command(log: Log, name: str, linger: float = 0.0) -> list[str]:
    return [sys.executable, "-c", PROGRAM, name, str(log.path), str(linger)]


class Plan:
    """What a test wants started, and what the supervisor told it. A worker under a number beyond the list is a
    successor: its name tells the number."""

    def __init__(self, control: list[str], workers: list[list[str]], drain_timeout: float) -> None:
        self.commands = control, workers
        self.drain_timeout = drain_timeout
        self.workers = len(workers)
        self.told: list[str] = []
        self.refusal = ""

    def control(self) -> Launch:
        return Launch(tuple(self.commands[0]))

    def worker(self, slot: int, number: int) -> Launch:
        words = list(self.commands[1][slot])
        if number != slot:
            words[words.index(f"w{slot}")] = f"w{number}"
        return Launch(tuple(words))

    def take_files(self) -> None:
        if self.refusal:
            raise KproxyError(self.refusal)
        self.told.append("take")

    def go_back(self) -> None:
        self.told.append("back")

    def settle(self) -> None:
        self.told.append("settle")

    def withdraw(self, slot: int) -> None:
        self.told.append(f"withdraw {slot}")


def supervise(control: list[str], workers: list[list[str]], drain_timeout: float) -> Supervisor:
    return Supervisor(Plan(control, workers, drain_timeout))


async def until(condition, seconds: float = 15.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


class Running:
    """A supervisor at work in this loop."""

    def __init__(self, supervised: Supervisor) -> None:
        self.supervisor = supervised

    async def __aenter__(self) -> Running:
        self.task = asyncio.create_task(self.supervisor.run())
        return self

    async def __aexit__(self, *_) -> None:
        self.supervisor.stop()
        await self.task


async def test_clean_stop_ends_control_last(log):
    node = supervise(command(log, "control"), [command(log, f"w{n}", 0.2) for n in range(2)], drain_timeout=10)
    async with Running(node) as running:
        await until(lambda: len(log.lines()) == 3)
    assert running.task.result() == 0
    assert [said for _, said, _ in log.lines()].count("end") == 3
    order = [(name, said) for name, said, _ in log.lines() if said in ("term", "end")]
    assert order[-2:] == [("control", "term"), ("control", "end")]
    assert {name for name, said in order[:4]} == {"w0", "w1"}


@pytest.mark.parametrize("name", ["control", "w0"])
async def test_a_killed_child_is_started_again_and_the_others_live_on(log, name):
    node = supervise(command(log, "control"), [command(log, "w0"), command(log, "w1")], drain_timeout=5)
    async with Running(node):
        await until(lambda: len(log.lines()) == 3)
        (victim,) = log.said(name, "start")
        killed_at = time.time()
        with Stalls() as stalls:
            os.kill(victim, signal.SIGKILL)
            await until(lambda: len(log.said(name, "start")) == 2)
            assert time.time() - killed_at < 2.0 + stalls.since(killed_at), "the first death is answered at once"
        assert log.said(name, "start")[1] != victim
        for other in {"control", "w0", "w1"} - {name}:
            assert len(log.said(other, "start")) == 1
            assert is_alive(log.said(other, "start")[0])


async def test_hangup_goes_to_control_alone(log):
    node = supervise(command(log, "control"), [command(log, "w0")], drain_timeout=5)
    async with Running(node):
        await until(lambda: len(log.lines()) == 2)
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: log.said("control", "hup"))
        assert log.said("w0", "hup") == []


async def test_a_worker_that_does_not_end_is_killed(log, monkeypatch):
    monkeypatch.setattr(supervisor, "WORKER_MARGIN_SECONDS", 0.2)
    node = supervise(command(log, "control"), [command(log, "w0", 60)], drain_timeout=0.1)
    async with Running(node) as running:
        await until(lambda: len(log.lines()) == 2)
    assert running.task.result() == 1
    assert log.said("w0", "end") == []
    assert not is_alive(log.said("w0", "start")[0])
    assert len(log.said("control", "end")) == 1


async def test_it_never_gives_up_on_a_child_that_always_dies(log, monkeypatch):
    monkeypatch.setattr(child, "LONGEST_DELAY_SECONDS", 0.05)
    node = supervise(command(log, "control"), [[sys.executable, "-c", "raise SystemExit(1)"]], drain_timeout=5)
    async with Running(node) as running:
        await until(lambda: node.workers[0].starts >= 6)
    assert running.task.result() == 0


async def test_sockets_of_a_worker_that_always_dies_are_withdrawn(log, monkeypatch):
    monkeypatch.setattr(child, "WAITED_FOR_SECONDS", 0.15)
    node = supervise(command(log, "control"), [[sys.executable, "-c", "raise SystemExit(1)"]], drain_timeout=5)
    async with Running(node):
        await until(lambda: node._plan.told == ["withdraw 0"])
        assert node.workers[0].starts == 3, "delays of 0, 0.1 and 0.2 s"


def ready(name: str, log: Log) -> list[str]:
    """The same program; it says at once that it is at work."""
    words = command(log, name)
    words[2] = words[2].replace('say("start")', 'say("start"); os.write(int(sys.argv[-1]), b"r")').replace(
        "signal.signal(signal.SIGTERM, end)", "signal.signal(signal.SIGTERM, end); signal.signal(signal.SIGUSR2, end)")
    return words


async def test_a_restart_replaces_control_first_and_a_worker_only_by_one_that_serves(log):
    node = supervise(ready("control", log), [ready("w0", log), ready("w1", log)], drain_timeout=5)
    async with Running(node):
        await until(lambda: len(log.lines()) == 3)
        os.kill(os.getpid(), signal.SIGUSR2)
        await until(lambda: node._plan.told == ["take", "settle"])
        await until(lambda: log.said("w1", "end"))
    order = [(name, said) for name, said, _ in log.lines()][3:]
    wanted = [("control", "end"), ("control", "start"), ("w2", "start"), ("w3", "start")]
    assert [one for one in order if one in wanted][:4] == wanted
    assert order.index(("w2", "start")) < order.index(("w0", "term"))
    assert order.index(("w3", "start")) < order.index(("w1", "term"))


async def test_a_restart_whose_workers_do_not_serve_is_abandoned(log, monkeypatch):
    monkeypatch.setattr(supervisor, "STARTING_SECONDS", 1.0)
    node = supervise(ready("control", log), [ready("w0", log), command(log, "w1")], drain_timeout=5)
    async with Running(node):
        await until(lambda: len(log.lines()) == 3)
        node.restart()
        await until(lambda: node._plan.told == ["take", "back"])
        await until(lambda: len(log.said("control", "start")) == 3)
        await until(lambda: not is_alive(log.said("w3", "start")[0]))
        assert log.said("w0", "term") and not log.said("w1", "term"), "who was not replaced serves on"
        assert is_alive(log.said("w1", "start")[0]) and is_alive(log.said("w2", "start")[0])


async def test_a_restart_that_is_refused_touches_nobody(log):
    node = supervise(ready("control", log), [ready("w0", log)], drain_timeout=5)
    node._plan.refusal = "kproxy.yaml:1: broken"
    async with Running(node):
        await until(lambda: len(log.lines()) == 2)
        node.restart()
        await asyncio.wait_for(node._restarting, 5)
        assert (len(log.lines()), node._plan.told) == (2, [])


async def test_a_control_process_that_hangs_is_killed_and_started_again(log, monkeypatch):
    monkeypatch.setattr(supervisor, "SILENCE_SECONDS", 1.0)
    monkeypatch.setattr(child, "LOOK_SECONDS", 0.1)
    node = supervise(ready("control", log), [command(log, "w0")], drain_timeout=5)
    async with Running(node):
        # It says one word and then nothing more, as if stopped.
        await until(lambda: len(log.said("control", "start")) >= 2)
        assert log.said("control", "term") == [], "not asked: whoever hangs does not answer"
        assert len(log.said("w0", "start")) == 1


async def test_after_a_machine_was_suspended_nobody_is_killed_for_his_silence(log, monkeypatch):
    monkeypatch.setattr(supervisor, "SILENCE_SECONDS", 3.0)
    monkeypatch.setattr(child, "LOOK_SECONDS", 0.1)
    talking = ready("control", log)
    talking[2] = talking[2].replace(
        "signal.pause()", 'os.write(int(sys.argv[-1]), b"r"); say("word"); time.sleep(0.05)')
    node = supervise(talking, [command(log, "w0")], drain_timeout=5)
    async with Running(node):
        await until(lambda: log.said("control", "word"))
        (pid,) = log.said("control", "start")
        os.kill(pid, signal.SIGSTOP)
        await until(lambda: node.control._silent_looks >= 2)
        threading.Event().wait(4.0)  # Neither it nor the supervisor runs meanwhile.
        await until(lambda: node.control._silent_looks >= 4)
        os.kill(pid, signal.SIGCONT)
        enough = len(log.said("control", "word")) + 10
        await until(lambda: len(log.said("control", "word")) >= enough)
        assert log.said("control", "start") == [pid]


async def test_a_refused_configuration_ends_the_node(log):
    node = supervise([sys.executable, "-c", f"raise SystemExit({EXIT_CONFIG})"], [command(log, "w0")],
                      drain_timeout=5)
    async with asyncio.timeout(15):
        assert await node.run() == EXIT_CONFIG
    assert all(not is_alive(pid) for pid in log.said("w0", "start"))


async def test_children_drain_when_the_supervisor_is_killed(log, tmp_path):
    program = ("import asyncio, sys; from tests.unit.test_supervisor import supervise\n"
               "import ast; c, w = map(ast.literal_eval, sys.argv[1:])\n"
               "async def run(): return await supervise(c, [w], 5).run()\n"
               "asyncio.run(run())")
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", program, repr(command(log, "control")),
                                                  repr(command(log, "w0")))
    await until(lambda: len(log.lines()) == 2)
    parent.kill()
    await parent.wait()
    await until(lambda: log.said("control", "end") and log.said("w0", "end"))


def test_restart_delays_grow_to_ten_seconds():
    assert [child.restart_delay(deaths) for deaths in (1, 2, 3, 4, 8, 9, 50)] == [0, 0.1, 0.2, 0.4, 6.4, 10, 10]


@pytest.mark.parametrize(("wanted", "affinity", "quota", "count"), [
    ("auto", 8, math.inf, 8), ("auto", 8, 2.5, 2), ("auto", 2, 16.0, 2), ("auto", 4, 0.5, 1), (3, 2, 1.0, 3)])
def test_workers_fit_affinity_and_quota(wanted, affinity, quota, count):
    assert count_workers(wanted, affinity, quota) == count


@pytest.mark.parametrize(("files", "quota"), [
    ({"cpu.max": "150000 100000\n"}, 1.5), ({"cpu.max": "max 100000\n"}, math.inf), ({}, math.inf),
    ({"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"}, 4.0),
    ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, math.inf)])
def test_cpu_quota_of_either_cgroup(tmp_path, files, quota):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cpu_quota(tmp_path) == quota


def config(tmp_path: Path) -> Config:
    return Config(file="kproxy.yaml", node=Node(runtime_dir=str(tmp_path / "run"), state_dir=str(tmp_path / "state")),
                  clusters={}, listeners={}, issuers={}, policy_path="", mode="enforce")


def test_directories_are_for_this_user_alone(tmp_path):
    (tmp_path / "run").mkdir(mode=0o755)
    prepare_directories(config(tmp_path))
    for path in ("run", "state", "state/spool"):
        assert (tmp_path / path).stat().st_mode & 0o777 == 0o700


def test_a_directory_that_cannot_be_made_is_one_clear_line(tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(KproxyError, match=f"cannot use directory {tmp_path}/run: "):
        prepare_directories(config(tmp_path))


def test_one_supervisor_per_runtime_directory_and_no_old_snapshot(tmp_path):
    settings = config(tmp_path)
    prepare_directories(settings)
    (tmp_path / "run/snapshot.msgpack").write_bytes(b"of an earlier run")
    lock = claim_node(settings)
    assert not (tmp_path / "run/snapshot.msgpack").exists()
    assert (tmp_path / "run/supervisor.pid").read_text() == f"{os.getpid()}\n"
    with pytest.raises(AlreadyRunning, match=f"process {os.getpid()}"):
        claim_node(settings)
    os.close(lock)
    os.close(claim_node(settings))
