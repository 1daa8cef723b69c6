"""Framing. See the .pxd.

    frame = size:i32 body[size]
"""
from libc.stdint cimport int32_t

from kproxy._ext.wire cimport load_i32


cdef int scan_frame(const unsigned char* data, Py_ssize_t have, Py_ssize_t limit, Py_ssize_t* size) noexcept nogil:
    cdef int32_t body
    size[0] = 4
    if have < 4:
        return NEED_DATA
    body = load_i32(data)
    if body <= 0:
        return BAD_LENGTH
    if body > limit:
        return TOO_BIG
    size[0] = <Py_ssize_t>body + 4
    return FRAME if have >= size[0] else NEED_DATA


def scan(const unsigned char[::1] data not None, Py_ssize_t limit):
    """("frame" | "need_data" | "too_big" | "bad_length", bytes of the frame with its size field), for tests."""
    cdef Py_ssize_t size = 0
    cdef const unsigned char* start = &data[0] if data.shape[0] else <const unsigned char*>b""
    return ("frame", "need_data", "too_big", "bad_length")[scan_frame(start, data.shape[0], limit, &size)], size
