"""Listening sockets: one per broker that may be advertised, shared by workers, all or none."""

from __future__ import annotations

import asyncio
import socket

import pytest

from kproxy.dataplane.listener import CannotListen, Listeners, open_socket, plan_ports
from kproxy.model.settings import Advertise, Listener
from tests.support.ports import accepts, free_port_run, free_ports


def listener(name: str, port: int, first: int, brokers: int = 3) -> Listener:
    return Listener(name, "prod", "127.0.0.1", port, Advertise("localhost", 5, 4 + brokers, first), ("none",))


class Accepted(asyncio.Protocol):
    """Hangs up."""

    def connection_made(self, transport) -> None:
        transport.close()


async def knock(port: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()


async def test_each_broker_has_its_port_and_bootstrap_none():
    first = free_port_run(4)
    seen: list[tuple[str, int | None]] = []

    def accept(of: Listener, node: int | None) -> Accepted:
        seen.append((of.name, node))
        return Accepted()

    one = listener("public", first, first + 1)
    listeners = Listeners({"public": one}, accept)
    await listeners.open()
    for port in range(first, first + 4):
        await knock(port)
    async with asyncio.timeout(5):
        while len(seen) < 4:
            await asyncio.sleep(0.005)
    assert seen == [("public", None), ("public", 5), ("public", 6), ("public", 7)]
    listeners.close()
    async with asyncio.timeout(5):
        while any(accepts("127.0.0.1", port) for port in range(first, first + 4)):
            await asyncio.sleep(0.005)


def test_ports_of_a_listener():
    assert plan_ports(listener("public", 9092, 9100, 2)) == [(9092, None), (9100, 5), (9101, 6)]


async def test_a_taken_port_opens_nothing():
    first = free_port_run(4)
    taken = socket.socket()
    taken.bind(("127.0.0.1", first + 2))
    taken.listen()
    listeners = Listeners({"public": listener("public", first, first + 1)}, lambda *_: Accepted())
    with pytest.raises(CannotListen, match=rf"cannot listen on 127\.0\.0\.1:{first + 2}: Address already in use"):
        await listeners.open()
    assert not accepts("127.0.0.1", first)
    taken.close()


def test_workers_share_a_port():
    (port,) = free_ports(1)
    one, other = open_socket("127.0.0.1", port), open_socket("127.0.0.1", port)
    assert one.getsockname() == other.getsockname() == ("127.0.0.1", port)
    one.close()
    other.close()


def test_a_name_that_is_not_ours_is_one_clear_line():
    with pytest.raises(CannotListen, match=r"cannot listen on 203\.0\.113\.7:9092: Cannot assign"):
        open_socket("203.0.113.7", 9092)
