"""Read buffers that are handed on without a copy, and the bytes bound one way.

A Chunk is filled from the left. What was received may be exported (a Span handed to a transport, or a Segment of a Lane,
pins its chunk); bytes behind ``filled`` are free to receive into all the same, because whoever sends only reads what it
was given. When the tail gets short the connection takes a fresh chunk from the pool and copies only the unfinished frame.

    0 ......... start ........... filled ........... size
      done with    not yet opened    room to receive
"""
from cpython.object cimport PyObject


cdef class Chunk:
    # SAFETY: malloc'ed by the pool, freed when the chunk dies; never moved, so a pointer lives as long as the chunk.
    cdef unsigned char* data
    cdef Py_ssize_t size
    cdef Py_ssize_t start
    cdef Py_ssize_t filled


cdef class Span:
    cdef Chunk chunk
    cdef Py_ssize_t at
    cdef Py_ssize_t length


cdef object build_span(Chunk chunk, Py_ssize_t at, Py_ssize_t length)       # a read-only memoryview


cdef enum:
    SIZES = 18          # of chunks: 16 KiB, and each twice the one before, up to the most a frame may say


cdef class Pool:
    # SAFETY: idle blocks of one size, the last given back first: each begins with the address of the next.
    cdef void* idle[SIZES]
    cdef readonly Py_ssize_t held   # bytes idle in the pool
    cdef Py_ssize_t limit
    cdef Chunk take(self, Py_ssize_t size)
    cdef void give_back(self, unsigned char* data, Py_ssize_t size) noexcept


cdef Chunk take_chunk(Py_ssize_t size)


# Bytes to be sent, held by ``owner``: a Chunk, or the object that exports them.
cdef struct Segment:
    PyObject* owner         # SAFETY: an owned reference, given up when the segment is sent or cleared
    const unsigned char* data           # of ``owner``, and as long as that
    Py_ssize_t length


# Bytes bound one way, in order. Neighbouring spans of one chunk are one segment.
cdef class Lane:
    # SAFETY: malloc'ed by the lane; those from ``first`` on hold what their bytes belong to.
    cdef Segment* segments
    cdef int first
    cdef int count
    cdef int room
    cdef readonly Py_ssize_t queued
    cdef int push(self, object owner, const unsigned char* data, Py_ssize_t length) except -1
    cdef int forward(self, Chunk chunk, Py_ssize_t at, Py_ssize_t length) except -1
    cdef int add(self, object data) except -1       # whole frames that are not spans of a read buffer
    cdef int consume(self, Py_ssize_t sent) except -1   # forgets that many bytes from the front
    cdef int clear(self) except -1
    cdef int follow(self, Lane other) except -1     # takes over all of ``other``, behind what is here
    cdef list take(self)                            # all as objects for a transport; the lane is empty then
