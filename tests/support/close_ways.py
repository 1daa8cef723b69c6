"""Ways to have a connection closed, by their causes: the table, and those that come about before Kafka is spoken.

tests/unit/test_close_causes.py has the others, and has each of them happen.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
import pytest

from kproxy.dataplane.connections import Connections
from kproxy.errors import CloseCause
from kproxy.model.settings import AdvertiseNames, Limits, Listener, ProxyProtocol
from tests.support import frames
from tests.support.async_client import API_VERSIONS, RawClient
from tests.support.certificates import Authority
from tests.support.scripted_control import until
from tests.support.world import LISTENER, World

AUTHORITY = Authority()
Make = Callable[[World, Connections], Awaitable[None]]


class Way(NamedTuple):
    """How a cause comes about. ``tls``: a listener with certificates, asking clients for theirs as it says."""

    make: Make
    listener: Listener = LISTENER
    tls: str = ""
    broker: Mapping[str, Any] = MappingProxyType({})


WAYS: dict[str, Way] = {}


def by(cause: CloseCause, listener: Listener = LISTENER, tls: str = "", **broker: Any) -> Callable[[Make], Make]:
    def note(make: Make) -> Make:
        assert cause not in WAYS
        WAYS[str(cause)] = Way(make, listener, tls, broker)
        return make

    return note


async def connected(world: World, *first: bytes) -> RawClient:
    client = await RawClient.connect(world.port)
    for piece in first:
        client._writer.write(piece)
    return client


def send(first: bytes) -> Make:
    async def make(world: World, connections: Connections) -> None:
        await connected(world, first)

    return make


# -- behind a balancer -------------------------------------------------------------------------------------------------

BEHIND = msgspec.structs.replace(LISTENER, proxy_protocol=ProxyProtocol(("127.0.0.0/8",)))
ELSEWHERE = msgspec.structs.replace(LISTENER, proxy_protocol=ProxyProtocol(("10.0.0.0/8", "fd00::/8")))

by(CloseCause.PROXY_HEADER_MISSING, BEHIND)(send(frames.request(18, 0, 1, {})))
by(CloseCause.PROXY_HEADER_MALFORMED, BEHIND)(send(b"PROXY TCP4 127.0.0.1 127.0.0.1 0001 9092\r\n"))
by(CloseCause.PROXY_UNTRUSTED, ELSEWHERE)(send(b"PROXY TCP4 10.0.0.1 10.0.0.2 1 9092\r\n"))


@by(CloseCause.PROXY_HEADER_TIMEOUT, BEHIND)
async def stall_within_the_header(world: World, connections: Connections) -> None:
    world.config.limits = Limits(login_timeout=0.2)
    assert await (await connected(world, b"PROXY TCP4 ")).closed()


# -- TLS ---------------------------------------------------------------------------------------------------------------


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cadata=AUTHORITY.pem.decode())


async def shake_hands(world: World, context: ssl.SSLContext) -> RawClient:
    return RawClient(*await asyncio.open_connection("127.0.0.1", world.port, ssl=context))


@by(CloseCause.TLS_HANDSHAKE_FAILED, tls="none")
async def leave_within_the_handshake(world: World, connections: Connections) -> None:
    client = await connected(world, b"\x16\x03\x01")
    await until(lambda: connections.open)
    client._writer.write_eof()
    assert await client.closed()


@by(CloseCause.TLS_HANDSHAKE_TIMEOUT, tls="none")
async def stall_within_the_handshake(world: World, connections: Connections) -> None:
    assert await (await connected(world, b"\x16\x03\x01")).closed()


@by(CloseCause.TLS_CLIENT_CERTIFICATE, tls="required")
async def show_no_certificate(world: World, connections: Connections) -> None:
    client = await shake_hands(world, trusting())
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await client.closed()


@by(CloseCause.TLS_REFUSED_BY_PEER, tls="none")
async def trust_another_authority(world: World, connections: Connections) -> None:
    def try_it() -> None:
        # The event loop's own TLS goes away without the alert that says why.
        strange = ssl.create_default_context(cadata=Authority("strange").pem.decode())
        with socket.create_connection(("127.0.0.1", world.port)) as plain, pytest.raises(ssl.SSLCertVerificationError):
            strange.wrap_socket(plain, server_hostname="localhost")

    await asyncio.to_thread(try_it)


NAMED = msgspec.structs.replace(LISTENER, advertise=AdvertiseNames("b{node}.kafka.test", "kafka.test", 9092))


async def name(world: World, server: str) -> None:
    def try_it() -> None:
        context = trusting()
        context.check_hostname = False
        with (socket.create_connection(("127.0.0.1", world.port)) as plain,
              pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME")):
            context.wrap_socket(plain, server_hostname=server or None)

    await asyncio.to_thread(try_it)


@by(CloseCause.SERVER_NAME_MISSING, NAMED, tls="none")
async def name_no_server(world: World, connections: Connections) -> None:
    await name(world, "")


@by(CloseCause.SERVER_NAME_UNKNOWN, NAMED, tls="none")
async def name_another_server(world: World, connections: Connections) -> None:
    await name(world, "b7.kafka.example.com")


@by(CloseCause.TLS_BROKEN, tls="none")
async def send_a_damaged_record(world: World, connections: Connections) -> None:
    client = await shake_hands(world, trusting())
    await client.ask(API_VERSIONS, 0, {})
    damaged = b"\x17\x03\x03\x00\x20" + bytes(32)
    assert os.write(client._writer.get_extra_info("socket").fileno(), damaged) == len(damaged)
