"""Record batches by their heads; see the .pxd."""
from libc.stdint cimport int16_t, uint32_t

from kproxy._ext.wire cimport load_i16, load_i32, load_i64

cdef enum:
    LENGTH_END = 12         # base_offset and batch_length
    MAGIC_AT = 16
    ATTRIBUTES_AT = 21
    LAST_DELTA_AT = 23
    COUNT_AT = 57
    CONTROL_BIT = 0x20


cdef extern from "crc32c.hpp" namespace "kproxy" nogil:
    uint32_t _crc32c "kproxy::crc32c"(const unsigned char* at, size_t length)
    uint32_t _crc32c_by_table "kproxy::crc32c_by_table"(uint32_t crc, const unsigned char* at, size_t length)


cdef int walk_batch_headers(const unsigned char* data, Py_ssize_t length, BatchSummary* out) noexcept nogil:
    cdef Py_ssize_t at = 0, size
    cdef int32_t said, count
    out.first_offset = out.last_offset = -1
    out.records = out.batches = 0
    while length - at > MAGIC_AT:
        said = load_i32(data + at + 8)
        size = <Py_ssize_t>said + LENGTH_END
        if said <= 0 or size > length - at:
            break
        if out.batches == 0:
            out.first_offset = load_i64(data + at)
        out.last_offset = load_i64(data + at)
        if data[at + MAGIC_AT] == 2 and size >= BATCH_HEAD:
            out.last_offset += load_i32(data + at + LAST_DELTA_AT)
            count = load_i32(data + at + COUNT_AT)
            if count > 0 and not load_i16(data + at + ATTRIBUTES_AT) & CONTROL_BIT:
                out.records += count
        else:
            out.records += 1
        out.batches += 1
        at += size
    out.whole = at == length
    return 0


def crc32c(const unsigned char[::1] data not None, bint by_table=False):
    """CRC-32C (Castagnoli) of the bytes, as record batches carry it. ``by_table`` is how processors without the instruction
    do it."""
    cdef const unsigned char* at = &data[0] if data.shape[0] else <const unsigned char*>b""
    if by_table:
        return ~_crc32c_by_table(~(<uint32_t>0), at, data.shape[0]) & <uint32_t>0xFFFFFFFF
    return _crc32c(at, data.shape[0])


def summarise(const unsigned char[::1] data not None):
    """(first offset, last offset, records, batches, whole) of one partition's records."""
    cdef BatchSummary summary
    walk_batch_headers(&data[0] if data.shape[0] else <const unsigned char*>b"", data.shape[0], &summary)
    return summary.first_offset, summary.last_offset, summary.records, summary.batches, bool(summary.whole)
