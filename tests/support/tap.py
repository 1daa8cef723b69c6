"""A relay that records every byte in both directions, and can be a bad network when a test wants one.

It stands before kproxy or behind it. What passed is kept per connection and read as Kafka frames only when a test asks.
It runs in a thread of its own, so that blocking clients can be used beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.support import frames as frames_of
from tests.support.ports import wait_for

PRODUCE, FETCH, METADATA, API_VERSIONS, SASL_HANDSHAKE, SASL_AUTHENTICATE = 0, 1, 3, 18, 17, 36


@dataclass(frozen=True, slots=True)
class Frame:
    """One request or response without its size; ``api`` and ``version`` of an answer are those of its request."""

    api: int
    version: int
    correlation: int
    data: bytes


@dataclass
class Passed:
    """What one connection carried. ``to_broker`` are the bytes of the side that connected."""

    number: int
    to_broker: bytearray = field(default_factory=bytearray)
    to_client: bytearray = field(default_factory=bytearray)
    open: bool = True

    def requests(self) -> list[Frame]:
        return [Frame(*struct.unpack_from(">hhi", data), data) for data in split_frames(bytes(self.to_broker))]

    def responses(self) -> list[Frame]:
        """Answers come in the order of their requests; a produce with acks=0 has none, so correlation ids tell."""
        waiting = self.requests()
        found = []
        for data in split_frames(bytes(self.to_client)):
            correlation = struct.unpack_from(">i", data)[0]
            while waiting and waiting[0].correlation != correlation:
                waiting.pop(0)
            if not waiting:
                raise AssertionError(f"an answer to no request: correlation {correlation}")
            asked = waiting.pop(0)
            found.append(Frame(asked.api, asked.version, correlation, data))
        return found


def split_frames(stream: bytes) -> list[bytes]:
    """The whole frames of a stream, without their sizes; an unfinished one at the end is left out."""
    frames, at = [], 0
    while at + 4 <= len(stream):
        size = struct.unpack_from(">i", stream, at)[0]
        if size < 0 or at + 4 + size > len(stream):
            break
        frames.append(stream[at + 4 : at + 4 + size])
        at += 4 + size
    return frames


@dataclass
class Faults:
    """What the relay does to the bytes. ``piece``: at most so many at a time (1: split at every byte). ``delay``:
    seconds before each piece. ``refuse``: new connections are reset at once. ``hold``: nothing is passed on at all."""

    piece: int = 0
    delay: float = 0.0
    refuse: bool = False
    hold: bool = False


@dataclass(frozen=True, slots=True)
class Strike:
    """One blow at the next connection in which ``where`` tells a byte of the stream in this direction (``to_broker`` or
    ``to_client``; the whole of it so far is in the Passed). What stands before that byte is passed on, then comes
    ``what``: ``pause`` a moment and go on, ``stall`` (nothing follows in this direction), ``finish`` (FIN in this
    direction only, the other goes on), ``reset`` (RST on both sides)."""

    direction: str
    where: Callable[[Passed], int | None]
    what: str


Address = tuple[str, int]
#: As long as whoever got the first part needs to have read it by itself.
PAUSE_SECONDS = 0.002


class Tap:
    """Relays each of ``ways``, from where it listens to its target; ``connections`` grow in the order they came."""

    def __init__(self, *ways: tuple[Address, Address]) -> None:
        self.ways = ways
        self.faults = Faults()
        self.strike: Strike | None = None
        self.struck: list[Passed] = []
        self.connections: list[Passed] = []
        self._writers: dict[int, list[asyncio.StreamWriter]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tap", daemon=True)
        self._servers: list[asyncio.Server] = []

    def __enter__(self) -> Tap:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(self, *exc: object) -> None:
        async def end() -> None:
            for server in self._servers:
                server.close()
            for number in list(self._writers):
                self._cut(number, reset=False)
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            await asyncio.sleep(0)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def bootstrap(self) -> str:
        """Where the first way listens."""
        return "{}:{}".format(*self.ways[0][0])

    def is_running(self) -> bool:
        return self._thread.is_alive()

    def open_count(self) -> int:
        return sum(passed.open for passed in self.connections)

    def reset(self, number: int) -> None:
        """Ends one connection with RST on both sides."""
        self._loop.call_soon_threadsafe(lambda: self._cut(number, reset=True))

    def requests(self, api: int | None = None, since: int = 0) -> list[Frame]:
        """Every request so far, of the connections from number ``since`` on."""
        found = [frame for passed in self.connections[since:] for frame in passed.requests()]
        return [frame for frame in found if api in (None, frame.api)]

    def responses(self, api: int | None = None, since: int = 0) -> list[Frame]:
        found = [frame for passed in self.connections[since:] for frame in passed.responses()]
        return [frame for frame in found if api in (None, frame.api)]

    def wait_for(self, what: str, condition: Callable[[Tap], object], seconds: float = 10) -> None:
        wait_for(what, lambda: condition(self), seconds)

    async def _listen(self) -> None:
        for listen, target in self.ways:
            relay = functools.partial(self._relay, target)
            self._servers.append(await asyncio.start_server(relay, *listen, limit=1 << 20))

    async def _relay(self, target: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passed = Passed(len(self.connections))
        self.connections.append(passed)
        self._writers[passed.number] = [writer]
        try:
            if self.faults.refuse:
                self._cut(passed.number, reset=True)
                return
            far_reader, far_writer = await asyncio.open_connection(*target, limit=1 << 20)
            self._writers[passed.number].append(far_writer)
            there = asyncio.create_task(self._pump(reader, far_writer, passed, "to_broker"))
            back = asyncio.create_task(self._pump(far_reader, writer, passed, "to_client"))
            await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
            # One side ended: what the other has under way may still arrive, then both are closed together; where a
            # strike ended it the other side has all the time it takes.
            await asyncio.wait((there, back), timeout=None if passed in self.struck else 0.2)
            there.cancel()
            back.cancel()
        except (OSError, asyncio.CancelledError):
            pass  # Refused, or this relay is being closed.
        finally:
            passed.open = False
            self._cut(passed.number, reset=False)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passed: Passed,
                    direction: str) -> None:
        kept: bytearray = getattr(passed, direction)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 18):
                kept += data
                first = self._strike_in(passed, direction, len(data))
                if first is not None:
                    what = self.struck_by
                    writer.write(data[:first])
                    await writer.drain()
                    if what != "pause":
                        return await self._end_struck(reader, writer, passed, what)
                    await asyncio.sleep(PAUSE_SECONDS)
                    data = data[first:]
                for piece in self._pieces(data):
                    if self.faults.delay:
                        await asyncio.sleep(self.faults.delay)
                    while self.faults.hold:
                        await asyncio.sleep(0.01)
                    writer.write(piece)
                    await writer.drain()
                    if self.faults.piece:
                        await asyncio.sleep(0)
            with contextlib.suppress(OSError, RuntimeError):
                writer.write_eof()

    def _strike_in(self, passed: Passed, direction: str, fresh: int) -> int | None:
        """How many of the fresh bytes stand before the blow, if it falls here; then there is none left to fall."""
        strike = self.strike
        if strike is None or strike.direction != direction:
            return None
        where = strike.where(passed)
        first = -1 if where is None else where - len(getattr(passed, direction)) + fresh
        if not 0 <= first <= fresh:
            return None
        self.strike = None
        self.struck_by = strike.what
        self.struck.append(passed)
        return first

    async def _end_struck(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passed: Passed,
                          what: str) -> None:
        if what == "reset":
            self._cut(passed.number, reset=True)
        elif what == "finish":
            with contextlib.suppress(OSError, RuntimeError):
                writer.write_eof()
        # What is still sent in this direction is read and goes nowhere; its end is passed on.
        while await reader.read(1 << 18):
            pass
        with contextlib.suppress(OSError, RuntimeError):
            writer.write_eof()

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        size = self.faults.piece or len(data) or 1
        for at in range(0, len(data), size):
            yield data[at : at + size]

    def _cut(self, number: int, reset: bool) -> None:
        for writer in self._writers.pop(number, []):
            found = writer.get_extra_info("socket")
            if reset and found is not None:
                with contextlib.suppress(OSError):
                    found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            else:
                writer.close()


def produced_records(frames: list[Frame]) -> list[tuple[str, int, bytes]]:
    """(topic, partition, record bytes) of produce requests, in order; the topic's id where the version has no name."""
    found = []
    for frame in frames:
        body = frames_of.read_request(struct.pack(">i", len(frame.data)) + frame.data)[3]
        for topic in body["topic_data"]:
            for partition in topic["partition_data"]:
                name = topic.get("name") or str(topic.get("topic_id"))
                found.append((name, partition["index"], bytes(partition["records"] or b"")))
    return found


