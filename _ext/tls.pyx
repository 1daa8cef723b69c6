"""TLS between a transport and its protocol; see the .pxd."""
cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.ref cimport Py_XDECREF
from libc.string cimport memcpy

from kproxy._ext.tls_context cimport X509, X509_NAME, BIO_METHOD, last_error

from kproxy.errors import CloseCause

cdef extern from "Python.h":
    PyObject* PyBytes_FromStringAndSize(const char*, Py_ssize_t) except NULL
    int _PyBytes_Resize(PyObject**, Py_ssize_t) except -1

cdef extern from "<openssl/ssl.h>" nogil:
    void SSL_free(SSL*)
    void SSL_set_bio(SSL*, BIO*, BIO*)
    int SSL_do_handshake(SSL*)
    int SSL_read(SSL*, void*, int)
    int SSL_peek(SSL*, void*, int)
    int SSL_write(SSL*, const void*, int)
    int SSL_has_pending(const SSL*)
    int SSL_shutdown(SSL*)
    int SSL_get_error(const SSL*, int)
    long SSL_get_verify_result(const SSL*)
    const char* SSL_get_version(const SSL*)
    const char* SSL_get_cipher_name(const SSL*)
    X509* SSL_get1_peer_certificate(const SSL*)
    int SSL_ERROR_WANT_READ, SSL_ERROR_ZERO_RETURN, SSL_ERROR_SYSCALL, X509_V_OK

cdef extern from "<openssl/x509v3.h>" nogil:
    const char* X509_verify_cert_error_string(long)
    X509_NAME* X509_get_subject_name(const X509*)
    int X509_NAME_print_ex(BIO*, const X509_NAME*, int, unsigned long)
    void X509_free(X509*)
    unsigned long XN_FLAG_RFC2253, ASN1_STRFLGS_ESC_MSB
    int X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
    int X509_V_ERR_CERT_HAS_EXPIRED, X509_V_ERR_CERT_NOT_YET_VALID

cdef extern from "<openssl/bio.h>":
    BIO_METHOD* BIO_meth_new(int, const char*)
    int BIO_meth_set_write(BIO_METHOD*, int (*)(BIO*, const char*, int) noexcept)
    int BIO_meth_set_read(BIO_METHOD*, int (*)(BIO*, char*, int) noexcept)
    int BIO_meth_set_ctrl(BIO_METHOD*, long (*)(BIO*, int, long, void*) noexcept)
    BIO* BIO_new(const BIO_METHOD*)
    const BIO_METHOD* BIO_s_mem()
    long BIO_get_mem_data(BIO*, char**)
    int BIO_free(BIO*)
    void BIO_set_data(BIO*, void*)
    void* BIO_get_data(BIO*)
    void BIO_set_init(BIO*, int)
    void BIO_set_retry_read(BIO*)
    void BIO_clear_retry_flags(BIO*)
    int BIO_TYPE_SOURCE_SINK, BIO_CTRL_FLUSH

cdef extern from "<openssl/err.h>" nogil:
    unsigned long ERR_peek_error()
    int ERR_GET_REASON(unsigned long)
    void ERR_clear_error()

cdef extern from "<openssl/sslerr.h>" nogil:
    int SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, SSL_R_CERTIFICATE_VERIFY_FAILED, SSL_AD_REASON_OFFSET

cdef enum:
    SCRATCH = 131072            # ciphertext of one read; a whole 64 KiB frame fits with its records' overhead
    RECORD = 16384              # the most plaintext one record holds (RFC 8446 section 5.1)
    OVERHEAD = 64               # head, tag and padding of a record: 22 bytes in TLS 1.3, 29 in 1.2 with AES-GCM
    LEAST_OUT = 512
    ALERT = 0x15
    HANDSHAKE_RECORD = 0x16

cdef bytearray scratch = bytearray(SCRATCH)
# SAFETY: of this module, which is never unloaded; used within one call of ``seal``.
cdef unsigned char stage[RECORD]


cdef int read_window(BIO* bio, char* data, int size) noexcept:
    cdef Window* window = <Window*>BIO_get_data(bio)
    cdef Py_ssize_t count = window.end - window.at
    BIO_clear_retry_flags(bio)
    if count <= 0:
        BIO_set_retry_read(bio)
        return -1
    if count > size:
        count = size
    memcpy(data, window.at, count)
    window.at += count
    return <int>count


