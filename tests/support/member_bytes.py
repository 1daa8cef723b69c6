"""What members of a classic consumer group send each other, as Kafka's ConsumerProtocol writes it."""

from __future__ import annotations

import struct
from collections.abc import Sequence


def _text(value: str | None) -> bytes:
    return struct.pack(">h", -1) if value is None else struct.pack(">h", len(value.encode())) + value.encode()


def _data(value: bytes | None) -> bytes:
    return struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value


def _parts(topics: Sequence[tuple[str, Sequence[int]]]) -> bytes:
    return struct.pack(">i", len(topics)) + b"".join(
        _text(name) + struct.pack(f">i{len(parts)}i", len(parts), *parts) for name, parts in topics)


def subscription(version: int, topics: Sequence[str], owned: Sequence[tuple[str, Sequence[int]]] = (),
                 user_data: bytes | None = None, rack: str | None = None) -> bytes:
    out = struct.pack(">hi", version, len(topics)) + b"".join(map(_text, topics)) + _data(user_data)
    out += _parts(owned) if version >= 1 else b""
    out += struct.pack(">i", 7) if version >= 2 else b""
    return out + (_text(rack) if version >= 3 else b"")


def assignment(version: int, topics: Sequence[tuple[str, Sequence[int]]], user_data: bytes | None = None) -> bytes:
    return struct.pack(">h", version) + _parts(topics) + _data(user_data)
