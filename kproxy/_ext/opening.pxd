"""One request or response, opened: what an API module is given, and what it answers.

An API module has two functions, both pure over bytes:

    cdef int open_request(Opening opening) except -1
    cdef int open_response(Opening opening, object memo) except -1

``open_request`` reads ``opening.data`` (a frame without its size; ``head`` is parsed, ``marks`` are filled and relative
to the body: add ``body`` for an offset in the frame), asks ``opening.decide`` for each resource and leaves ``treatment``
and its companion set. When a decision has set WAIT, it returns at once: the frame will be opened again. What it puts
in ``memo`` is handed to ``open_response`` with the broker's answer to that very request; there ``head`` is still the
request's head, ``data`` is the response frame, ``body`` the offset of its body, and the treatment is FORWARD or
REPLACE. How long each pointer lives: ARCHITECTURE.md, Who runs where.
"""
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint64_t

from kproxy._ext.chunk cimport Chunk
from kproxy._ext.mask cimport Plan
from kproxy._ext.policy_table cimport Cell, PolicyTable
from kproxy._ext.request cimport Head, Splice
from kproxy._ext.schema cimport Mark, Marks
from kproxy._ext.topic_ids cimport TopicIds


cdef enum Treatment:
    FORWARD = 0     # the frame as it came, byte for byte
    REPLACE = 1     # opening.segments instead, sizes already right
    ANSWER = 2      # opening.answer to the client, nothing to the broker
    WAIT = 3        # opening.unknown, opening.wanted or opening.missing must be asked; then the same frame is opened again
    CLOSE = 4       # opening.cause


# Kinds of notes, as kproxy/model/spool.py has them.
cdef enum:
    INTENT = 1
    OUTCOME = 2
    READ = 3


# What the audit needs of one partition of a produce or fetch; the topic is a span of the frame being opened.
cdef struct NoteRow:
    int8_t kind             # INTENT, OUTCOME, READ
    int16_t error
    int32_t partition
    int32_t records
    int32_t size            # bytes
    int32_t topic_length
    # SAFETY: into the chunk of the opening or a name that ``named`` holds, both until the session's ``let_go``; not read
    # after the event.
    const unsigned char* topic
    uint64_t hash           # of the topic's name, keyed
    int64_t first_offset
    int64_t last_offset


# Node id -> the host and port this listener advertises for it. A node outside its range is never shown to a client.
cdef class Addresses:
    cdef readonly bytes host                # of all brokers, or with a suffix what stands before the id of each in its name
    cdef readonly bytes suffix              # and what stands behind it; None: one host, and a port for each
    cdef readonly int first_broker
    cdef readonly int last_broker
    cdef readonly int first_port
    cdef readonly dict learned              # node -> (host, port) as brokers told; the shell takes them from here
    cdef readonly TopicIds topic_ids        # of the listener's cluster; other listeners of it have the same
    cdef tuple find(self, int node)         # (host bytes, port int), or None: the node has no address on this listener
    cdef tuple teach(self, int node, object host, int port)     # a broker's own address, seen in an answer; gives find(node)
    # The brokers that an answer names as leaders (KIP-951), at their addresses here; one without is left out, which a client
    # must bear, as it is only a hint.
    cdef list show(self, list endpoints)


