"""The parent of a node's processes: starts them, starts them again when they die, and ends them in the right order.

The control process starts first, because workers wait for its snapshot, and stops last, because it ships what the
workers spool while they drain. A dead child of either kind leaves the others at work.

A worker's listening sockets belong to its *place*, which the supervisor holds open: whoever connects while the worker
there dies or is replaced waits in the queue for the next one. On SIGUSR2 every place gets a new worker, one after the
other: the new one serves before the old one drains.
"""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import math
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from kproxy import logs
from kproxy.dataplane.child import Child
from kproxy.dataplane.listener import close_sockets, open_sockets, stop_listening
from kproxy.errors import KproxyError
from kproxy.model.settings import Config

log = structlog.get_logger("kproxy.supervisor")

#: A worker that replaces another serves within this, or the old one stays.
READY_SECONDS = 30.0
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


class Place:
    """Where a worker stands. ``command(number)`` is the argument vector of the worker of that number; ``sockets`` are
    inherited by each worker that stands here. Without sockets a worker is not waited for."""

    def __init__(self, command: Callable[[int], list[str]], sockets: Sequence[socket.socket] = ()) -> None:
        self._command = command
        self.sockets = tuple(sockets)

    def build(self, number: int, clock: Callable[[], float]) -> Child:
        return Child(f"worker-{number}", self._command(number), clock=clock, tells_ready=bool(self.sockets),
                     descriptors=[sock.fileno() for sock in self.sockets],
                     on_failing=lambda: stop_listening(self.sockets))


class Supervisor:
    """Runs ``control`` (an argument vector) and a worker in each of ``places`` until told to stop. ``run`` gives the
    exit code."""

    def __init__(self, control: list[str], places: Sequence[Place], *, drain_timeout: float,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._drain_timeout = drain_timeout
        self._clock = clock
        self._stop = asyncio.Event()
        self._exit_code = 0
        self._places = list(places)
        self._numbers = itertools.count(len(places))
        self._replacing: asyncio.Task[None] | None = None
        self.control = Child("control", control, clock=clock, on_config_refused=self._give_up)
        self.workers = [place.build(number, clock) for number, place in enumerate(places)]

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
        loop.add_signal_handler(signal.SIGUSR2, self.replace_workers)
        self.control.start()
        for worker in self.workers:
            worker.start()
        await self._stop.wait()
        await self._drain()
        return self._exit_code

    def replace_workers(self) -> None:
        """Begins a rolling restart; while one runs another call changes nothing."""
        if self._replacing is None or self._replacing.done():
            self._replacing = asyncio.get_running_loop().create_task(self._replace_workers())

    async def _replace_workers(self) -> None:
        log.info("workers_replacing", count=len(self._places))
        for at, place in enumerate(self._places):
            fresh = place.build(next(self._numbers), self._clock)
            fresh.start()
            if not await self._is_up(fresh):
                log.error("worker_not_replaced", child=self.workers[at].name, seconds=READY_SECONDS)
                await fresh.stop(self._drain_timeout + WORKER_MARGIN_SECONDS, signal.SIGUSR2)
                return
            old, self.workers[at] = self.workers[at], fresh
            await old.stop(self._drain_timeout + WORKER_MARGIN_SECONDS, signal.SIGUSR2)
            log.info("worker_replaced", child=fresh.name)

    async def _is_up(self, worker: Child) -> bool:
        """Whether a new worker serves in time. The node may be told to stop meanwhile."""
        waits = [asyncio.ensure_future(worker.ready.wait()), asyncio.ensure_future(self._stop.wait())]
        await asyncio.wait(waits, timeout=READY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for one in waits:
            one.cancel()
        return worker.ready.is_set()

    def _give_up(self, child: str) -> None:
        log.error("configuration_refused", child=child)
        self._exit_code = 1
        self._stop.set()

    async def _drain(self) -> None:
        log.info("draining", count=len(self.workers), seconds=self._drain_timeout)
        allowed = self._drain_timeout + WORKER_MARGIN_SECONDS
        if self._replacing is not None:
            await self._replacing
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
    if not _try_lock(fd):
        holder = os.read(fd, 32).decode("ascii", "replace").strip()
        os.close(fd)
        raise AlreadyRunning(f"kproxy already runs in {runtime} (process {holder})")
    os.ftruncate(fd, 0)
    os.write(fd, f"{os.getpid()}\n".encode())
    (runtime / "snapshot.msgpack").unlink(missing_ok=True)
    return fd


def ask_to_replace_workers(config: Config) -> int:
    """Sends SIGUSR2 to the supervisor that holds this configuration's runtime directory; its process id. Raises
    KproxyError where none runs."""
    path = Path(config.node.runtime_dir) / "supervisor.pid"
    try:
        with open(path, encoding="ascii") as file:
            if _try_lock(file.fileno()):
                raise KproxyError(f"no kproxy runs in {config.node.runtime_dir}")
            pid = int(file.read())
        os.kill(pid, signal.SIGUSR2)
    except (OSError, ValueError) as error:
        raise KproxyError(f"no kproxy can be reached by {path}: {error}") from None
    return pid


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def run(config: Config, *, dataplane: str = "kproxy.dataplane") -> int:
    """``kproxy run``: blocks until the node has stopped and returns the exit code. ``dataplane`` is the module that is
    run as a worker."""
    logs.configure("supervisor")
    prepare_directories(config)
    lock = claim(config)
    count = count_workers(config.node.workers, len(os.sched_getaffinity(0)), cpu_quota())
    control = [sys.executable, "-m", "kproxy.control", "--config", config.file]
    places: list[Place] = []
    try:
        for _ in range(count):
            places.append(_build_place(config, dataplane))
        return asyncio.run(_supervise(control, places, config.limits.drain_timeout))
    finally:
        for place in places:
            close_sockets(place.sockets)
        (Path(config.node.runtime_dir) / "supervisor.pid").unlink(missing_ok=True)
        os.close(lock)


def _build_place(config: Config, dataplane: str) -> Place:
    sockets = open_sockets(config.listeners)
    listen = ",".join(str(sock.fileno()) for sock in sockets)
    command = [sys.executable, "-m", dataplane, "--config", config.file, "--listen-fds", listen, "--worker"]
    return Place(lambda number: [*command, str(number)], sockets)


async def _supervise(control: list[str], places: list[Place], drain_timeout: float) -> int:
    return await Supervisor(control, places, drain_timeout=drain_timeout).run()
