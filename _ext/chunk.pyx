"""Read buffers that are handed on without a copy; see the .pxd."""
cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.memoryview cimport PyMemoryView_FromObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memmove

cdef enum:
    LEAST = 16384               # bytes of the smallest chunk
    FIRST_ROOM = 4
    MOST_ROOM = 64              # segments; a lane that was once longer does not stay so

cdef Pool POOL = Pool(64 * 1024 * 1024)


@cython.final
@cython.freelist(64)
cdef class Chunk:
    def __dealloc__(self):
        # Every Span and Segment holds its chunk, so nothing points into the memory any more.
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


@cython.final
cdef class Lane:
    def __dealloc__(self):
        cdef int i
        for i in range(self.first, self.first + self.count):
            Py_XDECREF(self.segments[i].owner)
        free(self.segments)

    cdef int push(self, object owner, const unsigned char* data, Py_ssize_t length) except -1:
        cdef Segment* grown
        cdef int room
        if self.first + self.count == self.room:
            if self.first > self.count:
                memmove(self.segments, self.segments + self.first, self.count * sizeof(Segment))
                self.first = 0
            else:
                room = self.room * 2 if self.room else FIRST_ROOM
                grown = <Segment*>realloc(self.segments, room * sizeof(Segment))
                if grown == NULL:
                    raise MemoryError
                self.segments = grown
                self.room = room
        Py_INCREF(owner)
        self.segments[self.first + self.count] = Segment(<PyObject*>owner, data, length)
        self.count += 1
        self.queued += length
        return 0

    cdef int forward(self, Chunk chunk, Py_ssize_t at, Py_ssize_t length) except -1:
        cdef Segment* last
        if self.count:
            last = &self.segments[self.first + self.count - 1]
            if last.owner == <PyObject*>chunk and last.data + last.length == chunk.data + at:
                last.length += length
                self.queued += length
                return 0
        return self.push(chunk, chunk.data + at, length)

    cdef int add(self, object data) except -1:
        cdef Py_buffer view
        if PyBytes_CheckExact(data):
            return self.push(data, <const unsigned char*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        if not isinstance(data, memoryview) or not data.readonly:
            return self.add(bytes(data))        # Nobody may change it while it waits here.
        # SAFETY: the memoryview itself holds its exporter, and the segment holds the memoryview.
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            return self.push(data, <const unsigned char*>view.buf, view.len)
        finally:
            PyBuffer_Release(&view)

    cdef int consume(self, Py_ssize_t sent) except -1:
        cdef Segment* segment
        self.queued -= sent
        while self.count:
            segment = &self.segments[self.first]
            if sent < segment.length:
                segment.data += sent
                segment.length -= sent
                return 0
            sent -= segment.length
            self.first += 1
            self.count -= 1
            Py_XDECREF(segment.owner)
        self.first = 0
        if self.room > MOST_ROOM:
            free(self.segments)
            self.segments = NULL
            self.room = 0
        return 0

    cdef int clear(self) except -1:
        return self.consume(self.queued)

    cdef int follow(self, Lane other) except -1:
        cdef int i
        for i in range(other.first, other.first + other.count):
            self.push(<object>other.segments[i].owner, other.segments[i].data, other.segments[i].length)
        return other.clear()

    cdef list take(self):
        cdef list taken = []
        cdef Segment* segment
        cdef object owner
        cdef int i
        for i in range(self.first, self.first + self.count):
            segment = &self.segments[i]
            owner = <object>segment.owner
            if isinstance(owner, Chunk):
                owner = build_span(owner, segment.data - (<Chunk>owner).data, segment.length)
            elif len(owner) != segment.length:
                owner = memoryview(owner)[len(owner) - segment.length:]
            taken.append(owner)
        self.clear()
        return taken


cdef inline int size_class(Py_ssize_t size) noexcept:
    """The least chunk that holds ``size`` bytes, as the power of two above LEAST."""
    cdef int found = 0
    while (<Py_ssize_t>LEAST << found) < size:
        found += 1
    return found


@cython.final
cdef class Pool:
    """Idle memory by size, so that a busy connection does not page in fresh memory for every large frame. What was given
    back last is still in the processor's cache, so it is taken first."""

    def __cinit__(self, Py_ssize_t limit):
        self.limit = limit

    cdef Chunk take(self, Py_ssize_t size):
        """A chunk of at least ``size`` bytes: the next power of two from 16 KiB on."""
        cdef int which = size_class(size)
        cdef Chunk chunk = Chunk.__new__(Chunk)
        if which < SIZES and self.idle[which] != NULL:
            chunk.data = <unsigned char*>self.idle[which]
            memcpy(&self.idle[which], chunk.data, sizeof(void*))
            self.held -= <Py_ssize_t>LEAST << which
        else:
            chunk.data = <unsigned char*>malloc(<Py_ssize_t>LEAST << which)
            if chunk.data == NULL:
                raise MemoryError
        chunk.size = <Py_ssize_t>LEAST << which
        return chunk

    cdef void give_back(self, unsigned char* data, Py_ssize_t size) noexcept:
        cdef int which = size_class(size)
        if which >= SIZES or self.held + size > self.limit:
            free(data)
            return
        memcpy(data, &self.idle[which], sizeof(void*))
        self.idle[which] = data
        self.held += size


cdef Chunk take_chunk(Py_ssize_t size):
    return POOL.take(size)


def idle_bytes():
    """Bytes of read buffers that nobody holds, kept for the next who needs one."""
    return POOL.held


def lane_parts(parts, Py_ssize_t sent):
    """What a lane of ``parts`` gives a transport after the first ``sent`` bytes have left, for tests."""
    cdef Lane lane = Lane()
    for part in parts:
        lane.add(part)
    lane.consume(sent)
    return lane.take()
