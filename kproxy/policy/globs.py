"""Names by pattern. The only wildcard is ``*``: any run of characters, dots included. A backslash makes a star or
another backslash literal.

A glob is kept as its literal parts between the stars, so that matching is a few string comparisons and neither a
regular expression nor a loop over characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Generic, TypeVar

P = TypeVar("P")

#: Stands for "anything" when one glob is matched against another: no name can hold a lone surrogate.
_ANYTHING = "\udfff"


class BadGlob(ValueError):
    """A pattern with an escape that means nothing."""


@lru_cache(maxsize=65536)
def parse(pattern: str) -> tuple[str, ...]:
    """The literal parts between the stars; one part: no star. Raises BadGlob."""
    found = _parse_escaped(pattern) if "\\" in pattern else pattern.split("*")
    # Neighbouring stars mean what one means.
    return tuple(part for index, part in enumerate(found) if part or index in (0, len(found) - 1))


def matches(pattern: str, name: str) -> bool:
    return _parts_match(parse(pattern), name)


def contains(outer: str, inner: str) -> bool:
    """Whether every name that ``inner`` matches is matched by ``outer``."""
    return _parts_match(parse(outer), _ANYTHING.join(parse(inner)))


def overlap(one: str, other: str) -> bool:
    """Whether some name is matched by both."""
    a, b = parse(one), parse(other)
    if len(a) == 1:
        return _parts_match(b, a[0])
    if len(b) == 1:
        return _parts_match(a, b[0])
    # With a star in both, whatever stands between compatible ends can be written out one after the other.
    return _is_start(a[0], b[0]) and _is_start(a[-1][::-1], b[-1][::-1])


def overlapping_pairs(patterns: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Every pair of distinct patterns that some name matches both of, once. Literal names and prefixes, which are
    nearly all patterns in practice, are found by look-up; globs of other shapes are compared with every other."""
    prefixes: dict[int, dict[str, list[str]]] = {}
    others: dict[str, None] = {}
    distinct = dict.fromkeys(patterns)
    for pattern in distinct:
        parts = parse(pattern)
        if len(parts) == 2 and not parts[1]:
            # One prefix may be written in several ways: a*, a**.
            prefixes.setdefault(len(parts[0]), {}).setdefault(parts[0], []).append(pattern)
        elif len(parts) > 1:
            others[pattern] = None
    for pattern in distinct:
        if pattern in others:
            continue
        parts = parse(pattern)
        for length, known in prefixes.items():
            for found in known.get(parts[0][:length], ()) if length <= len(parts[0]) else ():
                is_same = parse(found) == parts
                if not is_same or found < pattern:
                    yield pattern, found
    for index, pattern in enumerate(others):
        for other in (*list(others)[:index], *(name for name in distinct if name not in others)):
            if overlap(pattern, other):
                yield pattern, other


class GlobIndex(Generic[P]):
    """Payloads by glob. Finding costs a look-up per distinct prefix length, not a comparison per rule."""

    def __init__(self, entries: Iterable[tuple[str, P]]) -> None:
        self._exact: dict[str, Sequence[P]] = {}
        self._prefix: dict[int, dict[str, Sequence[P]]] = {}
        self._other: dict[str, Sequence[P]] = {}
        for pattern, payload in entries:
            parts = parse(pattern)
            if len(parts) == 1:
                _enter(self._exact, parts[0], payload)
            elif len(parts) == 2 and not parts[1]:
                _enter(self._prefix.setdefault(len(parts[0]), {}), parts[0], payload)
            else:
                _enter(self._other, pattern, payload)

    def find(self, name: str) -> list[P]:
        """Payloads of every glob that matches; one that was entered under two of them comes twice."""
        found = list(self._exact.get(name, ()))
        for length, prefixes in self._prefix.items():
            if length <= len(name):
                found += prefixes.get(name[:length], ())
        for pattern, payloads in self._other.items():
            if matches(pattern, name):
                found += payloads
        return found

    def find_containing(self, pattern: str) -> list[P]:
        """Payloads of every glob that matches all names ``pattern`` matches."""
        return self.find(_ANYTHING.join(parse(pattern)))


def _enter(index: dict[str, Sequence[P]], key: str, payload: P) -> None:
    """Most keys have one payload. In a tuple it is soon forgotten by the collector; ten thousand lists stop a worker
    for ten milliseconds each time they are gone through."""
    known = index.get(key)
    if known is None:
        index[key] = (payload,)
    elif isinstance(known, list):
        known.append(payload)
    else:
        index[key] = [*known, payload]


def _parse_escaped(pattern: str) -> list[str]:
    parts, current, at = [], "", 0
    while at < len(pattern):
        character = pattern[at]
        if character == "\\":
            at += 1
            if at == len(pattern) or pattern[at] not in "*\\":
                raise BadGlob(f"{pattern!r}: a backslash stands before * or another backslash only")
            current += pattern[at]
        elif character == "*":
            parts.append(current)
            current = ""
        else:
            current += character
        at += 1
    return [*parts, current]


def _parts_match(parts: tuple[str, ...], name: str) -> bool:
    first, last = parts[0], parts[-1]
    if len(parts) == 1:
        return name == first
    if len(name) < len(first) + len(last) or not name.startswith(first) or not name.endswith(last):
        return False
    at, end = len(first), len(name) - len(last)
    for part in parts[1:-1]:
        # The leftmost place of each part leaves the most room for the next.
        at = name.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True


def _is_start(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)
