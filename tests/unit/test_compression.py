"""Codecs: every form that a client writes is read within bounds, and what kproxy writes other libraries read."""

from __future__ import annotations

import functools
import gzip
import random
import struct
from typing import Any

import cramjam
import lz4.frame
import pytest

from kproxy._ext import compression
from kproxy.errors import WireError
from tests.support.codecs import FORMS, NAMES, SNAPPY_HEAD, framed_snappy, raw_snappy, unpack

CHANCE = random.Random(5)
TEXT = b" ".join(b"%d" % CHANCE.randrange(10**6) for _ in range(40_000))
SAMPLES = {"empty": b"", "byte": b"x", "text": TEXT, "noise": CHANCE.randbytes(300_000), "zeros": bytes(1 << 20)}
CODECS = NAMES[1:]
EVERY = [(codec, form) for codec, forms in FORMS.items() for form in forms]
MOST = 1 << 21


@functools.cache
def packed_text(codec: str, form: str, size: int | None = None) -> bytes:
    return FORMS[codec][form](TEXT[:size])



@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("codec", CODECS)
def test_what_is_written_other_libraries_read(codec: str, name: str) -> None:
    packed = compression.compress(codec, SAMPLES[name])
    assert unpack(NAMES.index(codec), packed) == SAMPLES[name]
    assert compression.decompress(codec, packed, MOST) == SAMPLES[name]


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize(("codec", "form"), EVERY)
def test_every_form_is_read(codec: str, form: str, name: str) -> None:
    packed = FORMS[codec][form](SAMPLES[name])
    if name != "empty":
        assert compression.decompress(codec, packed, MOST) == SAMPLES[name]
        assert compression.decompress(codec, packed, len(SAMPLES[name])) == SAMPLES[name], "exactly the cap"


