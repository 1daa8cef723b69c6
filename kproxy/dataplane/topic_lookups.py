"""Names of topics that clients name by id, where no answer has told them yet: asked of the cluster, once for all who
wait.

An id that is not there, or that could not be asked for, stays unknown to its request, which is answered with a code
that clients retry (100); it is never sent on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import structlog

from kproxy._ext.topic_ids import TopicIds
from kproxy.errors import BrokerRefusedLogin, BrokerUnreachable, WireError

log = structlog.get_logger("kproxy.upstream")

#: Stands for all topics, where a client need not name any: those whose offsets a group has committed, those it may see.
ALL = bytes(16)
#: A request waits this long for the names of its topics.
LOOK_UP_SECONDS = 3.0
#: What was not there is not asked for again for so long. A topic that was made just now is unknown to some brokers.
MISSING_SECONDS = 0.5
#: So many ids are remembered to be missing, and so many are asked for at once.
MOST_MISSING = 65536
MOST_AT_ONCE = 4096


class TopicLookups:
    """Of one cluster. ``ask(ids)`` gives id → name of those that are there, of all if ``ALL`` is among them, and
    raises BrokerUnreachable, BrokerRefusedLogin or WireError; ``clock`` gives monotonic seconds. What is found is in
    ``ids``."""

    def __init__(self, cluster: str, ask: Callable[[list[bytes]], Awaitable[dict[bytes, str]]], *,
                 clock: Callable[[], float], seconds: float = LOOK_UP_SECONDS) -> None:
        self.ids = TopicIds()
        self._cluster = cluster
        self._ask = ask
        self._clock = clock
        self._seconds = seconds
        self._missing: dict[bytes, float] = {}
        self._wanted: set[bytes] = set()
        self._running: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None

    async def look_up(self, wanted: Iterable[bytes]) -> None:
        """Returns when each of ``wanted`` is in ``ids`` or known to be missing. Whoever comes while a question is under
        way shares the next."""
        now = self._clock()
        new = {one for one in wanted if self._missing.get(one, now) <= now}
        if not new:
            return
        self._wanted |= new
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._ask_next(self._running))
        await asyncio.shield(self._next)

    async def _ask_next(self, former: asyncio.Task[None] | None) -> None:
        if former is not None:
            await asyncio.wait([former])
        wanted, self._wanted = sorted(self._wanted), set()
        self._running, self._next = self._next, None
        try:
            async with asyncio.timeout(self._seconds):
                for at in range(0, len(wanted), MOST_AT_ONCE):
                    found = await self._ask(wanted[at : at + MOST_AT_ONCE])
                    if ALL in wanted[at : at + MOST_AT_ONCE]:
                        self.ids.teach_all(found.values())
                    for topic_id, name in found.items():
                        self.ids.teach(topic_id, name)
                        self._missing.pop(topic_id, None)
        except (BrokerUnreachable, BrokerRefusedLogin, WireError, TimeoutError) as error:
            log.warning("topic_ids_not_asked", cluster=self._cluster, count=len(wanted),
                        error=str(error) or "no answer")
            if ALL in wanted:
                self.ids.teach_all(None)
        self._miss(wanted)

    def _miss(self, wanted: list[bytes]) -> None:
        if len(self._missing) + len(wanted) > MOST_MISSING:
            self._missing.clear()
        until = self._clock() + MISSING_SECONDS
        self._missing.update((one, until) for one in wanted if self.ids.name(one) is None)
