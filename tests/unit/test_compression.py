"""LZ4 frames: what kproxy writes is what Kafka's Java reader takes, what it reads is bounded."""

from __future__ import annotations

import random
from typing import Any

import lz4.frame
import pytest

from kproxy._ext import compression
from kproxy.errors import WireError

CHANCE = random.Random(5)
TEXT = b" ".join(b"%d" % CHANCE.randrange(10**6) for _ in range(40_000))
SAMPLES = {"empty": b"", "byte": b"x", "text": TEXT, "noise": CHANCE.randbytes(300_000), "zeros": bytes(1 << 20)}


@pytest.mark.parametrize("name", SAMPLES)
def test_what_is_written_is_read_by_the_library_and_by_itself(name: str):
    packed = compression.lz4_compress(SAMPLES[name])
    assert lz4.frame.decompress(packed) == SAMPLES[name]
    assert compression.lz4_decompress(packed, 1 << 21) == SAMPLES[name]


@pytest.mark.parametrize("name", SAMPLES)
def test_the_header_is_one_that_java_takes(name: str):
    packed = compression.lz4_compress(SAMPLES[name])
    magic, flags, block = packed[:4], packed[4], packed[5]
    assert magic == bytes.fromhex("04224d18")
    assert flags >> 6 == 1, "version 1"
    assert flags & 0x20, "independent blocks"
    assert not flags & 0x02 and not flags & 0x01, "reserved bit, dictionary"
    assert 4 <= block >> 4 & 7 <= 7 and not block & 0x8F


@pytest.mark.parametrize(
    "options",
    [
        {"block_linked": False},
        {"block_linked": True},
        {"block_checksum": True},
        {"content_checksum": True},
        {"store_size": False},
        {"store_size": True},
        {"block_size": 4},
        {"block_size": 5},
        {"block_size": 6},
        {"block_size": 7},
        {"compression_level": 9, "block_checksum": True, "content_checksum": True, "block_size": 7},
    ],
    ids=str,
)
def test_every_kind_of_frame_is_read(options: dict[str, Any]):
    packed = lz4.frame.compress(TEXT, **options)
    assert compression.lz4_decompress(packed, len(TEXT)) == TEXT


def test_exactly_the_cap_is_read_and_one_byte_more_is_not():
    packed = lz4.frame.compress(TEXT, store_size=False)
    assert compression.lz4_decompress(packed, len(TEXT)) == TEXT
    for most in (len(TEXT) - 1, len(TEXT) // 2, 1, 0):
        with pytest.raises(WireError, match="more than"):
            compression.lz4_decompress(packed, most)


def test_a_declared_size_is_not_believed():
    packed = bytearray(lz4.frame.compress(b"abc", store_size=True))
    assert packed[4] & 0x08
    packed[6:14] = (1 << 40).to_bytes(8, "little")
    with pytest.raises(WireError):
        compression.lz4_decompress(bytes(packed), 1 << 20)


def test_every_truncation_and_whatever_follows_is_refused():
    packed = lz4.frame.compress(TEXT[:3000], block_checksum=True, content_checksum=True)
    for cut in range(len(packed)):
        with pytest.raises(WireError):
            compression.lz4_decompress(packed[:cut], 1 << 20)
    for more in (b"\0", packed):
        with pytest.raises(WireError):
            compression.lz4_decompress(packed + more, 1 << 20)


def test_every_checksum_is_checked():
    for options in ({"block_checksum": True}, {"content_checksum": True}):
        packed = lz4.frame.compress(CHANCE.randbytes(200), **options)
        for at in range(4, len(packed)):
            broken = bytearray(packed)
            broken[at] ^= 0x21
            with pytest.raises(WireError):
                compression.lz4_decompress(bytes(broken), 1 << 20)
