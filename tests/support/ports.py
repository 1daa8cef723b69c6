"""Free loopback ports, and waiting for a condition."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


#: Below the ports that the kernel gives to connections (32768 and up): whoever is to listen at one of those later on
#: may find that somebody's connection has it by then. Single ports and runs are apart, so that no run takes a port that
#: was given and is not listened at yet.
SINGLE = (20000, 32000)
RUNS = (12000, 20000)
#: Each process that runs tests has a share of either to itself, as long as there are shares left: a port that was given
#: and is not listened at yet looks free to everybody else.
SHARES = 6
_given: set[int] = set()


@cache
def share() -> int | None:
    """The number of this process's share, held by a lock until it ends; None where others have them all."""
    folder = Path(tempfile.gettempdir()) / f"kproxy-test-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for number in range(SHARES):
        lock = os.open(folder / str(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return number
        except BlockingIOError:
            os.close(lock)
    return None


def ours(whole: tuple[int, int]) -> tuple[int, int]:
    """The part of ``whole`` that this process picks from."""
    number = share()
    if number is None:
        return whole
    width = (whole[1] - whole[0]) // SHARES
    return whole[0] + number * width, whole[0] + (number + 1) * width


def free_ports(count: int, tries: int = 500) -> list[int]:
    """``count`` different ports that nothing on 127.0.0.1 listens on, and that this process was not given before."""
    found: list[int] = []
    first, last = ours(SINGLE)
    if len(_given) > (last - first) // 2:
        _given.clear()      # What was given long ago is in use or is free again.
    for _ in range(tries):
        if len(found) == count:
            return found
        port = random.SystemRandom().randrange(first, last)
        if port not in _given and is_free(port):
            _given.add(port)
            found.append(port)
    raise RuntimeError(f"no {count} free ports")


def free_port_run(count: int, tries: int = 500) -> int:
    """The first of ``count`` free ports in a row, for a proxy that gives each broker its own port."""
    lowest, highest = ours(RUNS)
    for _ in range(tries):
        first = random.SystemRandom().randrange(lowest, highest - count)
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
