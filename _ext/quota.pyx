"""Quotas; see the .pxd."""
from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdlib cimport calloc, free
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from kproxy._ext.apis cimport APIS
from kproxy._ext.authorise cimport find_top
from kproxy._ext.fields cimport F_THROTTLE_TIME_MS
from kproxy._ext.schema cimport Mark, is_served, response_header_version
from kproxy._ext.wire cimport load_i32, store_i32

import mmap
import os

from kproxy._ext import schema

cdef extern from "shared_budgets.hpp" namespace "kproxy" nogil:
    CBudget* find_budget(Table* shared, uint64_t key)
    void set_rate(CBudget* row, int kind, double rate)
    int64_t use_budget(CBudget* row, int kind, double amount, double rate, int64_t now)
    Holder* next_holder(Table* shared, uint64_t key, size_t* step)
    Holder* add_holder(Table* shared, uint64_t key)
    uint64_t read_state(Holder* row)
    bint change_state(Holder* row, uint64_t before, uint64_t after)
    void forget_process(Table* shared, uint64_t pid)

cdef enum:
    PRODUCE = 0
    FETCH = 1
    SHARE_FETCH = 78
    NEVER = 0x7fff

#: Version from which on the answer of an API begins with throttle_time_ms, and from which on it has one at all.
cdef int[APIS] begins_with_throttle
cdef int[APIS] has_throttle


cdef int fill() except -1:
    cdef int key
    for key in range(APIS):
        begins_with_throttle[key] = has_throttle[key] = NEVER
    for key in schema.names():
        if not 0 <= key < APIS:
            continue
        lowest, highest = schema.versions(key)
        # From the newest down, so that a version that puts another field first, or has none, ends the range.
        for version in range(highest, lowest - 1, -1):
            fields = [one.name for one in schema.fields_of(key, True) if one.at(version) and not one.is_tagged(version)]
            if "throttle_time_ms" not in fields:
                break
            has_throttle[key] = version
            if fields[0] == "throttle_time_ms" and begins_with_throttle[key] in (NEVER, version + 1):
                begins_with_throttle[key] = version
    return 0


fill()


cdef inline int64_t read_monotonic() noexcept:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec * <int64_t>1000000000 + now.tv_nsec


def is_alive(pid):
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


cdef class SharedQuotas:
    def __init__(self, path=None):
        """``path``: a file that the workers of a node have in common, made here if there is none; None: this process
        counts for itself. Raises OSError."""
        cdef Py_buffer view
        self.spare = {}
        if path is None:
            self.memory = mmap.mmap(-1, sizeof(Table))
        else:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                # A page that a full disk cannot give would end the process when it is touched.
                os.posix_fallocate(descriptor, 0, sizeof(Table))
                self.memory = mmap.mmap(descriptor, sizeof(Table))
            finally:
                os.close(descriptor)
        PyObject_GetBuffer(self.memory, &view, PyBUF_WRITABLE)
        # SAFETY: the mapping cannot be closed while ``memory`` lives, because nobody else has it.
        self.table = <Table*>view.buf
        PyBuffer_Release(&view)
        if path is not None:
            forget_process(self.table, os.getpid())

    cdef CBudget* find(self, uint64_t key) except NULL:
        cdef CBudget* row = find_budget(self.table, key)
        if row == NULL:
            # Better each worker for itself than nobody.
            found = self.spare.setdefault(key, bytearray(sizeof(CBudget)))
            row = <CBudget*><unsigned char*>found
        return row

    def enter(self, uint64_t key, uint64_t limit, alive=is_alive):
        """Takes one of ``limit`` places of ``key``; False where all are taken. A place of a process that has ended is
        free."""
        cdef Holder* own = self.own_row(key, alive)
        cdef Holder* row
        cdef uint64_t state, total = 0
        cdef size_t step = 0
        if own == NULL:
            return True     # The table is full: unlimited rather than unreachable.
        while True:
            state = read_state(own)
            if change_state(own, state, state + 1):
                break
        # Taken first and counted then: two workers may both find one place too few, and never one too many.
        while (row := next_holder(self.table, key, &step)) != NULL:
            state = read_state(row)
            if row == own or alive(state >> 32):
                total += state & 0xffffffff
        if total <= limit:
            return True
        self.leave(key)
        return False

    def leave(self, uint64_t key):
        """Gives back a place that was taken."""
        cdef Holder* row
        cdef uint64_t state, mine = <uint64_t>os.getpid()
        cdef size_t step = 0
        while (row := next_holder(self.table, key, &step)) != NULL:
            state = read_state(row)
            while state >> 32 == mine and state & 0xffffffff:
                if change_state(row, state, state - 1):
                    return
                state = read_state(row)

    cdef Holder* own_row(self, uint64_t key, object alive) except? NULL:
        """This process's row of ``key``: its own, one whose process has ended, or a new one."""
        cdef Holder* row
        cdef uint64_t state, mine = <uint64_t>os.getpid()
        cdef size_t step = 0
        while (row := next_holder(self.table, key, &step)) != NULL:
            state = read_state(row)
            if state >> 32 == mine:
                return row
            # One without a number is another worker's, between the two steps in which it takes a row.
            if state >> 32 and not alive(state >> 32) and change_state(row, state, mine << 32):
                return row
        row = add_holder(self.table, key)
        if row != NULL:
            change_state(row, 0, mine << 32)
        return row


