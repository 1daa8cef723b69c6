"""The driver programs of tests/clients/drivers, built once for each state of their sources, kept in .cache/drivers.

What is fetched comes from the registries by their own clients and is held to lock files: go.sum, package-lock.json (no
script of a package is run), and Maven's checksums. Two test runs may ask at once: one builds, the other waits.
Run as ``python -m tests.support.driver_builds`` to build all of them.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.support.kafka_libs import ROOT, KafkaMissing, java_program, newest_version

SOURCES = ROOT / "tests" / "clients" / "drivers"
CACHE = ROOT / ".cache" / "drivers"
TOKEN_LOGIN = ROOT / "tests" / "java" / "TokenLogin.java"
#: The released Java clients besides the one of the broker: the newest, and the last of 3.9 and of 2.8.
JAVA_RELEASES = (newest_version(), "3.9.2", "2.8.2")
BUILD_SECONDS = 600


class DriverMissing(Exception):
    """A driver cannot be built here; the text says what is missing or what the build said."""


def _program(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise DriverMissing(f"{name} is not installed (Debian: {package})")
    return found


def _run(command: list[str], folder: Path, **environment: str) -> None:
    done = subprocess.run(command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True,
                          timeout=BUILD_SECONDS)
    if done.returncode != 0:
        raise DriverMissing(f"{Path(command[0]).name} in {folder}: {(done.stdout + done.stderr)[-2000:]}")


def _built(name: str, sources: list[Path], build: Callable[[Path], None]) -> Path:
    """The folder that ``build`` filled from these sources; a rename publishes it, so that nobody sees half of it."""
    content = b"".join(str(one.relative_to(ROOT)).encode() + one.read_bytes() for one in sorted(sources))
    folder = CACHE / f"{name}-{hashlib.sha256(content).hexdigest()[:16]}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            with tempfile.TemporaryDirectory(prefix="new-", dir=CACHE) as place:
                fresh = Path(place) / "built"
                fresh.mkdir()
                build(fresh)
                fresh.rename(folder)
    return folder


def _files(folder: Path, *patterns: str) -> list[Path]:
    return [path for pattern in patterns for path in folder.rglob(pattern) if "node_modules" not in path.parts]


def build_go() -> Path:
    """The folder with ``franz`` and ``sarama``. Raises DriverMissing."""
    folder = SOURCES / "go"

    def build(fresh: Path) -> None:
        command = [_program("go", "golang-go"), "build", "-trimpath", "-o", f"{fresh}/", "./franz", "./sarama"]
        _run(command, folder, CGO_ENABLED="0", GOFLAGS="-mod=readonly -buildvcs=false")

    return _built("go", _files(folder, "*.go", "go.mod", "go.sum"), build)


def build_node() -> Path:
    """The folder with ``driver.js`` and its ``node_modules``. Raises DriverMissing."""
    folder = SOURCES / "node"
    sources = _files(folder, "*.js", "package.json", "package-lock.json")

    def build(fresh: Path) -> None:
        _program("node", "nodejs")
        for one in sources:
            shutil.copy(one, fresh / one.name)
        _run([_program("npm", "npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"], fresh)

    return _built("node", sources, build)


def build_confluent_node() -> Path:
    """As build_node(), of librdkafka's client for node, whose native half is compiled here: its ready ones are not in
    the registry. It takes minutes, Debian's libcurl4-openssl-dev, libssl-dev and libzstd-dev, and node's own headers.
    Raises DriverMissing."""
    folder = SOURCES / "node-confluent"
    sources = _files(folder, "*.js", "package.json", "package-lock.json")

    def build(fresh: Path) -> None:
        headers = Path(os.path.realpath(_program("node", "nodejs"))).parents[1]
        if not (headers / "include" / "node" / "node.h").exists():
            raise DriverMissing(f"node's headers are not in {headers}/include/node (Debian: libnode-dev)")
        for one in sources:
            shutil.copy(one, fresh / one.name)
        _run([_program("npm", "npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"], fresh)
        package = fresh / "node_modules" / "@confluentinc" / "kafka-javascript"
        _run(["node", "util/configure"], package, CKJS_LINKING="dynamic")
        _run([_program("make", "make"), "-j2", "-C", "deps/librdkafka", "libs"], package)
        _run(["node", str(fresh / "node_modules/node-gyp/bin/node-gyp.js"), "rebuild", f"--nodedir={headers}"], package,
             CKJS_LINKING="dynamic")
        shutil.rmtree(package / "deps")
        shutil.rmtree(package / "build" / "Release" / "obj.target")

    return _built("node-confluent", sources, build)


def build_python() -> Path:
    """A folder for PYTHONPATH with the older confluent-kafka. Raises DriverMissing."""
    folder = SOURCES / "python"
    locked = folder / "requirements.txt"

    def build(fresh: Path) -> None:
        _run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--require-hashes", "--only-binary", ":all:",
              "--target", str(fresh), "-r", str(locked)], folder)

    return _built(f"python-{sys.version_info[0]}.{sys.version_info[1]}", [locked], build)


def build_java(release: str) -> Path:
    """The folder with the driver's classes and ``libs``, the jars of that release. Raises DriverMissing."""
    return _built_java("java", [SOURCES / "java" / "ReleasedDriver.java", TOKEN_LOGIN], release)


def build_streams(release: str) -> Path:
    """The folder with the Streams application and its ``libs``. Raises DriverMissing."""
    return _built_java("streams", [SOURCES / "streams" / "StreamsApp.java"], release)


def _built_java(name: str, sources: list[Path], release: str) -> Path:
    pom = SOURCES / name / "pom.xml"

    def build(fresh: Path) -> None:
        try:
            compiler = java_program("javac")
        except KafkaMissing as missing:
            raise DriverMissing(str(missing)) from None
        _run([_program("mvn", "maven"), "-q", "-B", "-f", str(pom), f"-Dkafka.version={release}",
              "dependency:copy-dependencies", f"-DoutputDirectory={fresh / 'libs'}"], pom.parent)
        _run([compiler, "-nowarn", "-d", str(fresh), "-cp", f"{fresh}/libs/*", *map(str, sources)], pom.parent)

    return _built(f"{name}-{release}", [*sources, pom], build)


if __name__ == "__main__":
    try:
        for path in (build_go(), build_node(), build_confluent_node(), build_python(), *map(build_java, JAVA_RELEASES)):
            print(path)
    except DriverMissing as problem:
        sys.exit(f"driver_builds: {problem}")