cdef int grow(Window* window, Py_ssize_t more) noexcept:
    """Room for ``more`` bytes; 0 where there is no memory."""
    cdef Py_ssize_t wanted
    try:
        if window.out == NULL:
            wanted = max(more, <Py_ssize_t>LEAST_OUT)
            window.out = PyBytes_FromStringAndSize(NULL, wanted)
            window.filled = 0
            window.room = wanted
        elif window.room - window.filled < more:
            wanted = max(window.filled + more, 2 * window.room)
            _PyBytes_Resize(&window.out, wanted)
            window.room = wanted
    except MemoryError:
        return 0
    return 1


cdef int write_window(BIO* bio, const char* data, int size) noexcept:
    cdef Window* window = <Window*>BIO_get_data(bio)
    BIO_clear_retry_flags(bio)
    if not grow(window, size):
        return -1
    memcpy(PyBytes_AS_STRING(<object>window.out) + window.filled, data, size)
    window.filled += size
    return size


cdef long control_window(BIO* bio, int command, long number, void* about) noexcept:
    return 1 if command == BIO_CTRL_FLUSH else 0


cdef BIO_METHOD* build_method() noexcept:
    cdef BIO_METHOD* made = BIO_meth_new(BIO_TYPE_SOURCE_SINK, b"kproxy window")
    BIO_meth_set_read(made, read_window)
    BIO_meth_set_write(made, write_window)
    BIO_meth_set_ctrl(made, control_window)
    return made

# SAFETY: of this module, which is never unloaded.
cdef BIO_METHOD* METHOD = build_method()


