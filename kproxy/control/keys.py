"""The public keys of all issuers, fetched in the background and never on the path of a login that does not need it.

* Every ``jwks_refresh`` seconds an issuer's keys are fetched anew; a key it no longer lists is gone with the next
  snapshot.
* When that fails the last good keys serve until ``jwks_max_stale`` after they were fetched. Then tokens are refused.
* A key nobody knows yet is fetched while its login waits, so a brand-new key works at the first try. All waiting logins
  share one request, and after a few at once an issuer is asked once per ``Pace.pause``: later logins wait for their
  turn.
* An id that was looked for in vain is not looked for again for ``Pace.remember`` seconds.
* A signature that fails under a known key leads to one such request too: an id may have been given to a new key.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, NamedTuple

import msgspec
import structlog

from kproxy.control.keys_documents import KeySet, KeysUnusable
from kproxy.control.keys_fetch import Fetch, choose_fetch
from kproxy.model.settings import Issuer
from kproxy.model.snapshot import IssuerKeys

log = structlog.get_logger("kproxy.keys")

MAX_REMEMBERED: Final = 1024
MAX_WAITING: Final = 4096


class Pace(NamedTuple):
    """Seconds, and ``burst``: how many requests may come at once after a quiet time, before ``pause`` divides them.

    ``wait`` is how long a login may wait for a key: below the worker's own limit of 8 s.
    """

    pause: float = 3.0
    burst: int = 3
    wait: float = 7.0
    remember: float = 30.0
    recent: float = 30.0
    first_retry: float = 1.0
    longest_retry: float = 60.0


class Wanted(NamedTuple):
    """``found``: look again, the keys published now may answer. ``reason`` is a fixed word when they do not."""

    found: bool
    reason: str = ""


class IssuerStatus(msgspec.Struct, frozen=True):
    """How an issuer's keys stand. Times in Unix seconds, 0 for never; ``error`` is empty after a good fetch."""

    issuer: str
    keys: int
    fetched_at: float
    stale_at: float
    error: str = ""


