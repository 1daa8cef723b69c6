"""The control process's end of the private socket: one link per worker, questions both ways.

A worker says Hello and from then on is told of every snapshot. Its questions are answered while other messages flow;
ours carry a deadline, and a worker that does not answer in time is simply missing from the answers.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import structlog

from kproxy.control.listening import bind_unix, read_peer
from kproxy.model.messages import (
    MAX_FRAME,
    ApprovalAsked,
    Drain,
    Hello,
    InForce,
    KeyWanted,
    Killed,
    Message,
    Published,
    SchemasWanted,
    Sessions,
    Stats,
    pack,
    unpack,
)

log = structlog.get_logger("kproxy.control")

HELLO_SECONDS = 5.0

Answer = Callable[[Any], Awaitable[Message]]


class WorkerLink:
    """A worker that is connected. ``epoch`` is the snapshot it decides by, 0 before the first."""

    def __init__(self, hello: Hello, writer: asyncio.StreamWriter, connected_at: float) -> None:
        self.worker = hello.worker
        self.pid = hello.pid
        self.connected_at = connected_at
        self.epoch = 0
        self.error = ""
        self.draining = False
        self.waiting: dict[int, asyncio.Future[Message]] = {}
        self._writer = writer

    def send(self, message: Message) -> None:
        """Cuts the link to a worker that reads nothing, instead of letting messages pile up."""
        self._writer.write(pack(message))
        if self._writer.transport.get_write_buffer_size() > MAX_FRAME:
            log.error("worker_link_stuck", worker=self.worker, pid=self.pid)
            self._writer.transport.abort()

    def close(self) -> None:
        self._writer.transport.abort()


class WorkerLinks:
    """``answer`` is asked what KeyWanted, ApprovalAsked and SchemasWanted are answered; ``on_hello`` and ``on_gone``
    are told of links that come and go; ``epoch`` gives the snapshot in place, 0 if there is none."""

    def __init__(self, *, answer: Answer, epoch: Callable[[], int], now: Callable[[], float],
                 on_hello: Callable[[WorkerLink], None], on_gone: Callable[[WorkerLink], None]) -> None:
        self._answer = answer
        self._epoch = epoch
        self._now = now
        self._on_hello = on_hello
        self._on_gone = on_gone
        self._links: dict[int, WorkerLink] = {}
        self._left_at: dict[int, float] = {}
        self._began = now()
        self._numbers = itertools.count(1)
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._serving: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}
        self._server: asyncio.Server | None = None

    async def start(self, path: Path) -> None:
        self._server = await asyncio.start_unix_server(self._serve, sock=bind_unix(path))

    async def aclose(self) -> None:
        if self._server is not None:
            self._server.close()
        # Their readers end when the transports do; asyncio tells a cancelled one as an error of ours.
        for writer in self._serving.values():
            writer.transport.abort()
        if self._serving:
            await asyncio.wait(self._serving, timeout=HELLO_SECONDS)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def links(self) -> list[WorkerLink]:
        """Connected workers by number."""
        return [link for _, link in sorted(self._links.items())]

    def is_ready(self) -> bool:
        """Whether some worker serves by a snapshot and is not on its way out."""
        return any(link.epoch > 0 and not link.draining for link in self._links.values())

    def is_away(self, worker: int, seconds: float = 10.0) -> bool:
        """Whether a worker has had no link for so long that it must be gone."""
        return worker not in self._links and self._now() - self._left_at.get(worker, self._began) > seconds

    def announce(self, epoch: int) -> None:
        for link in self._links.values():
            link.send(Published(epoch))

    async def settle(self, epoch: int, seconds: float) -> bool:
        """Waits until every connected worker decides by ``epoch`` or a later one. False if one still does not."""
        try:
            async with asyncio.timeout(seconds):
                while not all(link.epoch >= epoch for link in self._links.values()):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def ask_all(self, build: Callable[[int], Message], seconds: float) -> list[tuple[WorkerLink, Message]]:
        """One question to every worker; the answers that came within ``seconds``."""
        asked = []
        for link in self.links():
            number = next(self._numbers)
            future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
            link.waiting[number] = future
            link.send(build(number))
            asked.append((link, number, future))
        if asked:
            await asyncio.wait([future for _, _, future in asked], timeout=seconds)
        answers = []
        for link, number, future in asked:
            link.waiting.pop(number, None)
            if future.done() and not future.cancelled():
                answers.append((link, future.result()))
        return answers

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving[task] = writer
        link: WorkerLink | None = None
        try:
            link = await self._greet(reader, writer)
            while link is not None:
                self._receive(link, await _read(reader))
        except (OSError, asyncio.IncompleteReadError):
            pass  # The worker closed, or died; its successor will say Hello.
        except (msgspec.MsgspecError, ValueError, TimeoutError) as error:
            log.error("worker_message_refused", worker=link.worker if link else None, error=str(error))
        finally:
            del self._serving[task]
            writer.transport.abort()
            if link is not None:
                self._leave(link)

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> WorkerLink | None:
        peer = read_peer(writer.get_extra_info("socket"))
        if peer.uid not in (0, os.geteuid()):
            log.error("worker_link_refused", reason="another user", pid=peer.pid)
            return None
        async with asyncio.timeout(HELLO_SECONDS):
            hello = await _read(reader)
        if not isinstance(hello, Hello):
            raise ValueError(f"expected Hello, found {type(hello).__name__}")
        link = WorkerLink(hello, writer, self._now())
        old = self._links.get(link.worker)
        if old is not None:
            old.close()
        self._links[link.worker] = link
        self._left_at.pop(link.worker, None)
        log.info("worker_connected", worker=link.worker, pid=link.pid)
        self._on_hello(link)
        if self._epoch():
            link.send(Published(self._epoch()))
        return link

    def _receive(self, link: WorkerLink, message: Message) -> None:
        match message:
            case Stats() | Sessions() | Killed():
                future = link.waiting.get(message.ask)
                if future is not None and not future.done():
                    future.set_result(message)
            case KeyWanted() | ApprovalAsked() | SchemasWanted():
                self._keep(asyncio.get_running_loop().create_task(self._reply(link, message)))
            case InForce():
                link.error = message.error
                if not message.error:
                    link.epoch = max(link.epoch, message.epoch)
                else:
                    log.error("snapshot_not_in_force", worker=link.worker, epoch=message.epoch, error=message.error)
                self._changed.set()
            case Drain():
                link.draining = True
                log.info("worker_draining", worker=link.worker)
            case _:
                raise ValueError(f"{type(message).__name__} is not for the control process")

    async def _reply(self, link: WorkerLink, message: KeyWanted | ApprovalAsked | SchemasWanted) -> None:
        answer = await self._answer(message)
        if self._links.get(link.worker) is link:
            link.send(answer)

    def _leave(self, link: WorkerLink) -> None:
        for future in link.waiting.values():
            future.cancel()
        if self._links.get(link.worker) is link:
            del self._links[link.worker]
            self._left_at[link.worker] = self._now()
            self._changed.set()
        log.info("worker_gone", worker=link.worker, pid=link.pid)
        self._on_gone(link)

    def _keep(self, task: asyncio.Task[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("worker_question_failed", exc_info=task.exception())


async def _read(reader: asyncio.StreamReader) -> Message:
    length = int.from_bytes(await reader.readexactly(4), "big")
    if length > MAX_FRAME:
        raise ValueError(f"a message of {length} bytes")
    return unpack(await reader.readexactly(length))