@cython.final
cdef class TlsLink:
    """``on_failed(cause, detail)`` is called once when the handshake or a record fails, before the link closes itself if
    nobody else has. ``seconds`` is the handshake's deadline, ``host`` whom a client's link wants to reach.

    A server's ``inner`` is told of the connection at once, so that it is counted and can be ended; a client's when the
    handshake is done, because only then is the broker known to be the one that was meant.
    """

    def __cinit__(self, TlsContext context, inner, loop, double seconds, on_failed, on_ready=None, str host=""):
        self.context = context
        self.inner = inner
        self.loop = loop
        self.seconds = seconds
        self.on_failed = on_failed
        self.on_ready = on_ready
        self.buffered = hasattr(inner, "get_buffer")
        self.ssl = context.open(host)
        cdef BIO* bio = BIO_new(METHOD)
        if bio == NULL:
            raise MemoryError
        BIO_set_data(bio, &self.window)
        BIO_set_init(bio, 1)
        SSL_set_bio(self.ssl, bio, bio)

    def __dealloc__(self):
        if self.ssl != NULL:
            SSL_free(self.ssl)
        Py_XDECREF(self.window.out)

    # -- towards the transport ------------------------------------------------------------------------------------------

    def connection_made(self, transport):
        self.transport = transport
        self.deadline = self.loop.call_later(self.seconds, self.late)
        if self.context.server:
            self.told = True
            self.inner.connection_made(self)
        else:
            self.feed(NULL, 0)

    def get_buffer(self, hint):
        return scratch

    def buffer_updated(self, Py_ssize_t count):
        cdef bytes together
        if self.pending is None:
            # SAFETY: the scratch buffer is nobody else's until this call is over.
            self.feed(<const unsigned char*>PyByteArray_AS_STRING(scratch), count)
        else:
            together = self.pending + scratch[:count]
            self.pending = None
            self.feed(<const unsigned char*>PyBytes_AS_STRING(together), len(together))

    def eof_received(self):
        if self.state == HANDSHAKE:
            self.fail(CloseCause.TLS_HANDSHAKE_FAILED, "the other side closed during the handshake")
        elif self.state == OPEN and self.told:
            self.inner.eof_received()
        return False

    def connection_lost(self, error):
        self.end_deadline()
        if self.state == HANDSHAKE:
            self.fail(CloseCause.TLS_HANDSHAKE_FAILED, "the connection was lost during the handshake")
        self.state = ENDED
        self.closing = True
        self.pending = None
        self.held = None
        self.on_failed = self.on_ready = None
        if self.told:
            self.told = False
            self.inner.connection_lost(error)

    def pause_writing(self):
        if self.told:
            self.inner.pause_writing()

    def resume_writing(self):
        if self.told:
            self.inner.resume_writing()

    # -- towards the inner protocol ---------------------------------------------------------------------------------------

    def write(self, data):
        self.writelines((data,))

    def writelines(self, parts):
        if self.closing or self.state in (FAILED, ENDED):
            return
        if self.state == HANDSHAKE:
            self.held = (self.held or []) + [bytes(part) for part in parts]
            return
        self.seal(parts)
        self.flush()

    def pause_reading(self):
        self.paused = True
        self.transport.pause_reading()

    def resume_reading(self):
        if not self.paused:
            return
        self.paused = False
        self.transport.resume_reading()
        if not self.feeding:
            # Not now: whoever calls is in the middle of its own work and expects no bytes from inside of it.
            self.loop.call_soon(self.go_on)

    def go_on(self):
        """What had arrived before reading was paused."""
        cdef bytes left = self.pending
        if self.state != OPEN or self.paused:
            return
        self.pending = None
        if left is None:
            self.feed(NULL, 0)
        else:
            self.feed(<const unsigned char*>PyBytes_AS_STRING(left), len(left))

    def is_closing(self):
        return self.closing or self.transport.is_closing()

    def close(self):
        if self.closing:
            return
        self.closing = True
        if self.state == OPEN and not self.transport.is_closing():
            SSL_shutdown(self.ssl)
            self.flush()
        # The other side's farewell is not waited for: a peer may choose never to send it.
        self.transport.close()

    def abort(self):
        self.closing = True
        self.transport.abort()

    def late(self):
        if self.state == HANDSHAKE:
            self.fail(CloseCause.TLS_HANDSHAKE_TIMEOUT, f"the handshake took longer than {self.seconds:g} s")

    def get_extra_info(self, name, default=None):
        if name == "tls_version":
            return SSL_get_version(self.ssl).decode()
        if name == "tls_cipher":
            return SSL_get_cipher_name(self.ssl).decode()
        return self.transport.get_extra_info(name, default)

    def set_write_buffer_limits(self, high=None, low=None):
        self.transport.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self):
        return self.transport.get_write_buffer_size()

    # -- at work ----------------------------------------------------------------------------------------------------------

    cdef int feed(self, const unsigned char* data, Py_ssize_t length) except -1:
        """Takes ciphertext as far as it goes, and sends what that brings up. Never called from inside itself."""
        cdef Py_ssize_t left
        if self.state in (FAILED, ENDED):
            return 0
        if self.state == HANDSHAKE and length and self.window.at == NULL and data[0] != HANDSHAKE_RECORD \
                and data[0] != ALERT:
            self.fail(CloseCause.PLAINTEXT_ON_TLS, "what came is no TLS")
            return 0
        self.window.at = data
        self.window.end = data + length
        self.feeding = True
        try:
            ERR_clear_error()
            if self.state == HANDSHAKE:
                self.shake()
            if self.state == OPEN:
                self.pump()
            self.flush()
        finally:
            self.feeding = False
            left = self.window.end - self.window.at
            if left > 0 and self.state == OPEN:
                self.pending = (<const char*>self.window.at)[:left]
            self.window.at = self.window.end
        return 0

    cdef int shake(self) except -1:
        cdef int status = SSL_do_handshake(self.ssl)
        if status != 1:
            return self.on_stop(status)
        self.state = OPEN
        self.end_deadline()
        self.peer = self.read_peer()
        if not self.told:
            self.told = True
            self.inner.connection_made(self)
        if self.on_ready is not None:
            self.on_ready()
        if self.held:
            self.seal(self.held)
            self.held = None
        return 0

    cdef int pump(self) except -1:
        """Plaintext to inner, until there is no more or inner does not want it."""
        cdef Py_buffer view
        cdef Py_ssize_t got
        cdef int status
        cdef unsigned char one
        if self.is_dry():
            return 0
        while self.state == OPEN and not self.paused and not self.closing:
            # Looked at first, because inner's buffer is taken from a pool, and a session ticket needs none of it.
            status = SSL_peek(self.ssl, &one, 1)
            if status <= 0:
                return self.on_stop(status)
            if self.buffered:
                room = self.inner.get_buffer(-1)
                PyObject_GetBuffer(room, &view, PyBUF_WRITABLE)
                got = self.read_into(<unsigned char*>view.buf, view.len)
                PyBuffer_Release(&view)
                self.inner.buffer_updated(got)
            else:
                got = self.read_into(stage, RECORD)
                self.inner.data_received((<const char*>stage)[:got])
            if self.is_dry():
                return 0
        return 0

    cdef bint is_dry(self) noexcept:
        """Nothing is left to decrypt: asking OpenSSL would cost as much as a small record does."""
        return self.window.at == self.window.end and not SSL_has_pending(self.ssl)

    cdef Py_ssize_t read_into(self, unsigned char* room, Py_ssize_t size) noexcept:
        """As many records as there are and fit. One byte at least is known to be there; what stops it shows next time."""
        cdef Py_ssize_t got = 0
        cdef int count = 1
        while got < size and count > 0 and not (got and self.is_dry()):
            count = SSL_read(self.ssl, room + got, <int>min(size - got, <Py_ssize_t>0x40000000))
            got += max(count, 0)
        if count <= 0:
            ERR_clear_error()
        return got

    cdef int on_stop(self, int status) except -1:
        cdef int error = SSL_get_error(self.ssl, status)
        if error == SSL_ERROR_WANT_READ:
            return 0
        if error == SSL_ERROR_ZERO_RETURN and self.state == OPEN:
            self.inner.eof_received()
            self.close()
            return 0
        cause, detail = self.explain()
        return self.fail(cause, detail)

    cdef int seal(self, object parts) except -1:
        """Small parts share records: each record costs a head, a tag and the start of the cipher."""
        cdef Py_buffer view
        cdef Py_ssize_t total = 0, staged = 0
        cdef int good = 1
        for part in parts:
            total += len(part)
        if not grow(&self.window, total + (total // RECORD + 2) * OVERHEAD):
            raise MemoryError
        ERR_clear_error()
        for part in parts:
            PyObject_GetBuffer(part, &view, PyBUF_SIMPLE)
            good = self.seal_part(<const unsigned char*>view.buf, view.len, &staged)
            PyBuffer_Release(&view)
            if not good:
                break
        if good and staged:
            good = SSL_write(self.ssl, stage, <int>staged) > 0
        if not good:
            cause, detail = self.explain()
            return self.fail(cause, detail)
        return 0

    cdef int seal_part(self, const unsigned char* data, Py_ssize_t length, Py_ssize_t* staged) noexcept:
        cdef Py_ssize_t at = 0, count
        while at < length:
            if staged[0] == 0 and length - at >= RECORD:
                count = min((length - at) // RECORD * RECORD, <Py_ssize_t>0x40000000)
                if SSL_write(self.ssl, data + at, <int>count) <= 0:
                    return 0
            else:
                count = min(RECORD - staged[0], length - at)
                memcpy(stage + staged[0], data + at, count)
                staged[0] += count
                if staged[0] == RECORD:
                    staged[0] = 0
                    if SSL_write(self.ssl, stage, RECORD) <= 0:
                        return 0
            at += count
        return 1

    cdef int flush(self) except -1:
        cdef PyObject* made = self.window.out
        if made == NULL:
            return 0
        self.window.out = NULL
        if self.window.filled != self.window.room:
            _PyBytes_Resize(&made, self.window.filled)
        sealed = <object>made
        Py_XDECREF(made)
        if self.window.filled and not self.transport.is_closing():
            self.transport.write(sealed)
        return 0

    # -- what went wrong ------------------------------------------------------------------------------------------------

    cdef int fail(self, object cause, str detail) except -1:
        if self.state in (FAILED, ENDED):
            return 0
        self.state = FAILED
        self.end_deadline()
        self.flush()
        on_failed, self.on_failed = self.on_failed, None
        if on_failed is not None:
            on_failed(str(cause), detail)
        if not self.told:
            self.transport.close()
        return 0

    cdef int end_deadline(self) except -1:
        deadline, self.deadline = self.deadline, None
        if deadline is not None:
            deadline.cancel()
        return 0

    cdef tuple explain(self):
        """(cause, detail) of the newest failure."""
        cdef int reason = ERR_GET_REASON(ERR_peek_error())
        cdef long verified = SSL_get_verify_result(self.ssl)
        cdef str detail = last_error() or "the connection broke"
        if reason > SSL_AD_REASON_OFFSET:
            return CloseCause.TLS_REFUSED_BY_PEER, detail       # An alert; in TLS 1.3 it may come after our handshake.
        if self.state == OPEN:
            return CloseCause.TLS_BROKEN, detail
        if reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
            return CloseCause.TLS_CLIENT_CERTIFICATE, detail
        if reason == SSL_R_CERTIFICATE_VERIFY_FAILED:
            detail = X509_verify_cert_error_string(verified).decode()
            if self.context.server:
                return CloseCause.TLS_CLIENT_CERTIFICATE, detail
            if verified in (X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH):
                return "tls_hostname_mismatch", detail
            if verified in (X509_V_ERR_CERT_HAS_EXPIRED, X509_V_ERR_CERT_NOT_YET_VALID):
                return "tls_certificate_ended", detail
            return "tls_untrusted", detail
        return CloseCause.TLS_HANDSHAKE_FAILED, detail

    def read_peer(self):
        """The subject of the other side's certificate if it showed one; it has been verified then."""
        cdef X509* certificate = SSL_get1_peer_certificate(self.ssl)
        cdef BIO* bio
        cdef char* text
        cdef long length
        if certificate == NULL:
            return None
        bio = BIO_new(BIO_s_mem())
        X509_NAME_print_ex(bio, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB)
        length = BIO_get_mem_data(bio, &text)
        subject = text[:length].decode("utf-8", "replace")
        BIO_free(bio)
        X509_free(certificate)
        return subject
