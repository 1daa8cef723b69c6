"""Causes of a close, each brought about on a whole node and seen in the metric and in the log."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from kproxy.errors import CloseCause
from tests.support import frames
from tests.support.async_client import API_VERSIONS, METADATA, SASL_AUTHENTICATE, SASL_HANDSHAKE, RawClient
from tests.support.kproxy_node import KproxyNode
from tests.support.scripted_broker import ScriptedBroker
from tests.support.scripted_control import until
from tests.support.scripted_node import fresh_token, log_in, produce, running

VERSIONS = {"client_software_name": "raw", "client_software_version": "1"}
#: Seen where they can be brought about: tests/unit/test_tls.py, tests/integration/test_tls.py; test_access_ends.py;
#: tests/adversity/test_disk_full.py; tests/unit/test_restart.py; tests/playbook/test_protocol.py.
ELSEWHERE = {cause for cause in CloseCause if cause.startswith(("tls_", "plaintext_"))} - {"tls_on_plaintext"} | {
    "access_ended", "audit_unavailable", "internal"}


async def connect(node: KproxyNode) -> RawClient:
    return await RawClient.connect(node.ports["public"])


async def send_bytes(node: KproxyNode, data: bytes) -> RawClient:
    client = await connect(node)
    client._writer.write(data)
    return client


async def say(node: KproxyNode, *asked: tuple[int, int, dict[str, Any]]) -> RawClient:
    client = await connect(node)
    for one in asked:
        client.send(*one)
    return client


async def leave(node: KproxyNode, _: ScriptedBroker) -> None:
    client = await log_in(node)
    client.close()


async def not_kafka(node: KproxyNode, _: ScriptedBroker) -> RawClient:
    # A whole frame that is too short for a request's header.
    return await send_bytes(node, struct.pack(">ihh", 4, 999, 0))


async def unknown_api(node: KproxyNode, _: ScriptedBroker) -> RawClient:
    client = await connect(node)
    await client.ask(API_VERSIONS, 3, VERSIONS)
    client._writer.write(struct.pack(">ihhih", 10, 999, 0, 2, -1))
    return client


async def malformed_request(node: KproxyNode, _: ScriptedBroker) -> RawClient:
    client = await connect(node)
    await client.ask(API_VERSIONS, 3, VERSIONS)
    client._writer.write(struct.pack(">ihhihh", 12, SASL_HANDSHAKE, 1, 2, -1, 500))
    return client


async def login_failed(node: KproxyNode, _: ScriptedBroker) -> RawClient:
    client = await connect(node)
    assert (await client.log_in("a.b.c"))["error_code"] == 58
    return client


async def login_again(node: KproxyNode, mechanism: str, message: bytes) -> RawClient:
    """On an open session, as soon as it may: at most once a second."""
    client = await log_in(node)
    assert await produce(client) == 0
    await client.ask(SASL_HANDSHAKE, 1, {"mechanism": mechanism})
    client.send(SASL_AUTHENTICATE, 1, {"auth_bytes": message})
    return client


async def reauthentication_failed(node: KproxyNode, _: ScriptedBroker) -> RawClient:
    return await login_again(node, "PLAIN", b"\0svc\0a.b.c")


async def mechanism_changed(node: KproxyNode, _: ScriptedBroker) -> RawClient:
    return await login_again(node, "OAUTHBEARER", b"n,,\x01auth=Bearer a.b.c\x01\x01")


async def principal_changed(node: KproxyNode, _: ScriptedBroker) -> RawClient:
    return await login_again(node, "PLAIN", b"\0svc\0" + fresh_token(sub="w2").encode())


async def session_killed(node: KproxyNode, _: ScriptedBroker) -> RawClient:
    client = await log_in(node)
    transport = httpx.AsyncHTTPTransport(uds=str(node.folder / "run/operator.sock"))
    async with httpx.AsyncClient(transport=transport, base_url="http://kproxy") as operator:
        (session, *_) = (await operator.get("/v1/sessions")).json()
        assert (await operator.delete(f"/v1/sessions/{session['id']}")).status_code == 200
    return client


async def denied_without_answer(node: KproxyNode, _: ScriptedBroker) -> RawClient:
    client = await log_in(node)
    client.send(0, 9, {"acks": 0, "timeout_ms": 1000, "topic_data": [
        {"name": "secrets", "partition_data": [{"index": 0, "records": frames.batch([b"a"])}]}]})
    return client


async def broker_closed(node: KproxyNode, broker: ScriptedBroker) -> RawClient:
    client = await log_in(node)
    assert await produce(client) == 0
    broker.cut()
    return client


async def answered_with(node: KproxyNode, broker: ScriptedBroker, answer: bytes) -> RawClient:
    client = await log_in(node)
    broker.answers[METADATA] = lambda version, request: None
    seen = len(broker.asked)
    client.send(METADATA, 9, {"topics": [{"name": "orders"}], "allow_auto_topic_creation": False})
    await until(lambda: any(one.api_key == METADATA for one in broker.asked[seen:]))
    broker._open[1].write(answer)
    return client


async def unexpected_response(node: KproxyNode, broker: ScriptedBroker) -> RawClient:
    return await answered_with(node, broker, struct.pack(">iii", 8, 77_777, 0))


async def malformed_response(node: KproxyNode, broker: ScriptedBroker) -> RawClient:
    return await answered_with(node, broker, b"\xff\xff\xff\xff")


async def begin(node: KproxyNode) -> RawClient:
    """A login that will come to the broker, and is not waited for."""
    client = await connect(node)
    await client.ask(API_VERSIONS, 3, VERSIONS)
    client.send(SASL_HANDSHAKE, 1, {"mechanism": "PLAIN"})
    client.send(SASL_AUTHENTICATE, 1, {"auth_bytes": b"\0svc\0" + fresh_token().encode()})
    client.send(METADATA, 9, {"topics": None, "allow_auto_topic_creation": False})
    return client


async def broker_refused_login(node: KproxyNode, broker: ScriptedBroker) -> RawClient:
    broker.users = {"svc": "another"}
    return await begin(node)


async def broker_unreachable(node: KproxyNode, broker: ScriptedBroker) -> RawClient:
    await broker.stop()
    return await begin(node)


Provoke = Callable[[KproxyNode, ScriptedBroker], Awaitable[RawClient | None]]
#: Those that take nothing but a client, all on one node; the broker's come last.
PROVOKED: dict[CloseCause, Provoke] = {
    CloseCause.CLIENT_CLOSED: leave,
    CloseCause.BAD_LENGTH: lambda node, _: send_bytes(node, b"\xff\xff\xff\xff"),
    CloseCause.TOO_BIG: lambda node, _: send_bytes(node, b"\x7f\xff\xff\xff"),
    CloseCause.TLS_ON_PLAINTEXT: lambda node, _: send_bytes(node, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    CloseCause.NOT_KAFKA: not_kafka,
    CloseCause.UNKNOWN_API: unknown_api,
    CloseCause.MALFORMED_REQUEST: malformed_request,
    CloseCause.NOT_AUTHENTICATED: lambda node, _: say(node, (METADATA, 9, {"topics": None})),
    CloseCause.ILLEGAL_SASL_STATE: lambda node, _: say(node, (SASL_AUTHENTICATE, 1, {"auth_bytes": b"x"})),
    CloseCause.UNSUPPORTED_MECHANISM: lambda node, _: say(node, (SASL_HANDSHAKE, 1, {"mechanism": "GSSAPI"})),
    CloseCause.LOGIN_FAILED: login_failed,
    CloseCause.REAUTHENTICATION_FAILED: reauthentication_failed,
    CloseCause.MECHANISM_CHANGED: mechanism_changed,
    CloseCause.PRINCIPAL_CHANGED: principal_changed,
    CloseCause.SESSION_KILLED: session_killed,
    CloseCause.DENIED_WITHOUT_ANSWER: denied_without_answer,
    CloseCause.BROKER_CLOSED: broker_closed,
    CloseCause.UNEXPECTED_RESPONSE: unexpected_response,
    CloseCause.MALFORMED_RESPONSE: malformed_response,
    CloseCause.BROKER_REFUSED_LOGIN: broker_refused_login,
    CloseCause.BROKER_UNREACHABLE: broker_unreachable,
}
#: Those that take a limit: what the configuration has instead of its own.
LIMITED: dict[CloseCause, dict[str, int]] = {
    CloseCause.IDLE: {"connections.max.idle.ms": 500},
    CloseCause.LOGIN_TIMEOUT: {"login.timeout.ms": 500},
    CloseCause.SESSION_EXPIRED: {"connections.max.reauth.ms": 500},
    CloseCause.TOO_MANY_CONNECTIONS: {"max.connections": 1},
    CloseCause.DRAINED: {},
}


def logged(node: KproxyNode, cause: str) -> int:
    lines = map(json.loads, node.log.read_text().splitlines())
    return sum(line["event"] == "connection_closed" and line["cause"] == cause for line in lines)


async def metric(node: KproxyNode, cause: str) -> float:
    return await asyncio.to_thread(lambda: node.metric("kproxy_close_total", cause=cause))


async def seen(node: KproxyNode, cause: str, times: int = 1) -> None:
    """In the metric, and in the log where it is told there."""
    async with asyncio.timeout(15):
        while await metric(node, cause) < times:
            await asyncio.sleep(0.05)
    wanted = 0 if cause == CloseCause.CLIENT_CLOSED else times
    await until(lambda: logged(node, cause) >= wanted)
    assert logged(node, cause) == wanted


@pytest.fixture
async def started(tmp_path: Path) -> AsyncIterator[tuple[KproxyNode, ScriptedBroker]]:
    async with running(tmp_path, workers=1) as pair:
        yield pair


def test_every_cause_is_seen_somewhere() -> None:
    assert {*PROVOKED, *LIMITED, *ELSEWHERE} == set(CloseCause)
    assert not ELSEWHERE & {*PROVOKED, *LIMITED}


async def test_causes_that_clients_and_brokers_bring_about(started: tuple[KproxyNode, ScriptedBroker]) -> None:
    node, broker = started
    for cause, provoke in PROVOKED.items():
        before = await metric(node, cause)
        assert before == 0, f"{cause} came before it was brought about"
        users, answers = dict(broker.users), dict(broker.answers)
        client = await provoke(node, broker)
        try:
            await seen(node, cause)
        except TimeoutError:
            page = [line for line in node.get("/metrics")[1].splitlines() if line.startswith("kproxy_close_total")]
            raise AssertionError(f"{cause} was not seen; {page}") from None
        broker.users, broker.answers = users, answers
        if client is not None:
            client.close()


@pytest.mark.parametrize("cause", LIMITED)
async def test_causes_that_limits_bring_about(tmp_path: Path, cause: CloseCause) -> None:
    async with running(tmp_path, workers=1, limits=LIMITED[cause]) as (node, _):
        first = await (connect(node) if cause == CloseCause.LOGIN_TIMEOUT else log_in(node))
        if cause == CloseCause.TOO_MANY_CONNECTIONS:
            second = await connect(node)
            assert await second.closed()
        if cause != CloseCause.DRAINED:
            await seen(node, cause)
        else:
            await asyncio.to_thread(node.stop)
            assert logged(node, cause) == 1
            assert [one["cause"] for one in node.audit() if one["kind"] == "disconnect"] == [cause]
        first.close()
