"""What is asked of a cluster as a whole: each API behind one permission on it. One row each, in cluster.pyx."""
from kproxy._ext.opening cimport Opening

cdef int open_request(Opening opening) except -1
cdef int open_response(Opening opening, object memo) except -1
