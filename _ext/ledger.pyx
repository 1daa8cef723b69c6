"""Notes, flows and counters of the hot path; see the .pxd."""
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint32_t
from libc.string cimport memcpy
from posix.unistd cimport write

from kproxy._ext.opening cimport OUTCOME, hash_topic

from kproxy.errors import SpoolFull

#: Upper bounds of the request duration histogram, in seconds.
BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
          60.0)
DECISION_NAMES = ("allow", "deny", "ask", "local", "would_deny")

cdef double[BUCKETS] _bounds
for _at, _bound in enumerate(BOUNDS):
    _bounds[_at] = _bound

cdef extern from "<zlib.h>" nogil:
    unsigned long crc32(unsigned long, const unsigned char*, unsigned int)

cdef enum:
    ENTRY_HEAD = 9          # kproxy.model.spool: length, CRC-32, kind
    NOTES = 4               # kproxy.model.spool: the kind of an entry that holds a turn's notes
    MOST_HEAD = 80          # bytes of a note before its topic: a kind and nine varints of at most ten, mostly some 15
    FIRST_PLACES = 16
    COMMA = 0x2C
    OPENING = 0x5B
    CLOSING = 0x5D
    MINUS = 0x2D
    ZERO = 0x30
    MOST_RUNS = 65536       # per session; its flow is written out within a second of the first 512 (kproxy/dataplane/flows.py)


cdef class Flow:
    cdef int add(self, NoteRow* note, double now) except -1:
        cdef uint64_t key = (note.hash * 31 + note.kind) * 1000003 + note.partition
        cdef FlowRow* row = self.find(key)
        cdef Run* run
        if self.runs == 0:
            self.since = now
        if row != NULL:
            run = &row.last
            # A gap is another writer's records, or a read elsewhere: it begins a new run, so that nobody is told to have
            # written what others wrote. Past MOST_RUNS, which takes as many produces in a second, the last run is
            # stretched instead, and then holds fewer records than offsets, which says as much.
            if (note.first_offset == run.last + 1 or run.first <= note.first_offset <= run.last
                    or self.runs >= MOST_RUNS):
                run.first = min(run.first, note.first_offset)
                run.last = max(run.last, note.last_offset)
                run.records += note.records
                run.size += note.size
                return 0
            row.ended.push_back(row.last)
        else:
            row = self.begin(key, note)
        row.last = Run(note.partition, note.first_offset, note.last_offset, note.records, note.size)
        self.runs += 1
        return 0

    cdef FlowRow* find(self, uint64_t key) noexcept:
        cdef uint64_t mask = self.places.size() - 1
        cdef uint64_t at = mix(key) & mask
        if self.places.size() == 0:
            return NULL
        while self.places[at].row >= 0:
            if self.places[at].key == key:
                return &self.rows[self.places[at].row]
            at = (at + 1) & mask
        return NULL

    cdef FlowRow* begin(self, uint64_t key, NoteRow* note) except NULL:
        cdef vector[Place] old
        cdef FlowRow row
        cdef size_t i
        if (self.rows.size() + 1) * 2 > self.places.size():
            old.swap(self.places)
            self.places.assign(max(<size_t>FIRST_PLACES, old.size() * 2), Place(0, -1))
            for i in range(old.size()):
                if old[i].row >= 0:
                    settle_place(self.places, old[i])
        settle_place(self.places, Place(key, <int64_t>self.rows.size()))
        row.kind = note.kind
        row.topic.assign(<const char*>note.topic, note.topic_length)
        self.rows.push_back(row)
        return &self.rows.back()

    cpdef dict take(self):
        """{(topic, kind): (runs, records, bytes)}, and forgets it. ``runs`` is the JSON of AuditEvent.partitions: where
        others write in between there is one for each produce, too many to become objects."""
        taken = {}
        cdef vector[FlowRow] no_rows
        cdef vector[Place] no_places
        cdef FlowRow* row
        cdef int64_t records, size
        cdef string text
        cdef size_t i, j
        for i in range(self.rows.size()):
            row = &self.rows[i]
            row.ended.push_back(row.last)
            records = size = 0
            text.clear()
            for j in range(row.ended.size()):
                put_run(text, row.ended[j])
                records += row.ended[j].records
                size += row.ended[j].size
            found = taken.setdefault(((<bytes>row.topic).decode("utf-8", "replace"), <int>row.kind), [[], 0, 0])
            found[0].append(<bytes>text)
            found[1] += records
            found[2] += size
        # Given back as well: an idle session keeps no room for what it once did.
        self.rows.swap(no_rows)
        self.places.swap(no_places)
        self.runs = 0
        return {key: (b"[" + b",".join(texts) + b"]", moved, many) for key, (texts, moved, many) in taken.items()}


