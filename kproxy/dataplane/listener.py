"""The listening sockets of a worker: per listener one for bootstrap and one for every broker that may be advertised.

Every worker binds the same addresses with SO_REUSEPORT, and the kernel spreads connections over them.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import structlog

from kproxy.errors import KproxyError
from kproxy.model.settings import Listener

log = structlog.get_logger("kproxy.listener")

#: Kafka's own backlog is 50; a node restart brings every client back at once. The kernel's somaxconn cuts it.
BACKLOG = 4096

Accept = Callable[[Listener, "int | None"], Any]
#: (listener's name, protocol) → the protocol the socket gets: the same, or TLS before it.
Wrap = Callable[[str, Any], Any]


class CannotListen(KproxyError):
    """An address of a listener is taken or not ours."""


def plan_ports(listener: Listener) -> list[tuple[int, int | None]]:
    """(port, broker it stands for), the bootstrap port first with None."""
    advertise = listener.advertise
    brokers = range(advertise.first_broker, advertise.last_broker + 1)
    return [(listener.port, None),
            *((advertise.first_port + node - advertise.first_broker, node) for node in brokers)]


def open_socket(host: str, port: int) -> socket.socket:
    """Bound and shared with the other workers, not listening yet. Raises CannotListen."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM,
                                                                flags=socket.AI_PASSIVE)[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise CannotListen(f"cannot listen on {host}:{port}: {error.strerror}") from None
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setblocking(False)
        sock.bind(address)
    except OSError as error:
        sock.close()
        raise CannotListen(f"cannot listen on {host}:{port}: {error.strerror}") from None
    return sock


class Listeners:
    """Opens and closes all sockets of a worker together."""

    def __init__(self, listeners: dict[str, Listener], accept: Accept,
                 wrap: Wrap = lambda _, protocol: protocol) -> None:
        self._listeners = listeners
        self._accept = accept
        self._wrap = wrap
        self._servers: list[asyncio.Server] = []

    async def open(self) -> None:
        """All or none: a node with half its ports would look healthy and lose clients. Raises CannotListen."""
        bound: list[tuple[Listener, int | None, socket.socket]] = []
        try:
            for listener in self._listeners.values():
                for port, node in plan_ports(listener):
                    bound.append((listener, node, open_socket(listener.host, port)))
        except CannotListen:
            for _, _, sock in bound:
                sock.close()
            raise
        loop = asyncio.get_running_loop()
        for listener, node, sock in bound:
            factory = self._factory(listener, node)
            self._servers.append(await loop.create_server(factory, sock=sock, backlog=BACKLOG))
        for listener in self._listeners.values():
            log.info("listening", listener=listener.name, address=f"{listener.host}:{listener.port}",
                     count=len(plan_ports(listener)))

    def close(self) -> None:
        """No more connections are accepted; those that are open live on."""
        for server in self._servers:
            server.close()
        self._servers = []

    def _factory(self, listener: Listener, node: int | None) -> Callable[[], Any]:
        return lambda: self._wrap(listener.name, self._accept(listener, node))
