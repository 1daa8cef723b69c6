"""CPU per request of this tree over that of another commit, both built here and measured in turns.

    python -m bench.against REF [--rung kproxy-policy] [--load produce-200 ...] [--rounds 7] [--seconds 2.5]

REF is built into build/against/ID, a clone of this repository (minutes the first time), and keeps its own ladder: each
side is measured by the code it came with. A ratio is taken within one round, whose sides begin by turns; below 1 this
tree is the cheaper one. Exit 1 if the median of a load is above ``--most``, or a measurement failed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import loads
from bench.report import Spread

ROOT = Path(__file__).resolve().parents[1]
LOADS = ("produce-200", "produce-64k", "fetch-64k")


def build(ref: str) -> Path:
    """The clone in which ``ref`` stands built. Raises CalledProcessError."""
    commit = subprocess.run(["git", "rev-parse", "--verify", f"{ref}^{{commit}}"], cwd=ROOT, check=True,
                            capture_output=True, text=True).stdout.strip()
    folder = ROOT / "build" / "against" / commit[:12]
    if not folder.exists():
        subprocess.run(["git", "clone", "-q", "--shared", "--no-checkout", str(ROOT), str(folder)], check=True)
    subprocess.run(["git", "checkout", "-q", "--detach", commit], cwd=folder, check=True)
    for name in (".venv", ".cache"):
        if not (folder / name).exists() and (ROOT / name).exists():
            (folder / name).symlink_to((ROOT / name).resolve())
    subprocess.run(["scripts/build.sh"], cwd=folder, check=True, env=environment(folder), stdout=sys.stderr)
    return folder


def environment(folder: Path) -> dict[str, str]:
    """Whatever is imported comes from ``folder``, also where the environment has this tree installed."""
    return {**os.environ, "PYTHONPATH": str(folder)}


def measure(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Load -> µs of CPU per request, of one round. Raises CalledProcessError."""
    chosen = [word for load in options.load for word in ("--load", load)]
    said = subprocess.run(
        [sys.executable, "-m", "bench", options.rung, *chosen, "--rounds", "1", "--seconds", str(options.seconds),
         "--json"], cwd=folder, env=environment(folder), check=True, stdout=subprocess.PIPE, text=True).stdout
    return {row["load"]: float(row["cpu_us"][0]) for row in json.loads(said)["rows"] if row["rung"] == options.rung}


def ratios(pairs: Sequence[tuple[dict[str, float], dict[str, float]]], load: str) -> list[float]:
    """This tree over the other, round by round."""
    return [mine[load] / theirs[load] for mine, theirs in pairs]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ref", metavar="REF", help="a commit, as git names it")
    parser.add_argument("--rung", default="kproxy-policy")
    parser.add_argument("--load", action="append", choices=sorted(loads.LOADS), help=f"default {' '.join(LOADS)}")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.5)
    parser.add_argument("--most", type=float, default=1.05, help="a median above it is a failure")
    options = parser.parse_args(arguments)
    options.load = options.load or list(LOADS)
    if options.rounds < 1:
        parser.error("--rounds wants at least 1")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    pairs = []
    try:
        theirs = build(options.ref)
        for turn in range(options.rounds):
            sides = [ROOT, theirs] if turn % 2 == 0 else [theirs, ROOT]
            found = {side: measure(side, options) for side in sides}
            pairs.append((found[ROOT], found[theirs]))
    except subprocess.CalledProcessError as problem:
        sys.exit(f"bench.against: {problem}")
    print(f"{options.rung}, CPU per request over {options.ref} ({theirs.name}): medians of the rounds (least–most)")
    worst = 0.0
    for load in options.load:
        spread = Spread.of(ratios(pairs, load))
        worst = max(worst, spread.median)
        print(f"{load:12} {spread.text(2)}, bar ≤ {options.most:g}: "
              f"{'met' if spread.median <= options.most else 'not met'}")
    sys.exit(1 if worst > options.most else 0)


if __name__ == "__main__":
    main()
