"""The PROXY protocol's header, versions 1 and 2: what a balancer says of a connection before its first byte.

Source: "The PROXY protocol, versions 1 & 2", haproxy.org, doc/proxy-protocol.txt. The section numbers are its own.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from dataclasses import dataclass
from typing import Final

from kproxy._ext.record_batch import crc32c
from kproxy.errors import CloseCause, KproxyError
from kproxy.model.settings import ProxyVersion

#: (address, port), the address as ``ipaddress`` writes it.
Place = tuple[str, int]
#: The client, and where it connected to.
Ends = tuple[Place, Place]

#: The longest line of version 1 with its end (2.1).
LONGEST_LINE: Final = 107
#: The longest header of version 2 that is read. Its length field goes to 65,535, which nobody sends: what balancers
#: add (a name, a certificate's subject, an id) takes some hundred bytes.
LONGEST_BLOCK: Final = 4096

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_LINE: Final = b"PROXY "
_HEAD: Final = struct.Struct("!12sBBH")
_CHECKSUM: Final = 0x03
_LOCAL, _PROXY = 0x20, 0x21
#: Family and transport → the bytes that both ends take (2.2). Only the streams over IP say who the client is.
_ADDRESSES: Final = {0x00: 0, 0x11: 12, 0x12: 12, 0x21: 36, 0x22: 36, 0x31: 216, 0x32: 216}
_STREAMS: Final = {0x11: struct.Struct("!4s4sHH"), 0x21: struct.Struct("!16s16sHH")}
_PORT = re.compile(rb"0|[1-9][0-9]{0,4}")


class HeaderRefused(KproxyError):
    """Bytes that are no header. ``cause`` is a CloseCause."""

    def __init__(self, cause: CloseCause, detail: str) -> None:
        self.cause = cause
        super().__init__(detail)


@dataclass(frozen=True, slots=True)
class Header:
    """``size`` in bytes, all of it. ``client`` and ``reached``, where the client connected to, are None where the
    header leaves them to the socket: the balancer's own checks, and connections it knows nothing of."""

    size: int
    client: Place | None = None
    reached: Place | None = None


def read_header(data: bytes) -> Header | None:
    """The header that ``data`` begins with; None while it is not whole. Raises HeaderRefused, and as soon as it is
    clear: whoever waits for the rest of something else would wait for his deadline."""
    if data[:6] == _LINE:
        return _read_line(data)
    if data[:12] == SIGNATURE:
        return _read_block(data)
    if _LINE.startswith(data) or SIGNATURE.startswith(data):
        return None
    raise HeaderRefused(CloseCause.PROXY_HEADER_MISSING, "the first bytes are no PROXY header")


def build_header(version: ProxyVersion, told: Ends | None) -> bytes:
    """For a connection that is made on behalf of a client; with None it is kproxy's own. Ends of two kinds of address
    are both told as IPv6."""
    if told is None:
        return b"PROXY UNKNOWN\r\n" if version == "v1" else _HEAD.pack(SIGNATURE, _LOCAL, 0, 0)
    (client, source_port), (reached, port) = told
    # The zone of a link-local address means nothing to another host.
    ends = [ipaddress.ip_address(one.partition("%")[0]) for one in (client, reached)]
    if any(end.version == 6 for end in ends):
        ends = [end if end.version == 6 else ipaddress.IPv6Address(f"::ffff:{end}") for end in ends]
    is_six = ends[0].version == 6
    if version == "v1":
        return f"PROXY TCP{6 if is_six else 4} {ends[0]} {ends[1]} {source_port} {port}\r\n".encode("ascii")
    family = 0x21 if is_six else 0x11
    body = _STREAMS[family].pack(ends[0].packed, ends[1].packed, source_port, port)
    return _HEAD.pack(SIGNATURE, _PROXY, family, len(body)) + body


def _malformed(detail: str) -> HeaderRefused:
    return HeaderRefused(CloseCause.PROXY_HEADER_MALFORMED, detail)


# -- version 1 (2.1) ---------------------------------------------------------------------------------------------------


def _read_line(data: bytes) -> Header | None:
    end = data.find(b"\r\n", 0, LONGEST_LINE)
    if end < 0:
        if len(data) >= LONGEST_LINE:
            raise _malformed(f"no end of line within {LONGEST_LINE} bytes")
        return None
    size = end + 2
    words = data[:end].split(b" ")
    if words[1] == b"UNKNOWN":
        return Header(size)     # Whatever else it says is to be ignored.
    if words[1] not in (b"TCP4", b"TCP6") or len(words) != 6:
        raise _malformed("the line is not of the six words of TCP4 or TCP6")
    version = 4 if words[1] == b"TCP4" else 6
    return Header(size, (_read_address(words[2], version), _read_port(words[4])),
                  (_read_address(words[3], version), _read_port(words[5])))


def _read_address(word: bytes, version: int) -> str:
    try:
        found = ipaddress.ip_address(word.decode("ascii"))
    except ValueError:
        raise _malformed("a word that should be an address is none") from None
    if found.version != version or b"%" in word:
        raise _malformed("an address is not of the family that the line names")
    return _name(found)


def _read_port(word: bytes) -> int:
    if _PORT.fullmatch(word) is None or int(word) > 65535:
        raise _malformed("a word that should be a port is none")
    return int(word)


def _name(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """One client has one name: an IPv4 address in IPv6's clothes would slip through every rule on networks."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


# -- version 2 (2.2) ---------------------------------------------------------------------------------------------------


def _read_block(data: bytes) -> Header | None:
    if len(data) < _HEAD.size:
        return None
    _, command, family, length = _HEAD.unpack_from(data)
    size = _HEAD.size + length
    if command not in (_LOCAL, _PROXY):
        raise _malformed(f"version and command 0x{command:02x} are unknown")
    if size > LONGEST_BLOCK:
        raise _malformed(f"{size} bytes are more than the {LONGEST_BLOCK} that are read")
    if command == _PROXY and (family not in _ADDRESSES or length < _ADDRESSES[family]):
        raise _malformed(f"{length} bytes are no addresses of family 0x{family:02x}")
    if len(data) < size:
        return None
    if command == _LOCAL or family == 0x00:
        return Header(size)     # The rest is to be discarded, whatever it is.
    _walk_values(data[:size], _HEAD.size + _ADDRESSES[family])
    if family not in _STREAMS:
        return Header(size)
    source, target, source_port, target_port = _STREAMS[family].unpack_from(data, _HEAD.size)
    return Header(size, (_name(ipaddress.ip_address(source)), source_port),
                  (_name(ipaddress.ip_address(target)), target_port))


def _walk_values(block: bytes, at: int) -> None:
    """The type-length-values behind the addresses: only the checksum is looked at (2.2.3)."""
    has_checksum = False
    while at < len(block):
        if at + 3 > len(block):
            raise _malformed("a value's head is cut off")
        kind, length = struct.unpack_from("!BH", block, at)
        at += 3
        if at + length > len(block):
            raise _malformed("a value is longer than what is left of the header")
        if kind == _CHECKSUM:
            if length != 4 or has_checksum:
                raise _malformed("the checksum is not four bytes, or there are two")
            has_checksum = True
            if crc32c(block[:at] + bytes(4) + block[at + 4:]) != int.from_bytes(block[at:at + 4], "big"):
                raise _malformed("the checksum is another")
        at += length
