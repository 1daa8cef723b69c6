"""Decisions already taken, found again by resource, operation and name in the time of one hash.

    request ──► look_up ──► found and in time? ──► Cell
                   ▲              │ no
                   └── fill ◄── decide (Python, pure, once per cell and validity)

One table belongs to one session and one epoch: whoever changes the snapshot, the facts or the grants calls ``clear``.
"""
from cpython.object cimport PyObject
from libc.stdint cimport int8_t, int16_t, uint64_t


cdef enum Resource:
    RESOURCE_TOPIC = 2
    RESOURCE_GROUP = 3
    RESOURCE_CLUSTER = 4
    RESOURCE_TRANSACTIONAL_ID = 5
    RESOURCE_ANY_TOPIC = 100

# Kafka's ACL operation codes.
cdef enum Operation:
    OPERATION_READ = 3
    OPERATION_WRITE = 4
    OPERATION_CREATE = 5
    OPERATION_DELETE = 6
    OPERATION_ALTER = 7
    OPERATION_DESCRIBE = 8
    OPERATION_CLUSTER_ACTION = 9
    OPERATION_DESCRIBE_CONFIGS = 10
    OPERATION_ALTER_CONFIGS = 11
    OPERATION_IDEMPOTENT_WRITE = 12
    OPERATION_TWO_PHASE_COMMIT = 15

cdef enum Effect:
    EFFECT_ALLOW = 0
    EFFECT_DENY = 1
    EFFECT_ASK = 2


cdef struct Cell:
    int8_t effect           # EFFECT_*, what is in force
    int8_t would            # EFFECT_* of enforcing where the listener only observes; -1 elsewhere
    double valid_until      # Unix seconds; from then on the cell is decided anew
    # SAFETY: all borrowed: the table owns them until the cell is filled again or the table cleared.
    PyObject* verdict
    PyObject* plan          # NULL where records are not opened
    PyObject* safeguards    # NULL where there are none; of the verdict
    uint64_t hits           # look-ups answered


# A cell with its key. Entries never move, so that a Cell* stays good while the table around it grows.
cdef struct Entry:
    Cell cell
    double decided_at       # Unix seconds; a clock set back before it makes the cell stale
    uint64_t hash
    Py_ssize_t length
    int16_t resource
    int16_t operation
    unsigned char name[1]   # length bytes


cdef class PolicyTable:
    cdef object _decide             # (resource, operation, name, now) -> (Verdict, plan or None)
    # SAFETY: malloc'd by this table; freed by clear, by the second drop after, or with the table.
    cdef Entry** _slots             # open addressing, a power of two, at most half full
    cdef Py_ssize_t _mask           # slots - 1
    cdef Py_ssize_t _count          # entries
    cdef Py_ssize_t _bytes          # of their names
    cdef Py_ssize_t _most           # entries allowed
    # SAFETY: the entries of the last drop, owned until the next one: somebody may still hold a cell.
    cdef Entry** _retired
    cdef Py_ssize_t _retired_count
    cdef bint _deciding             # decide is running: the entry to be filled must stay where it is
    cdef readonly uint64_t drops    # times the table was full and began anew

    # The cell for this access, decided now if need be. Whatever ``decide`` raises passes through and nothing is kept.
    # The cell is good until ``clear``, or until the table has been full and dropped twice.
    cdef Cell* look_up(self, int resource, int operation, const unsigned char* name, Py_ssize_t length,
                       double now) except NULL
    cdef Entry* _fill(self, Entry* entry, uint64_t hash, int resource, int operation, const unsigned char* name,
                      Py_ssize_t length, double now) except NULL
    cdef int _place(self, Entry* entry) except -1
    cdef int _resize(self, Py_ssize_t slots) except -1
    cdef int _drop(self) except -1
    cdef void _free_retired(self) noexcept
    cpdef clear(self)
