"""A clock that stands still until the test moves it, with the ``sleep`` that goes with it."""

from __future__ import annotations

import asyncio


class FakeClock:
    """``now`` and ``monotonic`` differ by a constant, as they do on a machine whose clock is never set."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self.elapsed = 0.0
        self._start = start
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []
        self.slept: list[float] = []

    def now(self) -> float:
        return self._start + self.elapsed

    def monotonic(self) -> float:
        return 1000.0 + self.elapsed

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        waiting = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.elapsed + seconds, waiting))
        await waiting

    async def advance(self, seconds: float) -> None:
        """Wakes every sleeper at its own time, in order, and lets each run until it waits again."""
        end = self.elapsed + seconds
        await settle()
        while due := [at for at, waiting in self._sleepers if at <= end and not waiting.done()]:
            self.elapsed = max(self.elapsed, min(due))
            for at, waiting in self._sleepers:
                if at <= self.elapsed and not waiting.done():
                    waiting.set_result(None)
            self._sleepers = [sleeper for sleeper in self._sleepers if not sleeper[1].done()]
            await settle()
        self.elapsed = end
        await settle()


async def settle() -> None:
    """Lets every task that can run do so. Enough turns for the longest chain of awaits in the tests that use it."""
    for _ in range(50):
        await asyncio.sleep(0)
