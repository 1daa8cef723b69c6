"""Record rules, compiled; see the .pxd. The work on bytes is in _ext/cpp/record_rewriter.hpp."""
import hmac
import re
from collections import namedtuple
from functools import lru_cache

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint64_t
from libcpp.memory cimport make_shared, shared_ptr, unique_ptr
from libcpp.string cimport string
from libcpp.vector cimport vector

from kproxy._ext.registered cimport SchemaTable

from kproxy.errors import PolicyError, Problem


cdef extern from *:
    """
    namespace kproxy {
    inline void count_frame(size_t length) { Scratch::of_thread().frame.begin(length); }
    inline void list_paths(RecordRewriter& rewriter, std::vector<std::string>* paths, std::vector<uint64_t>* emitted,
                           std::vector<uint64_t>* masked) {
        const char* part = "";
        auto tell = [&](const std::string& path, uint64_t shown, uint64_t hidden) {
            paths->push_back(part + path);
            emitted->push_back(shown);
            masked->push_back(hidden);
        };
        rewriter.take_paths(tell);
        part = "key:";
        rewriter.key_paths.take(tell);
    }
    }
    """
    void count_frame "kproxy::count_frame"(size_t length) noexcept
    void list_paths "kproxy::list_paths"(RecordRewriter& rewriter, vector[string]* paths,
                                         vector[uint64_t]* emitted, vector[uint64_t]* masked)


Entity = namedtuple("Entity", "name group pattern words literals source")


cdef tuple read_catalogue():
    rows = []
    for number in range(ENTITY_COUNT):
        row = entity_row(number)
        words = tuple((<bytes>row.words).decode().split("|")) if row.words[0] else ()
        literals = tuple((<bytes>row.literals).decode().split("|")) if row.literals[0] else ()
        rows.append(Entity((<bytes>row.name).decode(), (<bytes>row.group).decode(), (<bytes>row.pattern).decode(), words,
                           literals, (<bytes>row.source).decode()))
    return tuple(rows)


#: The detector catalogue, in the order of its numbers: the rows of _ext/cpp/entity_rows.inc.
CATALOGUE = read_catalogue()
ENTITIES = tuple(row.name for row in CATALOGUE)
#: Numbers of _ext/cpp/actions.hpp; what replaces a value by what it is called is a replacement there.
ACTIONS = {"redact": 0, "replace": 1, "replace_with_type": 1, "mask": 2, "hmac": 3, "block": 4, "token": 5, "clear": 6,
           "date_shift": 7, "bucket": 8, "drop_field": 9}
#: What a DetectRule whose action is ``clear`` looks for.
TOKEN = "token"
OUTCOMES = ("same", "replaced", "refused", "needs_schema")
FORMATS = ("auto", "json", "avro", "protobuf", "json_schema")

Transformed = namedtuple("Transformed", "status data error_code message record_errors records")


cdef class Program:
    """A RecordPlan with its patterns compiled. Dear to make; share it."""


def compile_plan(plan, keys, limits=None):
    """``limits``: settings.Limits, its defaults if None. Raises PolicyError for an entity that is not in the catalogue, a
    key that is not configured, or an action that a record's key may not have (only ``hmac``, ``token`` and ``block`` leave
    equal keys equal)."""
    cdef Program program = Program.__new__(Program)
    program.entities = ENTITIES + tuple(own.name for own in plan.own)
    names = {}
    messages = {}
    for rule in plan.fields:
        program.rules.fields.push_back(build_field(program, rule, keys, names.setdefault(rule.rule, len(names))))
        if rule.tag:
            program.rules.of_tags.push_back(program.rules.fields.size() - 1)
    for rule in plan.allow_lists:
        program.rules.fields.push_back(build_allow_list(program, rule, keys, names.setdefault(rule.rule, len(names))))
    for rule in plan.key_fields:
        check_key_action(rule)
        program.rules.key_fields.push_back(build_field(program, rule, keys, names.setdefault(rule.rule, len(names))))
    for rule in plan.headers:
        program.rules.headers.push_back(build_header(program, rule, keys, names.setdefault(rule.rule, len(names))))
    # What blocks stands first: of two rules about one entity the first one has its count. Tokens are found by no detector.
    for rule in sorted(plan.detectors, key=lambda rule: (rule.action.kind == "clear", rule.action.kind != "block")):
        check_detector(program, plan, rule)
        add_detector(program, rule, build_action(program, rule, keys, rule.entity), names.setdefault(rule.rule, len(names)))
        messages[rule.rule] = messages.get(rule.rule) or rule.message
    build_detectors(program, plan.own)
    for name in names:
        text = messages.get(name) or f"kproxy: rule {name} does not allow this record"
        program.rules.rule_messages.push_back(text.encode())
    if limits is not None:
        program.rules.limits.most_bytes = limits.records_max_bytes
        program.rules.limits.any_ratio = limits.records_any_ratio_bytes
        program.rules.limits.most_ratio = limits.records_max_ratio
    program.rules.format = FORMATS.index(plan.format)
    program.rules.observe = plan.observe
    program.rules.count_fields = plan.count_fields
    program.rules.refuse_unknown = plan.on_unknown == "refuse"
    program.rules.produce = plan.direction == "produce"
    program.rules.in_values = "value" in plan.parts
    program.rules.in_headers = "headers" in plan.parts
    program.rules.in_keys = "key" in plan.parts
    program.rule_names = tuple(names)
    program.plan = plan
    return program


