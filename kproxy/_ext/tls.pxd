"""TLS between a transport and its protocol: to the transport a protocol, to the protocol (``inner``) a transport.

    transport ──ciphertext──► TlsLink ──plaintext──► inner          HANDSHAKE ──► OPEN ──► ENDED
    transport ◄─ciphertext─── TlsLink ◄──plaintext── inner               └── FAILED: told once, nothing more is read

What arrives is decrypted straight into the buffer of ``inner``, and what leaves is encrypted straight into the bytes the
transport is given. Between two events a link holds no buffer: received ciphertext stands in one scratch buffer that all
links share, because it is used up before the loop reads for anybody else; only a paused link keeps what is left of it.
"""
from cpython.object cimport PyObject

from kproxy._ext.tls_context cimport BIO, SSL, TlsContext


cdef enum TlsState:
    HANDSHAKE = 0
    OPEN = 1
    FAILED = 2
    ENDED = 3


# Where OpenSSL's BIO reads from and writes to while a link is at work.
cdef struct Window:
    const unsigned char* at         # SAFETY: of the scratch buffer or of ``pending``, for one call of ``feed``
    const unsigned char* end
    PyObject* out                   # owned: bytes being filled, NULL none
    Py_ssize_t filled
    Py_ssize_t room


cdef class TlsLink:
    cdef readonly object transport
    cdef readonly object inner
    cdef readonly int state
    cdef readonly str peer              # subject of the verified certificate of the other side, as RFC 4514 writes it
    cdef TlsContext context
    cdef object loop
    cdef object on_failed               # on_failed(cause, detail), once
    cdef object on_ready                # on_ready(), when the handshake is done
    cdef object deadline                # the timer of the handshake
    cdef double seconds
    cdef SSL* ssl                       # SAFETY: owned, freed with the link
    cdef Window window
    cdef bytes pending                  # ciphertext that arrived while inner was not to be read for
    cdef list held                      # plaintext written before the handshake was done
    cdef bint buffered                  # inner takes get_buffer and buffer_updated
    cdef bint told                      # inner knows of the connection
    cdef bint feeding
    cdef bint paused
    cdef bint closing
    cdef int feed(self, const unsigned char* data, Py_ssize_t length) except -1
    cdef int shake(self) except -1
    cdef int pump(self) except -1
    cdef bint is_dry(self) noexcept
    cdef Py_ssize_t read_into(self, unsigned char* room, Py_ssize_t size) noexcept
    cdef int on_stop(self, int status) except -1
    cdef int seal(self, object parts) except -1
    cdef int seal_part(self, const unsigned char* data, Py_ssize_t length, Py_ssize_t* staged) noexcept
    cdef int flush(self) except -1
    cdef int fail(self, object cause, str detail) except -1
    cdef int end_deadline(self) except -1
    cdef tuple explain(self)
