"""A control process in the test's own event loop, with files, tokens and workers that do as they are told."""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import yaml

from kproxy import logs
from kproxy.config import load_config
from kproxy.control.event_log import EventLog
from kproxy.control.node import Node
from kproxy.control.process import find_first, prepare_directories
from kproxy.model.access import ApprovalWanted, Client, Facts, Principal
from kproxy.model.messages import (
    ApprovalAsked,
    Hello,
    InForce,
    KillAsked,
    Killed,
    Message,
    Published,
    Sessions,
    SessionsAsked,
    SessionView,
    Stats,
    StatsAsked,
    pack,
    unpack,
)
from kproxy.model.snapshot import Snapshot
from tests.support.ports import free_ports
from tests.support.tokens import header, public_jwk, raw, rs, rsa_key

ISS = "https://idp.example.com"
POLICY = """
roles:
  ml-risk: {members: {groups: [ml-risk]}}
  fraud-scoring:
    members: {groups: [fraud-scoring]}
    allow: [{operations: [write], topics: ["scores.*"]}, {operations: [read], topics: [features.a]}]
approvals:
  - {name: new-model-version, operations: [write], topics: ["scores.*"], unless: 'attested.model in granted.models',
     approvers: {role: ml-risk, quorum: 1}, request_ttl: 1h, max_duration: 8h}
"""
JOB = Facts(
    Principal("corp:fraud-job", "corp", "fraud-job", ("fraud-scoring",)), "OAUTHBEARER", "public",
    attested={"launcher": "alice", "run": "run-7", "model": "models:/fraud/4"},
    client=Client("serving-1", "librdkafka", "10.0.0.9:4411"))
WANTED = ApprovalWanted("new-model-version", "write", "topic", "scores.fraud", "models:/fraud/4")


class ControlRig:
    """``start`` and ``stop`` a node over the same folder as often as wanted. ``shift`` moves its clock."""

    def __init__(self, folder: Path, policy: str = POLICY, **more: Any) -> None:
        self.folder = folder
        self.policy = folder / "policy" / "policy.yaml"
        self.policy.parent.mkdir(parents=True)
        self.policy.write_text(policy)
        self.jwks = folder / "jwks.json"
        self.list_keys("k1")
        self.admin, self.metrics, self.listener, self.broker = free_ports(4)
        self.content: dict[str, Any] = {
            "node": {"name": "edge-1", "runtime_dir": "run", "state_dir": "state", "workers": 1},
            "clusters": {"prod": {"bootstrap": ["127.0.0.1:1"]}},
            "listeners": {"public": {
                "cluster": "prod", "bind": f"127.0.0.1:{self.listener}", "authenticate": ["OAUTHBEARER"],
                "advertise": {"ports": {"host": "127.0.0.1", "brokers": "1-1", "first": self.broker}}}},
            "identity": {"issuers": {"corp": {
                "issuer": ISS, "audience": ["kproxy"], "groups": "groups", "jwks_file": "jwks.json",
                "attest": {"launcher": "actor", "run": "run_id", "model": "model_uri"}}}},
            "policy": {"path": "policy"},
            "admin": {"bind": f"127.0.0.1:{self.admin}", "authenticate": ["oidc"],
                      "roles": {role: {"groups": [f"{role}s"]} for role in ("viewer", "operator", "auditor")}},
            "metrics": {"bind": f"127.0.0.1:{self.metrics}"},
            **more,
        }
        self.config = folder / "kproxy.yaml"
        self.write_config()
        self.runtime, self.state = folder / "run", folder / "state"
        self.log = io.StringIO()
        self.shift = 0.0
        self._ids = itertools.count(1)
        self.node: Node | None = None

    def write_config(self) -> None:
        self.config.write_text(yaml.safe_dump(self.content))

    def list_keys(self, *names: str) -> None:
        """What the issuer's JWKS lists from now on."""
        keys = [public_jwk(rsa_key(name), kid=name, use="sig", alg="RS256") for name in names]
        self.jwks.write_text(json.dumps({"keys": keys}))

    def now(self) -> float:
        return time.time() + self.shift

    def token(self, subject: str, *groups: str, key: str = "k1", **claims: Any) -> str:
        now = int(self.now())
        honest = {"iss": ISS, "aud": "kproxy", "sub": subject, "exp": now + 300, "iat": now, "jti": f"j-{subject}",
                  "groups": list(groups), "client_id": "tests"}
        return raw(header(kid=key), {**honest, **claims}, rs(rsa_key(key)))

    async def start(self) -> Node:
        logs.configure("control", stream=self.log)
        config = load_config(self.config)
        prepare_directories(config)
        first = find_first(self.config, config)
        self.events = EventLog(self.state / "events.db", born=1_800_000_000_000)
        self.node = Node(self.config, first, self.events, now=self.now, new_id=lambda: f"{next(self._ids):04d}")
        await self.node.start()
        return self.node

    async def stop(self) -> None:
        if self.node is not None:
            await self.node.aclose()
            self.events.close()
            self.node = None

    def snapshot(self) -> Snapshot:
        return msgspec.msgpack.decode((self.runtime / "snapshot.msgpack").read_bytes(), type=Snapshot)

    def audit(self, *kinds: str) -> list[dict[str, Any]]:
        file = self.state / "audit" / "audit.jsonl"
        lines = [json.loads(line) for line in file.read_bytes().splitlines()] if file.exists() else []
        return [line for line in lines if not kinds or line["kind"] in kinds]

    async def call(self, method: str, path: str, token: str = "", body: Any = None, over: str = "tcp",
                   **headers: str) -> tuple[int, Any]:
        """Status and JSON, or text, of the admin API over ``tcp`` or the operator ``socket``, or of the ``metrics``
        port."""
        uds = str(self.runtime / "operator.sock") if over == "socket" else None
        port = self.metrics if over == "metrics" else self.admin
        if token:
            headers["authorization"] = f"Bearer {token}"
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=uds, verify=False), timeout=10,
                                     base_url=f"http://127.0.0.1:{port}") as client:
            answer = await client.request(method, path, headers=headers, json=body)
        if over == "metrics":
            return answer.status_code, answer.text
        assert answer.headers["content-type"].startswith(
            "application/json" if answer.status_code < 400 else "application/problem+json")
        return answer.status_code, answer.json()

    async def metric(self, sample: str) -> float:
        """The value of one sample, written as Prometheus shows it. Raises KeyError."""
        _, page = await self.call("GET", "/metrics", over="metrics")
        found = dict(line.rpartition(" ")[::2] for line in page.splitlines() if not line.startswith("#"))
        return float(found[sample])


