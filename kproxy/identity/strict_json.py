"""JSON as a security decision needs it: UTF-8, one object, no member twice, bounded depth, finite 64-bit numbers.

The standard parser guesses UTF-16, lets the last duplicate win and turns 1e400 into infinity; two readers of one
document could then disagree about who its subject is.
"""

from __future__ import annotations

import json
import re
from typing import Any

from kproxy.identity.refusals import build_refusal

MAX_DEPTH = 32  # Keycloak's deepest claim (resource_access.<client>.roles) is 4 deep.
# Possessive, and content with a string that never ends: one pass, whatever the text (the parser refuses it afterwards).
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


def parse_object(data: bytes, max_depth: int = MAX_DEPTH) -> dict[str, Any]:
    """The object in ``data``. Raises TokenRefused: malformed_token, duplicate_member, too_deep or bad_number."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise build_refusal("malformed_token", "the JSON is not UTF-8") from None
    if text.count("[") + text.count("{") > max_depth:
        _check_depth(text, max_depth)
    try:
        value = json.loads(text, object_pairs_hook=_build_object, parse_constant=_refuse_constant,
                           parse_float=_parse_float, parse_int=_parse_int)
    except ValueError:
        raise build_refusal("malformed_token", "not JSON") from None
    if not isinstance(value, dict):
        raise build_refusal("malformed_token", "not a JSON object")
    if _SURROGATE_ESCAPE.search(text):
        _check_surrogates(value)
    return value


def _check_depth(text: str, max_depth: int) -> None:
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        mark = match.group()
        if mark == "[" or mark == "{":
            depth += 1
            if depth > max_depth:
                raise build_refusal("too_deep")
        elif mark == "]" or mark == "}":
            depth -= 1


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise build_refusal("duplicate_member")
    return members


def _refuse_constant(_name: str) -> Any:
    raise build_refusal("bad_number", "NaN and Infinity are not JSON")


def _parse_float(text: str) -> float:
    value = float(text)
    if value - value != 0.0:
        raise build_refusal("bad_number")
    return value


def _parse_int(text: str) -> int:
    # Twenty characters hold every 64-bit integer; longer text is not even converted.
    if len(text) > 20 or not -(1 << 63) <= (value := int(text)) < 1 << 63:
        raise build_refusal("bad_number")
    return value


def _check_surrogates(value: Any) -> None:
    """Half a surrogate pair has no UTF-8 form, so it could neither be compared nor audited."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting.extend(item.keys())
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, str) and any("\ud800" <= character <= "\udfff" for character in item):
            raise build_refusal("malformed_token", "half a surrogate pair")
