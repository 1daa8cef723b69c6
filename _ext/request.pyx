"""Headers and splices. See the .pxd.

    request header  = api_key:i16 api_version:i16 correlation:i32 client_id:nullable string(i16) [tags]
    response header = correlation:i32 [tags]
"""
from libc.stdlib cimport free, realloc

from kproxy._ext.schema cimport is_served, request_header_version, response_header_version
from kproxy._ext.wire cimport Cursor, read_i16, read_i32, read_uvarint, skip, store_i16, store_i32, store_uvarint

cdef enum:
    VIEW_FROM = 2048        # bytes: a shorter span costs less to copy than to send as a segment of its own


cdef int skip_tags(Cursor* c) noexcept nogil:
    cdef int64_t last = -1, tag
    cdef unsigned int n
    for n in range(read_uvarint(c)):
        tag = read_uvarint(c)
        if c.bad or tag <= last or not skip(c, read_uvarint(c)):
            c.bad = True
            break
        last = tag
    return 0


cdef int walk_request_head(const unsigned char* data, Py_ssize_t length, Head* head) noexcept nogil:
    cdef Cursor c
    cdef int16_t text
    c.at = data
    c.end = data + length
    c.bad = length < 0
    head.api_key = read_i16(&c)
    head.api_version = read_i16(&c)
    head.correlation = read_i32(&c)
    head.client_id_length = -1
    head.client_id_at = head.body = 8
    if c.bad:
        return HEAD_BAD
    if not is_served(head.api_key, head.api_version):
        return UNKNOWN_API
    text = read_i16(&c)
    head.client_id_length = text
    head.client_id_at = <int32_t>(c.at - data)
    if text < -1 or (text > 0 and not skip(&c, text)):
        return HEAD_BAD
    if request_header_version(head.api_key, head.api_version) == 2:
        skip_tags(&c)
    head.body = <int32_t>(c.at - data)
    return HEAD_BAD if c.bad else HEAD_OK


cdef int walk_response_head(int api_key, int version, const unsigned char* data, Py_ssize_t length,
                            int32_t* correlation) noexcept nogil:
    cdef Cursor c
    cdef int header = response_header_version(api_key, version)
    c.at = data
    c.end = data + length
    c.bad = length < 0 or header < 0
    correlation[0] = read_i32(&c)
    if header == 1 and not c.bad:
        skip_tags(&c)
    return -1 if c.bad else <int>(c.at - data)


cdef bytes build_prefix(long long value, bint flexible, int size):
    cdef unsigned char at[5]
    if flexible:
        return at[:store_uvarint(at, <unsigned int>(value + 1))]
    if size == 4:
        store_i32(at, <int32_t>value)
    else:
        store_i16(at, <int16_t>value)
    return at[:size]


cdef bytes build_count(long long count, bint flexible):
    return build_prefix(count, flexible, 4)


cdef bytes build_records_prefix(long long length, bint flexible):
    return build_prefix(length, flexible, 4)


cdef bytes build_string(object text, bint flexible):
    if text is None:
        return build_prefix(-1, flexible, 2)
    cdef bytes data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    if not flexible and len(data) > 0x7fff:
        raise ValueError("a string longer than its length field can say")
    return build_prefix(len(data), flexible, 2) + data


cdef class Splice:
    def __cinit__(self):
        self.data = NULL
        self.edits = NULL
        self.count = self.room = 0
        self.pieces = []

    def __dealloc__(self):
        free(self.edits)

    cdef int begin(self, const unsigned char* data, Py_ssize_t length) except -1:
        self.data = data
        self.length = length
        self.done = self.grown = 0
        self.count = 0
        self.pieces = []
        return 0

    cdef int replace(self, Py_ssize_t at, Py_ssize_t length, bytes new) except -1:
        cdef Edit* grown
        if at < self.done or length < 0 or length > self.length - at:
            raise ValueError("splice out of order or out of range")
        if self.count == self.room:
            grown = <Edit*>realloc(self.edits, (self.room * 2 + 8) * sizeof(Edit))
            if grown == NULL:
                raise MemoryError
            self.edits = grown
            self.room = self.room * 2 + 8
        self.edits[self.count] = Edit(at, length, len(new))
        self.count += 1
        self.done = at + length
        self.grown += len(new) - length
        self.pieces.append(new)
        return 0

    cdef list finish_segments(self, object owner):
        cdef list segments = []
        cdef bytearray held = bytearray(4)      # short pieces that travel together
        cdef Py_ssize_t at = 0, until
        cdef int i
        store_i32(<unsigned char*>(<char*>held), <int32_t>(self.length + self.grown))
        view = memoryview(owner)
        for i in range(self.count + 1):
            until = self.edits[i].at if i < self.count else self.length
            if until - at < VIEW_FROM:
                held += self.data[at:until]
            else:
                held = flush(held, segments)
                segments.append(view[at:until])
            if i < self.count:
                at = until + self.edits[i].length
                if self.edits[i].new_length < VIEW_FROM:
                    held += <bytes>self.pieces[i]
                else:
                    held = flush(held, segments)
                    segments.append(self.pieces[i])
        flush(held, segments)
        return segments


cdef bytearray flush(bytearray held, list segments):
    if held:
        segments.append(bytes(held))
    return bytearray()


def request_head(const unsigned char[::1] frame not None):
    """(api_key, api_version, correlation, client_id or None, body offset) of a frame without its size, for tests.
    Raises ValueError("bad") or ValueError("unknown_api")."""
    cdef Head head
    cdef const unsigned char* data = &frame[0] if frame.shape[0] else <const unsigned char*>b""
    cdef int status = walk_request_head(data, frame.shape[0], &head)
    if status != HEAD_OK:
        raise ValueError("bad" if status == HEAD_BAD else "unknown_api")
    client_id = None if head.client_id_length < 0 else data[head.client_id_at:head.client_id_at + head.client_id_length]
    return head.api_key, head.api_version, head.correlation, client_id, head.body


def response_head(int api_key, int version, const unsigned char[::1] frame not None):
    """(correlation, body offset or -1) of a frame without its size, for tests."""
    cdef int32_t correlation = 0
    cdef const unsigned char* data = &frame[0] if frame.shape[0] else <const unsigned char*>b""
    cdef int body = walk_response_head(api_key, version, data, frame.shape[0], &correlation)
    return correlation, body


def splice(frame not None, edits, bint segments=False):
    """The new frame with its size, from (at, length, new bytes) edits in order; as a list of segments if asked. For
    tests."""
    cdef const unsigned char[::1] data = frame
    cdef Splice one = Splice()
    one.begin(&data[0] if data.shape[0] else <const unsigned char*>b"", data.shape[0])
    for at, length, new in edits:
        one.replace(at, length, new)
    found = one.finish_segments(frame)
    return found if segments else b"".join(found)


def count_prefix(long long count, bint flexible):
    """The bytes of an array's count, for tests."""
    return build_count(count, flexible)


def string(text, bint flexible):
    """The bytes of a string with its length, for tests."""
    return build_string(text, flexible)
