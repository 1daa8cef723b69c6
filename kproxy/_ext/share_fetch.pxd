"""ShareFetch and ShareAcknowledge (KIP-932). The rows are told in share_fetch.pyx.

A share session lives between a client and a broker: the client names only what is new, and the broker answers all it
remembers. What may not be read must not come into the broker's session, because a broker that fetches for a member locks
what it finds, counts it as delivered and withholds it from the other members. So each connection keeps what its client
believes its sessions to hold, and brings the broker's in line with the policy of the moment at every request: a topic
that is refused answers its error each time, as from a broker, and one that is allowed later is put in then.
"""
from kproxy._ext.opening cimport Opening


cdef class SharedTopic:
    cdef bytes name             # None as long as the id is not known
    cdef set partitions
    cdef bint held              # the broker's session has it


# What a client believes one of its sessions to hold.
cdef class ShareSession:
    cdef dict topics            # id -> SharedTopic
    cdef int size               # topics and partitions
    cdef SharedTopic put(self, bytes topic_id, bytes name, object partitions)
    cdef int drop(self, bytes topic_id, list partitions) except -1


cdef int open_request(Opening opening) except -1
cdef int open_response(Opening opening, object memo) except -1
