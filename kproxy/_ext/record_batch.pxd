"""Record batches by their heads: what accounting needs, without a checksum or a decompression."""
from libc.stdint cimport int32_t, int64_t

cdef enum:
    BATCH_HEAD = 61         # bytes of a magic 2 batch before its records


cdef struct BatchSummary:
    int64_t first_offset    # -1: no whole batch
    int64_t last_offset
    int32_t records         # as the heads count them; control batches count none
    int32_t batches
    bint whole              # no partial batch at the end


# 0. A partial batch at the end is what a broker may send, so it only ends the walk. Magic 0 and 1 count as batches.
cdef int walk_batch_headers(const unsigned char* data, Py_ssize_t length, BatchSummary* out) noexcept nogil
