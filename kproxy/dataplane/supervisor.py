"""The parent of a node's processes: starts them, starts them again when they die, and ends them in the right order.

The control process starts first, because workers wait for its snapshot, and stops last, because it ships what the
workers spool while they drain. A dead child of either kind leaves the others at work.

On SIGUSR2 all of them are replaced, the control process first, then worker by worker. A successor has the sockets of
its predecessor, so no connection is refused or reset: until it serves, the former does; then the former drains.
"""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import math
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

import structlog

from kproxy import logs
from kproxy.config import load_config
from kproxy.dataplane.child import Child
from kproxy.dataplane.launches import Launch, Launches, raise_descriptor_limit
from kproxy.dataplane.listener import refuse_taken
from kproxy.errors import EXIT_CONFIG, KproxyError
from kproxy.model.settings import Config

log = structlog.get_logger("kproxy.supervisor")

#: What the control process may take, once the workers are gone, to ship the rest of the spool.
SHIPPING_SECONDS = 15.0
#: Beyond a worker's own drain deadline, for closing what is left and ending the spool.
WORKER_MARGIN_SECONDS = 5.0
#: A control process that gives no sign of life for so long hangs, and is killed.
SILENCE_SECONDS = 30.0
#: What a successor may take until it serves.
STARTING_SECONDS = 30.0
#: Tells a worker that a successor has its sockets: it leaves them listening and drains.
LEAVE = signal.SIGUSR2
CGROUP = Path("/sys/fs/cgroup")


class AlreadyRunning(KproxyError):
    """Another supervisor holds this runtime directory."""


