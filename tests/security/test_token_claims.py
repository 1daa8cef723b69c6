"""Tokens whose shape, size, times, audience, subject or kind is wrong are refused, each for its own reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kproxy.identity.jwt import validate
from tests.support.tokens import (
    ISS,
    NOW,
    b64,
    claims,
    ed_key,
    header,
    issuer,
    issuer_keys,
    public_jwk,
    raw,
    refuse,
    rs,
    token,
)

LAB_HEAD = {"alg": "RS256", "kid": "k1"}
GOOD = token()


# Shape and size.
def test_oversize_token():
    assert refuse(token(padding="x" * 65536)).reason == "too_large"
    assert refuse("." * 65537).reason == "too_large"


def test_largest_token_is_read():
    big = token(padding="x" * 40000)
    assert len(big) < 65536
    assert validate(big, {ISS: issuer()}, {"corp": issuer_keys()}, NOW).principal.subject == "w1"


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_deep_json(opening: str):
    closing = "]" if opening == "[" else "}"
    deep = opening * 5000 + "1" + closing * 5000
    payload = (json.dumps(claims())[:-1] + f',"x":{deep}' + "}").encode()
    assert refuse(raw(header(), payload, rs())).reason == "too_deep"


def test_depth_is_not_counted_inside_strings():
    assert validate(token(note="[" * 500 + '"{' * 500), {ISS: issuer()}, {"corp": issuer_keys()}, NOW).issuer == "corp"


def test_encrypted_token_of_five_parts():
    assert refuse(GOOD + GOOD).reason == "encrypted_token"
    parts = [b64(b'{"alg":"RSA-OAEP","enc":"A256GCM"}'), b64(b"key"), b64(b"iv"), b64(b"text"), b64(b"tag")]
    assert refuse(".".join(parts)).reason == "encrypted_token"


@pytest.mark.parametrize("spoiled", [
    GOOD + "=", GOOD + "==", GOOD + "\n", GOOD + " ", " " + GOOD, GOOD + ".", GOOD + ".x", GOOD + "\x00",
    "Bearer " + GOOD,
    GOOD.replace(".", "..", 1), GOOD.encode() + b"\xff", "", ".", "..", GOOD[:-1] + "+", "é" + GOOD,
])
def test_trailing_and_foreign_bytes(spoiled: str | bytes):
    assert refuse(spoiled).reason == "malformed_token"


def test_non_canonical_base64_of_the_same_bytes():
    """The last character of a 256-byte signature has four spare bits: fifteen other spellings decode alike."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert len(GOOD.rsplit(".", 1)[1]) % 4 == 2
    spelled = [GOOD[:-1] + other for other in alphabet if other != GOOD[-1]]
    same_bytes = [one for one in spelled if alphabet.index(one[-1]) // 16 == alphabet.index(GOOD[-1]) // 16]
    assert len(same_bytes) == 15
    assert {refuse(one).reason for one in same_bytes} == {"malformed_token"}


@pytest.mark.parametrize("payload", [
    b"", b"null", b"1", b'"x"', b"{", b"{}x", b"\xef\xbb\xbf{}", '{"iss":1}'.encode("utf-16"), b"{\"a\":'b'}",
    b'{"a":"\xff"}',
    b'{"a":"\\ud800"}', b'{"a":01}', b'{"a":1,}', b"// x\n{}",
])
def test_payload_that_is_no_json_object(payload: bytes):
    assert refuse(raw(header(), payload, rs())).reason == "malformed_token"


@pytest.mark.parametrize("number", [
    "1e400", "-1e400", "NaN", "Infinity", "-Infinity", "9" * 20, "9" * 5000, str(2**63),
])
def test_numbers_beyond_reason(number: str):
    payload = (json.dumps(claims())[:-1] + f',"x":{number}' + "}").encode()
    assert refuse(raw(header(), payload, rs())).reason == "bad_number"


# Time.
@pytest.mark.parametrize(("change", "accepted"), [
    ({"exp": NOW - 29, "iat": NOW - 300}, True), ({"exp": NOW - 31, "iat": NOW - 300}, False),
    ({"exp": NOW - 30, "iat": NOW - 300}, False),
    ({"nbf": NOW + 29}, True), ({"nbf": NOW + 31}, False), ({"iat": NOW + 29}, True), ({"iat": NOW + 31}, False),
])
def test_clock_skew_on_either_side_of_its_limit(change: dict[str, int], accepted: bool):
    tested = token(**{"nbf": NOW - 300, **change})
    if accepted:
        assert validate(tested, {ISS: issuer()}, {"corp": issuer_keys()}, NOW).principal.subject == "w1"
    else:
        assert refuse(tested).reason in {"expired", "not_yet_valid", "issued_in_future"}


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", [str(NOW), True, None, [NOW], {"t": NOW}, -1, NOW * 1000, 10**18, -0.5])
def test_times_are_plausible_numbers(name: str, value: Any):
    assert refuse(token(**{name: value})).reason == "bad_time"


def test_expiry_before_issue():
    assert refuse(token(exp=NOW + 5, iat=NOW + 10)).reason == "bad_time"


def test_lifetime_above_the_local_cap():
    assert refuse(token(exp=NOW + 3601)).reason == "lifetime_too_long"
    assert validate(token(exp=NOW + 3600), {ISS: issuer()}, {"corp": issuer_keys()}, NOW).expires_at == NOW + 3600


def test_kubernetes_token_of_one_year():
    """Also on its last day: a credential that could be replayed for a year never becomes a short-lived one."""
    year = 31_536_000
    assert refuse(token(exp=NOW + year)).reason == "lifetime_too_long"
    assert refuse(token(exp=NOW + 60, iat=NOW - year, nbf=NOW - year)).reason == "lifetime_too_long"


def test_long_life_is_not_hidden_by_leaving_out_iat():
    assert refuse(token(without=("iat",), nbf=NOW - 4000)).reason == "lifetime_too_long"
    assert refuse(token(without=("iat", "nbf"), exp=NOW + 3700)).reason == "lifetime_too_long"


def test_no_session_outlives_the_cap_nor_ends_in_the_past():
    late = validate(token(exp=NOW - 10, iat=NOW - 60, nbf=NOW - 60), {ISS: issuer()}, {"corp": issuer_keys()}, NOW)
    assert late.expires_at == NOW + 20
    this_second = validate(token(exp=NOW, iat=NOW - 60, nbf=NOW - 60), {ISS: issuer()}, {"corp": issuer_keys()}, NOW)
    assert this_second.expires_at == NOW + 30
    ahead = validate(token(exp=NOW + 620, iat=NOW + 20), {ISS: issuer(max_lifetime=600)}, {"corp": issuer_keys()}, NOW)
    assert ahead.expires_at == NOW + 600


# Audience and subject.
def test_audience_array_with_ours_and_another():
    assert validate(token(aud=["other", "kafka"]), {ISS: issuer()}, {"corp": issuer_keys()}, NOW).issuer == "corp"
    assert refuse(token(aud=["other", "else"])).reason == "wrong_audience"


def test_audiences_at_their_limit():
    many = token(aud=[*(f"a{n}" for n in range(99)), "kafka"])
    assert validate(many, {ISS: issuer()}, {"corp": issuer_keys()}, NOW).issuer == "corp"


@pytest.mark.parametrize(("aud", "reason"), [
    ([], "wrong_audience"), ("", "wrong_audience"), ("kafka ", "wrong_audience"), ("KAFKA", "wrong_audience"),
    (["kafka", 1], "bad_claim"), ({"kafka": 1}, "bad_claim"), (None, "bad_claim"), ([["kafka"]], "bad_claim"),
    (["x"] * 101, "bad_claim"),
])
def test_audience_shapes(aud: Any, reason: str):
    assert refuse(token(aud=aud)).reason == reason


@pytest.mark.parametrize("sub", [
    "", " ", " w1", "w1 ", "w1\n", "w1\nadmin", "w1\x00", "w\t1", "a\u202eb", "a\u200bb", "a\u2028b", "\uff41dmin",
    "a\u0301", "w" * 1025, None, 5, ["w1"], {"sub": "w1"}, True, "\u00a0w1", "\ue000",
])
def test_subjects_that_are_no_names(sub: Any):
    assert refuse(token(sub=sub)).reason == "bad_subject"


@pytest.mark.parametrize("sub", [
    "CN=w1,OU=jobs,O=corp", "a=b", "a,b", "аdmin", "zoë", "鈴木", "w1:x", "../w1", "a b", "*", "w" * 1024,
])
def test_subjects_that_are_taken_whole(sub: str):
    """Commas, equals signs and foreign letters are part of the name; a Cyrillic а is never the Latin one."""
    found = validate(token(sub=sub), {ISS: issuer()}, {"corp": issuer_keys()}, NOW)
    assert (found.principal.subject, found.principal.name) == (sub, f"corp:{sub}")
    assert sub != "admin"


def test_required_claims():
    for name in ("iss", "aud", "exp", "sub"):
        assert refuse(token(without=(name,))).reason == "missing_claim"


# ID tokens and other kinds.
@pytest.mark.parametrize("name", ["nonce", "at_hash", "c_hash", "s_hash"])
@pytest.mark.parametrize("profile", ["rfc9068", "generic"])
def test_claims_of_an_id_token(name: str, profile: str):
    assert refuse(token(client_id="app", **{name: "x"}), token_profile=profile).reason == "id_token"


def test_id_token_under_the_generic_profile():
    plain = raw({**LAB_HEAD, "typ": "JWT"}, claims(), rs())
    assert refuse(plain, token_profile="generic").reason == "id_token"
    assert refuse(raw(LAB_HEAD, claims(azp=""), rs()), token_profile="generic").reason == "id_token"
    assert refuse(raw(LAB_HEAD, claims(azp="app", typ="ID"), rs()), token_profile="generic").reason == "id_token"
    assert refuse(raw(LAB_HEAD, claims(azp="app", typ="Refresh"), rs()), token_profile="generic").reason == "id_token"


@pytest.mark.parametrize("kind", ["logout+jwt", "dpop+jwt", "secevent+jwt", "at+jwt "])
@pytest.mark.parametrize("profile", ["rfc9068", "generic"])
def test_types_made_for_other_doors(kind: str, profile: str):
    assert refuse(token(header(typ=kind), client_id="app"), token_profile=profile).reason == "wrong_type"


def test_type_that_is_no_text():
    assert refuse(token(header(typ=["at+jwt"]))).reason == "wrong_type"


def test_legacy_kubernetes_secret_token():
    """No exp, no aud, and an issuer that nobody may configure by accident."""
    said = {"iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:a:b"}
    legacy = raw({"alg": "RS256", "kid": "k1"}, said, rs())
    assert refuse(legacy).reason == "unknown_issuer"
    known = {"kubernetes/serviceaccount": issuer(issuer="kubernetes/serviceaccount", token_profile="k8s")}
    assert refuse(legacy, issuers=known).reason == "missing_claim"


def test_ed25519_is_refused_unless_listed():
    keys = {"corp": issuer_keys(public_jwk(ed_key(), kid="k1"))}
    tested = raw(header(alg="EdDSA"), claims(), ed_key().sign)
    assert refuse(tested, keys=keys).reason == "algorithm_refused"
    found = validate(tested, {ISS: issuer(algorithms=("EdDSA",))}, keys, NOW)
    assert found.principal.subject == "w1"
