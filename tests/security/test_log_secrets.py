"""An unexpected error is told with its place in the source and never with what was in the hands of the code there."""

from __future__ import annotations

import io

import pytest
import structlog

from kproxy import logs

TOKEN = b"eyJhbGciOiJSUzI1NiJ9.canary.signature"


@pytest.fixture
def restored():
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def check_login(payload: bytes) -> None:
    token = payload.decode()
    raise RuntimeError(f"the key store fell over after {len(token)} characters")


@pytest.mark.parametrize("terminal", [True, False])
def test_a_traceback_shows_no_local_values(restored, terminal):
    stream = io.StringIO()
    logs.configure("worker-0", stream=stream, terminal=terminal)
    try:
        check_login(TOKEN)
    except RuntimeError:
        structlog.get_logger("kproxy.connection").error("session_failed", exc_info=True)
    said = stream.getvalue()
    assert "check_login" in said and "the key store fell over after 37 characters" in said
    assert "canary" not in said
