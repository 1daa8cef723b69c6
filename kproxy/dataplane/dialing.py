"""Opening a connection to a broker: every address of its name in turn, then TLS with the name that was meant.

A failure is a BrokerUnreachable whose ``cause`` is a fixed word and whose text says what to look at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from kproxy._ext.tls import TlsLink
from kproxy._ext.tls_context import TlsContext
from kproxy.errors import BrokerUnreachable, CloseCause

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
    handshake."""

    def __init__(self, tls: Callable[[], TlsContext | None], *, timeout: float, clock: Callable[[], float],
                 on_error: Callable[[str], None]) -> None:
        self._tls = tls
        self._timeout = timeout
        self._clock = clock
        self._on_error = on_error
        self._suspects: dict[tuple[str, int], float] = {}

    async def connect(self, factory: Callable[[], Any], host: str, port: int) -> tuple[Any, Any]:
        """(transport, protocol). The name is looked up anew each time; addresses that failed lately come last, and one
        that does not answer may not use up the time of all. Raises BrokerUnreachable with the first address's problem.
        """
        addresses = await self._look_up(host, port)
        share = self._timeout / len(addresses)
        problem: BrokerUnreachable | None = None
        for address in addresses:
            try:
                opened = await self._try(factory, host, address, port, share)
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

    async def _try(self, factory: Callable[[], Any], host: str, address: str, port: int,
                   seconds: float) -> tuple[Any, Any]:
        context = self._tls()
        where = f"{host}:{port}"
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                if context is None:
                    return await loop.create_connection(factory, address, port)
                return await self._secure(context, factory, host, address, port, seconds)
        except TimeoutError:
            raise BrokerUnreachable(f"{where}: no answer within {seconds:g} s", "connect_timeout") from None
        except OSError as error:
            raise BrokerUnreachable(f"{where}: {error.strerror or error}") from None

    async def _secure(self, context: TlsContext, factory: Callable[[], Any], host: str, address: str, port: int,
                      seconds: float) -> tuple[Any, Any]:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()

        def on_failed(cause: str, detail: str) -> None:
            name, advice = _MEANT.get(cause, (cause, "TLS broke"))
            if ready.done():
                # In TLS 1.3 a broker may refuse our certificate when we think that all is done.
                log.error("broker_tls_failed", address=f"{host}:{port}", cause=name, reason=f"{advice} ({detail})")
                self._on_error(name)
                link.close()
            else:
                ready.set_exception(BrokerUnreachable(f"{host}:{port}: {advice} ({detail})", name))

        inner = factory()
        try:
            link = TlsLink(context, inner, loop, seconds, on_failed, lambda: ready.set_result(None), host)
        except ValueError as error:
            raise BrokerUnreachable(f"{host}:{port}: {error}", "tls_hostname_mismatch") from None
        try:
            await loop.create_connection(lambda: link, address, port)  # type: ignore[type-var]
            await ready
        except BaseException:
            if link.transport is not None:
                link.abort()
            raise
        return link, inner
