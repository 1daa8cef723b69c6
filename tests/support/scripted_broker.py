"""A broker that speaks Kafka's protocol over a real socket and says what a test tells it to.

It answers ApiVersions, SASL PLAIN and Metadata by itself; ``answers`` adds others: ``{api_key: (version, request) ->
answer}`` with requests and answers as dicts of the schema's snake_case names, ``None`` for no answer at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kproxy._ext import schema
from kproxy.errors import WireError

METADATA, SASL_HANDSHAKE, API_VERSIONS, SASL_AUTHENTICATE = 3, 17, 18, 36
RANGES = {0: (3, 12), 1: (4, 16), 3: (0, 12), 17: (0, 1), 18: (0, 4), 36: (0, 2)}

Answer = Callable[[int, dict[str, Any]], "dict[str, Any] | None"]


@dataclass
class Asked:
    """One request as the broker read it. ``connection`` numbers connections from 0."""

    connection: int
    api_key: int
    version: int
    client_id: str
    values: dict[str, Any]


@dataclass
class ScriptedBroker:
    """``users``: names and passwords; when not empty, everything but ApiVersions needs a login.
    ``newest_api_versions``: what lies above is answered with ``above``: ``35`` (body v0, error 35), ``garbage``,
    ``close``.
    """

    node: int = 1
    ranges: dict[int, tuple[int, int]] = field(default_factory=lambda: dict(RANGES))
    users: dict[str, str] = field(default_factory=dict)
    newest_api_versions: int = 4
    above: str = "35"
    lifetime_ms: int = 0
    brokers: dict[int, tuple[str, int]] | None = None
    answers: dict[int, Answer] = field(default_factory=dict)
    silent: bool = False
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    async def start(self, port: int = 0) -> ScriptedBroker:
        self._writers: set[asyncio.StreamWriter] = set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> None:
        """Every open connection ends now."""
        for writer in list(self._writers):
            writer.transport.abort()

    def answer_last(self, values: dict[str, Any]) -> None:
        """Answers the last request that ``answers`` left open."""
        reply, writer = self._open
        reply.body = schema.build(reply.api_key, reply.version, True, values)
        writer.write(reply.frame())

    def answer_last_with(self, body: bytes, late_by: int = 0) -> None:
        """Answers it with these bytes, under the correlation id that comes ``late_by`` after the right one."""
        reply, writer = self._open
        reply.body, reply.correlation = body, reply.correlation + late_by
        writer.write(reply.frame())

    async def __aenter__(self) -> ScriptedBroker:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, self.connections = self.connections, self.connections + 1
        self._writers.add(writer)
        trusted = not self.users
        # Cancelled: the test's loop ends. Streams would log that as an error of their own.
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                frame = await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))
                answer = self._answer(frame, number, trusted)
                if answer is None:
                    break
                trusted = trusted or answer.trusted
                if answer.body is not None:
                    writer.write(answer.frame())
                else:
                    self._open = answer, writer
        self._writers.discard(writer)
        writer.close()

    def _answer(self, frame: bytes, connection: int, trusted: bool) -> _Reply | None:
        """None closes the connection."""
        api_key, version, correlation, length = struct.unpack_from(">hhih", frame)
        client_id = frame[10 : 10 + max(0, length)].decode()
        at = 10 + max(0, length)
        reply = _Reply(api_key, version, correlation)
        if api_key == API_VERSIONS and version > self.newest_api_versions:
            self.asked.append(Asked(connection, api_key, version, client_id, {}))
            return self._refuse_version(reply)
        if schema.flexible(api_key, version):
            if frame[at] != 0:
                raise WireError("tags in a header")
            at += 1
        values = schema.parse(api_key, version, False, frame[at:])
        self.asked.append(Asked(connection, api_key, version, client_id, values))
        if self.silent or not (trusted or api_key in (API_VERSIONS, SASL_HANDSHAKE, SASL_AUTHENTICATE)):
            return None if not self.silent else reply
        answered = self._values(api_key, version, values, reply)
        if answered is not None:
            reply.body = schema.build(api_key, version, True, answered)
        return reply

    def _refuse_version(self, reply: _Reply) -> _Reply | None:
        if self.above == "close":
            return None
        if self.above == "garbage":
            # A count of seven entries, compact, and then nothing.
            reply.body = b"\0\0\x08"
        else:
            reply.body = schema.build(API_VERSIONS, 0, True, {"error_code": 35, "api_keys": [
                {"api_key": API_VERSIONS, "min_version": 0, "max_version": self.newest_api_versions}]})
        return reply

    def _values(self, api_key: int, version: int, values: dict[str, Any], reply: _Reply) -> dict[str, Any] | None:
        if api_key in self.answers:
            return self.answers[api_key](version, values)
        if api_key == API_VERSIONS:
            return {"api_keys": [{"api_key": key, "min_version": low, "max_version": high}
                                 for key, (low, high) in self.ranges.items()]}
        if api_key == SASL_HANDSHAKE:
            return {"error_code": 0 if values["mechanism"] == "PLAIN" else 33, "mechanisms": ["PLAIN"]}
        if api_key == SASL_AUTHENTICATE:
            _, user, password = values["auth_bytes"].decode().split("\0")
            reply.trusted = self.users.get(user) == password
            if not reply.trusted:
                return {"error_code": 58, "error_message": "Authentication failed: Invalid username or password"}
            return {"session_lifetime_ms": self.lifetime_ms}
        if api_key == METADATA:
            brokers = self.brokers if self.brokers is not None else {self.node: ("127.0.0.1", self.port)}
            return {"cluster_id": "scripted", "controller_id": self.node, "brokers": [
                {"node_id": node, "host": host, "port": port} for node, (host, port) in brokers.items()]}
        raise AssertionError(f"no answer is scripted for API {api_key}")


@dataclass
class _Reply:
    api_key: int
    version: int
    correlation: int
    body: bytes | None = None
    trusted: bool = False

    def frame(self) -> bytes:
        tags = b"\0" if schema.flexible(self.api_key, self.version) and self.api_key != API_VERSIONS else b""
        body = (self.correlation.to_bytes(4, "big", signed=True)) + tags + (self.body or b"")
        return len(body).to_bytes(4, "big") + body
