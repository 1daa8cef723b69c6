"""A disk that takes nothing more, under a whole node: what cannot be audited is refused or passed as configured, and
the
node recovers by itself when there is room."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kproxy.model.spool import EVENT, MAGIC, NOTES, walk_entries
from tests.support.audited_load import Account, judge
from tests.support.client_confluent import ConfluentClient
from tests.support.kafka_broker import KafkaBroker
from tests.support.ports import wait_for
from tests.support.raw_client import PRODUCE, RawClient, produce
from tests.support.stage import Stage

pytestmark = pytest.mark.integration

DISK_BYTES = 4 << 20


@pytest.fixture
def disk() -> Iterator[Path]:
    """A file system of its own, in memory, that is soon full."""
    folder = Path(tempfile.mkdtemp(prefix="kproxy-disk-"))
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0700", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
    folder.rmdir()


class Ballast:
    """A file that takes all the room there is."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "ballast"

    def fill(self) -> None:
        with open(self._file, "ab", buffering=0) as file:
            for size in (1 << 16, 4096, 512, 1):
                try:
                    while True:
                        file.write(b"\0" * size)
                except OSError:
                    continue

    def remove(self) -> None:
        self._file.unlink()


def start(kafka: KafkaBroker, disk: Path, when_full: str) -> Stage:
    node: dict[str, Any] = {"name": "test", "workers": 1, "runtime_dir": "run", "state_dir": str(disk / "state")}
    audit = {"durability": "request", "flow_interval": "500ms", "when_full": when_full}
    return Stage(kafka, None, way="tapped4", more={"node": node, "audit": audit})  # type: ignore[arg-type]


class Client:
    """One connection that produces one record at a time, and remembers what it was answered."""

    def __init__(self, stage: Stage, topic: str) -> None:
        self._raw: RawClient = stage.raw(token=stage.token("c0-1"))
        self._topic = topic
        self._sent = 0
        self.account = Account()

    def send(self) -> int:
        """The error code of the next record."""
        self._sent += 1
        value = f"c0-1/{self._sent}".encode()
        (part,) = self._raw.ask(PRODUCE, 9, produce((self._topic, [value])))["responses"][0]["partition_responses"]
        if part["error_code"] == 0:
            self.account.acked[part["base_offset"]] = value
        return int(part["error_code"])


def whole_segments(spool: Path) -> list[str]:
    """What is torn: bytes of a segment, behind its last whole entry."""
    torn = []
    for segment in spool.glob("w*.seg"):
        data = segment.read_bytes()
        end = len(MAGIC)
        for kind, _, behind in walk_entries(data, len(MAGIC)):
            assert kind in (EVENT, NOTES, 3)
            end = behind
        if data and end != len(data):
            torn.append(f"{segment.name}: {len(data) - end} bytes after {end}")
    return torn


def read_all(stage: Stage, topic: str) -> list[Any]:
    with ConfluentClient().consumer(stage.direct()) as consumer:
        consumer.assign(topic, 0, 0)
        found: list[Any] = []
        while more := consumer.poll(1, seconds=2):
            found += more
        return found


def stop_and_judge(stage: Stage, topic: str, account: Account, disk: Path) -> list[str]:
    assert stage.node.stop() == 0, stage.node.log_tail()
    return judge(topic, account, read_all(stage, topic), [disk / "state/audit/audit.jsonl"]).problems


def test_a_full_disk_lets_pass_what_may_and_tells_of_the_gap(kafka: KafkaBroker, disk: Path) -> None:
    ballast = Ballast(disk)
    with start(kafka, disk, "pass") as stage:
        topic = stage.make_topic("open.")
        client = Client(stage, topic)
        assert [client.send() for _ in range(20)] == [0] * 20
        ballast.fill()
        assert [client.send() for _ in range(300)] == [0] * 300, "nobody is refused"
        ballast.remove()
        wait_for("the gap to be told", lambda: [line for line in _lines(disk) if line["kind"] == "audit_gap"], 20)
        assert [client.send() for _ in range(20)] == [0] * 20
        assert whole_segments(disk / "state/spool") == []
        stage.node.stop()
        gaps = [line["details"]["entries"] for line in _lines(disk) if line["kind"] == "audit_gap"]
        assert sum(gaps) > 0
        flows = [line for line in _lines(disk) if line["kind"] == "flow" and line.get("topic") == topic]
        # What a worker summed up in its memory is told although its notes are lost.
        assert sum(line["records"] for line in flows) == 340


def _lines(disk: Path) -> list[dict[str, Any]]:
    import json

    return [json.loads(line) for line in (disk / "state/audit/audit.jsonl").read_bytes().splitlines()]
