"""Clients that are programs, behind the common face: each producer's batch and each reader is a process of its own."""

from __future__ import annotations

import os
import select
import subprocess
import tempfile
import time
from abc import abstractmethod
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from tests.support import children
from tests.support.clients import (
    GIVE_UP_SECONDS,
    GROUP_DENIED,
    LOGIN_FAILED,
    TOPIC_DENIED,
    ClientError,
    Consumer,
    Got,
    Producer,
    Record,
    Sent,
)

#: What programs say instead of a number. The first that is found counts.
SAID = (
    ("Topic authorization failed", TOPIC_DENIED), ("TopicAuthorizationException", TOPIC_DENIED),
    ("Not authorized to access topics", TOPIC_DENIED),
    ("Group authorization failed", GROUP_DENIED), ("GroupAuthorizationException", GROUP_DENIED),
    ("Not authorized to access group", GROUP_DENIED),
    ("SaslAuthenticationException", LOGIN_FAILED), ("SASL authentication error", LOGIN_FAILED),
    ("SASL authentication failed", LOGIN_FAILED), ("Authentication failed", LOGIN_FAILED),
)


def code_said(text: str) -> int:
    """Kafka's code of an error that a program tells of in words; 0 where it tells of none."""
    return next((code for words, code in SAID if words in text), 0)


def run(command: list[str], given: bytes = b"", seconds: float = 60) -> str:
    """What the program wrote. Raises ClientError where it ends with an error or tells of one."""
    done = subprocess.run(command, input=given, capture_output=True, timeout=seconds)
    told = (done.stdout + done.stderr).decode("utf-8", "replace")
    code = code_said(told)
    if done.returncode != 0 or code:
        raise ClientError(code or -1, told[-2000:])
    return done.stdout.decode("utf-8", "replace")


class ProgramProducer(Producer):
    """A process for each run of records that ``alike`` finds; a program tells neither offsets nor each one's fate."""

    @abstractmethod
    def command(self, topic: str, partition: int, records: Sequence[Record]) -> list[str]: ...

    @abstractmethod
    def lines(self, records: Sequence[Record]) -> bytes: ...

    def alike(self, record: Record) -> object:
        """Neighbours of which this is the same go to one process."""
        return None

    def send(self, topic: str, records: Sequence[Record], partition: int = 0) -> list[Sent]:
        sent: list[Sent] = []
        for _, some in groupby(records, self.alike):
            together = list(some)
            try:
                run(self.command(topic, partition, together), self.lines(together))
                sent += [Sent(partition)] * len(together)
            except ClientError as problem:
                sent += [Sent(code=problem.code, message=problem.message)] * len(together)
        return sent

    def close(self) -> None:
        """Each process has ended by itself."""


class ProgramConsumer(Consumer):
    """One process that writes records as they come; it commits when it is asked to end, so ``commit`` ends it."""

    def __init__(self) -> None:
        with tempfile.NamedTemporaryFile(prefix="kproxy-reader-", suffix=".log", delete=False) as log:
            self._log = Path(log.name)
        self._child: subprocess.Popen[bytes] | None = None
        self._rest = b""

    @abstractmethod
    def group_command(self, topic: str) -> list[str]: ...

    @abstractmethod
    def partition_command(self, topic: str, partition: int, offset: int) -> list[str]: ...

    @abstractmethod
    def take(self, data: bytes) -> tuple[Got | None, bytes]:
        """The first whole record and what follows it; None while there is none."""

    def subscribe(self, topic: str) -> None:
        self._start(self.group_command(topic))

    def assign(self, topic: str, partition: int, offset: int) -> None:
        self._end()
        self._start(self.partition_command(topic, partition, offset))

    def poll(self, count: int, seconds: float = GIVE_UP_SECONDS) -> list[Got]:
        assert self._child is not None and self._child.stdout is not None
        found: list[Got] = []
        deadline = time.monotonic() + seconds
        while len(found) < count and time.monotonic() < deadline:
            one, self._rest = self.take(self._rest)
            if one is not None:
                found.append(one)
                continue
            code = code_said(children.tail(self._log))
            if code or self._child.poll() is not None:
                raise ClientError(code or -1, children.tail(self._log))
            if select.select([self._child.stdout], [], [], 0.1)[0]:
                self._rest += os.read(self._child.stdout.fileno(), 1 << 20)
        return found

    def commit(self) -> None:
        self._end()

    def close(self) -> None:
        self._end()
        self._log.unlink(missing_ok=True)

    def _start(self, command: list[str]) -> None:
        self._child = children.start(command, self._log, stdout=subprocess.PIPE, bufsize=0)

    def _end(self) -> None:
        if self._child is not None:
            children.stop(self._child, GIVE_UP_SECONDS)
            self._child = None
