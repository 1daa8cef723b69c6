"""Each rung is one file here: ABOUT, and ``start(rig)``, a context manager that yields a Running. See ../README.md."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager

from bench.rig import BenchFailed, Rig, Running

#: Name on the command line → module. A rung differs from the one below it by one thing, so that a cost has an address.
RUNGS = {
    "direct": "bench.rungs.direct",
    "haproxy": "bench.rungs.haproxy",
    "kproxy": "bench.rungs.through_kproxy",
    "kproxy-observe": "bench.rungs.through_kproxy_observe",
    "kproxy-interval": "bench.rungs.through_kproxy_interval",
    "kproxy-inspect": "bench.rungs.through_kproxy_inspect",
    "kproxy-masked": "bench.rungs.through_kproxy_masked",
}
#: What runs when nothing is chosen.
USUAL = ("direct", "haproxy", "kproxy")


def find_rung(name: str) -> Callable[[Rig], AbstractContextManager[Running]]:
    """Raises BenchFailed for a name that is not a rung."""
    if name not in RUNGS:
        raise BenchFailed(f"no rung called {name}; there are {', '.join(RUNGS)}")
    start: Callable[[Rig], AbstractContextManager[Running]] = importlib.import_module(RUNGS[name]).start
    return start


def about(name: str) -> str:
    return str(importlib.import_module(RUNGS[name]).ABOUT)
