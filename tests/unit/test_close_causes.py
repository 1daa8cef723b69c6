"""Every cause in the table of closes, made to happen from outside over real sockets; seen in log, metric and audit."""

from __future__ import annotations

import asyncio
import struct
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import structlog

from kproxy.dataplane.connections import Connections
from kproxy.dataplane.stats import Stats
from kproxy.dataplane.tls import Certificates
from kproxy.dataplane.upstream import BrokerLogin
from kproxy.errors import BrokerUnreachable, CloseCause, TokenRefused
from kproxy.model.access import Principal, Verdict
from kproxy.model.policy import Quota, QuotaInForce
from kproxy.model.settings import Credential, Limits, ListenerTls
from tests.support import frames
from tests.support.async_client import METADATA, SASL_AUTHENTICATE, SASL_HANDSHAKE, RawClient
from tests.support.close_ways import AUTHORITY, WAYS, by, connected, send
from tests.support.scripted_broker import RANGES
from tests.support.scripted_control import until
from tests.support.world import FACTS, OPEN_TO_ALL, World, on_uvloop, serving

NOTHING = {"topics": [], "allow_auto_topic_creation": False}


def test_every_cause_has_a_way():
    assert sorted(WAYS) == sorted(map(str, CloseCause))


@pytest.mark.parametrize("cause", sorted(map(str, CloseCause)))
@on_uvloop
async def test_it_is_told_by_the_log_and_counted(cause: str, tmp_path: Path):
    way = WAYS[cause]
    listener, wrap = way.listener, lambda _, half: half
    if way.tls:
        cert, key = AUTHORITY.write(tmp_path, "kproxy")
        tls = ListenerTls(str(cert), str(key), str(AUTHORITY.write_own(tmp_path)), way.tls)  # type: ignore[arg-type]
        listener = msgspec.structs.replace(listener, tls=tls)
        certificates = Certificates(SimpleNamespace(  # type: ignore[arg-type]
            listeners={listener.name: listener}, clusters={}, limits=Limits(login_timeout=0.3)), now=time.time)
        wrap = certificates.wrap
    with structlog.testing.capture_logs() as lines:
        async with serving(listener, wrap, **way.broker) as (world, connections):
            world.open("token", "broker", "versions")
            await way.make(world, connections)
            await until(lambda: connections.closes)
            assert dict(Stats(0).collect(connections)["kproxy_close_total"]) == {(cause,): 1}
            audited = [fields["cause"] for kind, fields in world.told if kind == "disconnect"]
            assert audited == [cause for kind, _ in world.told if kind == "connect"]
    told = [(line["cause"], line["listener"]) for line in lines if line["event"] == "connection_closed"]
    assert told == ([] if cause == "client_closed" else [(cause, listener.name)]), "not of clients that simply leave"


async def logged_in(world: World, seconds: float = 60.0) -> RawClient:
    world.clock = time.time
    world.facts = msgspec.structs.replace(FACTS, expires_at=time.time() + seconds)
    client = await RawClient.connect(world.port)
    assert (await client.log_in("token"))["error_code"] == 0
    return client


async def log_in_again(client: RawClient, mechanism: str = "PLAIN") -> None:
    await client.ask(SASL_HANDSHAKE, 1, {"mechanism": mechanism})
    assert (await client.ask(SASL_AUTHENTICATE, 1, {"auth_bytes": b"\0svc\0other"}))["error_code"] == 58
    assert await client.closed()


def produce(acks: int = 1) -> dict[str, Any]:
    return {"acks": acks, "timeout_ms": 1000, "topic_data": [
        {"name": "t", "partition_data": [{"index": 0, "records": frames.batch([b"v"])}]}]}


def deny(world: World) -> None:
    world.decider_for = lambda facts: lambda *_: (Verdict("deny", "r", "no"), None)  # type: ignore[method-assign]


# -- either end --------------------------------------------------------------------------------------------------------


@by(CloseCause.CLIENT_CLOSED)
async def leave(world: World, connections: Connections) -> None:
    client = await connected(world)
    await until(lambda: connections.open)
    client.close()


@by(CloseCause.BROKER_CLOSED, OPEN_TO_ALL)
async def lose_the_broker(world: World, connections: Connections) -> None:
    client = await connected(world)
    await client.ask(METADATA, 8, NOTHING)
    world.broker.cut()
    assert await client.closed()


