"""One timer for all that ends at a known time: ten thousand sessions wait in a heap, the loop knows of the first."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable
from typing import Any, Final

#: Keys told in one call. Sessions that all end in the same second may not keep the loop from everybody else.
MOST_AT_ONCE: Final = 256
#: A heap this much longer than what is alive in it is made anew.
SLACK: Final = 1024


class Deadlines:
    """``call_later(seconds, callback)`` is the loop's, ``now()`` gives Unix seconds, ``on_due(key)`` is called once, at
    or after the time of ``key``. A clock that is set back is noticed when the timer fires; one that is set forward is
    not, so whoever cannot wait looks again from time to time."""

    def __init__(self, call_later: Callable[[float, Callable[[], None]], Any], now: Callable[[], float],
                 on_due: Callable[[Hashable], None]) -> None:
        self._call_later = call_later
        self._now = now
        self._on_due = on_due
        self._times: dict[Hashable, float] = {}
        self._heap: list[tuple[float, int, Hashable]] = []
        self._count = 0
        self._timer: Any = None
        self._armed_for = float("inf")

    def __len__(self) -> int:
        return len(self._times)

    def set(self, key: Hashable, when: float) -> None:
        """``key`` is due at ``when`` (Unix seconds) and not at the time it had before; infinity: never."""
        if when == float("inf"):
            self._times.pop(key, None)
            return
        self._times[key] = when
        self._push(when, key)
        if when < self._armed_for:
            self._arm()

    def drop(self, key: Hashable) -> None:
        """What is gone is not due any more; unknown keys are fine."""
        self._times.pop(key, None)

    def _push(self, when: float, key: Hashable) -> None:
        if len(self._heap) > 2 * len(self._times) + SLACK:
            self._heap = [(time, at, one) for at, (one, time) in enumerate(self._times.items())]
            self._count = len(self._heap)
            heapq.heapify(self._heap)
            return
        self._count += 1
        heapq.heappush(self._heap, (when, self._count, key))

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._armed_for = None, float("inf")
        if self._heap:
            self._armed_for = self._heap[0][0]
            # A loop counts whole milliseconds and may round down; too early would mean to ask again and again.
            self._timer = self._call_later(max(0.0, self._armed_for - self._now()) + 0.001, self._fire)

    def _fire(self) -> None:
        self._timer, self._armed_for = None, float("inf")
        now, told = self._now(), 0
        while self._heap and self._heap[0][0] <= now and told < MOST_AT_ONCE:
            when, _, key = heapq.heappop(self._heap)
            if self._times.get(key) == when:
                del self._times[key]
                told += 1
                self._on_due(key)
        self._arm()
