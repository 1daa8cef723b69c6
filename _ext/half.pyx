"""One end of a session: its read buffer, its wire and the reasons not to read; see the .pxd."""
from cpython.buffer cimport PyBuffer_FillInfo
from libc.string cimport memcpy

from kproxy._ext.chunk cimport take_chunk
from kproxy._ext.sockets cimport HIGH_WATER, LOST

cdef enum:
    CHUNK = 262144
    LEAST_ROOM = 16384          # below this a read would come in crumbs
    LARGE = 16384               # from this size on a frame's end is aimed at, so that little of the next must be moved
    AHEAD = 4096                # read behind the frame that is aimed at: the next one's head, or all of some small ones
    MOST_EXPECTED = 2097152     # a frame that has not begun yet is given no more room than this
    MOST_BELIEVED = 67108864    # what a frame says of its size is room at once up to here
    SHARE = 524288              # bytes one end may read before others have their turn


cdef class Half(End):
    cdef int begin(self, object transport) except -1:
        self.transport = transport
        self.wire = Wire(self, transport)
        transport.set_write_buffer_limits(high=HIGH_WATER)
        return 0

    cdef int adopt(self, Sockets sockets, Records records) except -1:
        """The wire is to move the bytes itself as soon as it can: ``take_over``, and whenever the transport has read."""
        self.sockets = sockets
        self.records = records
        return 0

    def take_over(self):
        if self.transport is not None:
            self.wire.take_over(self.sockets, self.records)

    # -- reading --------------------------------------------------------------------------------------------------------

    cdef int on_readable(self) except -1:
        cdef Py_ssize_t got, left = SHARE
        while self.reading and self.wire.has_more():
            if left <= 0:
                return self.wire.sockets.read_again(self.wire)
            self.make_room()
            got = self.wire.receive(self.chunk.data + self.chunk.filled, self.room)
            if got > 0:
                left -= got
                self.chunk.filled += got
                self.take()
                continue
            self.tidy()
            if got == LOST and not self.wire.closing:
                self.eof_received()
                self.wire.close()
        return 0 if self.reading or not self.wire.hung_up else self.on_hung_up()

    cdef int on_hung_up(self) except -1:
        return 0

    cdef int make_room(self) except -1:
        """A chunk with ``room`` behind what is filled. Where frames are large the room ends shortly behind one: what is
        received of the next has to be moved when it does not fit into this chunk. A frame that says it is huge gets
        room as it comes, twice what it has: four bytes do not take gigabytes."""
        cdef Chunk old = self.chunk
        cdef Py_ssize_t have = 0 if old is None else old.filled - old.start
        cdef Py_ssize_t expected = self.wanted if self.wanted > 4 else min(self.usual, <Py_ssize_t>MOST_EXPECTED)
        cdef Py_ssize_t aim
        expected = min(expected, max(2 * have, <Py_ssize_t>MOST_BELIEVED))
        if expected < LARGE:
            if old is None or old.size - old.filled < LEAST_ROOM:
                self.move(max(<Py_ssize_t>CHUNK, have + LEAST_ROOM))
            self.room = self.chunk.size - self.chunk.filled
            return 0
        aim = expected * max(<Py_ssize_t>1, CHUNK // expected) + AHEAD
        if old is None or old.size - old.start < max(expected, have + 1):
            self.move(max(max(<Py_ssize_t>CHUNK, aim), have + LEAST_ROOM))
        self.room = min(max(aim - have, <Py_ssize_t>AHEAD), self.chunk.size - self.chunk.filled)
        return 0

    cdef int move(self, Py_ssize_t size) except -1:
        """A fresh chunk, and in it what has begun in the old one."""
        cdef Chunk old = self.chunk
        self.chunk = take_chunk(size)
        if old is not None:
            self.chunk.filled = old.filled - old.start
            memcpy(self.chunk.data, old.data + old.start, self.chunk.filled)
        return 0

    def __getbuffer__(self, Py_buffer* view, int flags):
        # SAFETY: the transport fills this room before the next buffer_updated and lets go; the chunk is held meanwhile,
        # and moves only in get_buffer.
        PyBuffer_FillInfo(view, self, self.chunk.data + self.chunk.filled, self.room, 0, flags)

    def get_buffer(self, hint):
        self.make_room()
        return self

    def buffer_updated(self, Py_ssize_t count):
        self.chunk.filled += count
        self.take()
        if self.sockets is not None:
            self.take_over()

    cdef int take(self) except -1:
        raise NotImplementedError

    cdef int read_or_pause(self, bint may) except -1:
        if may == self.reading or self.transport is None or self.wire.closing:
            return 0
        self.reading = may
        return self.wire.resume() if may else self.wire.pause()

    cdef int tidy(self) except -1:
        """A buffer with nothing unfinished in it goes back, so that idle connections hold none."""
        if self.chunk is not None and self.chunk.start == self.chunk.filled:
            self.chunk = None
            self.wanted = 0
        return 0

    def eof_received(self):
        return False

    # -- writing --------------------------------------------------------------------------------------------------------

    def queued(self):
        """Bytes for this end that have not left the process yet."""
        return self.wire.queued()

    def pause_writing(self):
        self.on_full()

    def resume_writing(self):
        self.on_room()
