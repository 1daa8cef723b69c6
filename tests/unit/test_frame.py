"""Is there a whole frame? Asked with every kind of length, and byte by byte."""

from __future__ import annotations

import pytest

from kproxy._ext import frame

LIMIT = 100 * 1024 * 1024


@pytest.mark.parametrize(("data", "found"), [
    (b"", ("need_data", 4)), (b"\0\0\0", ("need_data", 4)),
    (b"\0\0\0\x02a", ("need_data", 6)), (b"\0\0\0\x02ab", ("frame", 6)), (b"\0\0\0\x02abc", ("frame", 6)),
    (b"\0\0\0\0", ("bad_length", 4)), (b"\xff\xff\xff\xff", ("bad_length", 4)), (b"\x80\0\0\0", ("bad_length", 4)),
    (b"\x7f\xff\xff\xff", ("too_big", 4)), (b"\x16\x03\x01\x02\0", ("too_big", 4)), (b"GET / HTTP", ("too_big", 4)),
    ((LIMIT).to_bytes(4, "big"), ("need_data", LIMIT + 4)), ((LIMIT + 1).to_bytes(4, "big"), ("too_big", 4)),
])
def test_scan(data: bytes, found: tuple[str, int]) -> None:
    assert frame.scan(data, LIMIT) == found


def test_one_byte_at_a_time() -> None:
    data = b"\0\0\0\x05hello"
    seen = [frame.scan(data[:have], LIMIT) for have in range(len(data) + 1)]
    assert seen == [("need_data", 4)] * 4 + [("need_data", 9)] * 5 + [("frame", 9)]
