"""The records of one TLS connection, by OpenSSL; see the .pxd."""
cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.string cimport memcpy

from kproxy._ext.chunk cimport take_chunk
from kproxy._ext.tls_context cimport BIO_METHOD, SSL_CTX, X509, X509_NAME, last_error

from kproxy.errors import CloseCause

cdef extern from "<openssl/ssl.h>" nogil:
    void SSL_free(SSL*)
    void SSL_set_bio(SSL*, BIO*, BIO*)
    int SSL_do_handshake(SSL*)
    int SSL_read(SSL*, void*, int)
    int SSL_write(SSL*, const void*, int)
    int SSL_pending(const SSL*)
    int SSL_shutdown(SSL*)
    int SSL_get_error(const SSL*, int)
    long SSL_get_verify_result(const SSL*)
    const char* SSL_get_version(const SSL*)
    const char* SSL_get_cipher_name(const SSL*)
    X509* SSL_get1_peer_certificate(const SSL*)
    BIO* SSL_get_rbio(const SSL*)
    int SSL_client_hello_get0_ext(SSL*, unsigned int, const unsigned char**, size_t*)
    int SSL_CLIENT_HELLO_SUCCESS, SSL_CLIENT_HELLO_ERROR, SSL_AD_UNRECOGNIZED_NAME, TLSEXT_TYPE_server_name
    int SSL_ERROR_WANT_READ, SSL_ERROR_ZERO_RETURN

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

cdef extern from "<openssl/ssl.h>":
    void SSL_CTX_set_client_hello_cb(SSL_CTX*, int (*)(SSL*, int*, void*) noexcept, void*)

cdef extern from "<openssl/err.h>" nogil:
    unsigned long ERR_peek_error()
    int ERR_GET_REASON(unsigned long)
    void ERR_clear_error()

cdef extern from "<openssl/sslerr.h>" nogil:
    int SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, SSL_R_CERTIFICATE_VERIFY_FAILED, SSL_AD_REASON_OFFSET

cdef enum:
    OVERHEAD = 64               # head, tag and padding of a record: 22 bytes in TLS 1.3, 29 in 1.2 with AES-GCM
    LEAST_OUT = 512

cdef bytearray scratch = bytearray(SCRATCH)
# SAFETY: of this module, which is never unloaded; used within one call of ``seal``.
cdef unsigned char stage[RECORD]


cdef int read_window(BIO* bio, char* data, int size) noexcept:
    cdef Records records = <Records>BIO_get_data(bio)
    cdef Py_ssize_t count = records.window.end - records.window.at
    BIO_clear_retry_flags(bio)
    if count <= 0:
        BIO_set_retry_read(bio)
        return -1
    if count > size:
        count = size
    memcpy(data, records.window.at, count)
    records.window.at += count
    return <int>count


cdef int grow(Records records, Py_ssize_t more) except -1:
    """Room in ``out`` for ``more`` bytes."""
    cdef Chunk old = records.out
    if old is None:
        records.out = take_chunk(max(more, <Py_ssize_t>LEAST_OUT))
    elif old.size - old.filled < more:
        records.out = take_chunk(max(old.filled + more, 2 * old.size))
        memcpy(records.out.data, old.data, old.filled)
        records.out.filled = old.filled
    return 0


cdef int write_out(BIO* bio, const char* data, int size) noexcept:
    cdef Records records = <Records>BIO_get_data(bio)
    BIO_clear_retry_flags(bio)
    try:
        grow(records, size)
    except MemoryError:
        return -1
    memcpy(records.out.data + records.out.filled, data, size)
    records.out.filled += size
    return size


cdef long control_bio(BIO* bio, int command, long number, void* about) noexcept:
    return 1 if command == BIO_CTRL_FLUSH else 0


cdef BIO_METHOD* build_method() noexcept:
    cdef BIO_METHOD* made = BIO_meth_new(BIO_TYPE_SOURCE_SINK, b"kproxy records")
    BIO_meth_set_read(made, read_window)
    BIO_meth_set_write(made, write_out)
    BIO_meth_set_ctrl(made, control_bio)
    return made

# SAFETY: of this module, which is never unloaded.
cdef BIO_METHOD* METHOD = build_method()


cdef bytes read_name(SSL* ssl):
    """The host name of a ClientHello's server_name extension (RFC 6066 section 3), as it stands; b"" where there is none.
    Read here, because OpenSSL tells the name of the session where a client resumes one under another name."""
    cdef const unsigned char* data
    cdef size_t length
    cdef int inner
    if not SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &data, &length) or length < 5:
        return b""
    # The list's length, the type host_name, the name's length: one name, which is all that may be.
    inner = <int>length - 2
    if data[0] << 8 | data[1] != inner or data[2] != 0 or data[3] << 8 | data[4] != inner - 3:
        return b""
    return data[5:length]


cdef int on_hello(SSL* ssl, int* alert, void* about) noexcept:
    cdef Records records = <Records>BIO_get_data(SSL_get_rbio(ssl))
    try:
        records.place = records.context.find_place(read_name(ssl))
    except Exception as error:
        records.turned_away = (getattr(error, "cause", CloseCause.INTERNAL), str(error))
        alert[0] = SSL_AD_UNRECOGNIZED_NAME
        return SSL_CLIENT_HELLO_ERROR
    return SSL_CLIENT_HELLO_SUCCESS


