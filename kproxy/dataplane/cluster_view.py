"""What a worker knows of one Kafka cluster: where its brokers are and which versions each of them speaks.

Learned over one service connection, kept as long as it holds: refreshed every half minute, when an unknown broker is
asked for, and when a broker could not be reached. What is known stays in use while a refresh fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import structlog

from kproxy._ext.tls_context import TlsContext
from kproxy.dataplane.dialing import Dialer
from kproxy.dataplane.proxy_header import Ends
from kproxy.dataplane.suspend import SingleFlight
from kproxy.dataplane.topic_lookups import TopicLookups
from kproxy.dataplane.upstream import ServiceConnection, Spoken, choose_credential
from kproxy.errors import BrokerRefusedLogin, BrokerUnreachable, CloseCause, WireError
from kproxy.model.settings import Cluster

log = structlog.get_logger("kproxy.upstream")

REFRESH_SECONDS = 30.0
#: After a failure the next try comes sooner, but later each time and never with all workers at once.
RETRY_SECONDS = 0.25
#: A broker that did not answer is not dialled again for this long at first and at most: its clients come back at once,
#: all of them, and again.
PAUSE_SECONDS = (0.05, 1.0)
#: A service connection is opened anew when this part of the lifetime that the broker gave its login has passed.
LIFETIME_USED = 0.8
#: A fresh view that lacks a broker is believed for this long, so that a client cannot cause a storm of refreshes.
BELIEVED_SECONDS = 1.0
#: A broker may be upgraded in place: its versions are asked again after this time, and whenever it was unreachable.
VERSIONS_SECONDS = 300.0

Address = tuple[str, int]
_FAILURES = (BrokerUnreachable, BrokerRefusedLogin, WireError)


class ClusterView:
    """``clock`` gives monotonic seconds, ``random`` a number from 0 to 1, ``on_error(cluster, cause)`` counts
    failures, ``tls`` gives the context in force, None where the brokers speak plaintext."""

    def __init__(self, cluster: Cluster, *, timeout: float, max_bytes: int, clock: Callable[[], float],
                 random: Callable[[], float], on_error: Callable[[str, str], None],
                 tls: Callable[[], TlsContext | None] = lambda: None) -> None:
        self._cluster = cluster
        self._dialer = Dialer(tls, timeout=timeout, clock=clock, on_error=lambda cause: on_error(cluster.name, cause),
                              proxy_protocol=cluster.proxy_protocol)
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._clock = clock
        self._random = random
        self._on_error = on_error
        self._service: ServiceConnection | None = None
        self._contact: Address | None = None
        self._contact_spoken: Spoken | None = None
        self._nodes: dict[int, Address] = {}
        self._learned: list[dict[int, Address]] = []
        self._cluster_id = ""
        self._spoken: dict[int, tuple[float, Spoken]] = {}
        self._refreshed_at = -REFRESH_SECONDS
        self._service_ends = float("inf")
        self._pauses: dict[int | None, tuple[float, int, BrokerUnreachable]] = {}
        self._flights: SingleFlight[Any] = SingleFlight()
        self.topics = TopicLookups(cluster.name, self._fetch_topic_names, clock=clock)

    @property
    def nodes(self) -> dict[int, Address]:
        return dict(self._nodes)

    def learn_from(self, addresses: dict[int, Address]) -> None:
        """``addresses`` is filled elsewhere, from answers on their way to clients; it is looked at where the view lacks
        a broker."""
        self._learned.append(addresses)

    async def keep_fresh(self) -> None:
        """Refreshes until cancelled, at intervals that many workers do not share."""
        failures = 0
        while True:
            pause = REFRESH_SECONDS
            try:
                await self.refresh()
                failures = 0
            except Exception as error:
                # The view stays what it was, and the next round tries again.
                pause = min(pause, RETRY_SECONDS * 2.0**min(failures, 10))
                failures += 1
                log.warning("cluster_not_reached", cluster=self._cluster.name, error=str(error), attempt=failures,
                            exc_info=not isinstance(error, BrokerUnreachable))
            await asyncio.sleep(pause * (0.8 + 0.4 * self._random()))

    async def refresh(self) -> None:
        """Raises BrokerUnreachable when no broker could be asked; the view is then what it was."""
        await self._flights.run("refresh", self._refresh)

    async def versions(self, node: int | None) -> Spoken:
        """What the broker speaks; ``None`` is the one that a bootstrap connection goes to. Raises BrokerUnreachable."""
        if node is None:
            if self._contact_spoken is None:
                await self.refresh()
            assert self._contact_spoken is not None
            return self._contact_spoken
        known = self._spoken.get(node)
        if known is not None and self._clock() - known[0] < VERSIONS_SECONDS:
            return known[1]
        learned: Spoken = await self._flights.run(("versions", node), lambda: self._learn_versions(node))
        return learned

    async def connect(self, factory: Callable[[], Any], node: int | None,
                      told: Ends | None = None) -> tuple[Any, Any]:
        """(transport, protocol) to the broker; ``told`` as in Dialer.connect. A second try follows a refresh if that
        gave another address; after both failed, the failure stands for a moment. Raises BrokerUnreachable."""
        until, failures, problem = self._pauses.get(node, (0.0, 0, None))
        if problem is not None and self._clock() < until:
            raise BrokerUnreachable(str(problem), problem.cause)
        try:
            opened = await self._connect(factory, node, told)
        except BrokerUnreachable as error:
            pause = min(PAUSE_SECONDS[1], PAUSE_SECONDS[0] * 2.0**min(failures, 10)) * (0.5 + 0.5 * self._random())
            self._pauses[node] = (self._clock() + pause, failures + 1, error)
            raise
        self._pauses.pop(node, None)
        return opened

    async def _connect(self, factory: Callable[[], Any], node: int | None, told: Ends | None) -> tuple[Any, Any]:
        address = await self._find(node)
        try:
            return await self._dialer.connect(factory, *address, told)
        except BrokerUnreachable:
            self.forget(node)
            await self.refresh()
            moved = await self._find(node)
            if moved == address and node is not None:
                raise
            return await self._dialer.connect(factory, *moved, told)

    def forget(self, node: int | None) -> None:
        """The broker was unreachable or closed a connection: it may come back with other versions."""
        if node is None:
            self._contact_spoken = None
        else:
            self._spoken.pop(node, None)
        self._refreshed_at = self._clock() - REFRESH_SECONDS

    async def _fetch_topic_names(self, ids: list[bytes]) -> dict[bytes, str]:
        """Over the service connection, which may have been closed since it was last used: one more try over a new
        one."""
        service = self._service
        if service is not None:
            try:
                return await self._ask_names(service, ids)
            except BrokerUnreachable:
                pass
        await self.refresh()
        if self._service is None:
            raise BrokerUnreachable(f"cluster {self._cluster.name} has no service connection")
        return await self._ask_names(self._service, ids)

    async def _ask_names(self, service: ServiceConnection, ids: list[bytes]) -> dict[bytes, str]:
        try:
            return await service.fetch_topic_names(ids)
        except BaseException as error:
            # An answer that was not waited for would be taken for the next one's.
            service.close()
            if self._service is service:
                self.close()
            if isinstance(error, _FAILURES):
                self._count(error)
            raise

    def close(self) -> None:
        if self._service is not None:
            self._service.close()
            self._service = None
            self._service_ends = float("inf")

    async def _find(self, node: int | None) -> Address:
        if node is None:
            if self._contact is None:
                await self.refresh()
            assert self._contact is not None
            return self._contact
        if node not in self._nodes and self._clock() - self._refreshed_at >= BELIEVED_SECONDS:
            await self.refresh()
        for known in (self._nodes, *self._learned):
            if node in known:
                return known[node]
        raise BrokerUnreachable(f"cluster {self._cluster.name} has no broker {node}")

    async def _learn_versions(self, node: int) -> Spoken:
        # Versions come before login, so no credential is shown here.
        service = ServiceConnection(self._dialer, *await self._find(node), timeout=self._timeout,
                                    max_bytes=self._max_bytes)
        try:
            await service.open()
        except _FAILURES as error:
            self._count(error)
            raise BrokerUnreachable(str(error), cause_of(error)) from error
        finally:
            service.close()
        # A question before login tells no cluster; the service connection's own has.
        spoken = service.spoken._replace(cluster_id=self._cluster_id)
        self._spoken[node] = (self._clock(), spoken)
        return spoken

    async def _refresh(self) -> None:
        if self._clock() >= self._service_ends:
            self.close()
        if self._service is not None:
            try:
                return self._take(self._service, await self._service.fetch_brokers())
            except _FAILURES as error:
                self._count(error)
                self.close()
        problem: Exception = BrokerUnreachable(f"cluster {self._cluster.name} has no bootstrap address")
        for host, port in self._candidates():
            service = ServiceConnection(self._dialer, host, port, timeout=self._timeout, max_bytes=self._max_bytes)
            try:
                await service.open()
                await service.log_in(choose_credential(self._cluster.credentials, ()))
                self._take(service, await service.fetch_brokers())
                self._service = service
                self._service_ends = self._clock() + LIFETIME_USED * (service.lifetime or float("inf"))
                return None
            except _FAILURES as error:
                self._count(error)
                service.close()
                problem = error
        raise BrokerUnreachable(str(problem), cause_of(problem)) from problem

    def _candidates(self) -> Iterable[Address]:
        """Brokers known to be there first, then the configured list, each once."""
        known = [*self._nodes.values(), *self._cluster.bootstrap]
        if self._nodes:
            start = int(self._random() * len(self._nodes)) % len(self._nodes)
            known = [*known[start : len(self._nodes)], *known[:start], *known[len(self._nodes) :]]
        return dict.fromkeys(known)

    def _take(self, service: ServiceConnection, brokers: dict[int, Address]) -> None:
        if brokers != self._nodes:
            log.info("brokers_known", cluster=self._cluster.name, count=len(brokers))
            for node in set(self._nodes) - set(brokers):
                self._spoken.pop(node, None)
        self._nodes = brokers
        self._contact = (service.host, service.port)
        self._contact_spoken = service.spoken
        self._cluster_id = service.spoken.cluster_id
        self._refreshed_at = self._clock()

    def _count(self, error: Exception) -> None:
        self._on_error(self._cluster.name, cause_of(error))


def cause_of(error: Exception) -> str:
    """The label of ``kproxy_broker_errors_total``."""
    if isinstance(error, BrokerUnreachable | BrokerRefusedLogin):
        return error.cause
    return CloseCause.MALFORMED_RESPONSE.value
