"""Codecs of record batches: the Python face of what the native rewriter calls (_ext/cpp/lz4_frames.hpp)."""
from libcpp.string cimport string

from kproxy.errors import WireError


cdef extern from "lz4_frames.hpp" namespace "kproxy" nogil:
    int CODEC_OK
    int CODEC_TOO_BIG
    int _decompress "kproxy::lz4_decompress"(const char* data, size_t length, size_t most, string* out)
    int _compress "kproxy::lz4_compress"(const char* data, size_t length, string* out)


def lz4_decompress(data not None, Py_ssize_t most):
    """The plain bytes of one LZ4 frame. Raises WireError when it is broken, followed by anything, or larger than ``most``."""
    cdef bytes held = bytes(data)
    cdef string out
    cdef int status = _decompress(held, len(held), most, &out)
    if status == CODEC_TOO_BIG:
        raise WireError(f"the frame holds more than {most} bytes")
    if status != CODEC_OK:
        raise WireError("the bytes are not one LZ4 frame")
    return bytes(out)


def lz4_compress(data not None):
    """One LZ4 frame of independent 64 KiB blocks, which is all that Kafka's Java reader takes."""
    cdef bytes held = bytes(data)
    cdef string out
    if _compress(held, len(held), &out) != CODEC_OK:
        raise WireError("lz4 could not compress")
    return bytes(out)
