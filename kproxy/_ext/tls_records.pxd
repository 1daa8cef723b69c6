"""The records of one TLS connection: ciphertext in and plaintext out, plaintext in and ciphertext out. It knows no
socket, no loop and no protocol; who moves the bytes is a TlsLink before its transport, or a Wire.

    take ──ciphertext──► window ──receive──► the caller's room        (RFC 8446 section 5: records of 16 KiB at most)
    take_out ◄──ciphertext── out ◄──seal── a lane of plaintext

Between two events a connection holds no buffer: received ciphertext stands in a buffer that all share, and only what was
not wanted yet is kept (``keep``).
"""
from kproxy._ext.chunk cimport Chunk, Lane
from kproxy._ext.tls_context cimport BIO, SSL, TlsContext


cdef enum:
    RECORD = 16384              # the most plaintext one record holds (RFC 8446 section 5.1)
    SCRATCH = 131072            # ciphertext of one read; a whole 64 KiB frame fits with its records' overhead
    FAREWELL = -1               # Records.receive: the other side has said that it sends nothing more
    BROKEN = -2                 # Records.receive and seal: see ``why``


# Where OpenSSL's BIO reads from.
cdef struct Window:
    const unsigned char* at         # SAFETY: of whoever called ``take``, until ``keep``; then of ``kept``
    const unsigned char* end


cdef class Records:
    cdef TlsContext context
    cdef SSL* ssl                       # SAFETY: owned, freed with the records
    cdef Window window
    cdef bytes kept                     # what ``window`` is of, where nobody else holds it
    cdef Chunk out                      # ciphertext for the other side; None none
    cdef int stopped                    # FAREWELL or BROKEN, once what came before it has been given out
    cdef readonly tuple why             # (cause, detail) of what broke
    cdef bint opened                    # the handshake is done
    cdef readonly object place          # what the context's ``find_place`` gave for the name that the client asked for
    cdef tuple turned_away              # (cause, detail) where it raised
    cdef int shake(self) except -3                              # 1 done, 0 wants more, BROKEN
    cdef int take(self, const unsigned char* data, Py_ssize_t length) except -1
    cdef int keep(self) except -1       # the bytes given to ``take`` are about to go
    cdef bint is_dry(self) noexcept     # ``receive`` has nothing to give
    cdef Py_ssize_t receive(self, unsigned char* room, Py_ssize_t size) except -3   # 0: wants more
    cdef int seal(self, Lane lane) except -3                    # into ``out``; the lane is empty then. 0, BROKEN
    cdef int seal_part(self, const unsigned char* data, Py_ssize_t length, Py_ssize_t* staged) noexcept
    cdef int say_farewell(self) except -1
    cdef int take_out(self, Lane lane) except -1                # moves ``out`` to the end of the lane
    cdef int stop(self, int status) except -3
    cdef tuple explain(self)
    cdef str read_peer(self)


# Where ciphertext is received to: of whoever received last, until somebody else does.
cdef bytearray scratch_room()
