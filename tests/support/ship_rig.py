"""A spool, a sink and shippers over them, with a clock and with writers that live as long as a test says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kproxy.control.audit.ship import Shipper
from kproxy.control.audit.sink import Sink
from tests.support.spool_files import START, Worker

NOW = START / 1000 + 1000


class Rig:
    """A spool, a sink and shippers over them. ``alive`` are segments that a writer holds open."""

    def __init__(self, folder: Path) -> None:
        self.spool, self.path = folder / "spool", folder / "audit/audit.jsonl"
        self.positions = folder / "audit/position.json"
        self.spool.mkdir(parents=True)
        self.alive: set[str] = set()
        self.away = False
        self.now = NOW
        self.restart()

    def restart(self, own_start: int = START + 5) -> None:
        self.sink = Sink(self.path, self.positions)
        self.shipper = Shipper(
            self.spool, self.sink, "edge-1", own_start=own_start, settle=30.0, summed=9.0, max_bytes=1 << 20,
            now=lambda: self.now, away=lambda worker: self.away, list_open=lambda directory: frozenset(self.alive))

    def ship(self, approvals: list[tuple[int, bytes]] | None = None) -> None:
        self.shipper.look_soon()
        assert self.shipper.ship(approvals or [], born=1) is True

    def worker(self, **more: Any) -> Worker:
        worker = Worker(self.spool, **more)
        self.alive.add(worker.path.name)
        return worker

    def kill(self, worker: Worker) -> None:
        self.alive.discard(worker.path.name)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_bytes().splitlines()]

    def ids(self) -> list[str]:
        return [line["id"] for line in self.lines()]

    def segments(self) -> list[str]:
        return sorted(path.name for path in self.spool.iterdir())
