"""The examples of docs/records.md: a policy, and records before and after."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from kproxy import policy
from kproxy.model.settings import Limits
from kproxy.policy.samples import Sample, preview
from tests.support.policies import facts

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "records.md"
KEYS = {"k1": b"k1 of the examples in docs/records.md", "k2": b"k2 of the examples in docs/records.md"}
ROLES = """
roles:
  reader: {members: {groups: [reader]}, allow: [{operations: [read, write], topics: ["*"]}]}
  analyst: {members: {groups: [analyst]}, allow: [{operations: [read, write], topics: ["*"]}]}
"""
_HEADING = re.compile(r"^## (.+)$", re.M)
_BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.M | re.S)


class Example(NamedTuple):
    """Records are lines; ``words`` are what stands behind ``in``: a direction or a role."""

    title: str
    rules: str
    words: tuple[str, ...]
    before: list[str]
    after: list[str]


def examples(text: str) -> list[Example]:
    """Under each heading: a block ``yaml``, then blocks in pairs whose words begin with ``in`` and ``out``."""
    found: list[Example] = []
    for title, section in zip(*[iter(_HEADING.split(text)[1:])] * 2, strict=True):
        rules, given = "", None
        for language, words, block in _BLOCK.findall(section):
            if language == "yaml":
                rules = block
            elif words.split()[0] == "in":
                given = (tuple(words.split()[1:]), block)
            else:
                assert words.split() == ["out"] and given is not None, f"{title}: an out without its in"
                found.append(Example(title, rules, given[0], given[1].splitlines(), block.splitlines()))
                given = None
        assert rules and given is None, f"{title}: an in without its out"
    return found


def outcomes(example: Example) -> list[str]:
    """What becomes of each record, as the document writes it: the value, ``dropped``, or ``refused:`` and why."""
    made = policy.compile(policy.load({"roles.yaml": ROLES.encode(), "example.yaml": example.rules.encode()}))
    direction = "produce" if "produce" in example.words else "consume"
    roles = [word for word in example.words if word not in ("produce", "consume")] or ["reader"]
    plan = made.plan_for_roles(roles, facts(), "orders", direction, now=0.0)
    lines = []
    for one in preview(plan, [Sample(line.encode()) for line in example.before], KEYS, Limits()):
        if one.after is None:
            lines.append(f"refused: {one.reason}" if one.outcome == "refused" else one.outcome)
        else:
            lines.append("" if one.after.value is None else one.after.value.decode())
    return lines


EXAMPLES = examples(DOCUMENT.read_text(encoding="utf-8"))


@pytest.mark.parametrize("example", EXAMPLES, ids=[f"{at}-{one.title}" for at, one in enumerate(EXAMPLES)])
def test_what_the_document_shows_is_what_happens(example: Example):
    assert outcomes(example) == example.after


def test_every_action_is_shown():
    shown = {word for one in EXAMPLES for word in re.findall(r"\w+", one.rules)}
    assert shown >= {"redact", "replace", "replace_with_type", "mask", "keep_format", "hmac", "token", "clear_for",
                     "date_shift", "bucket", "drop_field", "block"}


def test_an_example_that_is_wrong_is_found():
    text = DOCUMENT.read_text(encoding="utf-8").replace('"email": ""', '"email": "-"')
    assert any(outcomes(one) != one.after for one in examples(text))
