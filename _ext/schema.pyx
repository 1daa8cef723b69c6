# cython: wraparound=True
"""The table of facts, compiled into flat programs, and the walk that runs them. See the .pxd for the marks.

A program is an array of ops for one (api, version, direction). Fixed-size neighbours of no interest are one SKIP; an
array is entered with ARRAY and closed by NEXT, which jumps back while elements are left:

    body    = op* TAGS? END             element = op* TAGS? NEXT
    op      = SKIP | NUMBER | TEXT | ARRAY element* | STRUCT element | FIXED_ARRAY

A struct that may be null (KIP-893), or that something in it is marked of, is an array of one element or none.
"""
from libc.limits cimport INT_MAX
from libc.stdint cimport uint32_t
from libc.stdlib cimport free, malloc, realloc

from kproxy._ext.wire cimport Cursor, load_i16, load_i32, load_i64, read_i16, read_i32, read_uvarint, skip

include "_ext/schema/facts.pxi"
include "_ext/schema/codec.pxi"

cdef enum Code:
    OP_END
    OP_SKIP             # arg bytes
    OP_NUMBER           # arg bytes, marked
    OP_TEXT             # a length, then that many bytes: strings, bytes, records
    OP_ARRAY            # a count, then elements; arg is the op after its NEXT
    OP_STRUCT           # the same with a byte for a count, 1 or -1, or with none
    OP_FIXED_ARRAY      # a count, then elements of ``size`` bytes each, none of them marked
    OP_NEXT
    OP_TAGS             # arg ops of the next two kinds follow
    OP_KNOWN_TAG        # arg is the tag number
    OP_OTHER_TAG        # the same, of a field this version does not have

cdef enum:
    MAX_KEY = 128
    MAX_VERSION = 32
    MAX_NESTING = 8
    MARKS_AT_FIRST = 64
    LAST_TAG = 0x7ffffffe       # Java writes none above it, though it reads one
    LONGEST_STRING = 0x7fff     # Kafka refuses a longer one also where a compact length could say it
    MARKS_TO_KEEP = 1 << 14

cdef struct Op:
    uint8_t code
    uint8_t kind        # of the mark; 0: none
    uint8_t wide        # a legacy length of 4 bytes, otherwise 2
    bint compact
    bint nullable
    bint items          # the elements of an array are structs and get ITEM marks
    int16_t field
    int8_t depth
    int32_t arg
    int32_t size        # of an array's element: exactly (FIXED_ARRAY), or at least

cdef struct Loop:
    int32_t first       # op of an element's first field
    int32_t left
    int32_t array       # marks; -1: none
    int32_t item

# SAFETY: filled once at import, never freed or written again, so a walk needs no lock.
cdef Op* PROGRAMS[2][MAX_KEY][MAX_VERSION]
cdef int8_t FLEXIBLE[MAX_KEY][MAX_VERSION]      # -1 not served, 0 no, 1 yes


cdef class Marks:
    def __cinit__(self):
        self.items = NULL
        self.count = self.room = 0

    def __dealloc__(self):
        free(self.items)


# ---- the walk

cdef int grow(Marks marks) noexcept nogil:
    cdef int room = marks.room * 2 if marks.room else MARKS_AT_FIRST
    if room > MAX_MARKS:
        return -1
    cdef Mark* items = <Mark*>realloc(marks.items, room * sizeof(Mark))
    if items == NULL:
        return -1
    marks.items = items
    marks.room = room
    return 0


cdef inline Mark* add_mark(Marks marks, Cursor* c, Op* op, int kind) noexcept nogil:
    """A new mark of the op's field, or NULL with the cursor bad."""
    if marks.count == marks.room and grow(marks) != 0:
        c.bad = True
        return NULL
    cdef Mark* mark = &marks.items[marks.count]
    marks.count += 1
    mark.field = op.field
    mark.kind = kind
    mark.depth = op.depth
    mark.until = marks.count
    mark.value = 0
    return mark


cdef inline int64_t read_length(Cursor* c, Op* op) noexcept nogil:
    """A length or count as its op writes it: -1 for null. Anything else below zero, or a null that may not be, is
    bad."""
    cdef int64_t length
    if op.compact:
        length = <int64_t>read_uvarint(c) - 1
    else:
        length = read_i32(c) if op.wide else read_i16(c)
    if length < 0 and (length < -1 or not op.nullable):
        c.bad = True
    return length


cdef inline int64_t read_presence(Cursor* c, Op* op) noexcept nogil:
    """The count of a struct: -1 for null. Java takes any byte that is not negative for "present", and writes 1."""
    cdef const unsigned char* at = c.at
    if not op.nullable:
        return 1
    if not skip(c, 1) or (at[0] != 1 and at[0] != 0xff):
        c.bad = True
        return -1
    return 1 if at[0] == 1 else -1