@pytest.mark.parametrize(("codec", "form"), EVERY)
def test_one_byte_beyond_the_cap_is_not_read(codec: str, form: str) -> None:
    packed = packed_text(codec, form)
    for most in (len(TEXT) - 1, len(TEXT) // 2, 1, 0):
        with pytest.raises(WireError, match=f"{codec}: more than {most} bytes"):
            compression.decompress(codec, packed, most)


@pytest.mark.parametrize(("codec", "form"), EVERY)
def test_every_truncation_is_refused_or_is_a_whole_beginning(codec: str, form: str) -> None:
    """Where several frames follow one another, each end of one is an end."""
    plain = TEXT[:3000]
    packed = FORMS[codec][form](plain)
    ends = 0
    for cut in range(len(packed)):
        try:
            read = compression.decompress(codec, packed[:cut], MOST)
        except WireError:
            continue
        assert (plain.startswith(read) and len(read) < len(plain)) or form == "empty members"
        ends += 1
    several = {"three members": 2, "empty members": 2, "three frames": 2, "skippable frame": 1, "small blocks": 30,
               "framed": 1, "one block": 1}
    assert ends == several.get(form, 0)


@pytest.mark.parametrize("codec", CODECS)
def test_whatever_follows_is_refused(codec: str) -> None:
    packed = compression.compress(codec, TEXT[:3000])
    for more in (b"\0", b"\0" * 40, b"record"):
        with pytest.raises(WireError):
            compression.decompress(codec, packed + more, MOST)
    with pytest.raises(WireError):
        compression.decompress("lz4", compression.compress("lz4", TEXT) * 2, MOST)


@pytest.mark.parametrize(("codec", "form"), EVERY)
def test_random_flips_end_in_an_error_or_in_bytes_within_the_cap(codec: str, form: str) -> None:
    chance = random.Random(f"{codec} {form}")
    packed = packed_text(codec, form, 5000)
    broken = 0
    for _ in range(400):
        harmed = bytearray(packed)
        for _ in range(chance.randint(1, 3)):
            harmed[chance.randrange(len(harmed))] ^= 1 << chance.randrange(8)
        try:
            assert len(compression.decompress(codec, bytes(harmed), 6000)) <= 6000
        except WireError:
            broken += 1
    assert broken > (350 if codec == "gzip" else 10)
    assert compression.decompress(codec, packed, MOST) == TEXT[:5000], "a context is as new after an error"


@pytest.mark.parametrize(("codec", "form"), EVERY)
def test_a_stream_that_was_not_read_to_its_end_harms_no_other(codec: str, form: str) -> None:
    packed = packed_text(codec, form)
    for broken, most in ((packed, 1), (packed, len(TEXT) // 2), (packed[:-9], MOST), (packed[:9], MOST), (b"x", MOST)):
        for other in FORMS[codec]:
            with pytest.raises(WireError):
                compression.decompress(codec, broken, most)
            assert compression.decompress(codec, packed_text(codec, other), MOST) == TEXT


def test_a_checksum_that_does_not_fit_is_an_error() -> None:
    plain = CHANCE.randbytes(200)
    for options in ({"block_checksum": True}, {"content_checksum": True}):
        packed = lz4.frame.compress(plain, block_linked=False, **options)
        for at in range(4, len(packed)):
            with pytest.raises(WireError):
                compression.decompress("lz4", flipped(packed, at), MOST)
    packed = gzip.compress(plain)
    for at in range(10, len(packed)):
        with pytest.raises(WireError):
            compression.decompress("gzip", flipped(packed, at), MOST)


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x21]) + data[at + 1 :]


def test_names_and_numbers_go_together() -> None:
    assert compression.CODECS == NAMES
    with pytest.raises(WireError, match="none"):
        compression.decompress("none", b"x", 1)
    with pytest.raises(ValueError):
        compression.compress("brotli", b"x")


# -- each codec --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLES)
def test_an_lz4_header_is_one_that_java_takes(name: str) -> None:
    packed = compression.compress("lz4", SAMPLES[name])
    magic, flags, block = packed[:4], packed[4], packed[5]
    assert magic == bytes.fromhex("04224d18")
    assert flags >> 6 == 1, "version 1"
    assert flags & 0x20, "independent blocks"
    assert not flags & 0x02 and not flags & 0x01, "reserved bit, dictionary"
    assert 4 <= block >> 4 & 7 <= 7 and not block & 0x8F


@pytest.mark.parametrize("options", [{"block_linked": True}, {"block_size": 4}, {"block_size": 5}, {"block_size": 6}],
                         ids=str)
def test_every_kind_of_lz4_frame_is_read(options: dict[str, Any]) -> None:
    assert compression.decompress("lz4", lz4.frame.compress(TEXT, **options), len(TEXT)) == TEXT


def test_a_size_that_an_lz4_frame_declares_is_not_believed() -> None:
    packed = bytearray(lz4.frame.compress(b"abc", store_size=True))
    assert packed[4] & 0x08
    packed[6:14] = (1 << 40).to_bytes(8, "little")
    with pytest.raises(WireError):
        compression.decompress("lz4", bytes(packed), 1 << 20)


def test_gzip_with_every_field_of_its_header_is_read() -> None:
    member = gzip.compress(TEXT)
    for flags, fields in ((4, b"\2\0xx"), (8, b"name\0"), (16, b"note\0"), (1, b""), (28, b"\2\0xxname\0note\0")):
        packed = member[:3] + bytes([flags]) + member[4:10] + fields + member[10:]
        assert compression.decompress("gzip", packed, MOST) == TEXT
    for flags in (0x20, 0x02):
        with pytest.raises(WireError):
            compression.decompress("gzip", member[:3] + bytes([flags]) + member[4:], MOST)


def test_zlib_without_a_gzip_header_is_refused() -> None:
    for other in (bytes(cramjam.zlib.compress(TEXT)), bytes(cramjam.deflate.compress(TEXT)), b"", b"\x1f\x8b"):
        with pytest.raises(WireError):
            compression.decompress("gzip", other, MOST)


def test_snappy_is_written_in_blocks_of_32_kib_in_javas_framing() -> None:
    packed = compression.compress("snappy", TEXT)
    assert packed[:16] == SNAPPY_HEAD
    sizes, at = [], 16
    while at < len(packed):
        size = struct.unpack_from(">i", packed, at)[0]
        sizes.append(cramjam.snappy.decompress_raw_len(packed[at + 4 : at + 4 + size]))
        at += 4 + size
    assert sizes[:-1] == [32768] * (len(TEXT) // 32768) and sizes[-1] == len(TEXT) % 32768


def test_snappy_lengths_that_cannot_be_are_refused() -> None:
    block = raw_snappy(TEXT[:500])
    bad = [
        SNAPPY_HEAD[:15],
        SNAPPY_HEAD[:8] + struct.pack(">ii", 0, 0) + struct.pack(">i", len(block)) + block,
        SNAPPY_HEAD + b"\0\0\0",
        SNAPPY_HEAD + struct.pack(">i", len(block) + 1) + block,
        SNAPPY_HEAD + struct.pack(">i", -1) + block,
        SNAPPY_HEAD + struct.pack(">i", -(2**31)) + block,
        SNAPPY_HEAD + struct.pack(">i", 0),
        framed_snappy(TEXT[:500]) * 2,
        b"",
        b"\xff\xff\xff\xff\x0f\0",                  # 4 GiB of one byte
        b"\xff\xff\xff\xff\xff\x01",
    ]
    for data in bad:
        with pytest.raises(WireError):
            compression.decompress("snappy", data, 1 << 30)


def test_a_zstd_window_of_level_22_is_given_and_a_larger_one_is_not() -> None:
    def frame(window_log: int) -> bytes:
        """A frame without a size, of one raw block."""
        block = 1 | 0 << 1 | 3 << 3
        return struct.pack("<IBB", 0xFD2FB528, 0, (window_log - 10) << 3) + struct.pack("<I", block)[:3] + b"abc"

    assert compression.decompress("zstd", frame(27), MOST) == b"abc"
    for log in (28, 31, 41):
        with pytest.raises(WireError):
            compression.decompress("zstd", frame(log), MOST)


def test_zstd_with_a_dictionary_is_refused() -> None:
    block = 1 | 0 << 1 | 3 << 3
    frame = struct.pack("<IBBB", 0xFD2FB528, 1, 0, 7) + struct.pack("<I", block)[:3] + b"abc"
    with pytest.raises(WireError):
        compression.decompress("zstd", frame, MOST)
