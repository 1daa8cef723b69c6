"""What the audit and the metrics are told by the hot path, kept in native memory until somebody asks."""
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint64_t
from libcpp.string cimport string
from libcpp.vector cimport vector

from kproxy._ext.apis cimport APIS
from kproxy._ext.opening cimport NoteRow, Opening


# A run of offsets without a gap, written or read by one session.
cdef struct Run:
    int32_t partition
    int64_t first
    int64_t last
    int64_t records
    int64_t size


cdef cppclass FlowRow:
    string topic
    int8_t kind
    Run last                # the run that grows
    vector[Run] ended


# Where the row of a key is. A row is found with two looks into memory, since a busy session has many and uses each seldom.
cdef struct Place:
    uint64_t key
    int64_t row             # −1: nobody's


# Offsets, records and bytes of one session by topic, direction and partition, since the last time they were taken.
cdef class Flow:
    cdef vector[FlowRow] rows
    cdef vector[Place] places           # open addressing, a power of two, at most half full
    cdef readonly int runs
    cdef readonly double since
    cdef int add(self, NoteRow* note, double now) except -1
    cdef FlowRow* find(self, uint64_t key) noexcept     # NULL: a new one is to be added
    cdef FlowRow* begin(self, uint64_t key, NoteRow* note) except NULL
    cpdef dict take(self)


# The short way to the disk: a spool lends its open segment to the ledger as long as nothing else waits to be written and
# there is room. Anything out of the ordinary (an event, rotation, a full disk) takes it back and goes through the spool.
cdef class Pen:
    cdef public int fd
    cdef public long long room          # bytes that may be written without asking; 0: not lent
    cdef public long long written       # bytes the spool has not counted yet
    cdef public bint torn               # a write was cut short: the segment ends in half an entry
    cdef bint write(self, const char* data, Py_ssize_t size) noexcept


# The notes of one loop turn, for all connections of a worker. The spool has them before any of the turn's bytes leave.
cdef class Ledger:
    cdef readonly object spool
    cdef Pen pen                        # the spool's; None where it has none
    cdef vector[char] notes             # room for the head of a spool entry, then the notes
    cdef readonly bint refusing         # the spool is full and the configuration says refuse
    cdef int add(self, uint64_t session, int32_t correlation, NoteRow* row) noexcept
    cpdef bint commit(self) except -1   # false: what was noted could not be written
    cdef bint commit_through_spool(self) except -1


cdef enum Decision:
    ALLOWED = 0
    DENIED = 1
    ASKED = 2
    LOCAL = 3
    WOULD_DENY = 4

cdef enum:
    DECISIONS = 5
    BUCKETS = 18


# Counters of one listener in one worker.
cdef class Counters:
    cdef readonly str listener
    cdef int64_t requests[APIS][DECISIONS]
    cdef int64_t durations[APIS][BUCKETS + 1]       # the last bucket has no upper bound
    cdef double duration_sums[APIS]
    cdef int64_t bytes_in
    cdef int64_t bytes_out
    cdef int64_t records_in
    cdef int64_t records_out
    cdef void answered(self, int api, double seconds) noexcept
    cpdef dict read(self)
