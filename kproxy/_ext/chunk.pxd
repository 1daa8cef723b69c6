"""Read buffers that are handed on without a copy.

A Chunk is filled from the left. What was received may be exported (a Span handed to a transport pins its chunk); bytes
behind ``filled`` are free to receive into all the same, because a transport only reads what it was given. When the tail
gets short the connection takes a fresh chunk from the pool and copies only the unfinished frame.

    0 ......... start ........... filled ........... size
      done with    not yet opened    room to receive
"""

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


cdef class Pool:
    cdef dict free                  # size -> list of idle memory blocks
    cdef readonly Py_ssize_t held   # bytes idle in the pool
    cdef Py_ssize_t limit
    cdef Chunk take(self, Py_ssize_t size)
    cdef void give_back(self, unsigned char* data, Py_ssize_t size)


cdef Chunk take_chunk(Py_ssize_t size)


# Bytes bound one way. Neighbouring spans of one chunk become one write.
cdef class Lane:
    cdef list out
    cdef Chunk chunk
    cdef Py_ssize_t at
    cdef Py_ssize_t end
    cdef readonly Py_ssize_t queued
    cdef int forward(self, Chunk chunk, Py_ssize_t at, Py_ssize_t length) except -1
    cdef int add(self, object data) except -1
    cdef list take(self)
