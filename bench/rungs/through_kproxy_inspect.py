"""kproxy that counts the fields of every record, changing none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bench.rig import Rig, Running
from bench.rungs.through_kproxy import kproxy

ABOUT = "kproxy with field accounting on every topic"


@contextmanager
def start(rig: Rig) -> Iterator[Running]:
    with kproxy(rig, "kproxy-inspect", more={"audit": {"durability": "request", "fields": True}}) as running:
        yield running
