"""Where does the time go? ``perf`` on the process that carries a rung's bytes, while one load runs.

``python -m bench.profile kproxy --load produce-200`` writes ``bench/out/profile-RUNG-LOAD.txt`` and prints its top.
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import loads, rungs
from bench.ladder import FORWARDERS
from bench.rig import HERE, BenchFailed, Rig

#: Odd, so that samples do not march in step with a timer.
SAMPLES_PER_SECOND = 1999


def profile(rung: str, load: str, seconds: float, folder: Path, graph: bool) -> Path:
    """Records the rung's own processes and writes the report. Raises BenchFailed."""
    perf = shutil.which("perf")
    if perf is None:
        raise BenchFailed("perf is not installed (Debian: linux-perf)")
    folder.mkdir(parents=True, exist_ok=True)
    report = folder / f"profile-{rung}-{load}.txt"
    with Rig(FORWARDERS) as rig, rungs.find_rung(rung)(rig) as running:
        if not running.proxy:
            raise BenchFailed(f"{rung} has no process of its own")
        data = rig.folder / "perf.data"
        record = rig.start("perf", [
            perf, "record", "-q", "-e", "cpu-clock", "-F", str(SAMPLES_PER_SECOND), "-o", str(data),
            *(["--call-graph", "dwarf,16384"] if graph else []), "-p", ",".join(map(str, running.proxy))])
        try:
            result = rig.run_load(loads.LOADS[load], running, seconds, 0.5)
        finally:
            record.send_signal(signal.SIGINT)
            record.wait(30)
        by_library = _report(perf, data, "dso", [])
        by_function = _report(perf, data, "dso,symbol", ["-g", "caller,0.5,callee"] if graph else ["-g", "none"])
        cost = 1e6 * result["proxy_cpu"] / result["requests"]
    head = f"{rung}, {load}: {result['per_second']:,.0f} req/s, {cost:.2f} µs CPU a request"
    report.write_text("\n".join([head, "", *by_library, "", *by_function, ""]))
    return report


def _report(perf: str, data: Path, sort: str, more: list[str]) -> list[str]:
    command = [perf, "report", "--stdio", "-i", str(data), "--percent-limit", "0.3", "--no-children", "--sort", sort]
    shown = subprocess.run([*command, *(more or ["-g", "none"])], capture_output=True, text=True)
    # Without call graphs perf leaves two empty columns; template names of C++ would fill screens.
    lines = [re.sub(r"(\s+-)+\s*$", "", line)[:140].rstrip() for line in shown.stdout.splitlines()
             if line.strip() and not line.startswith("#")]
    if not lines:
        raise BenchFailed(f"perf saw nothing: {shown.stderr[-400:]}")
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description=__doc__)
    parser.add_argument("rung", choices=[name for name in rungs.RUNGS if name != "direct"])
    parser.add_argument("--load", default="produce-200", choices=sorted(loads.LOADS))
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--graph", action="store_true", help="with call chains (slower, larger)")
    parser.add_argument("--out", type=Path, default=HERE / "out")
    options = parser.parse_args(arguments)
    try:
        report = profile(options.rung, options.load, options.seconds, options.out, options.graph)
    except (BenchFailed, AssertionError) as problem:
        sys.exit(f"bench.profile: {problem}")
    print("\n".join(report.read_text().splitlines()[:45]))
    print(f"all of it: {report}")


if __name__ == "__main__":
    main()
