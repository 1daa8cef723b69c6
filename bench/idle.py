"""What idle connections cost: memory and CPU of the proxy with many logged-in connections that do nothing.

    python -m bench.idle [RUNG…] [--connections 9000] [--seconds 10]

Resident memory is taken with a few connections and with all, after each has logged in and been quiet for a while; the
difference is divided by the connections between. CPU is that of the quiet seconds.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import time
from pathlib import Path

from bench import rungs
from bench.ladder import FORWARDERS
from bench.rig import BINARIES, Rig, Running, pinned

FEW = 100
#: Settled means that memory has not moved for this long.
SETTLED_SECONDS = 2.0


def resident(pids: list[int]) -> int:
    """Bytes of memory that these processes hold."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return pages * resource.getpagesize()


def cpu_seconds(pids: list[int]) -> float:
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / 100


class Idlers:
    """A context manager: ``count`` connections that logged in and wait."""

    def __init__(self, rig: Rig, running: Running, count: int) -> None:
        token = running.token_file or rig.folder / "token"
        self._command = pinned(rig.load_core, [
            str(BINARIES / "load"), "--target", running.bootstrap, "--sasl", running.sasl, "--token-file", str(token),
            "--api", "idle", "--connections", str(count), *running.load_options])

    def __enter__(self) -> Idlers:
        self._child = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._child.stdout is not None
        assert json.loads(self._child.stdout.readline() or "{}").get("ready"), "the connections did not come up"
        return self

    def __exit__(self, *exc: object) -> None:
        self._child.communicate()


def settle(pids: list[int]) -> int:
    """Resident memory once it stands still."""
    last, since = resident(pids), time.monotonic()
    while time.monotonic() - since < SETTLED_SECONDS:
        time.sleep(0.2)
        now = resident(pids)
        if abs(now - last) > 1 << 16:
            last, since = now, time.monotonic()
    return last


def measure(rig: Rig, running: Running, connections: int, seconds: float) -> dict[str, float]:
    with Idlers(rig, running, FEW):
        few = settle(running.proxy)
    began = time.monotonic()
    with Idlers(rig, running, connections):
        came_up = time.monotonic() - began
        many = settle(running.proxy)
        before = cpu_seconds(running.proxy)
        time.sleep(seconds)
        quiet = (cpu_seconds(running.proxy) - before) / seconds
    return {"kib_each": (many - few) / (connections - FEW) / 1024, "log_in_seconds": came_up, "quiet_cpu": quiet}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rungs", nargs="*", default=["haproxy", "kproxy"])
    parser.add_argument("--connections", type=int, default=9_000)
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    # Two descriptors a connection in the proxy; children inherit the limit.
    wanted = 2 * options.connections + 512
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if 0 <= hard < wanted:
        parser.error(f"{options.connections} connections need {wanted} descriptors, this user may have {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    with Rig(FORWARDERS) as rig:
        for name in options.rungs:
            with rungs.find_rung(name)(rig) as running:
                found = measure(rig, running, options.connections, options.seconds)
            print(f"{name}: {options.connections} idle connections, {found['kib_each']:.1f} KiB each, logged in within "
                  f"{found['log_in_seconds']:.1f} s, {100 * found['quiet_cpu']:.1f} % of a core while idle", flush=True)


if __name__ == "__main__":
    main()
