"""A connection while a quota makes it wait: whatever ends it ends it at once, and nothing of it is kept.

The wait is of 25 seconds, and every other deadline of these tests is shorter.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from kproxy.dataplane.connection import Connection
from kproxy.dataplane.connections import Connections
from kproxy.errors import CloseCause
from kproxy.model.policy import Quota, QuotaInForce
from kproxy.model.settings import Limits
from tests.support import frames
from tests.support.async_client import RawClient
from tests.support.scripted_control import until
from tests.support.world import FACTS, World, on_uvloop, serving

ONE_AT_A_TIME = QuotaInForce("role r", Quota(role="r", produce=1, connections=1))
LIFETIME = 10_000.0


def write(acks: int = 1) -> dict[str, Any]:
    return {"acks": acks, "timeout_ms": 1000, "topic_data": [
        {"name": "t", "partition_data": [{"index": 0, "records": frames.batch([b"v" * 200])}]}]}


@contextlib.asynccontextmanager
async def muted(**broker: Any) -> AsyncIterator[tuple[World, Connections, Connection, RawClient]]:
    """A connection that has the only place of a quota, has written too much, and knows for how long it must wait."""
    async with serving(answers={0: lambda version, request: {}}, **broker) as (world, connections):
        world.open("token", "versions", "broker")
        world.quotas_in_force = (ONE_AT_A_TIME,)
        world.clock = time.time
        world.facts = msgspec.structs.replace(FACTS, expires_at=time.time() + LIFETIME)
        client = await RawClient.connect(world.port)
        assert (await client.log_in("token"))["error_code"] == 0
        assert (await client.ask(0, 8, write()))["throttle_time_ms"] > 20_000
        [connection] = connections.open.values()
        assert connection.half.session.muted and connection.half.mute_timer is not None
        try:
            yield world, connections, connection, client
        finally:
            client.close()


async def is_over(world: World, connections: Connections, connection: Connection, cause: CloseCause) -> None:
    """The session has ended for this cause, and nothing of it is left."""
    await until(lambda: not connections.open, 10)
    assert set(connections.closes) == {cause}
    assert connection.half.mute_timer is None
    assert world.quotas.enter([ONE_AT_A_TIME]) is None, "its place is free"
    assert [kind for kind, _ in world.told] == ["connect", "disconnect"]


async def settled(world: World) -> None:
    """All that clients have sent until now has been looked at: another's question came after it, and is answered."""
    other = await RawClient.connect(world.port)
    await other.ask(18, 0, {})
    other.close()


@on_uvloop
async def test_its_token_expires() -> None:
    async with muted() as (world, connections, connection, client):
        world.clock = lambda: world.facts.expires_at
        connections.expires(1, world.facts.expires_at - 1)
        assert await client.closed()
        await is_over(world, connections, connection, CloseCause.SESSION_EXPIRED)


@on_uvloop
async def test_its_token_has_expired_by_a_clock_that_was_set() -> None:
    async with muted() as (world, connections, connection, client):
        connections.sweep(world.facts.expires_at)
        assert await client.closed()
        await is_over(world, connections, connection, CloseCause.SESSION_EXPIRED)


@on_uvloop
async def test_it_is_revoked() -> None:
    async with muted() as (world, connections, connection, client):
        client.send(0, 8, write())
        connections.kill(1)
        await is_over(world, connections, connection, CloseCause.SESSION_KILLED)
        assert len([one for one in world.broker.asked if one.api_key == 0]) == 1, "what waited is not served"


@pytest.mark.parametrize("patient", [True, False])
@on_uvloop
async def test_the_node_drains(patient: bool) -> None:
    async with muted() as (world, connections, connection, client):
        world.clock = lambda: connection.half.heard_at + 1
        connections.drain(patient=patient)
        assert await client.closed()
        await is_over(world, connections, connection, CloseCause.DRAINED)


@on_uvloop
async def test_its_broker_closes() -> None:
    async with muted() as (world, connections, connection, client):
        world.broker.cut()
        assert await client.closed()
        await is_over(world, connections, connection, CloseCause.BROKER_CLOSED)


@pytest.mark.parametrize("way", ["end", "close", "reset"])
@on_uvloop
async def test_the_client_leaves(way: str) -> None:
    async with muted() as (world, connections, connection, client):
        getattr(client, way)()
        await is_over(world, connections, connection, CloseCause.CLIENT_CLOSED)


@on_uvloop
async def test_the_client_closes_in_the_middle_of_a_request() -> None:
    async with muted() as (world, connections, connection, client):
        client.send_bytes(frames.request(0, 8, 9, write())[:11])
        client.end()
        await is_over(world, connections, connection, CloseCause.CLIENT_CLOSED)


@on_uvloop
async def test_what_a_client_wrote_before_it_closed_is_still_served() -> None:
    async with muted() as (world, connections, connection, client):
        client.send(0, 8, write(acks=0))
        client.end()
        await settled(world)
        assert connections.open, "nobody would ever tell the broker"
        connection.half.unmute()
        await is_over(world, connections, connection, CloseCause.CLIENT_CLOSED)
        assert [one.values["acks"] for one in world.broker.asked if one.api_key == 0] == [1, 0]


@on_uvloop
async def test_the_client_writes_too_much_and_closes_at_once() -> None:
    async with serving(answers={0: lambda version, request: {}}) as (world, connections):
        world.open("token", "versions", "broker")
        world.quotas_in_force = (ONE_AT_A_TIME,)
        client = await RawClient.connect(world.port)
        assert (await client.log_in("token"))["error_code"] == 0
        [connection] = connections.open.values()
        client.send_bytes(frames.request(0, 8, 9, write(acks=0)))
        client.end()
        await is_over(world, connections, connection, CloseCause.CLIENT_CLOSED)
        await until(lambda: len([one for one in world.broker.asked if one.api_key == 0]) == 1)


@on_uvloop
async def test_its_silence_counts_from_the_end_of_the_wait() -> None:
    async with muted() as (world, connections, connection, client):
        world.config.limits = Limits(connections_max_idle=20.0)
        began = connection.half.heard_at
        connections.sweep(began + 24)
        assert connections.open and connection.half.session.cause is None, "it may not speak"
        connection.half.unmute()
        assert connection.half.heard_at > began, "now it may"
        connections.sweep(connection.half.heard_at + 19)
        assert connection.half.session.cause is None
        connections.sweep(connection.half.heard_at + 21)
        assert await client.closed()
        await is_over(world, connections, connection, CloseCause.IDLE)


@on_uvloop
async def test_a_client_that_waits_is_not_ended_by_the_wait() -> None:
    async with muted() as (_, connections, connection, client):
        client.send(0, 8, write())
        connection.half.unmute()
        assert (await client.receive())["throttle_time_ms"] > 20_000
        assert connection.half.session.muted and connections.open
