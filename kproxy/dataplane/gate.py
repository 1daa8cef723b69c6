"""The gate before a listener that balancers stand in front of: the PROXY protocol's header, then everything else.

A gate reads the header of one accepted connection, from trusted networks only, and steps aside: the connection's
protocol is made when it is known whose it is, is told of the connection then, and gets what came behind the header.
What never gets so far is no connection yet, so gates have a deadline, a count and causes of closing of their own.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable
from typing import Any, Final

from kproxy.dataplane.connections import Connections
from kproxy.dataplane.proxy_header import LONGEST_BLOCK, Header, HeaderRefused, read_header
from kproxy.errors import CloseCause
from kproxy.model.settings import Config, Listener

#: A balancer sends its header with the first segment; one that needs longer has lost it.
HEADER_SECONDS: Final = 5.0
#: Room for the usual header; one with more behind the addresses gets LONGEST_BLOCK.
USUAL_ROOM: Final = 256

#: (listener's name, protocol) → the protocol the socket gets: the same, or TLS before it.
Wrap = Callable[[str, Any], Any]


class Gates:
    """Makes the protocol of each accepted socket. ``connections`` counts what stands at the gates and what ends there;
    ``now`` gives Unix seconds."""

    def __init__(self, config: Config, connections: Connections, wrap: Wrap = lambda _, half: half, *,
                 loop: asyncio.AbstractEventLoop, now: Callable[[], float]) -> None:
        self.loop = loop
        self.now = now
        self.connections = connections
        self._config = config
        self._wrap = wrap
        self._trusted = {name: tuple(map(ipaddress.ip_network, one.proxy_protocol.trusted))
                         for name, one in config.listeners.items() if one.proxy_protocol is not None}

    @property
    def seconds(self) -> float:
        """What a header may take."""
        return min(HEADER_SECONDS, self._config.limits.login_timeout)

    @property
    def is_full(self) -> bool:
        return self.connections.count > self._config.limits.max_connections

    def accept(self, listener: Listener, node: int | None) -> Any:
        """The protocol factory of a listening socket; ``node`` as in Connections.accept."""
        return self.build(listener, node, None) if listener.proxy_protocol is None else Gate(self, listener, node)

    def build(self, listener: Listener, node: int | None, header: Header | None) -> Any:
        return self._wrap(listener.name, self.connections.accept(listener, node, header))

    def trusts(self, listener: Listener, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._trusted[listener.name])


class Gate(asyncio.BufferedProtocol):
    """One connection whose header is not whole yet. A balancer that speaks for itself stays here until it says more:
    its checks say nothing and leave, many times a minute at every port, and need neither TLS nor a line in the log."""

    def __init__(self, gates: Gates, listener: Listener, node: int | None) -> None:
        self.listener = listener
        self.address = ""
        self.came_at = gates.now()
        self._gates = gates
        self._node = node
        self._room = bytearray(USUAL_ROOM)
        self._filled = 0
        self._is_whole = False
        self._transport: Any = None
        self._seconds = gates.seconds
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        gates = self._gates
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if peer else ""
        gates.connections.at_gates.add(self)
        if peer is None:
            # Reset before it was accepted, as some balancers end their checks: there is nobody left to distrust.
            self.close(CloseCause.CLIENT_CLOSED)
        elif gates.is_full:
            self.close(CloseCause.TOO_MANY_CONNECTIONS)
        elif not gates.trusts(self.listener, self.address):
            self.close(CloseCause.PROXY_UNTRUSTED, "its network is not among the trusted ones")
        else:
            self._deadline = gates.loop.call_later(self._seconds, self._late)

    def get_buffer(self, _hint: int) -> memoryview:
        return memoryview(self._room)[self._filled:]

    def buffer_updated(self, count: int) -> None:
        self._filled += count
        if self not in self._gates.connections.at_gates:
            return      # Closed, and this was on its way.
        received = bytes(memoryview(self._room)[:self._filled])
        try:
            header = read_header(received)
        except HeaderRefused as refused:
            self.close(refused.cause, str(refused))
            return
        if header is not None and (header.client is not None or len(received) > header.size):
            self._step_aside(header, received[header.size:])
            return
        self._is_whole = header is not None
        if self._filled == len(self._room):
            # A longer room for the next read; this one is still the transport's.
            self._room = self._room + bytes(LONGEST_BLOCK)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, _error: Exception | None) -> None:
        self._leave(CloseCause.CLIENT_CLOSED)

    def close(self, cause: CloseCause, reason: str = "") -> None:
        """Ends the connection with nothing said: who speaks no PROXY protocol would not understand, and who does is a
        balancer."""
        self._leave(cause, reason)
        self._transport.abort()

    def _late(self) -> None:
        if self._is_whole:
            self.close(CloseCause.LOGIN_TIMEOUT)
            return
        self.close(CloseCause.PROXY_HEADER_TIMEOUT, f"{self._filled} bytes within {self._seconds:g} s")

    def _leave(self, cause: CloseCause, reason: str = "") -> None:
        if self not in self._gates.connections.at_gates:
            return
        self._forget()
        self._gates.connections.note_close(str(cause), listener=self.listener.name, address=self.address,
                                           **({"reason": reason} if reason else {}))

    def _forget(self) -> None:
        self._gates.connections.at_gates.discard(self)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _step_aside(self, header: Header, rest: bytes) -> None:
        transport = self._transport
        self._forget()
        protocol = self._gates.build(self.listener, self._node, header)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if rest and not transport.is_closing():
            # In one piece: from its first bytes on the connection may read its socket itself.
            room = memoryview(protocol.get_buffer(len(rest))).cast("B")
            room[:len(rest)] = rest
            room.release()
            protocol.buffer_updated(len(rest))
