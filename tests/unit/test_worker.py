"""One worker as a process of its own, between a raw client and a scripted broker, with a scripted control process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from kproxy import policy
from kproxy.model.audit_event import AuditEvent
from kproxy.model.messages import (
    Drain,
    Hello,
    InForce,
    KillAsked,
    Killed,
    Published,
    Sessions,
    SessionsAsked,
    Stats,
    StatsAsked,
    pack,
)
from kproxy.model.snapshot import Snapshot
from kproxy.model.spool import END, EVENT, INTENT, MAGIC, NOTES, OUTCOME, walk_entries
from tests.support import frames
from tests.support.async_client import METADATA, RawClient
from tests.support.ports import accepts, free_port_run
from tests.support.scripted_broker import ScriptedBroker
from tests.support.scripted_control import Control, until
from tests.support.spool_files import walk_notes
from tests.support.tokens import ISS, claims, header, issuer_keys, raw, rs

CONFIG = """
node: {{name: edge-1, workers: 1, runtime_dir: run, state_dir: state}}
clusters:
  prod:
    bootstrap: ["127.0.0.1:{broker}"]
    credentials: [{{mechanism: PLAIN, username: svc, password: {{file: broker.pw}}}}]
listeners:
  public:
    cluster: prod
    bind: 127.0.0.1:{port}
    advertise: {{ports: {{host: localhost, brokers: 1-2, first: {first}}}}}
    authenticate: [OAUTHBEARER, PLAIN]
identity:
  issuers:
    corp: {{issuer: "{issuer}", audience: [kafka], max_lifetime: 1h}}
policy: {{path: policy/}}
limits: {{drain.timeout.ms: {drain}}}
"""
READ_AND_WRITE = """
roles:
  workers:
    members: '"corp:w1" == principal.name'
    allow: [{operations: [read, write], topics: [orders]}]
"""
READ_ONLY = READ_AND_WRITE.replace("read, write", "read")


def fresh_token(**changes) -> str:
    now = int(time.time())
    return raw(header(), claims(**{"exp": now + 300, "iat": now, "nbf": now, **changes}), rs())


class Running:
    """The worker's process and its surroundings."""

    def __init__(self, folder: Path, broker: ScriptedBroker, port: int) -> None:
        self.folder = folder
        self.broker = broker
        self.port = port
        self.control = Control(folder / "run/control.sock")
        self.process: asyncio.subprocess.Process | None = None

    def publish(self, epoch: int, source: str = READ_AND_WRITE) -> None:
        loaded = policy.load({"policy.yaml": source.encode()})
        keys = issuer_keys(stale_at=time.time() + 3600)
        snapshot = Snapshot(epoch, time.time(), loaded, f"v{epoch}", {"public": "enforce"}, (keys,))
        temporary = self.folder / "run/snapshot.tmp"
        temporary.write_bytes(msgspec.msgpack.encode(snapshot))
        temporary.rename(self.folder / "run/snapshot.msgpack")

    async def start(self) -> None:
        log = open(self.folder / "log", "wb")  # noqa: SIM115 - the child holds it
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "kproxy.dataplane", "--config", str(self.folder / "kproxy.yaml"), "--worker", "0",
            stdout=log, stderr=log)
        log.close()

    async def listening(self) -> None:
        await until(lambda: accepts("127.0.0.1", self.port) or self.process.returncode is not None, 15.0)
        assert self.process.returncode is None

    async def client(self, port: int | None = None) -> RawClient:
        one = await RawClient.connect(port or self.port)
        assert (await one.log_in(fresh_token()))["error_code"] == 0
        return one

    def entries(self) -> list[tuple[int, bytes]]:
        found = []
        for segment in sorted((self.folder / "state/spool").glob("*.seg")):
            found += [(kind, payload) for kind, payload, _ in walk_entries(segment.read_bytes(), len(MAGIC))]
        return found

    def events(self, kind: str) -> list[AuditEvent]:
        events = (msgspec.json.decode(payload, type=AuditEvent) for found, payload in self.entries() if found == EVENT)
        return [event for event in events if event.kind == kind]

    def notes(self) -> list[tuple[int, str]]:
        return [(note.kind, note.topic) for kind, payload in self.entries() if kind == NOTES
                for note in walk_notes(payload)]

    def told(self, kind: type) -> list:
        return [message for message in self.control.received if isinstance(message, kind)]


