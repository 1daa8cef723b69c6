"""kproxy that only observes: what enforcing costs beyond it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bench.rig import Rig, Running
from bench.rungs.through_kproxy import kproxy

ABOUT = "kproxy in observe mode"


@contextmanager
def start(rig: Rig) -> Iterator[Running]:
    with kproxy(rig, "kproxy-observe", mode="observe") as running:
        yield running
