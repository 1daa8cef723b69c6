"""What a produced batch must be like; see the .pxd."""
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport calloc, free

from kproxy._ext.record_batch cimport BATCH_HEAD
from kproxy._ext.wire cimport load_i16, load_i32, load_i64

cdef extern from "record_sizes.hpp" namespace "kproxy":
    cdef cppclass Limits:
        size_t most_bytes, any_ratio, most_ratio
    cdef cppclass RecordSizes:
        @staticmethod
        RecordSizes& of_thread() except +
        void begin(size_t length)
        int64_t find_largest(const char* batch, size_t size, const Limits& limits) except +

cdef enum:
    MESSAGE_TOO_LARGE = 10
    INVALID_REQUIRED_ACKS = 21
    POLICY_VIOLATION = 44
    UNSUPPORTED_COMPRESSION_TYPE = 76
    INVALID_RECORD = 87
    LENGTH_AT = 8
    LENGTH_END = 12
    MAGIC_AT = 16
    ATTRIBUTES_AT = 21
    PRODUCER_ID_AT = 43
    CODEC_BITS = 7
    ALL = -1
    TOO_MUCH = -2

#: In the order of Kafka's numbers.
cdef tuple CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


cdef void begin_measuring(Py_ssize_t length) noexcept:
    RecordSizes.of_thread().begin(length)


cdef class BatchLimits:
    """``safeguards``: SafeguardInForce values of model/policy.py that say something of a produce. ``measures``: how much a
    batch may be decompressed to (settings.Limits), its defaults if None."""

    def __cinit__(self, tuple safeguards not None, measures=None):
        cdef BatchLimit* limit
        self.safeguards = safeguards
        self.measures = measures
        self.limits = <BatchLimit*>calloc(max(len(safeguards), 1), sizeof(BatchLimit))
        if self.limits == NULL:
            raise MemoryError
        for found in safeguards:
            asked = found.rule.produce
            limit = &self.limits[self.count]
            limit.acks = asked.acks
            for name in asked.compression:
                limit.codecs |= 1 << CODECS.index(name)
            limit.idempotence = asked.idempotence
            limit.most_batch = asked.max_batch_bytes
            limit.most_record = asked.max_record_bytes
            self.count += 1

    def __dealloc__(self):
        free(self.limits)

    cdef bint is_broken(self, int acks, const unsigned char* batch, Py_ssize_t length) except -1:
        cdef int i
        for i in range(self.count):
            if self.find_code(&self.limits[i], acks, batch, length) != 0:
                return True
        return False

    cdef int find_code(self, BatchLimit* limit, int acks, const unsigned char* batch, Py_ssize_t length) except -1:
        cdef int32_t largest
        if limit.acks != 0 and acks != ALL and (limit.acks == ALL or acks != 1):
            return INVALID_REQUIRED_ACKS
        if not (limit.codecs or limit.idempotence or limit.most_batch or limit.most_record):
            return 0
        # A broker takes exactly one batch of magic 2 and refuses the rest; what it would take must not be another one
        # than was looked at here.
        if (length < BATCH_HEAD or batch[MAGIC_AT] != 2
                or <Py_ssize_t>load_i32(batch + LENGTH_AT) + LENGTH_END != length):
            return INVALID_RECORD
        if limit.codecs and not limit.codecs >> (load_i16(batch + ATTRIBUTES_AT) & CODEC_BITS) & 1:
            return UNSUPPORTED_COMPRESSION_TYPE
        if limit.idempotence and load_i64(batch + PRODUCER_ID_AT) < 0:
            return POLICY_VIOLATION
        if limit.most_batch and length > limit.most_batch:
            return MESSAGE_TOO_LARGE
        if limit.most_record:
            largest = self.find_largest(batch, length, limit.most_record)
            if largest > limit.most_record or largest == TOO_MUCH:
                return MESSAGE_TOO_LARGE
            if largest < 0:
                return INVALID_RECORD
        return 0

    cdef int32_t find_largest(self, const unsigned char* batch, Py_ssize_t length, int32_t least) except? -3:
        cdef Limits limits
        if length - BATCH_HEAD <= least and not load_i16(batch + ATTRIBUTES_AT) & CODEC_BITS:
            return 0    # No record is larger than all of them.
        if self.measures is not None:
            limits.most_bytes = self.measures.records_max_bytes
            limits.any_ratio = self.measures.records_any_ratio_bytes
            limits.most_ratio = self.measures.records_max_ratio
        return <int32_t>RecordSizes.of_thread().find_largest(<const char*>batch, length, limits)

    cdef int judge(self, int acks, const unsigned char* batch, Py_ssize_t length, list told, list refusal) except -1:
        cdef int i, code, judgement = BATCH_PASSES
        for i in range(self.count):
            code = self.find_code(&self.limits[i], acks, batch, length)
            if code == 0:
                continue
            found = self.safeguards[i]
            why = self.say(i, code, acks, batch, length)
            action = "record" if found.observed else found.rule.action
            if action == "override" and acks == 0:
                # The client reads no answer, and a broker would give one.
                action = "refuse"
            told.append((found, action, why))
            if action == "override":
                judgement = max(judgement, BATCH_OVERRIDES)
            elif action == "refuse":
                if judgement != BATCH_REFUSED:
                    refusal[:] = code, build_text(found.rule, why)
                judgement = BATCH_REFUSED
        return judgement

    cdef str say(self, int which, int code, int acks, const unsigned char* batch, Py_ssize_t length):
        cdef BatchLimit* limit = &self.limits[which]
        rule = self.safeguards[which].rule.produce
        if code == INVALID_REQUIRED_ACKS:
            return f"acks is {acks}, and {'all is' if limit.acks == ALL else '1 or all is'} required"
        if code == UNSUPPORTED_COMPRESSION_TYPE:
            codec = load_i16(batch + ATTRIBUTES_AT) & CODEC_BITS
            has = CODECS[codec] if codec < len(CODECS) else "unknown"
            return f"the compression is {has}, and {' or '.join(rule.compression)} is required"
        if code == POLICY_VIOLATION:
            return "the producer is not idempotent (enable.idempotence)"
        if code == INVALID_RECORD:
            return "the batch cannot be read"
        if limit.most_batch and length > limit.most_batch:
            return f"the batch has {length} bytes, and {limit.most_batch} are allowed"
        return f"a record has more than {limit.most_record} bytes, or cannot be decompressed within the limits"

    def examine(self, int acks, bytes batch not None):
        """(whether it is broken, judgement, what is told, refusal) of one partition's records, for tests."""
        cdef list told = [], refusal = []
        begin_measuring(len(batch))
        broken = self.is_broken(acks, <const unsigned char*>batch, len(batch))
        begin_measuring(len(batch))
        judgement = self.judge(acks, <const unsigned char*>batch, len(batch), told, refusal)
        return broken, judgement, told, refusal


cdef str build_text(rule, str why):
    """The operator's words first, then what is wrong and whose rule it is."""
    return f"kproxy: {why} (safeguard {rule.name})" if not rule.message else f"{rule.message} ({why}; safeguard {rule.name})"
