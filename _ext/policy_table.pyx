"""Decisions already taken, found again by resource, operation and name in the time of one hash."""
# The C face, with the states and who owns what, is kproxy/_ext/policy_table.pxd.
# bench/micro/policy_table.py measures the hot look-up.
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.stdint cimport int16_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy

cdef extern from *:
    """
    // SipHash keyed with the process's own secret: names come from clients, who must not be able to make them collide.
    #if PY_VERSION_HEX >= 0x030E0000
    #define kp_hash_bytes Py_HashBuffer
    #else
    #define kp_hash_bytes _Py_HashBytes
    #endif
    """
    Py_hash_t kp_hash_bytes(const void* data, Py_ssize_t length) noexcept nogil


RESOURCES = {
    "topic": RESOURCE_TOPIC, "group": RESOURCE_GROUP, "cluster": RESOURCE_CLUSTER,
    "transactional_id": RESOURCE_TRANSACTIONAL_ID, "any_topic": RESOURCE_ANY_TOPIC,
}
OPERATIONS = {
    "read": OPERATION_READ, "write": OPERATION_WRITE, "create": OPERATION_CREATE, "delete": OPERATION_DELETE,
    "alter": OPERATION_ALTER, "describe": OPERATION_DESCRIBE, "cluster_action": OPERATION_CLUSTER_ACTION,
    "describe_configs": OPERATION_DESCRIBE_CONFIGS, "alter_configs": OPERATION_ALTER_CONFIGS,
    "idempotent_write": OPERATION_IDEMPOTENT_WRITE, "two_phase_commit": OPERATION_TWO_PHASE_COMMIT,
}
RESOURCE_NAMES = {number: name for name, number in RESOURCES.items()}
OPERATION_NAMES = {number: name for name, number in OPERATIONS.items()}
cdef dict EFFECTS = {"allow": EFFECT_ALLOW, "deny": EFFECT_DENY, "ask": EFFECT_ASK}

cdef Py_ssize_t FIRST_SLOTS = 64
# Names longer than this on average make the table drop early: memory is bounded by what a client sends, not by its length.
cdef Py_ssize_t NAME_BYTES_PER_CELL = 128


class NotUtf8:
    """The verdict on a name that is not UTF-8: no rule could mean it, so nobody may."""

    effect = "deny"
    rule = ""
    reason = "the name is not UTF-8"
    valid_until = float("inf")
    wanted = None
    would = None
    condition_errors = ()
    safeguards = ()


cdef object NOT_UTF8 = NotUtf8()


