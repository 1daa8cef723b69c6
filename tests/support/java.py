"""One virtual machine with the Java client in it, spoken to in lines of JSON (see tests/java/Driver.java)."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import select
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support import children
from tests.support.kafka_libs import ROOT, KafkaMissing, class_path, java_program, kafka_libs, newest_client

SOURCES = ROOT / "tests" / "java"
CLASSES = ROOT / ".cache" / "java-classes"
ANSWER_SECONDS = 90


class JavaError(Exception):
    """An exception of the Java client: its simple class name, Kafka's error code (−1 where it has none), its text."""

    def __init__(self, error: dict[str, Any]) -> None:
        self.name = str(error["class"])
        self.code = int(error["code"])
        self.message = str(error["message"])
        super().__init__(f"{self.name} ({self.code}): {self.message}")


def compiled(name: str = "Driver.java") -> Path:
    """The folder with the classes of tests/java, compiled once for each state of the sources; two may ask at once."""
    sources = sorted(SOURCES.glob("*.java"))
    assert any(source.name == name for source in sources)
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
    folder = CLASSES / digest
    CLASSES.mkdir(parents=True, exist_ok=True)
    with open(CLASSES / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            fresh = Path(tempfile.mkdtemp(prefix="new-", dir=CLASSES))
            command = [java_program("javac"), "-nowarn", "-d", str(fresh), "-cp", class_path(), *map(str, sources)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                raise AssertionError(f"javac: {done.stderr[-3000:]}")
            fresh.rename(folder)
    return folder


def oracle_command(name: str) -> list[str]:
    """How to run the class ``name`` of tests/java with the newest client's. Locally a machine without Java skips
    with the reason; in CI that would hide the oracle, so there it fails."""
    try:
        java_program("javac")
        kafka_libs()
        return [java_program(), "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto",
                "-cp", class_path(compiled(f"{name}.java"), newest_client()), name]
    except KafkaMissing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no oracle: {missing}")
        pytest.skip(f"no oracle: {missing}")


class JavaDriver:
    """A running Driver. ``ask`` sends one command and waits for its answer; commands run one after another."""

    def __init__(self) -> None:
        with tempfile.NamedTemporaryFile(prefix="kproxy-java-", suffix=".log", delete=False) as log:
            self.log = Path(log.name)
        command = [java_program(), "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
                   "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", class_path(compiled()), "Driver"]
        self._child = children.start(command, self.log, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self._rest = b""
        self._count = 0
        self._asking = threading.Lock()

    def new_handle(self, kind: str) -> str:
        self._count += 1
        return f"{kind}-{self._count}"

    def ask(self, do: str, handle: str = "", **more: Any) -> dict[str, Any]:
        """Raises JavaError with the client's own exception. Threads that ask at once wait for each other."""
        assert self._child.stdin is not None
        with self._asking:
            self._child.stdin.write(json.dumps({"do": do, "handle": handle, **more}).encode() + b"\n")
            answer: dict[str, Any] = json.loads(self._read_line())
        if not answer["ok"]:
            raise JavaError(answer["error"])
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
                raise AssertionError(f"no answer from the Java driver:\n{children.tail(self.log)}")
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        return line
