"""The only holder of sockets: two transports of one session, and the turn in which their bytes leave.

    client ──► ClientHalf ──frames──► Session ──lanes──► Turn ──writelines──► broker transport
    broker ──► BrokerHalf ──frames──► Session ──lanes──► Turn ──writelines──► client transport

A read event only fills lanes. The turn runs once the loop has taken all that was ready: it has the ledger write the
turn's notes, and only then do the lanes go to the transports.
"""
from kproxy._ext.chunk cimport Chunk
from kproxy._ext.ledger cimport Ledger
from kproxy._ext.session cimport Session


cdef class Turn:
    cdef object loop
    cdef Ledger ledger
    cdef list touched           # ClientHalf objects with something to write or to close
    cdef bint scheduled
    cdef int add(self, ClientHalf client) except -1


# One end of a session: a read buffer, a transport and the reasons not to read from it.
cdef class Half:
    cdef readonly object transport
    cdef Chunk chunk
    cdef Py_ssize_t wanted      # size of the frame that has begun; 0 unknown
    cdef bint full              # its transport has more queued than it likes
    cdef bint reading
    cdef long long received
    cdef int take(self) except -1
    cdef int read_or_pause(self, bint may) except -1
    cdef int tidy(self) except -1


cdef class BrokerHalf(Half):
    cdef ClientHalf client
    cdef object login           # what speaks first on the connection; None once the session's frames flow
    cdef object renewal         # the same, when the broker wants to hear it again on the live connection (KIP-368)
    cdef bint renewing          # it is speaking: no frame of the client's may come between
    cdef take_login(self, Py_ssize_t size)
    cdef int take_renewal(self, Py_ssize_t size, double now) except -1


cdef class ClientHalf(Half):
    cdef readonly Session session
    cdef readonly BrokerHalf broker
    cdef readonly object shell
    cdef Turn turn
    cdef bint touched           # in the turn's list
    cdef bint asked             # the ticket in session.waiting is with the shell
    cdef bint closing
    cdef Py_ssize_t limit_before_login
    cdef Py_ssize_t limit
    cdef Py_ssize_t most_queued
    cdef readonly double connected_at
    cdef readonly double heard_at
    cdef readonly long long sent    # bytes handed to the client's transport so far
    cdef int after_events(self) except -1
    cdef take_frames(self, double now)
    cdef int go_on(self) except -1
    cdef bint stalled(self) noexcept
    cdef Py_ssize_t limit_of_answers(self) noexcept
    cdef int flush(self, bint noted, double now) except -1
