"""The parent of a node's processes: starts them, starts them again when they die, and ends them in the right order.

The control process starts first, because workers wait for its snapshot, and stops last, because it ships what the
workers spool while they drain. A dead child of either kind leaves the others at work.
"""

from __future__ import annotations

import asyncio
import fcntl
import math
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from kproxy import logs
from kproxy.dataplane.child import Child
from kproxy.errors import KproxyError
from kproxy.model.settings import Config

log = structlog.get_logger("kproxy.supervisor")

#: What the control process may take, once the workers are gone, to ship the rest of the spool.
SHIPPING_SECONDS = 15.0
#: Beyond a worker's own drain deadline, for closing what is left and ending the spool.
WORKER_MARGIN_SECONDS = 5.0
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


class Supervisor:
    """Runs ``control`` and ``workers`` (argument vectors) until told to stop. ``run`` gives the exit code."""

    def __init__(self, control: list[str], workers: list[list[str]], *, drain_timeout: float,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._drain_timeout = drain_timeout
        self._stop = asyncio.Event()
        self._exit_code = 0
        self.control = Child("control", control, clock=clock, on_config_refused=self._give_up)
        self.workers = [Child(f"worker-{number}", command, clock=clock) for number, command in enumerate(workers)]

    def stop(self) -> None:
        """Begins the drain; a second call changes nothing."""
        self._stop.set()

    def reload(self) -> None:
        """The control process reads its files again and publishes; workers learn of it from there."""
        self.control.send(signal.SIGHUP)

    async def run(self) -> int:
        """Until ``stop`` and the drain after it. 0: clean; 1: configuration refused, or something had to be killed."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        self.control.start()
        for worker in self.workers:
            worker.start()
        await self._stop.wait()
        await self._drain()
        return self._exit_code

    def _give_up(self, child: str) -> None:
        log.error("configuration_refused", child=child)
        self._exit_code = 1
        self._stop.set()

    async def _drain(self) -> None:
        log.info("draining", count=len(self.workers), seconds=self._drain_timeout)
        allowed = self._drain_timeout + WORKER_MARGIN_SECONDS
        by_themselves = await asyncio.gather(*(worker.stop(allowed) for worker in self.workers))
        clean = await self.control.stop(SHIPPING_SECONDS) and all(by_themselves)
        log.info("stopped", state="clean" if clean else "killed")
        if not clean:
            self._exit_code = 1


def prepare_directories(config: Config) -> None:
    """The runtime directory for this user alone, the state directory with its spool. Raises KproxyError."""
    for path in (config.node.runtime_dir, config.node.state_dir, os.path.join(config.node.state_dir, "spool")):
        try:
            os.makedirs(path, mode=0o700, exist_ok=True)
            os.chmod(path, 0o700)
        except OSError as error:
            raise KproxyError(f"cannot use directory {path}: {error.strerror}") from error


def claim(config: Config) -> int:
    """Locks and writes ``supervisor.pid``, and removes the snapshot of an earlier run: grants in it may have been
    revoked since. The lock lasts as long as the returned descriptor. Raises AlreadyRunning."""
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
    return fd


def run(config: Config, *, dataplane: str = "kproxy.dataplane") -> int:
    """``kproxy run``: blocks until the node has stopped and returns the exit code. ``dataplane`` is the module that is
    run as a worker."""
    logs.configure("supervisor")
    prepare_directories(config)
    lock = claim(config)
    count = count_workers(config.node.workers, len(os.sched_getaffinity(0)), cpu_quota())
    python = [sys.executable, "-m"]
    supervised = ["--config", config.file]
    try:
        return asyncio.run(_supervise(
            [*python, "kproxy.control", *supervised],
            [[*python, dataplane, *supervised, "--worker", str(number)]
             for number in range(count)],
            config.limits.drain_timeout))
    finally:
        (Path(config.node.runtime_dir) / "supervisor.pid").unlink(missing_ok=True)
        os.close(lock)


async def _supervise(control: list[str], workers: list[list[str]], drain_timeout: float) -> int:
    return await Supervisor(control, workers, drain_timeout=drain_timeout).run()
