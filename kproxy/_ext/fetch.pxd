"""Fetch (key 1): sessionless consumer fetches only, authorised both ways, records transformed on the way out."""
from kproxy._ext.opening cimport Opening

cdef int open_request(Opening opening) except -1
cdef int open_response(Opening opening, object memo) except -1
