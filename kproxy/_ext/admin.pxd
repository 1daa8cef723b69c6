"""The administration of topics: DeleteTopics (20), DeleteRecords (21), DescribeConfigs (32), CreatePartitions (37),
IncrementalAlterConfigs (44); and DescribeCluster (60)."""
from kproxy._ext.opening cimport Opening

cdef int open_request(Opening opening) except -1
cdef int open_response(Opening opening, object memo) except -1
