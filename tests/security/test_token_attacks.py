"""Every hostile token we know of is refused, each for its own reason and before anything rests on it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes

from kproxy.identity.jwt import KeyDoubtful, KeyMissing, validate
from tests.support.tokens import (
    ISS,
    NOW,
    b64,
    claims,
    ec_key,
    es,
    header,
    hs,
    issuer,
    issuer_keys,
    ps,
    public_jwk,
    public_pem,
    raw,
    refuse,
    rs,
    rsa_key,
    token,
)

LAB_HEAD = {"alg": "RS256", "kid": "k1"}
GOOD = token()
SIGNED, TAMPERED = GOOD.rsplit(".", 1)[0], GOOD.split(".")


def test_the_honest_token_is_accepted():
    found = validate(GOOD, {ISS: issuer()}, {"corp": issuer_keys()}, NOW)
    assert (found.principal.name, found.principal.subject, found.issuer, found.kid) == ("corp:w1", "w1", "corp", "k1")
    assert found.expires_at == NOW + 300


# The documents of the JWT laboratory, under their own names.
LAB = {
    "alg none": (raw({"alg": "none"}, claims(), lambda _: b""), "algorithm_refused"),
    "alg None (case)": (raw({"alg": "nOnE"}, claims(), lambda _: b""), "algorithm_refused"),
    "no alg": (raw({"kid": "k1"}, claims(), rs()), "algorithm_refused"),
    "HS256 with public PEM": (
        raw({"alg": "HS256", "kid": "k1"}, claims(), hs(public_pem(rsa_key()))), "algorithm_refused"),
    "tampered payload": (
        f"{TAMPERED[0]}.{b64(json.dumps(claims(sub='admin')).encode())}.{TAMPERED[2]}", "bad_signature"),
    "empty signature": (SIGNED + ".", "bad_signature"),
    "expired": (token(exp=NOW - 3600, iat=NOW - 7000, nbf=NOW - 7000), "expired"),
    "nbf future": (token(nbf=NOW + 3600), "not_yet_valid"),
    "iat future": (token(iat=NOW + 3600, exp=NOW + 3900), "issued_in_future"),
    "wrong aud": (token(aud="other"), "wrong_audience"),
    "aud missing": (raw(LAB_HEAD, claims(("aud",)), rs()), "missing_claim"),
    "exp missing": (raw(LAB_HEAD, claims(("exp",)), rs()), "missing_claim"),
    "exp string": (token(exp=str(NOW + 300)), "bad_time"),
    "exp 1e400": (
        raw(LAB_HEAD, json.dumps(claims()).replace(str(NOW + 300), "1e400").encode(), rs()), "bad_number"),
    "exp NaN": (raw(LAB_HEAD, json.dumps(claims()).replace(str(NOW + 300), "NaN").encode(), rs()), "bad_number"),
    "wrong iss": (token(iss="https://evil"), "unknown_issuer"),
    "iss list": (token(iss=[ISS]), "unknown_issuer"),
    "sub int": (token(sub=5), "bad_subject"),
    "crit unknown": (raw({**LAB_HEAD, "crit": ["x"], "x": 1}, claims(), rs()), "header_refused"),
    "b64 false": (raw({**LAB_HEAD, "b64": False, "crit": ["b64"]}, claims(), rs()), "header_refused"),
    "jku header": (raw({**LAB_HEAD, "jku": "https://evil/jwks"}, claims(), rs()), "header_refused"),
    "embedded jwk": (raw({**LAB_HEAD, "jwk": {"kty": "RSA"}}, claims(), rs()), "header_refused"),
    "dup claim keys": (
        raw(LAB_HEAD, (json.dumps(claims())[:-1] + ',"sub":"admin"}').encode(), rs()), "duplicate_member"),
    "payload array": (raw(LAB_HEAD, b"[1]", rs()), "malformed_token"),
    "whitespace in token": (GOOD[:30] + "\n" + GOOD[30:], "malformed_token"),
    "typ id_token (JWT)": (raw({**LAB_HEAD, "typ": "JWT"}, claims(), rs()), "wrong_type"),
}


@pytest.mark.parametrize("name", LAB)
def test_laboratory_document(name: str):
    tested, reason = LAB[name]
    assert refuse(tested).reason == reason


def test_es256_signature_of_zeros():
    keys = {"corp": issuer_keys(public_jwk(ec_key(), kid="k1"))}
    zeros = raw(header(alg="ES256"), claims(), lambda _: bytes(64))
    assert refuse(zeros, keys=keys).reason == "bad_signature"


# Headers, keys and algorithms.
@pytest.mark.parametrize("name", ["jku", "jwk", "x5u", "x5c", "crit", "b64", "zip", "enc"])
def test_headers_that_ask_for_trust(name: str):
    assert refuse(token(header(**{name: "x"}))).reason == "header_refused"


def test_duplicate_header_members():
    double = b'{"alg":"none","alg":"RS256","kid":"k1","typ":"at+jwt"}'
    assert refuse(raw(double, claims(), rs())).reason == "duplicate_member"


def test_duplicate_member_behind_an_escape():
    hidden = json.dumps(claims())[:-1] + ',"su\\u0062":"admin"}'
    assert refuse(raw(header(), hidden.encode(), rs())).reason == "duplicate_member"


def test_duplicate_member_deep_inside():
    nested = json.dumps(claims())[:-1] + ',"realm_access":{"roles":[],"roles":["admin"]}}'
    assert refuse(raw(header(), nested.encode(), rs())).reason == "duplicate_member"


def test_hmac_stays_refused_even_when_configured():
    forged = raw(header(alg="HS256"), claims(), hs(public_pem(rsa_key())))
    assert refuse(forged, algorithms=("HS256", "none", "RS256")).reason == "algorithm_refused"


def test_algorithm_of_another_issuer():
    """ES256 is sound and still not on this issuer's list."""
    keys = {"corp": issuer_keys(public_jwk(ec_key(), kid="k1"))}
    error = refuse(raw(header(alg="ES256"), claims(), es(ec_key())), keys=keys, algorithms=("RS256",))
    assert (error.reason, error.issuer) == ("algorithm_refused", "corp")