def fetched_records(frames: list[Frame]) -> list[tuple[str, int, bytes]]:
    """(topic, partition, record bytes) of fetch answers that hold any, in order."""
    found = []
    for frame in frames:
        body = frames_of.read_response(frame.api, frame.version, struct.pack(">i", len(frame.data)) + frame.data)[1]
        for topic in body["responses"]:
            for partition in topic["partitions"]:
                if partition["records"]:
                    name = topic.get("topic") or str(topic.get("topic_id"))
                    found.append((name, partition["partition_index"], bytes(partition["records"])))
    return found


def topic_ids(frames: list[Frame]) -> list[tuple[str, str]]:
    """(topic, its id) of the metadata that clients were told, ids as ``produced_records`` says them."""
    found = []
    for frame in frames:
        if frame.api == METADATA:
            told = frames_of.read_response(frame.api, frame.version, struct.pack(">i", len(frame.data)) + frame.data)[1]
            found += [(topic["name"], str(topic["topic_id"])) for topic in told["topics"]
                      if topic.get("topic_id") and topic["name"]]
    return found


def records_of(tap: Tap, api: int, topic: str, since: int = 0) -> list[bytes]:
    """The record sets of ``topic`` in what was produced or fetched, of the connections from number ``since`` on. Where
    they travel by the topic's id, the clients have asked for its metadata on one of these."""
    called = {topic, *(number for name, number in topic_ids(tap.responses(METADATA, since)) if name == topic)}
    found = (produced_records(tap.requests(PRODUCE, since)) if api == PRODUCE
             else fetched_records(tap.responses(FETCH, since)))
    return [data for name, _, data in found if name in called]
