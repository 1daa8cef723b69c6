"""One request or response, opened. See the .pxd for the contract between the session and the API modules."""
from libc.stdlib cimport free, realloc

from kproxy._ext.chunk cimport Chunk, build_span
from kproxy._ext.fields cimport F_FORGOTTEN_TOPICS_DATA, F_NAME, F_TOPIC_ID, F_TOPICS
from kproxy._ext.mask cimport PLAN_NEEDS_SCHEMA, Plan, begin_frame
from kproxy._ext.policy_table cimport EFFECT_ALLOW, EFFECT_ASK, Cell
from kproxy._ext.schema cimport ARRAY, SCALAR, STRING, TRAILING, Mark, Marks, is_flexible, response_header_version
from kproxy._ext.schema cimport walk_body
from kproxy._ext.topic_ids cimport TopicIds, is_zero, names_by_id
from kproxy._ext.wire cimport store_i32

from kproxy._ext.policy_table import OPERATION_NAMES, RESOURCE_NAMES
from kproxy.errors import CloseCause

cdef extern from *:
    """
    // SipHash keyed with the process's own secret.
    #if PY_VERSION_HEX >= 0x030E0000
    #define kp_hash_topic Py_HashBuffer
    #else
    #define kp_hash_topic _Py_HashBytes
    #endif
    """
    Py_hash_t kp_hash_topic(const void* data, Py_ssize_t length) noexcept nogil

cdef enum:
    METADATA = 3
    OFFSET_FETCH = 9
    DELETE_TOPICS = 20
    LONGEST_LIST = 8        # bytes of a Metadata request's body for all topics, with three too many
    MOST_ASKED = 100        # approvals one principal may have pending; more are not worth asking for
    MOST_UNKNOWN = 1024     # ids of one request that are looked up; a client asks again for the others


cdef bytes ZERO_ID = bytes(16)


cdef class Addresses:
    """The addresses of one listener: broker ``n`` is reached at ``host``, port ``first_port + n - first_broker``; or with
    a ``suffix`` all are at ``first_port``, each at its own name: ``host``, ``n``, ``suffix``."""

    def __init__(self, str host, int first_broker, int last_broker, int first_port, TopicIds topic_ids=None,
                 str suffix=None):
        self.host = host.encode()
        self.suffix = None if suffix is None else suffix.encode()
        self.first_broker = first_broker
        self.last_broker = last_broker
        self.first_port = first_port
        self.learned = {}
        self.topic_ids = TopicIds() if topic_ids is None else topic_ids

    cdef tuple find(self, int node):
        if node < self.first_broker or node > self.last_broker:
            return None
        if self.suffix is not None:
            return b"%b%d%b" % (self.host, node, self.suffix), self.first_port
        return self.host, self.first_port + node - self.first_broker

    cdef tuple teach(self, int node, object host, int port):
        if node >= 0 and host and port > 0:
            self.learned[node] = (host.decode() if isinstance(host, bytes) else host, port)
        return self.find(node)

    cdef list show(self, list endpoints):
        shown = []
        for endpoint in endpoints:
            place = self.teach(endpoint["node_id"], endpoint["host"], endpoint["port"])
            if place is not None:
                shown.append(dict(endpoint, host=place[0], port=place[1]))
        return shown


cdef uint64_t hash_topic(const unsigned char* topic, Py_ssize_t length) noexcept nogil:
    """Keyed, because the audit pairs answers with requests and sums up flows by it: a client that could name two topics
    of one hash would have what it wrote to one told of the other."""
    return <uint64_t>kp_hash_topic(topic, length)


class OwnRefusal:
    """The verdict on what kproxy refuses whatever the policy says."""

    effect = "deny"
    rule = ""
    wanted = None
    would = None
    condition_errors = ()

    def __init__(self, reason):
        self.reason = reason


