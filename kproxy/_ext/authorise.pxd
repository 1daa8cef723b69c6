"""The treatments that API modules share: check a topic, refuse some items of a request, merge them into the answer.

An item that is refused is cut out of the request, and an answer item for it is kept as a dict of schema fields; when
the broker has answered the rest, those items are built and appended to its array. Edits are gathered as (offset in the
body, length, new bytes) in any order and applied at once, so that everything that is not edited stays byte for byte.
"""
from kproxy._ext.opening cimport Opening
from kproxy._ext.schema cimport Mark


cdef enum ErrorCode:
    UNKNOWN_TOPIC_OR_PARTITION = 3
    COORDINATOR_NOT_AVAILABLE = 15
    TOPIC_AUTHORIZATION_FAILED = 29
    GROUP_AUTHORIZATION_FAILED = 30
    CLUSTER_AUTHORIZATION_FAILED = 31
    INVALID_REQUEST = 42
    POLICY_VIOLATION = 44
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53


# How the items of one topic array are checked and what a refused one is answered with.
cdef class TopicRule:
    cdef int operation
    cdef str list_name          # "partitions" of the answer's item, or None where the item has no such list
    cdef dict partition         # what an answered partition holds besides its index and error code
    # 0, or the error code. ``name`` is a mark of the topic's name.
    cdef int decide(self, Opening opening, Mark* name) except -1
    cdef dict answer_item(self, Opening opening, int item, Mark* name, int code)


# Kafka keeps its own state in these topics. Nobody produces to them; anything else needs the topic's own permission and
# that of an administrator, which is ALTER on the cluster (protocol rule 0.6): a role for "*" does not reach them.
cdef bint is_internal(const unsigned char* name, Py_ssize_t length) except -1
cdef bint topic_allowed(Opening opening, int operation, const unsigned char* name, Py_ssize_t length) except -1
cdef bint topic_visible(Opening opening, int operation, const unsigned char* name, Py_ssize_t length) except -1
cdef bint cluster_allowed(Opening opening, int operation) except -1
cdef bint cluster_visible(Opening opening, int operation) except -1
# True only where policy allows it outright, not where the listener merely observes.
cdef bint cluster_granted(Opening opening, int operation) except -1
# Kafka's bit field of the operations allowed: bit number = operation code.
cdef int topic_operations(Opening opening, const unsigned char* name, Py_ssize_t length) except? -1
cdef int cluster_operations(Opening opening) except? -1

cdef const unsigned char* text(Opening opening, Mark* mark) noexcept
cdef bytes span(Opening opening, Mark* mark)
# The mark of a field between two marks, at a depth; NULL if there is none. An ITEM is not found, its ARRAY is.
cdef Mark* find(Opening opening, int field, int depth, int first, int until) noexcept
cdef Mark* find_top(Opening opening, int field) noexcept
# The name of the topic item at mark ``item``. Raises WireError where there is none.
cdef Mark* name_of(Opening opening, int item) except NULL

# Decides every item of the topic array at mark ``array``. Edits that take out the refused go to ``edits``, their answer
# items to ``refused``. Returns how many items stay. Stop on WAIT.
cdef int refuse_topics(Opening opening, int array, TopicRule rule, list edits, list refused) except -1
# All items refused with one code and nothing asked: for an API that refuses a whole request item by item.
cdef list refuse_every_topic(Opening opening, int array, TopicRule rule, int code)
# Appends items to the answer's array at mark ``array``, of which ``kept`` of the broker's own stay.
cdef int append_items(Opening opening, Mark* array, int kept, str path, list items, list edits) except -1
cdef int apply_edits(Opening opening, list edits) except -1
# Host and port of one answered broker become this listener's. False: the node has no address here and must not be
# shown.
cdef bint rewrite_address(Opening opening, Mark* node, Mark* host, Mark* port, list edits) except -1
