"""The only holder of sockets: the two ends of one session, and the turn in which their bytes leave.

    client ──► ClientHalf ──frames──► Session ──lanes──► Turn ──► the broker's Wire
    broker ──► BrokerHalf ──frames──► Session ──lanes──► Turn ──► the client's Wire

A read event only fills lanes. The turn runs once all that was ready has been taken: it has the ledger write the turn's
notes, and only then do the lanes go to the wires. There are two ways into a turn. What the event loop reads (a TLS
handshake, and a connection's first bytes) schedules one. What ``Sockets`` reads comes in looks, and each look ends with a turn: one entry
from Python serves all sockets that are ready, as long as there are any and nobody else has waited for too long.
"""
from kproxy._ext.half cimport Half
from kproxy._ext.ledger cimport Ledger
from kproxy._ext.session cimport Session
from kproxy._ext.sockets cimport Sockets


cdef class Turn:
    cdef object loop
    cdef Ledger ledger
    cdef list touched           # ClientHalf objects with something to write or to close
    cdef bint scheduled         # the loop will run it
    cdef bint woken             # the loop will look
    cdef bint looking           # a look is under way, and runs the turn itself
    cdef Sockets sockets        # None until the first wire moves its own bytes
    cdef int add(self, ClientHalf client) except -1
    cdef int schedule(self) except -1
    cdef int adopt(self, Half half) except -1


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
    cdef bint answer_asked      # and so is what session.answer_needs
    cdef bint closing
    cdef Py_ssize_t limit_before_login
    cdef Py_ssize_t limit
    cdef Py_ssize_t most_queued
    cdef readonly double connected_at
    cdef readonly double heard_at
    cdef double muted_until     # of the loop's clock
    cdef readonly object mute_timer     # None: not muted
    cdef readonly long long sent    # bytes handed to the client's wire so far
    cdef int after_events(self) except -1
    cdef int mute(self) except -1
    cdef int forget_mute(self) except -1
    cdef int balance(self) except -1
    cdef int take_frames(self, double now) except -1
    cdef int go_on(self, double now) except -1
    cdef bint stalled(self) noexcept
    cdef Py_ssize_t limit_of_answers(self) noexcept
    cdef int flush(self, bint noted, double now) except -1
