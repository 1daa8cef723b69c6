"""A worker's end of the node's private socket: questions with a deadline, answers to the control process's own
questions.

The link is never in the way of serving. While the control process is away every question ends in ControlUnavailable at
once, whatever rests on the answer is refused, and the link keeps trying to come back.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import structlog

from kproxy.errors import ControlUnavailable
from kproxy.model.messages import MAX_FRAME, ApprovalAnswer, Hello, KeyAnswer, Message, SchemasAnswer, pack, unpack

log = structlog.get_logger("kproxy.control_link")

FIRST_RETRY_SECONDS = 0.02
LONGEST_RETRY_SECONDS = 1.0
#: A control process that reads nothing would let answers pile up; beyond this the link is cut and made anew.
UNSENT_BYTES = MAX_FRAME
ANSWERS = (KeyAnswer, ApprovalAnswer, SchemasAnswer)

Receive = Callable[[Any], Coroutine[Any, Any, Message | None]]


class ControlLink:
    """``receive`` is called with every message that is no answer; what it returns is sent back. ``on_connected`` runs
    after each Hello, before anything else is asked."""

    def __init__(self, path: Path, hello: Hello, receive: Receive,
                 on_connected: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._path = path
        self._hello = hello
        self._receive = receive
        self._on_connected = on_connected
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._answering: set[asyncio.Task[None]] = set()

    @property
    def connected(self) -> bool:
        return self._writer is not None

    def send(self, message: Message) -> None:
        """Raises ControlUnavailable while there is no control process."""
        if self._writer is None:
            raise ControlUnavailable("the control process is away")
        self._writer.write(pack(message))
        if self._writer.transport.get_write_buffer_size() > UNSENT_BYTES:
            log.error("control_link_stuck")
            self._writer.transport.abort()

    async def ask(self, build: Callable[[int], Message], timeout: float) -> Any:
        """Sends ``build(number)`` and gives the answer that repeats the number. Raises ControlUnavailable after
        ``timeout`` seconds, and at once when the link is or goes down."""
        number = next(self._numbers)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            self.send(build(number))
            async with asyncio.timeout(timeout):
                return await future
        except TimeoutError:
            raise ControlUnavailable(f"the control process did not answer within {timeout:g} s") from None
        finally:
            del self._waiting[number]

    async def run(self) -> None:
        """Connects and reconnects until cancelled."""
        delay = FIRST_RETRY_SECONDS
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(str(self._path))
            except OSError:
                await asyncio.sleep(delay)
                delay = min(LONGEST_RETRY_SECONDS, delay * 1.5)
                continue
            delay = FIRST_RETRY_SECONDS
            try:
                await self._serve(reader, writer)
            finally:
                self._disconnect(writer)
            log.warning("control_link_lost")
            await asyncio.sleep(delay)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.send(self._hello)
        self._keep(asyncio.get_running_loop().create_task(self._on_connected()))
        try:
            while True:
                length = int.from_bytes(await reader.readexactly(4), "big")
                if length > MAX_FRAME:
                    log.error("control_message_too_big", bytes=length)
                    return
                self._dispatch(unpack(await reader.readexactly(length)))
        except (OSError, asyncio.IncompleteReadError):
            return
        except (msgspec.MsgspecError, ControlUnavailable) as error:
            log.error("control_message_refused", error=str(error))

    def _dispatch(self, message: Any) -> None:
        # Both sides number their own questions, so an answer is told by its kind, not by its number alone.
        if isinstance(message, ANSWERS):
            waiting = self._waiting.get(message.ask)
            if waiting is not None and not waiting.done():
                waiting.set_result(message)
            return  # An answer that nobody waits for came too late: the asker has been told so.
        self._keep(asyncio.get_running_loop().create_task(self._answer(message)))

    async def _answer(self, message: Any) -> None:
        answer = await self._receive(message)
        if answer is not None and self._writer is not None:
            self.send(answer)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._answering.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._answering.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("control_message_failed", exc_info=task.exception())

    def _disconnect(self, writer: asyncio.StreamWriter) -> None:
        self._writer = None
        writer.close()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ControlUnavailable("the control process went away"))
