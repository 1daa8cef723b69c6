"""No proxy: what the load and the blackhole can do at most."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bench.rig import Rig, Running

ABOUT = "no proxy"


@contextmanager
def start(rig: Rig) -> Iterator[Running]:
    yield Running(f"127.0.0.1:{rig.direct}")
