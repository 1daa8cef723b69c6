"""Plaintext bytes over real sockets: what a wire does when the kernel takes little, when a peer goes, at the end."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from kproxy._ext import chunk
from kproxy._ext.ledger import Counters, Ledger
from kproxy._ext.login import advertised
from kproxy._ext.opening import Addresses
from kproxy._ext.protocol import ClientHalf, Turn
from kproxy._ext.session import Epoch, Session
from kproxy.model.access import Facts, Principal, Verdict
from tests.support.frames import batch, request, response
from tests.support.scripted_control import until
from tests.support.world import on_uvloop

RANGES = advertised({0: (0, 12), 1: (4, 12), 3: (0, 12)})
FACTS = Facts(principal=Principal(name="p", issuer="i", subject="s"), mechanism="none", listener="l")
MIB = 1 << 20


class Spool:
    refusing = False

    def __init__(self) -> None:
        self.broken = False

    def append(self, kind: int, payload: bytes) -> None: ...

    def commit(self) -> None:
        if self.broken:
            raise OSError(28, "no space left on device")


class Shell:
    """Of one connection: it opens the broker's, and nothing else."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.half: ClientHalf
        self.ended = 0
        self.failures: list[Exception] = []

    def opened(self, half: ClientHalf) -> None: ...

    def ask(self, half: ClientHalf, ticket: Any) -> None:
        self.node.tasks.append(asyncio.ensure_future(self.connect()))

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self.half.attach_broker(None), *self.node.broker.getsockname())
        self.half.session.resume_broker(RANGES, 1.0)
        self.half.resumed()

    def failed(self, half: ClientHalf, error: Exception) -> None:
        self.failures.append(error)

    def closed(self, half: ClientHalf) -> None:
        self.ended += 1


