"""Kafka frames by hand: requests as a client sends them, answers as a broker gives them."""

from __future__ import annotations

import os
import struct
from typing import Any

from kproxy._ext import schema
from tests.support.batches import Record, write_batch

#: (API, version) -> the tests that built a request of it; see tests/api_table.py.
SENT: dict[tuple[int, int], set[str]] = {}


def note_sent(api: int, version: int) -> None:
    test = os.environ.get("PYTEST_CURRENT_TEST", "").partition(" (")[0]
    if test:
        SENT.setdefault((api, version), set()).add(test)


def is_flexible(api: int, version: int) -> bool:
    try:
        return bool(schema.flexible(api, version))
    except KeyError:
        return False


def request(
    api: int, version: int, correlation: int, values: dict[str, Any], client_id: str | None = "tester"
) -> bytes:
    note_sent(api, version)
    name = b"\xff\xff" if client_id is None else struct.pack(">h", len(client_id)) + client_id.encode()
    tags = b"\x00" if is_flexible(api, version) else b""
    body = struct.pack(">hhi", api, version, correlation) + name + tags + schema.build(api, version, False, values)
    return struct.pack(">i", len(body)) + body


def response(api: int, version: int, correlation: int, values: dict[str, Any]) -> bytes:
    tags = b"\x00" if is_flexible(api, version) and api != 18 else b""
    body = struct.pack(">i", correlation) + tags + schema.build(api, version, True, values)
    return struct.pack(">i", len(body)) + body


def split(data: bytes) -> list[bytes]:
    """The frames of a run of bytes, their sizes included."""
    frames = []
    at = 0
    while at < len(data):
        size = struct.unpack_from(">i", data, at)[0] + 4
        frames.append(data[at : at + size])
        at += size
    assert at == len(data)
    return frames


def read_response(api: int, version: int, frame: bytes) -> tuple[int, dict[str, Any]]:
    """(correlation, body)."""
    head = 9 if is_flexible(api, version) and api != 18 else 8
    return struct.unpack_from(">i", frame, 4)[0], schema.parse(api, version, True, frame[head:])


def read_request(frame: bytes) -> tuple[int, int, int, dict[str, Any]]:
    """(api key, version, correlation, body)."""
    api, version, correlation, length = struct.unpack_from(">hhih", frame, 4)
    at = 14 + max(length, 0) + (1 if is_flexible(api, version) else 0)
    return api, version, correlation, schema.parse(api, version, False, frame[at:])


def batch(values: list[bytes | None], key: bytes | None = None, attributes: int = 0, base_offset: int = 0,
          timestamp: int = 1000) -> bytes:
    """One uncompressed magic 2 batch. ``timestamp``: Unix milliseconds; Kafka's retention soon deletes what is old."""
    records = [Record(value, key) for value in values]
    return write_batch(records, attributes=attributes, base_offset=base_offset, base_timestamp=timestamp,
                       max_timestamp=timestamp)
