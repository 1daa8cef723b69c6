"""Records that are tried against a plan before it is in force: what the data path would make of each, and why.

A sample is put into a record batch of its own and given to the same native code that looks into records on the way, so
that what is shown is what will happen.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import msgspec

from kproxy._ext import mask
from kproxy._ext.record_batch import crc32c
from kproxy.model.record_plan import RecordPlan
from kproxy.model.settings import Limits

Outcome = Literal["same", "changed", "dropped", "refused"]
Headers = tuple[tuple[str, bytes | None], ...]

#: KIP-98: base offset, length, leader epoch, magic, checksum; then what the checksum is over, up to the records.
_HEAD, _CHECKED = struct.Struct(">qiibI"), struct.Struct(">hiqqqhii")


class Sample(msgspec.Struct, frozen=True):
    """One record, before or after."""

    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()


class Previewed(msgspec.Struct, frozen=True):
    """What becomes of a sample. ``after`` is None for one that is dropped or refused; ``reason`` is what a client would
    be told; ``unknown``: a rule reads into it, and it cannot be read. Numbers of finds by rule, entity and path."""

    before: Sample
    outcome: Outcome
    after: Sample | None
    rules: dict[str, int]
    entities: dict[str, int]
    fields: dict[str, int]
    unknown: bool
    reason: str = ""


def preview(plan: RecordPlan | None, samples: Iterable[Sample], keys: Mapping[str, bytes],
            limits: Limits) -> Iterator[Previewed]:
    """``plan`` as Decider.plan_records gives it; ``keys`` are secrets by key id. Raises PolicyError for a plan
    that names a key that is not there."""
    tried = None if plan is None else mask.Plan(mask.compile_plan(plan, keys, limits))
    reads = plan is not None and bool(plan.fields or plan.allow_lists or plan.key_fields)
    for sample in samples:
        if tried is None:
            yield Previewed(sample, "same", sample, {}, {}, {}, False)
            continue
        found = tried.transform(build_batch(sample))
        counts = tried.take_counts()
        after = sample
        outcome: Outcome = "same"
        if found.status == "refused":
            yield _refused(sample, tried, found, counts)
            continue
        if found.status == "replaced":
            left = read_batch(found.data or b"")
            outcome = "changed" if left is not None else "dropped"
            after = left if left is not None else sample
        yield Previewed(sample, outcome, None if outcome == "dropped" else after, counts["rules"], counts["entities"],
                        counts["fields_masked"], reads and bool(counts.get("unknown")))


def _refused(sample: Sample, tried: mask.Plan, found: mask.Transformed, counts: dict[str, Any]) -> Previewed:
    rules = {**counts["rules"], **tried.record_rules}
    unknown = bool(rules.pop("unknown_format", 0) or counts.get("unknown"))
    reason = found.record_errors[0][1] if found.record_errors else found.message
    return Previewed(sample, "refused", None, rules, counts["entities"], counts["fields_masked"], unknown, reason)


def build_batch(sample: Sample) -> bytes:
    """A batch of magic 2 that holds the sample alone, not compressed (KIP-98)."""
    body = b"\0" + varint(0) + varint(0) + _written(sample.key) + _written(sample.value) + varint(len(sample.headers))
    body += b"".join(_written(name.encode()) + _written(value) for name, value in sample.headers)
    checked = _CHECKED.pack(0, 0, 0, 0, -1, -1, -1, 1) + varint(len(body)) + body
    return _HEAD.pack(0, _CHECKED.size + 9 + len(varint(len(body))) + len(body), -1, 2, crc32c(checked)) + checked


def read_batch(batch: bytes) -> Sample | None:
    """The one record of an uncompressed batch that kproxy wrote; None if it has none left."""
    at = _HEAD.size + _CHECKED.size
    count = _CHECKED.unpack_from(batch, _HEAD.size)[-1]
    if count == 0:
        return None
    reader = _Reader(batch, at)
    reader.varint()
    reader.at += 1
    reader.varint()
    reader.varint()
    key, value = reader.part(), reader.part()
    headers = tuple(((reader.part() or b"").decode("utf-8", "replace"), reader.part()) for _ in range(reader.varint()))
    return Sample(value, key, headers)


class _Reader:
    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self.at = at

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return (value >> 1) ^ -(value & 1)
            shift += 7

    def part(self) -> bytes | None:
        length = self.varint()
        if length < 0:
            return None
        self.at += length
        return self._data[self.at - length:self.at]


def varint(value: int) -> bytes:
    """A zigzag varint, as records have them."""
    rest = (value << 1) ^ (value >> 63)
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def _written(part: bytes | None) -> bytes:
    return varint(-1) if part is None else varint(len(part)) + part