class KeyStore:
    """``on_change`` is called, without arguments, whenever ``current`` should be published again."""

    def __init__(
        self,
        issuers: Iterable[Issuer],
        *,
        on_change: Callable[[], None],
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        choose: Callable[[Issuer, Callable[[], float]], Fetch] = choose_fetch,
        pace: Pace | None = None,
    ) -> None:
        clocks = _Clocks(now, monotonic, sleep)
        self._rings = {
            issuer.alias: _KeyRing(issuer, choose(issuer, monotonic), clocks, on_change, pace or Pace())
            for issuer in issuers
        }
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begins to fetch. Does not wait: a node starts although an issuer is away."""
        self._tasks = [
            asyncio.create_task(ring.keep_fresh(), name=f"keys-{alias}") for alias, ring in self._rings.items()
        ]

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for ring in self._rings.values():
            await ring.aclose()

    async def wanted(self, alias: str, kid: str, because: str = "unknown_kid") -> Wanted:
        """Looks for a key on behalf of a login; answers within ``Pace.wait`` seconds. ``because`` is the refusal's
        reason.
        """
        ring = self._rings.get(alias)
        if ring is None:
            return Wanted(False, "unknown_issuer")
        return await ring.wanted(kid, because)

    def current(self) -> tuple[IssuerKeys, ...]:
        """The keys to publish; an issuer whose keys were never fetched is absent."""
        return tuple(ring.keys for ring in self._rings.values() if ring.keys is not None)

    def status(self) -> tuple[IssuerStatus, ...]:
        return tuple(ring.status() for ring in self._rings.values())


class _Clocks(NamedTuple):
    now: Callable[[], float]
    monotonic: Callable[[], float]
    sleep: Callable[[float], Awaitable[object]]


class _Flight(NamedTuple):
    """One request under way; ``began`` on the monotonic clock."""

    task: asyncio.Task[bool]
    began: float


class _KeyRing:
    """One issuer's keys."""

    def __init__(
        self, issuer: Issuer, fetch: Fetch, clocks: _Clocks, on_change: Callable[[], None], pace: Pace
    ) -> None:
        self.keys: IssuerKeys | None = None
        self._issuer = issuer
        self._fetch = fetch
        self._clocks = clocks
        self._on_change = on_change
        self._pace = pace
        self._flight: _Flight | None = None
        self._turns_used_until = 0.0
        self._waiting = 0
        self._failures = 0
        self._error = ""
        self._announced_stale_at = 0.0
        self._in_vain: dict[tuple[str, str], float] = {}
        self._changed_at: dict[str, float] = {}

    def status(self) -> IssuerStatus:
        keys = self.keys
        if keys is None:
            return IssuerStatus(self._issuer.alias, 0, 0.0, 0.0, self._error)
        return IssuerStatus(self._issuer.alias, len(keys.keys), keys.fetched_at, keys.stale_at, self._error)

    async def aclose(self) -> None:
        if self._flight is not None:
            self._flight.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._flight.task
        await self._fetch.aclose()

    async def keep_fresh(self) -> None:
        while True:
            if await asyncio.shield(self._begin().task):
                delay = self._issuer.jwks_refresh
            else:
                backoff = self._pace.first_retry * 2 ** min(self._failures - 1, 10)
                delay = min(self._issuer.jwks_refresh, self._pace.longest_retry, backoff)
            await self._clocks.sleep(delay)

    async def wanted(self, kid: str, because: str) -> Wanted:
        answer = self._answer_at_once(kid, because)
        if answer is not None:
            return answer
        if self._waiting >= MAX_WAITING:
            return Wanted(False, "too_many_waiting")
        self._waiting += 1
        try:
            return await self._look_for(kid, because)
        finally:
            self._waiting -= 1

    def _answer_at_once(self, kid: str, because: str) -> Wanted | None:
        """What can be said without asking the issuer."""
        now = self._clocks.monotonic()
        if because == "unknown_kid" and kid and kid in self._materials():
            return Wanted(True)
        if because == "keys_stale" and self._is_fresh():
            return Wanted(True)
        # The asker's snapshot may be older than a change that has just been published.
        if now - self._changed_at.get(kid, float("-inf")) < self._pace.recent:
            return Wanted(True)
        if self._in_vain.get((kid, because), 0.0) > now:
            return Wanted(False, because)
        return None

    async def _look_for(self, kid: str, because: str) -> Wanted:
        monotonic = self._clocks.monotonic
        arrived, before = monotonic(), self._materials()
        until = arrived + self._pace.wait
        while monotonic() < until:
            flight = self._flight
            turn = self._turns_used_until - self._pace.burst * self._pace.pause
            if flight is None and monotonic() < turn:
                if turn >= until:
                    return Wanted(False, "rate_limited")
                await self._clocks.sleep(turn - monotonic())
                if self._has_come(kid, because, before):
                    return Wanted(True)
                continue
            flight = flight or self._begin()
            # Waits without cancelling: others wait for the same request.
            done, _ = await asyncio.wait({flight.task}, timeout=until - monotonic())
            if self._has_come(kid, because, before):
                return Wanted(True)
            if not done:
                break
            if flight.began >= arrived:
                if not flight.task.result():
                    return Wanted(False, "fetch_failed")
                self._remember(kid, because)
                return Wanted(False, because)
        return Wanted(False, "timeout")

    def _is_fresh(self) -> bool:
        return self.keys is not None and self._clocks.now() < self.keys.stale_at

    def _has_come(self, kid: str, because: str, before: dict[str, object]) -> bool:
        if because == "keys_stale":
            return self._is_fresh()     # The same keys, vouched for anew, are all that was missing.
        after = self._materials()
        return kid in after and after[kid] != before.get(kid)

    def _materials(self) -> dict[str, object]:
        """Key id to all that the issuer lists under it; the empty id stands for the whole set."""
        if self.keys is None:
            return {}
        found: dict[str, list[object]] = {"": [self.keys.keys]}
        for key in self.keys.keys:
            found.setdefault(key.get("kid", ""), []).append(key)
        return dict(found)

    def _remember(self, kid: str, because: str) -> None:
        while len(self._in_vain) >= MAX_REMEMBERED:
            del self._in_vain[next(iter(self._in_vain))]
        self._in_vain[kid, because] = self._clocks.monotonic() + self._pace.remember

    def _begin(self) -> _Flight:
        """The request under way, or a new one."""
        if self._flight is None:
            began = self._clocks.monotonic()
            self._turns_used_until = max(began, self._turns_used_until) + self._pace.pause
            self._flight = _Flight(asyncio.create_task(self._refresh(), name=f"fetch-{self._issuer.alias}"), began)
        return self._flight

    async def _refresh(self) -> bool:
        """True when the issuer answered well. Whatever goes wrong leaves the last good keys in place."""
        try:
            self._take(await self._fetch.fetch())
        except KeysUnusable as error:
            self._note_failure(error.reason, str(error), error.status)
            return False
        except Exception as error:
            # A fault of ours must not end the only task that keeps keys fresh.
            self._note_failure("internal", type(error).__name__, 0)
            return False
        finally:
            self._flight = None
        return True

    def _note_failure(self, reason: str, error: str, status: int) -> None:
        self._failures += 1
        self._error = reason
        stale = self.keys is None or self._clocks.now() >= self.keys.stale_at
        log.warning("keys_not_fetched", issuer=self._issuer.alias, reason=reason, error=error, status=status,
                    attempt=self._failures, state="refusing_tokens" if stale else "serving_last_keys")

    def _take(self, fetched: KeySet) -> None:
        before, now = self._materials(), self._clocks.now()
        stale_at = now + self._issuer.jwks_max_stale
        self.keys = IssuerKeys(self._issuer.alias, fetched.keys, fetched_at=now, stale_at=stale_at)
        recovered, self._failures, self._error = self._failures > 0, 0, ""
        after = self._materials()
        at = self._clocks.monotonic()
        self._changed_at = {kid: since for kid, since in self._changed_at.items() if at - since < self._pace.recent}
        changed = [kid for kid in after.keys() | before.keys() if after.get(kid) != before.get(kid)]
        self._changed_at |= dict.fromkeys((kid for kid in changed if kid in after), at)
        if changed or recovered:
            log.info("keys_fetched", issuer=self._issuer.alias, count=len(fetched.keys),
                     reason="changed" if changed else "recovered")
        if fetched.dropped:
            log.warning("keys_dropped", issuer=self._issuer.alias, count=sum(fetched.dropped.values()),
                        reason=", ".join(sorted(fetched.dropped)))
        # Fresh times alone are published only when the published ones are half used up: a snapshot empties every
        # decision table.
        if changed or self._announced_stale_at < now + self._issuer.jwks_max_stale / 2:
            self._announced_stale_at = stale_at
            self._on_change()
