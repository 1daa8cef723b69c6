"""One timer for everything that ends: the right keys at the right time, however many and however they move."""

from __future__ import annotations

import random
from collections.abc import Callable

from kproxy.dataplane.deadlines import MOST_AT_ONCE, SLACK, Deadlines


class Loop:
    """Timers that fire when the test moves the clock; ``live`` is how many wait at most at a time."""

    def __init__(self) -> None:
        self.clock = 1000.0
        self.timers: list[Timer] = []
        self.armed = 0

    def now(self) -> float:
        return self.clock

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        assert seconds > 0
        self.armed += 1
        timer = Timer(self, self.clock + seconds, callback)
        self.timers.append(timer)
        assert len(self.timers) == 1, "one timer, however much is due"
        return timer

    def advance(self, until: float) -> None:
        while self.timers and self.timers[0].at <= until:
            timer = self.timers.pop(0)
            self.clock = max(self.clock, timer.at)
            timer.callback()
        self.clock = until


class Timer:
    def __init__(self, loop: Loop, at: float, callback: Callable[[], None]) -> None:
        self.loop, self.at, self.callback = loop, at, callback

    def cancel(self) -> None:
        self.loop.timers.remove(self)


def make() -> tuple[Loop, Deadlines, list[tuple[float, object]]]:
    loop, due = Loop(), []
    return loop, Deadlines(loop.call_later, loop.now, lambda key: due.append((loop.clock, key))), due


def test_each_key_is_told_once_within_two_milliseconds_of_its_time():
    loop, deadlines, due = make()
    rng = random.Random(7)
    times = {key: 1000 + rng.uniform(0.1, 60) for key in range(500)}
    for key, when in times.items():
        deadlines.set(key, when)
    loop.advance(1100)
    assert sorted(key for _, key in due) == sorted(times)
    assert all(0 <= at - times[key] <= 0.002 for at, key in due)
    assert len(deadlines) == 0 and loop.timers == []


def test_a_later_time_replaces_the_earlier_one_and_what_is_dropped_is_not_told():
    loop, deadlines, due = make()
    for key in ("renewed", "gone", "endless", "kept"):
        deadlines.set(key, 1010)
    deadlines.set("renewed", 1020)
    deadlines.drop("gone")
    deadlines.drop("never there")
    deadlines.set("endless", float("inf"))
    loop.advance(1015)
    assert [key for _, key in due] == ["kept"]
    loop.advance(1025)
    assert [key for _, key in due] == ["kept", "renewed"]


def test_an_earlier_time_moves_the_timer():
    loop, deadlines, due = make()
    deadlines.set("late", 2000)
    deadlines.set("soon", 1001)
    loop.advance(1001.002)
    assert [key for _, key in due] == ["soon"]


def test_ten_thousand_that_end_together_leave_the_loop_room_between():
    loop, deadlines, due = make()
    for key in range(10_000):
        deadlines.set(key, 1005.0)
    assert loop.armed == 1
    loop.advance(1005.001)
    assert len(due) == MOST_AT_ONCE
    loop.advance(1005.06)
    assert len(due) == 10_000 and due[-1][0] - 1005 <= 0.05


def test_a_clock_set_back_tells_nobody_too_early():
    loop, deadlines, due = make()
    deadlines.set("one", 1010)
    timer = loop.timers.pop()
    loop.clock = 900
    timer.callback()
    assert due == []
    loop.advance(1010.002)
    assert [key for _, key in due] == ["one"]


def test_sessions_that_come_and_go_leave_nothing_behind():
    _, deadlines, _ = make()
    for key in range(50_000):
        deadlines.set(key, 5000 + key)
        deadlines.drop(key)
    assert len(deadlines) == 0 and len(deadlines._heap) <= SLACK + 1
