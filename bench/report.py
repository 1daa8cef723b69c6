"""From raw measurements to medians, spreads and ratios, as a table and as files."""

from __future__ import annotations

import json
import platform
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

REFERENCE = "haproxy"


@dataclass(frozen=True, slots=True)
class Measurement:
    rung: str
    load: str
    round: int
    result: dict[str, Any]

    @property
    def cpu_us(self) -> float:
        """CPU µs per request of the processes that carry the bytes; 0 where there is no proxy."""
        return 1e6 * float(self.result["proxy_cpu"]) / max(1, int(self.result["requests"]))


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of the rounds with the least and the most of them."""

    median: float
    least: float
    most: float

    @staticmethod
    def of(values: list[float]) -> Spread:
        return Spread(statistics.median(values), min(values), max(values))

    def text(self, digits: int) -> str:
        return f"{self.median:,.{digits}f} ({self.least:,.{digits}f}–{self.most:,.{digits}f})"

    def short(self, digits: int) -> str:
        """The median and half the width of the spread in per cent of it."""
        half = 50 * (self.most - self.least) / self.median if self.median else 0
        return f"{self.median:,.{digits}f} ±{half:.0f}%"


@dataclass(frozen=True, slots=True)
class Row:
    rung: str
    load: str
    rounds: int
    per_second: Spread
    cpu_us: Spread
    node_us: Spread
    """With the processes beside the data path."""
    p50: Spread
    p99: Spread
    p99_9: Spread
    ends_busy: float
    """Busy share of the core that load and blackhole share: near 1, req/s says little about the proxy."""
    cpu_ratio: Spread | None
    """CPU per request over the reference's in the same round."""
    rate_ratio: Spread | None


def build_rows(measured: list[Measurement]) -> list[Row]:
    """One row per load and rung, in the order they were measured."""
    keys = dict.fromkeys((m.load, m.rung) for m in measured)
    reference = {(m.load, m.round): m for m in measured if m.rung == REFERENCE}
    rows = []
    for load, rung in keys:
        rows.append(_row(load, rung, [m for m in measured if (m.load, m.rung) == (load, rung)], reference))
    return rows


def _row(load: str, rung: str, own: list[Measurement], reference: dict[tuple[str, int], Measurement]) -> Row:
    pairs = [(m, reference[m.load, m.round]) for m in own if (m.load, m.round) in reference]
    cpu = [a.cpu_us / b.cpu_us for a, b in pairs if a.cpu_us and b.cpu_us]
    rate = [a.result["per_second"] / b.result["per_second"] for a, b in pairs]

    def spread(value: Any) -> Spread:
        return Spread.of([value(m.result) for m in own])

    return Row(
        rung, load, len(own),
        per_second=spread(lambda r: r["per_second"]),
        cpu_us=Spread.of([m.cpu_us for m in own]),
        node_us=spread(lambda r: 1e6 * (r["proxy_cpu"] + r["beside_cpu"]) / max(1, r["requests"])),
        p50=spread(lambda r: r["latency_us"]["p50"]),
        p99=spread(lambda r: r["latency_us"]["p99"]),
        p99_9=spread(lambda r: r["latency_us"]["p99_9"]),
        ends_busy=statistics.median(m.result["ends_cpu"] / m.result["seconds"] for m in own),
        cpu_ratio=Spread.of(cpu) if cpu else None,
        rate_ratio=Spread.of(rate) if rate else None,
    )


COLUMNS = ("load", "rung", "req/s", "CPU µs\n/req", f"CPU ÷\n{REFERENCE}", f"req/s ÷\n{REFERENCE}", "node µs\n/req",
           "p50\nµs", "p99\nµs", "ends\nbusy")


def print_rows(rows: list[Row], console: Console) -> None:
    title = "medians; ± half the spread; (least–most)"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    for name in COLUMNS:
        table.add_column(name, justify="left" if name in ("load", "rung") else "right", no_wrap=True)
    for load in dict.fromkeys(row.load for row in rows):
        for place, row in enumerate(row for row in rows if row.load == load):
            table.add_row("" if place else load, *_cells(row))
        table.add_section()
    console.print(table)


def _cells(row: Row) -> list[str]:
    """What is not there is a dash: no proxy, or no reference in this run."""
    return [
        row.rung,
        row.per_second.short(0),
        row.cpu_us.short(2) if row.cpu_us.most else "–",
        row.cpu_ratio.text(2) if row.cpu_ratio else "–",
        f"{row.rate_ratio.median:.2f}" if row.rate_ratio else "–",
        f"{row.node_us.median:,.2f}" if row.node_us.most else "–",
        f"{row.p50.median:,.0f}",
        f"{row.p99.median:,.0f}",
        f"{row.ends_busy:.0%}",
    ]


def machine() -> dict[str, str]:
    """What the figures were taken on."""
    model = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    return {"cpu": model, "kernel": platform.release(), "python": platform.python_version()}


def write_files(folder: Path, rows: list[Row], measured: list[Measurement], failures: list[str]) -> None:
    """``results.json`` with every measurement, ``report.txt`` with the tables."""
    folder.mkdir(parents=True, exist_ok=True)
    raw = [{"rung": m.rung, "load": m.load, "round": m.round, **m.result} for m in measured]
    content = {"machine": machine(), "measurements": raw, "failures": failures}
    (folder / "results.json").write_text(json.dumps(content, indent=1) + "\n")
    with open(folder / "report.txt", "w") as file:
        console = Console(file=file, width=120)
        console.print(machine())
        print_rows(rows, console)
        for failure in failures:
            console.print(f"FAILED {failure}", markup=False)


def as_json(rows: list[Row]) -> list[dict[str, Any]]:
    def spread(value: Spread | None) -> list[float] | None:
        return [value.median, value.least, value.most] if value else None

    return [
        {"rung": row.rung, "load": row.load, "rounds": row.rounds, "per_second": spread(row.per_second),
         "cpu_us": spread(row.cpu_us), "node_us": spread(row.node_us), "cpu_ratio": spread(row.cpu_ratio),
         "rate_ratio": spread(row.rate_ratio), "p50_us": spread(row.p50), "p99_us": spread(row.p99),
         "p99_9_us": spread(row.p99_9), "ends_busy": row.ends_busy}
        for row in rows
    ]