cdef class Opening:
    """Re-used for every frame of one connection."""

    def __cinit__(self, PolicyTable table, Addresses addresses):
        self.table = table
        self.addresses = addresses
        self.marks = Marks()
        self.splice = Splice()
        self.asked = {}
        self.denials = []
        self.wanted = []
        self.condition_errors = []
        self.refused_records = []
        self.guarded = []
        self.held = []
        self.notes = NULL
        self.note_count = self.note_room = 0

    def __dealloc__(self):
        free(self.notes)

    cdef void begin(self, Chunk chunk, Py_ssize_t at, Py_ssize_t length, double now):
        self.chunk = chunk
        self.at = at
        self.data = chunk.data + at
        self.length = length
        self.acks = -1
        self.now = now
        begin_frame(length)
        self.treatment = FORWARD
        self.segments = None
        self.answer = None
        self.memo = None
        self.named = None
        self.unknown = None
        self.missing = None
        self.cause = None
        self.note_count = 0
        self.refused_count = 0
        self.records = 0
        if self.denials:
            self.denials = []
        if self.wanted:
            self.wanted = []
        if self.refused_records:
            self.refused_records = []
        if self.guarded:
            self.guarded = []
        self.limit_texts = None
        self.overrides = None
        if self.condition_errors:
            self.condition_errors = []

    cdef bint walk(self, bint response):
        cdef int found = walk_body(self.head.api_key, self.head.api_version, response, self.data + self.body,
                                   self.length - self.body, self.marks)
        return found == 0 or (found == TRAILING and not response and self.is_librdkafka_list())

    cdef bint is_librdkafka_list(self):
        """librdkafka writes the null array of a flexible Metadata request in four bytes, and brokers ignore the three
        that are left. Nothing else may carry bytes along that nobody has read."""
        return (self.head.api_key == METADATA and is_flexible(METADATA, self.head.api_version)
                and self.length - self.body <= LONGEST_LIST and self.marks.items[0].value < 0)

    cdef int name_topics(self, bint response) except -1:
        """An answer names what its request named, whose names were kept; so an id that another client's request has
        made to be forgotten meanwhile keeps its name here."""
        cdef Marks marks = self.marks
        cdef Mark* mark
        cdef int i = 0
        cdef bint either = self.head.api_key in (METADATA, DELETE_TOPICS)
        if not names_by_id(self.head.api_key, self.head.api_version) or (response and either):
            return 0
        if self.named is None:
            self.named = {}
        while i < marks.count:
            mark = &marks.items[i]
            i += 1
            if mark.field == F_FORGOTTEN_TOPICS_DATA and mark.kind == ARRAY:
                i = mark.until
            elif mark.field == F_TOPIC_ID and mark.kind == SCALAR:
                self.name_topic(i - 1, either, response)
            elif (mark.value < 0 and mark.kind == ARRAY and mark.field == F_TOPICS and not response
                    and self.head.api_key == OFFSET_FETCH):
                self.want(ZERO_ID)
        if self.unknown and not response:
            self.treatment = WAIT
        return 0

    cdef int name_topic(self, int at, bint either, bint response) except -1:
        """The mark of an id becomes that of a name: ``at`` is negative, and ``value`` points to the name, which
        ``named`` holds; ``whole_at`` is still the id's. Length -1: the id is not known."""
        cdef Mark* mark = &self.marks.items[at]
        cdef const unsigned char* data = self.data + self.body + mark.whole_at
        cdef bytes topic_id = data[:16]
        cdef bytes name
        if either and is_zero(data):
            return 0        # Named by its name.
        name = self.named.get(topic_id)
        if name is None and not is_zero(data):
            name = self.addresses.topic_ids.find(topic_id)
            if name is not None:
                self.named[topic_id] = name
            elif not response:
                self.want(topic_id)
        if either:
            self.drop_other_name(at)
        mark.field = F_NAME
        mark.kind = STRING
        mark.at = -1
        mark.length = -1 if name is None else <int>len(name)
        mark.value = <int64_t><size_t>(<const unsigned char*>(b"" if name is None else name))
        return 0

    cdef int want(self, bytes topic_id) except -1:
        """The zero id stands for all topics: those that an answer will name of its own accord."""
        if self.looked_up:
            return 0
        if self.unknown is None:
            self.unknown = set()
        if len(self.unknown) < MOST_UNKNOWN:
            self.unknown.add(topic_id)
        return 0

    cdef void drop_other_name(self, int at) noexcept:
        """Where there is an id a broker does not look at the name: Metadata ignores it, and DeleteTopics has it null
        or takes neither, for which it stays."""
        cdef bint metadata = self.head.api_key == METADATA
        cdef Mark* other = &self.marks.items[at + 1 if metadata else at - 1]    # the two stand side by side
        if metadata or other.length < 0:
            other.field = 0

    cdef Cell* decide(self, int resource, int operation, const unsigned char* name, Py_ssize_t length) except NULL:
        cdef Cell* cell = self.table.look_up(resource, operation, name, length, self.now)
        if cell.effect == EFFECT_ALLOW and cell.would < 0:
            return cell
        verdict = <object>cell.verdict
        if verdict.condition_errors:
            self.condition_errors.extend(verdict.condition_errors)
        self.denials.append((OPERATION_NAMES[operation], RESOURCE_NAMES[resource],
                             name[:length].decode("utf-8", "replace"), verdict))
        if (cell.effect == EFFECT_ASK and verdict.wanted not in self.asked
                and len(self.asked) + len(self.wanted) < MOST_ASKED):
            self.wanted.append(verdict.wanted)
            self.treatment = WAIT
        return cell

    cdef int tell_refusal(self, int resource, int operation, const unsigned char* name, Py_ssize_t length,
                          str reason) except -1:
        self.denials.append((OPERATION_NAMES[operation], RESOURCE_NAMES[resource],
                             name[:length].decode("utf-8", "replace"), OwnRefusal(reason)))
        return 0

    cdef bint allowed(self, int resource, int operation, const unsigned char* name, Py_ssize_t length) except -1:
        return self.decide(resource, operation, name, length).effect == EFFECT_ALLOW

    cdef bint visible(self, int resource, int operation, const unsigned char* name, Py_ssize_t length) except -1:
        return self.table.look_up(resource, operation, name, length, self.now).effect == EFFECT_ALLOW

    cdef int transform(self, Plan plan, const unsigned char* data, Py_ssize_t length, bint zstd) except -1:
        cdef int outcome
        if plan.schemas is None:
            return plan.transform_span(data, length, zstd)
        plan.asked = self.schemas_asked
        if not any(plan is other for other in self.held):
            plan.hold()
            self.held.append(plan)
        outcome = plan.transform_span(data, length, zstd)
        if outcome == PLAN_NEEDS_SCHEMA:
            self.missing = set(plan.needed).union(self.missing or ())
        return outcome

    cdef bint lacks_schemas(self) except -1:
        cdef Plan plan
        if not self.held:
            return False
        held, self.held = self.held, []
        if not self.missing:
            return False
        for plan in held:
            plan.take_back()
        self.treatment = WAIT
        return True

    cdef tuple ticket(self):
        # Names first: what they are called decides who must be asked.
        if self.unknown:
            return "topic_ids", list(self.unknown)
        return ("approval", list(self.wanted)) if self.wanted else ("schemas", list(self.missing))

    cdef str refusal_text(self, Cell* cell):
        verdict = <object>cell.verdict
        if cell.effect != EFFECT_ASK:
            return verdict.reason or "kproxy: not allowed by policy"
        request, state = self.asked.get(verdict.wanted, ("", "unavailable"))
        if not request:
            return f"kproxy: rule {verdict.rule} needs an approval, and none could be asked for now"
        return f"kproxy: rule {verdict.rule} needs an approval; request {request} is {state}"

    cdef int note(self, int kind, const unsigned char* topic, Py_ssize_t topic_length, int partition,
                  int64_t first_offset, int64_t last_offset, int records, Py_ssize_t size, int error) except -1:
        cdef NoteRow* grown
        if self.note_count == self.note_room:
            grown = <NoteRow*>realloc(self.notes, (self.note_room * 2 + 8) * sizeof(NoteRow))
            if grown == NULL:
                raise MemoryError
            self.notes = grown
            self.note_room = self.note_room * 2 + 8
        cdef NoteRow* row = &self.notes[self.note_count]
        row.kind = kind
        row.error = error
        row.partition = partition
        row.records = records
        row.size = size
        row.topic = topic
        row.topic_length = topic_length
        if self.note_count and (row - 1).topic == topic:
            row.hash = (row - 1).hash       # Another partition of the same item.
        else:
            row.hash = hash_topic(topic, topic_length)
        row.first_offset = first_offset
        row.last_offset = last_offset
        self.note_count += 1
        self.records += records
        return 0

    cdef int answer_body(self, bytes body) except -1:
        self.answer = build_response(self.head.api_key, self.head.api_version, self.head.correlation, body)
        self.treatment = ANSWER
        return 0

    cdef int refuse_malformed(self) except -1:
        self.treatment = CLOSE
        self.cause = CloseCause.MALFORMED_REQUEST
        return 0

    cdef int replace_with_splice(self) except -1:
        self.segments = self.splice.finish_segments(build_span(self.chunk, self.at, self.length))
        self.treatment = REPLACE
        return 0


cdef bytes build_response(int api_key, int api_version, int32_t correlation, bytes body):
    """A whole response frame: size, header of the right version, body."""
    cdef unsigned char head[9]
    cdef int flexible = response_header_version(api_key, api_version)
    store_i32(head, <int32_t>(4 + flexible + len(body)))
    store_i32(head + 4, correlation)
    head[8] = 0
    return head[:8 + flexible] + body
