"""YAML 1.2's core schema: what a plain scalar is and is not, and what a document may not hold."""

from __future__ import annotations

from typing import Any

import pytest

from kproxy.yaml_documents import MAX_SOURCE, read_document
from kproxy.yaml_nodes import (
    Section,
    Value,
    Wrong,
    boolean,
    choice,
    dict_of,
    duration,
    integer,
    size,
    text,
    tuple_of,
)


def value(source: str) -> Value:
    root, report = read_document(f"k: {source}".encode(), "f.yaml")
    assert root is not None
    assert report.problems == []
    return root.items()[0][1]


@pytest.mark.parametrize(("converter", "source", "expected"), [
    (text, "yes", "yes"), (text, "on", "on"), (text, "1:30", "1:30"), (text, "2026-01-01", "2026-01-01"),
    (text, "0b11", "0b11"), (text, "1_000", "1_000"), (text, "'12'", "12"), (text, '"true"', "true"),
    (text, "<<", "<<"),
    (text, "''", ""), (text, "=", "="),
    (boolean, "true", True), (boolean, "FALSE", False), (boolean, "True", True),
    (integer(), "010", 10), (integer(), "0x1F", 31), (integer(), "0o17", 15), (integer(-5), "-3", -3),
    (integer(), "+4", 4),
    (duration, "10m", 600.0), (duration, "250ms", 0.25), (duration, "1h30m", 5400.0), (duration, "2d", 172800.0),
    (size, "64KiB", 65536), (size, "10MB", 10_000_000), (size, "7", 7), (size, "1GiB", 1 << 30),
    (tuple_of(text), "[a, b]", ("a", "b")), (dict_of(text), "{a: b}", {"a": "b"}),
])
def test_what_a_scalar_means(converter: Any, source: str, expected: Any) -> None:
    assert converter(value(source)) == expected


@pytest.mark.parametrize(("converter", "source", "words"), [
    (text, "12", "found a number; put it in quotes"), (text, "1.5", "found a number"),
    (text, "true", "found a boolean"),
    (text, "~", "found nothing"), (text, "", "found nothing"), (text, ".inf", "found a number"),
    (text, "[a]", "found a list"), (text, "{a: b}", "found a mapping"),
    (boolean, "yes", "expected true or false, found text 'yes'"), (boolean, "'true'", "found text"),
    (boolean, "1", "found a number"), (boolean, "[true]", "found a list"),
    (integer(), "1.0", "expected a whole number"), (integer(), "'1'", "expected a whole number"),
    (integer(1, 5), "6", "6 is not between 1 and 5"), (integer(), "1_000", "expected a whole number"),
    (integer(1), "0", "0 is less than 1"),
    (duration, "10", "expected a duration"), (duration, "10 m", "expected a duration"), (duration, "m", "a duration"),
    (size, "64 KiB", "expected a size"), (size, "64kib", "expected a size"), (size, "-1", "expected a size"),
    (tuple_of(text), "a", "expected a list, found text"), (tuple_of(text), "[]", "the list is empty"),
    (dict_of(text), "[a]", "expected a mapping, found a list"), (choice("a", "b"), "c", "'c' is not one of a, b"),
])
def test_what_a_scalar_does_not_mean(converter: Any, source: str, words: str) -> None:
    with pytest.raises(Wrong, match=words.replace("(", r"\(")):
        converter(value(source))


@pytest.mark.parametrize(("source", "words", "line"), [
    (b"a: &x 1\nb: 2", "anchors and aliases are not allowed", 1),
    (b"b: 2\na: [&x 1, *x]", "anchors and aliases are not allowed", 2),
    (b"a: *x", "anchors and aliases are not allowed", 1),
    (b"[" * 200 + b"]" * 200, "nested deeper than 100 levels", 1),
    (b"[" * 100_000, "nested deeper than 100 levels", 1),
    (b"a: 1\nb: " + b"!x [" * 100_000, "nested deeper than 100 levels", 2),
    (b"- " * 100_000 + b"a", "nested deeper than 100 levels", 1),
    (b"".join(b" " * depth + b"a:\n" for depth in range(150)), "nested deeper than 100 levels", 101),
    (b"a: 1\n---\nb: 2", "single document", 2),
    (b"a: [1\nb: 2", "flow sequence", 2),
    (b"a: 1\n\tb: 2", "", 2),
    (b"a:\n  \xff", "not UTF-8 at byte 5", 2),
    (b"a" * (MAX_SOURCE + 1), "larger than", 0),
])
def test_documents_that_are_refused(source: bytes, words: str, line: int) -> None:
    root, report = read_document(source, "f.yaml")
    assert root is None
    assert len(report.problems) == 1
    assert words in report.problems[0].message
    assert report.problems[0].line == line


def test_a_hundred_levels_can_be_read() -> None:
    root, report = read_document(b"[" * 100 + b"a" + b"]" * 100, "f.yaml")
    assert report.problems == []
    assert root is not None
    for _ in range(100):
        [root] = root.elements()
    assert (text(root), root.path) == ("a", "[0]" * 100)


def test_a_star_or_ampersand_within_text_is_no_anchor() -> None:
    assert tuple_of(text)(value("['*x', a*b, \"x &y\", a&b]")) == ("*x", "a*b", "x &y", "a&b")


@pytest.mark.parametrize("source", ["!!str a", "!x a", "!!binary aGk="])
def test_tags_are_refused(source: str) -> None:
    found = value(source)
    assert found.convert(text, "blank") == "blank"
    assert "tags are not allowed" in found.report.problems[0].message


def test_a_section_tells_of_every_key() -> None:
    root, report = read_document(b"a: 1\nb: x\na: 2\n1: 3\nd: 4\n? [z]\n: 5\n", "f.yaml")
    assert root is not None
    section = Section(root)
    assert section.take("a", text, "blank") == "blank"
    assert section.need("b", text, "") == "x"
    assert section.need("c", text, "blank") == "blank"
    section.not_yet("d", "this")
    section.close()
    assert [(problem.line, problem.path, problem.message) for problem in report.problems] == [
        (3, "", "duplicate key 'a'"),
        (6, "", "a key must be text, found a list"),
        (1, "a", 'expected text, found a number; put it in quotes: "1"'),
        (1, "", "'c' is missing"),
        (5, "d", "this is not supported yet"),
        (4, "1", "unknown key '1'; known here: a, b, c, d"),
    ]


def test_wrong_elements_are_told_one_by_one() -> None:
    found = value("[a, 1, b, [c]]")
    assert found.convert(tuple_of(text), ()) == ("a", "b")
    assert [problem.path for problem in found.report.problems] == ["k[1]", "k[3]"]
