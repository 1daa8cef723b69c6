"""The codecs of record batches by other libraries than kproxy's, in every form that a client may write."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable

import cramjam
import lz4.frame

NAMES = ("none", "gzip", "snappy", "lz4", "zstd")
SNAPPY_HEAD = b"\x82SNAPPY\0" + struct.pack(">ii", 1, 1)


def raw_snappy(data: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(data))


def framed_snappy(data: bytes, block: int = 32 << 10) -> bytes:
    """As Java's SnappyOutputStream frames blocks."""
    blocks = [raw_snappy(data[at : at + block]) for at in range(0, len(data), block)]
    return SNAPPY_HEAD + b"".join(struct.pack(">i", len(one)) + one for one in blocks)


def sizeless_zstd(data: bytes) -> bytes:
    """One frame that does not say how much it holds, as streams write it."""
    stream = cramjam.zstd.Compressor()
    stream.compress(data)
    return bytes(stream.finish())


def in_parts(pack: Callable[[bytes], bytes], data: bytes, parts: int = 3) -> bytes:
    step = len(data) // parts + 1
    return b"".join(pack(data[at : at + step]) for at in range(0, parts * step, step))


#: Codec -> form -> what writes it. The first form is the one that kproxy writes.
FORMS: dict[str, dict[str, Callable[[bytes], bytes]]] = {
    "gzip": {
        "member": lambda data: gzip.compress(data, mtime=0),
        "fast": lambda data: gzip.compress(data, 1),
        "stored": lambda data: gzip.compress(data, 0),
        "three members": lambda data: in_parts(gzip.compress, data),
        "empty members": lambda data: gzip.compress(b"") + gzip.compress(data) + gzip.compress(b""),
    },
    "snappy": {
        "framed": framed_snappy,
        "raw": raw_snappy,
        "small blocks": lambda data: framed_snappy(data, 100),
        "one block": lambda data: framed_snappy(data, 1 << 30),
    },
    "lz4": {
        "independent": lambda data: lz4.frame.compress(data, block_linked=False),
        "checksums": lambda data: lz4.frame.compress(
            data, block_linked=False, block_checksum=True, content_checksum=True),
        "no size": lambda data: lz4.frame.compress(data, block_linked=False, store_size=False),
        "4 MiB blocks": lambda data: lz4.frame.compress(data, block_linked=False, block_size=7),
        "high": lambda data: lz4.frame.compress(data, block_linked=False, compression_level=9),
    },
    "zstd": {
        "sized": lambda data: bytes(cramjam.zstd.compress(data)),
        "sizeless": sizeless_zstd,
        "level 19": lambda data: bytes(cramjam.zstd.compress(data, level=19)),
        "three frames": lambda data: in_parts(sizeless_zstd, data),
        "skippable frame": lambda data: struct.pack("<II", 0x184D2A51, 3) + b"any" + sizeless_zstd(data),
    },
}


def pack(codec: int, data: bytes) -> bytes:
    """``data`` by the codec with this number in a batch's attributes."""
    return next(iter(FORMS[NAMES[codec]].values()))(data) if codec else data


def unpack(codec: int, data: bytes) -> bytes:
    """Raises one of the libraries' errors."""
    match NAMES[codec]:
        case "gzip":
            return gzip.decompress(data)
        case "snappy":
            return _unframed(data) if data.startswith(SNAPPY_HEAD[:8]) else bytes(cramjam.snappy.decompress_raw(data))
        case "lz4":
            return bytes(lz4.frame.decompress(data))
        case "zstd":
            return bytes(cramjam.zstd.decompress(data))
    return data


def _unframed(data: bytes) -> bytes:
    plain, at = b"", len(SNAPPY_HEAD)
    while at < len(data):
        size = struct.unpack_from(">i", data, at)[0]
        assert 0 <= size <= len(data) - at - 4
        plain += bytes(cramjam.snappy.decompress_raw(data[at + 4 : at + 4 + size]))
        at += 4 + size
    return plain