@asynccontextmanager
async def worker(folder: Path, *, drain: int = 10_000, control: bool = True, published: bool = True, **broker):
    port = free_port_run(3)
    async with ScriptedBroker(node=1, users={"svc": "pw-1"}, **broker) as upstream:
        (folder / "run").mkdir(mode=0o700)
        (folder / "policy").mkdir()
        (folder / "broker.pw").touch(mode=0o600)
        (folder / "broker.pw").write_text("pw-1")
        (folder / "policy/policy.yaml").write_text(READ_AND_WRITE)
        (folder / "kproxy.yaml").write_text(CONFIG.format(
            broker=upstream.port, port=port, first=port + 1, issuer=ISS, drain=drain))
        one = Running(folder, upstream, port)
        if control:
            await one.control.start()
        if published:
            one.publish(1)
        await one.start()
        try:
            if published:
                await one.listening()
            yield one
        except BaseException:
            print((folder / "log").read_text())
            raise
        finally:
            if one.process.returncode is None:
                one.process.kill()
            await one.process.wait()
            if control:
                await one.control.stop()


def produce(topic: str = "orders", acks: int = 1) -> dict:
    return {"acks": acks, "timeout_ms": 1000, "topic_data": [
        {"name": topic, "partition_data": [{"index": 0, "records": frames.batch([b"a", b"b"])}]}]}


def produced(version: int, request: dict) -> dict:
    return {"responses": [{"name": topic["name"], "partition_responses": [{"index": 0, "base_offset": 40}]}
                          for topic in request["topic_data"]]}


def error_of(answer: dict) -> int:
    return answer["responses"][0]["partition_responses"][0]["error_code"]


async def test_a_session_from_login_to_audit(tmp_path):
    async with worker(tmp_path, answers={0: produced}) as one:
        client = await one.client()
        metadata = await client.ask(METADATA, 8, {"topics": [], "allow_auto_topic_creation": False})
        assert [(node["node_id"], node["host"], node["port"]) for node in metadata["brokers"]] == [
            (1, "localhost", one.port + 1)]
        client.close()
        client = await one.client(one.port + 1)
        answer = await client.ask(0, 9, produce())
        assert (error_of(answer), answer["responses"][0]["partition_responses"][0]["base_offset"]) == (0, 40)
        assert one.notes() == [(INTENT, "orders"), (OUTCOME, "orders")], "on disk before the client had its answer"
        assert error_of(await client.ask(0, 9, produce("secrets"))) == 29
        client.close()
        await until(lambda: len(one.events("disconnect")) == 2)
        (flow,) = one.events("flow")
        assert (flow.topic, flow.direction, flow.partitions, flow.principal, flow.policy_version) == (
            "orders", "produce", [(0, 40, 41, 2, flow.bytes)], "corp:w1", "v1")
        (denied,) = one.events("denied")
        assert (denied.name, denied.operation, denied.decision) == ("secrets", "write", "deny")
        assert "eyJ" not in (tmp_path / "log").read_text()


async def test_a_shared_password_is_refused_and_audited(tmp_path):
    async with worker(tmp_path) as one:
        client = await RawClient.connect(one.port)
        answer = await client.log_in("hunter2")
        assert answer["error_code"] == 58
        await until(lambda: one.events("login_failed"))
        (failed,) = one.events("login_failed")
        assert failed.reason == "malformed_token" and failed.error_id in answer["error_message"]
        assert await client.closed()
        said = (tmp_path / "log").read_text() + repr(one.entries())
        assert "hunter2" not in said


async def test_it_serves_nobody_before_a_snapshot_is_there(tmp_path):
    async with worker(tmp_path, published=False) as one:
        await until(lambda: one.told(Hello))
        assert not accepts("127.0.0.1", one.port)
        assert one.told(InForce) == []
        one.publish(1)
        await one.listening()
        await until(lambda: InForce(0, 1) in one.control.received)


async def test_a_new_snapshot_rules_an_open_connection(tmp_path):
    async with worker(tmp_path, answers={0: produced}) as one:
        client = await one.client()
        assert error_of(await client.ask(0, 9, produce())) == 0
        one.publish(2, READ_ONLY)
        one.control.send(pack(Published(2)))
        await until(lambda: InForce(0, 2) in one.control.received)
        assert error_of(await client.ask(0, 9, produce())) == 29


async def test_a_bad_snapshot_is_told_and_the_old_one_rules_on(tmp_path):
    async with worker(tmp_path, answers={0: produced}) as one:
        client = await one.client()
        await until(lambda: one.told(InForce))
        (tmp_path / "run/snapshot.msgpack").write_bytes(b"\xc1")
        one.control.send(pack(Published(2)))
        await until(lambda: any(told.error for told in one.told(InForce)))
        assert {told.epoch for told in one.told(InForce)} == {1}
        assert error_of(await client.ask(0, 9, produce())) == 0


