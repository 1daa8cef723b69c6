"""What an accepted token becomes: principal, groups, attributes, attested facts, end of session, name in the logs."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest

from kproxy.identity.jwt import build_token_id
from tests.support.tokens import (
    ISS,
    NOW,
    accept,
    claims,
    ec_key,
    ed_key,
    es,
    header,
    issuer_keys,
    ps,
    public_jwk,
    raw,
    refuse,
    rs,
    rsa_key,
    token,
)


def test_claims_become_principal_and_attested_facts():
    found = accept(
        token(
            realm_access={"roles": ["ml", "fraud", "ml"]}, team="risk", actor="ana", run_id=42, model_uri="models:/f/1"
        ),
        groups="realm_access.roles",
        attributes={"team": "team", "floor": "office.floor"},
        attest={"launcher": "actor", "run": "run_id", "model": "model_uri", "commit": "sha"},
    )
    assert found.principal.groups == ("ml", "fraud")
    assert found.principal.attributes == {"team": "risk"}
    assert found.attested == {"launcher": "ana", "run": "42", "model": "models:/f/1"}
    assert found.expires_at == NOW + 300


def test_a_claim_that_is_not_mapped_attests_nothing():
    found = accept(token(launcher="ana", model="m", groups=["a"]), groups="realm_access.roles")
    assert (found.attested, found.principal.groups, found.principal.attributes) == ({}, (), {})


@pytest.mark.parametrize(("groups", "expected"), [(["a", "b"], ("a", "b")), ("a", ("a",)), ([], ()), (None, ())])
def test_group_claims(groups: Any, expected: tuple[str, ...]):
    assert accept(token(groups=groups)).principal.groups == expected


def test_groups_at_their_limit():
    assert len(accept(token(groups=[f"g{n}" for n in range(1000)])).principal.groups) == 1000


@pytest.mark.parametrize("groups", [[1], [["a"]], {"a": 1}, 7, True, ["a\n"], [""], "", ["g"] * 1001])
def test_group_claims_of_a_wrong_shape(groups: Any):
    assert refuse(token(groups=groups)).reason == "bad_claim"


@pytest.mark.parametrize("value", [1.5, True, [1], {"a": 1}, "", "a\nb", "x" * 1025, "a\u202eb"])
def test_attested_claims_of_a_wrong_shape(value: Any):
    error = refuse(token(actor=value), attest={"launcher": "actor"})
    assert (error.reason, error.detail) == ("bad_claim", "attest.launcher")


def test_null_attests_nothing():
    assert accept(token(actor=None), attest={"launcher": "actor"}).attested == {}


def test_a_path_with_dots_in_a_name():
    bound = {"namespace": "ml", "serviceaccount": {"name": "scorer", "uid": "u"}, "pod": {"name": "p-1", "uid": "u"}}
    found = accept(
        token(header(typ=None), sub="system:serviceaccount:ml:scorer", **{"kubernetes.io": bound}),
        token_profile="k8s", attest={"launcher": r"kubernetes\.io.pod.name"}, groups="",
    )
    assert found.attested == {"launcher": "p-1"}
    assert found.principal.name == "corp:system:serviceaccount:ml:scorer"


def test_kubernetes_subject_and_account_must_agree():
    bound = {"namespace": "ml", "serviceaccount": {"name": "other"}}
    tested = token(header(typ=None), sub="system:serviceaccount:ml:scorer", **{"kubernetes.io": bound})
    assert refuse(tested, token_profile="k8s").reason == "bad_claim"
    assert refuse(token(header(typ=None)), token_profile="k8s").reason == "missing_claim"
    assert refuse(token(header(typ="logout+jwt")), token_profile="k8s").reason == "wrong_type"
    nobody = token(header(typ="JWT"), sub="system:serviceaccount:None:None", **{"kubernetes.io": {}})
    assert refuse(nobody, token_profile="k8s").reason == "bad_claim"


def test_github_workload_token():
    said = {"repository": "acme/models", "job_workflow_ref": "acme/models/.github/workflows/t.yml@refs/heads/main"}
    found = accept(token(header(typ="JWT"), actor="ana", run_id="99", sha="c0ffee", **said), token_profile="github",
                   attest={"launcher": "actor", "run": "run_id", "commit": "sha"})
    assert found.attested == {"launcher": "ana", "run": "99", "commit": "c0ffee"}
    assert refuse(token(header(typ="JWT"), repository="acme/models"), token_profile="github").reason == "missing_claim"
    assert refuse(token(header(typ="JWT"), **{**said, "repository": 1}), token_profile="github").reason == "bad_claim"
    assert refuse(token(header(typ="at+jwt"), **said), token_profile="github").reason == "wrong_type"


def test_spiffe_svid():
    assert accept(token(header(typ="JWT"), sub="spiffe://acme/ml/scorer"), token_profile="spiffe").principal.name == (
        "corp:spiffe://acme/ml/scorer")
    assert refuse(token(header(typ="JWT")), token_profile="spiffe").reason == "bad_subject"
    assert refuse(token(header(typ="JWT"), sub="spiffe:///x"), token_profile="spiffe").reason == "bad_subject"
    thumbed = token(header(typ="JWT", x5t="a"), sub="spiffe://a/b")
    assert refuse(thumbed, token_profile="spiffe").reason == "header_refused"
    assert refuse(token(sub="spiffe://a/b"), token_profile="spiffe").reason == "wrong_type"


@pytest.mark.parametrize(("typ", "extra"), [
    ("at+jwt", {}), ("application/at+jwt", {}), ("AT+JWT", {}), ("JWT", {"azp": "app"}), (None, {"client_id": "app"}),
])
def test_access_tokens_of_the_generic_profile(typ: str | None, extra: dict[str, str]):
    assert accept(token(header(typ=typ), **extra), token_profile="generic").principal.subject == "w1"


@pytest.mark.parametrize("typ", ["at+jwt", "application/at+jwt", "AT+JWT"])
def test_access_tokens_of_rfc_9068(typ: str):
    assert accept(token(header(typ=typ))).principal.subject == "w1"


@pytest.mark.parametrize(("algorithm", "key", "sign"), [
    ("RS256", rsa_key(), rs()),
    ("PS256", rsa_key(), ps(rsa_key())),
    ("ES256", ec_key(), es(ec_key())),
    ("EdDSA", ed_key(), ed_key().sign),
])
def test_algorithms(algorithm: str, key: Any, sign: Any):
    keys = {"corp": issuer_keys(public_jwk(key, kid="k1"))}
    found = accept(raw(header(alg=algorithm), claims(), sign), keys=keys, algorithms=(algorithm,))
    assert found.kid == "k1"


def test_a_token_without_kid_when_one_key_fits():
    listed = issuer_keys(
        public_jwk(rsa_key(), kid=None),
        public_jwk(rsa_key("enc"), kid="k2", use="enc"),
        public_jwk(ec_key(), kid="k3"),
    )
    found = accept(token(header(kid=None)), keys={"corp": listed})
    assert (found.principal.subject, found.kid) == ("w1", "")


def test_token_id_is_a_digest_of_issuer_and_jti():
    expected = hashlib.sha256(b"jti\0" + ISS.encode() + b"\0j1").hexdigest()[:32]
    assert accept(token()).token_id == build_token_id(ISS, "j1") == expected
    assert accept(token(sub="w2")).token_id == expected
    unnamed = [accept(token(without=("jti",), sub=sub)).token_id for sub in ("w1", "w1", "w2")]
    assert unnamed[0] == unnamed[1] != unnamed[2]
    assert expected not in unnamed


@pytest.mark.parametrize("jti", ["", 5, None, ["j"], "j" * 1025])
def test_jti_of_a_wrong_shape(jti: Any):
    assert refuse(token(jti=jti)).reason == "bad_claim"


def test_iat_is_optional_and_times_may_have_fractions():
    assert accept(token(without=("iat", "nbf"))).expires_at == NOW + 300
    assert accept(token(exp=NOW + 300.5)).expires_at == NOW + 300.5


def test_bytes_and_text_are_the_same_token():
    assert accept(token().encode()) == accept(token())


def test_a_validated_token_travels_as_msgpack():
    found = accept(token(deep={"a": [1, 2.5, None, True, "x"]}), attributes={"deep": "deep"})
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(found), type=type(found)) == found
