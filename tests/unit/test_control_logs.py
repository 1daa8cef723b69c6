"""What a log line holds, and that its keys come from the closed table."""

from __future__ import annotations

import ast
import io
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from kproxy import logs

LEVELS = ("debug", "info", "warning", "error", "critical", "exception")


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    logs.configure("control", stream=stream)
    yield stream
    structlog.reset_defaults()
    root.handlers[:] = before
    root.setLevel(level)


def _read(stream: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_with_its_process_and_logger(lines: io.StringIO) -> None:
    structlog.get_logger("kproxy.test").warning("policy_refused", problems=3, file="policy/a.yaml")
    (line,) = _read(lines)
    assert {key: line[key] for key in ("event", "level", "logger", "process", "problems", "file")} == {
        "event": "policy_refused", "level": "warning", "logger": "kproxy.test", "process": "control", "problems": 3,
        "file": "policy/a.yaml"}
    assert line["timestamp"].endswith("Z")


def test_a_line_on_a_terminal_is_short_and_keeps_the_order_it_was_written_in(lines: io.StringIO) -> None:
    stream = io.StringIO()
    logs.configure("worker-0", stream=stream, terminal=True)
    structlog.get_logger("kproxy").info("serving", url="127.0.0.1:19092", policy_version="0123456789ab" + 52 * "f")
    (line,) = stream.getvalue().splitlines()
    plain = re.sub(r"\x1b\[[\d;]*m", "", line)
    assert re.fullmatch(r"\d\d:\d\d:\d\d \[info +\] serving +url=127\.0\.0\.1:19092"
                        r" policy_version=0123456789ab process=worker-0", plain), plain


def test_an_unknown_key_is_named_and_its_value_is_dropped(lines: io.StringIO) -> None:
    structlog.get_logger("kproxy.test").info("login", secret_token="eyJhbGciOi", issuer="corp")
    (line,) = _read(lines)
    assert line["unknown_keys"] == ["secret_token"]
    assert line["issuer"] == "corp"
    assert "eyJ" not in lines.getvalue()


def test_a_library_warning_becomes_a_line_and_its_chatter_does_not(lines: io.StringIO) -> None:
    logging.getLogger("httpx").info("HTTP Request: GET https://idp.example.com/jwks?secret=1")
    logging.getLogger("uvicorn.error").warning("odd %s", "request")
    (line,) = _read(lines)
    assert (line["event"], line["logger"], line["reason"]) == ("library_message", "uvicorn.error", "odd request")


def test_an_exception_keeps_its_traceback(lines: io.StringIO) -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        structlog.get_logger("kproxy.test").error("failed", exc_info=True)
    (line,) = _read(lines)
    assert "ValueError: broken" in line["exception"]


def test_every_key_that_is_logged_is_in_the_table() -> None:
    """Found on the syntax trees: a key outside the table would be dropped when it is needed most."""
    package = Path(logs.__file__).parent
    unknown = set()
    for file in package.rglob("*.py"):
        for call in ast.walk(ast.parse(file.read_text())):
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
                continue
            if isinstance(call.func.value, ast.Name) and call.func.value.id == "log" and call.func.attr in LEVELS:
                names = {keyword.arg for keyword in call.keywords if keyword.arg}
                unknown |= {(file.name, name) for name in names - set(logs.LOG_KEYS) - {"exc_info"}}
    assert unknown == set()


def test_what_anybody_may_cause_is_told_within_bounds_and_the_rest_is_counted() -> None:
    rests: list[int] = []
    told = logs.PerMinute(3, rests.append)
    assert [told.admits(now) for now in (0, 10, 59, 59.5, 59.9)] == [True, True, True, False, False] and rests == []
    assert told.admits(60.0) and rests == [2]
    # A minute that stayed within the bound has no rest, and neither have those in which nothing happened.
    assert told.admits(600.0) and rests == [2]
    # Without a listener the rest is dropped.
    silent = logs.PerMinute(1)
    assert [silent.admits(now) for now in (5, 6, 7, 65)] == [True, False, False, True]
