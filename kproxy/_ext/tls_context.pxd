"""What one side of TLS is willing to do: versions, ciphers, its certificate, whom it trusts. Shared by its links."""
from libc.stdint cimport uint64_t


cdef extern from "<openssl/ssl.h>" nogil:
    ctypedef struct SSL
    ctypedef struct SSL_CTX
    ctypedef struct SSL_METHOD
    ctypedef struct BIO
    ctypedef struct BIO_METHOD
    ctypedef struct X509
    ctypedef struct X509_NAME
    ctypedef struct X509_STORE
    ctypedef struct X509_VERIFY_PARAM
    ctypedef struct EVP_PKEY


cdef class TlsContext:
    # SAFETY: owned; every SSL made of it holds a reference of its own.
    cdef SSL_CTX* context
    cdef readonly bint server
    cdef readonly object find_place     # find_place(name) of the name that a client asks for; None: any will do
    cdef bint asks                      # its connections read that name
    cdef SSL* open(self, str host) except NULL


cdef str last_error()
