"""A listener behind a balancer, over real sockets: whose the connection is, and what never becomes one."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import time
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.dataplane.connections import NEW_SECONDS
from kproxy.dataplane.gate import Gates
from kproxy.dataplane.proxy_header import SIGNATURE, Header, build_header
from kproxy.dataplane.stats import Stats
from kproxy.dataplane.tls import Certificates
from kproxy.errors import CloseCause
from kproxy.model.settings import Limits, ListenerTls, ProxyProtocol
from tests.support import frames
from tests.support.async_client import API_VERSIONS, RawClient
from tests.support.certificates import Authority
from tests.support.scripted_control import until
from tests.support.world import LISTENER, on_uvloop, serving

BEHIND = msgspec.structs.replace(LISTENER, proxy_protocol=ProxyProtocol(("127.0.0.0/8",)))
CLIENT, REACHED = ("203.0.113.7", 51034), ("192.0.2.1", 9092)
HEADER = build_header("v2", (CLIENT, REACHED))
#: With a value of 400 bytes behind the addresses.
LONG = SIGNATURE + b"\x21\x11" + struct.pack("!H", 12 + 3 + 400) + HEADER[16:] + b"\xea\x01\x90" + bytes(400)


@asynccontextmanager
async def behind(listener=BEHIND, wrap=lambda _, half: half):
    async with serving(listener, wrap) as (world, connections):
        world.open("token", "broker", "versions")
        yield world, connections


class Inner:
    """What stands behind a gate: keeps what it is told."""

    def __init__(self) -> None:
        self.transport = None
        self.got = b""
        self._room = bytearray(16384)

    def connection_made(self, transport) -> None:
        self.transport = transport

    def get_buffer(self, hint: int) -> bytearray:
        return self._room

    def buffer_updated(self, count: int) -> None:
        self.got += self._room[:count]


class Wire:
    """A transport that hands over what a test says, in pieces."""

    def __init__(self, gates: Gates, peer: tuple[str, int] | None = ("127.0.0.1", 40000)) -> None:
        self._peer = peer
        self.protocol = gates.accept(BEHIND, 3)
        self.aborted = False
        self.protocol.connection_made(self)

    def get_extra_info(self, name: str):
        return self._peer if name == "peername" else None

    def set_protocol(self, protocol) -> None:
        self.protocol = protocol

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True

    def bring(self, data: bytes) -> None:
        while data and not self.aborted:
            room = self.protocol.get_buffer(-1)
            piece, data = data[:len(room)], data[len(room):]
            room[:len(piece)] = piece
            self.protocol.buffer_updated(len(piece))


class Counting:
    """The connections of a worker as gates see them."""

    def __init__(self) -> None:
        self.at_gates: set = set()
        self.made: list = []
        self.closes: list[str] = []
        self.inner = Inner()

    @property
    def count(self) -> int:
        return len(self.at_gates) + len(self.made)

    def accept(self, listener, node, header) -> Inner:
        self.made.append((listener.name, node, header))
        return self.inner

    def note_close(self, cause: str, **who: str) -> None:
        self.closes.append(cause)


async def gates_of(connections: Counting) -> Gates:
    config = SimpleNamespace(limits=Limits(), listeners={BEHIND.name: BEHIND})
    return Gates(config, connections, loop=asyncio.get_running_loop(), now=time.time)  # type: ignore[arg-type]


@pytest.mark.parametrize("header", [HEADER, build_header("v1", (CLIENT, REACHED)), LONG], ids=["v2", "v1", "long"])
async def test_wherever_the_stream_is_cut_the_rest_goes_to_the_connection(header: bytes):
    whole = header + b"\x16\x03\x01 and what follows"
    for cut in range(len(whole) + 1):
        connections = Counting()
        wire = Wire(await gates_of(connections))
        wire.bring(whole[:cut])
        assert [made[:2] for made in connections.made] == ([("public", 3)] if cut >= len(header) else [])
        wire.bring(whole[cut:])
        assert connections.made[0][2].client == CLIENT and connections.made[0][2].reached == REACHED
        assert connections.inner.transport is wire and wire.protocol is connections.inner
        assert connections.inner.got == b"\x16\x03\x01 and what follows"
        assert not connections.at_gates and not connections.closes


@pytest.mark.parametrize("header", [
    build_header("v2", None), b"PROXY UNKNOWN\r\n", SIGNATURE + b"\x20\0\x0f\xf0" + bytes(4080)])
async def test_a_balancers_check_never_becomes_a_connection(header: bytes):
    connections = Counting()
    wire = Wire(await gates_of(connections))
    wire.bring(header)
    assert not connections.made and connections.count == 1
    wire.protocol.connection_lost(None)
    assert not connections.made and connections.closes == ["client_closed"]
    speaking = Wire(await gates_of(connections))
    speaking.bring(header)
    speaking.bring(b"\x16")
    assert connections.made[0][2] == Header(len(header)) and connections.inner.got == b"\x16"


async def test_who_was_gone_before_it_was_accepted_is_nobody_to_distrust():
    connections = Counting()
    wire = Wire(await gates_of(connections), None)
    assert connections.closes == ["client_closed"] and wire.aborted and connections.count == 0


async def test_byte_by_byte():
    connections = Counting()
    wire = Wire(await gates_of(connections))
    for octet in LONG + b"behind":
        wire.bring(bytes((octet,)))
    assert connections.inner.got == b"behind" and connections.made[0][2].size == len(LONG)


@given(st.lists(st.one_of(st.binary(max_size=40), st.sampled_from(
    (b"PROXY ", b"TCP4 ", SIGNATURE, b"\x21\x11\0\x0c", b"\r\n"))), max_size=12))
def test_whatever_comes_is_let_in_whole_or_not_at_all(pieces: list[bytes]):
    async def run() -> None:
        connections = Counting()
        wire = Wire(await gates_of(connections))
        for piece in pieces:
            wire.bring(piece)
        if not connections.made:
            wire.protocol.connection_lost(None)
        if connections.made:
            assert connections.inner.got == b"".join(pieces)[connections.made[0][2].size:] and not connections.closes
        else:
            assert connections.closes in (["client_closed"], ["proxy_header_missing"], ["proxy_header_malformed"])
            assert wire.aborted == (connections.closes != ["client_closed"])
        assert not connections.at_gates

    asyncio.run(run())


@pytest.mark.parametrize("header", [HEADER, build_header("v1", (CLIENT, REACHED)), LONG], ids=["v2", "v1", "long"])
@on_uvloop
async def test_the_client_is_who_the_header_says(header: bytes):
    async with behind() as (world, connections):
        client = await RawClient.connect(world.port)
        client._writer.write(header[:20])
        await until(lambda: [gate._filled for gate in connections.at_gates] == [20])
        client._writer.write(header[20:] + frames.request(API_VERSIONS, 0, 1, {}))
        assert (await client._reader.readexactly(8))[4:] == struct.pack("!i", 1), "the answer to the first request"
        (connection,) = connections.open.values()
        assert (connection.address, connection.via) == (CLIENT[0], "127.0.0.1")
        assert connection.view(0).address == CLIENT[0]
        assert not connections.at_gates
        client.close()


@on_uvloop
async def test_it_is_audited_and_so_is_the_balancer():
    async with behind() as (world, _):
        seen = []

        async def validate(mechanism, payload, listener, client):
            seen.append(client.address)
            return world.facts

        world.validate = validate
        client = await RawClient.connect(world.port)
        client._writer.write(HEADER)
        assert (await client.log_in("token"))["error_code"] == 0
        assert seen == [CLIENT[0]], "what conditions on client.address see"
        await until(lambda: world.ends == [(CLIENT, REACHED)])
        assert [fields["details"]["via"] for kind, fields in world.told if kind == "connect"] == ["127.0.0.1"]
        client.close()


@pytest.mark.parametrize("header", [build_header("v2", None), b"PROXY UNKNOWN\r\n"])
@on_uvloop
async def test_a_balancer_that_speaks_for_itself_is_itself(header: bytes):
    async with behind() as (world, connections):
        client = await RawClient.connect(world.port)
        client._writer.write(header)
        assert (await client.log_in("token"))["error_code"] == 0
        (connection,) = connections.open.values()
        assert (connection.address, connection.via) == ("127.0.0.1", "")
        own = client._writer.get_extra_info("sockname")
        await until(lambda: world.ends == [(own, ("127.0.0.1", world.port))])
        assert all("via" not in fields["details"] for kind, fields in world.told if kind == "connect")
        client.close()


@on_uvloop
async def test_tls_begins_behind_the_header_in_the_same_segment(tmp_path: Path):
    authority = Authority()
    cert, key = authority.write(tmp_path, "kproxy")
    listener = msgspec.structs.replace(BEHIND, tls=ListenerTls(str(cert), str(key)))
    certificates = Certificates(SimpleNamespace(  # type: ignore[arg-type]
        listeners={listener.name: listener}, clusters={}, limits=Limits()), now=time.time)
    async with behind(listener, certificates.wrap) as (world, connections):

        def shake_hands(plain: socket.socket) -> bytes:
            context = ssl.create_default_context(cadata=authority.pem.decode())
            came, going = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = context.wrap_bio(came, going, server_hostname="localhost")
            header = HEADER
            plain.settimeout(20)
            for step in (tls.do_handshake, lambda: tls.write(frames.request(API_VERSIONS, 0, 1, {})),
                         lambda: tls.read(8)):
                while True:
                    try:
                        done = step()
                        break
                    except ssl.SSLWantReadError:
                        plain.sendall(header + going.read())
                        header = b""
                        came.write(plain.recv(65536))
                plain.sendall(going.read())
            return done

        with socket.create_connection(("127.0.0.1", world.port)) as plain:
            answer = await asyncio.to_thread(shake_hands, plain)
            assert answer[4:] == struct.pack("!i", 1)
            (connection,) = connections.open.values()
            assert connection.address == CLIENT[0]


def states(connections) -> dict[str, int]:
    return {labels[1]: count for labels, count in Stats(0).collect(connections)["kproxy_connections"]}


@on_uvloop
async def test_what_waits_for_its_header_is_counted_and_limited():
    async with behind() as (world, connections):
        world.config.limits = Limits(max_connections=2)
        waiting = [await RawClient.connect(world.port) for _ in range(2)]
        await until(lambda: states(connections) == {"header": 2})
        assert await (await RawClient.connect(world.port)).closed()
        assert connections.closes == {"too_many_connections": 1}
        waiting[0].close()
        await until(lambda: states(connections) == {"header": 1})
        assert connections.closes == {"too_many_connections": 1, "client_closed": 1}
        waiting[1]._writer.write(HEADER)
        await until(lambda: states(connections) == {"login": 1})
        waiting[1].close()


@on_uvloop
async def test_a_client_that_is_told_off_at_the_limit_behind_its_header():
    async with behind() as (world, connections):
        first, second = await RawClient.connect(world.port), await RawClient.connect(world.port)
        await until(lambda: states(connections) == {"header": 2})
        world.config.limits = Limits(max_connections=1)
        first._writer.write(HEADER + frames.request(API_VERSIONS, 0, 1, {}))
        assert await first.closed()
        assert connections.closes == {"too_many_connections": 1}
        second.close()


@on_uvloop
async def test_a_balancer_that_says_who_it_is_and_no_more():
    async with behind() as (world, connections):
        world.config.limits = Limits(login_timeout=0.2)
        client = await RawClient.connect(world.port)
        client._writer.write(build_header("v2", None))
        assert await client.closed()
        assert connections.closes == {"login_timeout": 1}


@on_uvloop
async def test_a_drain_leaves_new_ones_alone_at_first():
    async with behind() as (world, connections):
        client = await RawClient.connect(world.port)
        await until(lambda: connections.at_gates)
        connections.drain(patient=True)
        assert connections.count == 1
        world.clock = lambda: 1_800_000_000.0 + NEW_SECONDS
        connections.drain(patient=True)
        assert connections.count == 0
        assert await client.closed()
        assert connections.closes == {str(CloseCause.DRAINED): 1}


@on_uvloop
async def test_bytes_that_come_with_a_refusal_are_nobodys():
    async with behind() as (world, connections):
        client = await RawClient.connect(world.port)
        client._writer.write(b"GET / HTTP/1.1\r\nHost: kproxy\r\n\r\n" * 100)
        await until(lambda: connections.closes == {"proxy_header_missing": 1})
        assert not connections.open and not connections.at_gates
        assert world.asked == []
        client.close()
