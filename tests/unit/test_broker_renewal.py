"""The broker's login has a lifetime of its own; kproxy renews it on the session's connection (KIP-368, trap T17)."""

from __future__ import annotations

import math

from kproxy.dataplane.connections import Connections
from kproxy.dataplane.upstream import BrokerLogin
from kproxy.model.settings import Credential, Limits
from tests.support.async_client import RawClient
from tests.support.scripted_broker import RANGES
from tests.support.scripted_control import until
from tests.support.world import World, client_with_token_sent, on_uvloop, serving


async def ready_client(world: World) -> RawClient:
    world.open("token", "broker")
    client = await client_with_token_sent(world)
    await client.receive()
    return client


def due(world: World, connections: Connections, seconds: float) -> None:
    """The clock moves on and the sweep of that second comes; nobody is idle by a clock that is not the sessions'."""
    world.config.limits = Limits(connections_max_idle=math.inf)
    now = world.clock() + seconds
    world.clock = lambda: now
    connections.sweep(now)


@on_uvloop
async def test_a_broker_login_is_renewed_between_two_requests_and_nobody_sees_it():
    async with serving(users={"svc": "pw-1"}, lifetime_ms=10_000) as (world, connections):
        world.login = BrokerLogin(Credential("PLAIN", username="svc", password="pw-1"), RANGES)
        client = await ready_client(world)
        for _ in range(3):
            assert (await client.ask(3, 9, {"topics": []}))["cluster_id"] == "scripted"
            due(world, connections, 5.9)
            due(world, connections, 1.2)
            client.send(3, 9, {"topics": []})
            client.send(3, 9, {"topics": []})
            for _ in range(2):
                assert (await client.receive())["cluster_id"] == "scripted"
        keys = [one.api_key for one in world.broker.asked]
        assert keys == [17, 36, *[3, 17, 36, 3, 3] * 3]
        assert connections.closes == {}
        client.close()


@on_uvloop
async def test_a_broker_that_refuses_the_renewal_ends_the_session_by_name():
    async with serving(users={"svc": "pw-1"}, lifetime_ms=10_000) as (world, connections):
        world.login = BrokerLogin(Credential("PLAIN", username="svc", password="pw-1"), RANGES)
        client = await ready_client(world)
        world.broker.users["svc"] = "another since"
        due(world, connections, 8.1)
        client.send(3, 9, {"topics": []})
        await until(lambda: connections.closes == {"broker_refused_login": 1})
        assert [one.api_key for one in world.broker.asked] == [17, 36, 17, 36], "what waited was not sent"


@on_uvloop
async def test_a_broker_without_a_limit_is_logged_in_to_once():
    async with serving(users={"svc": "pw-1"}) as (world, connections):
        world.login = BrokerLogin(Credential("PLAIN", username="svc", password="pw-1"), RANGES)
        client = await ready_client(world)
        due(world, connections, 500.0)
        await client.ask(3, 9, {"topics": []})
        assert [one.api_key for one in world.broker.asked] == [17, 36, 3]
        client.close()
