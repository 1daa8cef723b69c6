"""The PROXY protocol's header, whatever comes and however it is cut."""

from __future__ import annotations

import ipaddress

from hypothesis import example, given
from hypothesis import strategies as st

from kproxy.dataplane.proxy_header import LONGEST_BLOCK, SIGNATURE, Header, HeaderRefused, build_header, read_header

FOUR, SIX = st.ip_addresses(v=4), st.ip_addresses(v=6)
PORTS = st.integers(0, 65535)
ENDS = st.one_of(st.tuples(FOUR, FOUR), st.tuples(SIX, SIX), st.tuples(FOUR, SIX))


def told(address) -> str:
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


@given(st.sampled_from(("v1", "v2")), ENDS, PORTS, PORTS, st.binary(max_size=40))
@example("v1", (ipaddress.ip_address("::ffff:10.0.0.1"), ipaddress.ip_address("::1")), 1, 2, b"")
def test_what_is_built_is_read_again_at_its_last_byte_and_not_before(version, ends, source_port, port, rest):
    client, reached = (told(ends[0]), source_port), (told(ends[1]), port)
    built = build_header(version, (client, reached))
    assert [read_header(built[:end]) for end in range(len(built))] == [None] * len(built)
    assert read_header(built + rest) == Header(len(built), client, reached)


def outcome(data: bytes):
    try:
        return read_header(data)
    except HeaderRefused as refused:
        return str(refused.cause)


BEGINNINGS = st.sampled_from((b"", b"PROXY ", b"PROXY TCP4 ", b"PROXY TCP6 ::1 ", SIGNATURE, SIGNATURE + b"\x21\x11\0",
                              SIGNATURE + b"\x20\0\0\0", SIGNATURE + b"\x21\x21\0\x24", SIGNATURE + b"\x21\x11\0\x20"))


@given(BEGINNINGS, st.binary(max_size=300), st.sampled_from((b"", b"\r\n")))
def test_more_bytes_never_change_what_was_found(beginning, middle, end):
    data = beginning + middle + end
    found = [outcome(data[:length]) for length in range(len(data) + 1)]
    settled = next((index for index, one in enumerate(found) if one is not None), len(found))
    assert found[:settled] == [None] * settled
    if settled < len(found):
        assert {repr(one) for one in found[settled:]} == {repr(found[settled])}
        if isinstance(found[settled], Header):
            assert found[settled].size == settled, "neither a byte too many nor one too few"
        else:
            assert found[settled] in ("proxy_header_missing", "proxy_header_malformed")


@given(st.binary(min_size=108))
def test_a_line_is_over_by_its_longest(rest):
    assert outcome(b"PROXY " + rest) is not None


@given(st.binary(min_size=4, max_size=4), st.integers(0, 255))
def test_a_block_is_over_by_its_longest(head, filling):
    assert outcome(SIGNATURE + head + bytes((filling,)) * LONGEST_BLOCK) is not None