cdef inline void walk_number(Cursor* c, Op* op, const unsigned char* data, Marks marks) noexcept nogil:
    cdef const unsigned char* start = c.at
    cdef Mark* mark
    if not skip(c, op.arg):
        return
    mark = add_mark(marks, c, op, SCALAR)
    if mark == NULL:
        return
    mark.at = mark.whole_at = <int32_t>(start - data)
    mark.length = mark.whole_length = op.arg
    if op.arg == 4:
        mark.value = load_i32(start)
    elif op.arg == 2:
        mark.value = load_i16(start)
    elif op.arg == 8:
        mark.value = load_i64(start)
    elif op.arg == 1:
        mark.value = <int8_t>start[0]


cdef inline void walk_text(Cursor* c, Op* op, const unsigned char* data, Marks marks) noexcept nogil:
    cdef const unsigned char* start = c.at
    cdef int64_t length = read_length(c, op)
    cdef const unsigned char* content = c.at
    cdef Mark* mark
    if c.bad or (length > 0 and not skip(c, length)) or op.kind == 0:
        return
    if op.kind == STRING and length > LONGEST_STRING:
        c.bad = True
        return
    mark = add_mark(marks, c, op, op.kind)
    if mark == NULL:
        return
    mark.at = <int32_t>(content - data)
    mark.length = <int32_t>length
    mark.whole_at = <int32_t>(start - data)
    mark.whole_length = <int32_t>(c.at - start)


cdef inline Op* find_tag(Op* op, uint32_t number) noexcept nogil:
    cdef int i
    for i in range(1, op.arg + 1):
        if op[i].arg == <int64_t>number:
            return &op[i]
    return NULL


cdef void walk_tags(Cursor* c, Op* op, const unsigned char* data, Marks marks) noexcept nogil:
    """A tag section that is not empty. Tags must rise strictly, for a tag said twice would be read in two ways; and a
    tag of another version is refused, as Kafka does."""
    cdef const unsigned char* start = c.at
    cdef uint32_t count = read_uvarint(c), size, number, n
    cdef int64_t last = -1
    cdef Op* known
    cdef int section = -1
    cdef Mark* mark
    if c.bad or count > (c.end - c.at) // 2:
        c.bad = True
        return
    if op.kind:
        mark = add_mark(marks, c, op, TAGS)
        if mark == NULL:
            return
        section = marks.count - 1
        mark.value = count
        mark.whole_at = <int32_t>(start - data)
        mark.at = <int32_t>(c.at - data)
    for n in range(count):
        start = c.at
        number = read_uvarint(c)
        size = read_uvarint(c)
        if c.bad or number <= last or number > LAST_TAG or not skip(c, size):
            c.bad = True
            return
        last = number
        known = find_tag(op, number)
        if known != NULL and known.code == OP_OTHER_TAG:
            c.bad = True
            return
        if section < 0:
            continue
        mark = add_mark(marks, c, op, TAG)
        if mark == NULL:
            return
        mark.field = known.field if known != NULL else 0
        mark.value = number
        mark.at = <int32_t>(c.at - data - size)
        mark.length = <int32_t>size
        mark.whole_at = <int32_t>(start - data)
        mark.whole_length = <int32_t>(c.at - start)
    if section >= 0:
        mark = &marks.items[section]
        mark.until = marks.count
        mark.length = <int32_t>(c.at - data) - mark.at
        mark.whole_length = <int32_t>(c.at - data) - mark.whole_at


cdef inline int enter_array(Cursor* c, Op* op, int pc, const unsigned char* data, Marks marks,
                            Loop* loop) noexcept nogil:
    """The op to go on with. ``loop`` is to be pushed when that is the element's first op."""
    cdef const unsigned char* start = c.at
    cdef int64_t count = read_presence(c, op) if op.code == OP_STRUCT else read_length(c, op)
    cdef Mark* mark = NULL
    if c.bad or count > (c.end - c.at) // op.size:
        c.bad = True
        return pc
    loop.array = loop.item = -1
    if op.kind:
        mark = add_mark(marks, c, op, op.kind)
        if mark == NULL:
            return pc
        loop.array = marks.count - 1
        mark.value = count
        mark.at = <int32_t>(c.at - data)
        mark.length = 0
        mark.whole_at = <int32_t>(start - data)
        mark.whole_length = <int32_t>(c.at - start)
    if op.code == OP_FIXED_ARRAY:
        if count > 0:
            c.at += count * op.size
            if op.kind:
                mark.length = <int32_t>(count * op.size)
        return pc + 1
    if count <= 0:
        return op.arg
    loop.first = pc + 1
    loop.left = <int32_t>count
    if op.items:
        open_item(c, op, data, marks, loop)
    return pc + 1


