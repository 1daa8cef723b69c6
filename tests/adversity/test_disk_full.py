"""A disk or a spool that takes nothing more, under a whole node: what cannot be audited is refused or passed, as
configured, and the node recovers by itself when there is room."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import resource
import signal
import subprocess
import tempfile
import time
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

pytestmark = pytest.mark.integration

STORAGE_ERROR = 56
CLOSED = -1
DISK_BYTES = 4 << 20
#: The node looks once a second whether there is room.
LOOKS_SECONDS = 2.5
WAIT_SECONDS = 30
SPOOL_BYTES = 128 << 10
#: Less than what a control process may be silent for.
STOPPED_SECONDS = 20


class Disk:
    """Where the node keeps its state; ``fill`` leaves no room, ``clear`` gives it back. This one is a file system in
    memory, which ends as disks do: ENOSPC."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self._ballast = folder / "ballast"

    def fill(self, _stage: Stage) -> None:
        with open(self._ballast, "ab", buffering=0) as file:
            for size in (1 << 16, 4096, 512, 1):
                try:
                    while True:
                        file.write(b"\0" * size)
                except OSError:
                    continue

    def clear(self, _stage: Stage) -> None:
        self._ballast.unlink()

    def lines(self) -> list[dict[str, Any]]:
        """Of the audit; a line that is being written is left out."""
        whole = (self.state / "audit/audit.jsonl").read_bytes().rpartition(b"\n")[0]
        return [json.loads(line) for line in whole.splitlines()]


class Limited(Disk):
    """For where no file system can be mounted: processes that may write to no file, not even to their logs (EFBIG)."""

    def fill(self, stage: Stage) -> None:
        self._limit(stage, 0)

    def clear(self, stage: Stage) -> None:
        self._limit(stage, resource.RLIM_INFINITY)

    def _limit(self, stage: Stage, size: int) -> None:
        for pid in (*stage.node.workers(), stage.node.control()):
            _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (most if size == resource.RLIM_INFINITY else size, most))


def mount(folder: Path) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0700", "tmpfs", str(folder)]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def mounted() -> Iterator[Path | None]:
    """A small file system of its own, or None where that is not allowed."""
    folder = Path(tempfile.mkdtemp(prefix="kproxy-disk-"))
    try:
        if not mount(folder):
            yield None
            return
        try:
            yield folder
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)
    finally:
        folder.rmdir()


