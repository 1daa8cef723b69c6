"""The shell of one session: what a native session cannot do by itself because it needs time, keys or a socket.

A session that must wait hands over a ticket; the answer goes back through one of its ``resume_*`` methods, and
``resumed`` takes up the frames that waited.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from kproxy._ext.login import Promise, advertised
from kproxy._ext.protocol import ClientHalf
from kproxy.dataplane.backlog import Backlog
from kproxy.dataplane.cluster_view import cause_of
from kproxy.dataplane.flows import FlowBook
from kproxy.dataplane.proxy_header import Ends, Header
from kproxy.errors import BrokerUnreachable, CloseCause, KproxyError, TokenRefused
from kproxy.identity.sasl import client_message, oauthbearer_error_json
from kproxy.model.access import Client, Facts
from kproxy.model.audit_event import roles_rest_on
from kproxy.model.messages import SessionView
from kproxy.model.policy import QuotaInForce
from kproxy.model.settings import Listener

log = structlog.get_logger("kproxy.connection")

#: Mechanisms whose refusal is told as JSON first (RFC 7628), which the client must answer before it gets its error
#: code.
CHALLENGED = ("OAUTHBEARER",)
#: What is still queued for a client has this long to leave after its session ended.
CLOSING_SECONDS = 10.0
#: Parts of the lifetime of its login after which a broker is logged in to anew, less the second that a sweep may be
#: late.
RENEWED_AT = (0.7, 0.8)


class Connection:
    """``connections`` (kproxy.dataplane.connections) knows all that are open; ``node``: the broker its port stands
    for; ``header``: what a balancer before the listener said of it."""

    def __init__(self, connections: Any, runtime: Any, listener: Listener, node: int | None,
                 header: Header | None = None) -> None:
        self.half: ClientHalf           # these two are given right after, by Connections.accept
        self.backlog: Backlog
        self.listener = listener
        self.node = node
        self.address = ""
        self.via = ""
        """The balancer's address, where it is not the client's."""
        self._header = header
        self._ends: Ends | None = None
        self._connections = connections
        self._runtime = runtime
        self._decide: Any = None
        self._quotas: tuple[QuotaInForce, ...] = ()
        self._closed_at: float | None = None
        self._renew_broker_at = math.inf
        self._flows = FlowBook(runtime.journal, runtime.count_masked)

    def take_half(self, half: ClientHalf) -> None:
        self.half = half
        self.backlog = Backlog(half)

    # -- called by the native half -------------------------------------------------------------------------------------

    def opened(self, half: ClientHalf) -> None:
        peer = half.transport.get_extra_info("peername")
        own = half.transport.get_extra_info("sockname")
        self._ends = (peer[:2], own[:2]) if peer and own else None
        self.address = peer[0] if peer else ""
        header = self._header
        if header is not None and header.client is not None and header.reached is not None:
            self._ends = header.client, header.reached
            self.via, self.address = self.address, header.client[0]
        self._connections.open[half.session.number] = self
        if self._connections.count > self._runtime.config.limits.max_connections:
            half.close(str(CloseCause.TOO_MANY_CONNECTIONS))

    def decide(self, resource: str, operation: str, name: str, now: float) -> tuple[Any, Any]:
        """Fills a cell of the session's table. The plan is remembered, because its counts belong to this session."""
        verdict, plan = self._decider()(resource, operation, name, now)
        if operation == "read" and resource == "topic" and verdict.effect == "allow":
            self.backlog.note(name, plan)
        if plan is not None:
            plan.read_by(self._runtime.schemas(self.listener.cluster))
            self._flows.keep(name, operation, plan)
        return verdict, plan

    def _decider(self) -> Any:
        if self._decide is None:
            self._decide = self._runtime.decider_for(self.half.session.facts)
        return self._decide

    def ask(self, half: ClientHalf, ticket: tuple[Any, ...]) -> None:
        work: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {
            "versions": self._ask_versions, "token": self._ask_token, "broker": self._ask_broker,
            "approval": self._ask_approval, "topic_ids": self._ask_topic_ids, "schemas": self._ask_schemas}
        self._connections.start(self._answered(ticket, work[ticket[0]](*ticket[1:])))

    async def _answered(self, ticket: tuple[Any, ...] | None, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:
            self.half.fail(error)
        # A broker that must be logged in to first leaves the ticket open: broker_ready answers it.
        if self.half.session.waiting is not ticket:
            self.half.resumed()

    def ask_for_answer(self, half: ClientHalf, ids: list[int]) -> None:
        """An answer of the broker's, and those behind it, wait for schemas."""
        self._connections.start(self._complete_answer(ids))

    async def _complete_answer(self, ids: list[int]) -> None:
        try:
            await self._runtime.look_up_schemas(self.listener.cluster, ids)
            self.half.session.resume_answer()
        except Exception as error:
            self.half.fail(error)
        self.half.resumed_answer()

    def broker_ready(self, half: ClientHalf) -> None:
        """The broker's connection is logged in."""
        self._plan_renewal()
        self._connections.start(self._answered(half.session.waiting, self._open_session()))

    def broker_renewed(self, half: ClientHalf) -> None:
        """The broker's connection is logged in anew."""
        self._plan_renewal()

    def _plan_renewal(self) -> None:
        """A broker that limits its logins closes on the first request after the end, so kproxy is earlier, by different
        amounts for different connections, and whether or not the client has anything to say."""
        lifetime = self.half.broker_lifetime()
        used = RENEWED_AT[0] + (RENEWED_AT[1] - RENEWED_AT[0]) * (self.half.session.number % 16) / 15
        self._renew_broker_at = self._now() + max(lifetime * used - 1.0, lifetime / 2) if lifetime else math.inf

    def broker_refused(self, half: ClientHalf, error: Exception) -> None:
        log.error("broker_refused_login", listener=self.listener.name, cluster=self.listener.cluster, error=str(error))
        self._runtime.count_broker_error(self.listener.cluster, cause_of(error))
        half.session.close(str(CloseCause.BROKER_REFUSED_LOGIN))
        half.resumed()

    def failed(self, half: ClientHalf, error: Exception) -> None:
        log.error("session_failed", **self._who(), error_type=type(error).__name__,
                  exc_info=not isinstance(error, KproxyError))

    def _name(self) -> str:
        """What the audit and ``kproxy sessions`` call the session."""
        return f"{self._runtime.worker}-{self.half.session.number}"

    def _who(self) -> dict[str, str]:
        """For the log."""
        facts = self.half.session.facts
        return {"session": self._name(), "listener": self.listener.name,
                "principal": facts.principal.name if facts is not None else ""}

    def closed(self, half: ClientHalf) -> None:
        session = half.session
        self._connections.forget(session.number)
        self._runtime.quotas.leave(self._quotas)
        self._quotas = ()
        cause = session.cause or str(CloseCause.CLIENT_CLOSED)
        self._connections.note_close(cause, **self._who(), address=self.address)
        if cause == CloseCause.BROKER_CLOSED:
            self._runtime.forget_broker(self.listener.cluster, self.node)
        if session.facts is not None:
            session.tell_repeats()
            self._flows.write(session, self._now())
            self._runtime.journal.tell("disconnect", session, {"cause": cause, "unanswered": session.unanswered()})

    # -- tickets -------------------------------------------------------------------------------------------------------

    async def _ask_versions(self) -> None:
        promise = await self._promise()
        if not self._is_gone():
            self.half.session.resume_versions(promise)

    async def _promise(self) -> Promise | None:
        try:
            spoken = await self._runtime.api_versions(self.listener.cluster, self.node)
            return Promise(advertised(spoken.ranges), spoken.levels, spoken.epoch, spoken.cluster_id,
                           -1 if self.node is None else self.node)
        except BrokerUnreachable as error:
            log.error("broker_unreachable", cluster=self.listener.cluster, node=self.node, error=str(error))
            return None

    async def _ask_token(self, mechanism: str, payload: bytes) -> None:
        session = self.half.session
        client = Client(id=session.client_id, software=session.client_software, address=self.address)
        try:
            facts = await self._runtime.validate(mechanism, payload, self.listener, client)
        except TokenRefused as error:
            if self._is_gone():
                return
            challenge = oauthbearer_error_json(error.error_id) if mechanism in CHALLENGED else None
            session.refuse_login(client_message(error.error_id), challenge, self._now())
            return
        if self._is_gone():
            return
        if session.facts is not None:
            self._renew(facts)
            return
        session.resume_login(facts, self._now())
        self._connections.expires(session.number, facts.expires_at)
        details = {"software": session.client_software, **roles_rest_on(facts)}
        subject = getattr(self.half.transport, "peer", None)
        if subject:
            details["certificate"] = subject
        if self.via:
            details["via"] = self.via
        self._runtime.journal.tell("connect", session, {"details": details})

    def _renew(self, facts: Facts) -> None:
        """A re-authentication. What was moved until now was moved under the old facts, and is told under them."""
        session = self.half.session
        self._connections.end_turn()
        self._flows.write(session, self._now())
        session.resume_login(facts, self._now())
        refused = session.cause or session.ending
        if refused is not None:
            self._runtime.journal.tell("login_failed", session, {"reason": refused, "name": facts.principal.name})
            return
        self._decide = None
        self.renew_quotas(self._now())
        self._connections.expires(session.number, facts.expires_at)
        self._runtime.journal.tell("reauthenticated", session, {
            "details": {"expires_at": facts.expires_at, **roles_rest_on(facts)}})
        self.review(self._now())

    async def _ask_broker(self) -> None:
        """Opens the broker's connection; the session goes on when its login is done, in ``broker_ready``."""
        session = self.half.session
        cluster = self.listener.cluster
        if session.facts.mechanism == "none":
            self._runtime.journal.tell("connect", session, {"details": roles_rest_on(session.facts)})
        # A place that is taken for a session that has ended would never be given back.
        if self._is_gone() or not self._enter():
            return
        try:
            login = await self._runtime.broker_login(cluster, self.node, session.facts)
            transport = await self._runtime.connect_broker(lambda: self.half.attach_broker(login), cluster, self.node,
                                                           self._ends)
        except BrokerUnreachable as error:
            log.error("broker_unreachable", cluster=cluster, node=self.node, error=str(error))
            session.close(str(CloseCause.BROKER_UNREACHABLE))
            return
        if self._is_gone():
            transport.abort()
        elif login is None:
            await self._open_session()

    def _enter(self) -> bool:
        """Takes up the session's quotas; ends it where one has no room for another connection."""
        quotas = self._runtime.quotas_of(self.half.session.facts)
        full = self._runtime.quotas.enter(quotas)
        if full is not None:
            log.warning("connection_quota", **self._who(), rule=full.rule.name, limit=full.rule.connections)
            self.half.session.close(str(CloseCause.CONNECTION_QUOTA))
            return False
        self._quotas = quotas
        self.half.session.budgets = self._runtime.quotas.budgets(quotas)
        return True

    def renew_quotas(self, _now: float) -> None:
        """Another policy is in force, or the session has other roles."""
        session = self.half.session
        if session.facts is None or session.cause is not None:
            return
        quotas = self._runtime.quotas_of(session.facts)
        if quotas != self._quotas:
            self._runtime.quotas.move(self._quotas, quotas)
            self._quotas = quotas
            session.budgets = self._runtime.quotas.budgets(quotas)
            self.half.unmute()

    async def _open_session(self) -> None:
        promise = await self._promise()
        session = self.half.session
        if promise is None:
            session.close(str(CloseCause.BROKER_UNREACHABLE))
        elif session.cause is None:
            session.resume_broker(promise, self._now())

    async def _ask_approval(self, wanted: list[Any]) -> None:
        session = self.half.session
        # All at once: each may take its whole time to fail, and the client waits for the last of them.
        answers = await asyncio.gather(*(self._runtime.ask_approval(session.facts, each) for each in wanted))
        session.resume_approval(dict(zip(wanted, answers, strict=True)))

    async def _ask_topic_ids(self, ids: list[bytes]) -> None:
        await self._runtime.look_up_topics(self.listener.cluster, ids)
        self.half.session.resume_topic_ids()

    async def _ask_schemas(self, ids: list[int]) -> None:
        await self._runtime.look_up_schemas(self.listener.cluster, ids)
        self.half.session.resume_schemas()

    def _is_gone(self) -> bool:
        """Whether the session was closed while something was waited for: a dead session may not come to life again."""
        return self.half.session.cause is not None

    # -- time ----------------------------------------------------------------------------------------------------------

    def _now(self) -> float:
        now: float = self._runtime.now()
        return now

    def sweep(self, now: float) -> None:
        session, limits = self.half.session, self._runtime.config.limits
        if session.cause is not None or session.ending is not None:
            self._abort_late(now)
            return
        session.tell_repeats()
        if session.facts is None:
            if now - self.half.connected_at > limits.login_timeout:
                self.half.close(str(CloseCause.LOGIN_TIMEOUT))
            return
        if self.backlog.too_long or not self.backlog.is_empty():
            # A rule may rest on the time of day, which changes without anybody's telling.
            self.review(now)
        if now >= self._renew_broker_at:
            self._renew_broker_at = math.inf
            self.half.renew_broker()
        if now >= session.facts.expires_at:
            self.expire(now)
        elif (now - self.half.heard_at > limits.connections_max_idle and session.slots.count == 0
              and not session.muted):
            self.half.close(str(CloseCause.IDLE))
        elif self._flows.due(session, now, self._runtime.config.audit.flow_interval):
            self._flows.write(session, now)

    def expire(self, now: float) -> None:
        """Ends the session if its time is over. One that is being proven anew has not been, and ends too."""
        if self.half.session.facts.expires_at <= now:
            self.half.cut(str(CloseCause.SESSION_EXPIRED))

    def review(self, now: float) -> None:
        """Access may have changed; see kproxy.dataplane.backlog."""
        session = self.half.session
        if session.facts is None or self.half.transport is None:
            return
        if self.backlog.is_empty() and not session.to_client.queued:
            self.backlog.forget()
            session.forget_decisions()
            return
        ended = self.backlog.find_ended(self._decider(), now)
        if ended:
            self._connections.start(self._cut_unless_drained(ended))

    async def _cut_unless_drained(self, ended: list[Any]) -> None:
        if not await self.backlog.drain(ended):
            log.warning("slow_reader_cut", **self._who(), count=len(ended))
            self.half.cut(str(CloseCause.ACCESS_ENDED))

    def _abort_late(self, now: float) -> None:
        """A closed transport waits until its peer has read everything, and a peer may choose never to; nor is a broker
        waited for without end whose answers stand before a refusal."""
        if self._closed_at is None:
            self._closed_at = now
        elif now - self._closed_at >= CLOSING_SECONDS:
            self.half.session.close(self.half.session.ending or "")
            self.half.abort()

    def view(self, worker: int) -> SessionView:
        session = self.half.session
        facts = session.facts
        return SessionView(
            id=self._name(), worker=worker, listener=self.listener.name,
            principal=facts.principal.name if facts else "", mechanism=facts.mechanism if facts else "",
            client_id=session.client_id, address=self.address, attested=dict(facts.attested) if facts else {},
            declared=dict(facts.declared) if facts else {}, connected_at=self.half.connected_at,
            expires_at=facts.expires_at if facts else 0.0, requests=session.requests,
            broker="" if self.node is None else str(self.node), groups=facts.principal.groups if facts else ())
