"""Request and response headers, and Splice: a frame made out of another by replacing a few spans.

Header versions follow from (api key, version) alone: a request has header 2 when its version is flexible, otherwise 1;
see schema for responses. client_id keeps its two-byte length even in header 2.
"""
from libc.stdint cimport int16_t, int32_t, int64_t

cdef enum HeadStatus:
    HEAD_OK = 0
    HEAD_BAD = 1            # too short, or a length that points outside
    UNKNOWN_API = 2         # key or version not served; api_key, api_version and correlation are set all the same


cdef struct Head:
    int16_t api_key
    int16_t api_version
    int32_t correlation
    int32_t client_id_at        # offsets are relative to the frame after its 4 size bytes
    int32_t client_id_length    # -1: null
    int32_t body


cdef int walk_request_head(const unsigned char* data, Py_ssize_t length, Head* head) noexcept nogil
# The offset of the body, or -1.
cdef int walk_response_head(int api_key, int version, const unsigned char* data, Py_ssize_t length,
                            int32_t* correlation) noexcept nogil

cdef bytes build_count(long long count, bint flexible)              # of an array; -1 is null
cdef bytes build_records_prefix(long long length, bint flexible)    # of bytes and records
cdef bytes build_string(object text, bint flexible)                 # str, UTF-8 bytes or None, with its length


cdef struct Edit:
    Py_ssize_t at
    Py_ssize_t length
    Py_ssize_t new_length


cdef class Splice:
    """Edits over one frame (without its size), told in ascending order of ``at``; an insert may touch an edit before
    it.

    ``begin`` may be called again to use the object for another frame. An edit out of order or out of range raises
    ValueError: it would be a mistake of ours, never of a peer's, since spans come from marks.
    """
    # SAFETY: the frame belongs to the caller and must live until finish_segments has returned.
    cdef const unsigned char* data
    cdef Py_ssize_t length
    cdef Py_ssize_t done            # end of the last edit
    cdef Py_ssize_t grown           # bytes the new frame has more than the old one
    # SAFETY: malloc'ed, owned, grown by ``replace``.
    cdef Edit* edits
    cdef int count
    cdef int room
    cdef list pieces                # the new bytes of each edit

    cdef int begin(self, const unsigned char* data, Py_ssize_t length) except -1
    cdef int replace(self, Py_ssize_t at, Py_ssize_t length, bytes new) except -1
    # The whole new frame with its size, for writelines: long spans as views of ``owner`` (which exports the bytes from
    # ``data`` on), the rest copied.
    cdef list finish_segments(self, object owner)
