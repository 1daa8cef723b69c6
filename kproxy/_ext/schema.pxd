"""Kafka's messages as a table of facts, and two ways to read them by it.

The hot way: ``walk_body`` runs a flat program over the bytes of a body and leaves marks for the fields of interest
(chosen in _ext/schema/generate.py); nothing is built, everything else is stepped over. The cold way: ``schema.parse``
and ``schema.build`` in Python, for local answers, rare rebuilds and tests.

Marks, in the order of the bytes. Offsets are relative to the ``data`` given to ``walk_body``:

    kind     value                   at, length                      whole_at, whole_length          until
    SCALAR   the number (uuid: 0)    the bytes of the field          the same                        next mark
    STRING   -                       content (length -1: null)       with its length prefix          next mark
    BYTES    -                       content (length -1: null)       with its length prefix          next mark
    RECORDS  -                       content (length -1: null)       with its length prefix          next mark
    ARRAY    count (-1: null)        all elements                    the count prefix only           after its last item
    STRUCT   1 (-1: null)            its fields, with their tags     the byte of its presence, if any after its item
    ITEM     -                       the element with its tags       the same                        after its last field
    TAGS     count                   after the count                 the whole section               after its last tag
    TAG      tag number              content                         with tag and size               next mark

An empty tag section leaves no mark: it is the last byte of its item, or of the body. ``depth`` is the number of items
a mark stands in: a field of the body has 0, a field of a topic 1; an ITEM has the depth of its array. An array of
strings has a STRING mark for each element, an array of numbers only its own mark. A struct outside an array is
laid out as an array with one item, or none where it is null.
"""
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t


cdef enum MarkKind:
    SCALAR = 1
    STRING = 2
    BYTES = 3
    RECORDS = 4
    ARRAY = 5
    ITEM = 6
    STRUCT = 7
    TAG = 8
    TAGS = 9


cdef enum:
    BAD = 1                 # walk_body: not what the schema says
    TRAILING = 2            # walk_body: all of it read and marked, and bytes left over
    MAX_MARKS = 1 << 20     # a body with more is refused: marks must not cost many times what the bytes cost


cdef struct Mark:
    int16_t field           # F_… of kproxy._ext.fields; 0 for a tag the schema does not know
    int8_t kind
    int8_t depth
    int32_t until
    int32_t at
    int32_t length
    int32_t whole_at
    int32_t whole_length
    int64_t value


cdef class Marks:
    # SAFETY: malloc'ed, owned; what is in it is good until the next walk into this object.
    cdef Mark* items
    cdef int count
    cdef int room


# 0, BAD or TRAILING. Marks are meaningless after BAD. Served versions only; others are BAD.
cdef int walk_body(int api_key, int version, bint response, const unsigned char* data, Py_ssize_t length,
                   Marks marks) noexcept nogil

# For an (api, version) that is not served these answer False and -1.
cdef bint is_served(int api_key, int version) noexcept nogil
cdef bint is_flexible(int api_key, int version) noexcept nogil
cdef int request_header_version(int api_key, int version) noexcept nogil
cdef int response_header_version(int api_key, int version) noexcept nogil
