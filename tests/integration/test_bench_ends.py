"""The two ends of the ladder judge what is between them: a wrong answer must never become a figure."""

from __future__ import annotations

import asyncio
import json
import shutil
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.rig import BINARIES, HERE
from tests.support import children
from tests.support.ports import accepts, free_ports, wait_for
from tests.support.raw_client import FETCH, METADATA, PRODUCE, RawClient, fetch, metadata, produce

Spoil = Callable[[list[bytes]], list[bytes]]


@pytest.fixture(scope="module", autouse=True)
def binaries() -> None:
    if shutil.which("g++") is None:
        pytest.skip("the ends of the ladder need g++")
    subprocess.run([str(HERE / "native" / "build.sh")], check=True)


class Blackhole:
    def __init__(self, folder: Path, *options: str, advertise: str = "") -> None:
        self.port, = free_ports(1)
        self.log = folder / "blackhole.log"
        listen = f"{self.port}={advertise}" if advertise else str(self.port)
        self._child = children.start([str(BINARIES / "blackhole"), "--listen", listen, *options], self.log)
        wait_for("the blackhole", lambda: accepts("127.0.0.1", self.port))

    def stop(self) -> dict[str, Any]:
        """What it saw."""
        children.stop(self._child)
        return dict(json.loads(self.log.read_text().splitlines()[-1]))


@pytest.fixture
def blackhole(tmp_path: Path) -> Iterator[Blackhole]:
    one = Blackhole(tmp_path, "--verify", "--fetch-bytes", "65536")
    yield one
    one.stop()


def run_load(port: int, *options: str) -> tuple[int, dict[str, Any]]:
    command = [str(BINARIES / "load"), "--target", f"127.0.0.1:{port}", "--seconds", "0.2", "--warmup", "0.05",
               "--connections", "2", "--in-flight", "4", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    return done.returncode, json.loads(done.stdout) if done.stdout else {"error": done.stderr}


@pytest.mark.parametrize("size", [200, 1024, 65536, 1 << 20])
def test_produced_batches_are_whole_and_of_the_size_asked_for(blackhole: Blackhole, size: int) -> None:
    code, result = run_load(blackhole.port, "--api", "produce", "--size", str(size))
    assert (code, result["failed"], result["misordered"], result["lost"]) == (0, 0, 0, 0), result
    assert result["size"] == size
    assert result["requests"] > 10
    seen = blackhole.stop()
    assert (seen["corrupt"], seen["malformed"]) == (0, 0)
    assert seen["produced"] >= result["requests"]
    assert seen["produced_bytes"] == seen["produced"] * size


def test_an_open_loop_keeps_its_rate(blackhole: Blackhole) -> None:
    code, result = run_load(blackhole.port, "--api", "produce", "--rate", "1000", "--seconds", "0.5")
    assert code == 0
    assert 450 <= result["requests"] <= 520
    assert 0 < result["latency_us"]["p50"] <= result["latency_us"]["p99"] <= result["latency_us"]["max"]


def test_a_fetch_of_another_size_than_expected_is_a_failure(blackhole: Blackhole) -> None:
    code, result = run_load(blackhole.port, "--api", "fetch", "--size", "65536")
    assert (code, result["failed"]) == (0, 0)
    code, result = run_load(blackhole.port, "--api", "fetch", "--size", "65535")
    assert code == 1
    assert result["errors"].keys() == {"30001"}


def test_the_blackhole_tells_a_damaged_batch_and_an_unknown_topic(blackhole: Blackhole) -> None:
    with RawClient(f"127.0.0.1:{blackhole.port}") as client:
        def code(body: dict[str, Any]) -> int:
            answer = client.ask(PRODUCE, 9, body)
            return int(answer["responses"][0]["partition_responses"][0]["error_code"])

        good = produce(("bench-0", [b"a", b"b"]))
        assert code(good) == 0
        assert client.ask(PRODUCE, 9, good)["responses"][0]["partition_responses"][0]["base_offset"] == 2
        batch = bytearray(good["topic_data"][0]["partition_data"][0]["records"])
        batch[-2] ^= 1
        good["topic_data"][0]["partition_data"][0]["records"] = bytes(batch)
        assert code(good) == 2
        assert code(produce(("payroll", [b"x"]))) == 3


@pytest.mark.parametrize("version", range(0, 13))
def test_the_blackhole_answers_metadata_of_every_version(blackhole: Blackhole, version: int) -> None:
    with RawClient(f"127.0.0.1:{blackhole.port}") as client:
        body = client.ask(METADATA, version, metadata(["bench-3", "payroll"]))
    assert [(one["name"], one["error_code"], len(one["partitions"])) for one in body["topics"]] \
        == [("bench-3", 0, 4), ("payroll", 3, 0)]
    assert [(one["host"], one["port"]) for one in body["brokers"]] == [("127.0.0.1", blackhole.port)]


@pytest.mark.parametrize("version", range(4, 13))
def test_the_blackhole_answers_fetches_of_every_version(blackhole: Blackhole, version: int) -> None:
    with RawClient(f"127.0.0.1:{blackhole.port}") as client:
        body = client.ask(FETCH, version, fetch("bench-1", offset=7, partition=3))
    found = body["responses"][0]["partitions"][0]
    assert len(found["records"]) == 65536
    assert struct.unpack_from(">q", found["records"])[0] == 7


class Spoiler:
    """Relays to the blackhole and lets ``spoil`` change the answers that arrive together."""

    def __init__(self, listen: int, target: int, spoil: Spoil) -> None:
        self._listen, self._target, self._spoil = listen, target, spoil
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Spoiler:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(asyncio.start_server(self._relay, "127.0.0.1", self._listen),
                                         self._loop).result(5)
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)

        async def there() -> None:
            while data := await reader.read(65536):
                far_writer.write(data)

        task = asyncio.create_task(there())
        rest = b""
        while data := await far_reader.read(65536):
            rest += data
            frames = []
            while len(rest) >= 4 and len(rest) >= 4 + struct.unpack_from(">i", rest)[0]:
                end = 4 + struct.unpack_from(">i", rest)[0]
                frames.append(rest[:end])
                rest = rest[end:]
            writer.write(b"".join(self._spoil(frames)))
        task.cancel()


def swap(frames: list[bytes]) -> list[bytes]:
    return [frames[1], frames[0], *frames[2:]] if len(frames) > 1 else frames


def deny(frames: list[bytes]) -> list[bytes]:
    """The first partition's error of a produce answer for topic bench-N becomes 29."""
    at = 4 + 4 + 1 + 1 + 1 + len("bench-0") + 1 + 4
    return [frame[:at] + b"\x00\x1d" + frame[at + 2 :] if b"bench-" in frame[:20] else frame for frame in frames]


@pytest.mark.parametrize(("spoil", "seen"), [(swap, "misordered"), (deny, "failed")])
def test_a_proxy_that_answers_wrongly_fails_the_measurement(tmp_path: Path, spoil: Spoil, seen: str) -> None:
    front, = free_ports(1)
    hole = Blackhole(tmp_path, advertise=f"127.0.0.1:{front}")
    try:
        with Spoiler(front, hole.port, spoil):
            code, result = run_load(front, "--api", "produce")
    finally:
        hole.stop()
    assert code == 1, result
    assert result[seen] > 0
    if seen == "failed":
        assert result["errors"].keys() == {"29"}
