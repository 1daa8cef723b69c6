"""The connections of one worker, and the times at which they end.

``Connections.accept(listener, node)`` is the protocol factory of a listening socket.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any, cast

import structlog

from kproxy._ext.ledger import Counters, Ledger
from kproxy._ext.opening import Addresses
from kproxy._ext.protocol import ClientHalf, Turn
from kproxy._ext.session import Epoch, Session
from kproxy.dataplane.connection import Connection
from kproxy.dataplane.deadlines import Deadlines
from kproxy.dataplane.proxy_header import Header
from kproxy.errors import CloseCause
from kproxy.logs import PerMinute
from kproxy.model.access import Facts, Principal
from kproxy.model.messages import SessionView
from kproxy.model.settings import AdvertiseNames, Listener

log = structlog.get_logger("kproxy.connection")

#: The deadline that is no session's.
GRANT = object()
#: How long a connection that may be closed in a drain has been silent: nobody is cut off in the middle of his login,
#: and few in the middle of a request.
NEW_SECONDS = 5.0
QUIET_SECONDS = 0.5
#: Closed connections that the log is told of within a minute; the metric counts each.
MOST_TOLD_CLOSES = 600


class Connections:
    """Every open connection by session number, and the counters of each listener."""

    def __init__(self, runtime: Any, ledger: Ledger, epoch: Epoch, *, loop: asyncio.AbstractEventLoop) -> None:
        self._runtime = runtime
        self._loop = loop
        self._ledger = ledger
        self._epoch = epoch
        self._turn = Turn(loop, ledger)
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self.open: dict[int, Connection] = {}
        #: Those that have not said yet whose they are (kproxy.dataplane.gate).
        self.at_gates: set[Any] = set()
        self.counters: dict[str, Counters] = {}
        self.closes: dict[str, int] = {}
        self.addresses: dict[str, Addresses] = {}
        self.draining = False
        self._grant_ends: list[float] = []
        self.told_closes = PerMinute(MOST_TOLD_CLOSES)
        self._deadlines = Deadlines(loop.call_later, runtime.now, self._on_due)

    @property
    def count(self) -> int:
        return len(self.open) + len(self.at_gates)

    def accept(self, listener: Listener, node: int | None, header: Header | None = None) -> ClientHalf:
        """A protocol for one accepted socket. ``node``: the broker this port stands for; None for the bootstrap
        port. ``header``: what a balancer said of the connection."""
        number = next(self._numbers)
        counters = self.counters.setdefault(listener.name, Counters(listener.name))
        addresses = self.addresses_of(listener)
        connection = Connection(self, self._runtime, listener, node, header)
        anonymous = listener.authenticate == ("none",)
        session = Session(number, () if anonymous else listener.authenticate, addresses, connection.decide, self._epoch,
                          self._ledger, counters, self._runtime.journal.tell,
                          self._anonymous(listener) if anonymous else None)
        limits = self._runtime.config.limits
        half = ClientHalf(session, connection, self._turn, limits.socket_request_max_bytes,
                          limits.queued_bytes_per_connection)
        connection.take_half(half)
        return half

    def addresses_of(self, listener: Listener) -> Addresses:
        """What the listener advertises; its ``learned`` fills with the brokers' own addresses as answers pass by."""
        known = self.addresses.get(listener.name)
        if known is None:
            advertise, ids = listener.advertise, self._runtime.topic_ids(listener.cluster)
            if isinstance(advertise, AdvertiseNames):
                host, suffix = advertise.parts()
                known = Addresses(host, advertise.first_broker, advertise.last_broker, advertise.port, ids, suffix)
            else:
                known = Addresses(advertise.host, advertise.first_broker, advertise.last_broker, advertise.first_port,
                                  ids)
            self.addresses[listener.name] = known
        return known

    def end_turn(self) -> None:
        """Writes what was noted and sends what is bound to go. The loop's own turn does the same; this one comes
        now."""
        self._turn.run()

    def _anonymous(self, listener: Listener) -> Facts:
        principal = Principal(name="anonymous", issuer="none", subject="anonymous")
        return Facts(principal=principal, mechanism="none", listener=listener.name)

    def note_close(self, cause: str, *, listener: str, address: str, **who: str) -> None:
        """Counts a connection that has ended, and tells the log unless the client simply left."""
        self.closes[cause] = self.closes.get(cause, 0) + 1
        if cause != CloseCause.CLIENT_CLOSED and self.told_closes.admits(self._runtime.now()):
            log.info("connection_closed", cause=cause, listener=listener, address=address, **who)

    def start(self, work: Any) -> None:
        """Runs a ticket's coroutine; the set keeps it from being collected half-way."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def sweep(self, now: float) -> None:
        """Once a second: ends what has logged in too slowly, fallen silent or, by a clock that was set, expired; writes
        flows that are due."""
        for connection in list(self.open.values()):
            _guard(connection, connection.sweep, now)

    def kill(self, number: int, cause: str = CloseCause.SESSION_KILLED) -> bool:
        connection = self.open.get(number)
        if connection is None:
            return False
        if cause == CloseCause.SESSION_KILLED:
            connection.half.cut(str(cause))
        else:
            connection.half.close(str(cause))
        return True

    def expires(self, number: int, when: float) -> None:
        """A session's end, which a later login moves."""
        self._deadlines.set(number, when)

    def forget(self, number: int) -> None:
        self.open.pop(number, None)
        self._deadlines.drop(number)

    def on_snapshot(self, grant_ends: Iterable[float]) -> None:
        """Other rules, grants or keys are in force: sessions decide anew by themselves, what is queued is looked at
        here. ``grant_ends``: when each of the grants ends (Unix seconds)."""
        self._grant_ends = sorted(grant_ends)
        for connection in list(self.open.values()):
            _guard(connection, connection.renew_quotas, self._runtime.now())
        self._review()

    def _on_due(self, key: object) -> None:
        if key is GRANT:
            self._review()
        elif (connection := self.open.get(cast(int, key))) is not None:
            _guard(connection, connection.expire, self._runtime.now())

    def _review(self) -> None:
        """Access has changed for somebody: now, and again when the next grant ends."""
        now = self._runtime.now()
        self._grant_ends = [end for end in self._grant_ends if end > now]
        self._deadlines.set(GRANT, self._grant_ends[0] if self._grant_ends else math.inf)
        for connection in list(self.open.values()):
            _guard(connection, connection.review, now)

    def drain(self, *, patient: bool) -> None:
        """Closes every connection that waits for no answer; call again until ``count`` is 0 or time is up. While
        ``patient``, one that was heard a moment ago is left alone: its next request may be on its way, and a client
        that has only just connected gets its answer."""
        self.draining = True
        now = self._runtime.now()
        for gate in list(self.at_gates):
            if not patient or now - gate.came_at >= NEW_SECONDS:
                gate.close(CloseCause.DRAINED)
        for connection in list(self.open.values()):
            half, session = connection.half, connection.half.session
            is_new = session.facts is None or not session.requests
            heard_out = now - half.heard_at >= (NEW_SECONDS if is_new else QUIET_SECONDS)
            if session.slots.count == 0 and session.waiting is None and (heard_out or not patient):
                half.close(str(CloseCause.DRAINED))

    def views(self, worker: int) -> tuple[SessionView, ...]:
        return tuple(connection.view(worker) for connection in self.open.values())


def _guard(connection: Connection, work: Callable[[float], None], now: float) -> None:
    """Inside a commit or a timer: whatever one session did wrong may not cost the others their turn."""
    try:
        work(now)
    except Exception as error:
        connection.half.fail(error)
        connection.half.abort()
