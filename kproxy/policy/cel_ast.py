"""Reads which names a compiled CEL expression mentions, from the checked syntax tree that the library serialises.

The tree is a protobuf message (cel-spec, ``proto/cel/expr/checked.proto`` and ``syntax.proto``, wrapped in an ``Any``).
Only the few fields that carry names and constants are read; the numbers below are those of the spec.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

#: A message as {field number: [values]}: an int for a varint, bytes for anything with a length.
Message = dict[int, list[int | bytes]]


@dataclass(slots=True)
class Mentions:
    """``keys`` holds (variable, key) for every member that is named outright, as in ``attested.model`` or
    ``attested["model"]`` or ``"model" in attested``. ``whole`` holds variables used in any other way."""

    keys: set[tuple[str, str]] = field(default_factory=set)
    whole: set[str] = field(default_factory=set)
    calls: list[tuple[str, tuple[str | None, ...]]] = field(default_factory=list)
    """(function, its arguments: the text of a constant string, None for anything else)."""

    def variables(self) -> set[str]:
        return self.whole | {variable for variable, _ in self.keys}


def read_mentions(serialised: bytes) -> Mentions:
    """What the expression mentions. Raises ValueError if the bytes are not such a tree."""
    checked = _read(_one(_read(serialised), 2))
    found = Mentions()
    _walk(_read(_one(checked, 4)), frozenset(), found)
    return found


def _walk(expr: Message, bound: frozenset[str], found: Mentions) -> None:
    """``bound`` are the names that enclosing macros (``exists``, ``map``, …) introduce: they hide variables."""
    if 4 in expr:
        name = _text(_read(_one(expr, 4)), 1)
        if name not in bound:
            found.whole.add(name)
    elif 5 in expr:
        _walk_select(_read(_one(expr, 5)), bound, found)
    elif 6 in expr:
        _walk_call(_read(_one(expr, 6)), bound, found)
    elif 7 in expr:
        for element in _all(_read(_one(expr, 7)), 1):
            _walk(_read(element), bound, found)
    elif 8 in expr:
        for entry in _all(_read(_one(expr, 8)), 2):
            for part in (3, 4):
                for inner in _all(_read(entry), part):
                    _walk(_read(inner), bound, found)
    elif 9 in expr:
        _walk_comprehension(_read(_one(expr, 9)), bound, found)


def _walk_select(select: Message, bound: frozenset[str], found: Mentions) -> None:
    operand = _read(_one(select, 1))
    name = _variable(operand, bound)
    if name is None:
        _walk(operand, bound, found)
    else:
        found.keys.add((name, _text(select, 2)))


def _walk_call(call: Message, bound: frozenset[str], found: Mentions) -> None:
    function = _text(call, 2)
    arguments = [_read(argument) for argument in _all(call, 3)]
    if function == "_[_]" and len(arguments) == 2:
        container, key = arguments
    elif function == "@in" and len(arguments) == 2:
        key, container = arguments
    else:
        container = key = {}
    name, constant = _variable(container, bound), _constant_text(key)
    if name is not None and constant is not None:
        found.keys.add((name, constant))
        return
    found.calls.append((function, tuple(_constant_text(argument) for argument in arguments)))
    for target in _all(call, 1):
        _walk(_read(target), bound, found)
    for argument in arguments:
        _walk(argument, bound, found)


def _walk_comprehension(comprehension: Message, bound: frozenset[str], found: Mentions) -> None:
    _walk(_read(_one(comprehension, 2)), bound, found)
    _walk(_read(_one(comprehension, 4)), bound, found)
    names = {_text(comprehension, number) for number in (1, 3, 8) if number in comprehension}
    for number in (5, 6, 7):
        _walk(_read(_one(comprehension, number)), bound | names, found)


def _variable(expr: Message, bound: frozenset[str]) -> str | None:
    if 4 not in expr:
        return None
    name = _text(_read(_one(expr, 4)), 1)
    return None if name in bound else name


def _constant_text(expr: Message) -> str | None:
    if 3 not in expr:
        return None
    constant = _read(_one(expr, 3))
    return _text(constant, 6) if 6 in constant else None


def _read(data: int | bytes) -> Message:
    if isinstance(data, int):
        raise ValueError("a number stands where a message should")
    message: Message = {}
    for number, value in _fields(data):
        message.setdefault(number, []).append(value)
    return message


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == 2:
            length, at = _varint(data, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind} is not used here")
        if length > len(data) - at:
            raise ValueError("the tree is cut short")
        yield number, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError("a number is cut short")


def _all(message: Message, number: int) -> list[int | bytes]:
    return message.get(number, [])


def _one(message: Message, number: int) -> int | bytes:
    values = message.get(number)
    if not values:
        raise ValueError(f"field {number} is missing from the tree")
    return values[-1]


def _text(message: Message, number: int) -> str:
    value = message.get(number, [b""])[-1]
    if isinstance(value, int):
        raise ValueError("a number stands where text should")
    return value.decode("utf-8")
