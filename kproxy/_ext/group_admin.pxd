"""Groups as an administrator sees them: DescribeGroups (15), ListGroups (16), DeleteGroups (42), OffsetDelete (47)."""
from kproxy._ext.opening cimport Opening

cdef int open_request(Opening opening) except -1
cdef int open_response(Opening opening, object memo) except -1
