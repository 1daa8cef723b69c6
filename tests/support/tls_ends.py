"""The TLS link between a wire and a protocol that are both in memory, and Python's own TLS as its other side."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from kproxy._ext.tls import TlsLink
from kproxy._ext.tls_context import TlsContext


class Loop:
    """Timers that a test fires itself."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.cancelled = 0

    def call_soon(self, call: Callable[[], None]) -> None:
        self.soon.append(call)

    def call_later(self, seconds: float, call: Callable[[], None]) -> Loop:
        self.timers.append((seconds, call))
        return self

    def cancel(self) -> None:
        self.cancelled += 1


class Wire:
    """A transport that keeps what it is given."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.writes = 0
        self.closed = self.paused = False

    def write(self, data: bytes) -> None:
        self.sent += data
        self.writes += 1

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class Inner:
    """A protocol with a small buffer, so that what arrives needs it several times."""

    def __init__(self, room: int = 1000) -> None:
        self.buffer = bytearray(room)
        self.got = bytearray()
        self.transport: TlsLink | None = None
        self.events: list[str] = []
        self.on_data: Callable[[], None] = lambda: None

    def connection_made(self, transport: TlsLink) -> None:
        self.transport = transport
        self.events.append("made")

    def get_buffer(self, _: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, count: int) -> None:
        self.got += self.buffer[:count]
        self.on_data()

    def eof_received(self) -> bool:
        self.events.append("eof")
        return False

    def connection_lost(self, _: Exception | None) -> None:
        self.events.append("lost")


class Ends:
    """Our link against Python's ``ssl``; ``settle`` carries bytes to and fro until both are silent.
    ``name`` is what Python's client asks for, None nothing."""

    def __init__(self, context: TlsContext, other: ssl.SSLContext, *, host: str = "", piece: int = 1 << 20,
                 room: int = 1000, name: str | None = "kafka.test", session: ssl.SSLSession | None = None) -> None:
        self.inner, self.wire, self.loop = Inner(room), Wire(), Loop()
        self.failures: list[tuple[str, str]] = []
        self.readies = 0
        self.link = TlsLink(context, self.inner, self.loop, 5.0, lambda *why: self.failures.append(why),
                            self._on_ready, host)
        self.piece = piece
        self.into, self.out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.other = other.wrap_bio(self.into, self.out, server_side=not context.server,
                                    server_hostname=name if context.server else None, session=session)
        self.error: ssl.SSLError | None = None
        self.link.connection_made(self.wire)

    def _on_ready(self) -> None:
        self.readies += 1

    def give(self, data: bytes) -> None:
        """Bytes from the wire to our side, in pieces."""
        for at in range(0, len(data), self.piece):
            piece = data[at : at + self.piece]
            for start in range(0, len(piece), 100_000):
                part = piece[start : start + 100_000]
                self.link.get_buffer(-1)[: len(part)] = part
                self.link.buffer_updated(len(part))

    def settle(self) -> Ends:
        shaking = True
        while True:
            if shaking and self.error is None:
                try:
                    self.other.do_handshake()
                    shaking = False
                except ssl.SSLWantReadError:
                    pass
                except ssl.SSLError as error:
                    self.error = error
            moved = self.out.pending or self.wire.sent
            if not moved:
                return self
            self.give(self.out.read())
            self.into.write(bytes(self.wire.sent))
            self.wire.sent.clear()

    def read_other(self) -> bytes:
        found = b""
        while True:
            try:
                piece = self.other.read(1 << 20)
            except ssl.SSLWantReadError:
                return found
            if not piece:
                return found
            found += piece
