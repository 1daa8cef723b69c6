"""Kafka's primitive types over a span of bytes: a cursor with a sticky error, and big-endian loads and stores.

A reader that runs out of bytes sets ``bad`` and returns 0; the caller checks ``bad`` once, at the end of a message.
Bounds are written ``n > end - at``: the sum ``at + n`` may overflow, the difference of two pointers into one span
cannot.
"""
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t


# SAFETY: over bytes of whoever made it; it lives within one call and they outlive that.
cdef struct Cursor:
    const unsigned char* at
    const unsigned char* end
    bint bad


cdef inline int16_t load_i16(const unsigned char* at) noexcept nogil:
    return <int16_t>((<uint16_t>at[0] << 8) | at[1])


cdef inline int32_t load_i32(const unsigned char* at) noexcept nogil:
    return <int32_t>((<uint32_t>at[0] << 24) | (<uint32_t>at[1] << 16) | (<uint32_t>at[2] << 8) | at[3])


cdef inline int64_t load_i64(const unsigned char* at) noexcept nogil:
    return <int64_t>((<uint64_t><uint32_t>load_i32(at) << 32) | <uint32_t>load_i32(at + 4))


cdef inline void store_i16(unsigned char* at, int16_t value) noexcept nogil:
    at[0] = <uint8_t>(<uint16_t>value >> 8)
    at[1] = <uint8_t>value


cdef inline void store_i32(unsigned char* at, int32_t value) noexcept nogil:
    at[0] = <uint8_t>(<uint32_t>value >> 24)
    at[1] = <uint8_t>(<uint32_t>value >> 16)
    at[2] = <uint8_t>(<uint32_t>value >> 8)
    at[3] = <uint8_t>value


# At most 5 bytes are written; returns how many.
cdef inline int store_uvarint(unsigned char* at, uint32_t value) noexcept nogil:
    cdef int n = 0
    while value >= 0x80:
        at[n] = <uint8_t>(value | 0x80)
        value >>= 7
        n += 1
    at[n] = <uint8_t>value
    return n + 1


cdef inline bint skip(Cursor* c, int64_t n) noexcept nogil:
    if n < 0 or n > c.end - c.at:
        c.bad = True
        return False
    c.at += n
    return True


cdef inline int16_t read_i16(Cursor* c) noexcept nogil:
    return load_i16(c.at - 2) if skip(c, 2) else 0


cdef inline int32_t read_i32(Cursor* c) noexcept nogil:
    return load_i32(c.at - 4) if skip(c, 4) else 0


# At most 5 bytes, of which the last may hold 4 bits: Java shifts surplus bits away in silence, and two readers of one
# message must never disagree, so here they are bad.
cdef inline uint32_t read_long_uvarint(Cursor* c) noexcept nogil:
    cdef uint32_t value = 0
    cdef uint8_t byte
    cdef int n
    for n in range(5):
        if c.at == c.end:
            break
        byte = c.at[0]
        c.at += 1
        value |= <uint32_t>(byte & 0x7f) << (7 * n)
        if byte < 0x80:
            if n == 4 and byte > 0x0f:
                break
            return value
    c.bad = True
    return 0


cdef inline uint32_t read_uvarint(Cursor* c) noexcept nogil:
    if c.at != c.end and c.at[0] < 0x80:
        c.at += 1
        return (c.at - 1)[0]
    return read_long_uvarint(c)
