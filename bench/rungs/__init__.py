"""The rungs: one file each with ABOUT and ``start(rig)``, a context manager that yields a Running; kproxy's own are
rows of variants.py. See ../README.md."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager

from bench.rig import BenchFailed, Rig, Running
from bench.rungs.variants import VARIANTS, starter

#: Name on the command line → module. A rung differs from the one below it by one thing, so that a cost has an address.
RUNGS = {
    "direct": "bench.rungs.direct",
    "haproxy": "bench.rungs.haproxy",
    "haproxy-tls": "bench.rungs.haproxy_tls",
    **dict.fromkeys(VARIANTS, "bench.rungs.variants"),
}
#: What runs when nothing is chosen.
USUAL = ("direct", "haproxy", "kproxy")


def find_rung(name: str) -> Callable[[Rig], AbstractContextManager[Running]]:
    """Raises BenchFailed for a name that is not a rung."""
    if name not in RUNGS:
        raise BenchFailed(f"no rung called {name}; there are {', '.join(RUNGS)}")
    start: Callable[[Rig], AbstractContextManager[Running]]
    start = starter(name) if name in VARIANTS else importlib.import_module(RUNGS[name]).start
    return start


def about(name: str) -> str:
    return VARIANTS[name].about if name in VARIANTS else str(importlib.import_module(RUNGS[name]).ABOUT)
