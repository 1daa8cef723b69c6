"""The control process as a whole: what it is made of, in which order it starts and stops, what it does by the clock.

    files ──► Reloader ──┐                          ┌── WorkerLinks ◄──► workers
    issuers ► KeyStore ──┼──► Publisher ──► snapshot┤
    people ─► Approvals ─┘        ▲                 └── Admin API, operator socket, metrics port
              (EventLog)──────────┼──► Shipper ──► sink
    workers' spool ───────────────┘
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import os
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import structlog

from kproxy import __version__
from kproxy.control.approval_desk import ApprovalDesk
from kproxy.control.approval_events import audit_of, request_id_of, say_person, unpack
from kproxy.control.approvals import Approvals
from kproxy.control.audit.own import OwnSpool
from kproxy.control.audit.query import Question, answer, read_events
from kproxy.control.audit.ship import Shipper
from kproxy.control.audit.sink import Sink, read_tail
from kproxy.control.callers import Caller, Reception
from kproxy.control.event_log import EventLog
from kproxy.control.files import write_whole
from kproxy.control.http_server import HttpServer
from kproxy.control.keys import KeyStore
from kproxy.control.listening import bind_tcp, bind_unix
from kproxy.control.loading import First, load_node
from kproxy.control.metrics_port import build_metrics_app
from kproxy.control.overview import Overview
from kproxy.control.publication import Publisher
from kproxy.control.refusals import CONFLICT, UNKNOWN, Refused
from kproxy.control.reload import Reloader
from kproxy.control.schemas import Schemas, build_schemas
from kproxy.control.worker_counts import Samples, WorkerCounts
from kproxy.control.worker_links import WorkerLink, WorkerLinks
from kproxy.errors import ProblemsFound
from kproxy.model.messages import (
    ApprovalAsked,
    KeyAnswer,
    KeyWanted,
    KillAsked,
    Message,
    SchemasWanted,
    Sessions,
    SessionsAsked,
    SessionView,
    Stats,
    StatsAsked,
)

log = structlog.get_logger("kproxy.control")

#: How long a worker may take to answer before it counts as silent.
ASK_SECONDS = 1.0
#: Revoking must be in force within a second; whoever decides is told whether it is.
SETTLE_SECONDS = 1.0
TICK_SECONDS = 1.0
SHIP_SECONDS = 0.25
COUNT_SECONDS = 5.0
#: A pass that fails (a full disk) is tried again after this.
SHIP_RETRY_SECONDS = 1.0
#: Told segments of living workers are kept for this long, or three times the interval of their flow lines.
KEEP_SECONDS = 30.0
#: A worker looks once a second whether the interval of its flow lines is over, and may be late.
SUMMED_SECONDS = 4.0
LAST_SHIPPING_SECONDS = 10.0
MOST_TAIL = 10_000


class Node:
    """``new_id`` gives the random part of ids; ``ask_restart`` tells the supervisor, where there is one. The state
    directory's lock is the caller's."""

    def __init__(self, file: Path, first: First, events: EventLog, *, now: Callable[[], float],
                 new_id: Callable[[], str], ask_restart: Callable[[], None] | None = None) -> None:
        config = first.loaded.config
        self._now = now
        self._events = events
        self._name = config.node.name
        self._runtime, state = Path(config.node.runtime_dir), Path(config.node.state_dir)
        started = int(now() * 1000)
        spool = state / "spool"
        self.own = OwnSpool(spool, self._name, started, now)
        self.book = Approvals(events, new_id)
        self.reloader = Reloader(file, first.loaded, now=now, publish=self._publish, record=self.own.record)
        self._first = first
        self._ask_restart = ask_restart
        self.links = WorkerLinks(answer=self._answer, epoch=lambda: self.publisher.epoch, now=now,
                                 on_hello=lambda link: self.counts.greet(link.worker, link.pid), on_gone=self._on_gone)
        self.publisher = Publisher(self._runtime / "snapshot.msgpack", events, now, self.links.announce)
        self.keys = KeyStore(config.issuers.values(), on_change=self._publish)
        self.schemas: Schemas = build_schemas(config.clusters.values())
        self.counts = WorkerCounts(self._runtime / "counters.msgpack")
        self.reception = Reception(lambda: self.reloader.loaded, self.keys, self._published_keys, now, self.own.record,
                                   new_id)
        self.desk = ApprovalDesk(self.book, lambda: self.reloader.loaded, now, self._publish_and_settle, self._stir)
        sink = Path(config.audit.file) if config.audit.file else state / "audit" / "audit.jsonl"
        self._sink = Sink(sink, state / "audit" / "position.json")
        self.shipper = Shipper(spool, self._sink, self._name, own_start=started, now=now, away=self.links.is_away,
                               settle=max(KEEP_SECONDS, 3 * config.audit.flow_interval),
                               summed=config.audit.flow_interval + SUMMED_SECONDS,
                               max_bytes=config.audit.max_spool_bytes)
        self._overview = Overview(reloader=self.reloader, publisher=self.publisher, links=self.links, keys=self.keys,
                                  book=self.book, shipper=self.shipper, reception=self.reception, started_at=now())
        self._overview.remember(self.counts.totals(()))
        self._thread = ThreadPoolExecutor(1, "audit")
        self._stirred = asyncio.Event()
        self._unpublished = self._told_serving = False
        self._draining = False
        self._servers: list[HttpServer] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Publishes before anybody can ask. Raises KproxyError where a socket cannot be had."""
        self.own.record("node_started", details={"version": __version__, "pid": os.getpid()})
        if self._first.problems:
            self.reloader.refuse(list(self._first.problems))
        else:
            self.reloader.tell_loaded()
        self.reloader.tell_restart_needed(self._first.restart_needed)
        self.book.expire(self._now())
        self._publish()
        await self.links.start(self._runtime / "control.sock")
        await self.keys.start()
        await self._listen()
        for job in (self._tick, self._ship, self._count, self.reloader.watch):
            self._tasks.append(asyncio.create_task(self._keep_doing(job), name=job.__name__))
        log.info("control_started", epoch=self.publisher.epoch, policy_version=self.reloader.loaded.policy.version,
                 pid=os.getpid())

    async def aclose(self) -> None:
        """Stops answering, ships what is left and closes everything."""
        self._draining = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(server.aclose() for server in self._servers))
        await self.links.aclose()
        await self.keys.aclose()
        await self.schemas.aclose()
        self.own.record("node_stopped", details={"pid": os.getpid()})
        self.own.close()
        await self._ship_the_rest()
        await self._on_thread(self._write_counts, self.counts.pack())
        self._thread.shutdown()
        self._sink.close()
        log.info("control_stopped")

    def not_ready(self) -> str:
        """Why no traffic should come here; empty if it may."""
        if self._draining:
            return "draining"
        if not self.publisher.epoch:
            return "no snapshot is published"
        return "" if self.links.is_ready() else "no worker serves by a snapshot"

    async def status(self) -> dict[str, Any]:
        return self._overview.status(await self._totals(), self._now())

    async def restart(self, caller: Caller) -> None:
        """Has every process of the node replaced by one that takes over the whole configuration. Raises Refused where
        the files cannot be used or nobody supervises."""
        if self._ask_restart is None:
            raise Refused(CONFLICT, "this control process runs without a supervisor")
        try:
            await asyncio.to_thread(load_node, self.reloader.file, certificates=True)
        except ProblemsFound as error:
            raise Refused(CONFLICT, f"{len(error.problems)} problems in the files; the first: {error.problems[0]}"
                          ) from None
        self.own.record("restart_asked", actor=say_person(caller.person))
        self._ask_restart()

    async def metrics_page(self) -> bytes:
        # Imported late: a node starts sooner without it, and nobody scrapes one that has not started.
        from kproxy.control.exposition import build_page

        totals = await self._totals()
        for name, values in self._overview.samples(self._now()).items():
            known = totals.setdefault(name, {})
            for labels, value in values.items():
                known[labels] = known.get(labels, 0) + value
        return build_page(totals)

    async def sessions(self) -> list[SessionView]:
        """Of all workers that answer in time, by id."""
        answers = await self.links.ask_all(SessionsAsked, ASK_SECONDS)
        found = [view for _, answer in answers if isinstance(answer, Sessions) for view in answer.sessions]
        return sorted(found, key=lambda view: (view.worker, view.connected_at, view.id))

    async def kill(self, caller: Caller, session: str, reason: str) -> int:
        """Closes a session now; how many were closed. Raises Refused if there is none of this id."""
        view = next((view for view in await self.sessions() if view.id == session), None)
        answers = await self.links.ask_all(lambda number: KillAsked(number, session, reason), ASK_SECONDS)
        closed = sum(getattr(answer, "closed", 0) for _, answer in answers)
        if not closed:
            raise Refused(UNKNOWN, f"there is no session {session}")
        about = ("principal", "listener", "client_id", "address", "attested")
        self.own.record("session_killed", session=session, actor=say_person(caller.person), reason=reason,
                        **({name: getattr(view, name) for name in about} if view is not None else {}))
        return closed

    async def ask_audit(self, question: Question) -> list[dict[str, Any]]:
        """From the sink. On a thread of its own: a long look back must not hold up anything."""
        def look() -> list[dict[str, Any]]:
            return answer(read_events([self._sink.path]), question)

        return await asyncio.to_thread(look)

    async def tail_audit(self, count: int, after: int) -> dict[str, Any]:
        """The last lines, or those after ``next`` of an earlier answer."""
        lines, at = await asyncio.to_thread(read_tail, self._sink.path, max(0, min(count, MOST_TAIL)), after)
        return {"events": [msgspec.Raw(line) for line in lines], "next": at}

    async def _listen(self) -> None:
        # The framework is half of this process's start, and no worker has to wait for it.
        build_admin_app = (await asyncio.to_thread(importlib.import_module, "kproxy.control.admin_api")).build_admin_app
        config = self.reloader.loaded.config
        admin = build_admin_app(self, self.reception.receive)
        self._servers.append(HttpServer(admin, bind_unix(self._runtime / "operator.sock")))
        if config.admin is not None:
            self._servers.append(HttpServer(admin, bind_tcp(*config.admin)))
        if config.metrics is not None:
            page = build_metrics_app(self.metrics_page, self.not_ready)
            self._servers.append(HttpServer(page, bind_tcp(*config.metrics)))
        for server in self._servers:
            server.start()

    async def _answer(self, message: Message) -> Message:
        if isinstance(message, ApprovalAsked):
            return self.desk.answer(message)
        if isinstance(message, SchemasWanted):
            return await self.schemas.answer(message)
        assert isinstance(message, KeyWanted)
        wanted = await self.keys.wanted(message.issuer, message.kid, message.because)
        self._publish()
        return KeyAnswer(message.ask, wanted.found, self.publisher.epoch, wanted.reason)

    def _published_keys(self) -> tuple[Any, ...]:
        return self.publisher.snapshot.issuer_keys if self.publisher.snapshot is not None else ()

    def _publish(self) -> None:
        loaded = self.reloader.loaded
        try:
            self.publisher.publish(loaded.policy, loaded.modes(), self.keys.current(), self.book.grants(self._now()),
                                   dict(loaded.config.keys))
            self._unpublished = False
        except OSError as error:
            # The old snapshot stays; the next tick tries again.
            self._unpublished = True
            log.error("snapshot_not_written", error=error.strerror)

    async def _publish_and_settle(self) -> bool:
        self._publish()
        return not self._unpublished and await self.links.settle(self.publisher.epoch, SETTLE_SECONDS)

    def _stir(self) -> None:
        self._stirred.set()

    def _on_gone(self, _link: WorkerLink) -> None:
        self.shipper.look_soon()
        self._stir()

    async def _totals(self) -> Samples:
        for link, stats in await self.links.ask_all(StatsAsked, ASK_SECONDS):
            if isinstance(stats, Stats):
                self.counts.keep(link.worker, link.pid, stats.values)
        totals = self.counts.totals((link.worker, link.pid) for link in self.links.links())
        self._overview.look(totals, self._now())
        return totals

    async def _keep_doing(self, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """A fault in one job must end neither it nor the others."""
        while True:
            try:
                await job()
            except Exception:
                log.error("job_failed", reason=job.__name__, exc_info=True)
                await asyncio.sleep(TICK_SECONDS)

    async def _tick(self) -> None:
        while True:
            if self.book.expire(self._now()) or self._unpublished:
                self._publish()
                self._stir()
            self._tell_serving()
            await asyncio.sleep(TICK_SECONDS)

    def _tell_serving(self) -> None:
        """Once, when all workers that are there decide by the policy: what whoever started the node waits for."""
        links, epoch = self.links.links(), self.publisher.epoch
        if self._told_serving or not links or any(link.epoch != epoch or link.draining for link in links):
            return
        self._told_serving = True
        loaded = self.reloader.loaded
        modes = loaded.modes()
        for one in loaded.config.listeners.values():
            log.info("serving", listener=one.name, address=f"{one.host}:{one.port}", cluster=one.cluster,
                     mode=modes[one.name], policy_version=loaded.policy.version, epoch=epoch, count=len(links))

    async def _count(self) -> None:
        while True:
            await asyncio.sleep(COUNT_SECONDS)
            await self._totals()
            await self._on_thread(self._write_counts, self.counts.pack())

    async def _ship(self) -> None:
        while True:
            self._stirred.clear()
            if not await self._ship_once():
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SHIP_SECONDS):
                    await self._stirred.wait()

    async def _ship_once(self) -> bool:
        """One pass; False if there is more. A disk that takes nothing is told and tried again."""
        try:
            return bool(await self._on_thread(self.shipper.ship, self._untold(), self._events.born))
        except OSError as error:
            log.error("audit_not_shipped", file=str(self._sink.path), error=error.strerror)
            await asyncio.sleep(SHIP_RETRY_SECONDS)
            return True

    async def _ship_the_rest(self) -> None:
        self.shipper.look_soon()
        try:
            async with asyncio.timeout(LAST_SHIPPING_SECONDS):
                while not await self._ship_once():
                    continue
        except TimeoutError:
            log.error("audit_left_in_spool", bytes=self.shipper.bytes)

    def _untold(self) -> list[tuple[int, bytes]]:
        """Approval steps that are not in the sink yet, as audit lines."""
        told = self.shipper.told_approvals(self._events.born)
        lines = []
        for entry in self._events.read(told, limit=1000):
            request = self.book.request(request_id_of(unpack(entry.body)))
            lines.append((entry.seq, msgspec.json.encode(
                audit_of(entry, request, node=self._name, born=self._events.born))))
        return lines

    def _write_counts(self, data: bytes) -> None:
        try:
            write_whole(self.counts.path, data)
        except OSError as error:
            # It costs the totals over a restart of this process, nothing else.
            log.warning("counters_not_saved", file=str(self.counts.path), error=error.strerror)

    async def _on_thread(self, job: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, functools.partial(job, *args))
