"""The shape of a worker's spool segments. One writer each; the control process only reads and deletes.

``state_dir/spool/w<worker>-<start>-<number>.seg`` begins with MAGIC and is a run of entries
``length u32 | crc32 u32 | kind u8 | payload`` (little-endian; the CRC-32 covers kind and payload). Kinds:

* EVENT: one AuditEvent as JSON.
* NOTES: the I/O notes of one loop turn, back to back, written before that turn's bytes leave the worker.
* END: the worker closed this segment itself; without it the segment's writer died or still writes.

A ``flow`` event covers every note of its session that precedes it; notes after the last one of a session are what a
dead worker had not yet summed up.

A note: ``kind u8 | session | correlation | partition | first_offset | last_offset - first_offset | records | bytes |
error | topic length | topic``. Numbers are Kafka's varints (zigzag, but session and length, which are unsigned).
``kproxy._ext.ledger`` writes and reads them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import msgspec

MAGIC = b"kpspool1"
EVENT, END, NOTES = 1, 3, 4
INTENT, OUTCOME, READ = 1, 2, 3
_ENTRY = struct.Struct("<IIB")


class Note(msgspec.Struct, frozen=True):
    """INTENT: a produce is about to be forwarded (offsets −1). OUTCOME: the broker's answer. READ: records sent to
    a client."""

    kind: int
    session: int
    correlation: int
    partition: int
    first_offset: int
    last_offset: int
    records: int
    bytes: int
    error: int
    topic: str


def pack_entry(kind: int, payload: bytes) -> bytes:
    body = bytes((kind,)) + payload
    return struct.pack("<II", len(body), zlib.crc32(body)) + body


def walk_entries(data: bytes, start: int = 0, *, passed: int = 0) -> Iterator[tuple[int, bytes, int]]:
    """Yields (kind, payload, offset after it) for every whole and undamaged entry from ``start``; stops at the
    first other. Of those of the kind ``passed`` only the length is looked at; their payload is given
    as empty."""
    at, size = start, len(data)
    unpack, head = _ENTRY.unpack_from, _ENTRY.size
    while at + head <= size:
        length, crc, kind = unpack(data, at)
        end = at + 8 + length
        if length < 1 or end > size:
            return
        if kind == passed:
            yield kind, b"", end
        elif zlib.crc32(data[at + 8 : end]) == crc:
            yield kind, data[at + 9 : end], end
        else:
            return
        at = end
