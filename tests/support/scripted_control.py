"""A control process of one connection at a time, over a real unix socket, that says what a test tells it to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from kproxy.dataplane.control_link import ControlLink
from kproxy.model.messages import Hello, pack, unpack


class Control:
    """``received`` has all it was told; ``answer`` is what it says to
    a message, None for silence."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.received: list[Any] = []
        self.answer: Callable[[Any], Any] = lambda message: None
        self.connections = 0
        self._server: asyncio.Server | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, str(self.path))

    async def stop(self) -> None:
        self._server.close()
        self.path.unlink(missing_ok=True)
        self.cut()

    def cut(self) -> None:
        if self._writer:
            self._writer.transport.abort()

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                message = unpack(await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big")))
                self.received.append(message)
                answer = self.answer(message)
                if answer is not None:
                    writer.write(pack(answer))


async def until(condition: Callable[[], Any], seconds: float = 5.0) -> None:
    """Polls ``condition`` until it is true; TimeoutError at the deadline."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def linked(tmp_path: Path, receive: Any = None,
                 started: bool = True) -> AsyncIterator[tuple[ControlLink, Control]]:
    """A worker's link to a control process in ``tmp_path``; it has said Hello if the control process is started."""
    control = Control(tmp_path / "control.sock")
    if started:
        await control.start()

    async def ignore(message: Any) -> None:
        return None

    async def greeted() -> None:
        return None

    link = ControlLink(control.path, Hello(3, 4711), receive or ignore, greeted)
    running = asyncio.create_task(link.run())
    try:
        if started:
            await until(lambda: control.received)
        yield link, control
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        if control._server:
            await control.stop()