cdef inline void open_item(Cursor* c, Op* op, const unsigned char* data, Marks marks, Loop* loop) noexcept nogil:
    cdef Mark* mark = add_mark(marks, c, op, ITEM)
    if mark != NULL:
        loop.item = marks.count - 1
        mark.at = mark.whole_at = <int32_t>(c.at - data)


cdef inline bint next_element(Cursor* c, Op* array, const unsigned char* data, Marks marks, Loop* loop) noexcept nogil:
    """Closes the element that ends here. True when another follows."""
    cdef Mark* mark
    if loop.item >= 0:
        mark = &marks.items[loop.item]
        mark.until = marks.count
        mark.length = mark.whole_length = <int32_t>(c.at - data) - mark.at
    loop.left -= 1
    if loop.left > 0:
        if array.items:
            open_item(c, array, data, marks, loop)
        return True
    if loop.array >= 0:
        mark = &marks.items[loop.array]
        mark.until = marks.count
        mark.length = <int32_t>(c.at - data) - mark.at
    return False


cdef void make_ready(Marks marks) noexcept nogil:
    """One huge message must not hold its marks for the rest of a connection's life."""
    if marks.room > MARKS_TO_KEEP and marks.count < MARKS_TO_KEEP // 4:
        free(marks.items)
        marks.items = NULL
        marks.room = 0
    marks.count = 0


cdef int walk_body(int api_key, int version, bint response, const unsigned char* data, Py_ssize_t length,
                   Marks marks) noexcept nogil:
    cdef Loop loops[MAX_NESTING]
    cdef int depth = -1, pc = 0, follow
    cdef Cursor c
    cdef Op* program
    cdef Op* op
    make_ready(marks)
    if not is_served(api_key, version) or length < 0 or length > INT_MAX:
        return BAD
    program = PROGRAMS[response][api_key][version]
    c.at = data
    c.end = data + length
    c.bad = False
    while not c.bad:
        op = &program[pc]
        if op.code == OP_NUMBER:
            walk_number(&c, op, data, marks)
        elif op.code == OP_TEXT:
            walk_text(&c, op, data, marks)
        elif op.code == OP_SKIP:
            skip(&c, op.arg)
        elif op.code == OP_TAGS:
            if c.at != c.end and c.at[0] == 0:
                c.at += 1
            else:
                walk_tags(&c, op, data, marks)
            pc += op.arg
        elif op.code == OP_NEXT:
            if next_element(&c, &program[loops[depth].first - 1], data, marks, &loops[depth]):
                pc = loops[depth].first
                continue
            depth -= 1
        elif op.code == OP_END:
            return 0 if c.at == c.end else TRAILING
        else:
            follow = enter_array(&c, op, pc, data, marks, &loops[depth + 1])
            if op.code != OP_FIXED_ARRAY and follow == pc + 1:
                depth += 1
            pc = follow
            continue
        pc += 1
    return BAD


cdef bint is_served(int api_key, int version) noexcept nogil:
    return 0 <= api_key < MAX_KEY and 0 <= version < MAX_VERSION and FLEXIBLE[api_key][version] >= 0


cdef bint is_flexible(int api_key, int version) noexcept nogil:
    return is_served(api_key, version) and FLEXIBLE[api_key][version] == 1


cdef int request_header_version(int api_key, int version) noexcept nogil:
    return 1 + FLEXIBLE[api_key][version] if is_served(api_key, version) else -1


cdef int response_header_version(int api_key, int version) noexcept nogil:
    """An ApiVersions answer has header 0 for ever, so that a client can read it before it knows any version
    (KIP-511)."""
    if not is_served(api_key, version):
        return -1
    return FLEXIBLE[api_key][version] if api_key != 18 else 0


include "_ext/schema/program.pxi"


def walk(int api_key, int version, bint response, const unsigned char[::1] body not None):
    """The marks of a body as dicts, for tests: the same walk the data path makes. Raises WireError when it is BAD."""
    cdef Marks marks = Marks()
    cdef const unsigned char* data = &body[0] if body.shape[0] else <const unsigned char*>b""
    if walk_body(api_key, version, response, data, body.shape[0], marks) != 0:
        raise WireError(f"api {api_key} version {version}: the body is not what the schema says")
    return [dict(marks.items[i], name=NAMES[marks.items[i].field]) for i in range(marks.count)]
