"""Transactions: AddPartitionsToTxn (24), AddOffsetsToTxn (25), EndTxn (26), TxnOffsetCommit (28)."""
from kproxy._ext.opening cimport Opening

cdef int open_request(Opening opening) except -1
cdef int open_response(Opening opening, object memo) except -1
