"""Whichever way a YAML text goes, the quick or the slow one, it means the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kproxy._ext.yaml_tree import COLLECTION, PLAIN, QUOTED, Node, compose
from kproxy.yaml_faults import compose_or_tell
from kproxy.yaml_nodes import MAX_DEPTH, Report

ROOT = Path(__file__).parents[2]
PIECES = st.sampled_from([
    "a", "key", "12", "true", "~", "'it''s'", '"\\u00e9\\n"', "é", "\U0001f600", "- ", ": ", "? ",
    "\n", "\n  ", "\n    ", "[", "]", "{", "}", ", ", " # said\n", "|\n  x\n", ">-\n  x\n  y\n", "&x ", "*x",
    "!t ", "! ", "!!str ", "%YAML 1.2\n", "---\n", "...\n", "\t", "\ufeff", "\x00", "\x85", "\u2028", "\r\n",
    '"', "'", "\\", "<<", "=", "@", "`",
])


def tree(node: Node | None) -> Any:
    """A node as values that can be compared."""
    if node is None:
        return None
    value = node.value
    if node.kind == "sequence":
        value = [tree(one) for one in value]
    elif node.kind == "mapping":
        value = [(tree(key), tree(one)) for key, one in value]
    return node.kind, node.tag, value, node.line


def agree(source: bytes) -> bool:
    """Whether the text went the quick way; and then the slow one has found the same and no problem."""
    is_plain, quick = compose(source, MAX_DEPTH)
    report = Report("f.yaml")
    slow = compose_or_tell(source, report)
    if is_plain:
        assert report.problems == []
        assert tree(quick) == tree(slow)
    else:
        assert quick is None
    return is_plain


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=24).map("".join))
@example("a: &x 1\nb: *x")
@example("- !t [a]\n")
@example("%TAG ! tag:x,2000:\n---\na: 1\n")
@example("a: 1\n--- {b: 2}\n")
@example("\ufeffa: [1, {b: 'c'}]\n")
@example("? [a, b]\n: - c\n  -\n")
def test_any_text_means_the_same_both_ways(text: str) -> None:
    agree(text.encode())


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes_mean_the_same_both_ways(source: bytes) -> None:
    agree(source)


@pytest.mark.parametrize("path", sorted(
    str(path.relative_to(ROOT)) for folder in ("examples", "kproxy/demo") for path in (ROOT / folder).rglob("*.yaml")))
def test_our_own_files_go_the_quick_way(path: str) -> None:
    assert agree((ROOT / path).read_bytes())


@pytest.mark.parametrize(("text", "is_plain"), [
    ("a: 1", True), ("", True), ("# nothing\n", True), ("--- a", True), ("a: &x 1", False), ("a: !x 1", False),
    ("%YAML 1.2\n---\na: 1", False), ("a: 1\n---\nb: 1", False), ("a: [", False),
    ("[" * MAX_DEPTH + "]" * MAX_DEPTH, True),
    ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), False),
])
def test_what_is_plain(text: str, is_plain: bool) -> None:
    assert agree(text.encode()) is is_plain


def test_how_a_node_was_written_and_where() -> None:
    _, root = compose(b"a: b\n'c':\n  - \"d\"\n  - |\n    e\n", MAX_DEPTH)
    assert tree(root) == ("mapping", COLLECTION, [
        (("scalar", PLAIN, "a", 0), ("scalar", PLAIN, "b", 0)),
        (("scalar", QUOTED, "c", 1), ("sequence", COLLECTION, [
            ("scalar", QUOTED, "d", 2), ("scalar", QUOTED, "e\n", 3)], 2)),
    ], 0)
