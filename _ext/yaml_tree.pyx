"""YAML text composed into nodes that know their line: libyaml's events, and one Python object for each node.

Only plain documents are composed. Text that libyaml refuses, anchors, aliases, tags, directives, a second document and
absurd depth are all answered with "not plain": whoever asked looks again, slowly, and tells what is there.
"""
cimport cython
from cpython.unicode cimport PyUnicode_DecodeUTF8


cdef extern from "yaml.h" nogil:
    ctypedef enum yaml_event_type_t:
        YAML_STREAM_END_EVENT
        YAML_DOCUMENT_START_EVENT
        YAML_DOCUMENT_END_EVENT
        YAML_ALIAS_EVENT
        YAML_SCALAR_EVENT
        YAML_SEQUENCE_START_EVENT
        YAML_SEQUENCE_END_EVENT
        YAML_MAPPING_START_EVENT
        YAML_MAPPING_END_EVENT
    ctypedef struct yaml_mark_t:
        size_t line
    ctypedef struct yaml_parser_t:
        pass
    ctypedef struct Directives "yaml_version_directive_t":
        int major
    ctypedef struct Handle "yaml_tag_directive_t":
        pass
    ctypedef struct HandleRange:
        Handle* start
        Handle* end
    ctypedef struct DocumentStart:
        Directives* version_directive
        HandleRange tag_directives
    ctypedef struct Scalar:
        unsigned char* anchor
        unsigned char* tag
        unsigned char* value
        size_t length
        int plain_implicit
    ctypedef struct CollectionStart:
        unsigned char* anchor
        unsigned char* tag
    ctypedef union EventData:
        DocumentStart document_start
        Scalar scalar
        CollectionStart sequence_start
        CollectionStart mapping_start
    ctypedef struct yaml_event_t:
        yaml_event_type_t type
        EventData data
        yaml_mark_t start_mark
    int yaml_parser_initialize(yaml_parser_t*)
    void yaml_parser_delete(yaml_parser_t*)
    void yaml_parser_set_input_string(yaml_parser_t*, const unsigned char*, size_t)
    int yaml_parser_parse(yaml_parser_t*, yaml_event_t*)
    void yaml_event_delete(yaml_event_t*)


#: What a node is.
SCALAR, SEQUENCE, MAPPING = "scalar", "sequence", "mapping"
#: How it was written, in the place of a tag.
PLAIN, QUOTED, COLLECTION = "plain", "quoted", "collection"

cdef str scalar_kind = SCALAR
cdef str sequence_kind = SEQUENCE
cdef str mapping_kind = MAPPING
cdef str plain_tag = PLAIN
cdef str quoted_tag = QUOTED
cdef str collection_tag = COLLECTION


@cython.final
@cython.no_gc
cdef class Node:
    """``value`` is a scalar's text, a sequence's nodes or a mapping's pairs of nodes; ``line`` counts from 0.

    A tree: no node is in two places, so the cyclic collector is kept away from it."""
    cdef readonly str kind
    cdef readonly str tag
    cdef readonly object value
    cdef readonly Py_ssize_t line

    def __init__(self, str kind not None, str tag not None, value, Py_ssize_t line):
        self.kind = kind
        self.tag = tag
        self.value = value
        self.line = line


cdef Node new_node(str kind, str tag, object value, size_t line):
    cdef Node node = Node.__new__(Node)
    node.kind = kind
    node.tag = tag
    node.value = value
    node.line = line
    return node


cdef list pair(list found):
    """Keys and values, which come one after the other, in pairs."""
    cdef Py_ssize_t at
    return [(found[at], found[at + 1]) for at in range(0, len(found) - 1, 2)]


cdef Node scalar_node(yaml_event_t* event):
    """None for one that is not plain. Raises UnicodeDecodeError."""
    if event.data.scalar.anchor != NULL or event.data.scalar.tag != NULL:
        return None
    value = PyUnicode_DecodeUTF8(<const char*> event.data.scalar.value, event.data.scalar.length, NULL)
    return new_node(scalar_kind, plain_tag if event.data.scalar.plain_implicit else quoted_tag, value,
                    event.start_mark.line)


cdef bint is_plain_start(yaml_event_t* event) noexcept nogil:
    if event.type == YAML_SEQUENCE_START_EVENT:
        return event.data.sequence_start.anchor == NULL and event.data.sequence_start.tag == NULL
    return event.data.mapping_start.anchor == NULL and event.data.mapping_start.tag == NULL


cdef bint is_plain_document(yaml_event_t* event) noexcept nogil:
    if event.data.document_start.version_directive != NULL:
        return False
    return event.data.document_start.tag_directives.start == event.data.document_start.tag_directives.end


@cython.final
cdef class Composer:
    """One document being put together. ``open`` holds the collections that have begun and not ended."""
    cdef list open
    cdef Node root
    cdef int documents
    cdef Py_ssize_t most_depth

    cdef int take(self, yaml_event_t* event) except -1:
        """1: go on; 0: the text is not plain."""
        cdef Node node
        cdef int kind = event.type
        if kind == YAML_SCALAR_EVENT:
            node = scalar_node(event)
            if node is None:
                return 0
            self.put(node)
        elif kind == YAML_SEQUENCE_START_EVENT or kind == YAML_MAPPING_START_EVENT:
            if len(self.open) >= self.most_depth or not is_plain_start(event):
                return 0
            self.open.append(new_node(sequence_kind if kind == YAML_SEQUENCE_START_EVENT else mapping_kind,
                                      collection_tag, [], event.start_mark.line))
        elif kind == YAML_SEQUENCE_END_EVENT or kind == YAML_MAPPING_END_EVENT:
            node = self.open.pop()
            if kind == YAML_MAPPING_END_EVENT:
                node.value = pair(node.value)
            self.put(node)
        elif kind == YAML_DOCUMENT_START_EVENT:
            self.documents += 1
            return self.documents == 1 and is_plain_document(event)
        return kind != YAML_ALIAS_EVENT

    cdef int put(self, Node node) except -1:
        if self.open:
            (<list> (<Node> self.open[len(self.open) - 1]).value).append(node)
        else:
            self.root = node
        return 0


def compose(bytes source not None, Py_ssize_t most_depth):
    """``(True, root)``, the root None where there is no document; ``(False, None)`` for text that is not plain.

    Raises MemoryError, and UnicodeDecodeError for text that is not UTF-8."""
    cdef yaml_parser_t parser       # owned by this call, which deletes it
    cdef yaml_event_t event
    cdef int going = 1
    cdef bint is_end = False
    cdef Composer composer = Composer.__new__(Composer)
    composer.open, composer.most_depth = [], most_depth
    if not yaml_parser_initialize(&parser):
        raise MemoryError
    try:
        yaml_parser_set_input_string(&parser, <const unsigned char*> source, len(source))
        while going and not is_end:
            if not yaml_parser_parse(&parser, &event):
                return False, None
            is_end = event.type == YAML_STREAM_END_EVENT
            try:
                going = composer.take(&event)
            finally:
                yaml_event_delete(&event)
    finally:
        yaml_parser_delete(&parser)
    return (True, composer.root) if going else (False, None)