async def test_it_serves_on_without_a_control_process(tmp_path):
    async with worker(tmp_path, control=False, answers={0: produced}) as one:
        client = await one.client()
        assert error_of(await client.ask(0, 9, produce())) == 0


async def test_control_learns_what_is_counted_and_who_is_there_and_may_end_it(tmp_path):
    async with worker(tmp_path, answers={0: produced}) as one:
        client = await one.client()
        await client.ask(0, 9, produce())
        one.control.send(pack(StatsAsked(5)) + pack(SessionsAsked(6)))
        await until(lambda: one.told(Stats) and one.told(Sessions))
        (stats,), (sessions,) = one.told(Stats), one.told(Sessions)
        values = {name: {tuple(labels): value for labels, value in rows} for name, rows in stats.values.items()}
        assert stats.ask == 5
        assert values["kproxy_requests_total"]["public", "Produce", "allow"] == 1
        assert values["kproxy_token_checks_total"]["corp", "accepted"] == 1
        assert values["kproxy_sessions"]["public", "PLAIN"] == 1
        assert values["kproxy_broker_connections"]["prod", "bootstrap"] == 1
        assert values["kproxy_records_total"][("produce",)] == 2
        (view,) = sessions.sessions
        assert (sessions.ask, view.principal, view.listener, view.declared) == (
            6, "corp:w1", "public", {"username": "svc"})
        one.control.send(pack(KillAsked(7, "0-9999")) + pack(KillAsked(8, view.id, "bye")))
        await until(lambda: len(one.told(Killed)) == 2)
        assert {(killed.ask, killed.closed) for killed in one.told(Killed)} == {(7, 0), (8, 1)}
        assert await client.closed()
        await until(lambda: one.events("disconnect"))
        assert one.events("session_killed") == [], "the control process knows who asked, and tells"
        assert one.events("disconnect")[0].cause == "session_killed"


async def test_drain_answers_what_was_asked_and_leaves_clean(tmp_path):
    asked = asyncio.Event()

    def slowly(version: int, request: dict) -> None:
        asked.set()  # The test answers by itself, once the worker drains.

    async with worker(tmp_path, answers={0: slowly}) as one:
        idle, busy = await one.client(), await one.client()
        busy.send(0, 9, produce())
        await asked.wait()
        one.process.send_signal(signal.SIGTERM)
        await until(lambda: one.told(Drain))
        assert await idle.closed()
        await until(lambda: not accepts("127.0.0.1", one.port))
        one.broker.answer_last(produced(9, produce()))
        assert error_of(await busy.receive()) == 0
        assert await busy.closed()
        async with asyncio.timeout(10):
            assert await one.process.wait() == 0
        assert one.entries()[-1][0] == END
        assert {event.cause for event in one.events("disconnect")} == {"drained"}
        assert len(one.events("node_stopped")) == 1


async def test_drain_does_not_wait_for_ever(tmp_path):
    asked = asyncio.Event()
    async with worker(tmp_path, drain=300, answers={0: lambda version, request: asked.set()}) as one:
        busy = await one.client()
        busy.send(0, 9, produce())
        await asked.wait()
        one.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            assert await one.process.wait() == 0
        (left,) = one.events("disconnect")
        assert (left.cause, left.unanswered) == ("drained", 1)


async def test_a_killed_worker_has_written_what_it_forwarded(tmp_path):
    asked = asyncio.Event()
    async with worker(tmp_path, answers={0: lambda version, request: asked.set()}) as one:
        client = await one.client()
        client.send(0, 9, produce())
        await asked.wait()
        one.process.kill()
        await one.process.wait()
        assert one.notes() == [(INTENT, "orders")], "the broker has it, so the spool has it"
        assert END not in [kind for kind, _ in one.entries()]


async def test_a_taken_port_is_one_clear_line(tmp_path):
    async with worker(tmp_path, published=False) as one:
        server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", one.port)
        one.publish(1)
        async with asyncio.timeout(15):
            assert await one.process.wait() == 1
        assert f"cannot listen on 127.0.0.1:{one.port}: Address already in use" in (tmp_path / "log").read_text()
        server.close()
        assert os.listdir(tmp_path / "state/spool") == []


@pytest.mark.parametrize("options", [["--worker", "0"], ["--config", "missing.yaml", "--worker", "0"]])
async def test_wrong_use_is_told(tmp_path, options):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "kproxy.dataplane", *options, cwd=tmp_path, stderr=asyncio.subprocess.PIPE)
    _, said = await process.communicate()
    assert process.returncode == (2 if "--config" not in options else 1)
    assert b"required: --config" in said or b"missing.yaml: cannot be read" in said