@cython.final
cdef class Records:
    """``host``: whom a client's records are to come from; "" for a server. Raises ValueError for one that is no name."""

    def __cinit__(self, TlsContext context, str host=""):
        self.context = context
        self.ssl = context.open(host)
        cdef BIO* bio = BIO_new(METHOD)
        if bio == NULL:
            raise MemoryError
        # SAFETY: OpenSSL calls back only within a call of a method of these records, and is freed with them.
        BIO_set_data(bio, <void*>self)
        BIO_set_init(bio, 1)
        SSL_set_bio(self.ssl, bio, bio)
        if context.find_place is not None and not context.asks:
            SSL_CTX_set_client_hello_cb(context.context, on_hello, NULL)
            context.asks = True

    def __dealloc__(self):
        if self.ssl != NULL:
            SSL_free(self.ssl)

    cdef int shake(self) except -3:
        cdef int status
        ERR_clear_error()
        status = SSL_do_handshake(self.ssl)
        if status != 1:
            return self.stop(status)
        self.opened = True
        return 1

    # -- ciphertext in, plaintext out -------------------------------------------------------------------------------------

    cdef int take(self, const unsigned char* data, Py_ssize_t length) except -1:
        cdef bytes together
        if self.window.at < self.window.end:
            together = self.window.at[:self.window.end - self.window.at] + data[:length]
            self.kept = together
            data = <const unsigned char*>PyBytes_AS_STRING(together)
            length = len(together)
        else:
            self.kept = None
        self.window = Window(data, data + length)
        return 0

    cdef int keep(self) except -1:
        cdef Py_ssize_t left = self.window.end - self.window.at
        if left <= 0:
            self.kept = None
            return 0
        if self.kept is None:
            self.kept = self.window.at[:left]
            self.window.at = <const unsigned char*>PyBytes_AS_STRING(self.kept)
            self.window.end = self.window.at + left
        return 0

    cdef bint is_dry(self) noexcept:
        # Asking OpenSSL to read would cost as much as a small record does.
        return self.window.at == self.window.end and self.stopped == 0 and SSL_pending(self.ssl) == 0

    cdef Py_ssize_t receive(self, unsigned char* room, Py_ssize_t size) except -3:
        """As many records as there are and fit; what ends them shows when all before it has been given out."""
        cdef Py_ssize_t got = 0
        cdef int count
        if self.stopped:
            return self.stopped
        ERR_clear_error()
        while got < size and not (got and self.is_dry()):
            count = SSL_read(self.ssl, room + got, <int>min(size - got, <Py_ssize_t>0x40000000))
            if count <= 0:
                self.stopped = self.stop(count)
                return got or self.stopped
            got += count
        return got

    # -- plaintext in, ciphertext out -------------------------------------------------------------------------------------

    cdef int seal(self, Lane lane) except -3:
        """Small parts share records: each record costs a head, a tag and the start of the cipher."""
        cdef Py_ssize_t staged = 0
        cdef int good = 1, i
        grow(self, lane.queued + (lane.queued // RECORD + 2) * OVERHEAD)
        ERR_clear_error()
        for i in range(lane.first, lane.first + lane.count):
            good = self.seal_part(lane.segments[i].data, lane.segments[i].length, &staged)
            if not good:
                break
        if good and staged:
            good = SSL_write(self.ssl, stage, <int>staged) > 0
        lane.clear()
        if not good:
            self.why = self.explain()
            self.stopped = BROKEN
            return BROKEN
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

    cdef int say_farewell(self) except -1:
        ERR_clear_error()
        SSL_shutdown(self.ssl)
        return 0

    cdef int take_out(self, Lane lane) except -1:
        cdef Chunk out = self.out
        self.out = None
        if out is not None and out.filled:
            lane.push(out, out.data, out.filled)
        return 0

    # -- what went wrong ------------------------------------------------------------------------------------------------

    cdef int stop(self, int status) except -3:
        """What a call of OpenSSL that did not do its work means: 0, FAREWELL or BROKEN."""
        cdef int error = SSL_get_error(self.ssl, status)
        if error == SSL_ERROR_WANT_READ:
            return 0
        if error == SSL_ERROR_ZERO_RETURN and self.opened:
            return FAREWELL
        self.why = self.explain()
        return BROKEN

    cdef tuple explain(self):
        """(cause, detail) of the newest failure."""
        cdef int reason = ERR_GET_REASON(ERR_peek_error())
        cdef long verified = SSL_get_verify_result(self.ssl)
        cdef str detail = last_error() or "the connection broke"
        if self.turned_away is not None:
            return self.turned_away
        if reason > SSL_AD_REASON_OFFSET:
            return CloseCause.TLS_REFUSED_BY_PEER, detail       # An alert; in TLS 1.3 it may come after our handshake.
        if self.opened:
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

    cdef str read_peer(self):
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

    def describe(self):
        """(version, cipher) as OpenSSL calls them."""
        return SSL_get_version(self.ssl).decode(), SSL_get_cipher_name(self.ssl).decode()


cdef bytearray scratch_room():
    return scratch
