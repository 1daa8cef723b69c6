"""The strict reading of JSON at its limits: what just passes, and what just does not."""

from __future__ import annotations

import json

import pytest

from kproxy.errors import TokenRefused
from kproxy.identity.strict_json import MAX_DEPTH, parse_object


def reason(data: bytes) -> str:
    with pytest.raises(TokenRefused) as caught:
        parse_object(data)
    return caught.value.reason


def test_siblings_are_not_depth():
    value = {"a": [[] for _ in range(500)], "b": [{} for _ in range(500)]}
    assert parse_object(json.dumps(value).encode()) == value


def test_depth_at_its_limit():
    inside = MAX_DEPTH - 1
    assert parse_object(f'{{"a":{"[" * inside}{"]" * inside}}}'.encode())["a"] is not None
    assert reason(f'{{"a":{"[" * (inside + 1)}{"]" * (inside + 1)}}}'.encode()) == "too_deep"


@pytest.mark.parametrize("number", [-(2**63), 2**63 - 1, 0, 1.5, -1e308])
def test_numbers_at_their_limits(number: float):
    assert parse_object(f'{{"a":{number}}}'.encode()) == {"a": number}


@pytest.mark.parametrize("number", [-(2**63) - 1, 2**63])
def test_numbers_just_beyond(number: int):
    assert reason(f'{{"a":{number}}}'.encode()) == "bad_number"


def test_a_whole_surrogate_pair_is_a_character():
    assert parse_object(b'{"a":"\\ud83d\\ude00","b":["\\\\ud83d"]}') == {"a": "\U0001f600", "b": ["\\ud83d"]}


@pytest.mark.parametrize("spoiled", [b'{"a":["\\ud83d"]}', b'{"\\ude00":1}', b'{"a":{"b":"\\ud83dx"}}'])
def test_half_a_surrogate_pair_is_refused_wherever_it_is(spoiled: bytes):
    assert reason(spoiled) == "malformed_token"
