"""What the topics of one Kafka cluster are called that clients name by id; see the .pxd."""
from itertools import islice

from libc.string cimport memcmp

#: Key -> the highest version that names all topics by name, -1 if there is none. What lies above is served only where
#: the broker can be asked for the name of an id.
HIGHEST_BY_NAME = {0: 12, 1: 12, 3: 11, 8: 9, 9: 9, 20: 5, 28: 5, 78: -1, 79: -1}

cdef enum:
    MOST_NAMES = 1 << 16        # of one cluster; beyond, the oldest are looked up again when a client needs them
    LONGEST_NAME = 249          # of a topic, in Kafka
    KEYS = 128

cdef int[KEYS] highest_by_name
cdef unsigned char[16] ZERO_ID      # zero from the start, as C has it


cdef int fill() except -1:
    cdef int key
    for key in range(KEYS):
        highest_by_name[key] = HIGHEST_BY_NAME.get(key, 32767)
    return 0


fill()


cdef bint names_by_id(int api_key, int version) noexcept:
    return 0 <= api_key < KEYS and version > highest_by_name[api_key]


cdef bint is_zero(const unsigned char* topic_id) noexcept:
    return memcmp(topic_id, ZERO_ID, 16) == 0


cdef class TopicIds:
    def __init__(self):
        self.names = {}
        self.everything = None

    def __len__(self):
        return len(self.names)

    cdef bytes find(self, bytes topic_id):
        return self.names.get(topic_id)

    cdef int learn(self, const unsigned char* topic_id, const unsigned char* name, Py_ssize_t length) except -1:
        """Nothing is learned of a zero id, which stands for none, and of what is no topic's name."""
        cdef bytes key, known
        if not 0 < length <= LONGEST_NAME or is_zero(topic_id):
            return 0
        key = topic_id[:16]
        known = self.names.get(key)
        if known is not None and len(known) == length and memcmp(<const unsigned char*>known, name, length) == 0:
            return 0
        if len(self.names) >= MOST_NAMES:
            for old in list(islice(self.names, MOST_NAMES // 4)):
                del self.names[old]
        self.names[key] = name[:length]
        return 0

    cpdef int forget(self, bytes topic_id) except -1:
        self.names.pop(topic_id, None)
        return 0

    cpdef int forget_names(self, set names) except -1:
        for topic_id in [topic_id for topic_id, name in self.names.items() if name in names]:
            del self.names[topic_id]
        return 0

    def name(self, bytes topic_id not None):
        found = self.find(topic_id)
        return None if found is None else found.decode("utf-8", "replace")

    def teach(self, bytes topic_id not None, str name not None):
        """What a broker has answered to kproxy itself. Raises ValueError for an id that is not of 16 bytes."""
        cdef bytes text = name.encode("utf-8", "surrogateescape")      # as the schema reads what is no text
        if len(topic_id) != 16:
            raise ValueError("a topic id has 16 bytes")
        self.learn(<const unsigned char*>topic_id, <const unsigned char*>text, len(text))

    def teach_all(self, names):
        """``names`` are those of all topics there are, or None where they could not be had."""
        self.everything = None if names is None else tuple(
            sorted({name.encode("utf-8", "surrogateescape") for name in names}))
