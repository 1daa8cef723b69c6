"""One child process that is kept alive: started, watched, started again, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Sequence

import structlog

log = structlog.get_logger("kproxy.supervisor")

#: A child that lived this long has started well: its next death is answered at once again.
STARTED_WELL_SECONDS = 10.0
FIRST_DELAY_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 10.0
#: From here on a pause is long: whatever waits for the child is better sent elsewhere.
FAILING_DELAY_SECONDS = 1.0
#: sysexits.h EX_CONFIG: the child found its configuration or policy unusable, so starting it again changes nothing.
EXIT_CONFIG = 78
_PR_SET_PDEATHSIG = 1


def restart_delay(fast_deaths: int) -> float:
    """Seconds to wait after the ``fast_deaths``-th quick death in a row: none for the first, then doubling up to 10
    s."""
    if fast_deaths <= 1:
        return 0.0
    return min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(fast_deaths - 2, 10))


def _die_with_parent() -> Callable[[], None] | None:
    """Runs in the child before exec: if the supervisor is killed, its children drain instead of holding the ports."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)  # The supervisor died between the fork and the call above.

    return prepare


class _ReadyPipe:
    """A context manager around the start of a child: gives the end it writes to, and closes it here afterwards. The
    first byte calls ``on_ready``; a child that ends without one calls nothing."""

    def __init__(self, on_ready: Callable[[], None]) -> None:
        self._on_ready = on_ready
        self._ours, self._theirs = os.pipe()

    def __enter__(self) -> int:
        asyncio.get_running_loop().add_reader(self._ours, self._read)
        return self._theirs

    def __exit__(self, *exc: object) -> None:
        os.close(self._theirs)

    def _read(self) -> None:
        said = os.read(self._ours, 1)
        asyncio.get_running_loop().remove_reader(self._ours)
        os.close(self._ours)
        if said:
            self._on_ready()


class Child:
    """Keeps ``command`` running until ``stop``. ``on_config_refused`` is called instead of a restart when the child
    says EXIT_CONFIG before it ever started well; later such an exit is a death like any other. The child inherits
    ``descriptors``; with ``tells_ready`` it gets ``--ready-fd N`` too and writes a byte there once it serves.
    ``on_failing`` is called before a pause that is longer than somebody should wait."""

    def __init__(self, name: str, command: Sequence[str], *, clock: Callable[[], float],
                 on_config_refused: Callable[[str], None] | None = None, descriptors: Sequence[int] = (),
                 tells_ready: bool = False, on_failing: Callable[[], None] | None = None) -> None:
        self.name = name
        self.command = tuple(command)
        self.starts = 0
        self.ready = asyncio.Event()
        self._descriptors = tuple(descriptors)
        self._tells_ready = tells_ready
        self._on_failing = on_failing
        self._clock = clock
        self._on_config_refused = on_config_refused
        self._running: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """Of the process that runs now."""
        return self._running.pid if self._running and self._running.returncode is None else None

    def start(self) -> None:
        self._watch = asyncio.get_running_loop().create_task(self._keep_alive())

    def send(self, number: signal.Signals) -> None:
        """Signals the process if it runs."""
        if self._running and self._running.returncode is None:
            try:
                self._running.send_signal(number)
            except ProcessLookupError:
                return  # It has just died; the watch sees to that.

    async def stop(self, timeout: float, asking: signal.Signals = signal.SIGTERM) -> bool:
        """``asking``, then SIGKILL after ``timeout`` seconds. True if the child ended by itself."""
        self._stopping.set()
        self.send(asking)
        if self._watch is None:
            return True
        done, _ = await asyncio.wait({self._watch}, timeout=timeout)
        if not done:
            log.warning("child_killed", child=self.name, seconds=timeout)
            self.send(signal.SIGKILL)
            await self._watch
        return bool(done)

    async def _keep_alive(self) -> None:
        fast_deaths = 0
        started_well = False
        while not self._stopping.is_set():
            began = self._clock()
            code = await self._run_once()
            lived = self._clock() - began
            if self._stopping.is_set():
                return
            if code == EXIT_CONFIG and not started_well and self._on_config_refused is not None:
                self._on_config_refused(self.name)
                return
            if lived >= STARTED_WELL_SECONDS:
                started_well, fast_deaths = True, 0
            fast_deaths += 1
            delay = restart_delay(fast_deaths)
            log.error("child_died", child=self.name, exit_code=code, attempt=fast_deaths, seconds=delay)
            if delay >= FAILING_DELAY_SECONDS and self._on_failing is not None:
                self._on_failing()
            await self._pause(delay)

    async def _run_once(self) -> int:
        self._running = None
        self.ready.clear()
        with _ReadyPipe(self.ready.set) if self._tells_ready else contextlib.nullcontext() as pipe:
            command, descriptors = self.command, self._descriptors
            if pipe is not None:
                command, descriptors = (*command, "--ready-fd", str(pipe)), (*descriptors, pipe)
            try:
                self._running = await asyncio.create_subprocess_exec(
                    *command, stdin=asyncio.subprocess.DEVNULL, preexec_fn=_die_with_parent(), process_group=0,
                    pass_fds=descriptors)
            except OSError as error:
                log.error("child_not_started", child=self.name, error=error.strerror)
                return -1
        self.starts += 1
        log.info("child_started", child=self.name, pid=self._running.pid)
        if self._stopping.is_set():
            self.send(signal.SIGTERM)
        return await self._running.wait()

    async def _pause(self, seconds: float) -> None:
        if seconds <= 0:
            return
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return
