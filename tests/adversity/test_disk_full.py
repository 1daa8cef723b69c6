"""A disk that takes nothing more, under a whole node: what cannot be audited is refused or passed, as configured, and
the node recovers by itself when there is room."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kproxy.model.spool import MAGIC, walk_entries
from tests.support import frames
from tests.support.audited_load import Account, judge
from tests.support.kafka_broker import KafkaBroker
from tests.support.ports import wait_for
from tests.support.raw_client import PRODUCE, RawClient, produce
from tests.support.stage import Stage

STORAGE_ERROR = 56
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
    """Produces one record at a time and remembers what it was answered. The connection whose notes meet the full disk
    is closed, since nothing of them may leave the worker: it connects again."""

    def __init__(self, stage: Stage, topic: str) -> None:
        self._stage = stage
        self._raw: RawClient = stage.raw(token=stage.token("c0-1"))
        self._topic = topic
        self.closed = 0
        self._sent = 0
        self.account = Account()

    def send(self) -> int:
        """The error code of the next record; −1 where the connection was closed instead."""
        self._sent += 1
        value = f"c0-1/{self._sent}".encode()
        self._raw.send(self._raw.frame(PRODUCE, 9, produce((self._topic, [value]))))
        answer = self._raw.receive()
        if answer is None:
            self.closed += 1
            self._raw.socket.close()
            self._raw = self._stage.raw(token=self._stage.token("c0-1"))
            return -1
        (part,) = frames.read_response(PRODUCE, 9, answer)[1]["responses"][0]["partition_responses"]
        if part["error_code"] == 0:
            self.account.acked[part["base_offset"]] = value
        return int(part["error_code"])


def find_torn(spool: Path) -> list[str]:
    """Segments with something behind their last whole entry."""
    torn = []
    for segment in spool.glob("w*.seg"):
        data = segment.read_bytes()
        ends = [len(MAGIC), *(end for _, _, end in walk_entries(data, len(MAGIC)))]
        if data and ends[-1] != len(data):
            torn.append(f"{segment.name}: {len(data) - ends[-1]} bytes after {ends[-1]}")
    return torn


def stop_and_judge(stage: Stage, topic: str, account: Account, disk: Path) -> list[str]:
    assert stage.node.stop() == 0, stage.node.log_tail()
    return judge(topic, account, stage.read_whole(topic), [disk / "state/audit/audit.jsonl"]).problems


def test_a_full_disk_refuses_and_comes_back_by_itself(kafka: KafkaBroker, disk: Path) -> None:
    ballast = Ballast(disk)
    with start(kafka, disk, "refuse") as stage:
        topic = stage.make_topic("open.")
        client = Client(stage, topic)
        for _round in range(3):
            assert [client.send() for _ in range(20)] == [0] * 20
            ballast.fill()
            wait_for("a refusal", lambda: client.send() == STORAGE_ERROR)
            assert find_torn(disk / "state/spool") == []
            # A second and more: the node looks whether there is room, finds none, and goes on refusing.
            refused = [client.send() for _ in range(200)]
            assert refused.count(STORAGE_ERROR) > 150 and set(refused) <= {0, -1, STORAGE_ERROR}, set(refused)
            wait_for("the lag to be told", lambda: stage.node.metric("kproxy_audit_lag_seconds") > 0.5)
            ballast.remove()
            wait_for("room", lambda: client.send() == 0)
            wait_for("the audit to catch up", lambda: stage.node.metric("kproxy_audit_lag_seconds") == 0)
            print(f"closed {client.closed} times, acknowledged {len(client.account.acked)}")
        assert find_torn(disk / "state/spool") == []
        assert client.closed <= 6, "once where the disk was full, and perhaps where a look for room came too early"
        assert stage.node.metric("kproxy_close_total", cause="audit_unavailable") == client.closed
        assert stop_and_judge(stage, topic, client.account, disk) == []


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
        assert find_torn(disk / "state/spool") == []
        stage.node.stop()
        gaps = [line["details"]["entries"] for line in _lines(disk) if line["kind"] == "audit_gap"]
        assert sum(gaps) > 0
        flows = [line for line in _lines(disk) if line["kind"] == "flow" and line.get("topic") == topic]
        # What a worker summed up in its memory is told although its notes are lost.
        assert sum(line["records"] for line in flows) == 340


def _lines(disk: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (disk / "state/audit/audit.jsonl").read_bytes().splitlines()]
