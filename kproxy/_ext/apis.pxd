"""Every Kafka API kproxy serves: its name, its versions and the module that opens it. One row each, in apis.pyx."""
from kproxy._ext.opening cimport Opening

cdef enum:
    APIS = 128          # keys that have a row of counters; a higher one is never served

# By the key in ``opening.head``, which the session knows to be served.
cdef int open_request(Opening opening) except -1
cdef int open_response(Opening opening, object memo) except -1
# Whether a request that is not served is told so by ``open_request``, in the API's own answer.
cdef bint refuses(int key, int version) noexcept
# Whether every answer must be opened; any other goes on as it came unless something of its request was refused.
cdef bint opens_answers(int key) noexcept
