"""The kinds of value that a policy is written in: globs, operations, conditions, actions, paths into a record."""

from __future__ import annotations

from kproxy.model.policy import ALL, LEGAL_OPERATIONS, OPERATIONS, Condition, Place, Resources
from kproxy.policy import expressions, field_paths, globs
from kproxy.yaml_nodes import (
    Converter,
    Section,
    Value,
    Wrong,
    boolean,
    some_text,
    text,
    tuple_of,
)


def place(value: Value) -> Place:
    return Place(value.report.file, value.line, value.path)


def glob(value: Value) -> str:
    pattern = some_text(value)
    try:
        globs.parse(pattern)
    except globs.BadGlob as error:
        raise Wrong(value, str(error)) from None
    return pattern


def operation(value: Value) -> str:
    word = text(value)
    if word != ALL and word not in OPERATIONS:
        raise Wrong(value, f"{word!r} is no operation; known: {', '.join(sorted(OPERATIONS))}, {ALL}")
    return word


def condition(names: frozenset[str]) -> Converter[Condition]:
    """A condition that may use ``names``; compiled here only to find what is wrong with it while its line is known."""

    def convert(value: Value) -> Condition:
        written = some_text(value)
        try:
            expressions.compile_text(written, names)
        except expressions.BadCondition as error:
            for message in error.messages[:-1]:
                value.complain(message)
            raise Wrong(value, error.messages[-1]) from None
        return Condition(written, place(value))

    return convert


def take_resources(section: Section, operations: tuple[str, ...]) -> Resources:
    """What a rule is about; reports a rule about nothing and operations that no named resource knows."""
    names_any = not {"topics", "groups", "transactional_ids", "cluster"}.isdisjoint(section.entries)
    resources = Resources(
        topics=section.take("topics", tuple_of(glob), ()),
        groups=section.take("groups", tuple_of(glob), ()),
        transactional_ids=section.take("transactional_ids", tuple_of(glob), ()),
        cluster=section.take("cluster", boolean, False),
    )
    kinds = resources.kinds()
    if not names_any:
        section.value.complain("the rule names no resource: topics, groups, transactional_ids or cluster: true")
    if not kinds:
        return resources
    legal_somewhere = frozenset((ALL,)).union(*(LEGAL_OPERATIONS[kind] for kind in kinds))
    pointless = [word for word in operations if word not in legal_somewhere]
    for word in pointless:
        section.value.complain(f"operation {word!r} does not exist on {_listed(kinds)}, so it can never fire")
    for kind in kinds if operations and not pointless and ALL not in operations else ():
        legal = LEGAL_OPERATIONS[kind]
        if legal.isdisjoint(operations):
            section.value.complain(f"no operation of this rule exists on {_listed((kind,))};"
                                   f" legal there: {', '.join(sorted(legal))}")
    return resources


def field_path(value: Value) -> field_paths.Path:
    """``user.email``, ``items[*].phone``, ``**.ssn``; see kproxy.policy.field_paths."""
    try:
        return field_paths.parse(some_text(value))
    except field_paths.BadPath as error:
        raise Wrong(value, str(error)) from None


def _listed(kinds: tuple[str, ...]) -> str:
    names = {"topic": "topics", "group": "groups", "transactional_id": "transactional_ids", "cluster": "the cluster"}
    return ", ".join(names[kind] for kind in kinds)
