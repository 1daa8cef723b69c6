"""The order of answers. A broker answers in the order it was asked, and clients rely on that order, so an answer kproxy
gives by itself waits here until every earlier request has been answered. A produce with acks=0 has no slot.
"""
from libc.stdint cimport int16_t, int32_t, uint64_t

from kproxy._ext.opening cimport NoteRow, Opening


cdef enum:
    OWN = -1                # api_key of a request that kproxy asked for itself: nobody else gets the answer

# One produce partition between its request and its answer.
cdef struct Intent:
    uint64_t topic          # hash of the name: the answer names it again
    int32_t partition
    int32_t records
    int32_t size


cdef struct Slot:
    int16_t api_key
    int16_t api_version
    int32_t correlation
    double started              # Unix seconds
    # SAFETY: ``reply``, ``memo``, ``named`` and ``more`` are owned and given up by ``pop``.
    void* reply                 # a reference to bytes: answered here, waits for its turn
    void* memo                  # a reference: what the API module needs with the broker's answer
    void* named                 # a reference: id -> name of the topics it names by id
    Intent* more                # malloc'ed: the others than ``intent``
    Intent intent               # the first partition of a produce
    int intents
    int32_t throttle_ms         # what a quota made of the request; its answer tells it
    Py_ssize_t kept             # bytes all this takes until the answer, as far as a client decides on them


# A ring of slots.
cdef class Slots:
    # SAFETY: malloc'ed, owned; a Slot* is good until the next ``add``, which may move the ring.
    cdef Slot* ring
    cdef int first
    cdef int room
    cdef readonly int count
    cdef readonly Py_ssize_t waiting        # bytes kept for answers that are still to come, local ones included
    cdef Slot* head(self) noexcept
    cdef Slot* tail(self) noexcept
    cdef void keep(self, Slot* slot, Py_ssize_t size) noexcept
    cdef Slot* add(self, double now) except NULL
    cdef Slot* push(self, Opening opening, double now) except NULL
    cdef int push_own(self, double now) except -1
    cdef int push_reply(self, Opening opening, bytes frame, double now) except -1
    cdef int remember(self, Slot* slot, Opening opening) except -1
    cdef void recall(self, Slot* slot, Opening opening) noexcept
    cdef void pop(self) noexcept
    cdef int unanswered(self) noexcept


cdef Intent* find_intent(Slot* slot, NoteRow* row) noexcept