def cpu_quota(cgroup: Path = CGROUP) -> float:
    """Cores that the cgroup (v2, else v1) allows; infinity where it sets no limit."""
    try:
        limit, period = (cgroup / "cpu.max").read_text().split()
        return math.inf if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError):
        pass
    try:
        limit_us = int((cgroup / "cpu/cpu.cfs_quota_us").read_text())
        return math.inf if limit_us <= 0 else limit_us / int((cgroup / "cpu/cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return math.inf


def count_workers(wanted: int | str, affinity: int, quota: float) -> int:
    """``auto`` is one per core this process may use: affinity, cut to the whole cores of the quota, at least one."""
    if wanted != "auto":
        return max(1, int(wanted))
    return max(1, affinity if math.isinf(quota) else min(affinity, int(quota)))


class Plan(Protocol):
    """What is started, and with what; see kproxy.dataplane.launches."""

    @property
    def workers(self) -> int: ...

    @property
    def drain_timeout(self) -> float: ...

    def control(self) -> Launch: ...

    def worker(self, slot: int, number: int) -> Launch: ...

    def take_files(self) -> None: ...

    def go_back(self) -> None: ...

    def settle(self) -> None: ...

    def withdraw(self, slot: int) -> None: ...


class Supervisor:
    """Runs the children of ``plan`` until told to stop. ``run`` gives the exit code."""

    def __init__(self, plan: Plan, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._plan = plan
        self._clock = clock
        self._stop = asyncio.Event()
        self._exit_code = 0
        self._restarting: asyncio.Task[None] | None = None
        self._leaving: dict[asyncio.Task[bool], int] = {}
        self._numbers: dict[Child, int] = {}
        self.control = Child("control", plan.control, clock=clock, on_config_refused=self._give_up,
                             longest_silence=SILENCE_SECONDS)
        self.workers: list[Child] = []
        for slot in range(plan.workers):
            self.workers.append(self._take_slot(slot, self._make(slot)))

    def stop(self) -> None:
        """Begins the drain; a second call changes nothing."""
        self._stop.set()

    def reload(self) -> None:
        """The control process reads its files again and publishes; workers learn of it from there."""
        self.control.send(signal.SIGHUP)

    def restart(self) -> None:
        """Begins to replace every child by one that runs by the files as they are. Asked again meanwhile, it does not
        begin again."""
        if self._restarting is None or self._restarting.done():
            self._restarting = asyncio.get_running_loop().create_task(self._restart())

    async def run(self) -> int:
        """Until ``stop`` and the drain after it. 0: clean; 78: the configuration was refused; 1: something had
        to be killed."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        loop.add_signal_handler(signal.SIGUSR2, self.restart)
        self.control.start()
        for worker in self.workers:
            worker.start()
        await self._stop.wait()
        if self._restarting is not None:
            self._restarting.cancel()
            await asyncio.gather(self._restarting, return_exceptions=True)
        await self._drain()
        return self._exit_code

    def _make(self, slot: int) -> Child:
        """A worker of this slot under a number that nobody has: while it takes over, both are there."""
        number = next(free for free in itertools.count() if free not in self._numbers.values())
        worker = Child(f"worker-{number}", partial(self._plan.worker, slot, number), clock=self._clock)
        self._numbers[worker] = number
        return worker

    def _take_slot(self, slot: int, worker: Child) -> Child:
        # Only now: sockets that a predecessor serves are not withdrawn because its successor does not start.
        worker.on_pause = partial(self._plan.withdraw, slot)
        return worker

    def _give_up(self, child: str) -> None:
        log.error("configuration_refused", child=child)
        self._exit_code = EXIT_CONFIG
        self._stop.set()

    # -- replacing the children, one after the other -------------------------------------------------------------------

    async def _restart(self) -> None:
        try:
            self._plan.take_files()
        except KproxyError as error:
            log.error("restart_refused", problem=str(error))
            return
        log.info("restarting", count=len(self.workers))
        if not await self.control.start_again(SHIPPING_SECONDS, STARTING_SECONDS):
            await self._abandon("control")
            return
        for slot, former in enumerate(self.workers):
            if not await self._replace(slot, former):
                await self._abandon(former.name)
                return
        self._plan.settle()
        log.info("restarted", count=len(self.workers))

    async def _replace(self, slot: int, former: Child) -> bool:
        """Starts a successor on the same sockets; only when it serves, the former is told to leave."""
        successor = self._make(slot)
        successor.start()
        try:
            serves = await successor.is_ready(STARTING_SECONDS)
        except asyncio.CancelledError:
            self._leave(successor, signal.SIGTERM)
            raise
        if not serves:
            self._leave(successor, signal.SIGKILL)
            return False
        self.workers[slot] = self._take_slot(slot, successor)
        self._leave(former, LEAVE)
        return True

    async def _abandon(self, child: str) -> None:
        """Workers that were replaced stay: old and new ones serve side by side, and the log says so."""
        log.error("restart_abandoned", child=child, seconds=STARTING_SECONDS)
        self._plan.go_back()
        await self.control.start_again(SHIPPING_SECONDS, STARTING_SECONDS)

    def _leave(self, worker: Child, number: signal.Signals) -> None:
        allowed = self._plan.drain_timeout + WORKER_MARGIN_SECONDS
        task = asyncio.get_running_loop().create_task(worker.stop(allowed, number))
        self._leaving[task] = self._numbers[worker]

        def forget(done: asyncio.Task[bool]) -> None:
            del self._leaving[done], self._numbers[worker]

        task.add_done_callback(forget)

    # -- the end -------------------------------------------------------------------------------------------------------

    async def _drain(self) -> None:
        drain_timeout = self._plan.drain_timeout
        log.info("draining", count=len(self.workers), seconds=drain_timeout)
        by_themselves = await asyncio.gather(
            *(worker.stop(drain_timeout + WORKER_MARGIN_SECONDS) for worker in self.workers), *self._leaving)
        clean = await self.control.stop(SHIPPING_SECONDS) and all(by_themselves)
        log.info("stopped", state="clean" if clean else "killed")
        if not clean:
            self._exit_code = self._exit_code or 1


def prepare_directories(config: Config) -> None:
    """The runtime directory for this user alone, the state directory with its spool. Raises KproxyError."""
    for path in (config.node.runtime_dir, config.node.state_dir, os.path.join(config.node.state_dir, "spool")):
        try:
            os.makedirs(path, mode=0o700, exist_ok=True)
            os.chmod(path, 0o700)
        except OSError as error:
            raise KproxyError(f"cannot use directory {path}: {error.strerror}") from error


def claim_node(config: Config) -> int:
    """Locks and writes ``supervisor.pid``, and removes what an earlier run left: its snapshot, whose grants may have
    been revoked since, and its count of quotas. The lock lasts as long as the returned descriptor. Raises
    AlreadyRunning."""
    runtime = Path(config.node.runtime_dir)
    fd = os.open(runtime / "supervisor.pid", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(fd, 32).decode("ascii", "replace").strip()
        os.close(fd)
        raise AlreadyRunning(f"kproxy already runs in {runtime} (process {holder})") from None
    os.ftruncate(fd, 0)
    os.write(fd, f"{os.getpid()}\n".encode())
    (runtime / "snapshot.msgpack").unlink(missing_ok=True)
    (runtime / "quotas").unlink(missing_ok=True)
    return fd


def run(config: Config, *, dataplane: str = "kproxy.dataplane") -> int:
    """``kproxy run``: blocks until the node has stopped and returns the exit code. ``dataplane`` is the module that is
    run as a worker. Raises KproxyError where the node cannot start at all."""
    logs.configure("supervisor")
    prepare_directories(config)
    lock = claim_node(config)
    count = count_workers(config.node.workers, len(os.sched_getaffinity(0)), cpu_quota())
    raise_descriptor_limit()
    try:
        # The control process would find out too, and die of it again and again beside workers that serve.
        refuse_taken(address for address in (config.admin, config.metrics) if address is not None)
        launches = Launches(config, (sys.executable, "-m"), dataplane, count, partial(load_config, config.file))
        try:
            return asyncio.run(_supervise(launches))
        finally:
            launches.close()
    finally:
        (Path(config.node.runtime_dir) / "supervisor.pid").unlink(missing_ok=True)
        os.close(lock)


async def _supervise(launches: Launches) -> int:
    return await Supervisor(launches).run()
