"""What kproxy answers of itself before a client is known: versions, mechanisms, the outcome of a login."""

cdef int judge_identity(object promise, object cluster_id, int node) except -1
cdef bytes versions_body(int version, object promise)
cdef bytes versions_refusal_body()
cdef bytes handshake_body(int version, int error, tuple mechanisms)
cdef bytes authenticate_body(int version, int error, str message, bytes token, long long lifetime_ms)
cdef bint fits_software(str word)
