"""One virtual machine with the Java client in it, spoken to in lines of JSON (see tests/java/Driver.java)."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.support.kafka_libs import ROOT, KafkaMissing, class_path, java_program, kafka_libs, newest_client
from tests.support.line_driver import LineDriver

SOURCES = ROOT / "tests" / "java"
CLASSES = ROOT / ".cache" / "java-classes"


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


class JavaDriver(LineDriver):
    """A running Driver."""

    def __init__(self, *options: str) -> None:
        super().__init__([
            java_program(), *options, "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", class_path(compiled()), "Driver"])
