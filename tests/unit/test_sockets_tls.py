"""TLS over real sockets: the wire moves its bytes too, and what ends a connection is still told."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl

import pytest

from kproxy._ext.quota import Budgets, SharedQuotas, Tally
from kproxy._ext.tls_context import TlsContext
from tests.support.bare_node import (
    MIB,
    Node,
    Shell,
    bare_socket,
    fetch,
    fetched,
    is_ended,
    produce,
    produced,
    receive,
    serving,
)
from tests.support.certificates import Authority
from tests.support.frames import request
from tests.support.scripted_control import until
from tests.support.world import on_uvloop

OURS = Authority("ours")
SERVER = OURS.issue("server", ("kafka.test",))
CONTEXT = TlsContext(True, certificates=SERVER[0], key=SERVER[1], authorities=b"", client_auth="none")
#: As short as requests are.
METADATA = request(3, 0, 2, {"topics": []}, client_id=None)
BOTH = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


class TlsClient:
    """Python's own TLS over a bare socket. ``ended`` is "" until the other side has: "farewell", or "cut" without."""

    def __init__(self, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> None:
        context = ssl.create_default_context(cadata=OURS.pem.decode())
        context.minimum_version = context.maximum_version = version
        self.socket = bare_socket()
        self.into, self.out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.into, self.out, server_hostname="kafka.test")
        self.ended = ""

    async def connect(self, port: int) -> None:
        await asyncio.get_running_loop().sock_connect(self.socket, ("127.0.0.1", port))
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.flush()
                await self.hear()
            else:
                return await self.flush()

    async def flush(self) -> None:
        await asyncio.get_running_loop().sock_sendall(self.socket, self.out.read())

    async def hear(self) -> bool:
        data = await asyncio.get_running_loop().sock_recv(self.socket, 1 << 16)
        self.into.write(data) if data else self.into.write_eof()
        return bool(data)

    async def send(self, data: bytes) -> None:
        self.tls.write(data)
        await self.flush()

    async def receive(self, size: int) -> bytes:
        got = bytearray()
        async with asyncio.timeout(20):
            while len(got) < size and not self.ended:
                try:
                    piece = self.tls.read(size - len(got))
                except ssl.SSLWantReadError:
                    if not await self.hear():
                        self.ended = "cut"
                except ssl.SSLEOFError:
                    self.ended = "cut"
                else:
                    got += piece
                    self.ended = "" if piece else "farewell"
        return bytes(got)


