"""kproxy whose audit is synced at intervals: what durability per request costs beyond it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bench.rig import Rig, Running
from bench.rungs.through_kproxy import kproxy

ABOUT = "kproxy, audit durability: interval"


@contextmanager
def start(rig: Rig) -> Iterator[Running]:
    with kproxy(rig, "kproxy-interval", more={"audit": {"durability": "interval"}}) as running:
        yield running
