"""The checksum, and what the heads of record batches say."""

from __future__ import annotations

import random
import struct

import crc32c
import pytest

from kproxy._ext import record_batch
from tests.support.batches import Record, write_batch


@pytest.mark.parametrize("by_table", [False, True], ids=["instruction", "table"])
def test_the_checksum_is_castagnolis(by_table: bool):
    assert record_batch.crc32c(b"123456789", by_table) == 0xE3069283
    data = random.Random(3).randbytes(20_000)
    for length in (*range(1400), 4096, 19_000):     # from 256 bytes on wide processors take 256 and then 64 at a time
        piece = data[length % 7 : length % 7 + length]
        assert record_batch.crc32c(piece, by_table) == crc32c.crc32c(piece), length


def batch(count: int, base: int = 0, **more: int) -> bytes:
    return write_batch([Record(value=b"v%d" % n) for n in range(count)], base_offset=base, **more)


def test_heads_are_summed_up():
    data = batch(3, 100) + batch(5, 200, codec=3) + batch(2, 300, last_offset_delta=9)
    assert record_batch.summarise(data) == (100, 309, 10, 3, True)
    assert record_batch.summarise(b"") == (-1, -1, 0, 0, True)


def test_control_batches_move_offsets_and_count_no_records():
    control = batch(1, 4, attributes=0x30)
    assert record_batch.summarise(control) == (4, 4, 0, 1, True)
    assert record_batch.summarise(batch(4) + control + batch(0, 5, last_offset_delta=3)) == (0, 8, 4, 3, True)


def test_messages_before_magic_2_count_as_one_each():
    old = struct.pack(">qiIbb", 17, 14, 0, 1, 0) + b"\0" * 8
    assert len(old) == 26
    assert record_batch.summarise(old + batch(1, 18)) == (17, 18, 2, 2, True)


def test_a_partial_batch_only_ends_the_walk():
    whole = batch(3, 7)
    for cut in range(1, len(whole)):
        assert record_batch.summarise(whole + whole[:cut]) == (7, 9, 3, 1, False), cut


@pytest.mark.parametrize("length", [0, -1, -(2**31), 2**31 - 1])
def test_a_length_that_cannot_be_ends_the_walk(length: int):
    bad = bytearray(batch(1))
    struct.pack_into(">i", bad, 8, length)
    assert record_batch.summarise(batch(2) + bytes(bad)) == (0, 1, 2, 1, False)
