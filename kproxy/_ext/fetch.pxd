"""Fetch (key 1): sessionless consumer fetches only, authorised both ways, records transformed on the way out."""
from kproxy._ext.opening cimport Opening
from kproxy._ext.policy_table cimport Cell
from kproxy._ext.record_batch cimport BatchSummary
from kproxy._ext.schema cimport Mark

cdef int open_request(Opening opening) except -1
cdef int open_response(Opening opening, object memo) except -1
# The records of one answered partition, as the plan of its topic's cell has them, and their note; a PlanOutcome. REFUSED:
# the caller takes them out and answers the plan's error. ``given`` is what is given out. ``zstd``: whether the version of the API may carry it.
cdef int give_records(Opening opening, Cell* cell, Mark* name, Mark* records, int index, bint zstd,
                      BatchSummary* given, list edits) except -1