cdef void put_run(string& text, Run& run) noexcept:
    cdef int64_t[5] numbers
    cdef int i
    numbers[0], numbers[1], numbers[2], numbers[3], numbers[4] = run.partition, run.first, run.last, run.records, run.size
    if not text.empty():
        text.push_back(COMMA)
    text.push_back(OPENING)
    for i in range(5):
        if i:
            text.push_back(COMMA)
        put_number(text, numbers[i])
    text.push_back(CLOSING)


cdef void put_number(string& text, int64_t number) noexcept:
    cdef char[20] digits
    cdef int at = 20
    cdef uint64_t left = <uint64_t>number
    if number < 0:
        text.push_back(MINUS)
        left = 0 - left
    while True:
        at -= 1
        digits[at] = <char>(ZERO + left % 10)
        left //= 10
        if left == 0:
            break
    text.append(&digits[at], 20 - at)


cdef inline uint64_t mix(uint64_t key) noexcept:
    key *= <uint64_t>0x9E3779B97F4A7C15
    return key ^ (key >> 32)


cdef void settle_place(vector[Place]& places, Place place) noexcept:
    cdef uint64_t mask = places.size() - 1
    cdef uint64_t at = mix(place.key) & mask
    while places[at].row >= 0:
        at = (at + 1) & mask
    places[at] = place


cdef class Pen:
    cdef bint write(self, const char* data, Py_ssize_t size) noexcept:
        cdef ssize_t written = write(self.fd, data, size)
        if written == size:
            self.room -= size
            self.written += size
            return True
        self.torn = written > 0
        self.room = 0
        return False


cdef class Ledger:
    """``spool`` has ``append(kind, payload)``, ``commit()`` (both may raise OSError), ``refusing`` and perhaps a ``pen``."""

    def __init__(self, spool):
        self.spool = spool
        self.pen = getattr(spool, "pen", None)
        self.refusing = False

    cdef int add(self, uint64_t session, int32_t correlation, NoteRow* row) noexcept:
        # SAFETY: the vector owns the bytes; ``out`` is used before it can grow again.
        cdef size_t at = self.notes.size()
        cdef char* out
        if at == 0:
            at = ENTRY_HEAD
        self.notes.resize(at + MOST_HEAD + row.topic_length)
        out = self.notes.data() + at
        out[0] = row.kind
        out = put_varint(out + 1, session)
        out = put_varint(out, zigzag(correlation))
        out = put_varint(out, zigzag(row.partition))
        out = put_varint(out, zigzag(row.first_offset))
        # Unsigned, because a broker may answer any two numbers.
        out = put_varint(out, zigzag(<int64_t>(<uint64_t>row.last_offset - <uint64_t>row.first_offset)))
        out = put_varint(out, zigzag(row.records))
        out = put_varint(out, zigzag(row.size))
        out = put_varint(out, zigzag(row.error))
        out = put_varint(out, <uint64_t>row.topic_length)
        memcpy(out, row.topic, row.topic_length)
        self.notes.resize(out + row.topic_length - self.notes.data())
        return 0

    cpdef bint commit(self) except -1:
        """Writes the turn's notes and events. False: they are not on disk, so what they are about must not leave."""
        cdef size_t size = self.notes.size()
        cdef uint32_t head[2]
        if self.pen is not None and self.pen.room > <long long>size:
            self.refusing = False       # A spool that is full lends nothing.
            if size == 0:
                return True
            self.notes[8] = NOTES
            head[0] = <uint32_t>(size - 8)
            head[1] = <uint32_t>crc32(0, <const unsigned char*>self.notes.data() + 8, head[0])
            memcpy(self.notes.data(), head, 8)
            if self.pen.write(self.notes.data(), size):
                self.notes.clear()
                return True
        return self.commit_through_spool()

    cdef bint commit_through_spool(self) except -1:
        cdef size_t size = self.notes.size()
        try:
            if size:
                payload = PyBytes_FromStringAndSize(self.notes.data() + ENTRY_HEAD, size - ENTRY_HEAD)
                self.notes.clear()
                self.spool.append(NOTES, payload)
            self.spool.commit()
            self.refusing = self.spool.refusing
            return True
        except (SpoolFull, OSError):
            self.notes.clear()
            self.refusing = True
            return False
        except Exception as error:
            # Nothing of this turn may leave either; but no disk is to blame, and the next turn may do better.
            self.notes.clear()
            self.spool.on_failed(error)
            return False


