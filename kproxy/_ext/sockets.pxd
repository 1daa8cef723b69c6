"""The bytes of connections, moved natively: one epoll of the worker beside the event loop's.

    event loop ── accepts, connects, closes ──► transport ──lends its descriptor──► Wire ◄──ready── Sockets (epoll)
                                                                                     │ recv into a chunk
                                                                  End (a half) ◄─────┤
                                                                                     └ send from a lane

A transport keeps its socket: it opens it, names it, closes it and tells of its loss. Once a Wire has taken its bytes over
it reads and writes nothing any more. A Wire that has not (a TLS handshake, or another loop's transport) passes everything
on to the transport, so that an End need not know which of both it has:

    PASSED ON ──take_over──► OWN ──close──► CLOSING ──rest sent──► the transport is closed
        └──close──► the transport closes      └──abort, or the connection is lost──► what was left is dropped

The epoll is edge-triggered, every descriptor is added once and none is changed: not to read is not to call recv. So a
wire remembers what the kernel said last (``readable``, ``hung_up``), and one that has more than its share of a round is
listed to be read again in the next. Where there is TLS the End still sees plaintext, and ``rest`` is ciphertext.
"""
from kproxy._ext.chunk cimport Lane
from kproxy._ext.tls_records cimport Records


# Who is told of a wire. Each method may close or abort it.
cdef class End:
    cdef int on_readable(self) except -1        # call Wire.receive until it gives 0 or the end has enough
    cdef int on_full(self) except -1            # more waits to be sent than the peer should be given
    cdef int on_room(self) except -1            # most of that is gone
    cdef int on_failed(self, object error) except -1    # one of the above raised


cdef enum:
    ENOUGH = 64         # Wire.left: this much or more
    LOST = -1           # Wire.receive: nothing more will come. Unless the wire is closing, the peer said so itself
    HIGH_WATER = 1048576
    LOW_WATER = 262144


cdef class Wire:
    cdef object transport
    cdef Sockets sockets
    cdef End end
    cdef Lane rest              # what the kernel has not taken yet
    cdef Records records        # of the TLS connection; None: plaintext
    cdef int fd                 # −1: the transport moves the bytes
    cdef bint readable
    cdef bint hung_up
    cdef bint listed            # in Sockets.again
    cdef bint full
    cdef bint closing
    cdef bint has_more(self) noexcept           # receive may have something to give
    cdef Py_ssize_t receive(self, unsigned char* room, Py_ssize_t size) except -2
    cdef Py_ssize_t left(self) noexcept         # bytes that have come and were not received, ciphertext where there is TLS
    cdef int send(self, Lane lane) except -1    # takes all of it
    cdef int write(self, object data) except -1
    cdef int pause(self) except -1
    cdef int resume(self) except -1
    cdef int close(self) except -1
    cdef int abort(self) except -1
    cdef int lost(self) except -1               # the transport says so
    cdef long long queued(self) except -1       # bytes this process still holds
    cdef int take_over(self, Sockets sockets, Records records) except -1
    cdef Py_ssize_t hear(self, unsigned char* room, Py_ssize_t size) except -2
    cdef Py_ssize_t open_records(self, unsigned char* room, Py_ssize_t size) except -2
    cdef int break_off(self) except -1
    cdef int push_or_keep(self, Lane lane) except -1
    cdef int push(self, Lane lane) except -2
    cdef int drain(self) except -1
    cdef int let_go(self) except -1


cdef class Sockets:
    cdef int epoll
    cdef set wires              # all that the kernel knows the address of
    cdef list gone              # let go in this round; the kernel may have told of them before
    cdef list again             # have more to read than they were given this time
    cdef Py_ssize_t received    # bytes of the present look
    cdef object wake            # called when a wire is listed outside of a look
    cdef bint looking
    cdef int look(self) except -1
    cdef int send_rest(self, Wire wire) except -1
    cdef int read_from(self, Wire wire) except -1
    cdef int read_again(self, Wire wire) except -1
