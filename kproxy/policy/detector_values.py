"""Detectors that a policy brings along. RE2's own verdict on a pattern is asked for here, while its line is known."""

from __future__ import annotations

import re

from kproxy._ext import mask
from kproxy.model.policy import Detector
from kproxy.model.record_plan import ENTITIES
from kproxy.policy.rule_values import place
from kproxy.yaml_nodes import Section, Value, Wrong, choice, some_text, tuple_of

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
#: Of a policy: their finds are told apart by bits.
MOST = 32
MOST_PATTERN, MOST_WORDS = 2000, 500
#: What RE2 does not have, and how the same is written.
_INSTEAD = (
    (re.compile(r"\(\?<?[=!]"),
     "there is no lookaround: match what is wanted itself; that a find is no part of a longer word is checked anyway,"
     " and what must stand near goes into context"),
    (re.compile(r"\(\?>|[*+?}]\+"),
     "there is nothing atomic or possessive, and no need, since RE2 takes time in proportion to the text: leave the +"
     " or ?> out"),
    (re.compile(r"\\[1-9]|\(\?P="), "there are no references back: write out what repeats, as in (?:aa|bb)"),
    (re.compile(r"\(\?\("), "there are no conditions: write both ways with |"),
    (re.compile(r"\\Z"), r"write \z"),
    (re.compile(r"\{\d{4,}|,\d{4,}\}"), "a repetition is of 1000 at most"),
)


def detector(name: str, value: Value) -> Detector:
    """One entry of ``detectors``. Its finds may be ``detect``\\ ed by its name."""
    if not NAME.fullmatch(name) or name in (*ENTITIES, "token"):
        value.complain(f"{name!r} is no name for a detector: small letters, digits and _, and not one of the"
                       " catalogue's")
    section = Section(value)
    made = Detector(
        name=name,
        pattern=section.take("pattern", _pattern, ""),
        deny_list=section.take("deny_list", tuple_of(_word), ()),
        context=section.take("context", tuple_of(_word), ()),
        checksum=section.take("checksum", choice("none", "luhn"), "none"),
        at=place(value),
    )
    written = {"pattern", "deny_list"} & {key for key, _, _ in value.items()}
    section.close()
    if len(written) != 1:
        value.complain("a detector has either a pattern or a deny_list")
    if len(made.deny_list) + len(made.context) > MOST_WORDS:
        value.complain(f"a detector has {MOST_WORDS} words at most")
    return made


def _word(value: Value) -> str:
    word = some_text(value)
    if len(word) < 2 or "|" in word or "\n" in word:
        raise Wrong(value, f"{word!r} is no word: two characters at least, without | and line breaks")
    return word


def _pattern(value: Value) -> str:
    pattern = some_text(value)
    if len(pattern) > MOST_PATTERN:
        raise Wrong(value, f"the pattern is of {len(pattern)} characters; {MOST_PATTERN} are the most")
    fault = mask.pattern_fault(pattern)
    if fault:
        instead = next((advice for found, advice in _INSTEAD if found.search(pattern)), "")
        raise Wrong(value, f"RE2 does not take the pattern: {fault}" + (f"; {instead}" if instead else ""))
    return pattern
