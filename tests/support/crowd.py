"""Many raw connections that read, and the times at which record bytes reached each of them.

Clients of a library would cost more than the proxy they measure. A reader here sends one prepared fetch again and
again: as a long poll that the broker holds although records are there, or as a short question several times a second.
It runs in a thread of its own with a loop of its own, so that what a test does meanwhile delays no time stamp.
"""

from __future__ import annotations

import asyncio
import struct
import threading
import time
from typing import Any, cast

import uvloop

from tests.support import frames
from tests.support.clients import token_expiry
from tests.support.raw_client import FETCH, SASL_AUTHENTICATE, SASL_HANDSHAKE, fetch, first_message
from tests.support.stalls import Stalls

#: In every record of a crowd's topics and nowhere else on the wire.
CANARY = b"tr1al-canary"
SHORT_PAUSE = 0.2
FETCH_VERSION = 12


class Reader(asyncio.Protocol):
    """One connection. Times are Unix seconds; 0: not yet."""

    def __init__(self, crowd: Crowd, topic: str, token: str, poll_ms: int) -> None:
        self.topic = topic
        self.poll_ms = poll_ms
        self.expires_at = token_expiry(token, 0)
        self.port = 0
        self.login_at = self.opened_at = self.closed_at = self.records_at = 0.0
        self.lifetime_ms = -1
        self.asked_at = 0.0
        self.answers = 0
        self._crowd = crowd
        self._token = token
        self._rest = b""
        self._step = self._on_handshake
        values = fetch(topic, max_wait_ms=max(poll_ms, 1))
        values["min_bytes"] = 1 << 20 if poll_ms else 0
        self._fetch = frames.request(FETCH, FETCH_VERSION, 3, values)
        self._transport: asyncio.Transport

    @property
    def is_polling(self) -> bool:
        """A long poll is with the broker."""
        return self.poll_ms > 0 and self.closed_at == 0 and self.asked_at > 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.port = transport.get_extra_info("sockname")[1]
        self._transport.write(frames.request(SASL_HANDSHAKE, 1, 1, {"mechanism": "OAUTHBEARER"}))

    def data_received(self, data: bytes) -> None:
        # A canary may be split between two reads; then the second one is late by as much as the network is.
        if CANARY in data:
            self.records_at = time.time()
        self._rest += data
        while len(self._rest) >= 4:
            end = 4 + struct.unpack_from(">i", self._rest)[0]
            if len(self._rest) < end:
                return
            frame, self._rest = self._rest[:end], self._rest[end:]
            self._step(frame)

    def connection_lost(self, error: Exception | None) -> None:
        self.closed_at = time.time()

    def leave(self) -> None:
        self._transport.abort()

    def _on_handshake(self, frame: bytes) -> None:
        self._step = self._on_login
        self.login_at = time.time()
        self._transport.write(frames.request(
            SASL_AUTHENTICATE, 2, 2, {"auth_bytes": first_message(self._token)}))

    def _on_login(self, frame: bytes) -> None:
        body = frames.read_response(SASL_AUTHENTICATE, 2, frame)[1]
        if body["error_code"]:
            raise AssertionError(f"a login of the crowd was refused: {body}")
        self.lifetime_ms = body["session_lifetime_ms"]
        self.opened_at = time.time()
        self._step = self._on_records
        self._ask()

    def _on_records(self, frame: bytes) -> None:
        self.answers += 1
        held = time.time() - self.asked_at
        self.asked_at = 0.0
        # A refusal comes at once, and a poller that asked again at once would ask a thousand times a second.
        pause = SHORT_PAUSE if self.poll_ms == 0 or held < SHORT_PAUSE else 0.0
        self._crowd.loop.call_later(pause, self._ask)

    def _ask(self) -> None:
        if not self._transport.is_closing():
            self.asked_at = time.time()
            self._transport.write(self._fetch)


class Crowd:
    """A context manager. ``join`` opens a connection from any thread and returns once it is logged in and has asked."""

    def __init__(self) -> None:
        self.loop = uvloop.new_event_loop()
        self.readers: list[Reader] = []
        self._thread = threading.Thread(target=self.loop.run_forever, name="crowd", daemon=True)

    def __enter__(self) -> Crowd:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._run(self._end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)

    def join(self, bootstrap: str, topic: str, token: str, poll_ms: int = 0) -> Reader:
        """``poll_ms`` 0: short questions. Raises TimeoutError when the login takes longer than ten seconds."""
        reader: Reader = self._run(self._join(bootstrap, topic, token, poll_ms))
        self.readers.append(reader)
        return reader

    async def _join(self, bootstrap: str, topic: str, token: str, poll_ms: int) -> Reader:
        host, _, port = bootstrap.rpartition(":")
        _, reader = await self.loop.create_connection(lambda: Reader(self, topic, token, poll_ms), host, int(port))
        async with asyncio.timeout(10):
            while not reader.opened_at and not reader.closed_at:
                await asyncio.sleep(0.002)
        return reader

    async def _end(self) -> None:
        for reader in self.readers:
            reader.leave()
        await asyncio.sleep(0)

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)


class Trials:
    """How long after each command record bytes still came; never later than ``bound`` seconds, and those that the
    machine itself kept everybody waiting meanwhile."""

    def __init__(self, name: str, stalls: Stalls, bound: float = 1.0) -> None:
        self.name = name
        self.bound = bound
        self.late: list[float] = []
        self.too_late: list[str] = []
        self._stalls = stalls

    def add(self, since: float, until: float) -> None:
        """Unix times of the command and of what came last; that may lie before it."""
        late = max(0.0, until - since)
        self.late.append(late)
        if late > self.bound:
            stalled = self._stalls.between(since, until)
            if late > self.bound + stalled:
                self.too_late.append(f"{late:.3f} s, of which the machine stalled {stalled:.3f} s")

    @property
    def p99(self) -> float:
        found = sorted(self.late)
        return found[min(len(found) - 1, int(len(found) * 0.99))]

    def __str__(self) -> str:
        return (f"{self.name}: {len(self.late)} trials, p99 {self.p99 * 1000:.1f} ms, "
                f"worst {max(self.late) * 1000:.1f} ms after it")