cdef class PolicyTable:
    def __cinit__(self, decide, Py_ssize_t most=65536):
        if most < 1:
            raise ValueError("a table holds at least one cell")
        self._decide = decide
        self._most = most
        self._resize(FIRST_SLOTS)

    def __dealloc__(self):
        cdef Py_ssize_t at
        if self._slots != NULL:
            for at in range(self._mask + 1):
                free_entry(self._slots[at])
            free(self._slots)
        self._free_retired()

    def __len__(self):
        return self._count

    cdef Cell* look_up(self, int resource, int operation, const unsigned char* name, Py_ssize_t length,
                       double now) except NULL:
        cdef uint64_t hash = hash_key(resource, operation, name, length)
        cdef Py_ssize_t at = <Py_ssize_t>(hash & <uint64_t>self._mask)
        cdef Entry* entry = self._slots[at]
        while entry != NULL:
            if (entry.hash == hash and entry.length == length and entry.resource == resource
                    and entry.operation == operation and (length == 0 or memcmp(entry.name, name, length) == 0)):
                break
            at = (at + 1) & self._mask
            entry = self._slots[at]
        if entry == NULL or not (entry.decided_at <= now < entry.cell.valid_until):
            entry = self._fill(entry, hash, resource, operation, name, length, now)
        entry.cell.hits += 1
        return &entry.cell

    cdef Entry* _fill(self, Entry* entry, uint64_t hash, int resource, int operation, const unsigned char* name,
                      Py_ssize_t length, double now) except NULL:
        cdef Cell fresh
        cdef PyObject* old_verdict
        cdef PyObject* old_plan
        cdef bint is_new = entry == NULL
        verdict, plan = self._ask(resource, operation, name[:length], now)
        fresh.effect = EFFECTS[verdict.effect]
        fresh.would = -1 if verdict.would is None else EFFECTS[verdict.would]
        fresh.valid_until = verdict.valid_until
        fresh.hits = 0 if is_new else entry.cell.hits
        if is_new:
            if self._count >= self._most or self._bytes > self._most * NAME_BYTES_PER_CELL:
                self._drop()
            entry = new_entry(hash, resource, operation, name, length)
            try:
                self._place(entry)
            except BaseException:
                free(entry)
                raise
        # SAFETY: the entry owns one reference to each until the next fill or until it is freed.
        Py_INCREF(verdict)
        fresh.verdict = <PyObject*>verdict
        fresh.plan = NULL
        if plan is not None:
            Py_INCREF(plan)
            fresh.plan = <PyObject*>plan
        # The verdict keeps them alive.
        safeguards = verdict.safeguards
        fresh.safeguards = <PyObject*>safeguards if safeguards else NULL
        old_verdict, old_plan = entry.cell.verdict, entry.cell.plan
        entry.cell = fresh
        entry.decided_at = now
        Py_XDECREF(old_verdict)
        Py_XDECREF(old_plan)
        return entry

    def _ask(self, int resource, int operation, bytes name, double now):
        try:
            text = name.decode("utf-8")
        except UnicodeDecodeError:
            return NOT_UTF8, None
        if self._deciding:
            raise RuntimeError("a decision may not ask its own table")
        self._deciding = True
        try:
            return self._decide(RESOURCE_NAMES[resource], OPERATION_NAMES[operation], text, now)
        finally:
            self._deciding = False

    cdef int _place(self, Entry* entry) except -1:
        cdef Py_ssize_t at
        if (self._count + 1) * 2 > self._mask + 1:
            self._resize((self._mask + 1) * 2)
        at = <Py_ssize_t>(entry.hash & <uint64_t>self._mask)
        while self._slots[at] != NULL:
            at = (at + 1) & self._mask
        self._slots[at] = entry
        self._count += 1
        self._bytes += entry.length
        return 0

    cdef int _resize(self, Py_ssize_t slots) except -1:
        cdef Entry** fresh = <Entry**>calloc(slots, sizeof(Entry*))
        cdef Entry** old = self._slots
        cdef Py_ssize_t at, place, old_slots = self._mask + 1
        if fresh == NULL:
            raise MemoryError()
        if old != NULL:
            for at in range(old_slots):
                if old[at] != NULL:
                    place = <Py_ssize_t>(old[at].hash & <uint64_t>(slots - 1))
                    while fresh[place] != NULL:
                        place = (place + 1) & (slots - 1)
                    fresh[place] = old[at]
            free(old)
        self._slots = fresh
        self._mask = slots - 1
        return 0

    cdef int _drop(self) except -1:
        """Begins anew. The entries are only set aside: the frame being opened may hold cells found a moment ago."""
        cdef Entry** old = self._slots
        cdef Py_ssize_t old_slots = self._mask + 1
        self._slots = NULL
        try:
            self._resize(FIRST_SLOTS)
        except MemoryError:
            self._slots = old
            raise
        self._free_retired()
        self._retired = old
        self._retired_count = old_slots
        self._count = self._bytes = 0
        self.drops += 1
        return 0

    cdef void _free_retired(self) noexcept:
        cdef Py_ssize_t at
        cdef Entry** retired = self._retired
        self._retired = NULL
        if retired != NULL:
            for at in range(self._retired_count):
                free_entry(retired[at])
            free(retired)

    cpdef clear(self):
        """Forgets everything: the facts, the snapshot or the grants are no longer those the cells rest on."""
        if self._deciding:
            raise RuntimeError("a decision may not clear its own table")
        self._drop()
        self.drops -= 1
        self._free_retired()

    def look_up_py(self, str resource, str operation, bytes name, double now):
        cdef Cell* cell = self.look_up(RESOURCES[resource], OPERATIONS[operation],
                                       <const unsigned char*>PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), now)
        return <object>cell.verdict, None if cell.plan == NULL else <object>cell.plan, cell.hits

    def repeat_look_up(self, str resource, str operation, names, double now, int rounds):
        cdef int resource_code = RESOURCES[resource], operation_code = OPERATIONS[operation], turn
        cdef list held = list(names)
        cdef bytes name
        cdef Cell* cell
        cdef Py_ssize_t allowed = 0
        for turn in range(rounds):
            for name in held:
                cell = self.look_up(resource_code, operation_code, <const unsigned char*>PyBytes_AS_STRING(name),
                                    PyBytes_GET_SIZE(name), now)
                allowed += cell.effect == EFFECT_ALLOW
        return allowed


cdef inline uint64_t hash_key(int resource, int operation, const unsigned char* name, Py_ssize_t length) noexcept nogil:
    cdef uint64_t hash = <uint64_t>kp_hash_bytes(name, length)
    hash ^= (<uint64_t>resource << 8 | <uint64_t>operation) * <uint64_t>0x9E3779B97F4A7C15
    return hash ^ (hash >> 32)


cdef Entry* new_entry(uint64_t hash, int resource, int operation, const unsigned char* name,
                      Py_ssize_t length) except NULL:
    cdef Entry* entry = <Entry*>malloc(sizeof(Entry) + length)
    if entry == NULL:
        raise MemoryError()
    entry.cell.verdict = NULL
    entry.cell.plan = NULL
    entry.cell.safeguards = NULL
    entry.hash = hash
    entry.resource = <int16_t>resource
    entry.operation = <int16_t>operation
    entry.length = length
    if length > 0:      # an empty name may come as a null pointer
        memcpy(entry.name, name, length)
    return entry


cdef void free_entry(Entry* entry) noexcept:
    if entry != NULL:
        Py_XDECREF(entry.cell.verdict)
        Py_XDECREF(entry.cell.plan)
        free(entry)
