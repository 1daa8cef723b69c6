"""Free loopback ports, and waiting for a condition."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


#: Below the ports that the kernel gives to connections (32768 and up): whoever is to listen at one of those later on
#: may find that somebody's connection has it by then. Single ports and runs are apart, so that no run takes a port that
#: was given and is not listened at yet.
SINGLE = (20000, 32000)
RUNS = (12000, 20000)
_given: set[int] = set()


def free_ports(count: int, tries: int = 500) -> list[int]:
    """``count`` different ports that nothing on 127.0.0.1 listens on, and that this process was not given before."""
    found: list[int] = []
    for _ in range(tries):
        if len(found) == count:
            return found
        port = random.SystemRandom().randrange(*SINGLE)
        if port not in _given and is_free(port):
            _given.add(port)
            found.append(port)
    raise RuntimeError(f"no {count} free ports")


def free_port_run(count: int, tries: int = 500) -> int:
    """The first of ``count`` free ports in a row, for a proxy that gives each broker its own port."""
    for _ in range(tries):
        first = random.SystemRandom().randrange(RUNS[0], RUNS[1] - count)
        if all(is_free(port) for port in range(first, first + count)):
            return first
    raise RuntimeError(f"no {count} free ports in a row")


def is_free(port: int) -> bool:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def accepts(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def wait_for(what: str, condition: Callable[[], T], seconds: float = 10.0, every: float = 0.02) -> T:
    """Polls until ``condition()`` is true and returns its value. Raises AssertionError at the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s in vain for: {what}")
        time.sleep(every)
