"""Subscriptions and assignments of classic groups; see the .pxd.

    subscription   version i16, topics [string], user_data bytes,
                   from 1 owned_partitions [string, [i32]], from 2 generation_id i32, from 3 rack_id string
    assignment     version i16, assigned_partitions [string, [i32]], user_data bytes

Assignors put what they like into user data, names of topics among it, so it is not shown.
"""
from struct import error as TooShort
from struct import pack, unpack_from

from kproxy._ext.authorise cimport topic_visible
from kproxy._ext.opening cimport Opening
from kproxy._ext.policy_table cimport OPERATION_DESCRIBE


cdef class Reader:
    """Gives pieces of the bytes, raising ValueError or struct.error where there is no such piece."""
    cdef Opening opening
    cdef bytes data
    cdef Py_ssize_t at
    cdef bint changed               # something was left out

    cdef object number(self, str kind, int size):
        [value] = unpack_from(kind, self.data, self.at)
        self.at += size
        return value

    cdef Py_ssize_t count(self) except -1:
        cdef Py_ssize_t found = self.number(">i", 4)
        if not 0 <= found <= len(self.data) - self.at:
            raise ValueError("a count that cannot be")
        return found

    cdef bytes take(self, Py_ssize_t size):
        if not 0 <= size <= len(self.data) - self.at:
            raise ValueError("a length that cannot be")
        self.at += size
        return self.data[self.at - size:self.at]

    cdef bytes visible_topics(self, bint partitions):
        """The array that stands here, without the topics that are hidden."""
        cdef list kept = []
        cdef Py_ssize_t n, first
        cdef bytes name
        for n in range(self.count()):
            first = self.at
            name = self.take(self.number(">h", 2))
            if partitions:
                self.take(4 * self.count())
            if topic_visible(self.opening, OPERATION_DESCRIBE, <const unsigned char*>name, len(name)):
                kept.append(self.data[first:self.at])
            else:
                self.changed = True
        return pack(">i", len(kept)) + b"".join(kept)

    cdef bytes no_user_data(self):
        cdef Py_ssize_t size = self.number(">i", 4)
        if size < -1:
            raise ValueError("a length that cannot be")
        if size > 0:
            self.take(size)
            self.changed = True
        return pack(">i", -1 if size > 0 else size)


cdef Reader reading(Opening opening, bytes data):
    cdef Reader reader = Reader()
    reader.opening = opening
    reader.data = data
    return reader


cdef bytes shown(Reader reader, bytes rebuilt):
    if reader.at != len(reader.data):
        return b""
    return rebuilt if reader.changed else None


cdef bytes show_subscription(Opening opening, bytes data):
    cdef Reader reader = reading(opening, data)
    cdef Py_ssize_t first
    if not data:
        return None
    try:
        version = reader.number(">h", 2)
        out = data[:2] + reader.visible_topics(False) + reader.no_user_data()
        if version >= 1 and reader.at < len(data):      # Some clients leave it out.
            out += reader.visible_topics(True)
        first = reader.at
        if version >= 2 and reader.at < len(data):
            reader.take(4)
        if version >= 3 and reader.at < len(data):
            reader.take(max(reader.number(">h", 2), 0))
        return shown(reader, out + data[first:reader.at])
    except (TooShort, ValueError):
        return b""


cdef bytes show_assignment(Opening opening, bytes data):
    cdef Reader reader = reading(opening, data)
    if not data:
        return None
    try:
        reader.take(2)
        return shown(reader, data[:2] + reader.visible_topics(True) + reader.no_user_data())
    except (TooShort, ValueError):
        return b""
