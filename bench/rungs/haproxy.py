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
    bind 127.0.0.1:{front}
    default_backend broker
backend broker
    server one 127.0.0.1:{behind}
"""


@contextmanager
def start(rig: Rig) -> Iterator[Running]:
    program = shutil.which("haproxy", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
    if program is None:
        raise BenchFailed("haproxy is not installed (Debian: haproxy)")
    config = rig.folder / "haproxy.cfg"
    config.write_text(CONFIG.format(front=rig.front(WAY), behind=rig.behind(WAY)))
    child = rig.start("haproxy", pinned(rig.proxy_core, [program, "-db", "-f", str(config)]))
    try:
        wait_for("HAProxy to listen", lambda: child.poll() is not None or accepts("127.0.0.1", rig.front(WAY)))
        if child.poll() is not None:
            raise BenchFailed(f"HAProxy ended: {rig.log_of('haproxy')}")
        yield Running(f"127.0.0.1:{rig.front(WAY)}", [child.pid])
    finally:
        children.stop(child, 3)