@pytest.mark.parametrize("kid", [
    "../../../../dev/null", "/etc/passwd", "k1' OR '1'='1", "k1;--", "https://evil/k1", "${jndi:ldap://evil}", "K1",
    "k1 ",
])
def test_kid_injection_strings_are_mere_names(kid: str):
    error = refuse(token(header(kid=kid)))
    assert isinstance(error, KeyMissing)
    assert (error.reason, error.issuer_alias, error.kid) == ("unknown_kid", "corp", kid)
    assert kid not in str(error)


@pytest.mark.parametrize("kid", ["", "k" * 1001, "k1\n", "k1\x00", 1, ["k1"], {"k1": 1}, True, "k1\u202e"])
def test_kid_of_a_wrong_shape(kid: Any):
    head = {"alg": "RS256", "kid": kid, "typ": "at+jwt"}
    assert refuse(raw(head, claims(), rs())).reason == "bad_kid"


def test_kid_null():
    assert refuse(raw(b'{"alg":"RS256","kid":null,"typ":"at+jwt"}', claims(), rs())).reason == "bad_kid"


def test_kid_of_exactly_a_thousand_characters_is_looked_up():
    assert refuse(token(header(kid="k" * 1000))).reason == "unknown_kid"


def test_duplicate_kid_in_the_jwks():
    keys = {"corp": issuer_keys(public_jwk(rsa_key(), kid="k1"), public_jwk(rsa_key("k2"), kid="k1"))}
    assert refuse(GOOD, keys=keys).reason == "ambiguous_kid"


def test_key_without_alg_and_use_is_taken_for_its_own_type_only():
    keys = {"corp": issuer_keys(public_jwk(rsa_key(), kid="k1"))}
    assert validate(GOOD, {ISS: issuer()}, keys, NOW).principal.name == "corp:w1"
    confused = raw(header(alg="ES256"), claims(), es(ec_key()))
    assert refuse(confused, keys=keys).reason == "key_refused"


@pytest.mark.parametrize("members", [
    {"use": "enc"}, {"alg": "RS512"}, {"alg": "RSA-OAEP"}, {"key_ops": ["encrypt"]}, {"key_ops": "verify"},
    {"kty": "oct"}, {"kty": None}, {"n": None}, {"e": "AQ"}, {"e": "Ag"}, {"n": 5}, {"n": "!!"},
])
def test_key_that_is_not_for_this(members: dict[str, Any]):
    assert refuse(GOOD, keys={"corp": issuer_keys(public_jwk(rsa_key(), kid="k1", **members))}).reason == "key_refused"


