"""The bars that are one ratio between rungs of the ladder, each with its spread over the rounds:

    python -m bench.bars [P1 P2 P4 P7 P12] [--rounds 5] [--seconds 3]

Each round measures every rung of a bar and begins with another one; the ratio is taken within a round, then the median.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console

from bench.ladder import measure
from bench.report import Measurement, Spread

#: Rungs that are held against each other.
TUNED, AUDIT, TLS = ("haproxy", "kproxy"), ("kproxy-policy", "kproxy"), ("haproxy-tls", "kproxy-tls")
#: What a bar's rungs give in one round; not a number where they cannot be compared.
Figure = Callable[[dict[str, Measurement]], float]


def cpu_over(mine: str, theirs: str) -> Figure:
    """CPU per request of one rung over another's."""
    return lambda rungs: rungs[mine].cpu_us / rungs[theirs].cpu_us


def throughput_lost(mine: str, theirs: str) -> Figure:
    """Share of the other rung's requests per second that this one does not reach; below 0 it is the faster one."""
    return lambda rungs: 1 - rungs[mine].result["per_second"] / rungs[theirs].result["per_second"]


def added_latency(quantile: str) -> Figure:
    """What kproxy adds to a direct connection over what HAProxy adds, both in the same round. A round in which HAProxy
    seemed to add nothing was disturbed, and gives no figure."""

    def figure(rungs: dict[str, Measurement]) -> float:
        direct, reference, own = (rungs[name].result["latency_us"][quantile] for name in ("direct", *TUNED))
        return float((own - direct) / (reference - direct)) if reference > direct else float("nan")

    return figure


@dataclass(frozen=True, slots=True)
class Bar:
    name: str
    what: str
    rungs: tuple[str, ...]
    load: str
    figure: Figure
    most: float


BARS = (
    Bar("P1", "CPU per request over HAProxy's", TUNED, "produce-200", cpu_over("kproxy", "haproxy"), 1.5),
    *(Bar("P2", "CPU per request over HAProxy's", TUNED, load, cpu_over("kproxy", "haproxy"), most)
      for load, most in (("produce-64k", 1.1), ("fetch-64k", 1.1), ("produce-1m", 1.0), ("fetch-1m", 1.0))),
    *(Bar("P4", f"added {quantile} over HAProxy's", ("direct", *TUNED), "latency-1k", added_latency(quantile), 1.5)
      for quantile in ("p50", "p99")),
    *(Bar("P7", "throughput lost to the audit", AUDIT, load, throughput_lost("kproxy", "kproxy-policy"), most)
      for load, most in (("produce-200", 0.10), ("produce-64k", 0.02))),
    *(Bar("P12", "CPU per request over HAProxy's with TLS", TLS, load, cpu_over("kproxy-tls", "haproxy-tls"), 1.25)
      for load in ("produce-200", "produce-64k", "fetch-64k")),
)


def by_round(bar: Bar, measured: list[Measurement]) -> list[float]:
    """The bar's figure of each round in which all of its rungs were measured and could be compared."""
    rounds: dict[int, dict[str, Measurement]] = {}
    for one in measured:
        if one.load == bar.load and one.rung in bar.rungs:
            rounds.setdefault(one.round, {})[one.rung] = one
    figures = [bar.figure(rungs) for rungs in rounds.values() if len(rungs) == len(bar.rungs)]
    return [figure for figure in figures if not math.isnan(figure)]


def line(bar: Bar, figures: list[float], rounds: int) -> str:
    """Raises ValueError if no round gave a figure."""
    if not figures:
        raise ValueError(f"{bar.name}, {bar.load}, {bar.what}: no round gave a figure")
    found = Spread.of(figures)
    counted = "" if len(figures) == rounds else f", {len(figures)} of {rounds} rounds"
    return (f"{bar.name:4} {bar.load:12} {bar.what}: {found.text(2)}{counted}, bar ≤ {bar.most:g}: "
            f"{'met' if found.median <= bar.most else 'not met'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = list(dict.fromkeys(bar.name for bar in BARS))
    parser.add_argument("bars", nargs="*", metavar="BAR", help=f"of {', '.join(names)}; default all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="measured seconds of each load")
    parser.add_argument("--warmup", type=float, default=0.7, help="seconds before them")
    options = parser.parse_args()
    if set(options.bars) - set(names) or options.rounds < 1:
        parser.error(f"bars are {', '.join(names)}; --rounds wants at least 1")
    chosen = [bar for bar in BARS if not options.bars or bar.name in options.bars]
    console, lines, failures = Console(stderr=True), [], []
    console.print(f"load average {os.getloadavg()[0]:.1f}", style="dim")
    for rungs in dict.fromkeys(bar.rungs for bar in chosen):
        mine = [bar for bar in chosen if bar.rungs == rungs]
        options.rungs, options.load = list(rungs), list(dict.fromkeys(bar.load for bar in mine))
        measured, failed = measure(options, console)
        failures += failed
        for bar in mine:
            try:
                lines.append(line(bar, by_round(bar, measured), options.rounds))
            except ValueError as problem:
                failures.append(str(problem))
    print("medians of the rounds (least–most)", *lines, *(f"FAILED {failure}" for failure in failures), sep="\n")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
