"""Half an hour at half of what a node can do: do memory, descriptors and the loop's lag stand still, is nothing lost?

    python -m bench.soak [--minutes 30] [--load produce-1k] [--out bench/soak.svg]

The saturation rate is measured first, closed loop; then the load runs open loop at half of it while the worker is
sampled. At the end every acknowledged record must be in the audit. Writes a plot, and prints one line a minute.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from bench import loads, rungs
from bench.idle import cpu_seconds, resident
from bench.ladder import FORWARDERS
from bench.rig import BINARIES, HERE, Rig, Running, pinned

SATURATION_SECONDS = 5.0
SAMPLE_SECONDS = 5.0
#: What the last lines may take to reach the sink.
AUDIT_SECONDS = 60.0


@dataclasses.dataclass(frozen=True, slots=True)
class Sample:
    """At ``minute``: MiB resident, open descriptors, the loop's lag in ms, share of a core."""

    minute: float
    resident: float
    descriptors: int
    lag: float
    cpu: float


def metric(address: str, name: str) -> float:
    """The sum of a metric's samples."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


def watch(running: Running, child: subprocess.Popen[str]) -> list[Sample]:
    """Samples until the load has ended."""
    samples: list[Sample] = []
    began = last = time.monotonic()
    cpu = cpu_seconds(running.proxy)
    while child.poll() is None:
        time.sleep(SAMPLE_SECONDS)
        now, used = time.monotonic(), cpu_seconds(running.proxy)
        samples.append(Sample(
            (now - began) / 60, resident(running.proxy) / 2**20,
            sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in running.proxy),
            1000 * metric(running.metrics, "kproxy_loop_lag_seconds"), (used - cpu) / (now - last)))
        last, cpu = now, used
        if len(samples) % 12 == 0:
            print(f"  {samples[-1].minute:5.1f} min: {samples[-1].resident:.1f} MiB, {samples[-1].descriptors} "
                  f"descriptors, lag {samples[-1].lag:.1f} ms, {100 * samples[-1].cpu:.0f} % of a core", flush=True)
    return samples


def settle_audit(running: Running, written: int) -> int:
    """Records that the audit's flow lines tell of, once it tells of all that were written or has had its time."""
    assert running.audit is not None
    until = time.monotonic() + AUDIT_SECONDS
    while True:
        with open(running.audit, encoding="utf-8") as lines:
            flows = (json.loads(line) for line in lines if '"flow"' in line)
            recorded = sum(int(flow["records"]) for flow in flows)
        if recorded >= written or time.monotonic() > until:
            return recorded
        time.sleep(0.5)


def slope(samples: Sequence[Sample], name: str) -> float:
    """Least squares, per hour, over the second half: warming up is no leak."""
    half = samples[len(samples) // 2:]
    xs, ys = [one.minute / 60 for one in half], [getattr(one, name) for one in half]
    return statistics.linear_regression(xs, ys).slope


def draw(samples: Sequence[Sample], title: str) -> str:
    """An SVG with one line a quantity, each on a scale of its own from 0."""
    rows = [("resident", "MiB resident"), ("descriptors", "open descriptors"), ("lag", "loop lag, ms"),
            ("cpu", "cores used")]
    width, height, left = 720, 110, 60
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width + 80}" height="{len(rows) * (height + 40) + 40}" '
             f'font-family="sans-serif" font-size="12"><text x="{left}" y="20">{title}</text>']
    most_x = max(one.minute for one in samples)
    for place, (name, label) in enumerate(rows):
        top = 50 + place * (height + 40)
        values = [float(getattr(one, name)) for one in samples]
        most = max(values) * 1.1 or 1.0
        points = " ".join(f"{left + width * one.minute / most_x:.1f},{top + height * (1 - value / most):.1f}"
                          for one, value in zip(samples, values, strict=True))
        parts.append(f'<text x="{left}" y="{top - 6}">{label}: median {statistics.median(values):.3g}, most '
                     f'{max(values):.3g}</text>'
                     f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#ccc"/>'
                     f'<text x="{left - 6}" y="{top + 10}" text-anchor="end">{most:.3g}</text>'
                     f'<text x="{left - 6}" y="{top + height}" text-anchor="end">0</text>'
                     f'<polyline points="{points}" fill="none" stroke="#1f77b4" stroke-width="1.2"/>')
    parts.append(f'<text x="{left + width}" y="{len(rows) * (height + 40) + 30}" text-anchor="end">'
                 f"{most_x:.0f} minutes</text></svg>")
    return "\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--load", default="produce-1k", choices=sorted(loads.LOADS))
    parser.add_argument("--rung", default="kproxy")
    parser.add_argument("--out", type=Path, default=HERE / "soak.svg")
    options = parser.parse_args()
    load = loads.LOADS[options.load]
    with Rig(FORWARDERS) as rig, rungs.find_rung(options.rung)(rig) as running:
        most = rig.run_load(load, running, SATURATION_SECONDS, 1)["per_second"]
        half = dataclasses.replace(load, rate=most / 2)
        print(f"saturation {most:,.0f} req/s; {options.minutes:g} minutes at {most / 2:,.0f}", flush=True)
        token = running.token_file or rig.folder / "token"
        child = subprocess.Popen(pinned(rig.load_core, [
            str(BINARIES / "load"), "--target", running.bootstrap, "--sasl", running.sasl, "--token-file", str(token),
            "--seconds", str(60 * options.minutes), "--warmup", "1", *half.arguments(), *running.load_options,
        ]), stdout=subprocess.PIPE, text=True)
        samples = watch(running, child)
        assert child.stdout is not None
        told = json.loads(child.stdout.read())
        written = int(metric(running.metrics, "kproxy_records_total"))
        recorded = settle_audit(running, written)
    options.out.write_text(draw(samples, f"{options.rung}, {options.load}: {options.minutes:g} minutes at "
                                         f"{most / 2:,.0f} requests a second"))
    growth = {name: slope(samples, name) for name in ("resident", "descriptors", "lag")}
    print(f"{told['requests']} requests answered in the measured time, {told['failed']} failed, {told['misordered']} "
          f"out of order, {told['lost']} connections lost; {written} records written, {recorded} in the audit")
    print(f"per hour: {growth['resident']:+.2f} MiB, {growth['descriptors']:+.2f} descriptors, "
          f"{growth['lag']:+.2f} ms of lag; p99 {told['latency_us']['p99']:,.0f} µs; plot in {options.out}")
    sys.exit(1 if child.returncode or told["failed"] or told["misordered"] or told["lost"]
             or written != recorded else 0)


if __name__ == "__main__":
    main()
