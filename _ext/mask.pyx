"""Record rules, compiled; see the .pxd. The work on bytes is in _ext/cpp/record_rewriter.hpp."""
from collections import namedtuple

from libc.stdint cimport uint64_t
from libcpp.memory cimport make_shared
from libcpp.string cimport string
from libcpp.vector cimport vector

from kproxy.errors import PolicyError, Problem


cdef extern from "record_rewriter.hpp" namespace "kproxy":
    struct Found:
        size_t at
        size_t length
        int entity
    cdef cppclass _Detectors "kproxy::Detectors":
        _Detectors(const vector[int]& entities) except +


cdef extern from *:
    """
    #include "record_rewriter.hpp"
    namespace kproxy {
    inline void find_all(const Detectors& detectors, const std::string& text, std::vector<Found>* found) {
        std::vector<int> which;
        if (detectors.may_match(text, &which)) for (int one : which) detectors.find(one, text, found);
    }
    inline void list_paths(RecordRewriter& rewriter, std::vector<std::string>* paths, std::vector<uint64_t>* emitted,
                           std::vector<uint64_t>* masked) {
        rewriter.paths.take([&](const std::string& path, uint64_t shown, uint64_t hidden) {
            paths->push_back(path);
            emitted->push_back(shown);
            masked->push_back(hidden);
        });
    }
    }
    """
    void find_all "kproxy::find_all"(const _Detectors& detectors, const string& text, vector[Found]* found)
    void list_paths "kproxy::list_paths"(RecordRewriter& rewriter, vector[string]* paths,
                                         vector[uint64_t]* emitted, vector[uint64_t]* masked)


#: The detector catalogue, in the order of its numbers.
ENTITIES = ("email", "credit_card", "us_ssn", "iban", "ipv4", "private_key", "api_key")
ACTIONS = {"redact": 0, "replace": 1, "mask": 2, "hmac": 3, "block": 4}
OUTCOMES = ("same", "replaced", "refused")

Transformed = namedtuple("Transformed", "status data error_code message record_errors records")


cdef class Program:
    """A RecordPlan with its patterns compiled. Dear to make; share it."""


def compile_plan(plan, keys):
    """Raises PolicyError for an entity that is not in the catalogue, a key that is not configured, or an action that a
    record's key may not have (only ``hmac`` and ``block`` leave equal keys equal)."""
    cdef Program program = Program.__new__(Program)
    cdef FieldRule field
    cdef DetectRule detect
    cdef vector[int] entities
    names = {}
    messages = {}
    for rule in plan.fields:
        field.path = [step.encode() for step in rule.path]
        field.action = build_action(rule.action, keys, rule.rule)
        field.rule = names.setdefault(rule.rule, len(names))
        program.rules.fields.push_back(field)
    for rule in plan.detectors:
        if rule.entity not in ENTITIES:
            raise PolicyError([Problem(f"rule {rule.rule} names the entity {rule.entity}, which no detector finds")])
        if "key" in plan.parts and rule.action.kind not in ("hmac", "block"):
            raise PolicyError([Problem(f"rule {rule.rule}: on keys only hmac or block is possible")])
        detect.entity = ENTITIES.index(rule.entity)
        detect.action = build_action(rule.action, keys, rule.rule)
        detect.rule = names.setdefault(rule.rule, len(names))
        detect.message = rule.message.encode()
        messages[rule.rule] = rule.message
        program.rules.detects.push_back(detect)
        entities.push_back(detect.entity)
    program.rules.detectors = make_shared[Detectors](entities)
    for name in names:
        text = messages.get(name) or f"kproxy: rule {name} does not allow this record"
        program.rules.rule_messages.push_back(text.encode())
    program.rules.observe = plan.observe
    program.rules.count_fields = plan.count_fields
    program.rules.refuse_unknown = plan.on_unknown == "refuse"
    program.rule_names = tuple(names)
    program.plan = plan
    return program


cdef Action build_action(action, keys, str rule) except *:
    cdef Action made
    made.kind = ACTIONS[action.kind]
    made.text = action.text.encode()
    made.keep_first = action.keep_first
    made.keep_last = action.keep_last
    made.character = action.character.encode()
    if action.kind == "hmac":
        if action.key not in keys:
            raise PolicyError([Problem(f"rule {rule} names the key {action.key}, which is not configured")])
        made.key_id = action.key.encode()
        made.key = keys[action.key]
    return made


cdef class Plan:
    """One session's use of a program, for one topic and one direction. Not for two threads at once."""

    def __cinit__(self, Program program not None):
        parts = program.plan.parts
        self.program = program
        self.rewriter.reset(new RecordRewriter(program.rules, program.plan.direction == "produce", "value" in parts,
                                               "headers" in parts, "key" in parts, len(program.rule_names)))

    cdef int transform_span(self, const unsigned char* data, Py_ssize_t length) except -1:
        cdef RecordRewriter* rewriter = self.rewriter.get()
        cdef int outcome = rewriter.transform(<const char*>data, length)
        cdef size_t i
        if outcome == PLAN_REPLACED:
            self.out = rewriter.out
        elif outcome == PLAN_REFUSED:
            self.error_code = rewriter.error_code
            self.message = rewriter.message.decode("utf-8", "replace")
            self.record_errors = [(rewriter.record_errors[i].first, rewriter.record_errors[i].second.decode("utf-8", "replace"))
                                  for i in range(rewriter.record_errors.size())]
            self.record_rules = {}
            for i in range(rewriter.blocked_rules.size()):
                at = rewriter.blocked_rules[i]
                name = self.program.rule_names[at] if at >= 0 else "unknown_format"
                self.record_rules[name] = self.record_rules.get(name, 0) + 1
        return outcome

    def transform(self, record_set):
        """The records of one partition. ``status`` is ``same``, ``replaced`` (see ``data``) or ``refused``."""
        cdef bytes held = bytes(record_set)
        cdef uint64_t before = self.rewriter.get().counts.records
        cdef int outcome = self.transform_span(<const unsigned char*><const char*>held, len(held))
        records = self.rewriter.get().counts.records - before
        if outcome == PLAN_REFUSED:
            return Transformed("refused", None, self.error_code, self.message, self.record_errors, records)
        return Transformed(OUTCOMES[outcome], self.out if outcome == PLAN_REPLACED else None, 0, "", [], records)

    def take_counts(self):
        """What was seen since the last call, and forgets it: names and numbers, never a value."""
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
        for i, name in enumerate(ENTITIES):
            if rewriter.counts.entities[i]:
                counts["entities"][name] = rewriter.counts.entities[i]
                rewriter.counts.entities[i] = 0
        for i, name in enumerate(self.program.rule_names):
            if rewriter.counts.rules[i]:
                counts["rules"][name] = rewriter.counts.rules[i]
                rewriter.counts.rules[i] = 0
        rewriter.counts.records = 0
        return counts


def find_entities(bytes text not None, tuple entities not None):
    """[(entity, start, length)] of every find in the text, by entity and then by place. For tests and previews."""
    cdef vector[int] numbers
    cdef vector[Found] found
    for name in entities:
        numbers.push_back(ENTITIES.index(name))
    cdef _Detectors* detectors = new _Detectors(numbers)
    try:
        find_all(detectors[0], <string>text, &found)
        return [(entities[one.entity], one.at, one.length) for one in found]
    finally:
        del detectors
