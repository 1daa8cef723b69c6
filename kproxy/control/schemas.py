"""The schemas of a cluster's registry, for workers: fetched once, read into tables, kept.

A schema never changes under its id, so what was read is kept until there is no more room. That an id is not there is
believed for a moment only, since it may be registered the next; and a registry that failed is asked again after a
pause, so that its clients do not hold it down.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final, Protocol

import structlog

from kproxy.control.schemas_fetch import Fetched, HttpFetch, RegistryFailed, SchemaMissing
from kproxy.model.messages import SchemasAnswer, SchemasWanted
from kproxy.model.settings import Cluster
from kproxy.model.value_schema import ValueSchema
from kproxy.schemas import read_schema
from kproxy.schemas.faults import BadSchema

log = structlog.get_logger("kproxy.schemas")

#: An id that is not there, or whose schema cannot be read, is not asked for again for so long.
MISSING_SECONDS: Final = 10.0
UNREADABLE_SECONDS: Final = 300.0
#: A registry that failed is left in peace for so long; what needs it is answered at once meanwhile.
PAUSE_SECONDS: Final = 1.0
#: Requests to one registry at once, and ids that wait for one.
AT_ONCE: Final = 8
MOST_FLIGHTS: Final = 256
MOST_MISSING: Final = 65536


class Fetch(Protocol):
    async def fetch(self, schema_id: int) -> Fetched:
        """Raises SchemaMissing, RegistryFailed."""

    async def aclose(self) -> None: ...


class ClusterSchemas:
    """Of one registry. ``monotonic`` gives seconds; ``most`` schemas are kept."""

    def __init__(self, cluster: str, fetch: Fetch, *, monotonic: Callable[[], float], most: int) -> None:
        self._cluster = cluster
        self._fetch = fetch
        self._monotonic = monotonic
        self._most = most
        self._known: OrderedDict[int, ValueSchema] = OrderedDict()
        self._missing: dict[int, float] = {}
        self._flights: dict[int, asyncio.Task[ValueSchema | None]] = {}
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._paused_until = 0.0

    async def find(self, ids: Iterable[int], seconds: float) -> tuple[dict[int, ValueSchema], tuple[int, ...]]:
        """Those that could be had within ``seconds``, and those that are known not to be there."""
        wanted = [self._flight(one) for one in dict.fromkeys(ids) if not self._is_settled(one)]
        flights = [flight for flight in wanted if flight is not None]
        if flights:
            await asyncio.wait(flights, timeout=seconds)
        found = {}
        for one in ids:
            if one in self._known:
                self._known.move_to_end(one)
                found[one] = self._known[one]
        return found, tuple(one for one in ids if one not in found and self._is_settled(one))

    def _is_settled(self, schema_id: int) -> bool:
        if schema_id in self._known:
            return True
        until = self._missing.get(schema_id)
        if until is not None and until <= self._monotonic():
            del self._missing[schema_id]
            until = None
        return until is not None

    def _flight(self, schema_id: int) -> asyncio.Task[ValueSchema | None] | None:
        """Shared by all who want the same; None where the registry is not to be asked now."""
        known = self._flights.get(schema_id)
        if known is not None:
            return known
        if self._monotonic() < self._paused_until or len(self._flights) >= MOST_FLIGHTS:
            return None
        task = asyncio.get_running_loop().create_task(self._ask(schema_id))
        self._flights[schema_id] = task
        task.add_done_callback(lambda _: self._flights.pop(schema_id, None))
        return task

    async def _ask(self, schema_id: int) -> ValueSchema | None:
        async with self._turns:
            if self._monotonic() < self._paused_until:
                return None
            try:
                fetched = await self._fetch.fetch(schema_id)
                # Somebody else's text: on a thread, so that a long one holds nobody up.
                schema = await asyncio.to_thread(read_schema, fetched.kind, fetched.text, fetched.references)
            except SchemaMissing:
                self._miss(schema_id, MISSING_SECONDS)
                log.info("schema_missing", cluster=self._cluster, schema=schema_id)
                return None
            except BadSchema as error:
                self._miss(schema_id, UNREADABLE_SECONDS)
                log.warning("schema_unreadable", cluster=self._cluster, schema=schema_id, error=str(error))
                return None
            except RegistryFailed as error:
                self._paused_until = self._monotonic() + PAUSE_SECONDS
                log.warning("schema_registry_failed", cluster=self._cluster, schema=schema_id, reason=error.reason,
                            error=str(error))
                return None
        self._known[schema_id] = schema
        while len(self._known) > self._most:
            self._known.popitem(last=False)
        return schema

    def _miss(self, schema_id: int, seconds: float) -> None:
        if len(self._missing) >= MOST_MISSING:
            self._missing.clear()
        self._missing[schema_id] = self._monotonic() + seconds

    async def aclose(self) -> None:
        flights = list(self._flights.values())
        for task in flights:
            task.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
        await self._fetch.aclose()


class Schemas:
    """Of all clusters that have a registry. ``seconds``: how long one question may take."""

    def __init__(self, clusters: dict[str, ClusterSchemas], seconds: dict[str, float]) -> None:
        self._clusters = clusters
        self._seconds = seconds

    async def answer(self, message: SchemasWanted) -> SchemasAnswer:
        cluster = self._clusters.get(message.cluster)
        if cluster is None:
            return SchemasAnswer(message.ask, {}, ())
        found, missing = await cluster.find(message.ids, self._seconds[message.cluster])
        return SchemasAnswer(message.ask, found, missing)

    async def aclose(self) -> None:
        await asyncio.gather(*(cluster.aclose() for cluster in self._clusters.values()))


def build_schemas(clusters: Iterable[Cluster]) -> Schemas:
    """Asks nobody yet."""
    registries = {one.name: one.schema_registry for one in clusters if one.schema_registry is not None}
    return Schemas({name: ClusterSchemas(name, HttpFetch(registry), monotonic=time.monotonic, most=registry.cache)
                    for name, registry in registries.items()},
                   {name: registry.timeout for name, registry in registries.items()})
