"""One child process that is kept alive: started, watched, started again, replaced, stopped.

It is given the number of a descriptor (``--ready``) and writes a byte to it when it is at work. One that goes on
writing can be told from one that hangs.
"""

from __future__ import annotations

import asyncio
import ctypes
import math
import os
import signal
import sys
from collections.abc import Callable

import structlog

from kproxy.dataplane.launches import Launch
from kproxy.errors import EXIT_CONFIG

log = structlog.get_logger("kproxy.supervisor")

#: A child that lived this long has started well: its next death is answered at once again.
STARTED_WELL_SECONDS = 10.0
FIRST_DELAY_SECONDS = 0.1
LOOK_SECONDS = 1.0
#: Up to here a client that waits in the queue of a dead worker is better off than one that is refused.
WAITED_FOR_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 10.0
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


class Child:
    """Keeps what ``launch`` says running until ``stop``; it is asked anew before each start. ``on_config_refused`` is
    called instead of a restart when the child says EXIT_CONFIG before it ever started well; later such an exit is a
    death like any other. ``on_pause`` is called where the next start has to wait for long. One that has given a sign
    of life and then none for ``longest_silence`` seconds is killed."""

    def __init__(self, name: str, launch: Callable[[], Launch], *, clock: Callable[[], float],
                 on_config_refused: Callable[[str], None] | None = None,
                 longest_silence: float = math.inf) -> None:
        self.name = name
        self.starts = 0
        self.ready = asyncio.Event()
        self.on_pause: Callable[[], None] | None = None
        self._launch = launch
        self._clock = clock
        self._on_config_refused = on_config_refused
        self._running: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._asked_again = False
        self._longest_silence = longest_silence
        self._silent_looks = -math.inf
        """Since the last sign of life; nothing is counted before the first."""

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

    async def stop(self, timeout: float, number: signal.Signals = signal.SIGTERM) -> bool:
        """Sends ``number``, then SIGKILL after ``timeout`` seconds. True if the child ended by itself."""
        self._stopping.set()
        self.send(number)
        if self._watch is None:
            return True
        done, _ = await asyncio.wait({self._watch}, timeout=timeout)
        if not done:
            log.warning("child_killed", child=self.name, seconds=timeout)
            self.send(signal.SIGKILL)
            await self._watch
        return bool(done)

    async def start_again(self, ending: float, starting: float) -> bool:
        """Ends the process with SIGTERM, after ``ending`` seconds with SIGKILL, and starts the next. True if that one
        is at work within ``starting`` seconds."""
        self._asked_again = self.pid is not None
        self.ready.clear()
        self.send(signal.SIGTERM)
        kill = asyncio.get_running_loop().call_later(ending, self._kill, self.pid)
        try:
            return await self.is_ready(ending + starting)
        finally:
            kill.cancel()

    async def is_ready(self, timeout: float) -> bool:
        """Waits until the process is at work; False if it is not within ``timeout`` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self.ready.wait()
        except TimeoutError:
            return False
        return True

    def _kill(self, pid: int | None) -> None:
        if pid is not None and pid == self.pid:
            log.warning("child_killed", child=self.name)
            self.send(signal.SIGKILL)

    async def _keep_alive(self) -> None:
        fast_deaths = 0
        started_well = False
        while not self._stopping.is_set():
            began = self._clock()
            code = await self._run_once()
            lived = self._clock() - began
            if self._stopping.is_set():
                return
            if self._asked_again:
                self._asked_again = False
                continue
            if code == EXIT_CONFIG and not started_well and self._on_config_refused is not None:
                self._on_config_refused(self.name)
                return
            if lived >= STARTED_WELL_SECONDS:
                started_well, fast_deaths = True, 0
            fast_deaths += 1
            delay = restart_delay(fast_deaths)
            log.error("child_died", child=self.name, exit_code=code, attempt=fast_deaths, seconds=delay)
            if delay > WAITED_FOR_SECONDS and self.on_pause is not None:
                self.on_pause()
            await self._pause(delay)

    async def _run_once(self) -> int:
        self._running = None
        self._silent_looks = -math.inf
        self.ready.clear()
        readable, writable = os.pipe2(os.O_CLOEXEC)
        try:
            self._running = await self._spawn(self._launch(), writable)
        except OSError as error:
            os.close(readable)
            log.error("child_not_started", child=self.name, error=error.strerror)
            return -1
        finally:
            os.close(writable)
        loop = asyncio.get_running_loop()
        loop.add_reader(readable, self._on_word, readable)
        self.starts += 1
        log.info("child_started", child=self.name, pid=self._running.pid)
        if self._stopping.is_set():
            self.send(signal.SIGTERM)
        try:
            return await self._end_of(self._running)
        finally:
            loop.remove_reader(readable)
            os.close(readable)
            self.ready.clear()

    async def _spawn(self, launch: Launch, ready: int) -> asyncio.subprocess.Process:
        stdin = os.memfd_create("kproxy-launch", os.MFD_CLOEXEC)
        try:
            os.write(stdin, launch.stdin)
            os.lseek(stdin, 0, os.SEEK_SET)
            return await asyncio.create_subprocess_exec(
                *launch.words, "--ready", str(ready), stdin=stdin, preexec_fn=_die_with_parent(), process_group=0,
                pass_fds=(*launch.descriptors, ready))
        finally:
            os.close(stdin)

    async def _end_of(self, running: asyncio.subprocess.Process) -> int:
        """Silence is counted in looks: after a machine was suspended, or too busy to look, nobody is killed for it."""
        if math.isinf(self._longest_silence):
            return await running.wait()
        ended = asyncio.ensure_future(running.wait())
        try:
            while True:
                await asyncio.wait({ended}, timeout=LOOK_SECONDS)
                if ended.done():
                    return ended.result()
                self._silent_looks += 1
                silent = self._silent_looks * LOOK_SECONDS
                if silent >= self._longest_silence:
                    log.error("child_silent", child=self.name, pid=running.pid, seconds=round(silent, 1))
                    self.send(signal.SIGKILL)
        finally:
            ended.cancel()

    def _on_word(self, readable: int) -> None:
        if os.read(readable, 4096):
            self._silent_looks = 0
            self.ready.set()
        else:
            asyncio.get_running_loop().remove_reader(readable)

    async def _pause(self, seconds: float) -> None:
        if seconds <= 0:
            return
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return
