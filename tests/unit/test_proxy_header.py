"""The PROXY protocol's header: what is read of one, and what is built, byte by byte."""

from __future__ import annotations

import socket
import struct

import pytest

from kproxy.dataplane.proxy_header import (
    LONGEST_BLOCK,
    LONGEST_LINE,
    SIGNATURE,
    Header,
    HeaderRefused,
    build_header,
    read_header,
)

CLIENT, REACHED = ("203.0.113.7", 51034), ("192.0.2.1", 9092)
SIX = ("2001:db8::7", 51034), ("2001:db8::1", 9092)
MAPPED = bytes(10) + b"\xff\xff"
FOUR_ENDS = socket.inet_aton(CLIENT[0]) + socket.inet_aton(REACHED[0]) + struct.pack("!HH", CLIENT[1], REACHED[1])


def block(command: int = 0x21, family: int = 0x11, body: bytes = FOUR_ENDS, length: int | None = None) -> bytes:
    return SIGNATURE + bytes((command, family)) + struct.pack("!H", len(body) if length is None else length) + body


def value(kind: int, content: bytes) -> bytes:
    return struct.pack("!BH", kind, len(content)) + content


def crc32c(data: bytes) -> int:
    """RFC 3720 B.4, bit by bit: not the code that is tested."""
    register = 0xFFFFFFFF
    for octet in data:
        register ^= octet
        for _ in range(8):
            register = (register >> 1) ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


def with_checksum(before: bytes = b"", after: bytes = b"", off_by: int = 0) -> bytes:
    body = FOUR_ENDS + before + value(0x03, bytes(4)) + after
    at = 16 + len(FOUR_ENDS) + len(before) + 3
    whole = block(body=body)
    return whole[:at] + struct.pack("!I", crc32c(whole) ^ off_by) + whole[at + 4:]


@pytest.mark.parametrize(("line", "client", "reached"), [
    (b"PROXY TCP4 203.0.113.7 192.0.2.1 51034 9092\r\n", CLIENT, REACHED),
    (b"PROXY TCP6 2001:db8::7 2001:db8::1 51034 9092\r\n", *SIX),
    (b"PROXY TCP6 2001:0DB8:0:0::7 2001:db8::1 51034 9092\r\n", *SIX),
    (b"PROXY TCP6 ::ffff:203.0.113.7 ::ffff:192.0.2.1 51034 9092\r\n", CLIENT, REACHED),
    (b"PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n", ("255.255.255.255", 65535), ("0.0.0.0", 0)),
    (b"PROXY UNKNOWN\r\n", None, None),
    (b"PROXY UNKNOWN 203.0.113.7 whatever it says 1 2 3\r\n", None, None),
])
def test_a_line(line, client, reached):
    assert read_header(line + b"\0\0\0\x11rest") == Header(len(line), client, reached)


@pytest.mark.parametrize("line", [
    b"PROXY TCP4 203.0.113.7 192.0.2.1 51034 9092 \r\n",
    b"PROXY TCP4  203.0.113.7 192.0.2.1 51034 9092\r\n",
    b"PROXY TCP4 203.0.113.7 192.0.2.1 51034\r\n",
    b"PROXY TCP4 203.0.113.7 192.0.2.1 051034 9092\r\n",
    b"PROXY TCP4 203.0.113.7 192.0.2.1 51034 65536\r\n",
    b"PROXY TCP4 203.0.113.7 192.0.2.1 -1 9092\r\n",
    b"PROXY TCP4 203.0.113.7 192.0.2.1 +1 9092\r\n",
    b"PROXY TCP4 203.0.113.7 192.0.2.1 \xd9\xa1 9092\r\n",
    b"PROXY TCP4 203.0.113.007 192.0.2.1 51034 9092\r\n",
    b"PROXY TCP4 203.0.113 192.0.2.1 51034 9092\r\n",
    b"PROXY TCP4 3405803783 192.0.2.1 51034 9092\r\n",
    b"PROXY TCP4 2001:db8::7 2001:db8::1 51034 9092\r\n",
    b"PROXY TCP6 203.0.113.7 192.0.2.1 51034 9092\r\n",
    b"PROXY TCP6 fe80::1%eth0 fe80::2 51034 9092\r\n",
    b"PROXY TCP5 203.0.113.7 192.0.2.1 51034 9092\r\n",
    b"PROXY tcp4 203.0.113.7 192.0.2.1 51034 9092\r\n",
    b"PROXY UDP4 203.0.113.7 192.0.2.1 51034 9092\r\n",
    b"PROXY \r\n",
    b"PROXY TCP4 203.0.113.7\n192.0.2.1 51034 9092\r\n",
    b"PROXY TCP4 caf\xc3\xa9 192.0.2.1 51034 9092\r\n",
])
def test_a_line_that_is_none(line):
    with pytest.raises(HeaderRefused) as refused:
        read_header(line)
    assert refused.value.cause == "proxy_header_malformed"


def test_the_longest_line_is_read_and_one_byte_more_is_not():
    line = b"PROXY UNKNOWN " + b"x" * (LONGEST_LINE - 16) + b"\r\n"
    assert len(line) == 107 and read_header(line) == Header(107)
    assert read_header(line[:-1]) is None
    with pytest.raises(HeaderRefused, match="no end of line within 107 bytes"):
        read_header(line[:-2] + b"x\r\n")


