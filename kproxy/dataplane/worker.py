"""One worker process: a loop, its sockets, and the sessions on them.

It starts when a snapshot is there and then depends on nobody: without the control process it serves on by the last
snapshot, and only what needs an answer from there is refused.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import secrets
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import structlog
import uvloop

from kproxy import logs
from kproxy._ext import mask
from kproxy._ext.ledger import Ledger
from kproxy._ext.session import Epoch
from kproxy.dataplane.arrival import Arrival
from kproxy.dataplane.cluster_view import ClusterView
from kproxy.dataplane.connections import Connections
from kproxy.dataplane.control_link import ControlLink
from kproxy.dataplane.gate import Gates
from kproxy.dataplane.in_force import SnapshotFile, SnapshotInForce
from kproxy.dataplane.journal import Journal
from kproxy.dataplane.listener import Listeners
from kproxy.dataplane.logins import Logins
from kproxy.dataplane.quotas import Quotas
from kproxy.dataplane.runtime import Runtime
from kproxy.dataplane.schema_lookups import SchemaLookups
from kproxy.dataplane.spool import Spool
from kproxy.dataplane.stats import Stats
from kproxy.dataplane.suspend import ApprovalQuestions
from kproxy.dataplane.tls import Certificates
from kproxy.errors import CloseCause, ControlUnavailable, KproxyError
from kproxy.model import messages
from kproxy.model.snapshot import Snapshot
from kproxy.policy import compile as compile_policy

log = structlog.get_logger("kproxy.worker")

#: Connecting to a broker, and each answer on a service connection.
BROKER_SECONDS = 5.0
#: While no snapshot is there the file is looked for this often; control's word comes first where the link is up.
LOOK_SECONDS = 0.05
#: A snapshot that cannot be used is looked at again after this, or when control publishes another.
BAD_SNAPSHOT_SECONDS = 1.0
#: How often a draining worker looks for connections that have nothing outstanding.
DRAIN_STEP_SECONDS = 0.02
#: Between telling the control process and closing the listening sockets.
NOTICE_SECONDS = 0.1
LAG_SECONDS = 0.25
#: How long the loop waits for a thread that makes a new policy ready, each time it comes back from its sockets.
SWITCH_SECONDS = 0.0005


class Worker:
    """``loop`` is running when ``run`` is called."""

    def __init__(self, arrival: Arrival, loop: asyncio.AbstractEventLoop) -> None:
        config, number = arrival.config, arrival.worker
        self._arrival = arrival
        self._config = config
        self._number = number
        self._loop = loop
        self._stop = asyncio.Event()
        self._serving = self._replaced = False
        self._tasks: list[asyncio.Task[Any]] = []
        runtime_dir, state_dir = Path(config.node.runtime_dir), Path(config.node.state_dir)
        start = time.time_ns() // 1_000_000
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._epoch = Epoch(0)
        self._stats = Stats(number)
        self._spool = Spool(state_dir / "spool", number, start, config.audit, clock=time.monotonic,
                            call_soon=loop.call_soon, executor=self._executor)
        self._file = SnapshotFile(runtime_dir / "snapshot.msgpack", self._build, self._on_changed)
        self._journal = Journal(self._spool, config.node.name, number, start, now=time.time,
                                in_force=self._policy_of, on_event=self._stats.on_event)
        self._link = ControlLink(runtime_dir / "control.sock", messages.Hello(number, os.getpid()), self._receive,
                                 self._on_connected)
        self._certificates = Certificates(config, now=time.time)
        self._stats.gauges += [self._certificates.read_gauges, self._read_gauges]
        self._quotas = Quotas(runtime_dir / "quotas")
        self._stats.gauges.append(self._quotas.read_gauges)
        self._clusters = {
            name: ClusterView(cluster, timeout=BROKER_SECONDS, max_bytes=config.limits.socket_request_max_bytes,
                              clock=time.monotonic, random=random.random, on_error=self._count_broker_error,
                              tls=partial(self._certificates.cluster, name))
            for name, cluster in config.clusters.items()}
        self._connections = Connections(self._build_runtime(), Ledger(self._spool), self._epoch, loop=loop)
        self._spool.end_turn = self._connections.end_turn
        gates = Gates(config, self._connections, self._certificates.wrap, loop=loop, now=time.time)
        self._listeners = Listeners(config.listeners, gates.accept, arrival.take_sockets())

    async def run(self) -> int:
        """Serves until SIGTERM, or SIGUSR2 where a successor has the sockets too; then drains. 0 once everything is
        closed and the spool has its END."""
        self._loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        self._loop.add_signal_handler(signal.SIGINT, self._stop.set)
        self._loop.add_signal_handler(signal.SIGUSR2, self._leave)
        self._start(self._link.run(), *(view.keep_fresh() for view in self._clusters.values()), self._measure_lag(),
                    self._certificates.watch())
        first = asyncio.ensure_future(self._first_snapshot())
        await self._first(first, asyncio.ensure_future(self._stop.wait()))
        if first.done() and not self._stop.is_set():
            await self._listeners.open()
            self._learn_addresses()
            # What lives as long as the worker is not looked through again by every collection.
            gc.collect()
            gc.freeze()
            self._serving = True
            self._tell_in_force()
            self._start(self._every_second())
            self._arrival.tell_ready()
            self._journal.record("node_started", details={"pid": os.getpid()})
            await self._stop.wait()
            await self._drain()
        first.cancel()
        await self._end()
        return 0

    async def _first_snapshot(self) -> None:
        while self._file.in_force is None:
            error = await self._file.load()
            if self._file.in_force is None:
                await asyncio.sleep(BAD_SNAPSHOT_SECONDS if error else LOOK_SECONDS)

    @staticmethod
    async def _first(*futures: asyncio.Future[Any]) -> None:
        done, _ = await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
        for future in done:
            future.result()

    # -- drain ---------------------------------------------------------------------------------------------------------

    def _leave(self) -> None:
        self._replaced = True
        self._stop.set()

    async def _drain(self) -> None:
        """Nothing new is accepted; what a client has asked is still answered, until the deadline."""
        self._tell_control(messages.Drain(self._number))
        if not self._replaced:
            # Readiness turns false first, so that a balancer that looks now sends nobody to a closed door.
            await asyncio.sleep(NOTICE_SECONDS)
        self._listeners.close(leave=self._replaced)
        began = time.monotonic()
        allowed = self._config.limits.drain_timeout
        log.info("draining", count=self._connections.count, seconds=allowed)
        while self._connections.count and time.monotonic() < began + allowed:
            self._connections.drain(patient=time.monotonic() < began + allowed / 2)
            await asyncio.sleep(DRAIN_STEP_SECONDS)
        for number in list(self._connections.open):
            self._connections.kill(number, CloseCause.DRAINED)
        # A closed transport tells its protocol on one of the next turns; a client that reads nothing is not waited for.
        last = time.monotonic() + 1.0
        while self._connections.open and time.monotonic() < last:
            await asyncio.sleep(DRAIN_STEP_SECONDS)
        self._journal.record("node_stopped")

    async def _end(self) -> None:
        self._connections.end_turn()
        self._spool.close()
        self._executor.shutdown(wait=True)
        for view in self._clusters.values():
            view.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        log.info("stopped")

    # -- snapshots and the control process -----------------------------------------------------------------------------

    def _build(self, snapshot: Snapshot) -> SnapshotInForce:
        former = self._file.in_force
        if former is not None and former.snapshot.policy is snapshot.policy:
            decider = former.decider
        else:
            decider = compile_policy(snapshot.policy)
        return SnapshotInForce(snapshot, decider, mask, self._config.limits, former)

    def _on_changed(self, in_force: SnapshotInForce) -> None:
        # Sessions compare this with their own number at every frame and empty their tables where it differs.
        self._epoch.value = in_force.snapshot.epoch
        self._connections.on_snapshot(grant.until for grant in in_force.snapshot.grants)

    def _policy_of(self, listener: str) -> tuple[str, str]:
        in_force = self._file.in_force
        if in_force is None:
            return "", ""
        return in_force.snapshot.policy_version, in_force.mode_of(listener) if listener else ""

    async def _on_connected(self) -> None:
        await self._take_snapshot()

    async def _take_snapshot(self) -> None:
        error = await self._file.load()
        # A worker that does not listen yet is not ready, however good its snapshot.
        if error or self._serving:
            self._tell_in_force(error)

    def _tell_in_force(self, error: str = "") -> None:
        epoch = self._file.in_force.snapshot.epoch if self._file.in_force else 0
        if self._link.connected:  # Else it is told when the link is there, and there is nothing to report.
            self._tell_control(messages.InForce(self._number, epoch, error))

    def _tell_control(self, message: messages.Message) -> None:
        try:
            self._link.send(message)
        except ControlUnavailable:
            log.info("control_not_told", kind=type(message).__name__)

    async def _receive(self, message: Any) -> messages.Message | None:
        """Answers the control process."""
        if isinstance(message, messages.Published):
            # Every reload publishes, so certificates are looked at when an operator asks for one.
            self._certificates.look_now()
            await self._take_snapshot()
            return None
        if isinstance(message, messages.StatsAsked):
            return messages.Stats(message.ask, self._number, self._stats.collect(self._connections))
        if isinstance(message, messages.SessionsAsked):
            return messages.Sessions(message.ask, self._number, self._connections.views(self._number))
        if isinstance(message, messages.KillAsked):
            return messages.Killed(message.ask, self._number, int(self._kill(message)))
        log.warning("control_message_unknown", kind=type(message).__name__)
        return None

    def _kill(self, asked: messages.KillAsked) -> bool:
        worker, _, number = asked.session.partition("-")
        # Who asked is known to the control process, which tells the audit.
        return worker == str(self._number) and number.isdigit() and self._connections.kill(int(number))

    # -- time ----------------------------------------------------------------------------------------------------------

    async def _every_second(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            try:
                # Inside a commit every note of a session precedes the flow event that is to cover it.
                self._spool.at_commit(self._sweep)
                self._connections.end_turn()
                self._spool.tick()
                # Whether work is refused from now on is learned before the next request comes.
                self._connections.end_turn()
            except Exception:
                # One second's work lost is repeated in the next; a loop that ended would never expire a session again.
                log.exception("second_failed")

    def _sweep(self) -> None:
        """Runs inside a commit, whose notes are not to be lost by what goes wrong here."""
        try:
            self._connections.sweep(time.time())
            lost = self._spool.take_lost()
            if lost:
                self._journal.record("audit_gap", details={"entries": lost})
        except Exception:
            log.exception("second_failed")

    async def _measure_lag(self) -> None:
        while True:
            due = self._loop.time() + LAG_SECONDS
            await asyncio.sleep(LAG_SECONDS)
            self._stats.loop_lag = max(0.0, self._loop.time() - due)

    # -- putting it together -------------------------------------------------------------------------------------------

    def _build_runtime(self) -> Runtime:
        config = self._config
        issuers = {issuer.issuer: issuer for issuer in config.issuers.values()}
        logins = Logins(issuers, self._file, self._link, self._journal, now=time.time,
                        longest_session=config.limits.connections_max_reauth, error_id=lambda: secrets.token_hex(6),
                        on_checked=lambda *labels: self._stats.add("kproxy_token_checks_total", labels))
        schemas = {name: SchemaLookups(name, self._link, clock=time.monotonic, seconds=cluster.schema_registry.timeout)
                   for name, cluster in config.clusters.items() if cluster.schema_registry is not None}
        return Runtime(config, self._number, file=self._file, journal=self._journal, logins=logins,
                       approvals=ApprovalQuestions(self._link), clusters=self._clusters,
                       schemas=schemas, stats=self._stats, quotas=self._quotas, now=time.time)

    def _learn_addresses(self) -> None:
        for listener in self._config.listeners.values():
            self._clusters[listener.cluster].learn_from(self._connections.addresses_of(listener).learned)

    def _read_gauges(self) -> dict[str, list[tuple[tuple[str, ...], Any]]]:
        return {"kproxy_audit_refusing": [((str(self._number),), int(self._spool.refusing))]}

    def _count_broker_error(self, cluster: str, cause: str) -> None:
        self._stats.add("kproxy_broker_errors_total", (cluster, cause))

    def _start(self, *work: Any) -> None:
        for one in work:
            task = self._loop.create_task(one)
            task.add_done_callback(_tell_failure)
            self._tasks.append(task)


def _tell_failure(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("background_work_failed", exc_info=task.exception())


def run(arrival: Arrival) -> int:
    """The worker's process. Returns its exit code."""
    logs.configure(f"worker-{arrival.worker}")
    sys.setswitchinterval(SWITCH_SECONDS)
    # A hang-up asks the node to reload, which is the control process's work.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    async def serve() -> int:
        return await Worker(arrival, asyncio.get_running_loop()).run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            return runner.run(serve())
        except KproxyError as error:
            log.error("worker_failed", error=str(error))
            return 1
