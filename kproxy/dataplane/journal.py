"""Audit events of a worker: what happened, completed with who it was and under which policy, on its way to the
spool."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from kproxy._ext.apis import NAMES
from kproxy.dataplane.spool import Spool
from kproxy.model.access import Facts, Verdict
from kproxy.model.audit_event import AuditEvent, about
from kproxy.model.spool import EVENT

log = structlog.get_logger()


class Journal:
    """``start`` is the worker's start in Unix milliseconds: with node, worker and a sequence it names every event."""

    def __init__(self, spool: Spool, node: str, worker: int, start: int, *, now: Callable[[], float],
                 in_force: Callable[[str], tuple[str, str]],
                 on_event: Callable[[AuditEvent], None] | None = None) -> None:
        """``in_force(listener)`` gives the policy version and the listener's mode. ``on_event`` counts what is told."""
        self._spool = spool
        self._node = node
        self._worker = worker
        self._start = start
        self._now = now
        self._in_force = in_force
        self._on_event = on_event
        self._sequence = itertools.count(1)
        self._encode = msgspec.json.Encoder().encode

    def record(self, kind: str, facts: Facts | None = None, **fields: Any) -> str:
        """Appends one event and gives its id. ``fields`` are fields of AuditEvent and win over what the facts say."""
        said = {**about(facts), **fields} if facts is not None else fields
        version, mode = self._in_force(said.get("listener", ""))
        event = AuditEvent(
            id=f"{self._node}.{self._worker}.{self._start}.{next(self._sequence)}", kind=kind, ts=self._now(),
            node=self._node, worker=self._worker, **{"policy_version": version, "mode": mode, **said})
        self._spool.append(EVENT, self._encode(event))
        if self._on_event is not None:
            self._on_event(event)
        return event.id

    def tell(self, kind: str, session: Any, fields: dict[str, Any]) -> str:
        """What a native session reports: its ``number`` and ``facts``, an API by number, a verdict as it was
        decided."""
        said = dict(fields)
        if "api" in said:
            said["api"] = NAMES.get(said["api"], str(said["api"]))
        verdict: Verdict | None = said.pop("verdict", None)
        if verdict is not None:
            said.update(decision=verdict.effect, would=verdict.would or "", rule=verdict.rule,
                        reason=_with_errors(verdict))
        said["session"] = f"{self._worker}-{session.number}"
        if kind == "guard_hit" and said.get("api") == "Fetch":
            # A producer is told why; the answer of a fetch has no room for words, so operators are told.
            log.warning("fetch_refused", topic=said.get("topic"), **said.get("details", {}), reason=said.get("reason"),
                        principal=session.facts.principal.name, session=said["session"])
        return self.record(kind, session.facts, **said)


def _with_errors(verdict: Verdict) -> str:
    """The reason, and which conditions could not be decided meanwhile: often the one that was to allow it."""
    if not verdict.condition_errors:
        return verdict.reason
    missing = f" ({', '.join(verdict.missing)} missing)" if verdict.missing else ""
    return f"{verdict.reason}; in error: {', '.join(verdict.condition_errors)}{missing}"