cdef class Tally:
    def __init__(self, str name):
        self.name = name


cdef class Budgets:
    def __init__(self, SharedQuotas shared, lines):
        """``lines``: (key, tally, bytes produced, bytes consumed, requests a second), 0 for as much as there is."""
        cdef Line* line
        cdef int kind
        self.shared = shared
        self.lines = <Line*>calloc(max(len(lines), 1), sizeof(Line))
        if self.lines == NULL:
            raise MemoryError
        self.tallies = tuple([tally for _, tally, *_ in lines])
        for key, _, produced, consumed, requests in lines:
            line = &self.lines[self.count]
            line.row = shared.find(key)
            line.rates[<int>PRODUCED] = produced
            line.rates[<int>CONSUMED] = consumed
            line.rates[<int>REQUESTS] = requests
            for kind in range(REQUESTS + 1):
                set_rate(line.row, kind, line.rates[kind])
            self.count += 1

    def __dealloc__(self):
        free(self.lines)

    cdef double use(self, int kind, double amount) noexcept:
        """Seconds to wait. Every budget is used, and the one furthest behind is waited for."""
        cdef double longest = 0, delay
        cdef int64_t now = 0
        cdef int i
        cdef Tally tally
        for i in range(self.count):
            if self.lines[i].rates[kind] <= 0:
                continue
            if now == 0:
                now = read_monotonic()
            delay = use_budget(self.lines[i].row, kind, amount, self.lines[i].rates[kind], now) * 1e-9
            if delay > 0:
                tally = <Tally>self.tallies[i]
                tally.throttled += 1
                tally.seconds += delay
                longest = max(longest, delay)
        return longest

    cdef double on_request(self, int api_key, Py_ssize_t size) noexcept:
        cdef double delay = self.use(REQUESTS, 1)
        return max(delay, self.use(PRODUCED, size)) if api_key == PRODUCE else delay

    cdef double on_answer(self, int api_key, Py_ssize_t size) noexcept:
        return self.use(CONSUMED, size) if api_key == FETCH or api_key == SHARE_FETCH else 0

    def spend(self, str kind, double amount):
        """For tests: uses ``produce``, ``consume`` or ``requests``; gives the seconds to wait."""
        return self.use(("produce", "consume", "requests").index(kind), amount)


cdef unsigned char* find_throttle(Opening opening, bint walked) noexcept:
    """Where an answer of the broker says how long to wait; NULL where it does not."""
    cdef int api = opening.head.api_key
    cdef Mark* mark
    if not 0 <= api < APIS or opening.head.api_version < has_throttle[api]:
        return NULL
    if opening.head.api_version >= begins_with_throttle[api]:
        if opening.body + 4 > opening.length:
            return NULL
        return <unsigned char*>opening.data + opening.body
    if not walked and not opening.walk(True):
        return NULL
    mark = find_top(opening, F_THROTTLE_TIME_MS)
    if mark == NULL:
        return NULL
    return <unsigned char*>opening.data + opening.body + mark.whole_at


cdef int tell_throttle(Opening opening, int32_t milliseconds, bint walked) noexcept:
    cdef unsigned char* at = find_throttle(opening, walked)
    # SAFETY: the buffer is this connection's own, and nobody has been given a part of this frame yet.
    if at != NULL and load_i32(at) < milliseconds:
        store_i32(at, milliseconds)
    return 0


cdef int32_t read_throttle(Opening opening) noexcept:
    cdef unsigned char* at = find_throttle(opening, True)
    return 0 if at == NULL else load_i32(at)


cdef bytes with_throttle(Opening opening, bytes answer, int32_t milliseconds):
    cdef int api = opening.head.api_key, version = opening.head.api_version
    # A version that nobody knows is answered in the words of version 0.
    if milliseconds <= 0 or not 0 <= api < APIS or version < has_throttle[api] or not is_served(api, version):
        return answer
    cdef Py_ssize_t body = 8 + response_header_version(api, version)
    told = schema.parse(api, version, True, answer[body:])
    told["throttle_time_ms"] = max(told["throttle_time_ms"], milliseconds)
    return answer[:body] + schema.build(api, version, True, told)
