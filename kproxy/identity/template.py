"""The two small languages of an issuer's settings: claim paths, and the template a principal's name is made by.

A path is claim names joined by dots; ``\\.`` is a dot inside a name (``kubernetes\\.io.pod.name``). A template is
text with ``{claim}`` places, where ``{issuer}`` is the alias. A name made by a template can be read back in one way
only: every place but the last is followed by text that its value may not contain, so ``{issuer}:{azp}:{sub}`` never
gives two people one name.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

_PLACE = re.compile(r"\{([^{}]*)\}")
_ALIAS = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_ESCAPED = re.compile(r"\\(.)|\.", re.DOTALL)

Path = tuple[str, ...]


@lru_cache(maxsize=1024)
def parse_path(text: str) -> Path:
    """The claim names of a path. Raises ValueError on an empty name or a stray backslash."""
    names, name, at = [], "", 0
    for match in _ESCAPED.finditer(text):
        name += text[at : match.start()]
        at = match.end()
        if match.group() == ".":
            names.append(name)
            name = ""
        elif match.group(1) in "\\.":
            name += match.group(1)
        else:
            raise ValueError(f"a backslash stands before a dot or a backslash only: {text!r}")
    if text.endswith("\\") and not text[:at].endswith("\\"):
        raise ValueError(f"a backslash at the end: {text!r}")
    names.append(name + text[at:])
    if not all(names):
        raise ValueError(f"an empty claim name: {text!r}")
    return tuple(names)


def look_up(claims: dict[str, Any], path: Path) -> Any:
    """The claim a path leads to, or None when any part of the way is absent or no object."""
    value: Any = claims
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


@lru_cache(maxsize=256)
def parse_template(text: str) -> tuple[tuple[str, Path, str], ...]:
    """``(text before, path, text after)`` for every place; ``("issuer",)`` is the alias. Raises ValueError."""
    matches = list(_PLACE.finditer(text))
    if not matches:
        raise ValueError("a principal template needs a {claim}")
    places, at = [], 0
    for number, match in enumerate(matches):
        before = text[at : match.start()] if number == 0 else ""
        until = matches[number + 1].start() if number + 1 < len(matches) else len(text)
        after = text[match.end() : until]
        if not after and number + 1 < len(matches):
            raise ValueError("two places of a principal template need text between them")
        if "{" in before + after or "}" in before + after:
            raise ValueError("an unpaired brace in a principal template")
        places.append((before, parse_path(match.group(1)), after))
        at = until
    return tuple(places)


def check_alias(alias: str) -> str:
    """What is wrong with an issuer's alias, or an empty string."""
    if not _ALIAS.fullmatch(alias):
        return "an issuer's name here is 1 to 64 of A-Z a-z 0-9 _ . -"
    if alias in ("operator", "anonymous", "unknown"):
        return f"{alias!r} is kproxy's own word and cannot name an issuer"
    return ""


def check_template(text: str, only_issuer: bool) -> str:
    """What is wrong with a principal template, or an empty string.

    With several issuers the name must begin with ``{issuer}`` and a character no alias can hold: then the alias can be
    read off every name, and no two issuers can make the same one.
    """
    try:
        places = parse_template(text)
    except ValueError as error:
        return str(error)
    if all(path == ("issuer",) for _, path, _ in places):
        return "a principal template needs a claim besides {issuer}, or everybody would be one principal"
    before, path, after = places[0]
    named = path == ("issuer",) and not before and after and not _ALIAS.match(after)
    if not named and not only_issuer:
        return "with several issuers it begins with {issuer} and a sign such as ':', or names could collide"
    return ""


def build_name(text: str, alias: str, claims: dict[str, Any]) -> str:
    """The principal's name. Raises ValueError when a claim is no non-empty string or holds the text that follows its
    place.
    """
    name = ""
    places = parse_template(text)
    for number, (before, path, after) in enumerate(places):
        value = alias if path == ("issuer",) else look_up(claims, path)
        if not isinstance(value, str) or not value:
            raise ValueError("a claim of the principal template is no text")
        if number + 1 < len(places) and after in value:
            raise ValueError("a claim of the principal template holds the text that must end it")
        name += before + value + after
    return name
