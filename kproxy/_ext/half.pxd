"""One end of a session: a read buffer, a wire and the reasons not to read from it.

    the event loop's transport ── get_buffer, buffer_updated ──►┐
                                                                ├─► chunk ── take() ──► ClientHalf or BrokerHalf
    Sockets ── on_readable ── Wire.receive ────────────────────►┘

How much is received at a time follows the frames. Small ones come many at once. Of large ones the end is aimed at, since
a frame must lie in one piece: what was received of one that no longer fits is moved to the next chunk.
"""
from kproxy._ext.chunk cimport Chunk
from kproxy._ext.sockets cimport End, Sockets, Wire
from kproxy._ext.tls_records cimport Records


cdef class Half(End):
    cdef readonly object transport
    cdef Wire wire
    cdef Sockets sockets        # where the wire belongs that may move the bytes; None: the transport does for ever
    cdef Records records
    cdef Chunk chunk
    cdef Py_ssize_t wanted      # size of the frame that has begun; 0 unknown
    cdef Py_ssize_t usual       # size of the last whole frame
    cdef Py_ssize_t room        # how much to receive now
    cdef bint full              # its wire has more queued than it likes
    cdef bint reading
    cdef int begin(self, object transport) except -1
    cdef int adopt(self, Sockets sockets, Records records) except -1
    cdef int on_hung_up(self) except -1     # the peer will say nothing more, and is not read from now
    cdef int make_room(self) except -1
    cdef int move(self, Py_ssize_t size) except -1
    cdef int take(self) except -1
    cdef int read_or_pause(self, bint may) except -1
    cdef int tidy(self) except -1
