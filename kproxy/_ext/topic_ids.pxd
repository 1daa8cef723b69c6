"""What the topics of one Kafka cluster are called that clients name by id (KIP-516).

Filled from what brokers answer, never from what clients say. An id never changes its name and is never used again, so
what is known stays true as long as the topic is there; one that is gone is forgotten when an answer says so. Only names
are kept, no decisions: permission is a matter of the name, each time anew.
"""


cdef class TopicIds:
    cdef dict names                         # id of 16 bytes -> name, the oldest first
    # The sorted names of all topics there were when somebody last asked for all; None where that failed.
    cdef readonly tuple everything
    # The name of an id, None if it is not known.
    cdef bytes find(self, bytes topic_id)
    cdef int learn(self, const unsigned char* topic_id, const unsigned char* name, Py_ssize_t length) except -1
    cpdef int forget(self, bytes topic_id) except -1
    # Forgets every topic of these names: answers of old versions say no id.
    cpdef int forget_names(self, set names) except -1


# Whether requests of this version name topics by id: all of them, or some.
cdef bint names_by_id(int api_key, int version) noexcept
cdef bint is_zero(const unsigned char* topic_id) noexcept
