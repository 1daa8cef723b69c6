"""Logging of every process of kproxy: one line per event on stderr, JSON when nobody sits at a terminal.

An event is a fixed lower-case word group (``policy_refused``) and its facts are the keys of LOG_KEYS, a closed table,
so that a log search written once keeps working. No key holds a token, a password or a record's value.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict

#: Every key a log line may carry, with its meaning.
LOG_KEYS: dict[str, str] = {
    "address": "host:port, or the path of a unix socket",
    "api": "name of a Kafka API",
    "attempt": "number of this try, from 1",
    "bytes": "a size in bytes",
    "cause": "a fixed word of a closed table: why a connection ended or a step failed",
    "changes": "names of what changed and is not taken over before a restart",
    "child": "name of a child process: control or worker-N",
    "client_id": "the client's own name for itself",
    "cluster": "name of an upstream cluster",
    "count": "how many",
    "entries": "spool entries",
    "epoch": "number of a published snapshot",
    "error": "what the operating system or a library said, without content of messages",
    "error_type": "name of the class of an unexpected error",
    "error_id": "the number that the client was shown",
    "exit_code": "of a child process; negative: the signal",
    "expected": "what would have been right",
    "file": "path of a file",
    "grant": "id of a grant",
    "issuer": "alias of a token issuer",
    "kid": "id of a signing key",
    "kind": "kind of an audit event or message",
    "limit": "the bound that was reached",
    "line": "line number in ``file``",
    "listener": "name of a listener",
    "lost": "entries dropped",
    "mechanism": "SASL mechanism",
    "mode": "enforce or observe",
    "node": "id of a broker",
    "offset": "of a record in its partition",
    "partition": "number of a partition of ``topic``",
    "pid": "process id",
    "schema": "id of a schema in its registry",
    "policy_version": "hash of the policy's source",
    "principal": "name of the principal",
    "problem": "one problem of a configuration or policy, with its place",
    "problems": "how many problems there are",
    "reason": "a fixed word or a sentence written by kproxy",
    "request": "id of an approval request",
    "resource": "kind and name of a Kafka resource",
    "role": "a role of the policy or the node",
    "rule": "name of a policy rule",
    "seconds": "a duration",
    "segment": "file name of a spool segment",
    "session": "id of a client session, worker-number",
    "signal": "name of a signal",
    "state": "of a request, a connection or a process",
    "status": "HTTP status",
    "topic": "name of a topic",
    "unknown_keys": "keys of this line that are not in the table, dropped with their values",
    "url": "an address of an issuer, without query",
    "used": "bytes in use",
    "version": "of kproxy or of a protocol",
    "when_full": "refuse or pass",
    "worker": "number of a worker",
}

#: Set by structlog itself on every line.
_OWN = frozenset(("event", "level", "timestamp", "logger", "exception", "exc_info", "process"))


class _NamedLogger(structlog.WriteLogger):
    """Writes lines and knows the name given to ``structlog.get_logger``. A log that takes no line (a full disk, a
    reader that has gone) may not stop the work that the line is about."""

    def __init__(self, name: str, stream: TextIO) -> None:
        super().__init__(stream)
        self.name = name

    def msg(self, message: str) -> None:
        with suppress(OSError):
            super().msg(message)

    log = debug = info = warn = warning = error = critical = fatal = failure = exception = err = msg


def _add_name(logger: Any, _method: str, event: EventDict) -> EventDict:
    event.setdefault("logger", getattr(logger, "name", "kproxy"))
    return event


def drop_unknown_keys(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """A key outside the table is named in the line and its value is dropped: it may be anything, a secret included."""
    unknown = sorted(key for key in event if key not in LOG_KEYS and key not in _OWN)
    for key in unknown:
        del event[key]
    if unknown:
        event["unknown_keys"] = unknown
    return event


def shorten(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """For eyes: as many digits of a policy's hash as ``kproxy status`` shows, and no name of the logger."""
    if "policy_version" in event:
        event["policy_version"] = str(event["policy_version"])[:12]
    event.pop("logger", None)
    return event


class _IntoStructlog(logging.Handler):
    """Lines of libraries that use the standard logging module, as kproxy's own kind."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger(record.name)
        log.log(record.levelno, "library_message", reason=record.getMessage(), exc_info=record.exc_info or None)


class PerMinute:
    """A bound on telling of what anybody who may connect can cause, so that nobody fills a log or the audit with it:
    the first ``most`` of each minute are told one by one.

    ``tell_rest`` is called with the number of those that were not, before the first one of a later minute.
    """

    def __init__(self, most: int, tell_rest: Callable[[int], object] = lambda rest: None) -> None:
        self._most = most
        self._tell_rest = tell_rest
        self._minute = 0
        self._count = 0

    def admits(self, now: float) -> bool:
        """Counts one more at ``now`` (Unix seconds); whether it is to be told."""
        minute = int(now // 60)
        if minute != self._minute:
            if self._count > self._most:
                self._tell_rest(self._count - self._most)
            self._minute, self._count = minute, 0
        self._count += 1
        return self._count <= self._most


def configure(process: str, *, stream: TextIO | None = None, terminal: bool | None = None,
              level: int = logging.INFO) -> None:
    """Sets up logging of this process: ``process`` (``supervisor``, ``control``, ``worker-N``) goes on every line."""
    stream = stream or sys.stderr
    terminal = stream.isatty() if terminal is None else terminal

    def add_process(_logger: Any, _method: str, event: EventDict) -> EventDict:
        event["process"] = process
        return event

    # structlog's own choice prints every local variable along a traceback: tokens, passwords, records.
    console = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback, pad_event_to=0,
                                            sort_keys=False)
    last: list[Any] = [
        structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False), shorten, console] if terminal else [
        structlog.processors.TimeStamper(fmt="iso", utc=True), structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(sort_keys=True)]
    structlog.configure(
        processors=[structlog.processors.add_log_level, drop_unknown_keys, _add_name, add_process, *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *name: _NamedLogger(name[0] if name else "kproxy", stream),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_IntoStructlog()]
    root.setLevel(logging.WARNING)
