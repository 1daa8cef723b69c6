"""What one side of TLS is willing to do; see the .pxd."""
cimport cython
from libc.string cimport memset

cdef extern from "<openssl/ssl.h>" nogil:
    const SSL_METHOD* TLS_server_method()
    const SSL_METHOD* TLS_client_method()
    SSL_CTX* SSL_CTX_new(const SSL_METHOD*)
    void SSL_CTX_free(SSL_CTX*)
    SSL* SSL_new(SSL_CTX*)
    void SSL_free(SSL*)
    int SSL_CTX_set_min_proto_version(SSL_CTX*, int)
    uint64_t SSL_CTX_set_options(SSL_CTX*, uint64_t)
    long SSL_CTX_set_mode(SSL_CTX*, long)
    int SSL_CTX_set_cipher_list(SSL_CTX*, const char*)
    int SSL_CTX_set_num_tickets(SSL_CTX*, size_t)
    long SSL_CTX_set_session_cache_mode(SSL_CTX*, long)
    int SSL_CTX_set_session_id_context(SSL_CTX*, const unsigned char*, unsigned int)
    int SSL_CTX_use_certificate(SSL_CTX*, X509*)
    long SSL_CTX_add0_chain_cert(SSL_CTX*, X509*)
    int SSL_CTX_use_PrivateKey(SSL_CTX*, EVP_PKEY*)
    int SSL_CTX_check_private_key(const SSL_CTX*)
    int SSL_CTX_add_client_CA(SSL_CTX*, X509*)
    int SSL_CTX_set_default_verify_paths(SSL_CTX*)
    void SSL_CTX_set_verify(SSL_CTX*, int, void*)
    X509_STORE* SSL_CTX_get_cert_store(const SSL_CTX*)
    long SSL_set_tlsext_host_name(SSL*, char*)
    X509_VERIFY_PARAM* SSL_get0_param(SSL*)
    void SSL_set_connect_state(SSL*)
    void SSL_set_accept_state(SSL*)
    int TLS1_2_VERSION, SSL_VERIFY_NONE, SSL_VERIFY_PEER, SSL_VERIFY_FAIL_IF_NO_PEER_CERT, SSL_SESS_CACHE_OFF
    uint64_t SSL_OP_NO_COMPRESSION, SSL_OP_NO_RENEGOTIATION, SSL_OP_CIPHER_SERVER_PREFERENCE, SSL_OP_IGNORE_UNEXPECTED_EOF
    long SSL_MODE_RELEASE_BUFFERS

cdef extern from "<openssl/x509v3.h>" nogil:
    int X509_VERIFY_PARAM_set1_host(X509_VERIFY_PARAM*, const char*, size_t)
    int X509_VERIFY_PARAM_set1_ip_asc(X509_VERIFY_PARAM*, const char*)
    void X509_VERIFY_PARAM_set_hostflags(X509_VERIFY_PARAM*, unsigned int)
    unsigned int X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT
    int X509_STORE_add_cert(X509_STORE*, X509*)
    void X509_free(X509*)

ctypedef int (*AskPassphrase)(char*, int, int, void*) noexcept

cdef extern from "<openssl/pem.h>":
    BIO* BIO_new_mem_buf(const void*, int)
    int BIO_free(BIO*)
    X509* PEM_read_bio_X509(BIO*, X509**, AskPassphrase, void*)
    EVP_PKEY* PEM_read_bio_PrivateKey(BIO*, EVP_PKEY**, AskPassphrase, void*)
    void EVP_PKEY_free(EVP_PKEY*)

cdef extern from "<openssl/err.h>" nogil:
    unsigned long ERR_get_error()
    unsigned long ERR_peek_last_error()
    const char* ERR_reason_error_string(unsigned long)
    void ERR_clear_error()

#: Forward secrecy and authenticated encryption only; TLS 1.3 has nothing else anyway.
cdef bytes CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"
cdef tuple CLIENT_AUTH = ("none", "requested", "required")


cdef int no_passphrase(char* room, int size, int writing, void* about) noexcept:
    """Asked for the passphrase of an encrypted key: there is none, and nobody may be prompted."""
    return 0


cdef str last_error():
    """The reason of the newest error, and none are left."""
    cdef const char* reason = ERR_reason_error_string(ERR_peek_last_error())
    ERR_clear_error()
    return reason.decode("ascii", "replace") if reason != NULL else ""


