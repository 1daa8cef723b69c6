"""Runs the ladder: every rung with every load, in turn, several rounds, so that a busy moment hits all alike."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from bench import loads, report, rungs
from bench.rig import HERE, BenchFailed, Rig, Running

#: Ways of the blackhole for proxies that cannot rewrite addresses.
FORWARDERS = ("haproxy", "haproxy-tls")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="kproxy bench", description=__doc__)
    names = f"of {', '.join(rungs.RUNGS)}; default {' '.join(rungs.USUAL)}"
    parser.add_argument("rungs", nargs="*", metavar="RUNG", help=names)
    parser.add_argument("--load", action="append", choices=sorted(loads.LOADS), help="repeatable; default: the usual")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="measured seconds of each load")
    parser.add_argument("--warmup", type=float, default=0.7, help="seconds before them")
    parser.add_argument("--quick", action="store_true", help="one short round: does it work at all?")
    parser.add_argument("--json", action="store_true", help="rows as JSON on stdout")
    parser.add_argument("--out", type=Path, default=HERE / "out")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds, options.warmup = 1, 0.5, 0.2
    options.rungs = options.rungs or list(rungs.USUAL)
    unknown = [name for name in options.rungs if name not in rungs.RUNGS]
    if unknown or options.rounds < 1:
        parser.error(f"no rung called {', '.join(unknown)}" if unknown else "--rounds wants at least 1")
    options.load = options.load or list(loads.USUAL)
    return options


def measure(options: argparse.Namespace, console: Console) -> tuple[list[report.Measurement], list[str]]:
    """All measurements, and a line for each that failed."""
    measured: list[report.Measurement] = []
    failures: list[str] = []
    with Rig(FORWARDERS) as rig, ExitStack() as stack:
        up: dict[str, Running] = {}
        for name in options.rungs:
            try:
                up[name] = stack.enter_context(rungs.find_rung(name)(rig))
            except (BenchFailed, AssertionError, ImportError) as problem:
                failures.append(f"{name}: {problem}")
                console.print(f"{name} could not be started: {problem}", style="red", markup=False)
        for name in options.load:
            for turn in range(options.rounds):
                measured += _round(rig, up, loads.LOADS[name], turn, options, failures, console)
    return measured, failures


def _round(rig: Rig, up: dict[str, Running], load: loads.Load, turn: int, options: argparse.Namespace,
           failures: list[str], console: Console) -> list[report.Measurement]:
    """One load on every rung; each round begins with another rung."""
    names = list(up)
    measured = []
    for rung in names[turn % len(names):] + names[: turn % len(names)] if names else []:
        try:
            result = rig.run_load(load, up[rung], options.seconds, options.warmup)
        except (BenchFailed, subprocess.TimeoutExpired) as problem:
            failures.append(f"{rung}, {load.name}, round {turn + 1}: {problem}")
            console.print(f"  {failures[-1]}", style="red", markup=False)
            continue
        measured.append(report.Measurement(rung, load.name, turn + 1, result))
        console.print(f"  {load.name:12} round {turn + 1} {rung:16} {result['per_second']:>12,.0f} req/s "
                      f"{measured[-1].cpu_us:>9.2f} µs/req", style="dim", highlight=False)
    order = {name: place for place, name in enumerate(names)}
    return sorted(measured, key=lambda m: order[m.rung])


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    console = Console(stderr=True)
    width = max(console.width, 120)
    console.print(f"machine: {report.machine()}, load average {os.getloadavg()[0]:.1f}", style="dim")
    try:
        measured, failures = measure(options, console)
    except (BenchFailed, subprocess.CalledProcessError) as problem:
        sys.exit(f"kproxy bench: {problem}")
    rows = report.build_rows(measured)
    folder = options.out / datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    report.write_files(folder, rows, measured, failures)
    if options.json:
        print(json.dumps({"rows": report.as_json(rows), "failures": failures, "folder": str(folder)}, indent=1))
    else:
        report.print_rows(rows, Console(width=width))
        print(f"every measurement: {folder}/results.json")
    sys.exit(1 if failures or not measured else 0)
