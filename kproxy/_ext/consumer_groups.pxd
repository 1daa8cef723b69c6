"""Groups whose members a broker assigns (KIP-848, KIP-932). The rows are told in consumer_groups.pyx."""
from kproxy._ext.opening cimport Opening

cdef int open_request(Opening opening) except -1
cdef int open_response(Opening opening, object memo) except -1
