"""Child processes that never outlive the program that started them."""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401  It adds hooks to fork, and must not while another thread forks.
import contextlib
import ctypes
import os
import signal
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Self

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Served(ABC):
    """What runs as a process of its own within a ``with``. One that does not come up leaves nothing behind."""

    @abstractmethod
    def start(self) -> object:
        """Returns once it serves."""

    @abstractmethod
    def close(self) -> None:
        """Ends it, whatever state it is in, and removes its files."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def start(command: list[str], log: Path, **more: Any) -> subprocess.Popen[bytes]:
    """Starts ``command`` in a process group of its own, output into ``log``; the kernel kills it if we die first."""
    with open(log, "ab") as output:
        more.setdefault("stdin", subprocess.DEVNULL)
        more.setdefault("stdout", output)
        return subprocess.Popen(command, stderr=output, start_new_session=True,
                                preexec_fn=_die_with_parent, **more)


def stop(child: subprocess.Popen[bytes], seconds: float = 10.0) -> int:
    """SIGTERM, then SIGKILL to the whole group after ``seconds``. Returns the exit code."""
    if child.poll() is None:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(seconds)
    kill(child)
    return child.wait()


def kill(child: subprocess.Popen[bytes]) -> None:
    """SIGKILL to the whole group; not an error if it is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def is_alive(pid: int) -> bool:
    """A process that ends is here until its parent has taken note, and until its sockets are closed."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def tail(log: Path, size: int = 4000) -> str:
    return log.read_text(errors="replace")[-size:] if log.exists() else "(no log)"


def cpu_seconds(pid: int) -> float:
    """utime + stime of ``pid`` in seconds, from ``/proc/PID/stat``."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children_of(pid: int) -> list[int]:
    """The direct children of ``pid``, all its threads' included; threads may end meanwhile."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def command_line(pid: int) -> list[str]:
    """The words of a process's command; none once it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
    except (FileNotFoundError, ProcessLookupError):
        return []