cdef object check_detector(Program program, plan, rule):
    if (rule.entity == TOKEN) != (rule.action.kind == "clear"):
        raise PolicyError([Problem(f"rule {rule.rule}: tokens are what is cleared, and nothing else is")])
    if rule.entity not in program.entities and rule.entity != TOKEN:
        raise PolicyError([Problem(f"rule {rule.rule} names the entity {rule.entity}, which no detector finds")])
    if "key" in plan.parts:
        check_key_action(rule)


cdef object check_key_action(rule):
    if rule.action.kind not in ("hmac", "token", "clear", "block"):
        raise PolicyError([Problem(f"rule {rule.rule}: on keys only hmac, token or block is possible")])


cdef FieldRule build_field(Program program, rule, keys, int name) except *:
    cdef FieldRule field
    field.path = [step.encode() for step in rule.path]
    field.tag = rule.tag.encode()
    field.action = build_action(program, rule, keys, rule.rule)
    field.rule = name
    return field


cdef FieldRule build_allow_list(Program program, rule, keys, int name) except *:
    cdef FieldRule field
    field.is_allow_list = True
    field.kept = [[step.encode() for step in path] for path in rule.paths]
    field.action = build_action(program, rule, keys, rule.rule)
    field.rule = name
    return field


cdef HeaderRule build_header(Program program, rule, keys, int name) except *:
    cdef HeaderRule header
    header.name_parts = [part.encode() for part in rule.name]
    header.action = build_action(program, rule, keys, rule.rule)
    header.rule = name
    return header


cdef int add_detector(Program program, rule, Action action, int name) except -1:
    cdef DetectRule detect
    if rule.entity == TOKEN:
        detect.entity = -1
        program.rules.token_rules = min(program.rules.token_rules, program.rules.detects.size())
    else:
        detect.entity = program.entities.index(rule.entity)
    program.rules.drops_found = program.rules.drops_found or rule.action.kind == "drop_field"
    detect.action = action
    detect.rule = name
    detect.message = rule.message.encode()
    program.rules.detects.push_back(detect)
    return 0


cdef OwnDetector build_own(own) except *:
    """The words of a deny list are a pattern, and what the look at the bytes looks for."""
    cdef OwnDetector made
    made.pattern = own.pattern.encode()
    if own.deny_list:
        made.pattern = ("(?i)" + "|".join(re.escape(word) for word in sorted(own.deny_list, key=len, reverse=True))).encode()
        if all(word.isascii() and len(word) > 2 for word in own.deny_list):
            made.literals = "|".join(own.deny_list).lower().encode()
    made.words = "|".join(re.sub(r"[ _-]+", "_", word) for word in own.context).lower().encode()
    made.luhn = own.checksum == "luhn"
    return made


def pattern_fault(str pattern not None):
    """Why RE2 does not take ``pattern`` as a detector; empty if it does."""
    return pattern_fault_of(<string>pattern.encode()).decode("utf-8", "replace")


cdef int build_detectors(Program program, owns) except -1:
    cdef vector[int] entities
    cdef size_t i
    for i in range(min(program.rules.token_rules, program.rules.detects.size())):
        entities.push_back(program.rules.detects[i].entity)
    cdef vector[OwnDetector] built
    for own in owns:
        built.push_back(build_own(own))
    try:
        program.rules.detectors = make_shared[Detectors](entities, built)
    except RuntimeError as error:
        raise PolicyError([Problem(f"the detectors of {', '.join(own.name for own in owns)}: {error}")]) from None
    return 0