cdef class Opening:
    cdef Head head
    # SAFETY: owned by ``chunk``; valid until open_request/open_response returns.
    cdef const unsigned char* data
    cdef Py_ssize_t length
    cdef Py_ssize_t body
    cdef Chunk chunk                        # holds ``data`` at ``at``, so that spans of it can be handed on
    cdef Py_ssize_t at
    cdef int acks                           # of a produce; any other request has an answer, so it is not 0
    cdef double now                         # Unix seconds
    cdef PolicyTable table
    cdef Marks marks
    cdef Splice splice
    cdef Addresses addresses
    cdef dict share_sessions                # what share_fetch remembers of the connection; None: it has none
    cdef dict asked                         # ApprovalWanted -> (request id, state), answers already had in this epoch
    # Requests that name topics by id: what ``name_topics`` found out, for the request and its answer.
    cdef dict named                         # id -> name of the request's topics; None: it names them by name
    cdef set unknown                        # WAIT: ids whose names must be asked for; the zero id: those of all topics
    cdef bint looked_up                     # they were asked for; what is unknown now is not there
    # Record plans of a cluster with a schema registry
    cdef list held                          # those of this frame, whose counts are taken back where it is opened again
    cdef set missing                        # WAIT: ids of schemas that are not known here
    cdef bint schemas_asked                 # they were asked for; one that is unknown now is not to be had
    # what came out
    cdef int treatment
    cdef list segments                      # REPLACE: whole frame, size included, for writelines
    cdef bytes answer                       # ANSWER: whole response frame, size included
    cdef object memo
    cdef object cause                       # CLOSE: a CloseCause value. With REPLACE: close once it is written (acks=0)
    cdef list wanted                        # WAIT: ApprovalWanted values not in ``asked``
    cdef list denials                       # [(operation, resource, name, Verdict)] for audit; observe-mode "would" ones too
    cdef list refused_records               # [(topic, partition, message, {rule: count}, offset or -1)] of refused batches
    cdef list guarded                       # [(name, SafeguardInForce, what is done, why, details)] of safeguards broken
    cdef dict limit_texts                   # topic -> the text of a safeguard's refusal
    cdef list overrides                     # edits of the request's body (see authorise) that a safeguard makes
    cdef readonly list condition_errors     # names of rules whose condition ended in an error while deciding
    cdef int refused_count                  # items of the request that are answered with a refusal
    # SAFETY: malloc'ed, owned, grown by ``note``; the first ``note_count`` are of the present frame.
    cdef NoteRow* notes
    cdef int note_count
    cdef int note_room
    cdef long long records                  # records seen in this frame

    # Walks the body into ``marks``; false if it is not what the schema says. The session calls it before an API module.
    cdef bint walk(self, bint response)
    cdef bint is_librdkafka_list(self)
    # Gives every topic that is named by id the mark of a name, which ``authorise.text`` can read. Sets WAIT.
    cdef int name_topics(self, bint response) except -1
    cdef int name_topic(self, int at, bint either, bint response) except -1
    cdef int want(self, bytes topic_id) except -1
    cdef void drop_other_name(self, int at) noexcept
    cdef void begin(self, Chunk chunk, Py_ssize_t at, Py_ssize_t length, double now)
    # The effect in force (EFFECT_*). Collects denials, would-denials and unasked approvals (treatment becomes WAIT).
    cdef Cell* decide(self, int resource, int operation, const unsigned char* name, Py_ssize_t length) except NULL
    cdef bint allowed(self, int resource, int operation, const unsigned char* name, Py_ssize_t length) except -1
    # Like allowed, but leaves no trace: for filtering lists, where a hidden name is not a refusal.
    cdef bint visible(self, int resource, int operation, const unsigned char* name, Py_ssize_t length) except -1
    # Tells of a refusal that no rule can change, as ``decide`` tells of a rule's.
    cdef int tell_refusal(self, int resource, int operation, const unsigned char* name, Py_ssize_t length,
                          str reason) except -1
    # What the plan makes of the records (PLAN_*), with what the cluster's registry knows.
    cdef int transform(self, Plan plan, const unsigned char* data, Py_ssize_t length, bint zstd) except -1
    # Whether a schema is missing; treatment becomes WAIT then, and nothing counts of what was done.
    cdef bint lacks_schemas(self) except -1
    # WAIT: what the shell is to ask.
    cdef tuple ticket(self)
    # The text a client is shown for a refusal: the rule's own message, or the approval request that waits.
    cdef str refusal_text(self, Cell* cell)
    cdef int note(self, int kind, const unsigned char* topic, Py_ssize_t topic_length, int partition,
                  int64_t first_offset, int64_t last_offset, int records, Py_ssize_t size, int error) except -1
    cdef int answer_body(self, bytes body) except -1                # treatment ANSWER with the right response header
    cdef int refuse_malformed(self) except -1                       # CLOSE, malformed_request
    cdef int replace_with_splice(self) except -1                    # REPLACE from self.splice


cdef bytes build_response(int api_key, int api_version, int32_t correlation, bytes body)
cdef uint64_t hash_topic(const unsigned char* topic, Py_ssize_t length) noexcept nogil
