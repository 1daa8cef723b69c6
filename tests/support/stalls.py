"""How long the machine kept us waiting: what a promise in seconds has to be excused by, and no more."""

from __future__ import annotations

import threading
import time

TICK_SECONDS = 0.01
#: On a machine with time to spare a tick is never later than this, and nothing is excused.
USUAL_SECONDS = 0.02


class Stalls:
    """A context manager: a thread that sleeps a hundredth of a second again and again, and notes when it was woken late
    or had to wait for the interpreter, as whoever is measured meanwhile had to."""

    def __init__(self) -> None:
        self._late: list[tuple[float, float]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="stalls", daemon=True)

    def __enter__(self) -> Stalls:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join(10)

    def between(self, since: float, until: float) -> float:
        """Seconds by which ticks were late between two Unix times; 0.0 on a quiet machine."""
        return sum(late for at, late in list(self._late) if at >= since and at - late <= until)

    def since(self, since: float) -> float:
        return self.between(since, time.time())

    def _tick(self) -> None:
        due = time.monotonic() + TICK_SECONDS
        while not self._over.wait(max(0.0, due - time.monotonic())):
            late = time.monotonic() - due
            if late > USUAL_SECONDS:
                self._late.append((time.time(), late))
            due = time.monotonic() + TICK_SECONDS
