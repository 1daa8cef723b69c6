"""Framing: is there a whole frame, and how long is it? Asked again with more bytes until the answer is FRAME or an
error."""


cdef enum Framed:
    FRAME = 0           # ``size`` bytes are there: a whole frame
    NEED_DATA = 1       # ``size`` bytes make the frame; 4 while its size field is not whole
    TOO_BIG = 2         # the frame says it is longer than the limit
    BAD_LENGTH = 3      # zero or less


# ``have`` bytes are at ``data``; ``limit`` is the most a frame may hold after its 4 size bytes, which ``size`` counts
# too. Nothing is allocated here, so a length is checked before anybody makes room for it.
cdef int scan_frame(const unsigned char* data, Py_ssize_t have, Py_ssize_t limit, Py_ssize_t* size) noexcept nogil
