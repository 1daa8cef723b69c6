"""Quotas: what a session may use, from budgets that all workers of a node share.

A budget is a rate; a session uses several, its principal's and those of its roles, and waits for the one that is
furthest behind. Kafka's way of waiting (KIP-219): the answer goes out at once and says how long, and the connection is
not read for that time. Nothing is refused, and nothing here is touched by sessions without a quota.
"""
from libc.stdint cimport int32_t, int64_t, uint64_t

from kproxy._ext.opening cimport Opening


cdef extern from "shared_budgets.hpp" namespace "kproxy" nogil:
    cppclass CBudget "kproxy::Budget":
        pass
    cppclass Holder:
        pass
    cppclass Table "kproxy::SharedBudgets":
        pass


cdef enum Kind:
    PRODUCED = 0        # bytes
    CONSUMED = 1        # bytes
    REQUESTS = 2


# One quota's place in a session: its shared row, and what it gives a second; 0: as much as there is.
cdef struct Line:
    CBudget* row        # SAFETY: in the table that the session's ``shared`` keeps, or in one of its spare rows
    double[3] rates


cdef class SharedQuotas:
    cdef object memory          # an mmap: kept, because ``table`` points into it
    cdef Table* table           # SAFETY: ``memory``'s, which is never closed
    cdef object spare           # {key: bytearray} where the table is full: this worker's own rows
    cdef CBudget* find(self, uint64_t key) except NULL
    cdef Holder* own_row(self, uint64_t key, object alive) except? NULL


# What a quota made wait, on this worker.
cdef class Tally:
    cdef readonly str name
    cdef readonly long throttled        # requests
    cdef readonly double seconds


cdef class Budgets:
    cdef SharedQuotas shared
    cdef Line* lines            # SAFETY: malloc'ed, owned
    cdef int count
    cdef tuple tallies
    cdef double use(self, int kind, double amount) noexcept
    cdef double on_request(self, int api_key, Py_ssize_t size) noexcept
    cdef double on_answer(self, int api_key, Py_ssize_t size) noexcept


# Writes the milliseconds into an answer of the broker where it has room for them. ``walked``: its marks are there.
cdef int tell_throttle(Opening opening, int32_t milliseconds, bint walked) noexcept
# What an answer of the broker, whose marks are there, says by now.
cdef int32_t read_throttle(Opening opening) noexcept
# Tells them in an answer that kproxy has built to what ``opening`` is about; gives the frame.
cdef bytes with_throttle(Opening opening, bytes answer, int32_t milliseconds)
