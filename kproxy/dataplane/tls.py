"""The TLS contexts of a worker, made of the files that its configuration names and made again when those change.

A pair that cannot be used leaves the one before it in force, loudly: a log line, and the metric
``kproxy_certificate_reload_successful``. Connections that are open keep what they began with.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from typing import Any

import structlog

from kproxy._ext.tls import TlsLink
from kproxy._ext.tls_context import TlsContext
from kproxy.certificates import CertificateProblem, read_authorities, read_chain
from kproxy.dataplane.server_names import ServerNames, names_of
from kproxy.errors import KproxyError
from kproxy.logs import PerMinute
from kproxy.model.settings import BrokerTls, Config, ListenerTls

log = structlog.get_logger("kproxy.tls")

#: How often the files are looked at. Mounted secrets are swapped by links, which no watch of a file sees.
LOOK_SECONDS = 2.0
#: A client that says nothing after it connected, or too slowly, is gone after this.
HANDSHAKE_SECONDS = 10.0
#: Failed handshakes that are told one by one within a minute; the metric counts each.
MOST_TOLD = 60


class CannotSecure(KproxyError):
    """Certificates that a worker cannot start with."""


class Secured:
    """The context of one listener or cluster. ``use`` is its label in metrics and logs; ``names`` are those of a
    listener that tells brokers apart by them."""

    def __init__(self, use: str, tls: ListenerTls | BrokerTls, names: ServerNames | None = None) -> None:
        self.use = use
        self.names = names
        self.context: TlsContext
        self.ends: dict[str, float] = {}
        self.is_good = True
        self._tls = tls
        self._seen: tuple[Any, ...] = ()
        self._doubted: tuple[Any, ...] = ()

    def start(self, now: float) -> None:
        """The first context. A certificate that has ended is taken all the same: refusing to serve would help nobody
        who still trusts it. Raises CannotSecure."""
        seen = self._look()
        try:
            self._take(now, seen, is_first=True)
        except (OSError, CertificateProblem, ValueError) as problem:
            raise CannotSecure(f"TLS of {self.use} cannot be set up: {problem}") from None

    def look(self, now: float, *, asked: bool = False) -> None:
        """Takes changed files into force. Two files are not replaced in one step, so what cannot be used is complained
        of when it has stood for a second look, or at once where somebody ``asked``."""
        seen = self._look()
        if seen == self._seen:
            return
        try:
            self._take(now, seen, is_first=False)
            log.info("certificate_taken", kind=self.use)
        except (OSError, CertificateProblem, ValueError) as problem:
            if seen == self._doubted or asked:
                self._seen = seen
                self.is_good = False
                log.error("certificate_refused", kind=self.use, problem=f"{problem}; the one before stays in force")
            self._doubted = seen

    def _files(self) -> Iterator[str]:
        authorities = self._tls.client_ca if isinstance(self._tls, ListenerTls) else self._tls.ca
        yield from (path for path in (self._tls.cert, self._tls.key, authorities) if path)

    def _look(self) -> tuple[Any, ...]:
        """What changes when any of the files does."""
        found: list[Any] = []
        for path in self._files():
            try:
                state = os.stat(path)
                found.append((state.st_mtime_ns, state.st_size, state.st_ino))
            except OSError as error:
                found.append(error.errno)
        return tuple(found)

    def _take(self, now: float, seen: tuple[Any, ...], *, is_first: bool) -> None:
        tls, ends = self._tls, {}
        checked_at = None if is_first else now
        certificates = key = b""
        if tls.cert:
            certificates, key = _read(tls.cert), _read(tls.key)
            ends[self.use] = read_chain(certificates, key, checked_at).ends
        if isinstance(tls, ListenerTls):
            authorities: bytes | None = _read(tls.client_ca) if tls.client_ca else b""
            client_auth = tls.client_auth
        else:
            authorities, client_auth = _read(tls.ca) if tls.ca else None, "none"
        if authorities:
            ends[f"{self.use}:ca"] = read_authorities(authorities, checked_at)
        self.context = TlsContext(isinstance(tls, ListenerTls), certificates=certificates, key=key,
                                  authorities=authorities, client_auth=client_auth,
                                  find_place=None if self.names is None else self.names.find)
        self.ends, self._seen, self.is_good = ends, seen, True
        for use, end in ends.items():
            if end <= now:
                log.error("certificate_ended", kind=use, seconds=now - end)


class Certificates:
    """All of a worker. ``now`` gives Unix seconds. Raises CannotSecure."""

    def __init__(self, config: Config, *, now: Callable[[], float]) -> None:
        self._now = now
        self._listeners = {name: Secured(f"listener:{name}", one.tls, names_of(one))
                           for name, one in config.listeners.items() if one.tls is not None}
        self._clusters = {name: Secured(f"cluster:{name}", one.tls)
                          for name, one in config.clusters.items() if one.tls is not None}
        self._all = [*self._listeners.values(), *self._clusters.values()]
        self._asked = asyncio.Event()
        self._handshake_seconds = min(HANDSHAKE_SECONDS, config.limits.login_timeout)
        self._told = PerMinute(MOST_TOLD)
        for one in self._all:
            one.start(now())

    def cluster(self, name: str) -> TlsContext | None:
        """For connections to its brokers; None where they speak plaintext."""
        secured = self._clusters.get(name)
        return secured.context if secured is not None else None

    def wrap(self, listener: str, half: Any) -> Any:
        """The protocol for an accepted socket: ``half`` itself, or TLS before it."""
        secured = self._listeners.get(listener)
        if secured is None:
            return half

        def on_failed(cause: str, detail: str) -> None:
            if self._told.admits(self._now()):
                log.warning("tls_failed", listener=listener, address=half.shell.address, cause=cause, reason=detail)
            half.close(cause)

        def on_named() -> None:
            half.shell.node = link.records.place
            half.secured()

        on_ready = half.secured if secured.names is None else on_named
        link = TlsLink(secured.context, half, asyncio.get_running_loop(), self._handshake_seconds, on_failed, on_ready)
        return link

    def look_now(self) -> None:
        """Somebody asked for it."""
        self._asked.set()

    async def watch(self) -> None:
        """Looks at the files until cancelled."""
        if not self._all:
            return
        while True:
            asked = True
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._asked.wait()
            except TimeoutError:
                asked = False
            self._asked.clear()
            for one in self._all:
                try:
                    one.look(self._now(), asked=asked)
                except Exception:
                    # Whatever is wrong with one pair may not end the watch of all.
                    log.exception("certificate_refused", kind=one.use)

    def read_gauges(self) -> dict[str, list[tuple[tuple[str, ...], Any]]]:
        """When certificates end, and whether the files are what is in force."""
        return {
            "kproxy_certificate_expiry_timestamp_seconds":
                [((use,), end) for one in self._all for use, end in one.ends.items()],
            "kproxy_certificate_reload_successful": [((one.use,), int(one.is_good)) for one in self._all],
        }


def _read(path: str) -> bytes:
    with open(path, "rb") as opened:
        return opened.read(1 << 20)