@pytest.mark.parametrize(("first", "cause"), [
    (b"\x16\x03\x01\x02\x00", "proxy_header_missing"),
    (b"\0\0\0\x11", "proxy_header_missing"),
    (b"P\0", "proxy_header_missing"),
    (b"PROXY\tTCP4", "proxy_header_missing"),
    (b"proxy TCP4", "proxy_header_missing"),
    (SIGNATURE[:11] + b"\r", "proxy_header_missing"),
    (b"\r\n\r\n\0\r\nQUIT ", "proxy_header_missing"),
    (SIGNATURE + b"\x11\x11\0\x0c", "proxy_header_malformed"),
    (SIGNATURE + b"\x31\x11\0\x0c", "proxy_header_malformed"),
    (SIGNATURE + b"\x22\x11\0\x0c", "proxy_header_malformed"),
    (SIGNATURE + b"\x21\x13\0\x0c", "proxy_header_malformed"),
    (SIGNATURE + b"\x21\x41\0\x0c", "proxy_header_malformed"),
    (SIGNATURE + b"\x21\x11\0\x0b", "proxy_header_malformed"),
    (SIGNATURE + b"\x21\x21\0\x23", "proxy_header_malformed"),
    (SIGNATURE + b"\x21\x31\0\xd7", "proxy_header_malformed"),
    (SIGNATURE + b"\x21\x11\xff\xff", "proxy_header_malformed"),
    (SIGNATURE + b"\x20\x00\xff\xff", "proxy_header_malformed"),
])
def test_what_cannot_become_a_header_is_refused_before_it_is_whole(first, cause):
    with pytest.raises(HeaderRefused) as refused:
        read_header(first)
    assert refused.value.cause == cause


@pytest.mark.parametrize(("whole", "client", "reached"), [
    (block(), CLIENT, REACHED),
    (block(family=0x21, body=b"".join(socket.inet_pton(socket.AF_INET6, end[0]) for end in SIX)
           + struct.pack("!HH", 51034, 9092)), *SIX),
    (block(family=0x21, body=b"".join(MAPPED + end for end in (FOUR_ENDS[:4], FOUR_ENDS[4:8])) + FOUR_ENDS[8:]),
     CLIENT, REACHED),
    (block(body=FOUR_ENDS + value(0x04, bytes(9)) + value(0xEA, b"\x01vpce-08d2bf15fac5001c9") + value(0x05, b"")),
     CLIENT, REACHED),
    (with_checksum(), CLIENT, REACHED),
    (with_checksum(value(0x02, b"kafka.example.com"), value(0x20, bytes(30))), CLIENT, REACHED),
    (block(command=0x20), None, None),
    (block(command=0x20, family=0, body=b""), None, None),
    (block(command=0x20, family=0x7F, body=b"whatever"), None, None),
    (block(family=0, body=b""), None, None),
    (block(family=0, body=b"\xff"), None, None),
    (block(family=0x12), None, None),
    (block(family=0x31, body=bytes(216)), None, None),
    (block(body=FOUR_ENDS + value(0x04, bytes(LONGEST_BLOCK - 16 - 12 - 3))), CLIENT, REACHED),
])
def test_a_block(whole, client, reached):
    assert read_header(whole + b"\x16\x03\x01") == Header(len(whole), client, reached)
    assert all(read_header(whole[:end]) is None for end in range(len(whole)))


@pytest.mark.parametrize("whole", [
    with_checksum(off_by=1),
    with_checksum(off_by=0x80000000),
    with_checksum(after=value(0x03, bytes(4))),
    block(body=FOUR_ENDS + value(0x03, bytes(3))),
    block(body=FOUR_ENDS + b"\x04"),
    block(body=FOUR_ENDS + b"\x04\x00"),
    block(body=FOUR_ENDS + b"\x04\x00\x01"),
    block(body=FOUR_ENDS + value(0x04, b"") + b"\x05\xff\xff."),
    block(family=0x12, body=FOUR_ENDS + b"\x04\x00\x01"),
])
def test_a_block_with_values_that_are_none(whole):
    with pytest.raises(HeaderRefused) as refused:
        read_header(whole)
    assert refused.value.cause == "proxy_header_malformed"


def test_any_byte_changed_under_a_checksum_is_noticed():
    whole = with_checksum(value(0x02, b"kafka.example.com"))
    at = 16 + len(FOUR_ENDS) + 3 + 17 + 3
    for index in [*range(16, 16 + len(FOUR_ENDS)), *range(at, at + 4)]:
        with pytest.raises(HeaderRefused, match="the checksum is another"):
            read_header(whole[:index] + bytes((whole[index] ^ 0x10,)) + whole[index + 1:])


@pytest.mark.parametrize(("version", "ends", "built"), [
    ("v1", (CLIENT, REACHED), b"PROXY TCP4 203.0.113.7 192.0.2.1 51034 9092\r\n"),
    ("v1", SIX, b"PROXY TCP6 2001:db8::7 2001:db8::1 51034 9092\r\n"),
    ("v1", (CLIENT, SIX[1]), b"PROXY TCP6 ::ffff:203.0.113.7 2001:db8::1 51034 9092\r\n"),
    ("v1", (("fe80::1%eth0", 1), ("fe80::2%eth0", 2)), b"PROXY TCP6 fe80::1 fe80::2 1 2\r\n"),
    ("v1", None, b"PROXY UNKNOWN\r\n"),
    ("v2", (CLIENT, REACHED), block()),
    ("v2", None, block(command=0x20, family=0, body=b"")),
])
def test_what_is_built(version, ends, built):
    # Python writes the mapped address of 203.0.113.7 in hexadecimal before 3.13, which is the same address.
    assert build_header(version, ends).replace(b"::ffff:cb00:7107", b"::ffff:203.0.113.7") == built
