"""Few bytes that say they are many, by codec. Written without ever making what they hold.

Run as a program it measures one: ``python -m tests.support.bombs CODEC`` prints what a plan answered to it, the seconds
that took and the kilobytes by which the process grew at most.
"""

from __future__ import annotations

import json
import resource
import struct
import sys
import time
import zlib

import cramjam
import lz4.frame

from tests.support.batches import Record, repacked, write_batch
from tests.support.codecs import NAMES, SNAPPY_HEAD
from tests.support.record_plans import REDACT, build_plan

MIB = 1 << 20
ZEROS = bytes(4 * MIB)


def zstd_bomb(size: int) -> bytes:
    """Blocks of one byte, repeated 128 KiB times: 4 bytes each."""
    blocks = [struct.pack("<I", 1 << 1 | (128 << 10) << 3)[:3] + b"0"] * (size // (128 << 10))
    return struct.pack("<IBB", 0xFD2FB528, 0, 7 << 3) + b"".join(blocks) + b"\1\0\0"


def gzip_bomb(size: int) -> bytes:
    """The same 4 MiB again and again, as one member. Its checksum is wrong, which is seen only at the end."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = packer.compress(b"") + packer.flush(zlib.Z_FULL_FLUSH)
    piece = packer.compress(ZEROS) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + piece * (size // len(ZEROS)) + packer.flush()


def lz4_bomb(size: int) -> bytes:
    frame = bytes(lz4.frame.compress(ZEROS, block_linked=False, block_size=7, store_size=False))
    return frame[:7] + frame[7:-4] * (size // len(ZEROS)) + frame[-4:]


def snappy_bomb(size: int) -> bytes:
    block = bytes(cramjam.snappy.compress_raw(ZEROS))
    return SNAPPY_HEAD + (struct.pack(">i", len(block)) + block) * (size // len(ZEROS))


#: What about a MiB of each may hold.
BOMBS = {"gzip": lambda: gzip_bomb(1 << 30), "snappy": lambda: snappy_bomb(21 * MIB),
         "lz4": lambda: lz4_bomb(256 * MIB), "zstd": lambda: zstd_bomb(32 << 30)}


def bomb_batch(codec: str, bomb: bytes) -> bytes:
    return repacked(write_batch([Record(value=b"{}")]), bomb, NAMES.index(codec))


def main() -> None:
    codec = sys.argv[1]
    plan = build_plan(fields={"a": REDACT})
    plan.transform(write_batch([Record(value=b"{}")], codec=NAMES.index(codec)))
    batch = bomb_batch(codec, BOMBS[codec]())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.thread_time()
    got = plan.transform(batch)
    seconds = time.thread_time() - began
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps({"status": got.status, "error_code": got.error_code, "message": got.message, "sent": len(batch),
                      "seconds": round(seconds, 4), "grown": grown}))


if __name__ == "__main__":
    main()
