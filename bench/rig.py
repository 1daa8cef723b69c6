"""The fixed ends of every rung: the native load generator and the blackhole broker, and where each process runs.

The proxy alone has one core; the load and the blackhole share another. So a full proxy core shows the proxy's limit.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.loads import FETCH_BYTES, Load
from tests.support import children
from tests.support.ports import accepts, free_ports, wait_for

HERE = Path(__file__).resolve().parent
BINARIES = HERE / "out" / "bin"


class BenchFailed(Exception):
    """A rung that could not be measured; the text says why."""


@dataclass
class Running:
    """A rung that is up: where clients go, who they are, which processes carry the bytes and which only help."""

    bootstrap: str
    proxy: list[int] = field(default_factory=list)
    beside: list[int] = field(default_factory=list)
    """Processes of the same product off the data path (kproxy's supervisor and control process)."""
    sasl: str = "PLAIN"
    token_file: Path | None = None
    load_options: list[str] = field(default_factory=list)
    """What the load must be told to reach this rung at all."""
    metrics: str = ""
    """host:port of kproxy's metrics."""
    audit: Path | None = None
    """kproxy's audit file."""


def cores() -> tuple[int, int]:
    """(core of load and broker, core of the proxy). Raises BenchFailed where there is only one."""
    mine = sorted(os.sched_getaffinity(0))
    if len(mine) < 2:
        raise BenchFailed("the ladder needs two cores: one for the proxy, one for the load and the broker")
    return mine[0], mine[1]


def pinned(core: int, command: list[str]) -> list[str]:
    return ["taskset", "-c", str(core), *command]


class Rig:
    """Builds the native programs, keeps the blackhole running and runs loads against whatever stands before it."""

    def __init__(self, ways: tuple[str, ...]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="kproxy-bench-"))
        self.load_core, self.proxy_core = cores()
        ports = free_ports(1 + 2 * len(ways))
        self.direct = ports.pop()
        self._behind = dict(zip(ways, ports, strict=False))
        self._front = dict(zip(ways, ports[len(ways):], strict=True))
        self._token = self.folder / "token"
        self._token.write_text("a-password-nobody-checks")
        self._blackhole: subprocess.Popen[bytes] | None = None

    def behind(self, way: str) -> int:
        """The blackhole's port for a proxy that cannot rewrite: it advertises ``front(way)`` there."""
        return self._behind[way]

    def front(self, way: str) -> int:
        """The port such a proxy must listen on."""
        return self._front[way]

    def __enter__(self) -> Rig:
        subprocess.run([str(HERE / "native" / "build.sh")], check=True)
        listen = ["--listen", str(self.direct)]
        for way, port in self._behind.items():
            listen += ["--listen", f"{port}=127.0.0.1:{self._front[way]}"]
        for size in FETCH_BYTES:
            listen += ["--fetch-bytes", str(size)]
        self._blackhole = self.start("blackhole", pinned(self.load_core, [str(BINARIES / "blackhole"), *listen]))
        wait_for("the blackhole to listen", lambda: accepts("127.0.0.1", self.direct))
        return self

    def __exit__(self, *exc: object) -> None:
        if self._blackhole is not None:
            children.stop(self._blackhole)
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, name: str, command: list[str], **more: Any) -> subprocess.Popen[bytes]:
        """Starts a program of the rung; its output goes into ``folder/NAME.log``."""
        return children.start(command, self.folder / f"{name}.log", **more)

    def log_of(self, name: str) -> str:
        return children.tail(self.folder / f"{name}.log")

    def run_load(self, load: Load, running: Running, seconds: float, warmup: float) -> dict[str, Any]:
        """One measurement. Raises BenchFailed if an answer was wrong, late in order or missing."""
        assert self._blackhole is not None
        token = running.token_file or self._token
        command = [str(BINARIES / "load"), "--target", running.bootstrap, "--sasl", running.sasl,
                   "--token-file", str(token), "--seconds", str(seconds), "--warmup", str(warmup), *load.arguments(),
                   *running.load_options]
        for pid in (*running.proxy, *running.beside, self._blackhole.pid):
            command += ["--cpu-of", str(pid)]
        done = subprocess.run(pinned(self.load_core, command), capture_output=True, text=True, timeout=seconds * 4 + 60)
        if done.returncode != 0:
            raise BenchFailed(f"{load.name} against {running.bootstrap}: {(done.stdout + done.stderr).strip()[-600:]}")
        result: dict[str, Any] = json.loads(done.stdout)
        cpu = result["cpu_seconds"]
        result["proxy_cpu"] = sum(cpu[str(pid)] for pid in running.proxy)
        result["beside_cpu"] = sum(cpu[str(pid)] for pid in running.beside)
        result["ends_cpu"] = cpu["load"] + cpu[str(self._blackhole.pid)]
        return result
