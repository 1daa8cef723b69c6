"""Produce (key 0): authorise each topic for write, transform its records, merge what was refused into the answer."""
from kproxy._ext.opening cimport Opening

cdef int open_request(Opening opening) except -1
cdef int open_response(Opening opening, object memo) except -1
# In place of open_request while the audit can take nothing.
cdef int refuse_unaudited(Opening opening) except -1
