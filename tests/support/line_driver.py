"""A client library of another language as a child process, spoken to in lines of JSON, one command after another."""

from __future__ import annotations

import json
import os
import select
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

from tests.support import children

ANSWER_SECONDS = 90


class DriverError(Exception):
    """An exception of the library: its class name, Kafka's error code (−1 where it has none), its text."""

    def __init__(self, error: dict[str, Any]) -> None:
        self.name = str(error["class"])
        self.code = int(error["code"])
        self.message = str(error["message"])
        super().__init__(f"{self.name} ({self.code}): {self.message}")


class LineDriver:
    """``command`` running. ``ask`` sends one command and waits for its answer."""

    def __init__(self, command: list[str], environment: dict[str, str] | None = None) -> None:
        with tempfile.NamedTemporaryFile(prefix="kproxy-driver-", suffix=".log", delete=False) as log:
            self.log = Path(log.name)
        self._child = children.start(command, self.log, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
                                     env={**os.environ, **(environment or {})})
        self._rest = b""
        self._count = 0
        self._asking = threading.Lock()

    def new_handle(self, kind: str) -> str:
        self._count += 1
        return f"{kind}-{self._count}"

    def ask(self, do: str, handle: str = "", **more: Any) -> dict[str, Any]:
        """Raises DriverError with the library's own exception. Threads that ask at once wait for each other."""
        assert self._child.stdin is not None
        with self._asking:
            self._child.stdin.write(json.dumps({"do": do, "handle": handle, **more}).encode() + b"\n")
            answer: dict[str, Any] = json.loads(self._read_line())
        if not answer["ok"]:
            raise DriverError(answer["error"])
        return answer

    def close(self) -> None:
        children.kill(self._child)
        self.log.unlink(missing_ok=True)

    def _read_line(self) -> bytes:
        assert self._child.stdout is not None
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self._child.stdout], [], [], ANSWER_SECONDS)
            piece = os.read(self._child.stdout.fileno(), 1 << 20) if ready else b""
            if not piece:
                raise AssertionError(f"no answer from the driver:\n{children.tail(self.log)}")
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        return line
