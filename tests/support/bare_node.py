"""A session between two bare sockets of the test: real wires, with nothing of a node around them."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from kproxy._ext.ledger import Counters, Ledger
from kproxy._ext.login import Promise, advertised
from kproxy._ext.opening import Addresses
from kproxy._ext.protocol import ClientHalf, Turn
from kproxy._ext.session import Epoch, Session
from kproxy._ext.tls import TlsLink
from kproxy._ext.tls_context import TlsContext
from kproxy.model.access import Facts, Principal, Verdict
from tests.support.frames import batch, request, response

PROMISE = Promise(advertised({0: (0, 12), 1: (4, 12), 3: (0, 12)}))
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
        self.half.session.resume_broker(PROMISE, 1.0)
        self.half.resumed()

    def failed(self, half: ClientHalf, error: Exception) -> None:
        self.failures.append(error)

    def closed(self, half: ClientHalf) -> None:
        self.ended += 1


class Node:
    """What stands between clients and a broker. ``tls`` is spoken with clients."""

    def __init__(self, tls: TlsContext | None = None) -> None:
        self.tls = tls
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

    def accept(self) -> Any:
        shell = Shell(self)
        session = Session(len(self.shells) + 1, (), Addresses("h", 0, 9, 9100), self.decide, Epoch(1), self.ledger,
                          Counters("l"), lambda *told: None, FACTS)
        session.resume_versions(PROMISE)
        shell.half = ClientHalf(session, shell, self.turn, 64 * MIB, 16 * MIB)
        self.shells.append(shell)
        if self.tls is None:
            return shell.half
        return TlsLink(self.tls, shell.half, self.loop, 5.0, lambda cause, _: shell.half.close(cause),
                       shell.half.secured)

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
async def serving(tls: TlsContext | None = None) -> AsyncIterator[Node]:
    node = Node(tls)
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