@contextlib.asynccontextmanager
async def running(rig: ControlRig) -> AsyncIterator[ControlRig]:
    await rig.start()
    try:
        yield rig
    finally:
        await rig.stop()


class ScriptedWorker:
    """A worker's end of the socket, with real frames. It takes every snapshot into force unless ``refuses`` says why
    not, and answers questions from its fields."""

    def __init__(self, rig: ControlRig, worker: int = 0, pid: int = 4000) -> None:
        self.rig, self.worker, self.pid = rig, worker, pid
        self.received: list[Message] = []
        self.epochs: list[int] = []
        self.snapshots: list[Snapshot] = []
        self.refuses = ""
        self.silent = False
        self.values: dict[str, Any] = {}
        self.sessions: list[SessionView] = []
        self._numbers = itertools.count(1)

    async def __aenter__(self) -> ScriptedWorker:
        self._reader, self._writer = await asyncio.open_unix_connection(str(self.rig.runtime / "control.sock"))
        self.send(Hello(self.worker, self.pid))
        self._task = asyncio.create_task(self._read())
        await until(lambda: self.epochs)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._task.cancel()
        self._writer.transport.abort()
        await asyncio.gather(self._task, return_exceptions=True)

    def send(self, message: Message) -> None:
        self._writer.write(pack(message))

    async def ask(self, build: Callable[[int], Message]) -> Any:
        """The answer that repeats the question's number."""
        number = next(self._numbers)
        self.send(build(number))
        return await until(lambda: next((one for one in self.received if getattr(one, "ask", 0) == number), None))

    async def ask_approval(self, facts: Facts = JOB, wanted: ApprovalWanted = WANTED) -> Any:
        return await self.ask(lambda number: ApprovalAsked(number, facts, wanted))

    async def _read(self) -> None:
        while True:
            length = int.from_bytes(await self._reader.readexactly(4), "big")
            message = unpack(await self._reader.readexactly(length))
            if isinstance(message, Published):
                self.snapshots.append(self.rig.snapshot())
                self.epochs.append(message.epoch)
                self.send(InForce(self.worker, message.epoch, self.refuses))
            elif self.silent:
                continue
            elif isinstance(message, StatsAsked):
                self.send(Stats(message.ask, self.worker, self.values))
            elif isinstance(message, SessionsAsked):
                self.send(Sessions(message.ask, self.worker, tuple(self.sessions)))
            elif isinstance(message, KillAsked):
                before = len(self.sessions)
                self.sessions = [one for one in self.sessions if one.id != message.session]
                self.send(Killed(message.ask, self.worker, before - len(self.sessions)))
            else:
                self.received.append(message)


async def until(condition: Callable[[], Any], seconds: float = 8.0) -> Any:
    """Polls until the condition is true, and gives its value; TimeoutError at the deadline."""
    async with asyncio.timeout(seconds):
        while True:
            value = condition()
            if asyncio.iscoroutine(value):
                value = await value
            if value:
                return value
            await asyncio.sleep(0.005)


def session(number: int, worker: int = 0, principal: str = "corp:fraud-job") -> SessionView:
    return SessionView(
        id=f"{worker}-{number}", worker=worker, listener="public", principal=principal, mechanism="OAUTHBEARER",
        client_id="serving-1", address="10.0.0.9:4411", attested={"launcher": "alice"}, declared={"owner": "bob"},
        connected_at=1_800_000_000.0 + number, expires_at=1_800_000_900.0, requests=number * 10, broker="1",
        groups=("fraud-scoring", "night"))