cdef inline uint64_t zigzag(int64_t number) noexcept:
    return (<uint64_t>number << 1) ^ <uint64_t>(number >> 63)


cdef inline int64_t unzigzag(uint64_t number) noexcept:
    return <int64_t>((number >> 1) ^ (0 - (number & 1)))


cdef inline char* put_varint(char* out, uint64_t number) noexcept:
    while number > 0x7F:
        out[0] = <char>(number | 0x80)
        number >>= 7
        out += 1
    out[0] = <char>number
    return out + 1


cdef const unsigned char* take_varint(const unsigned char* at, const unsigned char* end, uint64_t* number) noexcept:
    """What stands behind it; NULL if it has no end."""
    cdef int shift = 0
    number[0] = 0
    while at < end and shift < 64:
        number[0] |= <uint64_t>(at[0] & 0x7F) << shift
        if at[0] < 0x80:
            return at + 1
        at += 1
        shift += 7
    return NULL


def read_notes(const unsigned char[:] payload not None):
    """[(kind, session, correlation, partition, first, last, records, bytes, error, topic)] of one entry of notes (see
    kproxy.model.spool). What is cut short or no note ends the list."""
    cdef list found = []
    cdef uint64_t[9] numbers
    cdef const unsigned char* at
    cdef const unsigned char* end
    cdef int i, kind
    if payload.shape[0] == 0:
        return found
    at = &payload[0]
    end = at + payload.shape[0]
    while at < end:
        kind = at[0]
        at += 1
        for i in range(9):
            at = take_varint(at, end, &numbers[i])
            if at == NULL:
                return found
        if numbers[8] > <uint64_t>(end - at):
            return found
        found.append((kind, numbers[0], unzigzag(numbers[1]), unzigzag(numbers[2]), unzigzag(numbers[3]),
                      <int64_t>(<uint64_t>unzigzag(numbers[3]) + <uint64_t>unzigzag(numbers[4])), unzigzag(numbers[5]),
                      unzigzag(numbers[6]), unzigzag(numbers[7]),
                      (<const char*>at)[:numbers[8]].decode("utf-8", "replace")))
        at += numbers[8]
    return found


cdef class Counters:
    def __init__(self, str listener):
        self.listener = listener

    cdef void answered(self, int api, double seconds) noexcept:
        cdef int bucket = 0
        while bucket < BUCKETS and seconds > _bounds[bucket]:
            bucket += 1
        self.durations[api][bucket] += 1
        self.duration_sums[api] += seconds

    cpdef dict read(self):
        """Plain values, api keys as numbers: requests {(api, decision): n}, durations {api: [buckets…, sum]}, totals."""
        requests = {}
        durations = {}
        cdef int api, decision, bucket
        for api in range(APIS):
            for decision in range(DECISIONS):
                if self.requests[api][decision]:
                    requests[(api, DECISION_NAMES[decision])] = self.requests[api][decision]
            counts = [self.durations[api][bucket] for bucket in range(BUCKETS + 1)]
            if any(counts):
                durations[api] = [*counts, self.duration_sums[api]]
        return {
            "requests": requests, "durations": durations, "bytes_in": self.bytes_in, "bytes_out": self.bytes_out,
            "records_in": self.records_in, "records_out": self.records_out,
        }


def add_outcome(Flow flow not None, bytes topic, int partition, int64_t first, int64_t last, int records, int size):
    """What a broker's answer adds to a flow, for tests."""
    cdef NoteRow row
    row.kind, row.partition, row.records, row.size = OUTCOME, partition, records, size
    row.first_offset, row.last_offset = first, last
    row.topic, row.topic_length = topic, len(topic)
    row.hash = hash_topic(row.topic, row.topic_length)
    flow.add(&row, 1.0)


def add_note(Ledger ledger not None, int kind, uint64_t session, int32_t correlation, int32_t partition, int64_t first,
             int64_t last, int32_t records, int32_t size, int error, str topic not None):
    """One note into the ledger's turn, for tests; see ``read_notes``."""
    cdef NoteRow row
    cdef bytes name = topic.encode()
    row.kind, row.error, row.partition, row.records, row.size = kind, error, partition, records, size
    row.first_offset, row.last_offset = first, last
    row.topic, row.topic_length = name, len(name)
    ledger.add(session, correlation, &row)
