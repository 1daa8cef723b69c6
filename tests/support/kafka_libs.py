"""The jars of Apache Kafka: found in ``.cache/kafka-libs`` or fetched once through Maven. The newest client's, from
which the table of facts is made, are in ``.cache/kafka-newest``: the rig's broker may be a release behind.

``KPROXY_KAFKA_LIBS`` names another folder for the rig's. Several test runs may ask at the same moment: one fetches, the
others wait. Run as ``python -m tests.support.kafka_libs`` to fetch both and print the rig's folder.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
POM = ROOT / "tests" / "java" / "pom.xml"
DEFAULT_FOLDER = ROOT / ".cache" / "kafka-libs"
NEWEST_POM = ROOT / "tests" / "java" / "newest" / "pom.xml"
MIRROR_POM = ROOT / "tests" / "java" / "mirror" / "pom.xml"
#: One file of each artifact the pom names; a folder without them is not whole.
NEEDED = ("kafka_2.13-*.jar", "kafka-tools-*.jar", "kafka-clients-*.jar", "slf4j-simple-*.jar")
#: Where older releases wrote their log: with one of these beside slf4j-simple it goes nowhere.
OLD_LOGS = ("slf4j-reload4j", "slf4j-log4j12")
FETCH_SECONDS = 600


class KafkaMissing(Exception):
    """Java, Maven or the jars are not there; the text says which and what would mend it."""


def java_program(name: str = "java") -> str:
    """The path of ``java`` or ``javac``. Raises KafkaMissing."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which(name, path=f"{home}/bin") if home else None
    found = found or shutil.which(name)
    if found is None:
        raise KafkaMissing(f"{name} is not installed (Debian: openjdk-17-jdk-headless)")
    return found


def is_whole(folder: Path, needed: tuple[str, ...] = NEEDED) -> bool:
    return all(any(folder.glob(pattern)) for pattern in needed)


def kafka_libs() -> Path:
    """The folder with the jars, fetched if need be. Raises KafkaMissing."""
    override = os.environ.get("KPROXY_KAFKA_LIBS")
    if override:
        folder = Path(override)
        if not is_whole(folder):
            raise KafkaMissing(f"KPROXY_KAFKA_LIBS={folder} does not hold Kafka's jars")
        return folder
    return _fetch_once(DEFAULT_FOLDER, POM, NEEDED)


def release_libs(release: str) -> Path:
    """The folder with the jars of another release of Kafka, fetched if need be. Raises KafkaMissing."""
    return _fetch_once(ROOT / ".cache" / f"kafka-{release}", POM, NEEDED, f"-Dkafka.version={release}",
                       f"-DexcludeArtifactIds={','.join(OLD_LOGS)}")


def mirror_libs() -> Path:
    """The folder with the jars of MirrorMaker, of the rig's version, fetched if need be. Raises KafkaMissing."""
    version = kafka_version()
    names = (f"connect-mirror-{version}.jar", f"connect-mirror-client-{version}.jar")
    return _fetch_once(ROOT / ".cache" / "kafka-mirror", MIRROR_POM, names, f"-Dkafka.version={version}")


def newest_version() -> str:
    """Of the newest kafka-clients."""
    version = re.search(r"<version>([\d.]+\.[\d.]+)</version>", NEWEST_POM.read_text())
    assert version is not None
    return version[1]


def newest_client() -> Path:
    """The jar of the newest kafka-clients, fetched if need be. Raises KafkaMissing."""
    name = f"kafka-clients-{newest_version()}.jar"
    return _fetch_once(ROOT / ".cache" / "kafka-newest", NEWEST_POM, (name,)) / name


def kafka_version() -> str:
    """Of the broker, its programs and the Java client, which are of one release."""
    return next(kafka_libs().glob("kafka-clients-[0-9]*.jar")).stem.removeprefix("kafka-clients-")


def class_path(*more: Path) -> str:
    """What ``java -cp`` wants: ``more`` first, then every jar."""
    return os.pathsep.join([*map(str, more), f"{kafka_libs()}/*"])


def _fetch_once(folder: Path, pom: Path, needed: tuple[str, ...], *more: str) -> Path:
    if not is_whole(folder, needed):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with open(folder.parent / f"{folder.name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not is_whole(folder, needed):
                _fetch(folder, pom, needed, *more)
    return folder


def _fetch(folder: Path, pom: Path, needed: tuple[str, ...], *more: str) -> None:
    """Maven, told ``more``, writes beside the folder and a rename publishes it, so that nobody ever sees half of it."""
    maven = shutil.which("mvn")
    if maven is None:
        raise KafkaMissing(f"Maven is not installed (Debian: maven), and Kafka's jars are not in .cache/{folder.name}")
    with tempfile.TemporaryDirectory(prefix=f"{folder.name}-", dir=folder.parent) as place:
        fresh = Path(place) / "libs"
        command = [maven, "-q", "-B", "-f", str(pom), *more]
        command += ["dependency:copy-dependencies", f"-DoutputDirectory={fresh}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_SECONDS)
        if done.returncode != 0 or not is_whole(fresh, needed):
            raise KafkaMissing("Maven could not fetch Kafka's jars: " + (done.stdout + done.stderr)[-800:])
        if folder.exists():
            shutil.rmtree(folder)
        fresh.rename(folder)


if __name__ == "__main__":
    try:
        newest_client()
        print(kafka_libs())
    except KafkaMissing as problem:
        sys.exit(f"fetch-kafka: {problem}")