cdef Action build_action(Program program, rule, keys, str label) except *:
    """``label``: what the value is called where its type takes its place."""
    cdef Action made
    action = rule.action
    made.kind = ACTIONS[action.kind]
    made.text = action.text.encode() if action.kind != "replace_with_type" else f"[{label}]".encode()
    made.keep_first = action.keep_first
    made.keep_last = action.keep_last
    made.character = action.character.encode()
    made.keep_format = action.keep_format
    made.days = action.days
    made.per = -1
    if action.kind == "bucket":
        made.buckets = build_buckets(rule)
    if not action.key:
        return made
    for key in (action.key, *action.old_keys):
        if key not in keys:
            raise PolicyError([Problem(f"rule {rule.rule} names the key {key}, which is not configured")])
    made.key_id = action.key.encode()
    if action.kind == "hmac":
        made.key = make_shared[KeyedHash](<string>keys[action.key])
    elif action.kind == "date_shift":
        made.key = make_shared[KeyedHash](<string>derive_key(keys[action.key], b"kproxy date_shift", 32))
        if action.per:
            made.per = number_of_path(program, action.per)
    else:
        made.tokens = make_shared[TokenKeys]()
        for key in (action.key, *action.old_keys):
            made.tokens.get().add(<string>key.encode(), <string>derive_key(keys[key], b"kproxy token", 64))
    return made


cdef int number_of_path(Program program, path) except -1:
    """Where ``path``, of members only, stands in ``per_paths``; kproxy.policy.field_paths tells how it is spelled."""
    cdef vector[string] names = [(step[1:] if step.startswith("\\") else step).encode() for step in path]
    cdef size_t at = 0
    while at < program.rules.per_paths.size() and program.rules.per_paths[at] != names:
        at += 1
    if at == program.rules.per_paths.size():
        program.rules.per_paths.push_back(names)
    return at


cdef shared_ptr[Buckets] build_buckets(rule) except *:
    cdef shared_ptr[Buckets] made = make_shared[Buckets]()
    cdef bint fits
    action = rule.action
    numbers = [action.size, *(bound for one in action.ranges for bound in (one.start, one.end))]
    made.get().scale = max(len(number.partition(".")[2]) for number in numbers)
    if action.size:
        fits = made.get().set_size(<string>action.size.encode())
    else:
        fits = all([made.get().add(<string>one.start.encode(), <string>one.end.encode(), <string>one.text.encode())
                    for one in action.ranges])
    if not fits:
        raise PolicyError([Problem(f"rule {rule.rule}: the bounds of its buckets are no numbers")])
    return made


def derive_key(bytes key not None, bytes purpose not None, int size):
    """HKDF-SHA-256 (RFC 5869) without salt, so that one configured key serves several purposes: ``size`` bytes, 8,160 at
    most."""
    secret = hmac.digest(bytes(32), key, "sha256")
    made = block = b""
    for number in range(1, 256):
        if len(made) >= size:
            break
        block = hmac.digest(secret, block + purpose + bytes((number,)), "sha256")
        made += block
    return made[:size]


cdef void begin_frame(Py_ssize_t length) noexcept:
    count_frame(length)


