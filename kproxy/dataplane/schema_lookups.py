"""Schemas of a cluster's registry that records of this worker need: asked of the control process, once for all who
wait.

A schema that is not there, or that could not be asked for, stays unknown to the frame that needed it, and the rules say
what becomes of its records.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import structlog

from kproxy._ext.registered import Registered
from kproxy.dataplane.control_link import ControlLink
from kproxy.errors import ControlUnavailable
from kproxy.model.messages import SchemasAnswer, SchemasWanted

log = structlog.get_logger("kproxy.worker")

#: What the control process may take beyond the registry's own time.
MARGIN_SECONDS = 1.0
#: What is not there is not asked for again for so long.
MISSING_SECONDS = 5.0
MOST_MISSING = 65536
#: Ids of one question: the answer must fit into a message.
MOST_AT_ONCE = 16


class SchemaLookups:
    """Of one cluster. ``clock`` gives monotonic seconds, ``seconds`` is the registry's own time. What is found is in
    ``known``."""

    def __init__(self, cluster: str, link: ControlLink, *, clock: Callable[[], float], seconds: float) -> None:
        self.known = Registered()
        self._cluster = cluster
        self._link = link
        self._clock = clock
        self._seconds = seconds + MARGIN_SECONDS
        self._missing: dict[int, float] = {}
        self._flights: dict[int, asyncio.Future[None]] = {}

    async def look_up(self, wanted: Iterable[int]) -> None:
        """Returns when each of ``wanted`` is in ``known`` or known not to be had now."""
        now = self._clock()
        lacking = {one for one in wanted if one not in self.known and self._missing.get(one, now) <= now}
        new = sorted(lacking - self._flights.keys())
        for at in range(0, len(new), MOST_AT_ONCE):
            some = tuple(new[at : at + MOST_AT_ONCE])
            task = asyncio.get_running_loop().create_task(self._ask(some))
            self._flights.update(dict.fromkeys(some, task))
        flights = {self._flights[one] for one in lacking if one in self._flights}
        if flights:
            await asyncio.wait(flights)

    async def _ask(self, ids: tuple[int, ...]) -> None:
        try:
            answer: SchemasAnswer = await self._link.ask(lambda number: SchemasWanted(number, self._cluster, ids),
                                                         self._seconds)
        except ControlUnavailable as error:
            log.warning("schemas_not_asked", cluster=self._cluster, count=len(ids), error=str(error))
            return
        finally:
            for one in ids:
                self._flights.pop(one, None)
        for one, schema in answer.schemas.items():
            self.known.add(one, schema)
        if len(self._missing) + len(answer.missing) > MOST_MISSING:
            self._missing.clear()
        until = self._clock() + MISSING_SECONDS
        self._missing.update((one, until) for one in answer.missing)
