"""APIs that no client of kproxy may use whatever its policy says, each refused in an answer of its own."""
from kproxy._ext.opening cimport Opening


# Answers with the code of the API's row, for everything it names; a request too long to be answered closes.
cdef int open_request(Opening opening) except -1