@functools.cache
def ways_to_fill() -> list[str]:
    """Without the right to mount the other way is left, which needs none. A skip would not do: where every test of a
    real Kafka must run, as in CI, it counts as a failure."""
    with mounted() as folder:
        return ["limited"] if folder is None else ["mounted", "limited"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "disk" in metafunc.fixturenames:
        metafunc.parametrize("disk", ways_to_fill(), indirect=True)


@pytest.fixture
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    if request.param == "limited":
        yield Limited(tmp_path)
        return
    with mounted() as folder:
        assert folder is not None
        yield Disk(folder)


def start(kafka: KafkaBroker, disk: Disk, when_full: str, **audit: Any) -> Stage:
    node: dict[str, Any] = {"name": "test", "workers": 1, "runtime_dir": "run", "state_dir": str(disk.state)}
    audit = {"durability": "request", "flow_interval": "500ms", "when_full": when_full, **audit}
    return Stage(kafka, None, way="tapped4", more={"node": node, "audit": audit})  # type: ignore[arg-type]


class Client:
    """Produces records of its own and remembers what it was answered. A connection whose notes meet the full disk is
    closed, since nothing of them may leave the worker: then it connects again."""

    def __init__(self, stage: Stage, topic: str) -> None:
        self._stage = stage
        self._raw: RawClient = stage.raw(token=stage.token("c0-1"))
        self._topic = topic
        self.closed = 0
        self._sent = 0
        self.account = Account()

    def send(self, window: int = 1) -> list[int]:
        """The error codes of the next records, one produce each, all on their way at once; CLOSED for those whose
        connection was closed instead."""
        values = [f"c0-1/{self._sent + number}".encode() for number in range(1, window + 1)]
        self._sent += window
        self._raw.send(b"".join(self._raw.frame(PRODUCE, 9, produce((self._topic, [one]))) for one in values))
        codes = []
        for value in values:
            answer = self._raw.receive()
            if answer is None:
                self._connect_again()
                return codes + [CLOSED] * (window - len(codes))
            (part,) = frames.read_response(PRODUCE, 9, answer)[1]["responses"][0]["partition_responses"]
            codes.append(int(part["error_code"]))
            if part["error_code"] == 0:
                self.account.acked[part["base_offset"]] = value
        return codes

    def send_until(self, code: int) -> None:
        wait_for(f"code {code}", lambda: self.send() == [code], WAIT_SECONDS)

    def _connect_again(self) -> None:
        self.closed += 1
        self._raw.socket.close()
        self._raw = self._stage.raw(token=self._stage.token("c0-1"))


def find_torn(disk: Disk) -> list[str]:
    """Segments with something behind their last whole entry."""
    torn = []
    for segment in (disk.state / "spool").glob("w*.seg"):
        try:
            data = segment.read_bytes()
        except FileNotFoundError:
            continue    # Shipped and deleted meanwhile.
        ends = [len(MAGIC), *(end for _, _, end in walk_entries(data, len(MAGIC)))]
        if data and ends[-1] != len(data):
            torn.append(f"{segment.name}: {len(data) - ends[-1]} bytes after {ends[-1]}")
    return torn


def wait_for_whole_segments(disk: Disk) -> None:
    """One that is being written may be read half-way."""
    wait_for("whole segments", lambda: find_torn(disk) == [], WAIT_SECONDS)


def stop_and_judge(stage: Stage, topic: str, account: Account, disk: Disk) -> list[str]:
    assert stage.node.stop() == 0, stage.node.log_tail()
    return judge(topic, account, stage.read_whole(topic), [disk.state / "audit/audit.jsonl"]).problems


def find_gaps(disk: Disk) -> list[int]:
    """How many entries each line tells of that were lost."""
    return [one["details"]["entries"] for one in disk.lines() if one["kind"] == "audit_gap"]


def wait_until_shipped(stage: Stage) -> None:
    wait_for("the audit to catch up", lambda: stage.node.metric("kproxy_audit_lag_seconds") == 0, WAIT_SECONDS)


def test_a_full_disk_refuses_and_comes_back_by_itself(kafka: KafkaBroker, disk: Disk) -> None:
    with start(kafka, disk, "refuse") as stage:
        topic = stage.make_topic("open.")
        client = Client(stage, topic)
        for round_number in range(1, 3):
            assert client.send(20) == [0] * 20
            disk.fill(stage)
            client.send_until(STORAGE_ERROR)
            wait_for_whole_segments(disk)
            # It looks whether there is room, finds none, and goes on refusing.
            until, refused = time.monotonic() + LOOKS_SECONDS, client.send()
            while time.monotonic() < until:
                refused += client.send()
            assert set(refused) == {STORAGE_ERROR}
            assert stage.node.metric("kproxy_audit_refusing", worker="0") == 1
            assert client.closed <= round_number, "the connection whose notes met the full disk, and no other"
            disk.clear(stage)
            client.send_until(0)
            wait_until_shipped(stage)
            assert stage.node.metric("kproxy_audit_refusing", worker="0") == 0
        wait_for_whole_segments(disk)
        assert stage.node.metric("kproxy_close_total", cause="audit_unavailable") == client.closed
        assert stop_and_judge(stage, topic, client.account, disk) == []


def test_a_full_disk_lets_pass_what_may_and_tells_of_the_gap(kafka: KafkaBroker, disk: Disk) -> None:
    with start(kafka, disk, "pass") as stage:
        topic = stage.make_topic("open.")
        client = Client(stage, topic)
        assert client.send(20) == [0] * 20
        disk.fill(stage)
        assert [client.send()[0] for _ in range(300)] == [0] * 300, "nobody is refused"
        disk.clear(stage)
        wait_for("the gap to be told", lambda: find_gaps(disk), WAIT_SECONDS)
        assert client.send(20) == [0] * 20
        wait_for_whole_segments(disk)
        assert stage.node.stop() == 0, stage.node.log_tail()
        assert sum(find_gaps(disk)) > 0
        flows = [one for one in disk.lines() if one["kind"] == "flow" and one.get("topic") == topic]
        # What a worker summed up in its memory is told although its notes are lost.
        assert sum(one["records"] for one in flows) == 340


def test_a_spool_that_nobody_ships_refuses_while_there_is_room_for_what_is_under_way(
        kafka: KafkaBroker, tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    with start(kafka, disk, "refuse", max_spool_bytes=SPOOL_BYTES) as stage:
        topic = stage.make_topic("open.")
        client = Client(stage, topic)
        control = stage.node.control()
        os.kill(control, signal.SIGSTOP)
        try:
            codes = []
            deadline = time.monotonic() + STOPPED_SECONDS
            while STORAGE_ERROR not in codes:
                assert time.monotonic() < deadline, f"{len(codes)} records, and none was refused"
                codes += client.send(16)
            refused = codes[codes.index(STORAGE_ERROR):]
            for _ in range(20):
                refused += client.send(16)
            assert (set(codes), set(refused)) == ({0, STORAGE_ERROR}, {STORAGE_ERROR})
            assert client.closed == 0, "whatever was forwarded was answered"
            used = sum(one.stat().st_size for one in (disk.state / "spool").glob("*.seg"))
            assert 0.9 * SPOOL_BYTES < used < SPOOL_BYTES
        finally:
            os.kill(control, signal.SIGCONT)
        client.send_until(0)
        wait_until_shipped(stage)
        assert stage.node.metric("kproxy_close_total", cause="audit_unavailable") == client.closed == 0
        assert stop_and_judge(stage, topic, client.account, disk) == []
