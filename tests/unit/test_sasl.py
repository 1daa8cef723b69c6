"""The SASL messages that carry tokens, and what a refused client is told."""

from __future__ import annotations

import json

import pytest

from kproxy.errors import TokenRefused
from kproxy.identity.refusals import REASONS
from kproxy.identity.sasl import (
    MAX_MESSAGE,
    OAuthBearerMessage,
    check_authzid,
    client_message,
    oauthbearer_error_json,
    parse_oauthbearer,
    parse_plain,
)
from kproxy.model.access import Principal
from tests.support.tokens import token

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ3MSJ9.c2ln"


def refuse(parse, message: bytes) -> str:
    with pytest.raises(TokenRefused) as caught:
        parse(message)
    assert caught.value.reason in REASONS
    assert "eyJ" not in str(caught.value)
    return caught.value.reason


def first(middle: str = "", authzid: str = "", auth: str = f"auth=Bearer {TOKEN}") -> bytes:
    return f"n,{authzid},\x01{auth}{middle}\x01\x01".encode()


def test_what_librdkafka_and_java_send():
    assert parse_oauthbearer(first()) == OAuthBearerMessage(TOKEN)
    found = parse_oauthbearer(first("\x01modelUri=models:/fraud/3\x01jobRun=42", "a=corp:w1"))
    assert found == OAuthBearerMessage(TOKEN, "corp:w1", {"modelUri": "models:/fraud/3", "jobRun": "42"})


def test_the_order_of_the_pairs_means_nothing():
    message = f"n,,\x01jobRun=42\x01auth=Bearer {TOKEN}\x01\x01".encode()
    assert parse_oauthbearer(message).extensions == {"jobRun": "42"}


@pytest.mark.parametrize("auth", [f"auth=bearer {TOKEN}", f"auth=BEARER   {TOKEN}", f"auth= Bearer {TOKEN} "])
def test_spellings_of_bearer(auth: str):
    assert parse_oauthbearer(first(auth=auth)).token == TOKEN


def test_a_real_token_passes_through_untouched():
    assert parse_oauthbearer(first(auth=f"auth=Bearer {token()}")).token == token()


def test_authzid_escapes():
    assert parse_oauthbearer(first(authzid="a=CN=3Dw1=2CO=3Dacme")).authzid == "CN=w1,O=acme"


@pytest.mark.parametrize("message", [
    b"", b"n", b"n,,", b"n,,\x01\x01", b"y,,\x01auth=Bearer x\x01\x01", b"p=tls-unique,,\x01auth=Bearer x\x01\x01",
    b"n,,\x01auth=Bearer x\x01", b"n,,auth=Bearer x\x01\x01", b"n,,\x01auth=Bearer x\x01\x01\x01",
    b"n,,\x01auth=Bearer x\x01\x01z",
    b"n,,\x01auth=Basic dTpw\x01\x01", b"n,,\x01auth=Bearer\x01\x01", b"n,,\x01auth=Bearer  \x01\x01",
    b"n,,\x01auth=x\x01\x01",
    b"n,,\x01auth=Bearer a b\x01\x01", b"n,,\x01auth=Bearer a=\x01\x01",
    b"n,,\x01auth=Bearer x\x01auth=Bearer x\x01\x01",
    b"n,a=,\x01auth=Bearer x\x01\x01", b"n,a=a=b,\x01auth=Bearer x\x01\x01", b"n,a=a=2c,\x01auth=Bearer x\x01\x01",
    b"n,b,\x01auth=Bearer x\x01\x01", b"n,,\x01auth=Bearer x\x01k-1=v\x01\x01", b"n,,\x01auth=Bearer x\x01k=\x01\x01",
    b"n,,\x01auth=Bearer x\x01=v\x01\x01", b"n,,\x01auth=Bearer x\x01k=\xc3\xa9\x01\x01",
    b"n,,\x01auth=Bearer x\x01k=\x00\x01\x01",
    b"\x00user\x00pass", b"n,a=" + b"a" * 1025 + b",\x01auth=Bearer x\x01\x01",
])
def test_messages_that_break_the_grammar(message: bytes):
    assert refuse(parse_oauthbearer, message) == "sasl_malformed"


@pytest.mark.parametrize("middle", [
    "\x01k=a\x01k=b", "\x01k=a\x01k=a", "\x01Auth=x", "\x01AUTH=Bearer x", "\x01k=a\r\nb", "\x01k=\t",
    "\x01" + "k" * 65 + "=v",
    "\x01k=" + "v" * 1025, "".join(f"\x01k{'a' * n}=v" for n in range(33)),
])
def test_extensions_that_are_refused(middle: str):
    assert refuse(parse_oauthbearer, first(middle)) == "extension_refused"


def test_extensions_at_their_limits():
    names = ["k" + "a" * n for n in range(32)]
    found = parse_oauthbearer(first("".join(f"\x01{name}={'v' * 1024}" for name in names)))
    assert found.extensions == {name: "v" * 1024 for name in names}


def test_messages_too_large_to_be_read():
    assert refuse(parse_oauthbearer, b"n" * (MAX_MESSAGE + 1)) == "too_large"
    assert refuse(parse_plain, b"\0" * (MAX_MESSAGE + 1)) == "too_large"


def test_plain():
    found = parse_plain(f"\0job\0{TOKEN}".encode())
    assert (found.authzid, found.username, found.password) == ("", "job", TOKEN)
    assert parse_plain(b"job\0job\0secret").authzid == "job"
    assert parse_plain("\0zoë\0pässword".encode()).username == "zoë"


@pytest.mark.parametrize("message", [
    b"", b"\0", b"\0\0", b"user\0pass", b"\0user\0", b"\0\0pass", b"\0u\0p\0", b"a\0u\0p\0x", b"\0\xff\0p",
    b"\0u\0\xc3",
    b"\0" + b"u" * 1025 + b"\0p", b"\0u\n\0p", "\0u\u202e\0p".encode(),
])
def test_plain_messages_that_are_malformed(message: bytes):
    assert refuse(parse_plain, message) == "sasl_malformed"


def test_plain_may_not_act_for_another():
    assert refuse(parse_plain, b"admin\0job\0secret") == "authzid_refused"


def test_authzid_names_the_principal_or_nobody():
    principal = Principal("corp:w1", "corp", "w1")
    for name in ("", "corp:w1", "w1"):
        check_authzid(OAuthBearerMessage("t", name), principal)
    for name in ("admin", "corp:W1", "corp:w1 ", "other:w1"):
        with pytest.raises(TokenRefused) as caught:
            check_authzid(OAuthBearerMessage("t", name), principal)
        assert (caught.value.reason, caught.value.issuer) == ("authzid_refused", "corp")


def test_tokens_stay_out_of_repr():
    assert "eyJ" not in repr(parse_oauthbearer(first()))
    assert "eyJ" not in repr(parse_plain(f"\0job\0{TOKEN}".encode()))
    assert "job" in repr(parse_plain(f"\0job\0{TOKEN}".encode()))


def test_what_the_client_is_told():
    assert oauthbearer_error_json() == b'{"status":"invalid_token"}'
    told = json.loads(oauthbearer_error_json("e-1", scope='a"b', openid_configuration="https://idp/\x01"))
    assert told == {
        "status": "invalid_token", "scope": 'a"b', "openid-configuration": "https://idp/\x01", "error_id": "e-1"}
    assert b"\x01" not in oauthbearer_error_json("e-1", openid_configuration="https://idp/\x01")
    assert "e-1" in client_message("e-1")
    assert not any(reason in client_message("e-1") for reason in REASONS)
