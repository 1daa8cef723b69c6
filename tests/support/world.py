"""The connections of a worker over real sockets, in a world whose answers wait for gates that a test opens."""

from __future__ import annotations

import asyncio
import functools
from contextlib import asynccontextmanager
from types import SimpleNamespace

import uvloop

from kproxy._ext.ledger import Ledger
from kproxy._ext.session import Epoch
from kproxy._ext.topic_ids import TopicIds
from kproxy.dataplane.connections import Connections
from kproxy.dataplane.gate import Gates
from kproxy.dataplane.quotas import Quotas
from kproxy.dataplane.upstream import BrokerLogin, Spoken
from kproxy.errors import CloseCause, SpoolFull
from kproxy.model.access import Facts, Principal, Verdict
from kproxy.model.policy import QuotaInForce
from kproxy.model.settings import Advertise, Audit, Limits, Listener
from tests.support.async_client import RawClient
from tests.support.scripted_broker import RANGES, ScriptedBroker
from tests.support.scripted_control import until

LISTENER = Listener("public", "prod", "127.0.0.1", 0, Advertise("localhost", 0, 3, 9100), ("OAUTHBEARER", "PLAIN"))
OPEN_TO_ALL = Listener("free", "prod", "127.0.0.1", 0, Advertise("localhost", 0, 3, 9100), ("none",))
FACTS = Facts(Principal("corp:w1", "corp", "w1"), "PLAIN", "public")


def on_uvloop(test):
    """uvloop reads into a plain native class; asyncio's own loop asks for one of its base classes first."""

    @functools.wraps(test)
    def run(*arguments, **named):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(test(*arguments, **named))

    return run


class Spool:
    """Takes everything, unless ``broken``; ``refusing`` as a test says."""

    refusing = False
    broken = False

    def append(self, kind: int, payload: bytes) -> None: ...

    def commit(self) -> None:
        if self.broken:
            raise SpoolFull("the audit spool is full")


class World:
    """A runtime whose answers wait for ``gates`` that the test opens: ``token``, ``broker``, ``versions``,
    ``topic_ids``."""

    def __init__(self, broker: ScriptedBroker) -> None:
        self.broker = broker
        self.worker = 0
        self.spool = Spool()
        self.config = SimpleNamespace(limits=Limits(), audit=Audit(), listeners={})
        self.told: list[tuple[str, dict]] = []
        self.told_of: list[tuple[str, Facts]] = []
        self.journal = SimpleNamespace(tell=self.tell)
        self.facts = FACTS
        self.gates = {name: asyncio.Event() for name in ("token", "broker", "versions", "topic_ids")}
        self.ids = TopicIds()
        self.quotas = Quotas(None)
        self.quotas_in_force: tuple[QuotaInForce, ...] = ()
        self.asked: list[str] = []
        self.ends: list = []
        self.refuse: Exception | None = None
        self.transports: list = []
        self.forgotten: list = []
        self.login: BrokerLogin | None = None
        self.clock = lambda: 1_800_000_000.0

    def tell(self, kind: str, session, fields: dict) -> None:
        self.told.append((kind, fields))
        self.told_of.append((kind, session.facts))

    def open(self, *names: str) -> None:
        for name in names:
            self.gates[name].set()

    def now(self) -> float:
        return self.clock()

    async def validate(self, mechanism, payload, listener, client) -> Facts:
        self.asked.append("token")
        await self.gates["token"].wait()
        if self.refuse:
            raise self.refuse
        return self.facts

    async def api_versions(self, cluster, node):
        self.asked.append("versions")
        await self.gates["versions"].wait()
        return Spoken(RANGES)

    def quotas_of(self, facts):
        return self.quotas_in_force

    def topic_ids(self, cluster):
        return self.ids

    async def look_up_topics(self, cluster, ids):
        self.asked.append("topic_ids")
        await self.gates["topic_ids"].wait()

    def schemas(self, cluster):
        return None

    async def broker_login(self, cluster, node, facts):
        return self.login

    async def connect_broker(self, factory, cluster, node, told):
        self.asked.append("broker")
        self.ends.append(told)
        await self.gates["broker"].wait()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(factory, "127.0.0.1", self.broker.port)
        self.transports.append(transport)
        return transport

    def decider_for(self, facts):
        return lambda resource, operation, name, now: (Verdict("allow"), None)

    def count_masked(self, rule, entity, count) -> None: ...

    def count_broker_error(self, cluster, cause) -> None: ...

    def forget_broker(self, cluster, node) -> None:
        self.forgotten.append((cluster, node))


@asynccontextmanager
async def serving(listener: Listener = LISTENER, wrap=lambda _, half: half, **broker):
    """``wrap`` as kproxy.dataplane.listener has it: TLS before the half."""
    async with ScriptedBroker(**broker) as upstream:
        world = World(upstream)
        loop = asyncio.get_running_loop()
        connections = Connections(world, Ledger(world.spool), Epoch(1), loop=loop)
        world.config.listeners[listener.name] = listener
        gates = Gates(world.config, connections, wrap, loop=loop, now=world.now)  # type: ignore[arg-type]
        server = await loop.create_server(lambda: gates.accept(listener, None), "127.0.0.1", 0)
        world.port = server.sockets[0].getsockname()[1]
        try:
            yield world, connections
        finally:
            server.close()
            for gate in list(connections.at_gates):
                gate.close(CloseCause.DRAINED)
            for number in list(connections.open):
                connections.kill(number)


async def client_with_token_sent(world: World) -> RawClient:
    world.open("versions")
    client = await RawClient.connect(world.port)
    await client.ask(17, 1, {"mechanism": "PLAIN"})
    client.send(36, 1, {"auth_bytes": b"\0svc\0token"})
    await until(lambda: "token" in world.asked)
    return client