def test_rsa_key_below_2048_bits():
    weak = rsa_key("weak", 1024)
    keys = {"corp": issuer_keys(public_jwk(weak, kid="k1"))}
    assert refuse(raw(header(), claims(), rs(weak)), keys=keys).reason == "key_refused"


def test_curve_that_does_not_fit_the_algorithm():
    keys = {"corp": issuer_keys(public_jwk(ec_key("e3", "P-384"), kid="k1"))}
    tested = raw(header(alg="ES256"), claims(), es(ec_key("e3", "P-384")))
    assert refuse(tested, keys=keys).reason == "key_refused"


def test_point_off_the_curve():
    jwk = public_jwk(ec_key(), kid="k1")
    keys = {"corp": issuer_keys({**jwk, "y": jwk["x"]})}
    assert refuse(raw(header(alg="ES256"), claims(), es(ec_key())), keys=keys).reason == "key_refused"


def test_pss_and_pkcs1_signatures_are_not_exchanged():
    assert refuse(raw(header(), claims(), ps(rsa_key()))).reason == "bad_signature"


def test_digest_of_another_algorithm():
    assert refuse(raw(header(), claims(), rs(digest=hashes.SHA512()))).reason == "bad_signature"


def test_token_without_kid_and_two_fitting_keys():
    keys = {"corp": issuer_keys(public_jwk(rsa_key(), kid="k1"), public_jwk(rsa_key("k2"), kid="k2"))}
    assert refuse(token(header(kid=None)), keys=keys).reason == "ambiguous_kid"


def test_token_without_kid_and_no_fitting_key():
    error = refuse(token(header(kid=None)), keys={"corp": issuer_keys(public_jwk(ec_key(), kid="e1"))})
    assert isinstance(error, KeyMissing)
    assert (error.reason, error.kid) == ("unknown_kid", "")


def test_issuer_mix_up():
    """Issuer B's valid key signs a token that says it is from A: A's keys are looked at and no others."""
    issuers = {ISS: issuer(), "https://b": issuer("partner", issuer="https://b")}
    keys = {"corp": issuer_keys(), "partner": issuer_keys(public_jwk(rsa_key("b"), kid="b1"), alias="partner")}
    mixed = raw(header(kid="b1"), claims(), rs(rsa_key("b")))
    error = refuse(mixed, issuers=issuers, keys=keys)
    assert (error.reason, error.issuer) == ("unknown_kid", "corp")
    same_kid = {**keys, "partner": issuer_keys(public_jwk(rsa_key("b"), kid="k1"), alias="partner")}
    mixed = raw(header(), claims(), rs(rsa_key("b")))
    assert refuse(mixed, issuers=issuers, keys=same_kid).reason == "bad_signature"


@pytest.mark.parametrize("name", [ISS + "/", ISS.upper(), " " + ISS, ISS + "#", "", None, 0, {"a": 1}])
def test_issuer_name_is_exact(name: Any):
    assert refuse(token(iss=name)).reason == "unknown_issuer"


def test_reused_key_id_asks_for_fresher_keys():
    error = refuse(raw(header(), claims(), rs(rsa_key("k2"))))
    assert isinstance(error, KeyDoubtful)
    assert (error.reason, error.issuer_alias, error.kid) == ("bad_signature", "corp", "k1")


def test_stale_keys_prove_nothing():
    error = refuse(GOOD, keys={"corp": issuer_keys(stale_at=NOW)})
    assert isinstance(error, KeyMissing), "fresher keys may be asked for"
    assert (error.reason, error.issuer_alias, error.kid) == ("keys_stale", "corp", "k1")
    assert validate(GOOD, {ISS: issuer()}, {"corp": issuer_keys(stale_at=NOW + 0.1)}, NOW).kid == "k1"


def test_no_keys_fetched_yet_can_be_asked_for():
    assert isinstance(refuse(GOOD, keys={"other": issuer_keys(alias="other")}), KeyMissing)
