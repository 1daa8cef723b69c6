"""PROXY headers towards brokers: first on every connection, before TLS, and naming nobody on kproxy's own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from kproxy._ext.tls_context import TlsContext
from kproxy.dataplane.cluster_view import ClusterView
from kproxy.dataplane.dialing import Dialer
from kproxy.dataplane.proxy_header import Header, build_header, read_header
from kproxy.errors import BrokerUnreachable
from kproxy.model.settings import Cluster, Credential
from tests.support.certificates import Authority
from tests.support.scripted_broker import ScriptedBroker
from tests.support.world import on_uvloop

TOLD = (("203.0.113.7", 51034), ("192.0.2.1", 9092))
VERSIONS = pytest.mark.parametrize("version", ["v1", "v2"])


class Door:
    """What stands before a broker and reads headers: keeps each, and passes on what follows. ``behind`` None: only
    looks, and hangs up."""

    def __init__(self, behind: int | None) -> None:
        self.headers: list[Header] = []
        self.first: list[bytes] = []
        self.port = 0
        self._behind = behind

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received = await reader.read(1 << 16)
        while (header := read_header(received)) is None or len(received) == header.size:
            received += await reader.read(1 << 16)
        self.headers.append(header)
        self.first.append(received[header.size:])
        if self._behind is None:
            writer.transport.abort()
            return
        answers, onward = await asyncio.open_connection("127.0.0.1", self._behind)
        onward.write(received[header.size:])
        await asyncio.gather(self._relay(reader, onward), self._relay(answers, writer))

    @staticmethod
    async def _relay(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while piece := await source.read(1 << 16):
                target.write(piece)
        target.transport.abort()


@asynccontextmanager
async def door(behind: int | None) -> AsyncIterator[Door]:
    one = Door(behind)
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    one.port = server.sockets[0].getsockname()[1]
    try:
        yield one
    finally:
        server.close()


@VERSIONS
@on_uvloop
async def test_a_clients_connection_names_it_and_kproxys_own_name_nobody(version):
    async with ScriptedBroker(users={"svc": "pw"}) as broker, door(broker.port) as one:
        broker.brokers = {1: ("127.0.0.1", one.port)}
        cluster = Cluster("prod", (("127.0.0.1", one.port),), (Credential("PLAIN", username="svc", password="pw"),),
                          proxy_protocol=version)
        view = ClusterView(cluster, timeout=10.0, max_bytes=1 << 20, clock=lambda: 1000.0, random=lambda: 0.0,
                           on_error=lambda *labels: None)
        await view.refresh()
        await view.versions(1)
        transport, _ = await view.connect(asyncio.Protocol, 1, TOLD)
        transport.write(b"\0\0\0\0")
        async with asyncio.timeout(20):
            while len(one.headers) < 3:
                await asyncio.sleep(0.01)
        assert [header.client for header in one.headers] == [None, None, TOLD[0]]
        assert [header.reached for header in one.headers] == [None, None, TOLD[1]]
        assert one.headers[2].size == len(build_header(version, TOLD))
        assert {asked.api_key for asked in broker.asked} == {18, 17, 36, 3}, "what followed was Kafka"
        transport.abort()
        view.close()


@VERSIONS
@on_uvloop
async def test_it_comes_before_the_first_byte_of_tls(version):
    async with door(None) as one:
        context = TlsContext(False, authorities=Authority().pem)
        dialer = Dialer(lambda: context, timeout=10.0, clock=lambda: 1000.0, on_error=lambda cause: None,
                        proxy_protocol=version)
        with pytest.raises(BrokerUnreachable):
            await dialer.connect(asyncio.Protocol, "localhost", one.port, TOLD)
        assert [header.client for header in one.headers] == [TOLD[0]]
        assert one.first[0][:3] == b"\x16\x03\x01", "a ClientHello, and nothing between"


@on_uvloop
async def test_without_the_setting_nothing_is_sent():
    heard = asyncio.Event()
    received = []

    async def listen(reader, writer):
        received.append(await reader.read(100))
        heard.set()
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    dialer = Dialer(lambda: None, timeout=10.0, clock=lambda: 1000.0, on_error=lambda cause: None)
    transport, _ = await dialer.connect(asyncio.Protocol, "127.0.0.1", server.sockets[0].getsockname()[1], TOLD)
    transport.write(b"kafka")
    async with asyncio.timeout(20):
        await heard.wait()
    assert received == [b"kafka"]
    server.close()


@on_uvloop
async def test_nobody_there_is_told_as_without_a_header():
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    dialer = Dialer(lambda: None, timeout=10.0, clock=lambda: 1000.0, on_error=lambda cause: None, proxy_protocol="v2")
    with pytest.raises(BrokerUnreachable) as refused:
        await dialer.connect(asyncio.Protocol, "127.0.0.1", port, TOLD)
    assert refused.value.cause == "broker_unreachable"