@by(CloseCause.BROKER_UNREACHABLE, OPEN_TO_ALL)
async def find_no_broker(world: World, connections: Connections) -> None:
    async def unreachable(*_: object) -> None:
        raise BrokerUnreachable("127.0.0.1:1: connection refused")

    world.connect_broker = unreachable  # type: ignore[assignment,method-assign]
    client = await connected(world)
    client.send(METADATA, 8, NOTHING)
    assert await client.closed()


@by(CloseCause.BROKER_REFUSED_LOGIN, OPEN_TO_ALL, users={"svc": "right"})
async def show_the_broker_a_wrong_password(world: World, connections: Connections) -> None:
    world.login = BrokerLogin(Credential("PLAIN", username="svc", password="wrong"), RANGES)
    client = await connected(world)
    client.send(METADATA, 8, NOTHING)
    assert await client.closed()


async def answer_badly(world: World, body: bytes, late_by: int) -> None:
    client = await connected(world)
    client.send(METADATA, 8, NOTHING)
    await until(lambda: [one.api_key for one in world.broker.asked] == [METADATA])
    world.broker.answer_last_with(body, late_by)
    assert await client.closed()


@by(CloseCause.MALFORMED_RESPONSE, OPEN_TO_ALL, answers={METADATA: lambda version, request: None})
async def answer_with_what_is_no_metadata(world: World, connections: Connections) -> None:
    await answer_badly(world, b"\x7f" * 12, 0)


@by(CloseCause.UNEXPECTED_RESPONSE, OPEN_TO_ALL, answers={METADATA: lambda version, request: None})
async def answer_what_nobody_asked(world: World, connections: Connections) -> None:
    await answer_badly(world, b"", 1)


# -- bytes -------------------------------------------------------------------------------------------------------------



by(CloseCause.BAD_LENGTH)(send(b"\xff\xff\xff\xff"))
by(CloseCause.TOO_BIG)(send(b"GET / HTTP/1.1\r\n\r\n"))
by(CloseCause.NOT_KAFKA)(send(b"\0\0\0\4abcd"))
by(CloseCause.TLS_ON_PLAINTEXT)(send(b"\x16\x03\x01\x02\x00\x01"))
by(CloseCause.PLAINTEXT_ON_TLS, tls="none")(send(frames.request(18, 0, 1, {})))


@by(CloseCause.MALFORMED_REQUEST)
async def send_half_a_request(world: World, connections: Connections) -> None:
    client = await logged_in(world)
    whole = frames.request(0, 8, 9, produce())
    client._writer.write(struct.pack(">i", len(whole) - 44) + whole[4:-40])
    assert await client.closed()


@by(CloseCause.UNKNOWN_API)
async def ask_for_what_is_not_advertised(world: World, connections: Connections) -> None:
    client = await logged_in(world)
    client._writer.write(struct.pack(">ihhih", 10, 999, 0, 9, -1))
    assert await client.closed()


# -- login -------------------------------------------------------------------------------------------------------------


@by(CloseCause.NOT_AUTHENTICATED)
async def ask_before_the_login(world: World, connections: Connections) -> None:
    client = await connected(world)
    client.send(METADATA, 8, NOTHING)
    assert await client.closed()


@by(CloseCause.ILLEGAL_SASL_STATE)
async def shake_hands_twice(world: World, connections: Connections) -> None:
    client = await connected(world)
    await client.ask(SASL_HANDSHAKE, 1, {"mechanism": "PLAIN"})
    client.send(SASL_HANDSHAKE, 1, {"mechanism": "PLAIN"})
    assert (await client.receive())["error_code"] == 34
    assert await client.closed()


@by(CloseCause.UNSUPPORTED_MECHANISM)
async def ask_for_another_mechanism(world: World, connections: Connections) -> None:
    client = await connected(world)
    assert (await client.ask(SASL_HANDSHAKE, 1, {"mechanism": "GSSAPI"}))["error_code"] == 33
    assert await client.closed()


@by(CloseCause.LOGIN_FAILED)
async def show_a_bad_token(world: World, connections: Connections) -> None:
    world.refuse = TokenRefused("expired")
    client = await connected(world)
    assert (await client.log_in("token"))["error_code"] == 58
    assert await client.closed()


@by(CloseCause.LOGIN_TIMEOUT)
async def say_nothing(world: World, connections: Connections) -> None:
    client = await connected(world)
    await until(lambda: connections.open)
    connections.sweep(connections.open[1].half.connected_at + 31)
    assert await client.closed()