@cython.final
cdef class TlsContext:
    """Raises ValueError for what OpenSSL does not take.

    ``certificates`` and ``key`` are PEM, empty for a side that shows none. ``authorities`` is PEM; None means the
    system's. ``client_auth`` is the server's: none, requested or required. A client always verifies the server.

    ``find_place(name)`` is asked with the name in a ClientHello (b"" none) before anything is answered. What it gives is
    ``place`` of the records; what it raises ends the handshake with unrecognized_name, for the ``cause`` that it has.
    """

    def __cinit__(self, bint server, *, bytes certificates=b"", bytes key=b"", authorities=b"", str client_auth="none",
                  find_place=None):
        self.server = server
        self.find_place = find_place
        ERR_clear_error()
        self.context = SSL_CTX_new(TLS_server_method() if server else TLS_client_method())
        if self.context == NULL:
            raise MemoryError
        SSL_CTX_set_min_proto_version(self.context, TLS1_2_VERSION)
        # A peer that closes without a farewell ends its frames no differently: they have their own lengths.
        SSL_CTX_set_options(self.context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE
                            | SSL_OP_IGNORE_UNEXPECTED_EOF)
        # Idle connections are many: their record buffers go back.
        SSL_CTX_set_mode(self.context, SSL_MODE_RELEASE_BUFFERS)
        if not SSL_CTX_set_cipher_list(self.context, CIPHERS):
            raise ValueError(f"no cipher is left: {last_error()}")
        # Tickets hold a session at the client, so nothing is kept here; their key dies with this context, and with it
        # every session that was verified against authorities that have been replaced since.
        SSL_CTX_set_session_cache_mode(self.context, SSL_SESS_CACHE_OFF)
        SSL_CTX_set_num_tickets(self.context, 1)
        SSL_CTX_set_session_id_context(self.context, b"kproxy", 6)
        if certificates:
            self.use_certificates(certificates, key)
        self.trust(authorities, CLIENT_AUTH.index(client_auth))

    def __dealloc__(self):
        if self.context != NULL:
            SSL_CTX_free(self.context)

    def use_certificates(self, bytes certificates, bytes key):
        cdef BIO* bio = BIO_new_mem_buf(<const char*>key, <int>len(key))
        cdef EVP_PKEY* private = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL)
        cdef int taken
        BIO_free(bio)
        if private == NULL:
            last_error()
            raise ValueError("the key cannot be read")
        for number, certificate in enumerate(read_certificates(certificates)):
            taken = add_certificate(self.context, <X509Holder>certificate, number == 0)
            if not taken:
                EVP_PKEY_free(private)
                raise ValueError(f"the certificate is not taken: {last_error()}")
        taken = SSL_CTX_use_PrivateKey(self.context, private) and SSL_CTX_check_private_key(self.context)
        EVP_PKEY_free(private)
        if not taken:
            raise ValueError(f"the key is not taken: {last_error()}")

    def trust(self, authorities, int client_auth):
        cdef int mode = SSL_VERIFY_NONE
        cdef X509_STORE* store = SSL_CTX_get_cert_store(self.context)
        if authorities is None:
            SSL_CTX_set_default_verify_paths(self.context)
        elif authorities:
            for certificate in read_certificates(authorities):
                if not X509_STORE_add_cert(store, (<X509Holder>certificate).certificate):
                    raise ValueError(f"an authority is not taken: {last_error()}")
                if self.server:
                    SSL_CTX_add_client_CA(self.context, (<X509Holder>certificate).certificate)
        if not self.server or client_auth > 0:
            mode = SSL_VERIFY_PEER
        if client_auth == 2:
            mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT
        SSL_CTX_set_verify(self.context, mode, NULL)

    cdef SSL* open(self, str host) except NULL:
        """One connection's state, the caller's to free. ``host`` is whom a client wants to reach, by name or address."""
        cdef SSL* ssl = SSL_new(self.context)
        cdef X509_VERIFY_PARAM* param
        cdef bytes name = host.encode("idna") if host and not host.isascii() else host.encode()
        if ssl == NULL:
            raise MemoryError
        if self.server:
            SSL_set_accept_state(ssl)
            return ssl
        SSL_set_connect_state(ssl)
        param = SSL_get0_param(ssl)
        # A name is what subjectAltName says (RFC 9525 section 2.1), never the common name.
        X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT)
        if not name:
            SSL_free(ssl)
            raise ValueError("a client must know whom it wants to reach")
        if not X509_VERIFY_PARAM_set1_ip_asc(param, name):
            ERR_clear_error()
            if not X509_VERIFY_PARAM_set1_host(param, name, len(name)) or not SSL_set_tlsext_host_name(ssl, name):
                SSL_free(ssl)
                raise ValueError(f"{host} cannot be the name of a server")
        return ssl


@cython.final
cdef class X509Holder:
    # SAFETY: owned, freed with the holder, unless the context has taken it over.
    cdef X509* certificate

    def __dealloc__(self):
        if self.certificate != NULL:
            X509_free(self.certificate)


cdef int add_certificate(SSL_CTX* context, X509Holder holder, bint is_own) except -1:
    if is_own:
        return SSL_CTX_use_certificate(context, holder.certificate)
    if not SSL_CTX_add0_chain_cert(context, holder.certificate):
        return 0
    holder.certificate = NULL       # It belongs to the context now.
    return 1


cdef list read_certificates(bytes pem):
    """Every certificate of a PEM file, in its order."""
    cdef list found = []
    cdef BIO* bio = BIO_new_mem_buf(<const char*>pem, <int>len(pem))
    cdef X509* certificate
    cdef X509Holder holder
    if bio == NULL:
        raise MemoryError
    while True:
        certificate = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)
        if certificate == NULL:
            break
        holder = X509Holder()
        holder.certificate = certificate
        found.append(holder)
    BIO_free(bio)
    ERR_clear_error()
    if not found:
        raise ValueError("there is no certificate in the file")
    return found
