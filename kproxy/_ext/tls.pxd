"""TLS between a transport and its protocol: to the transport a protocol, to the protocol (``inner``) a transport.

    transport ──ciphertext──► TlsLink ──plaintext──► inner          HANDSHAKE ──► SECURED ──► ENDED
    transport ◄─ciphertext─── TlsLink ◄──plaintext── inner               └── FAILED: told once, nothing more is read

It makes the handshake and tells what failed; Records decrypts straight into the buffer of ``inner`` and encrypts straight
into what the transport is given. When the handshake is done a Wire may take the bytes over (see sockets.pxd): it uses the
same records, and the link is left with the connection's end.
"""
from kproxy._ext.tls_context cimport TlsContext
from kproxy._ext.tls_records cimport Records


cdef enum TlsState:
    HANDSHAKE = 0
    SECURED = 1
    FAILED = 2
    ENDED = 3


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
    cdef readonly Records records
    cdef list held                      # plaintext written before the handshake was done
    cdef bint buffered                  # inner takes get_buffer and buffer_updated
    cdef bint told                      # inner knows of the connection
    cdef bint feeding
    cdef bint paused
    cdef bint closing
    cdef int feed(self, const unsigned char* data, Py_ssize_t length) except -1
    cdef int work(self) except -1
    cdef int shake(self) except -1
    cdef int pump(self) except -1
    cdef int seal(self, object parts) except -1
    cdef int flush(self) except -1
    cdef int fail(self, tuple why) except -1
    cdef int end_deadline(self) except -1
