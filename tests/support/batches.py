"""Record batches of magic 2, written and read by the book and by other libraries than kproxy's."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import crc32c

from tests.support import codecs

_HEAD = struct.Struct(">qiibIhiqqqhii")


@dataclass
class Record:
    value: bytes | None = None
    key: bytes | None = None
    headers: list[tuple[str, bytes | None]] = field(default_factory=list)
    offset_delta: int | None = None
    timestamp_delta: int = 0


@dataclass
class Batch:
    base_offset: int
    attributes: int
    last_offset_delta: int
    records: list[Record]


def varint(value: int) -> bytes:
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while value & ~0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def write_batch(
    records: list[Record],
    *,
    codec: int = 0,
    base_offset: int = 0,
    leader_epoch: int = -1,
    attributes: int = 0,
    last_offset_delta: int | None = None,
    base_timestamp: int = 1000,
    max_timestamp: int = 1000,
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
) -> bytes:
    body = codecs.pack(codec, b"".join(_write_record(record, at) for at, record in enumerate(records)))
    last = len(records) - 1 if last_offset_delta is None else last_offset_delta
    after_crc = (
        struct.pack(
            ">hiqqqhii",
            attributes | codec,
            last,
            base_timestamp,
            max_timestamp,
            producer_id,
            producer_epoch,
            base_sequence,
            len(records),
        )
        + body
    )
    return struct.pack(">qiibI", base_offset, len(after_crc) + 9, leader_epoch, 2, crc32c.crc32c(after_crc)) + after_crc


def repacked(batch: bytes, body: bytes, codec: int | None = None) -> bytes:
    """The batch with other bytes where its records are, and perhaps another codec; length and checksum fit."""
    changed = bytearray(batch[:61] + body)
    if codec is not None:
        changed[22] = changed[22] & ~7 | codec
    struct.pack_into(">i", changed, 8, len(changed) - 12)
    struct.pack_into(">I", changed, 17, crc32c.crc32c(bytes(changed[21:])))
    return bytes(changed)


def _write_record(record: Record, at: int) -> bytes:
    out = b"\0" + varint(record.timestamp_delta) + varint(at if record.offset_delta is None else record.offset_delta)
    for part in (record.key, record.value):
        out += _write_bytes(part)
    out += varint(len(record.headers))
    for name, value in record.headers:
        out += _write_bytes(name.encode()) + _write_bytes(value)
    return varint(len(out)) + out


def _write_bytes(data: bytes | None) -> bytes:
    return varint(-1) if data is None else varint(len(data)) + data


def read_batches(data: bytes) -> list[Batch]:
    """Every batch; raises AssertionError for a wrong checksum, length or count."""
    batches = []
    at = 0
    while at < len(data):
        base, length, _, magic, crc, attributes, last, *_, count = _HEAD.unpack_from(data, at)
        whole = data[at : at + 12 + length]
        assert len(whole) == 12 + length and magic == 2
        assert crc == crc32c.crc32c(whole[21:])
        body = codecs.unpack(attributes & 7, whole[61:])
        records = []
        reader = _Reader(body)
        for _ in range(count):
            records.append(reader.record())
        assert reader.at == len(body)
        batches.append(Batch(base, attributes, last, records))
        at += 12 + length
    return batches


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return (value >> 1) ^ -(value & 1)

    def bytes_(self) -> bytes | None:
        length = self.varint()
        if length < 0:
            return None
        assert length <= len(self.data) - self.at
        self.at += length
        return self.data[self.at - length : self.at]

    def record(self) -> Record:
        length = self.varint()
        end = self.at + length
        self.at += 1
        timestamp, offset = self.varint(), self.varint()
        key, value = self.bytes_(), self.bytes_()
        headers = []
        for _ in range(self.varint()):
            name = self.bytes_()
            assert name is not None
            headers.append((name.decode("utf-8", "replace"), self.bytes_()))
        assert self.at == end
        return Record(value, key, headers, offset, timestamp)