class Node:
    """What stands between clients and a broker, both of them bare sockets of the test."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.spool = Spool()
        self.ledger = Ledger(self.spool)
        self.turn = Turn(self.loop, self.ledger)
        self.shells: list[Shell] = []
        self.tasks: list[asyncio.Future[None]] = []
        self.broker = bare_socket()
        self.broker.bind(("127.0.0.1", 0))
        self.broker.listen(256)
        self.port = 0

    def accept(self) -> ClientHalf:
        shell = Shell(self)
        session = Session(len(self.shells) + 1, (), Addresses("h", 0, 9, 9100), self.decide, Epoch(1), self.ledger,
                          Counters("l"), lambda *told: None, FACTS)
        session.resume_versions(RANGES)
        shell.half = ClientHalf(session, shell, self.turn, 64 * MIB, 16 * MIB)
        self.shells.append(shell)
        return shell.half

    def decide(self, resource: str, operation: str, name: str, now: float) -> tuple[Verdict, None]:
        if name == "boom":
            raise RuntimeError("the policy fell over")
        return Verdict(effect="allow"), None

    async def connect(self) -> tuple[Shell, socket.socket, socket.socket]:
        """A client whose first request has reached its broker: the shell between, and both ends."""
        client = bare_socket()
        await self.loop.sock_connect(client, ("127.0.0.1", self.port))
        await self.loop.sock_sendall(client, fetch(0))
        broker, _ = await self.loop.sock_accept(self.broker)
        assert await receive(broker, len(fetch(0))) == fetch(0)
        await self.loop.sock_sendall(broker, fetched(0))
        assert await receive(client, len(fetched(0))) == fetched(0)
        return self.shells[-1], client, broker


@asynccontextmanager
async def serving() -> AsyncIterator[Node]:
    node = Node()
    server = await node.loop.create_server(node.accept, "127.0.0.1", 0)
    node.port = server.sockets[0].getsockname()[1]
    try:
        yield node
    finally:
        server.close()
        for shell in node.shells:
            shell.half.abort()
        node.broker.close()


def bare_socket() -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    return sock


async def receive(sock: socket.socket, size: int) -> bytes:
    """Exactly ``size`` bytes, or what came before the end."""
    loop = asyncio.get_running_loop()
    got = bytearray()
    async with asyncio.timeout(20):
        while len(got) < size:
            more = await loop.sock_recv(sock, size - len(got))
            if not more:
                break
            got += more
    return bytes(got)


async def is_ended(sock: socket.socket) -> bool:
    """Nothing more comes, whether it was closed or reset."""
    try:
        return await receive(sock, 1) == b""
    except ConnectionResetError:
        return True


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def produce(correlation: int, size: int = 20, topic: str = "t") -> bytes:
    parts = [{"index": 0, "records": batch([b"x" * size])}]
    return request(0, 9, correlation, {"acks": 1, "timeout_ms": 1,
                                       "topic_data": [{"name": topic, "partition_data": parts}]})


def produced(correlation: int) -> bytes:
    parts = [{"index": 0, "error_code": 0, "base_offset": correlation}]
    return response(0, 9, correlation, {"responses": [{"name": "t", "partition_responses": parts}]})


def fetch(correlation: int) -> bytes:
    return request(1, 11, correlation, {"replica_id": -1, "max_wait_ms": 1, "min_bytes": 1, "session_epoch": -1,
                                        "topics": [{"topic": "t", "partitions": [{"partition": 0}]}]})


def fetched(correlation: int, size: int = 20) -> bytes:
    part = {"partition_index": 0, "error_code": 0, "high_watermark": 1, "records": batch([b"x" * size])}
    return response(1, 11, correlation, {"responses": [{"topic": "t", "partitions": [part]}]})


@on_uvloop
async def test_the_wire_moves_the_bytes_and_the_transport_none():
    async with serving() as node:
        shell, client, broker = await node.connect()
        asked = b"".join(produce(n, size) for n, size in enumerate((10, 70_000, 3, 300_000, MIB, 5), 1))
        sending = asyncio.ensure_future(node.loop.sock_sendall(client, asked))
        assert await receive(broker, len(asked)) == asked
        await sending
        answers = b"".join(produced(n) for n in range(1, 7))
        await node.loop.sock_sendall(broker, answers)
        assert await receive(client, len(answers)) == answers
        assert not shell.half.transport.is_reading() and not shell.half.broker.transport.is_reading()
        assert shell.half.session.slots.count == 0


@on_uvloop
async def test_a_broker_that_reads_nothing_stops_its_client_and_gets_everything_later():
    async with serving() as node:
        shell, client, broker = await node.connect()
        asked = b"".join(produce(n, 900_000) for n in range(1, 41))
        sending = asyncio.ensure_future(node.loop.sock_sendall(client, asked))
        await until(lambda: shell.half.broker.queued() > MIB)
        assert not sending.done() and shell.half.broker.queued() < 4 * MIB
        assert await receive(broker, len(asked)) == asked
        await sending
        await until(lambda: shell.half.broker.queued() == 0)


async def with_queue(node: Node) -> tuple[Shell, socket.socket, socket.socket, bytes]:
    """A client that was sent more than the kernel takes, and has read nothing of it."""
    shell, client, broker = await node.connect()
    await node.loop.sock_sendall(client, b"".join(fetch(n) for n in range(1, 31)))
    assert len(await receive(broker, 30 * len(fetch(1)))) == 30 * len(fetch(1))
    answers = b"".join(fetched(n, 900_000) for n in range(1, 31))
    node.tasks.append(asyncio.ensure_future(node.loop.sock_sendall(broker, answers)))
    await until(lambda: shell.half.queued() > MIB)
    return shell, client, broker, answers


@on_uvloop
async def test_a_client_that_reads_slowly_is_queued_for_within_bounds():
    async with serving() as node:
        shell, client, _, answers = await with_queue(node)
        assert not node.tasks[-1].done()
        assert shell.half.queued() < 4 * MIB
        assert await receive(client, len(answers)) == answers
        await until(lambda: shell.half.queued() == 0)


@on_uvloop
async def test_what_is_queued_leaves_before_a_closed_connection_does():
    async with serving() as node:
        shell, client, broker, answers = await with_queue(node)
        shell.half.close("drained")
        assert shell.half.queued() > MIB
        got = await receive(client, len(answers))
        assert len(got) > MIB and answers.startswith(got)
        assert await is_ended(client) and await is_ended(broker)
        await until(lambda: shell.ended == 1)
        assert shell.half.session.cause == "drained" and shell.half.queued() == 0


@pytest.mark.parametrize("how", ["abort", "cut"])
@on_uvloop
async def test_what_is_queued_is_dropped_with_an_aborted_connection(how: str):
    async with serving() as node:
        shell, client, broker, answers = await with_queue(node)
        shell.half.abort() if how == "abort" else shell.half.cut("session_expired")
        assert shell.half.queued() == 0
        assert len(await receive(client, len(answers))) < len(answers)
        assert await is_ended(broker)
        await until(lambda: shell.ended == 1)


@on_uvloop
async def test_a_client_that_resets_takes_its_queue_with_it():
    async with serving() as node:
        shell, client, broker, _ = await with_queue(node)
        reset(client)
        await until(lambda: shell.ended == 1)
        assert shell.half.queued() == 0 and shell.half.session.cause in ("client_closed", "broker_closed")
        node.tasks[-1].cancel()
        assert await is_ended(broker)


@on_uvloop
async def test_what_a_client_sent_before_its_end_still_reaches_the_broker():
    async with serving() as node:
        shell, client, broker = await node.connect()
        await node.loop.sock_sendall(client, produce(1, 30_000))
        client.shutdown(socket.SHUT_WR)
        assert await receive(broker, len(produce(1, 30_000))) == produce(1, 30_000)
        assert await is_ended(broker) and await is_ended(client)
        await until(lambda: shell.ended == 1)
        assert shell.half.session.cause == "client_closed"


@on_uvloop
async def test_what_a_broker_answered_before_its_end_still_reaches_the_client():
    async with serving() as node:
        shell, client, broker = await node.connect()
        await node.loop.sock_sendall(client, produce(1))
        assert await receive(broker, len(produce(1))) == produce(1)
        await node.loop.sock_sendall(broker, produced(1))
        broker.close()
        assert await receive(client, len(produced(1))) == produced(1)
        assert await is_ended(client)
        await until(lambda: shell.ended == 1)
        assert shell.half.session.cause == "broker_closed"


@pytest.mark.parametrize("side", ["client", "broker"])
@on_uvloop
async def test_a_reset_ends_both_connections(side: str):
    async with serving() as node:
        shell, client, broker = await node.connect()
        gone, left = (client, broker) if side == "client" else (broker, client)
        reset(gone)
        assert await is_ended(left)
        await until(lambda: shell.ended == 1)
        assert shell.half.session.cause == f"{side}_closed"


@on_uvloop
async def test_bytes_whose_notes_cannot_be_written_stay_here():
    async with serving() as node:
        shell, client, broker = await node.connect()
        node.spool.broken = True
        await node.loop.sock_sendall(client, produce(1))
        assert await is_ended(broker) and await is_ended(client)
        assert shell.half.session.cause == "audit_unavailable"


@on_uvloop
async def test_a_session_that_fails_costs_its_neighbours_nothing():
    async with serving() as node:
        first, client, _ = await node.connect()
        second, other, broker = await node.connect()
        await node.loop.sock_sendall(client, produce(1, topic="boom"))
        await node.loop.sock_sendall(other, produce(1))
        assert await receive(broker, len(produce(1))) == produce(1)
        assert await is_ended(client)
        assert [str(error) for error in first.failures] == ["the policy fell over"]
        assert first.half.session.cause == "internal" and second.half.session.cause is None


@on_uvloop
async def test_a_flood_on_one_connection_lets_others_through():
    async with serving() as node:
        _, client, broker = await node.connect()
        _, other, beside = await node.connect()
        frame = produce(1, 900_000)
        flood = asyncio.ensure_future(node.loop.sock_sendall(client, frame * 120))
        assert await receive(broker, len(frame)) == frame
        sink = asyncio.ensure_future(receive(broker, 119 * len(frame)))
        await node.loop.sock_sendall(other, produce(2))
        assert await receive(beside, len(produce(2))) == produce(2)
        assert not flood.done()
        assert len(await sink) == 119 * len(frame)


@on_uvloop
async def test_connections_come_and_go_on_the_same_descriptors():
    async with serving() as node:
        for turn in range(60):
            _, client, broker = await node.connect()
            await node.loop.sock_sendall(client, produce(1, turn))
            assert await receive(broker, len(produce(1, turn))) == produce(1, turn)
            reset(client) if turn % 2 else client.close()
            assert await is_ended(broker)
            broker.close()
        await until(lambda: all(shell.ended == 1 for shell in node.shells))
        assert {shell.half.session.cause for shell in node.shells} == {"client_closed"}


@pytest.mark.parametrize("sent", range(10))
def test_a_lane_gives_what_was_not_sent_yet(sent: int):
    parts = [b"abc", memoryview(b"xdefx")[1:4], bytearray(b"ghi")]
    assert b"".join(chunk.lane_parts(parts, sent)) == b"abcdefghi"[sent:]