async def connect(node: Node, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> tuple[
        Shell, TlsClient, socket.socket]:
    """See Node.connect."""
    client = TlsClient(version)
    await client.connect(node.port)
    await client.send(fetch(0))
    broker, _ = await node.loop.sock_accept(node.broker)
    assert await receive(broker, len(fetch(0))) == fetch(0)
    await node.loop.sock_sendall(broker, fetched(0))
    assert await client.receive(len(fetched(0))) == fetched(0)
    return node.shells[-1], client, broker


@pytest.mark.parametrize("version", BOTH)
@on_uvloop
async def test_the_wire_moves_the_bytes_and_the_transport_none(version: ssl.TLSVersion):
    async with serving(CONTEXT) as node:
        shell, client, broker = await connect(node, version)
        asked = b"".join(produce(n, size) for n, size in enumerate((10, 70_000, 3, 300_000, MIB, 5, 16_384), 1))
        sending = asyncio.ensure_future(client.send(asked))
        assert await receive(broker, len(asked)) == asked
        await sending
        answers = b"".join(produced(n) for n in range(1, 8)) + b"".join(fetched(n, n * 30_011) for n in range(8, 30))
        await client.send(b"".join(fetch(n) for n in range(8, 30)))
        assert len(await receive(broker, 22 * len(fetch(8)))) == 22 * len(fetch(8))
        answering = asyncio.ensure_future(node.loop.sock_sendall(broker, answers))
        assert await client.receive(len(answers)) == answers
        await answering
        assert not shell.half.transport.transport.is_reading() and not shell.half.broker.transport.is_reading()
        assert shell.half.session.slots.count == 0


@on_uvloop
async def test_a_record_in_pieces_is_put_together():
    async with serving(CONTEXT) as node:
        _, client, broker = await connect(node)
        client.tls.write(produce(1, 20_000))
        ciphertext = client.out.read()
        for at in range(0, len(ciphertext), 1500):
            await node.loop.sock_sendall(client.socket, ciphertext[at : at + 1500])
            await asyncio.sleep(0)
        assert await receive(broker, len(produce(1, 20_000))) == produce(1, 20_000)


@on_uvloop
async def test_a_broker_that_reads_nothing_stops_its_client_and_gets_everything_later():
    async with serving(CONTEXT) as node:
        shell, client, broker = await connect(node)
        asked = b"".join(produce(n, 900_000) for n in range(1, 41))
        sending = asyncio.ensure_future(client.send(asked))
        await until(lambda: shell.half.broker.queued() > MIB)
        assert not sending.done() and shell.half.broker.queued() < 4 * MIB
        assert await receive(broker, len(asked)) == asked
        await sending
        await until(lambda: shell.half.broker.queued() == 0)


async def with_queue(node: Node) -> tuple[Shell, TlsClient, socket.socket, bytes]:
    """A client that was sent more than the kernel takes, and has read nothing of it."""
    shell, client, broker = await connect(node)
    await client.send(b"".join(fetch(n) for n in range(1, 31)))
    assert len(await receive(broker, 30 * len(fetch(1)))) == 30 * len(fetch(1))
    answers = b"".join(fetched(n, 900_000) for n in range(1, 31))
    node.tasks.append(asyncio.ensure_future(node.loop.sock_sendall(broker, answers)))
    await until(lambda: shell.half.queued() > MIB)
    return shell, client, broker, answers


@on_uvloop
async def test_a_client_that_reads_slowly_is_queued_for_within_bounds():
    async with serving(CONTEXT) as node:
        shell, client, _, answers = await with_queue(node)
        assert not node.tasks[-1].done() and shell.half.queued() < 4 * MIB
        assert await client.receive(len(answers)) == answers
        await until(lambda: shell.half.queued() == 0)


@on_uvloop
async def test_what_is_queued_and_a_farewell_leave_before_a_closed_connection_does():
    async with serving(CONTEXT) as node:
        shell, client, broker, answers = await with_queue(node)
        shell.half.close("drained")
        got = await client.receive(len(answers))
        assert len(got) > MIB and answers.startswith(got) and client.ended == "farewell"
        assert await is_ended(broker)
        await until(lambda: shell.ended == 1)
        assert shell.half.session.cause == "drained" and shell.half.queued() == 0


@pytest.mark.parametrize("how", ["abort", "cut"])
@on_uvloop
async def test_what_is_queued_is_dropped_with_an_aborted_connection(how: str):
    async with serving(CONTEXT) as node:
        shell, client, broker, answers = await with_queue(node)
        shell.half.abort() if how == "abort" else shell.half.cut("session_expired")
        assert shell.half.queued() == 0
        with contextlib.suppress(ConnectionResetError):
            assert len(await client.receive(len(answers))) < len(answers)
        assert client.ended != "farewell" and await is_ended(broker)
        await until(lambda: shell.ended == 1)


@on_uvloop
async def test_a_harmed_record_ends_both_connections_by_its_cause():
    """The good one before it, in the same read, is served."""
    async with serving(CONTEXT) as node:
        shell, client, broker = await connect(node)
        client.tls.write(produce(1))
        client.tls.write(produce(2))
        harmed = bytearray(client.out.read())
        harmed[-1] ^= 1
        await node.loop.sock_sendall(client.socket, harmed)
        assert await receive(broker, 2 * len(produce(1))) in (produce(1), b"")
        await until(lambda: shell.ended == 1)
        assert shell.half.session.cause == "tls_broken"
        with pytest.raises(ssl.SSLError, match=r"(?i)bad.record.mac"):
            await client.receive(1)


@on_uvloop
async def test_a_farewell_behind_the_last_request_is_seen_with_it():
    async with serving(CONTEXT) as node:
        shell, client, broker = await connect(node)
        client.tls.write(produce(1, 30_000))
        with pytest.raises(ssl.SSLWantReadError):
            client.tls.unwrap()
        await client.flush()
        assert await receive(broker, len(produce(1, 30_000))) == produce(1, 30_000)
        await until(lambda: shell.ended == 1)
        assert shell.half.session.cause == "client_closed" and await is_ended(broker)


@pytest.mark.parametrize("version", BOTH)
@pytest.mark.parametrize("farewell", [True, False])
@on_uvloop
async def test_a_client_that_leaves_while_a_quota_makes_it_wait_is_let_go(version: ssl.TLSVersion, farewell: bool):
    async with serving(CONTEXT) as node:
        shell, client, broker = await connect(node, version)
        shell.half.session.budgets = Budgets(SharedQuotas(), [(1, Tally("r"), 1, 0, 0)])
        await client.send(produce(1))
        assert await receive(broker, len(produce(1))) == produce(1)
        assert shell.half.session.muted
        if farewell:
            with pytest.raises(ssl.SSLWantReadError):
                client.tls.unwrap()
            await client.flush()
        client.socket.close()
        await until(lambda: shell.ended == 1)
        assert shell.half.session.cause == "client_closed" and shell.half.mute_timer is None


@pytest.mark.parametrize("version", BOTH)
@on_uvloop
async def test_what_a_client_wrote_before_it_left_is_taken_when_the_wait_is_over(version: ssl.TLSVersion):
    async with serving(CONTEXT) as node:
        shell, client, broker = await connect(node, version)
        shell.half.session.budgets = Budgets(SharedQuotas(), [(1, Tally("r"), 1, 0, 0)])
        await client.send(produce(1))
        assert await receive(broker, len(produce(1))) == produce(1)
        await client.send(METADATA)
        client.socket.close()
        await connect(node)
        assert shell.ended == 0, "whatever else came, this was seen before"
        shell.half.unmute()
        assert await receive(broker, len(METADATA)) == METADATA
        await until(lambda: shell.ended == 1)
