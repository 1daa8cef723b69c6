"""Codecs of record batches: the Python face of what the native rewriter calls (_ext/cpp/codecs.hpp)."""
from cpython.bytes cimport PyBytes_FromStringAndSize

from kproxy.errors import WireError


cdef extern from "buffer.hpp" namespace "kproxy":
    cdef cppclass Buffer:
        const char* data()
        size_t size()


cdef extern from "codecs.hpp" namespace "kproxy":
    int CODEC_OK
    int CODEC_TOO_BIG
    cdef cppclass Codecs:
        int read(int codec, const char* data, size_t length, size_t most, Buffer* out) except +
        int write(int codec, const char* data, size_t length, Buffer* out) except +


#: Names in the order of the numbers in a batch's attributes; the first is no codec.
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")

cdef enum:
    MOST = 1 << 30          # that a call may ask for

cdef Codecs codecs          # the contexts, kept from call to call as each worker keeps its own


def decompress(str codec not None, data not None, Py_ssize_t most):
    """The plain bytes of ``data``, which must be whole to its last byte.

    Raises WireError when it is not, or when it holds more than ``most`` bytes (a GiB at most)."""
    cdef bytes held = bytes(data)
    cdef Buffer out
    cdef int status = codecs.read(CODECS.index(codec), held, len(held), min(max(most, 0), MOST), &out)
    if status == CODEC_TOO_BIG:
        raise WireError(f"{codec}: more than {most} bytes")
    if status != CODEC_OK:
        raise WireError(f"{codec}: the bytes are broken")
    return PyBytes_FromStringAndSize(out.data(), out.size())


def compress(str codec not None, data not None):
    """``data`` in the form that Kafka's Java reader takes: lz4 with independent blocks, snappy in Java's framing.

    Raises WireError for a codec that is none."""
    cdef bytes held = bytes(data)
    cdef Buffer out
    if codecs.write(CODECS.index(codec), held, len(held), &out) != CODEC_OK:
        raise WireError(f"{codec}: nothing could be written")
    return PyBytes_FromStringAndSize(out.data(), out.size())
