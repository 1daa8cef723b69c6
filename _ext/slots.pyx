"""The order of answers; see the .pxd."""
cimport cython
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

cdef enum:
    FIRST_ROOM = 16
    BYTES_PER_MARK = 256        # what a refused item costs as a dict of its fields, or a topic's id with its name


cdef Intent* find_intent(Slot* slot, NoteRow* row) noexcept:
    """The intent that a produce answer's partition settles; NULL if the broker names what was never sent."""
    if slot.intents == 0:
        return NULL
    cdef int i
    if slot.intent.partition == row.partition and slot.intent.topic == row.hash:
        return &slot.intent
    for i in range(slot.intents - 1):
        if slot.more[i].partition == row.partition and slot.more[i].topic == row.hash:
            return &slot.more[i]
    return NULL


@cython.final
cdef class Slots:
    def __cinit__(self):
        self.ring = <Slot*>calloc(FIRST_ROOM, sizeof(Slot))
        if self.ring == NULL:
            raise MemoryError
        self.room = FIRST_ROOM

    def __dealloc__(self):
        while self.count:
            self.pop()
        free(self.ring)

    cdef Slot* head(self) noexcept:
        return &self.ring[self.first]

    cdef Slot* tail(self) noexcept:
        return &self.ring[(self.first + self.count - 1) & (self.room - 1)]

    cdef void keep(self, Slot* slot, Py_ssize_t size) noexcept:
        slot.kept += size
        self.waiting += size

    cdef Slot* add(self, double now) except NULL:
        cdef Slot* grown
        cdef Slot* slot
        cdef int i
        if self.count == self.room:
            grown = <Slot*>calloc(self.room * 2, sizeof(Slot))
            if grown == NULL:
                raise MemoryError
            for i in range(self.count):
                grown[i] = self.ring[(self.first + i) & (self.room - 1)]
            free(self.ring)
            self.ring = grown
            self.first = 0
            self.room *= 2
        slot = &self.ring[(self.first + self.count) & (self.room - 1)]
        memset(slot, 0, sizeof(Slot))
        slot.started = now
        self.count += 1
        self.keep(slot, sizeof(Slot))
        return slot

    cdef Slot* push(self, Opening opening, double now) except NULL:
        cdef Slot* slot = self.add(now)
        slot.api_key = opening.head.api_key
        slot.api_version = opening.head.api_version
        slot.correlation = opening.head.correlation
        return slot

    cdef int push_own(self, double now) except -1:
        self.add(now).api_key = OWN
        return 0

    cdef int push_reply(self, Opening opening, bytes frame, double now) except -1:
        cdef Slot* slot = self.push(opening, now)
        Py_INCREF(frame)
        slot.reply = <void*>frame
        self.keep(slot, len(frame))
        return 0

    cdef int remember(self, Slot* slot, Opening opening) except -1:
        """Keeps what the answer will need: the API module's memo, names of ids, a produce's intents."""
        cdef int i
        cdef Intent* intent
        if opening.memo is not None:
            Py_INCREF(opening.memo)
            slot.memo = <void*>opening.memo
            self.keep(slot, opening.marks.count * <Py_ssize_t>BYTES_PER_MARK)
        if opening.named is not None:
            Py_INCREF(opening.named)
            slot.named = <void*>opening.named
            self.keep(slot, len(opening.named) * <Py_ssize_t>BYTES_PER_MARK)
        if opening.note_count > 1:
            slot.more = <Intent*>malloc((opening.note_count - 1) * sizeof(Intent))
            if slot.more == NULL:
                raise MemoryError
            self.keep(slot, (opening.note_count - 1) * <Py_ssize_t>sizeof(Intent))
        slot.intents = opening.note_count
        for i in range(opening.note_count):
            intent = &slot.intent if i == 0 else &slot.more[i - 1]
            intent.topic = opening.notes[i].hash
            intent.partition = opening.notes[i].partition
            intent.records = opening.notes[i].records
            intent.size = opening.notes[i].size
        return 0

    cdef void recall(self, Slot* slot, Opening opening) noexcept:
        """Whose answer it is that is opened."""
        opening.head.api_key = slot.api_key
        opening.head.api_version = slot.api_version
        opening.head.correlation = slot.correlation
        opening.named = <dict>slot.named if slot.named != NULL else None

    cdef void pop(self) noexcept:
        cdef Slot* slot = &self.ring[self.first]
        self.waiting -= slot.kept
        if slot.reply != NULL:
            Py_DECREF(<object>slot.reply)
        if slot.memo != NULL:
            Py_DECREF(<object>slot.memo)
        if slot.named != NULL:
            Py_DECREF(<object>slot.named)
        free(slot.more)
        slot.reply = NULL
        slot.memo = NULL
        slot.named = NULL
        slot.more = NULL
        self.first = (self.first + 1) & (self.room - 1)
        self.count -= 1

    cdef int unanswered(self) noexcept:
        """Produces that were forwarded and not answered yet."""
        cdef int i, found = 0
        for i in range(self.count):
            found += self.ring[(self.first + i) & (self.room - 1)].intents
        return found