cdef class Plan:
    """One session's use of a program, for one topic and one direction. Not for two threads at once."""

    def __cinit__(self, Program program not None):
        self.program = program
        self.rewriter.reset(new RecordRewriter(program.rules, len(program.rule_names)))
        self.asked = True
        self.needed = ()

    def read_by(self, Registered schemas):
        """The schemas of the cluster's registry. Those that are missing are to be asked for until ``asked``."""
        self.schemas = schemas
        self.asked = schemas is None

    cdef void hold(self) noexcept:
        self.rewriter.get().hold()

    cdef void take_back(self) noexcept:
        self.rewriter.get().take_back()

    cdef int transform_span(self, const unsigned char* data, Py_ssize_t length, bint zstd) except -1:
        cdef RecordRewriter* rewriter = self.rewriter.get()
        cdef const SchemaTable* known = NULL
        cdef int outcome
        if self.schemas is not None:
            known = self.schemas.table.get()
        rewriter.read_by(known, self.asked)
        outcome = rewriter.transform(<const char*>data, length, zstd)
        if outcome == PLAN_NEEDS_SCHEMA:
            self.needed = tuple(rewriter.needed())
        elif outcome == PLAN_REPLACED:
            self.out = PyBytes_FromStringAndSize(rewriter.out().data(), rewriter.out().size())
        elif outcome == PLAN_REFUSED:
            take_refusal(self)
        rewriter.done()
        return outcome

    def transform(self, record_set, bint zstd=True):
        """The records of one partition, as if they were a frame's only ones. ``status`` is ``same``, ``replaced`` (see
        ``data``) or ``refused``. ``zstd``: whether the version of the API may carry it."""
        cdef bytes held = bytes(record_set)
        begin_frame(len(held))
        cdef int outcome = self.transform_span(<const unsigned char*><const char*>held, len(held), zstd)
        records = self.rewriter.get().records
        if outcome == PLAN_REFUSED:
            return Transformed("refused", None, self.error_code, self.message, self.record_errors, records)
        return Transformed(OUTCOMES[outcome], self.out if outcome == PLAN_REPLACED else None, 0, "", [], records)

    def take_counts(self):
        """What was seen since the last call, and forgets it: names and numbers, never a value.

        What a refused record set held is not counted. ``unknown`` (values that are not JSON where fields were to be looked
        at), ``unread_tokens`` (that were to be cleared, and that no key of the rule made as they are) and ``uninspected``
        (record sets that could not be read, passed because no rule is in force) are there only when not 0."""
        cdef vector[string] paths
        cdef vector[uint64_t] emitted, masked
        cdef RecordRewriter* rewriter = self.rewriter.get()
        cdef size_t i
        list_paths(rewriter[0], &paths, &emitted, &masked)
        counts = {"records": rewriter.counts.records, "fields_emitted": {}, "fields_masked": {}, "entities": {}, "rules": {}}
        for i in range(paths.size()):
            path = paths[i].decode("utf-8", "replace")
            if emitted[i]:
                counts["fields_emitted"][path] = counts["fields_emitted"].get(path, 0) + emitted[i]
            if masked[i]:
                counts["fields_masked"][path] = counts["fields_masked"].get(path, 0) + masked[i]
        for i, name in enumerate(self.program.entities):
            if rewriter.counts.entities[i]:
                counts["entities"][name] = rewriter.counts.entities[i]
        for i, name in enumerate(self.program.rule_names):
            if rewriter.counts.rules[i]:
                counts["rules"][name] = rewriter.counts.rules[i]
        if rewriter.counts.unknown:
            counts["unknown"] = rewriter.counts.unknown
        if rewriter.counts.unread_tokens:
            counts["unread_tokens"] = rewriter.counts.unread_tokens
        if rewriter.counts.uninspected:
            counts["uninspected"] = rewriter.counts.uninspected
        rewriter.counts.clear()
        return counts


cdef int take_refusal(Plan plan) except -1:
    cdef RecordRewriter* rewriter = plan.rewriter.get()
    cdef size_t i
    plan.error_code = rewriter.error_code
    plan.message = rewriter.message.decode("utf-8", "replace")
    plan.record_errors = [(rewriter.record_errors[i].first, rewriter.record_errors[i].second.decode("utf-8", "replace"))
                          for i in range(rewriter.record_errors.size())]
    plan.record_rules = {}
    for i in range(rewriter.blocked_rules.size()):
        at = rewriter.blocked_rules[i]
        name = plan.program.rule_names[at] if at >= 0 else "unknown_format"
        plan.record_rules[name] = plan.record_rules.get(name, 0) + 1
    return 0


cdef class Finder:
    """Detectors by themselves, on any text: for tests and previews."""

    def __cinit__(self, tuple entities not None):
        cdef vector[int] numbers
        for name in entities:
            numbers.push_back(ENTITIES.index(name))
        self.entities = entities
        self.detectors.reset(new Detectors(numbers))

    def find(self, bytes text not None, bint look_first=True):
        """[(entity, start, length)] of every find in the text, by entity and then by place.

        Without ``look_first`` the patterns search every text; the finds must be the same."""
        cdef vector[Found] found
        cdef size_t i
        self.detectors.get().find(<string>text, &found, look_first)
        return [(self.entities[found[i].which], found[i].at, found[i].length) for i in range(found.size())]


@lru_cache(maxsize=16)
def finder_of(tuple entities):
    return Finder(entities)


def find_entities(bytes text not None, tuple entities not None, bint look_first=True):
    """As Finder(entities).find(text, look_first), with the detectors kept."""
    return finder_of(entities).find(text, look_first)
