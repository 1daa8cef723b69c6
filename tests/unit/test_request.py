"""Headers of requests and answers, and splices."""

from __future__ import annotations

import struct

import pytest

from kproxy._ext import request


def head(api: int, version: int, client_id: bytes | None = b"cli", tags: bytes = b"") -> bytes:
    name = b"\xff\xff" if client_id is None else struct.pack(">h", len(client_id)) + client_id
    return struct.pack(">hhi", api, version, -7) + name + tags


def test_a_request_header_1_and_2() -> None:
    assert request.request_head(head(12, 3) + b"body") == (12, 3, -7, b"cli", 13)
    assert request.request_head(head(12, 4, tags=b"\0") + b"body") == (12, 4, -7, b"cli", 14)
    assert request.request_head(head(12, 4, None, b"\x01\x05\x02xy")) == (12, 4, -7, None, 15)
    assert request.request_head(head(12, 3, b"")) == (12, 3, -7, b"", 10)


def test_sasl_handshake_is_never_flexible_and_api_versions_always_is() -> None:
    assert request.request_head(head(17, 1) + b"\x02") == (17, 1, -7, b"cli", 13)
    assert request.request_head(head(18, 3, tags=b"\0")) == (18, 3, -7, b"cli", 14)


@pytest.mark.parametrize(("api", "version"), [(4, 0), (0, 2), (0, 99), (18, 6), (18, -1), (-1, 0), (1000, 0)])
def test_a_request_nobody_serves(api: int, version: int) -> None:
    with pytest.raises(ValueError, match="unknown_api"):
        request.request_head(head(api, version))


@pytest.mark.parametrize("frame", [
    b"", b"\0\x0c", head(12, 3)[:9], head(12, 3)[:12], struct.pack(">hhih", 12, 3, 1, -2),
    head(12, 4), head(12, 4, tags=b"\x01"), head(12, 4, tags=b"\x02\x05\0\x05\0"), head(12, 4, tags=b"\x01\x05\x7fx"),
])
def test_a_bad_request_header(frame: bytes) -> None:
    with pytest.raises(ValueError, match="bad"):
        request.request_head(frame)


def test_response_headers() -> None:
    assert request.response_head(12, 3, b"\0\0\0\x09rest") == (9, 4)
    assert request.response_head(12, 4, b"\0\0\0\x09\0rest") == (9, 5)
    assert request.response_head(12, 4, b"\0\0\0\x09\x01\x07\x01xrest") == (9, 8)
    assert request.response_head(18, 3, b"\0\0\0\x09\0rest") == (9, 4), "an ApiVersions answer has header 0 for ever"
    for frame in (b"", b"\0\0\0", b"\0\0\0\x09", b"\0\0\0\x09\x01"):
        assert request.response_head(12, 4, frame)[1] == -1
    assert request.response_head(4, 0, b"\0\0\0\x09")[1] == -1


def sized(body: bytes) -> bytes:
    return struct.pack(">i", len(body)) + body


@pytest.mark.parametrize(("edits", "new"), [
    ([], b"0123456789"),
    ([(0, 1, b"AB")], b"AB123456789"),
    ([(9, 1, b"")], b"012345678"),
    ([(10, 0, b"end")], b"0123456789end"),
    ([(2, 3, b"-"), (5, 0, b"+"), (5, 2, b"")], b"01-+789"),
    ([(0, 10, b"")], b""),
])
def test_splice(edits: list[tuple[int, int, bytes]], new: bytes) -> None:
    assert request.splice(b"0123456789", edits) == sized(new)
    assert b"".join(request.splice(b"0123456789", edits, segments=True)) == sized(new)


@pytest.mark.parametrize("edits", [[(5, 1, b""), (5, 1, b"")], [(3, 2, b""), (4, 0, b"")], [(8, 3, b"")],
                                   [(11, 0, b"")], [(-1, 1, b"")], [(0, -1, b"")]])
def test_splice_refuses_edits_out_of_order_or_range(edits: list[tuple[int, int, bytes]]) -> None:
    with pytest.raises(ValueError, match="splice out of"):
        request.splice(b"0123456789", edits)


def test_long_spans_are_views_of_the_frame_and_short_ones_travel_together() -> None:
    frame = bytes(range(256)) * 40
    new = b"n" * 5000
    segments = request.splice(frame, [(10, 5, b"short"), (5000, 100, new), (5200, 1, b"")], segments=True)
    assert b"".join(segments) == sized(frame[:10] + b"short" + frame[15:5000] + new + frame[5100:5200] + frame[5201:])
    assert [type(part) for part in segments] == [bytes, memoryview, bytes, bytes, memoryview]
    assert segments[2] is new
    assert all(part.obj is frame for part in segments if isinstance(part, memoryview))


def test_counts_and_strings() -> None:
    assert [request.count_prefix(count, True) for count in (-1, 0, 1, 126, 127)] == [
        b"\0", b"\x01", b"\x02", b"\x7f", b"\x80\x01"]
    assert [request.count_prefix(count, False) for count in (-1, 0, 258)] == [
        b"\xff\xff\xff\xff", b"\0\0\0\0", b"\0\0\x01\x02"]
    assert request.string("ab", True) == b"\x03ab" and request.string(b"ab", False) == b"\0\x02ab"
    assert request.string(None, True) == b"\0" and request.string(None, False) == b"\xff\xff"
    with pytest.raises(ValueError, match="longer than"):
        request.string("x" * 40000, False)
