"""uvicorn as a part of a bigger program: it takes no signals, trusts no forwarding headers and says who a peer is."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

import msgspec
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from kproxy.control.listening import Peer, read_peer
from kproxy.control.refusals import Refused

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

STOP_SECONDS = 2
TITLES = {400: "Bad request", 401: "Not authenticated", 403: "Not allowed", 404: "Not found", 405: "Method not allowed",
          409: "Conflict", 413: "Too large", 500: "Internal error", 503: "Unavailable"}


_UNIX = "unix:"


class _Protocol(H11Protocol):
    """Over a unix socket the client is ``("unix:UID:GID", PID)``, which no TCP peer can be."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        if connection.family == socket.AF_UNIX:
            peer = read_peer(connection)
            self.client = (f"{_UNIX}{peer.uid}:{peer.gid}", peer.pid)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The process decides what a signal means."""
        yield


class HttpServer:
    """Serves ``app`` on a listening socket until ``aclose``."""

    def __init__(self, app: App, listening: socket.socket) -> None:
        self._socket = listening
        self._server = _Server(uvicorn.Config(
            app, http=_Protocol, ws="none", lifespan="off", loop="none", interface="asgi3", log_config=None,
            access_log=False, server_header=False, proxy_headers=False, timeout_keep_alive=30, limit_concurrency=256,
            h11_max_incomplete_event_size=64 * 1024, timeout_graceful_shutdown=STOP_SECONDS))
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))

    async def aclose(self) -> None:
        if self._task is not None:
            self._server.should_exit = True
            await self._task


def peer_of(scope: Scope) -> tuple[str, Peer | None]:
    """The caller's address as text, and the peer where it came over a unix socket."""
    client = scope.get("client")
    if client is None:
        return "", None
    if client[0].startswith(_UNIX):
        uid, gid = map(int, client[0].removeprefix(_UNIX).split(":"))
        return f"{client[0]}:{client[1]}", Peer(client[1], uid, gid)
    return f"{client[0]}:{client[1]}", None


def problem_of(refused: Refused) -> bytes:
    """A refusal as RFC 9457 has it."""
    return msgspec.json.encode({"type": "about:blank", "title": TITLES.get(refused.status, "Refused"),
                                "status": refused.status, "detail": str(refused)})


async def send_bytes(send: Send, status: int, body: bytes, content_type: str = "application/problem+json") -> None:
    """A whole answer. Nothing here may be kept by a cache."""
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode()),
               (b"cache-control", b"no-store")]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
