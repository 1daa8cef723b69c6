"""What a produced batch must be like: the safeguards of one cell of the policy table, compiled.

``is_broken`` is the question of the hot path and builds nothing; ``judge`` says which safeguards a batch breaks and what
is to be done. Both look at the head of the batch, and at its records only where their size is limited.
"""
from libc.stdint cimport int32_t

cdef enum Judgement:
    BATCH_PASSES = 0
    BATCH_OVERRIDES = 1     # the request must ask for the acknowledgements of all
    BATCH_REFUSED = 2


# One safeguard. 0 is no limit.
cdef struct BatchLimit:
    int acks                # 1: of the leader at least; -1: of all
    int codecs              # bits by Kafka's numbers of those allowed
    bint idempotence
    int32_t most_batch      # bytes
    int32_t most_record


# A frame of ``length`` bytes begins: what is decompressed from here on is held against it.
cdef void begin_measuring(Py_ssize_t length) noexcept


cdef class BatchLimits:
    cdef readonly tuple safeguards      # SafeguardInForce, by name
    cdef BatchLimit* limits             # SAFETY: malloc'ed, owned; one for each safeguard
    cdef int count
    cdef object measures                # kproxy.model.settings.Limits, or None for the defaults
    # The error code of the first limit that the batch breaks, 0 for none.
    cdef int find_code(self, BatchLimit* limit, int acks, const unsigned char* batch, Py_ssize_t length) except -1
    # Bytes of the largest record, as far as it is larger than ``least``; negative where that cannot be told.
    cdef int32_t find_largest(self, const unsigned char* batch, Py_ssize_t length, int32_t least) except? -3
    # What is wrong, in words without anything that only the records know.
    cdef str say(self, int which, int code, int acks, const unsigned char* batch, Py_ssize_t length)
    cdef bint is_broken(self, int acks, const unsigned char* batch, Py_ssize_t length) except -1
    # What becomes of the batch. ``told`` gets (SafeguardInForce, what is done, why) of each safeguard that it breaks, and of
    # the first that refuses it ``refusal`` gets its code and text.
    cdef int judge(self, int acks, const unsigned char* batch, Py_ssize_t length, list told, list refusal) except -1
