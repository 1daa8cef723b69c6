"""Codecs of record batches: the Python face of what the native rewriter calls (_ext/cpp/lz4_frames.hpp)."""
from cpython.bytes cimport PyBytes_FromStringAndSize

from kproxy.errors import WireError


cdef extern from "buffer.hpp" namespace "kproxy":
    cdef cppclass Buffer:
        const char* data()
        size_t size()


cdef extern from "lz4_frames.hpp" namespace "kproxy":
    int CODEC_OK
    int CODEC_TOO_BIG
    cdef cppclass Lz4Reader:
        Lz4Reader() except +
        int read(const char* data, size_t length, size_t most, Buffer* out) except +
    int _compress "kproxy::lz4_compress"(const char* data, size_t length, Buffer* out) except +


def lz4_decompress(data not None, Py_ssize_t most):
    """The plain bytes of one LZ4 frame.

    Raises WireError when it is broken, followed by anything, or larger than ``most``."""
    cdef bytes held = bytes(data)
    cdef Lz4Reader reader
    cdef Buffer out
    cdef int status = reader.read(held, len(held), max(most, 0), &out)
    if status == CODEC_TOO_BIG:
        raise WireError(f"the frame holds more than {most} bytes")
    if status != CODEC_OK:
        raise WireError("the bytes are not one LZ4 frame")
    return PyBytes_FromStringAndSize(out.data(), out.size())


def lz4_compress(data not None):
    """One LZ4 frame of independent 64 KiB blocks, which is all that Kafka's Java reader takes."""
    cdef bytes held = bytes(data)
    cdef Buffer out
    if _compress(held, len(held), &out) != CODEC_OK:
        raise WireError("lz4 could not compress")
    return PyBytes_FromStringAndSize(out.data(), out.size())
