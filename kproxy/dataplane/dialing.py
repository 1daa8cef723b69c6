"""Opening a connection to a broker: every address of its name in turn, then TLS with the name that was meant.

A failure is a BrokerUnreachable whose ``cause`` is a fixed word and whose text says what to look at.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import structlog

from kproxy._ext.tls import TlsLink
from kproxy._ext.tls_context import TlsContext
from kproxy.dataplane.proxy_header import Ends, build_header
from kproxy.errors import BrokerUnreachable, CloseCause
from kproxy.model.settings import ProxyVersion

log = structlog.get_logger("kproxy.upstream")

#: An address that did not answer is tried after the others for this long.
SUSPECT_SECONDS = 30.0

#: Cause of a failed handshake → what it is called on this side, and what its text ends with.
_MEANT = {
    CloseCause.PLAINTEXT_ON_TLS.value: ("broker_speaks_plaintext",
                                        "the broker does not speak TLS at this port; see the cluster's tls"),
    CloseCause.TLS_HANDSHAKE_FAILED.value: ("tls_handshake_failed", "does the broker speak TLS at this port?"),
    CloseCause.TLS_REFUSED_BY_PEER.value: ("tls_refused_by_broker",
                                           "the broker refused our certificate or versions; see the cluster's tls"),
    "tls_untrusted": ("tls_untrusted", "no authority of the cluster's tls.ca vouches for the broker's certificate"),
    "tls_hostname_mismatch": ("tls_hostname_mismatch", "the broker's certificate is for another name"),
    "tls_certificate_ended": ("tls_certificate_ended", "the broker's certificate has ended or not begun"),
}


class Dialer:
    """``tls`` gives the context in force, None for plaintext. ``timeout`` in seconds is for one connection with its
    handshake, all addresses together; ``clock`` is monotonic. ``on_error(cause)`` counts what fails after the
    handshake. With ``proxy_protocol`` a connection begins with a header of that version, in plaintext."""

    def __init__(self, tls: Callable[[], TlsContext | None], *, timeout: float, clock: Callable[[], float],
                 on_error: Callable[[str], None], proxy_protocol: ProxyVersion | None = None) -> None:
        self._tls = tls
        self._timeout = timeout
        self._clock = clock
        self._on_error = on_error
        self._proxy_protocol = proxy_protocol
        self._suspects: dict[tuple[str, int], float] = {}

    async def connect(self, factory: Callable[[], Any], host: str, port: int,
                      told: Ends | None = None) -> tuple[Any, Any]:
        """(transport, protocol); ``told``: on whose behalf, where a header is to say it. The name is looked up anew
        each time; addresses that failed lately come last, and one that does not answer may not use up the time of all.
        Raises BrokerUnreachable with the first address's problem."""
        addresses = await self._look_up(host, port)
        share = self._timeout / len(addresses)
        header = build_header(self._proxy_protocol, told) if self._proxy_protocol is not None else b""
        problem: BrokerUnreachable | None = None
        for address in addresses:
            try:
                opened = await self._try(factory, host, (address, port), header, share)
            except BrokerUnreachable as error:
                self._suspects[address, port] = self._clock() + SUSPECT_SECONDS
                problem = problem or error
            else:
                self._suspects.pop((address, port), None)
                return opened
        assert problem is not None
        raise problem

    async def _look_up(self, host: str, port: int) -> list[str]:
        try:
            async with asyncio.timeout(self._timeout):
                found = await asyncio.get_running_loop().getaddrinfo(host, port, type=1)  # SOCK_STREAM
        except (OSError, TimeoutError) as error:
            raise BrokerUnreachable(f"{host} is not a known name: {error}", "name_not_found") from None
        now = self._clock()
        self._suspects = {one: until for one, until in self._suspects.items() if until > now}
        addresses = dict.fromkeys(str(entry[4][0]) for entry in found)
        return sorted(addresses, key=lambda address: (address, port) in self._suspects)

    async def _try(self, factory: Callable[[], Any], host: str, address: tuple[str, int], header: bytes,
                   seconds: float) -> tuple[Any, Any]:
        context = self._tls()
        where = f"{host}:{address[1]}"
        try:
            async with asyncio.timeout(seconds):
                if context is None:
                    return await _open(factory, address, header)
                return await self._secure(context, factory, host, address, header, seconds)
        except TimeoutError:
            raise BrokerUnreachable(f"{where}: no answer within {seconds:g} s", "connect_timeout") from None
        except OSError as error:
            raise BrokerUnreachable(f"{where}: {error.strerror or error}") from None

    async def _secure(self, context: TlsContext, factory: Callable[[], Any], host: str, address: tuple[str, int],
                      header: bytes, seconds: float) -> tuple[Any, Any]:
        where = f"{host}:{address[1]}"
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()

        def on_failed(cause: str, detail: str) -> None:
            name, advice = _MEANT.get(cause, (cause, "TLS broke"))
            if ready.done():
                # In TLS 1.3 a broker may refuse our certificate when we think that all is done.
                log.error("broker_tls_failed", address=where, cause=name, reason=f"{advice} ({detail})")
                self._on_error(name)
                link.close()
            else:
                ready.set_exception(BrokerUnreachable(f"{where}: {advice} ({detail})", name))

        inner = factory()
        try:
            link = TlsLink(context, inner, loop, seconds, on_failed, lambda: ready.set_result(None), host)
        except ValueError as error:
            raise BrokerUnreachable(f"{where}: {error}", "tls_hostname_mismatch") from None
        try:
            await _open(lambda: link, address, header)
            await ready
        except BaseException:
            if link.transport is not None:
                link.abort()
            raise
        return link, inner


async def _open(factory: Callable[[], Any], address: tuple[str, int], header: bytes) -> tuple[Any, Any]:
    """(transport, protocol). A header must be gone before the protocol knows of its transport: it writes at once."""
    loop = asyncio.get_running_loop()
    if not header:
        return await loop.create_connection(factory, *address)
    sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await loop.sock_connect(sock, address)
        await loop.sock_sendall(sock, header)
        return await loop.create_connection(factory, sock=sock)
    except BaseException:
        sock.close()
        raise
