"""The shell of one connection when the world is slow: a session that ends while something is waited for stays ended.

The native session, its protocol and real sockets; only what the runtime would ask others is answered by the test.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from kproxy.errors import BrokerUnreachable, TokenRefused
from kproxy.model.policy import Quota, QuotaInForce
from kproxy.model.settings import Limits
from tests.support import frames
from tests.support.async_client import RawClient
from tests.support.scripted_control import until
from tests.support.world import OPEN_TO_ALL, client_with_token_sent, on_uvloop, serving


@pytest.mark.parametrize("refused", [None, TokenRefused("expired")])
@on_uvloop
async def test_a_session_killed_while_its_token_is_checked(refused):
    async with serving() as (world, connections):
        world.refuse = refused
        client = await client_with_token_sent(world)
        connections.kill(1)
        assert await client.closed()
        await until(lambda: not connections.open)
        world.open("token", "broker")
        await until(lambda: not connections._tasks)
        assert world.asked == ["token"], "no broker is asked for on behalf of nobody"
        assert [kind for kind, _ in world.told] == []
        assert connections.closes == {"session_killed": 1}


@on_uvloop
async def test_a_session_killed_while_its_broker_is_called():
    async with serving() as (world, connections):
        world.open("token")
        client = await client_with_token_sent(world)
        await until(lambda: "broker" in world.asked)
        connections.kill(1)
        assert await client.closed()
        await until(lambda: not connections.open)
        world.open("broker")
        await until(lambda: not connections._tasks)
        await until(lambda: world.transports[0].is_closing())
        assert [kind for kind, _ in world.told] == ["connect", "disconnect"]


ONE_PLACE = QuotaInForce("role r", Quota(role="r", connections=1))


@on_uvloop
async def test_a_session_that_ends_before_its_broker_is_called_takes_no_place():
    async with serving() as (world, connections):
        world.quotas_in_force = (ONE_PLACE,)
        client = await client_with_token_sent(world)
        (connection,) = connections.open.values()
        session = connection.half.session
        session.resume_login(world.facts, world.now())
        connections.kill(1)
        assert await client.closed()
        await until(lambda: not connections.open)
        world.open("broker")
        await connection._ask_broker()
        assert "broker" not in world.asked
        assert world.quotas.enter([ONE_PLACE]) is None, "nobody would ever have given it back"


@on_uvloop
async def test_a_quota_that_is_lifted_lets_a_waiting_session_go_on():
    async with serving(OPEN_TO_ALL) as (world, connections):
        world.open("broker", "versions")
        world.quotas_in_force = (QuotaInForce("role r", Quota(role="r", requests=0.02)),)
        client = await RawClient.connect(world.port)
        await client.ask(3, 8, {"topics": [], "allow_auto_topic_creation": False})
        (connection,) = connections.open.values()
        assert connection.half.session.muted
        client.send(3, 8, {"topics": [], "allow_auto_topic_creation": False})
        before = len(world.broker.asked)
        world.quotas_in_force = ()
        connections.on_snapshot([])
        assert not connection.half.session.muted
        await until(lambda: len(world.broker.asked) > before)
        client.close()


@on_uvloop
async def test_a_client_that_leaves_while_it_waits_is_not_kept_until_then():
    async with serving(OPEN_TO_ALL) as (world, connections):
        world.open("broker", "versions")
        world.quotas_in_force = (QuotaInForce("role r", Quota(role="r", requests=0.02)),)
        client = await RawClient.connect(world.port)
        await client.ask(3, 8, {"topics": [], "allow_auto_topic_creation": False})
        (connection,) = connections.open.values()
        half = connection.half
        assert half.session.muted and half.mute_timer is not None
        connections.kill(1)
        assert await client.closed()
        await until(lambda: not connections.open)
        assert half.mute_timer is None


@on_uvloop
async def test_a_killed_client_that_reads_nothing_is_cut_off():
    async with serving() as (world, connections):
        world.open("versions")
        client = await RawClient.connect(world.port)
        await client.ask(17, 1, {"mechanism": "PLAIN"})
        connection = connections.open[1]
        aborted = []
        connection.half = SimpleNamespace(session=connection.half.session, abort=lambda: aborted.append(True),
                                          cut=lambda cause: None)
        connection.half.session.close("session_killed")
        for passed in (0, 5, 9):
            connections.sweep(100.0 + passed)
        assert aborted == []
        connections.sweep(110.0)
        assert aborted == [True]
        connections.open.clear()


@on_uvloop
async def test_what_one_session_does_wrong_costs_the_others_nothing():
    async with serving() as (_, connections):
        failed, swept = [], []
        broken = SimpleNamespace(sweep=lambda now: 1 / 0, half=SimpleNamespace(
            fail=failed.append, abort=lambda: failed.append(None)))
        connections.open = {1: broken, 2: SimpleNamespace(sweep=swept.append)}
        connections.sweep(100.0)
        assert [type(error) for error in failed] == [ZeroDivisionError, type(None)] and swept == [100.0]
        connections.open.clear()


@on_uvloop
async def test_a_session_killed_before_the_versions_are_known():
    async with serving() as (world, connections):
        client = await RawClient.connect(world.port)
        client.send(18, 3, {"client_software_name": "raw", "client_software_version": "1"})
        await until(lambda: "versions" in world.asked)
        connections.kill(1)
        assert await client.closed()
        await until(lambda: not connections.open)
        world.open("versions")
        await until(lambda: not connections._tasks)
        assert connections.closes == {"session_killed": 1}


@on_uvloop
async def test_a_broker_that_cannot_be_reached_closes_the_client():
    async with serving() as (world, connections):
        async def unreachable(*_):
            raise BrokerUnreachable("127.0.0.1:1: connection refused")

        world.connect_broker = unreachable
        world.open("token")
        client = await client_with_token_sent(world)
        assert await client.closed()
        await until(lambda: connections.closes == {"broker_unreachable": 1})


@on_uvloop
async def test_a_broker_that_closes_takes_the_client_along_and_is_asked_anew():
    async with serving(OPEN_TO_ALL) as (world, connections):
        world.open("broker", "versions")
        client = await RawClient.connect(world.port)
        await client.ask(3, 8, {"topics": [], "allow_auto_topic_creation": False})
        world.broker.cut()
        assert await client.closed()
        await until(lambda: connections.closes == {"broker_closed": 1})
        assert world.forgotten == [("prod", None)]


@on_uvloop
async def test_a_token_check_that_fails_by_our_own_fault_refuses():
    async with serving() as (world, connections):
        world.refuse = RuntimeError("a bug")
        world.open("token")
        client = await client_with_token_sent(world)
        assert await client.closed()
        await until(lambda: connections.closes == {"internal": 1})


@on_uvloop
async def test_too_many_connections():
    async with serving(OPEN_TO_ALL) as (world, connections):
        world.config.limits = Limits(max_connections=1)
        first = await RawClient.connect(world.port)
        await until(lambda: len(connections.open) == 1)
        second = await RawClient.connect(world.port)
        assert await second.closed()
        assert connections.closes == {"too_many_connections": 1} and len(connections.open) == 1
        first.close()


@pytest.mark.parametrize(("seconds", "cause"), [(29, None), (31, "login_timeout")])
@on_uvloop
async def test_a_client_that_never_logs_in(seconds, cause):
    async with serving() as (world, connections):
        client = await RawClient.connect(world.port)
        await until(lambda: connections.open)
        (one,) = connections.open.values()
        connections.sweep(one.half.connected_at + seconds)
        if cause:
            assert await client.closed()
            assert connections.closes == {cause: 1}
        else:
            assert len(connections.open) == 1
        client.close()


@on_uvloop
async def test_an_idle_session_is_closed_and_a_waiting_one_is_not():
    async with serving(OPEN_TO_ALL, answers={1: lambda version, request: None}) as (world, connections):
        world.open("broker", "versions")
        idle, waiting = [await RawClient.connect(world.port) for _ in range(2)]
        for client in (idle, waiting):
            await client.ask(3, 8, {"topics": [], "allow_auto_topic_creation": False})
        waiting.send(1, 4, {"max_wait_ms": 60_000, "min_bytes": 1, "topics": []})
        await until(lambda: any(asked.api_key == 1 for asked in world.broker.asked))
        connections.sweep(max(one.half.heard_at for one in connections.open.values()) + 601)
        assert await idle.closed()
        await until(lambda: connections.closes == {"idle": 1})
        assert len(connections.open) == 1
        waiting.close()


def test_frames_of_the_client_are_real_ones():
    api, version, correlation, body = frames.read_request(frames.request(17, 1, 4, {"mechanism": "PLAIN"}))
    assert (api, version, correlation, body["mechanism"]) == (17, 1, 4, "PLAIN")
