"""A real HAProxy before kproxy, behind it, or both: it writes and reads PROXY headers, and says whom it served."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.rungs.haproxy import find_haproxy
from tests.support import children
from tests.support.ports import accepts, wait_for

CONFIG = """\
global
    log stdout format raw local0 info
    maxconn 500
defaults
    mode tcp
    log global
    option logasap
    log-format "served %f %ci:%cp"
    timeout connect 10s
    timeout client 600s
    timeout server 600s
    timeout check 10s
"""
WAY = """\
listen {name}
    bind {front} {bind}
    server behind {behind} {server}
"""


@dataclass(frozen=True, slots=True)
class Way:
    """From ``front`` to ``behind``, each ``address:port``; ``bind`` and ``server`` are what else stands on the line of
    either."""

    name: str
    front: str
    behind: str
    bind: str = ""
    server: str = ""


class Haproxy(children.Served):
    """A context manager."""

    def __init__(self, ways: Sequence[Way]) -> None:
        self._ways = ways
        self._folder = Path(tempfile.mkdtemp(prefix="kproxy-haproxy-"))
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        config = self._folder / "haproxy.cfg"
        config.write_text(CONFIG + "".join(WAY.format(name=way.name, front=way.front, behind=way.behind, bind=way.bind,
                                                      server=way.server) for way in self._ways))
        log = self._folder / "haproxy.log"
        self._child = children.start([find_haproxy(), "-db", "-f", str(config)], log)
        for way in self._ways:
            host, _, port = way.front.rpartition(":")
            wait_for(f"HAProxy at {way.front}", lambda host=host, port=port: self._is_at(host, int(port)))

    def _is_at(self, host: str, port: int) -> bool:
        assert self._child is not None
        assert self._child.poll() is None, f"HAProxy ended:\n{self.log()}"
        return accepts(host, port)

    def log(self) -> str:
        return (self._folder / "haproxy.log").read_text(errors="replace")

    def served(self, name: str) -> set[str]:
        """The addresses of the clients of this way, as HAProxy knows them."""
        return set(re.findall(rf"served {name} (\S+):\d+$", self.log(), re.M))

    def close(self) -> None:
        if self._child is not None:
            children.stop(self._child)
            self._child = None
        shutil.rmtree(self._folder, ignore_errors=True)
