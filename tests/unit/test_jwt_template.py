"""Principal templates and claim paths: one name, one person."""

from __future__ import annotations

import pytest

from kproxy.identity.check import check_address, check_issuers
from kproxy.identity.template import build_name, check_template, look_up, parse_path
from tests.support.tokens import issuer, refuse, token


@pytest.mark.parametrize(("text", "path"), [
    ("groups", ("groups",)),
    ("realm_access.roles", ("realm_access", "roles")),
    (r"kubernetes\.io.pod.name", ("kubernetes.io", "pod", "name")),
    (r"https://acme\.com/groups", ("https://acme.com/groups",)),
    (r"a\\.b", ("a\\", "b")),
])
def test_paths(text: str, path: tuple[str, ...]):
    assert parse_path(text) == path


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", "a\\", r"a\b", "a.\\"])
def test_paths_that_lead_nowhere(text: str):
    with pytest.raises(ValueError):
        parse_path(text)


def test_a_way_through_something_that_is_no_object():
    claims = {"a": {"b": 1}, "c": [{"d": 1}], "a.b": 2}
    assert look_up(claims, ("a", "b")) == 1
    assert look_up(claims, ("a", "b", "c")) is None
    assert look_up(claims, ("c", "d")) is None
    assert look_up(claims, ("z",)) is None


def test_names():
    claims = {"sub": "w1", "azp": "app", "org": {"unit": "ml"}}
    assert build_name("{issuer}:{sub}", "corp", claims) == "corp:w1"
    assert build_name("k/{issuer}/{org.unit}:{sub}!", "corp", claims) == "k/corp/ml:w1!"


def test_a_claim_may_not_hold_the_text_that_ends_it():
    """Otherwise azp=a:b with sub=c and azp=a with sub=b:c would be one principal."""
    template = "{issuer}:{azp}:{sub}"
    assert build_name(template, "corp", {"azp": "a", "sub": "b:c"}) == "corp:a:b:c"
    with pytest.raises(ValueError):
        build_name(template, "corp", {"azp": "a:b", "sub": "c"})
    assert refuse(token(azp="a:b"), principal=template).reason == "principal_refused"


@pytest.mark.parametrize("azp", [None, "", 5, ["a"]])
def test_a_template_claim_must_be_text(azp: object):
    assert refuse(token(azp=azp), principal="{issuer}:{azp}:{sub}").reason == "principal_refused"


def test_nobody_becomes_the_anonymous_principal():
    assert refuse(token(sub="anonymous"), principal="{sub}").reason == "principal_refused"


@pytest.mark.parametrize("template", ["{issuer}:{sub}", "{issuer}/{azp}/{sub}", "{issuer}#{sub}"])
def test_templates_for_several_issuers(template: str):
    assert check_template(template, only_issuer=False) == ""


@pytest.mark.parametrize("template", ["{sub}", "x{issuer}:{sub}", "{sub}@{issuer}", "{issuer}-{sub}", "{issuer}.{sub}"])
def test_templates_that_could_collide_across_issuers(template: str):
    assert "collide" in check_template(template, only_issuer=False)
    assert check_template(template, only_issuer=True) == ""


@pytest.mark.parametrize("template", [
    "", "all", "{issuer}", "{issuer}{sub}", "{}", "{issuer}:{sub", "{issuer}:}{sub}", "{a..b}",
])
def test_templates_that_are_wrong_anywhere(template: str):
    assert check_template(template, only_issuer=True)


def test_sound_issuers_have_no_problem():
    sound = issuer(groups="realm_access.roles", clock_skew=0, jwks_refresh=300, jwks_max_stale=300)
    assert check_issuers({"corp": sound, "ci": issuer("ci", issuer="https://ci.example.com")}) == []


def test_every_problem_is_named_at_once():
    bad = issuer("operator", issuer="http://idp.example.com", audience=(), algorithms=("HS256", "none"), max_lifetime=0,
                 principal="{sub}", groups="https://acme.com/groups", attributes={"team": "a..b"}, clock_skew=900,
                 jwks_refresh=600, jwks_max_stale=300)
    other = issuer("b c", issuer="http://idp.example.com", jwks_file="keys.json", jwks_url="https://a")
    found = check_issuers({"operator": bad, "b c": other})
    assert {problem.path for problem in found} == {
        "operator", "operator.principal", "operator.audience", "operator.algorithms", "operator.max_lifetime",
        "operator.clock_skew", "operator.jwks_max_stale", "operator.groups", "operator.attributes.team",
        "operator.issuer",
        "b c", "b c.jwks_file", "b c.issuer",
    }
    assert len([problem for problem in found if problem.path == "operator.algorithms"]) == 2


def test_an_issuer_with_a_key_file_may_be_a_mere_name():
    assert check_issuers({"k8s": issuer("k8s", issuer="kubernetes/serviceaccount", jwks_file="keys.json")}) == []


@pytest.mark.parametrize("url", [
    "https://idp.example.com/realm", "http://127.0.0.1:8080", "http://localhost", "http://[::1]:80/x",
])
def test_addresses(url: str):
    assert check_address(url) == ""


@pytest.mark.parametrize("url", [
    "http://idp.example.com", "http://127.0.0.1.evil.com", "ftp://a", "idp", "", "https://", "https://user:pw@idp",
    "https://a:x",
    "http://localhost@evil.com", "http://localhost\\@evil.com", "https://a b", "https://a\n", "https://a/#f",
    "file:///etc/passwd",
])
def test_addresses_that_are_refused(url: str):
    assert check_address(url)
