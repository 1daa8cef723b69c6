"""Topic by topic: ListOffsets (2), CreateTopics (19), OffsetForLeaderEpoch (23); and InitProducerId (22)."""
from kproxy._ext.opening cimport Opening

cdef int open_request(Opening opening) except -1
cdef int open_response(Opening opening, object memo) except -1
