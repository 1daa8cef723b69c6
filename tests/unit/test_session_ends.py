"""A session over real sockets until its end: renewed, refused, expired in a long poll, cut with what waits for it."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest
import structlog

from kproxy.dataplane.connections import MOST_TOLD_CLOSES
from kproxy.errors import TokenRefused
from kproxy.model.access import Facts, Principal
from tests.support import frames
from tests.support.async_client import RawClient
from tests.support.scripted_control import until
from tests.support.stalls import Stalls
from tests.support.world import FACTS, World, on_uvloop, serving

PRODUCED = {"responses": [{"name": "t", "partition_responses": [{"index": 0, "error_code": 0, "base_offset": 40}]}]}


def facts(seconds: float, **about: Any) -> Facts:
    return msgspec.structs.replace(FACTS, expires_at=time.time() + seconds, **about)


async def logged_in(world: World, seconds: float) -> tuple[RawClient, dict[str, Any]]:
    """A client whose session has that long, and the answer it was given."""
    world.clock = time.time
    world.facts = facts(seconds)
    world.open("versions", "token", "broker")
    client = await RawClient.connect(world.port)
    return client, await client.log_in("token")


async def log_in_again(client: RawClient) -> dict[str, Any]:
    assert (await client.ask(17, 1, {"mechanism": "PLAIN"}))["error_code"] == 0
    return await client.ask(36, 1, {"auth_bytes": b"\0svc\0other"})


def produce() -> dict[str, Any]:
    return {"acks": 1, "timeout_ms": 1000, "topic_data": [
        {"name": "t", "partition_data": [{"index": 0, "records": frames.batch([b"v"])}]}]}


def long_poll() -> dict[str, Any]:
    return {"max_wait_ms": 60_000, "min_bytes": 1, "topics": []}


@on_uvloop
async def test_a_renewal_moves_the_end_and_is_told_after_what_was_done_before_it():
    async with serving(answers={0: lambda version, request: PRODUCED}) as (world, connections):
        client, answer = await logged_in(world, 2.0)
        assert 300 < answer["session_lifetime_ms"] <= 2000
        old = world.facts
        await client.ask(0, 8, produce())
        grouped = msgspec.structs.replace(FACTS.principal, groups=("g",))
        world.facts = facts(60, attested={"run": "r2"}, principal=grouped)
        answer = await log_in_again(client)
        assert answer["error_code"] == 0 and 59_000 < answer["session_lifetime_ms"] <= 60_000
        assert [(kind, of.attested) for kind, of in world.told_of] == [
            ("connect", {}), ("flow", {}), ("reauthenticated", {"run": "r2"})]
        assert bytes(world.told[1][1]["partitions"]) == b"[[0,40,40,1,%d]]" % len(frames.batch([b"v"]))
        await until(lambda: time.time() > old.expires_at + 0.1)
        await client.ask(0, 8, produce())
        assert connections.closes == {}
        [connection] = connections.open.values()
        assert connection.view(0).expires_at == world.facts.expires_at
        assert connection.view(0).groups == ("g",)
        client.close()


@on_uvloop
async def test_every_decision_after_a_renewal_asks_about_the_new_facts():
    async with serving(answers={0: lambda version, request: PRODUCED}) as (world, _):
        asked: list[Facts] = []
        decider_for = world.decider_for

        def watched(of: Facts) -> Any:
            asked.append(of)
            return decider_for(of)

        world.decider_for = watched
        client, _ = await logged_in(world, 60)
        first = world.facts
        await client.ask(0, 8, produce())
        world.facts = facts(120)
        await log_in_again(client)
        await client.ask(0, 8, produce())
        assert asked == [first, world.facts]
        client.close()


@on_uvloop
async def test_another_principal_is_told_to_the_audit_and_ends_the_session():
    async with serving() as (world, connections):
        client, _ = await logged_in(world, 60)
        world.facts = facts(60, principal=Principal("corp:eve", "corp", "eve"))
        answer = await log_in_again(client)
        assert (answer["error_code"], answer["error_message"]) == (
            58, "Cannot change principals during re-authentication from corp:w1 to corp:eve")
        assert await client.closed()
        await until(lambda: connections.closes == {"principal_changed": 1})
        assert world.told[1:] == [
            ("login_failed", {"reason": "principal_changed", "name": "corp:eve"}),
            ("disconnect", {"cause": "principal_changed", "unanswered": 0})]
        assert {of.principal.name for _, of in world.told_of} == {"corp:w1"}


@on_uvloop
async def test_a_refused_token_ends_the_session():
    async with serving() as (world, connections):
        client, _ = await logged_in(world, 60)
        world.refuse = TokenRefused("expired")
        answer = await log_in_again(client)
        assert (answer["error_code"], answer["error_message"]) == (58, "Authentication failed")
        assert await client.closed()
        await until(lambda: connections.closes == {"reauthentication_failed": 1})


@on_uvloop
async def test_a_timer_ends_a_session_in_a_long_poll_at_its_time():
    async with serving(answers={1: lambda version, request: None}) as (world, connections):
        client, _ = await logged_in(world, 1.0)
        client.send(1, 4, long_poll())
        await until(lambda: any(asked.api_key == 1 for asked in world.broker.asked))
        begun = time.time()
        with Stalls() as stalls:
            assert await client.closed()
            late = time.time() - world.facts.expires_at
            assert 0 <= late < 0.25 + stalls.since(begun)
        await until(lambda: connections.closes == {"session_expired": 1})
        assert world.told[-1] == ("disconnect", {"cause": "session_expired", "unanswered": 0})


@on_uvloop
async def test_the_log_is_told_of_closes_and_not_flooded_with_them():
    async with serving() as (world, connections):
        with structlog.testing.capture_logs() as lines:
            for _ in range(3):
                client, _ = await logged_in(world, 60)
                connections.kill(max(connections.open))
                assert await client.closed()
                await until(lambda: not connections.open)
        told = [(line["event"], line["cause"], line["listener"]) for line in lines if line["event"].startswith("conn")]
        assert told == [("connection_closed", "session_killed", "public")] * 3
        now = 60.0 * 1000
        assert sum(connections.told_closes.admits(now) for _ in range(2000)) == MOST_TOLD_CLOSES
        assert connections.told_closes.admits(now + 60)


@on_uvloop
async def test_an_end_that_comes_while_the_new_token_is_checked_is_the_end():
    async with serving() as (world, connections):
        client, _ = await logged_in(world, 1.0)
        world.gates["token"].clear()
        assert (await client.ask(17, 1, {"mechanism": "PLAIN"}))["error_code"] == 0
        client.send(36, 1, {"auth_bytes": b"\0svc\0other"})
        assert await client.closed()
        await until(lambda: connections.closes == {"session_expired": 1})
        world.facts = facts(60)
        world.open("token")
        await until(lambda: not connections._tasks)
        assert "reauthenticated" not in [kind for kind, _ in world.told]


@pytest.mark.parametrize("cause", ["session_killed", "session_expired"])
@on_uvloop
async def test_what_waits_for_a_slow_reader_goes_with_the_session(cause: str):
    huge = {"responses": [{"topic": "t", "partitions": [{
        "partition_index": 0, "error_code": 0, "high_watermark": 9, "records": bytes(30_000_000)}]}]}
    async with serving(answers={1: lambda version, request: huge}) as (world, connections):
        client, _ = await logged_in(world, 60)
        client._writer.transport.pause_reading()
        client.send(1, 4, {**long_poll(), "topics": [{"topic": "t", "partitions": [{"partition": 0}]}]})
        [connection] = connections.open.values()
        await until(lambda: connection.half.queued() > 1_000_000)
        sent = connection.half.sent
        if cause == "session_killed":
            assert connections.kill(1)
        else:
            connection.expire(world.facts.expires_at)
        await until(lambda: connections.closes == {cause: 1})
        client._writer.transport.resume_reading()
        received = b""
        try:
            while piece := await client._reader.read(1 << 20):
                received += piece
        except ConnectionError:
            pass  # What was thrown away is told by a reset.
        assert len(received) < sent - 1_000_000
