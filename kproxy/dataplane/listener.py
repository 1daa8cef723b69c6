"""The listening sockets of a worker: per listener one for bootstrap and, unless brokers are told apart by
name, one for every broker that may be advertised.

Every worker has sockets of its own at the same addresses, with SO_REUSEPORT, and the kernel spreads connections over
them. The supervisor opens them (kproxy/dataplane/launches.py), so that they outlive the worker.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import structlog

from kproxy.errors import KproxyError
from kproxy.model.settings import AdvertiseNames, Listener

log = structlog.get_logger("kproxy.listener")

#: Kafka's own backlog is 50; a node restart brings every client back at once. The kernel's somaxconn cuts it.
BACKLOG = 4096

#: (listener, the broker the port stands for, None for bootstrap) → the protocol of an accepted socket.
Accept = Callable[[Listener, "int | None"], Any]


class CannotListen(KproxyError):
    """An address of a listener is taken or not ours."""


def plan_ports(listener: Listener) -> list[tuple[int, int | None]]:
    """(port, broker it stands for), the bootstrap port first with None. Where brokers have names it is the only one."""
    advertise = listener.advertise
    if isinstance(advertise, AdvertiseNames):
        return [(listener.port, None)]
    brokers = range(advertise.first_broker, advertise.last_broker + 1)
    return [(listener.port, None),
            *((advertise.first_port + node - advertise.first_broker, node) for node in brokers)]


def open_socket(host: str, port: int, *, shared: bool = True) -> socket.socket:
    """Bound, not listening yet, and ``shared`` with the other workers. Raises CannotListen."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM,
                                                                flags=socket.AI_PASSIVE)[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise CannotListen(f"cannot listen on {host}:{port}: {error.strerror}") from None
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shared)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setblocking(False)
        sock.bind(address)
    except OSError as error:
        sock.close()
        raise CannotListen(f"cannot listen on {host}:{port}: {error.strerror}") from None
    return sock


def refuse_taken(addresses: Iterable[tuple[str, int]]) -> None:
    """Raises CannotListen where somebody listens already. A second node could share the ports of a first, by
    SO_REUSEPORT, and would be given some of its clients."""
    for host, port in addresses:
        open_socket(host, port, shared=False).close()


def open_all(addresses: Iterable[tuple[str, int]]) -> list[socket.socket]:
    """Every one of them or none. Raises CannotListen."""
    opened: list[socket.socket] = []
    try:
        for host, port in addresses:
            opened.append(open_socket(host, port))
    except CannotListen:
        for sock in opened:
            sock.close()
        raise
    return opened


def shut(sock: socket.socket) -> None:
    """Ends listening in every process that shares the socket; it stays bound, and may listen again."""
    with suppress(OSError):  # It did not listen.
        sock.shutdown(socket.SHUT_RDWR)


class Listeners:
    """Opens and closes all sockets of a worker together. ``inherited``: those of the listeners in their order, bound
    already; without them it opens its own."""

    def __init__(self, listeners: dict[str, Listener], accept: Accept,
                 inherited: list[socket.socket] | None = None) -> None:
        self._listeners = listeners
        self._accept = accept
        self._sockets = inherited
        self._servers: list[asyncio.Server] = []

    async def open(self) -> None:
        """All or none: a node with half its ports would look healthy and lose clients. Raises CannotListen."""
        places = [(listener, port, node) for listener in self._listeners.values()
                  for port, node in plan_ports(listener)]
        if self._sockets is None:
            self._sockets = open_all([(listener.host, port) for listener, port, _ in places])
        elif len(self._sockets) != len(places):
            raise CannotListen(f"{len(places)} sockets are needed and {len(self._sockets)} were handed over")
        loop = asyncio.get_running_loop()
        for (listener, _, node), sock in zip(places, self._sockets, strict=True):
            self._servers.append(await loop.create_server(self._factory(listener, node), sock=sock, backlog=BACKLOG))
        for listener in self._listeners.values():
            log.info("listening", listener=listener.name, address=f"{listener.host}:{listener.port}",
                     count=len(plan_ports(listener)))

    def close(self, *, leave: bool = False) -> None:
        """No more connections are accepted here; those that are open live on. With ``leave`` the sockets go on
        listening for whoever else has them; without, they stop for everybody."""
        for sock in [] if leave else self._sockets or []:
            shut(sock)
        for server in self._servers:
            server.close()
        self._servers, self._sockets = [], None

    def _factory(self, listener: Listener, node: int | None) -> Callable[[], Any]:
        return lambda: self._accept(listener, node)
