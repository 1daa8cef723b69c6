"""The listening sockets of a worker: per listener one for bootstrap and one for every broker that may be advertised.

Every worker has sockets of its own at the same addresses with SO_REUSEPORT, and the kernel spreads connections over
them. The supervisor opens them and each worker inherits its set: what waits in a socket's queue while its worker dies
or is replaced is served by the next one there, instead of being reset.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
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


def plan_sockets(listeners: Mapping[str, Listener]) -> list[tuple[Listener, int, int | None]]:
    """(listener, port, broker it stands for) of every socket of a worker, in the order they are handed on."""
    return [(listener, port, node) for listener in listeners.values() for port, node in plan_ports(listener)]


def open_sockets(listeners: Mapping[str, Listener]) -> list[socket.socket]:
    """Those of ``plan_sockets``, bound. All or none: a node with half its ports would look healthy and lose clients.
    Raises CannotListen."""
    bound: list[socket.socket] = []
    try:
        for listener, port, _ in plan_sockets(listeners):
            bound.append(open_socket(listener.host, port))
    except CannotListen:
        close_sockets(bound)
        raise
    return bound


def close_sockets(sockets: Iterable[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def stop_listening(sockets: Iterable[socket.socket]) -> None:
    """In every process that shares them: the kernel sends clients to other workers, until somebody listens again."""
    for sock in sockets:
        with suppress(OSError):     # Nobody listened on it.
            sock.shutdown(socket.SHUT_RDWR)


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
    """Opens and closes all sockets of a worker together. ``inherited``: descriptors in the order of ``plan_sockets``;
    without them it opens its own."""

    def __init__(self, listeners: dict[str, Listener], accept: Accept,
                 wrap: Wrap = lambda _, protocol: protocol, inherited: Sequence[int] = ()) -> None:
        self._listeners = listeners
        self._accept = accept
        self._wrap = wrap
        self._inherited = tuple(inherited)
        self._sockets: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []

    async def open(self) -> None:
        """Raises CannotListen."""
        plan = plan_sockets(self._listeners)
        if self._inherited:
            self._sockets = [socket.socket(fileno=descriptor) for descriptor in self._inherited]
        else:
            self._sockets = open_sockets(self._listeners)
        loop = asyncio.get_running_loop()
        for (listener, _, node), sock in zip(plan, self._sockets, strict=True):
            # The loop closes what it is given; ours stays, to be shut down.
            self._servers.append(await loop.create_server(self._factory(listener, node), sock=sock.dup(),
                                                          backlog=BACKLOG))
        for listener in self._listeners.values():
            log.info("listening", listener=listener.name, address=f"{listener.host}:{listener.port}",
                     count=len(plan_ports(listener)))

    def close(self, *, hand_over: bool = False) -> None:
        """No more connections are accepted here; those that are open live on. With ``hand_over`` the sockets go on
        listening, for the worker that takes this one's place."""
        for server in self._servers:
            server.close()
        if not hand_over:
            stop_listening(self._sockets)
        close_sockets(self._sockets)
        self._servers, self._sockets = [], []

    def _factory(self, listener: Listener, node: int | None) -> Callable[[], Any]:
        return lambda: self._wrap(listener.name, self._accept(listener, node))
