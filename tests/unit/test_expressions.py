"""Conditions: only true is true, every way of failing is an error, and the names a condition mentions are found."""

from __future__ import annotations

from typing import Any

import pytest

from kproxy.policy.cel_ast import read_mentions
from kproxy.policy.expressions import (
    ACCESS_NAMES,
    GRANT_NAMES,
    MAX_TEXT,
    BadCondition,
    compile_membership,
    compile_text,
    is_member,
    session_names,
)
from tests.support.policies import facts

NAMES: dict[str, Any] = {
    **session_names(facts("g", attested={"model": "m"},
                          attributes={"level": 5, "list": [1, {"a": None}], "flag": True}), 1000.0),
    "topic.name": "t", "topic.labels": {"class": "pii"}, "operation": "read",
}


@pytest.mark.parametrize(("text", "expected"), [
    ("true", True), ("false", False), ("1 == 1", True),
    ("attested.model == 'm'", True), ("attested['model'] == 'm'", True), ("'model' in attested", True),
    ("has(attested.run)", False), ("attested.run == 'x'", None), ("!(attested.run == 'x')", None),
    ("attested.run == 'x' || true", True), ("attested.run == 'x' && false", False),
    ("1 / 0 == 1", None), ("principal.attributes.level > 3", True), ("principal.attributes.level > 'a'", None),
    ("principal.attributes.level", None), ("principal.attributes.flag", True), ("principal.attributes.none", None),
    ("principal.attributes.list[0] == 1", True), ("principal.attributes.list[7] == 1", None),
    ("principal.groups.exists(g, g == 'g')", True), ("now == timestamp('1970-01-01T00:16:40Z')", True),
    ("topic.labels.class == 'pii'", True), ("client.id.matches('client-[0-9]+')", True),
    ("client.id.matches(attested.model + '(')", None), ("cidr(client.id, client.address)", None),
    ("cidr('127.0.0.0/8', client.address)", True),
])
def test_a_condition_is_true_false_or_in_error(text: str, expected: bool | None) -> None:
    assert compile_text(text, ACCESS_NAMES).evaluate(NAMES) is expected


@pytest.mark.parametrize("broken", [{}, {"attested": {"model": 1}}, {"attested": {"model": "\udfff"}},
                                    {"attested": None}, {"attested": {1: "m"}}, {"attested": object()}])
def test_input_that_cel_cannot_hold_is_an_error_and_not_true(broken: dict[str, Any]) -> None:
    assert compile_text("attested.model != 'm'", ACCESS_NAMES).evaluate(broken) is None


@pytest.mark.parametrize(("text", "words"), [
    ("principal.nme == 'x'", "column 10: undeclared reference to 'principal.nme'"),
    ("principal", "undeclared reference"), ("granted.models == []", "'granted.models' is not known here"),
    ("topic.name ==", "Syntax error"), ("'a", "Syntax error"), ("", "Syntax error"),
    ("1 + 1", "this is int"), ("attested.model", "this is string"), ("principal.groups", "this is list<string>"),
    ("principal.groups.contains('x')", "no matching overload"), ("unknown(1)", "undeclared reference"),
    ("cidr('x', client.address)", "cidr: 'x' does not appear to be"),
    ("now > timestamp('soon')", "timestamp: 'soon' is no RFC 3339 time"),
    ("operation.matches('(?=x)')", "matches: invalid regular expression"),
    ("(" * 200 + "true" + ")" * 200, "recursion limit"),
    ("true" + " || true" * MAX_TEXT, "longer than 4096 characters"),
])
def test_what_cannot_be_a_condition_is_refused(text: str, words: str) -> None:
    with pytest.raises(BadCondition) as caught:
        compile_text(text, ACCESS_NAMES)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_each_fault_of_a_condition_is_a_message_and_of_a_wrong_name_the_right_ones_are_told() -> None:
    with pytest.raises(BadCondition) as caught:
        compile_text("principal.grops == [] ||\n zone == 'a' || nothing(1) || now.x.y == 1", GRANT_NAMES)
    known = f"known: {', '.join(sorted(GRANT_NAMES))}"
    assert caught.value.messages == (
        f"column 10: undeclared reference to 'principal.grops'; did you mean principal.groups?; {known}",
        f"line 2, column 2: undeclared reference to 'zone'; {known}",
        "line 2, column 24: undeclared reference to 'nothing'",
        "line 2, column 34: expression of type 'google.protobuf.Timestamp' cannot be the operand of a select operation",
    )


@pytest.mark.parametrize(("text", "keys", "whole"), [
    ("attested.model == 'a' && declared['run'] == 'b'", {("attested", "model"), ("declared", "run")}, set()),
    ("'x' in principal.attributes && now == now", {("principal.attributes", "x")}, {"now"}),
    ("['a'].exists(attested, attested == topic.name)", set(), {"topic.name"}),
    ("attested.all(k, attested[k] != '')", set(), {"attested"}),
    ("{'a': attested.run}.a == [declared.b][0]", {("attested", "run"), ("declared", "b")}, set()),
    ("principal.attributes.a.b.c == 1", {("principal.attributes", "a")}, set()),
    ("operation == 'read' ? has(topic.labels.x) : false", {("topic.labels", "x")}, {"operation"}),
    ("client.id.startsWith(attested.commit)", {("attested", "commit")}, {"client.id"}),
    ("true", set(), set()),
])
def test_the_names_that_a_condition_mentions(text: str, keys: set[tuple[str, str]], whole: set[str]) -> None:
    mentions = compile_text(text, ACCESS_NAMES).mentions
    assert (mentions.keys, mentions.whole) == (keys, whole)


def test_what_a_program_depends_on() -> None:
    program = compile_text("now < now && topic.name == '' && size(granted.models) == 0", GRANT_NAMES)
    assert program.reads_now and program.reads_topic and program.reads_grants
    assert not program.is_constant
    constant = compile_text("1 == 2", GRANT_NAMES)
    assert (constant.reads_now, constant.reads_topic, constant.reads_grants, constant.is_constant) == (
        False, False, False, True)


def test_every_cut_of_a_tree_is_refused() -> None:
    serialised = compile_text("attested.model == 'm' && declared.run in ['a']", ACCESS_NAMES).expression.serialize()
    full = read_mentions(serialised)
    assert full.keys == {("attested", "model"), ("declared", "run")}
    for end in range(len(serialised)):
        with pytest.raises(ValueError):
            read_mentions(serialised[:end])


def test_membership_of_a_node_role() -> None:
    program = compile_membership("'sre' in principal.groups || principal.attributes.admin")
    assert is_member(program, facts("sre"), 0.0)
    assert not is_member(program, facts("dev"), 0.0)
    assert not is_member(program, facts("dev", attributes={"admin": "yes"}), 0.0)
    assert is_member(program, facts("dev", attributes={"admin": True}), 0.0)
    with pytest.raises(BadCondition):
        compile_membership("topic.name == 'x'")
