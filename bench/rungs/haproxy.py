"""HAProxy forwarding TCP on one thread: the reference. Its stock buffer of 16 KB would flatter everyone else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from bench.rig import BenchFailed, Rig, Running, pinned
from tests.support import children
from tests.support.ports import accepts, wait_for

ABOUT = "HAProxy, TCP mode, one thread, tune.bufsize 131072"
WAY = "haproxy"
CONFIG = """\
global
    nbthread 1
    maxconn 4000
    tune.bufsize 131072
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
frontend kafka
    bind 127.0.0.1:{front}{bind}
    default_backend broker
backend broker
    server one 127.0.0.1:{behind}
"""


@contextmanager
def start(rig: Rig) -> Iterator[Running]:
    with forwarding(rig, WAY) as running:
        yield running


def find_haproxy() -> str:
    """The program. Raises BenchFailed."""
    program = shutil.which("haproxy", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
    if program is None:
        raise BenchFailed("haproxy is not installed (Debian: haproxy)")
    return program


@contextmanager
def forwarding(rig: Rig, way: str, bind: str = "") -> Iterator[Running]:
    """HAProxy on this way; ``bind`` is what else stands on its line."""
    config = rig.folder / f"{way}.cfg"
    config.write_text(CONFIG.format(front=rig.front(way), behind=rig.behind(way), bind=bind))
    child = rig.start(way, pinned(rig.proxy_core, [find_haproxy(), "-db", "-f", str(config)]))
    try:
        wait_for("HAProxy to listen", lambda: child.poll() is not None or accepts("127.0.0.1", rig.front(way)))
        if child.poll() is not None:
            raise BenchFailed(f"HAProxy ended: {rig.log_of(way)}")
        yield Running(f"127.0.0.1:{rig.front(way)}", [child.pid])
    finally:
        children.stop(child, 3)