@by(CloseCause.REAUTHENTICATION_FAILED)
async def show_a_bad_token_anew(world: World, connections: Connections) -> None:
    client = await logged_in(world)
    world.refuse = TokenRefused("expired")
    await log_in_again(client)


@by(CloseCause.PRINCIPAL_CHANGED)
async def become_somebody_else(world: World, connections: Connections) -> None:
    client = await logged_in(world)
    world.facts = msgspec.structs.replace(world.facts, principal=Principal("corp:w2", "corp", "w2"))
    await log_in_again(client)


@by(CloseCause.MECHANISM_CHANGED)
async def prove_it_otherwise(world: World, connections: Connections) -> None:
    await log_in_again(await logged_in(world), "OAUTHBEARER")


# -- the end of access -------------------------------------------------------------------------------------------------


@by(CloseCause.SESSION_EXPIRED)
async def outlive_the_token(world: World, connections: Connections) -> None:
    assert await (await logged_in(world, 1.0)).closed()


@by(CloseCause.SESSION_KILLED)
async def be_killed(world: World, connections: Connections) -> None:
    client = await logged_in(world)
    assert connections.kill(1)
    assert await client.closed()


HUGE = {"responses": [{"topic": "t", "partitions": [
    {"partition_index": 0, "error_code": 0, "high_watermark": 9, "records": bytes(30_000_000)}]}]}


@by(CloseCause.ACCESS_ENDED, answers={1: lambda version, request: HUGE})
async def read_slowly_what_is_taken_away(world: World, connections: Connections) -> None:
    effects = ["allow"]
    world.decider_for = lambda facts: lambda *_: (Verdict(effects[0]), None)  # type: ignore[arg-type,method-assign]
    client = await logged_in(world)
    client._writer.transport.pause_reading()
    client.send(1, 4, {"max_wait_ms": 0, "min_bytes": 1, "topics": [{"topic": "t", "partitions": [{"partition": 0}]}]})
    await until(lambda: connections.open[1].half.queued() > 1_000_000)
    effects[0] = "deny"
    connections.on_snapshot([])
    await until(lambda: connections.closes)
    client.close()


@by(CloseCause.DENIED_WITHOUT_ANSWER)
async def produce_unheard_what_is_denied(world: World, connections: Connections) -> None:
    deny(world)
    client = await logged_in(world)
    client.send(0, 8, produce(acks=0))
    assert await client.closed()


# -- the node ----------------------------------------------------------------------------------------------------------


@by(CloseCause.IDLE)
async def fall_silent(world: World, connections: Connections) -> None:
    world.config.limits = Limits(connections_max_idle=20.0)
    client = await logged_in(world)
    connections.sweep(connections.open[1].half.heard_at + 21)
    assert await client.closed()


@by(CloseCause.DRAINED)
async def stay_until_the_drain(world: World, connections: Connections) -> None:
    client = await logged_in(world)
    connections.drain(patient=False)
    assert await client.closed()


@by(CloseCause.TOO_MANY_CONNECTIONS)
async def come_too_late(world: World, connections: Connections) -> None:
    world.config.limits = Limits(max_connections=1)
    first = await connected(world)
    await until(lambda: len(connections.open) == 1)
    assert await (await connected(world)).closed()
    assert not first._writer.is_closing()


@by(CloseCause.CONNECTION_QUOTA)
async def be_one_more_than_the_quota(world: World, connections: Connections) -> None:
    world.quotas_in_force = (QuotaInForce("role r", Quota(role="r", connections=1)),)
    assert world.quotas.enter(world.quotas_in_force) is None, "somebody else's place"
    with pytest.raises(asyncio.IncompleteReadError):
        await logged_in(world)
    assert world.asked == ["versions", "token"], "no broker is called"


@by(CloseCause.AUDIT_UNAVAILABLE)
async def produce_on_a_full_disk(world: World, connections: Connections) -> None:
    client = await logged_in(world)
    world.spool.broken = True
    client.send(0, 8, produce())
    assert await client.closed()
    assert [one.api_key for one in world.broker.asked] == [], "nothing was forwarded"


@by(CloseCause.INTERNAL)
async def find_a_fault_of_ours(world: World, connections: Connections) -> None:
    world.refuse = RuntimeError("a bug")
    client = await connected(world)
    await client.ask(SASL_HANDSHAKE, 1, {"mechanism": "PLAIN"})
    client.send(SASL_AUTHENTICATE, 1, {"auth_bytes": b"\0svc\0token"})
    assert await client.closed()
