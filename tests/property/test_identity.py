"""Whatever bytes come, the parsers answer with a value or a reasoned refusal; and what they accept means one thing
only.
"""

from __future__ import annotations

import json
import time

from hypothesis import example, given, settings
from hypothesis import strategies as st

from kproxy.errors import TokenRefused
from kproxy.identity.claims import is_plain
from kproxy.identity.jwt import parse
from kproxy.identity.refusals import REASONS
from kproxy.identity.sasl import parse_oauthbearer, parse_plain
from kproxy.identity.strict_json import MAX_DEPTH, parse_object
from kproxy.identity.template import build_name, parse_path
from tests.support.tokens import accept, b64, claims, header, raw, refuse, rs, token

NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
JSON = st.recursive(
    SCALARS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)
OBJECTS = st.dictionaries(TEXT, JSON, max_size=6)
NAMES = st.text(st.characters(codec="ascii", min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=12)
PRINTABLE = st.characters(codec="ascii", min_codepoint=0x20, max_codepoint=0x7E)
EXTENSION_KEYS = st.from_regex(r"[A-Za-z]{1,10}", fullmatch=True).filter(lambda key: key.lower() != "auth")


def answer(parser, data):
    """The parser's value, or the word it refuses with. Anything else is the failure looked for."""
    try:
        return parser(data)
    except TokenRefused as refusal:
        assert refusal.reason in REASONS
        return refusal.reason


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes):
    for parser in (parse, parse_oauthbearer, parse_plain, parse_object):
        answer(parser, data)


@given(st.lists(st.binary(max_size=40), min_size=3, max_size=3))
def test_any_three_parts(parts: list[bytes]):
    answer(parse, ".".join(b64(part) for part in parts))


@given(OBJECTS)
def test_strict_json_reads_what_json_writes(value: dict):
    assert answer(parse_object, json.dumps(value).encode()) in (value, "too_deep")
    assert answer(parse_object, json.dumps(value, ensure_ascii=False).encode()) in (value, "too_deep")


@given(OBJECTS, TEXT, JSON)
def test_a_repeated_member_is_found_wherever_it_is(value: dict, name: str, other: object):
    twice = f'{{{json.dumps(name)}: 1, {json.dumps(name)}: {json.dumps(other)}}}'
    document = json.dumps({**value, "\x00mark": 0})[:-1] + f', "in": [{twice}]' + "}"
    assert answer(parse_object, document.encode()) == "duplicate_member"


@given(st.integers(1, 200), st.booleans())
def test_depth_is_bounded_exactly(depth: int, arrays: bool):
    inner = "[" * (depth - 1) + "]" * (depth - 1) if arrays else '{"a":' * (depth - 1) + "1" + "}" * (depth - 1)
    found = answer(parse_object, f'{{"x":{inner or 1}}}'.encode())
    assert (found == "too_deep") == (depth > MAX_DEPTH)


@example('{"' + "[" * 64 + '\\"' * 30000)
@example("[" * 64 + '"' + "\\" * 60000)
@example("{" * 33 + '"\\' * 20000)
@settings(max_examples=20, deadline=None)
@given(st.text(st.sampled_from('"\\[]{}a'), max_size=2000))
def test_hostile_text_is_read_in_one_pass(text: str):
    began = time.thread_time()
    answer(parse_object, text.encode())
    assert time.thread_time() - began < 0.5


@settings(max_examples=50, deadline=None)
@given(OBJECTS)
def test_no_claim_beside_the_known_ones_changes_who_it_is(extra: dict):
    """Names as they are drawn here never are those that tokens give meaning to, apart from the ones left out."""
    known = {"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "typ", "groups", "nonce", "at_hash", "c_hash", "s_hash"}
    others = {name: value for name, value in extra.items() if name not in known}
    found = answer(accept, raw(header(), {**others, **claims()}, rs()))
    assert found == accept(token()) or found == "too_deep"


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_one_changed_character_is_never_accepted(data: st.DataObject):
    good = token()
    at = data.draw(st.integers(0, len(good) - 1))
    other = data.draw(st.sampled_from("ABCDabcd0123-_.=+/ \n\x00é").filter(lambda character: character != good[at]))
    assert refuse(good[:at] + other + good[at + 1 :]).reason in REASONS


@given(
    st.dictionaries(EXTENSION_KEYS, st.text(PRINTABLE, min_size=1), max_size=8),
    st.from_regex(r"[-_.A-Za-z0-9]{1,60}", fullmatch=True),
    TEXT.filter(lambda name: name.isascii() and "\0" not in name),
)
def test_oauthbearer_round_trip(extensions: dict[str, str], bearer: str, authzid: str):
    said = f"a={authzid.replace('=', '=3D').replace(',', '=2C')}" if authzid else ""
    pairs = "".join(f"\x01{key}={value}" for key, value in extensions.items())
    found = parse_oauthbearer(f"n,{said},\x01auth=Bearer {bearer}{pairs}\x01\x01".encode())
    assert (found.token, found.authzid, found.extensions) == (bearer, authzid, extensions)


@given(TEXT.filter(lambda name: name and name.isprintable()), TEXT.filter(lambda name: "\0" not in name and name))
def test_plain_round_trip(username: str, password: str):
    found = parse_plain(f"\0{username}\0{password}".encode())
    assert (found.username, found.password) == (username, password)


@given(NAMES, NAMES, NAMES, NAMES)
def test_two_people_never_share_a_name(azp: str, sub: str, other_azp: str, other_sub: str):
    built = []
    for one, two in ((azp, sub), (other_azp, other_sub)):
        try:
            built.append(build_name("{issuer}:{azp}/{sub}", "corp", {"azp": one, "sub": two}))
        except ValueError:
            return
    assert (built[0] == built[1]) == ((azp, sub) == (other_azp, other_sub))


@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=4))
def test_any_claim_name_can_be_written_as_a_path(names: list[str]):
    written = ".".join(name.replace("\\", "\\\\").replace(".", "\\.") for name in names)
    assert parse_path(written) == tuple(names)


@given(st.text(max_size=30))
def test_plain_names_hold_nothing_that_hides_or_moves_text(text: str):
    if is_plain(text):
        assert text == text.strip()
        assert not set(text) & set("\n\r\t\x00\x1b\u200b\u202e\u2028\ufeff")
        assert text.encode("utf-8").decode("utf-8") == text
