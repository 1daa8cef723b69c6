"""Record rules, compiled: what to hide in the records of one topic in one direction.

    Program   detectors and rules, compiled once for a RecordPlan and shared
    Plan      one session's use of a program: its counters and its paths (buffers are the thread's)
"""
from libc.stdint cimport uint32_t, uint64_t
from libcpp cimport bool
from libcpp.memory cimport shared_ptr, unique_ptr
from libcpp.string cimport string
from libcpp.utility cimport pair
from libcpp.vector cimport vector

from kproxy._ext.registered cimport Registered, SchemaTable

cdef enum PlanOutcome:
    PLAN_SAME = 0           # the original span goes on, byte for byte
    PLAN_REPLACED = 1       # ``out`` instead
    PLAN_REFUSED = 2        # error_code, message, record_errors, record_rules
    PLAN_NEEDS_SCHEMA = 3   # ``needed``: ids to be asked for; then the same again


cdef extern from "record_rewriter.hpp" namespace "kproxy":
    const int ENTITY_COUNT "kproxy::ENTITIES"
    cdef cppclass EntityRow:
        const char* name
        const char* group
        const char* pattern
        const char* words
        const char* literals
        const char* source
    const EntityRow& entity_row(int entity)
    cdef cppclass KeyedHash:
        KeyedHash(const string& key) except +
    cdef cppclass TokenKeys:
        void add(const string& id, const string& key) except +
    cdef cppclass Buckets:
        int scale
        bool add(const string& start, const string& end, const string& text) except +
        bool set_size(const string& written) except +
    cdef cppclass Action:
        int kind
        string text
        int keep_first
        int keep_last
        string character
        bool keep_format
        string key_id
        shared_ptr[KeyedHash] key
        shared_ptr[TokenKeys] tokens
        shared_ptr[Buckets] buckets
        int days
        int per
    cdef cppclass FieldRule:
        vector[string] path
        string tag
        Action action
        int rule
        bool is_allow_list
        vector[vector[string]] kept
    cdef cppclass HeaderRule:
        vector[string] name_parts
        Action action
        int rule
    cdef cppclass DetectRule:
        int entity
        Action action
        int rule
        string message
    cdef cppclass Found:
        size_t at
        size_t length
        int which
    cdef cppclass OwnDetector:
        string pattern
        string words
        string literals
        bool luhn
    string pattern_fault_of "kproxy::pattern_fault"(const string& pattern)
    cdef cppclass Detectors:
        Detectors(const vector[int]& entities) except +
        Detectors(const vector[int]& entities, vector[OwnDetector] own) except +
        void find(const string& text, vector[Found]* found, bool look_first) except +
        void find(const string& text, vector[Found]* found, bool look_first, const string& around) except +
    cdef cppclass Limits:
        size_t most_bytes
        size_t any_ratio
        size_t most_ratio
    cdef cppclass Rules:
        vector[FieldRule] fields
        vector[int] of_tags
        vector[FieldRule] key_fields
        vector[HeaderRule] headers
        vector[DetectRule] detects
        shared_ptr[Detectors] detectors
        size_t token_rules
        bool drops_found
        vector[vector[string]] per_paths
        vector[string] rule_messages
        int format
        bool observe
        bool count_fields
        bool refuse_unknown
        bool produce
        bool in_values
        bool in_headers
        bool in_keys
        Limits limits
    cdef cppclass Counts:
        vector[uint64_t] rules
        uint64_t* entities
        uint64_t records
        uint64_t unknown
        uint64_t uninspected
        uint64_t unread_tokens
        void clear()
    cdef cppclass Buffer:
        const char* data()
        size_t size()
    cdef cppclass RecordRewriter:
        RecordRewriter(Rules rules, size_t rule_count) except +
        int transform(const char* data, size_t length, bool zstd) except +
        void read_by(const SchemaTable* schemas, bool last)
        const vector[uint32_t]& needed()
        void hold()
        void take_back()
        const Buffer& out()
        void done()
        int error_code
        string message
        vector[pair[int, string]] record_errors
        vector[int] blocked_rules
        size_t records
        Counts counts


cdef class Program:
    cdef Rules rules
    cdef readonly tuple entities        # names by number: the catalogue's, then the plan's own
    cdef readonly tuple rule_names
    cdef readonly object plan           # the RecordPlan it was made of


cdef class Plan:
    cdef readonly Program program
    cdef unique_ptr[RecordRewriter] rewriter
    cdef readonly bytes out
    cdef readonly int error_code
    cdef readonly str message
    cdef readonly list record_errors    # [(index, message)]
    cdef readonly dict record_rules     # {rule: records it refused}
    cdef Registered schemas             # of the cluster's registry; None: it has none
    cdef readonly tuple needed          # of the last PLAN_NEEDS_SCHEMA
    # Whether what is not in ``schemas`` is unknown, because it was asked for; while it is not, it is to be asked for.
    cdef public bint asked
    # What is counted from ``hold`` on ``take_back`` forgets: the frame is opened again.
    cdef void hold(self) noexcept
    cdef void take_back(self) noexcept
    # ``zstd``: whether the version of the API may carry it (Produce 7, Fetch 10).
    cdef int transform_span(self, const unsigned char* data, Py_ssize_t length, bint zstd) except -1


# A frame of ``length`` bytes begins: what is decompressed from here on is held against it.
cdef void begin_frame(Py_ssize_t length) noexcept


cdef class Finder:
    cdef readonly tuple entities
    cdef unique_ptr[Detectors] detectors
