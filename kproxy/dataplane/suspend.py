"""Questions a session waits for, asked once however many sessions wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Generic, TypeVar

import structlog

from kproxy.dataplane.control_link import ControlLink
from kproxy.errors import ControlUnavailable
from kproxy.model.access import ApprovalWanted, Facts
from kproxy.model.messages import ApprovalAsked

log = structlog.get_logger("kproxy.worker")

APPROVAL_SECONDS = 2.0
UNAVAILABLE = ("", "unavailable")

Answer = TypeVar("Answer")


class SingleFlight(Generic[Answer]):
    """Callers with the same key share one question. It is not cancelled by a caller that goes away: others wait for
    it."""

    def __init__(self) -> None:
        self._flying: dict[Hashable, asyncio.Task[Answer]] = {}

    async def run(self, key: Hashable, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        task = self._flying.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._fly(key, ask))
            self._flying[key] = task
        return await asyncio.shield(task)

    async def _fly(self, key: Hashable, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        try:
            return await ask()
        finally:
            del self._flying[key]


class ApprovalQuestions:
    """Opens approval requests at the control process."""

    def __init__(self, link: ControlLink, timeout: float = APPROVAL_SECONDS) -> None:
        self._link = link
        self._timeout = timeout
        self._flights: SingleFlight[tuple[str, str]] = SingleFlight()

    async def ask(self, facts: Facts, wanted: ApprovalWanted) -> tuple[str, str]:
        """(request id, state). ``('', 'unavailable')`` when nobody answered in time: the access stays refused."""
        # Attested facts are part of the request, so two runs of one principal may not share an answer.
        key: Any = (facts.principal.name, tuple(sorted(facts.attested.items())), wanted)
        return await self._flights.run(key, lambda: self._ask(facts, wanted))

    async def _ask(self, facts: Facts, wanted: ApprovalWanted) -> tuple[str, str]:
        try:
            answer = await self._link.ask(lambda number: ApprovalAsked(number, facts, wanted), self._timeout)
        except ControlUnavailable as error:
            log.warning("approval_not_asked", rule=wanted.rule, error=str(error))
            return UNAVAILABLE
        if answer.error:
            log.warning("approval_refused", rule=wanted.rule, error=answer.error)
            return UNAVAILABLE
        return answer.request_id, answer.state
