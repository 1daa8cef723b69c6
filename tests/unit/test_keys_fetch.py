"""Keys over real HTTP and from files: what an issuer may do wrong, and what that is called."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from kproxy.control.keys import KeyStore, Wanted
from kproxy.control.keys_documents import KeysUnusable
from kproxy.control.keys_fetch import FileFetch, HttpFetch
from kproxy.demo.issuer import SigningKey
from kproxy.errors import TokenRefused
from kproxy.identity.jwt import KeyMissing, validate
from kproxy.model.settings import Issuer
from kproxy.model.snapshot import IssuerKeys
from tests.support.fault_issuer import DISCOVERY, JWKS, FaultIssuer, write_certificate


@pytest.fixture(scope="module")
def running():
    with FaultIssuer() as server:
        yield server


@pytest.fixture
def server(running: FaultIssuer):
    running.mode = "ok"
    running.asked.clear()
    return running


def settings(server: FaultIssuer, **changes) -> Issuer:
    return Issuer(**{"alias": "dev", "issuer": server.url, "audience": ("kafka",), **changes})


async def fetch(issuer: Issuer, timeout: float = 5.0):
    source = HttpFetch(issuer, time.monotonic, timeout)
    try:
        return await source.fetch()
    finally:
        await source.aclose()


async def fault(issuer: Issuer, timeout: float = 5.0) -> str:
    with pytest.raises(KeysUnusable) as caught:
        await fetch(issuer, timeout)
    return caught.value.reason


async def test_keys_by_discovery(server: FaultIssuer):
    found = await fetch(settings(server))
    assert [key["kid"] for key in found.keys] == [key.kid for key in server.issuer.keys]
    assert server.asked == [DISCOVERY, JWKS]


async def test_keys_by_their_address(server: FaultIssuer):
    found = await fetch(settings(server, issuer="kubernetes/serviceaccount", jwks_url=server.url + JWKS))
    assert len(found.keys) == 1
    assert server.asked == [JWKS]


async def test_where_discovery_led_is_remembered_until_something_fails(server: FaultIssuer):
    source = HttpFetch(settings(server), time.monotonic)
    await source.fetch()
    await source.fetch()
    server.mode = "500"
    with pytest.raises(KeysUnusable):
        await source.fetch()
    server.mode = "ok"
    await source.fetch()
    await source.aclose()
    assert server.asked == [DISCOVERY, JWKS, JWKS, JWKS, DISCOVERY, JWKS]


@pytest.mark.parametrize(("mode", "reason"), [
    ("404", "http_status"), ("500", "http_status"), ("503", "http_status"), ("401", "http_status"),
    ("204", "http_status"),
    ("garbage", "not_json"), ("array", "not_json"), ("twice", "not_json"), ("no_list", "bad_jwks"),
    ("too_many", "bad_jwks"),
    ("endless", "too_large"), ("compressed", "bad_encoding"), ("wrong_issuer", "wrong_issuer"),
    ("other_slash", "wrong_issuer"),
    ("no_jwks_uri", "no_jwks_uri"), ("plain_jwks_uri", "address_refused"), ("file_jwks_uri", "address_refused"),
    ("redirect_to_http", "redirect_refused"), ("redirect_loop", "redirect_refused"),
    ("redirect_nowhere", "redirect_refused"),
])
async def test_an_issuer_that_misbehaves(server: FaultIssuer, mode: str, reason: str):
    server.mode = mode
    assert await fault(settings(server)) == reason


async def test_redirects_that_stay_where_keys_may_come_from(server: FaultIssuer):
    server.mode = "moved"
    assert len((await fetch(settings(server))).keys) == 1
    assert server.asked == [DISCOVERY, JWKS, "/1", "/2", "/3"]


async def test_an_issuer_that_stalls(server: FaultIssuer):
    server.mode = "stall"
    began = time.monotonic()
    assert await fault(settings(server), timeout=0.3) == "timeout"
    assert time.monotonic() - began < 3


async def test_an_issuer_that_is_away(server: FaultIssuer):
    assert await fault(settings(server, issuer="http://127.0.0.1:1")) == "unreachable"


@pytest.mark.parametrize("name", [
    "http://192.0.2.1", "ftp://127.0.0.1", "kubernetes/serviceaccount", "http://127.0.0.1@192.0.2.1",
])
async def test_addresses_that_are_never_asked(server: FaultIssuer, name: str):
    assert await fault(settings(server, issuer=name)) == "address_refused"


async def test_only_usable_public_keys_are_kept(server: FaultIssuer):
    server.mode = "odd_keys"
    found = await fetch(settings(server))
    assert [key["kid"] for key in found.keys] == [server.issuer.keys[0].kid]
    assert found.dropped == {"no_object": 1, "private_key": 1, "unknown_type": 1, "bad_kid": 2, "bad_member": 2}


async def test_private_keys_published_by_mistake_are_trusted_for_nothing(server: FaultIssuer):
    server.mode = "private_keys"
    found = await fetch(settings(server))
    assert (found.keys, found.dropped) == ((), {"private_key": 1})


async def test_an_empty_key_set_is_an_answer(server: FaultIssuer):
    server.mode = "empty"
    assert (await fetch(settings(server))).keys == ()


async def accept(server: FaultIssuer, token: str, **changes) -> str:
    """The principal of a token under the keys that the server publishes now, or the reason of its refusal."""
    issuer = settings(server, **changes)
    keys = IssuerKeys("dev", (await fetch(issuer)).keys, time.time(), time.time() + 60)
    try:
        return validate(token, {issuer.issuer: issuer}, {"dev": keys}, time.time()).principal.name
    except TokenRefused as refusal:
        return refusal.reason


async def test_keys_without_alg_and_use_serve(server: FaultIssuer):
    server.mode = "bare_keys"
    assert await accept(server, server.issuer.issue("job", "kafka")) == "dev:job"


async def test_a_duplicate_key_id_serves_nobody(server: FaultIssuer):
    server.mode = "duplicate_kid"
    assert await accept(server, server.issuer.issue("job", "kafka")) == "ambiguous_kid"


async def test_rotation_over_http_works_at_the_first_try(server: FaultIssuer):
    """As a worker does it: refused for want of a key, asks once, looks again."""
    issuer, published = settings(server), []
    store = KeyStore([issuer], on_change=lambda: published.append(store.current()))
    await store.start()
    try:
        assert await store.wanted("dev", server.issuer.keys[-1].kid) == Wanted(True)

        def look(token: str):
            return validate(token, {issuer.issuer: issuer}, {keys.issuer: keys for keys in published[-1]}, time.time())

        old = server.issuer.issue("job", "kafka")
        assert look(old).principal.name == "dev:job"
        fresh = server.issuer.rotate(keep_old=False)
        new = server.issuer.issue("job", "kafka")
        with pytest.raises(KeyMissing) as missing:
            look(new)
        assert missing.value.kid == fresh
        assert await store.wanted(missing.value.issuer_alias, missing.value.kid, missing.value.reason) == Wanted(True)
        assert look(new).kid == fresh
        with pytest.raises(KeyMissing):
            look(old)
    finally:
        await store.aclose()


async def test_https_needs_a_certificate_that_is_trusted(tmp_path: Path):
    certificate = write_certificate(tmp_path / "issuer.pem")
    with FaultIssuer(certificate=certificate) as secure:
        assert await fault(settings(secure)) == "unreachable"
        trusting = settings(secure, ca=str(certificate))
        assert len((await fetch(trusting)).keys) == 1
        secure.elsewhere = "http://127.0.0.1:1/jwks.json"
        for mode, reason in (("redirect_to_http", "redirect_refused"), ("plain_jwks_uri", "address_refused")):
            secure.mode = mode
            assert await fault(trusting) == reason, "even loopback is a step down from https"
        assert await fault(settings(secure, ca=str(tmp_path / "none.pem"))) == "file_unreadable"


async def test_keys_from_a_file(tmp_path: Path):
    path = tmp_path / "keys.json"
    source = FileFetch(Issuer("k8s", "kubernetes", ("kafka",), jwks_file=str(path)))

    async def reason() -> str:
        with pytest.raises(KeysUnusable) as caught:
            await source.fetch()
        return caught.value.reason

    assert await reason() == "file_unreadable"
    path.write_text(" " * (256 * 1024) + "{}")
    assert await reason() == "too_large"
    path.write_text("{")
    assert await reason() == "not_json"
    key = SigningKey.create("ES256", "k1")
    path.write_text(json.dumps({"keys": [{**key.public_jwk(), "x5c": ["…"], "x5t": "a"}]}))
    assert (await source.fetch()).keys == (key.public_jwk(),)
