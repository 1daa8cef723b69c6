"""The treatments that API modules share: check a topic, refuse some items of a request, merge them into the answer.

An item that is refused is cut out of the request, and an answer item for it is kept as a dict of schema fields; when
the broker has answered the rest, those items are built and appended to its array. Edits are gathered as (offset in the
body, length, new bytes) in any order and applied at once, so that everything that is not edited stays byte for byte.

Most APIs have one shape, and a module only fills it in: ``Gated``, permissions the whole request needs, then one on each
item of an array.
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
    OPERATION_NOT_ATTEMPTED = 55
    UNKNOWN_TOPIC_ID = 100


# What becomes of an item that a request names more than once.
cdef enum Repeats:
    REPEATS_FORWARDED = 0       # each is checked, and the broker says what it makes of them
    REPEATS_REFUSED_ONCE = 1    # all are refused with 42, and one answer item tells so
    REPEATS_REFUSED_EACH = 2    # the same with an answer item for each


# How the items of one array are checked and what a refused one is answered with. An item is a struct that holds a name,
# or a bare string.
cdef class TopicRule:
    cdef int operation
    cdef str list_name          # "partitions" of the answer's item; None: the item itself has the error code
    cdef dict partition         # what an answered partition holds besides its index and error code
    cdef str name_field         # what an answer calls the topic's name, a partition's index and its error code
    cdef str index_field
    cdef str code_field
    cdef int repeats
    # 0, or the error code. ``name`` is a mark of the topic's name.
    cdef int decide(self, Opening opening, int item, Mark* name) except -1
    cdef dict answer_item(self, Opening opening, int item, Mark* name, int code)
    # The answer items of all that is refused, from one for each.
    cdef list gather(self, list refused)
    # What makes two items the same.
    cdef object identity(self, Opening opening, int item, Mark* name)


# A rule of an API whose answer has room for a text: an approval that is missing is 44 and tells the request. All of
# ``operations`` must be allowed.
cdef class TextRule(TopicRule):
    cdef tuple operations
    cdef dict values            # what an answered item holds besides its name, code and text
    cdef str repeated           # the text for an item named more than once
    cdef str refusal(self, Opening opening, int resource, const unsigned char* name, Py_ssize_t length, int code)


# A rule of names that are no topics.
cdef class NameRule(TopicRule):
    cdef int resource
    cdef int code               # where a name is refused


# A permission that a whole request needs, on what its field ``field`` names.
cdef class Gate:
    cdef int resource
    cdef int operation
    cdef int field
    cdef int code               # where it is refused
    # 0, or the error code.
    cdef int decide(self, Opening opening) except -1


cdef Gate READ_GROUP
cdef Gate WRITE_TRANSACTION


# A request that needs one permission after another, and then one on each topic or other thing it names.
cdef class Gated:
    cdef tuple gates            # of Gate, in Kafka's order: the first that is closed gives the code
    cdef dict refusal           # a closed gate is answered with its code and these fields; None: on every partition
    cdef TopicRule rule         # None: it names none
    cdef int topics             # field of their array
    cdef str answered           # the name of the answer's array
    cdef int rest_code          # what allowed topics answer where one is refused and none may go on; 0: they go on
    cdef int replica            # field that would make the client a follower, who sees more; 0: there is none


# Kafka keeps its own state in these topics. Nobody produces to them; anything else needs the topic's own permission and
# that of an administrator, which is ALTER on the cluster (protocol rule 0.6): a role for "*" does not reach them.
cdef bint is_internal(const unsigned char* name, Py_ssize_t length) except -1
cdef bint topic_allowed(Opening opening, int operation, const unsigned char* name, Py_ssize_t length) except -1
cdef bint topic_visible(Opening opening, int operation, const unsigned char* name, Py_ssize_t length) except -1
# 0 where it is allowed, 44 where an approval is missing, else 29.
cdef int topic_code(Opening opening, int operation, const unsigned char* name, Py_ssize_t length) except -1
cdef bint cluster_allowed(Opening opening, int operation) except -1
cdef bint cluster_visible(Opening opening, int operation) except -1
# True only where policy allows it outright, not where the listener merely observes.
cdef bint cluster_granted(Opening opening, int operation) except -1
# Whether the cluster's permission stands for one on this name, as some of Kafka's operations have it: it is granted, and
# no rule of its own speaks of the name, to forbid it or to ask for people.
cdef bint covered_by_cluster(Opening opening, int cluster_operation, int resource, int operation,
                             const unsigned char* name, Py_ssize_t length) except -1
# Kafka's bit field of the operations allowed: bit number = operation code.
cdef int topic_operations(Opening opening, const unsigned char* name, Py_ssize_t length) except? -1
cdef int group_operations(Opening opening, const unsigned char* name, Py_ssize_t length) except? -1
# Puts them where a broker answered with those of kproxy's own account; a client that did not ask gets none.
cdef int show_cluster_operations(Opening opening, list edits) except -1

cdef const unsigned char* text(Opening opening, Mark* mark) noexcept
cdef bytes span(Opening opening, Mark* mark)
# The id of a topic that is named by id, None where it is named by name. ``name`` is its mark after ``name_topics``.
cdef bytes id_of(Opening opening, Mark* name)
# Whether it is named by an id that no topic has.
cdef bint is_unknown(Mark* name) noexcept
# The mark of a field between two marks, at a depth; NULL if there is none. An ITEM is not found, its ARRAY is.
cdef Mark* find(Opening opening, int field, int depth, int first, int until) noexcept
cdef Mark* find_top(Opening opening, int field) noexcept
# The name of the item at mark ``item``: of a topic, of a resource, or the item itself. Raises WireError where there is none;
# ``is_unknown`` tells of an id without one.
cdef Mark* name_of(Opening opening, int item) except NULL

# Takes note of ``more`` refusals before they are made. Raises RefusalTooLongError, for which the session closes.
cdef int count_refused(Opening opening, Py_ssize_t more) except -1
# Decides every item of the array at mark ``array``. Edits that take out the refused go to ``edits``, their answer
# items to ``refused``. Returns how many items stay. Stop on WAIT.
cdef int refuse_topics(Opening opening, int array, TopicRule rule, list edits, list refused) except -1
# All items refused with one code and nothing asked: for an API that refuses a whole request item by item.
cdef list refuse_every_topic(Opening opening, int array, TopicRule rule, int code)
# Has the array say that it holds ``count`` items.
cdef int replace_count(Opening opening, Mark* array, Py_ssize_t count, list edits) except -1
# Appends items to the answer's array at mark ``array``, of which ``kept`` of the broker's own stay.
cdef int append_items(Opening opening, Mark* array, int kept, str path, list items, list edits) except -1
cdef int replace_number(Mark* mark, int value, list edits) except -1          # of four bytes
cdef int apply_edits(Opening opening, list edits) except -1

# The shape whole: a request is forwarded, cut or answered; refusals wait in ``memo`` for the broker's answer, to
# which ``add_refused`` appends them. An answer with an error code for the whole request stays as it is.
cdef int open_gated(Opening opening, Gated way) except -1
cdef int answer_values(Opening opening, dict values) except -1
cdef int add_refused(Opening opening, int array, str path, object memo, list edits) except -1
# Every host and port of the answered brokers becomes this listener's; a broker without an address here is left out.
# ``node`` is the field of its id.
cdef int show_brokers(Opening opening, Mark* brokers, int node, list edits) except -1
# The same for one broker. False: the node has no address here and must not be shown.
cdef bint rewrite_address(Opening opening, Mark* node, Mark* host, Mark* port, list edits) except -1
