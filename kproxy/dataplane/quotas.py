"""The worker's part in the node's quotas: which a session has, and what they cost it.

All workers count in one file of the runtime directory (kproxy._ext.quota). It is made anew with the node; what a worker
that died had taken of it is given back by whoever looks next.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import structlog

from kproxy._ext.quota import Budgets, SharedQuotas, Tally
from kproxy.dataplane.stats import Values
from kproxy.model.policy import QuotaInForce

log = structlog.get_logger("kproxy.worker")

#: Of a connection that keeps its place, room or not.
MOST_PLACES = 2**31


class Quotas:
    """``path``: the file that the node's workers share; None: this one counts alone."""

    def __init__(self, path: Path | None) -> None:
        self._tallies: dict[str, Tally] = {}
        try:
            self._shared = SharedQuotas(path)
        except OSError as error:
            # Each worker then gives the whole quota, which is better than none and better than no service.
            log.error("quotas_not_shared", file=str(path), error=error.strerror)
            self._shared = SharedQuotas()

    def budgets(self, quotas: Sequence[QuotaInForce]) -> Budgets | None:
        """What a session with these counts by; None where nothing is to be counted."""
        lines = [(_number(one.key), self._tally(one.rule.name), one.rule.produce, one.rule.consume, one.rule.requests)
                 for one in quotas if one.rule.produce or one.rule.consume or one.rule.requests]
        return Budgets(self._shared, lines) if lines else None

    def enter(self, quotas: Sequence[QuotaInForce]) -> QuotaInForce | None:
        """Counts a connection. Gives the quota that has no room for it, and then counts it nowhere."""
        entered: list[QuotaInForce] = []
        for one in quotas:
            if one.rule.connections and not self._shared.enter(_number(one.key), one.rule.connections):
                self.leave(entered)
                return one
            entered.append(one)
        return None

    def move(self, former: Sequence[QuotaInForce], quotas: Sequence[QuotaInForce]) -> None:
        """Other quotas apply to a connection that is open: it keeps its place, room or not."""
        self.leave(former)
        for one in quotas:
            if one.rule.connections:
                self._shared.enter(_number(one.key), MOST_PLACES)

    def leave(self, quotas: Sequence[QuotaInForce]) -> None:
        """The connection that entered under these has ended."""
        for one in quotas:
            if one.rule.connections:
                self._shared.leave(_number(one.key))

    def read_gauges(self) -> Values:
        """For the metrics."""
        return {"kproxy_throttled_requests_total": [((name,), one.throttled) for name, one in self._tallies.items()],
                "kproxy_throttled_seconds_total": [((name,), one.seconds) for name, one in self._tallies.items()]}

    def _tally(self, name: str) -> Tally:
        return self._tallies.setdefault(name, Tally(name))


def _number(key: str) -> int:
    """64 bits of a hash, never 0."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little") or 1
