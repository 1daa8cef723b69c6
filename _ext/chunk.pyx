"""Read buffers that are handed on without a copy; see the .pxd."""
cimport cython
from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_FillInfo
from cpython.memoryview cimport PyMemoryView_FromObject
from libc.stdint cimport uintptr_t
from libc.stdlib cimport free, malloc

cdef Pool POOL = Pool(64 * 1024 * 1024)


@cython.final
cdef class Chunk:
    def __dealloc__(self):
        # Every Span holds its chunk, so nothing points into the memory any more.
        if self.data != NULL:
            POOL.give_back(self.data, self.size)


@cython.final
@cython.freelist(256)
cdef class Span:
    def __getbuffer__(self, Py_buffer* view, int flags):
        if flags & PyBUF_WRITABLE == PyBUF_WRITABLE:
            raise BufferError("received bytes are never edited")
        # SAFETY: ``view.obj`` is this span, which holds its chunk, which owns the memory.
        PyBuffer_FillInfo(view, self, self.chunk.data + self.at, self.length, 1, flags)

    def __len__(self):
        return self.length


cdef object build_span(Chunk chunk, Py_ssize_t at, Py_ssize_t length):
    cdef Span span = Span.__new__(Span)
    span.chunk = chunk
    span.at = at
    span.length = length
    return PyMemoryView_FromObject(span)


cdef class Lane:
    def __cinit__(self):
        self.out = []

    cdef int forward(self, Chunk chunk, Py_ssize_t at, Py_ssize_t length) except -1:
        if self.chunk is chunk and self.end == at:
            self.end = at + length
        else:
            self.add(None)
            self.chunk, self.at, self.end = chunk, at, at + length
        self.queued += length
        return 0

    cdef int add(self, object data) except -1:
        """Whole frames that are not spans of the read buffer; None only ends the run of spans."""
        if self.chunk is not None:
            self.out.append(build_span(self.chunk, self.at, self.end - self.at))
            self.chunk = None
        if data is not None:
            self.out.append(data)
            self.queued += len(data)
        return 0

    cdef list take(self):
        self.add(None)
        cdef list taken = self.out
        self.out = []
        self.queued = 0
        return taken


@cython.final
cdef class Pool:
    """Idle memory by size, so that a busy connection does not page in fresh memory for every large frame."""

    def __cinit__(self, Py_ssize_t limit):
        self.free = {}
        self.held = 0
        self.limit = limit

    cdef Chunk take(self, Py_ssize_t size):
        """A chunk of at least ``size`` bytes: the next power of two from 16 KiB on."""
        cdef Py_ssize_t rounded = 16384
        while rounded < size:
            rounded *= 2
        cdef Chunk chunk = Chunk.__new__(Chunk)
        cdef list idle = self.free.get(rounded)
        if idle:
            chunk.data = <unsigned char*><uintptr_t>idle.pop()
            self.held -= rounded
        else:
            chunk.data = <unsigned char*>malloc(rounded)
            if chunk.data == NULL:
                raise MemoryError
        chunk.size = rounded
        chunk.start = chunk.filled = 0
        return chunk

    cdef void give_back(self, unsigned char* data, Py_ssize_t size):
        if self.held + size > self.limit:
            free(data)
            return
        self.held += size
        self.free.setdefault(size, []).append(<uintptr_t>data)


cdef Chunk take_chunk(Py_ssize_t size):
    return POOL.take(size)


def idle_bytes():
    """Bytes of read buffers that nobody holds, kept for the next who needs one."""
    return POOL.held
