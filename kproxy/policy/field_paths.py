"""Paths into records as policies write them: ``user.email``, ``items[*].phone``, ``**.ssn``, ``by_id.*.name``.

A path is a tuple of steps. A step is a member's name or one of ``[*]`` (every element of an array), ``*`` (every
member), ``**`` (anything beneath, at any depth) and, last, ``~`` (the names of the members themselves). A member called
like one of these, or whose name begins with a backslash, is a step with a backslash in front. ``$`` alone is the whole,
a path without steps. The native matcher (``_ext/cpp/path_matcher.hpp``) reads steps in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

ELEMENT, MEMBER, BENEATH, NAMES, WHOLE = "[*]", "*", "**", "~", "$"
_WORDS = (ELEMENT, MEMBER, BENEATH, NAMES)
_NAME = re.compile(r"(?:[^.\[\]\\]|\\.)+", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_TO_ESCAPE = re.compile(r"([.\[\]\\])")

Path = tuple[str, ...]


class BadPath(ValueError):
    """Says what is wrong with a path, for whom wrote it."""


def parse(written: str) -> Path:
    """The steps of a path. A dot, bracket or backslash within a name follows a backslash. Raises BadPath."""
    if written == WHOLE:
        return ()
    steps: list[str] = []
    at, member_wanted = 0, True
    while at < len(written):
        if written.startswith(ELEMENT, at) and (steps or at == 0) and (at == 0 or not member_wanted):
            steps.append(ELEMENT)
            at, member_wanted = at + len(ELEMENT), False
        elif written[at] == "." and not member_wanted:
            at, member_wanted = at + 1, True
        else:
            member = _NAME.match(written, at)
            if member is None or not member_wanted:
                raise BadPath(f"{written!r} is no path; write user.email, items[*].phone or **.ssn")
            steps.append(_step(member[0]))
            at, member_wanted = member.end(), False
    if member_wanted:
        raise BadPath(f"{written!r} ends where a name is wanted")
    if NAMES in steps[:-1]:
        raise BadPath(f"{written!r}: ~ stands for the names of members, so nothing can follow it")
    if any(first == second == BENEATH for first, second in pairwise(steps)):
        raise BadPath(f"{written!r}: one ** says it already")
    return tuple(steps)


def _step(written: str) -> str:
    if written in _WORDS:
        return written
    name = _ESCAPED.sub(r"\1", written)
    return "\\" + name if name in _WORDS or name.startswith("\\") else name


def write(path: Path) -> str:
    """The path as ``parse`` would read it."""
    out = ""
    for step in path:
        if step == ELEMENT:
            out += step
            continue
        name = step if step in _WORDS else _TO_ESCAPE.sub(r"\\\1", step.removeprefix("\\"))
        if step not in _WORDS and name in _WORDS:
            name = "\\" + name
        out += ("." if out else "") + name
    return out or WHOLE


def meet(one: Path, other: Path) -> bool:
    """Whether in some document both are about one value, or one names a value within the other's. A ``**`` reaches into
    whatever there is and names nothing in particular, so it meets only what it is itself about."""
    wanted, seen = [(0, 0)], {(0, 0)}
    while wanted:
        first, second = wanted.pop()
        if first == len(one) and second == len(other):
            return True
        if first == len(one) or second == len(other):
            deeper = other if first == len(one) else one
            if BENEATH not in deeper:
                return True
            continue
        for pair in _pairs_after(one, first, other, second):
            if pair not in seen:
                seen.add(pair)
                wanted.append(pair)
    return False


def _pairs_after(one: Path, first: int, other: Path, second: int) -> Iterator[tuple[int, int]]:
    """Where both are after one more step into the same document, or after a ``**`` that stands for nothing."""
    step, against = one[first], other[second]
    if step == BENEATH and first + 1 < len(one):
        yield first + 1, second
    if against == BENEATH and second + 1 < len(other):
        yield first, second + 1
    if _fit(step, against):
        for after in _after(one, first):
            for after_other in _after(other, second):
                yield after, after_other


def _after(path: Path, at: int) -> tuple[int, ...]:
    return (at, at + 1) if path[at] == BENEATH else (at + 1,)


def _fit(step: str, other: str) -> bool:
    """Whether some member or element is what both steps want."""
    if NAMES in (step, other):
        return step == other
    if BENEATH in (step, other):
        return True
    if ELEMENT in (step, other):
        return step == other
    return MEMBER in (step, other) or step == other


def covers(kept: Sequence[Path], path: Path) -> bool:
    """Whether whatever ``path`` is about is at or beneath a value that one of ``kept`` is about."""
    return any(_covers(one, path) for one in kept)


def _covers(kept: Path, path: Path) -> bool:
    if not kept:
        return True
    if not path:
        return False
    if kept[0] == BENEATH:
        return len(kept) == 1 or _covers(kept[1:], path) or _covers(kept, path[1:])
    if path[0] == NAMES:
        return False
    fits = kept[0] == path[0] or (kept[0] == MEMBER and path[0] not in (ELEMENT, BENEATH))
    return fits and _covers(kept[1:], path[1:])
