"""When issuers are asked for their keys, how often, who waits, and what is served meanwhile. Time is the test's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from kproxy.control.keys import MAX_WAITING, KeyStore, Pace, Wanted
from kproxy.control.keys_documents import KeySet, KeysUnusable
from kproxy.identity.jwt import KeyMissing, validate
from kproxy.logs import LOG_KEYS
from kproxy.model.snapshot import IssuerKeys
from tests.support.fake_clock import FakeClock, settle
from tests.support.tokens import ISS, NOW, issuer, public_jwk, refuse, rsa_key, token

K1, K2 = public_jwk(rsa_key(), kid="k1"), public_jwk(rsa_key("k2"), kid="k2")
RENEWED = public_jwk(rsa_key("k2"), kid="k1")
DOWN = KeysUnusable("unreachable", "ConnectError")


class ScriptedFetch:
    """Answers with ``now_serves``: keys, or the exception to raise. A ``gate`` makes fetches wait."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.now_serves: tuple[dict[str, Any], ...] | Exception = keys
        self.fetches = 0
        self.gate: asyncio.Event | None = None
        self.closed = False

    async def fetch(self) -> KeySet:
        self.fetches += 1
        if self.gate is not None:
            await self.gate.wait()
        if isinstance(self.now_serves, Exception):
            raise self.now_serves
        return KeySet(self.now_serves, {})

    async def aclose(self) -> None:
        self.closed = True


class Bench:
    """A store over one scripted issuer, and everything it does to the world."""

    def __init__(self, *keys: dict[str, Any], pace: Pace | None = None, **settings: Any) -> None:
        self.clock = FakeClock(NOW)
        self.fetch = ScriptedFetch(*keys)
        self.published: list[tuple[IssuerKeys, ...]] = []
        self.issuer = issuer(jwks_refresh=300.0, jwks_max_stale=3600.0, **settings)
        self.store = KeyStore(
            [self.issuer], on_change=lambda: self.published.append(self.store.current()), now=self.clock.now,
            monotonic=self.clock.monotonic, sleep=self.clock.sleep, choose=lambda *_: self.fetch,
            pace=pace or Pace(burst=0))

    async def started(self) -> Bench:
        """After the first fetch, and after the pause that follows it."""
        await self.store.start()
        await self.clock.advance(3.0)
        return self

    def kids(self) -> list[list[str]]:
        return [[key["kid"] for keys in published for key in keys.keys] for published in self.published]

    def validate(self, tested: str):
        return validate(tested, {ISS: self.issuer}, {keys.issuer: keys for keys in self.store.current()},
        self.clock.now())


@pytest.fixture
async def bench():
    opened: list[Bench] = []

    def make(*keys: dict[str, Any], **settings: Any) -> Bench:
        opened.append(Bench(*keys, **settings))
        return opened[-1]

    yield make
    for one in opened:
        await one.store.aclose()
        assert one.fetch.closed


async def test_the_first_fetch_is_published(bench):
    here = await bench(K1).started()
    assert here.kids() == [["k1"]]
    assert here.store.current() == (IssuerKeys("corp", (K1,), fetched_at=NOW, stale_at=NOW + 3600),)
    assert here.validate(token()).principal.name == "corp:w1"


async def test_nothing_is_known_before_the_first_fetch(bench):
    here = bench(K1)
    assert here.store.current() == ()
    assert here.store.status()[0].fetched_at == 0.0


async def test_keys_are_fetched_anew_every_refresh(bench):
    here = await bench(K1).started()
    await here.clock.advance(900)
    assert here.fetch.fetches == 4
    assert here.store.current()[0].stale_at == NOW + 900 + 3600


async def test_unchanged_keys_are_published_only_when_half_their_time_is_gone(bench):
    here = await bench(K1).started()
    await here.clock.advance(1500)
    assert len(here.published) == 1
    await here.clock.advance(600)
    assert len(here.published) == 2
    assert here.published[1][0].stale_at - here.clock.now() > 1800


async def test_a_removed_key_is_gone_with_the_next_refresh(bench):
    here = await bench(K1, K2).started()
    here.fetch.now_serves = (K2,)
    await here.clock.advance(300)
    assert here.kids() == [["k1", "k2"], ["k2"]]
    with pytest.raises(KeyMissing):
        here.validate(token(exp=NOW + 900))
    assert await here.store.wanted("corp", "k2") == Wanted(True)


async def test_an_issuer_that_lists_no_key_has_none(bench):
    here = await bench(K1).started()
    here.fetch.now_serves = ()
    await here.clock.advance(300)
    assert here.kids() == [["k1"], []]


async def test_last_keys_serve_until_they_are_stale_then_tokens_are_refused(bench):
    here = await bench(K1).started()
    here.fetch.now_serves = DOWN
    await here.clock.advance(3590)
    assert here.validate(token(exp=NOW + 7000, iat=NOW + 3590, nbf=NOW)).kid == "k1"
    assert here.store.status()[0].error == "unreachable"
    await here.clock.advance(10)
    stale = {keys.issuer: keys for keys in here.store.current()}
    assert stale["corp"].stale_at <= here.clock.now()
    assert refuse(token(), keys={"corp": IssuerKeys("corp", (K1,), NOW - 3600, NOW)}).reason == "keys_stale"
    with pytest.raises(Exception, match="keys_stale"):
        here.validate(token(exp=NOW + 7000, iat=NOW + 3590, nbf=NOW))


async def test_recovery_after_an_outage(bench):
    here = await bench(K1).started()
    here.fetch.now_serves = DOWN
    await here.clock.advance(4000)
    here.fetch.now_serves = (K1,)
    await here.clock.advance(60)
    assert here.store.status()[0].error == ""
    assert here.published[-1][0].stale_at > here.clock.now() + 3500
    assert here.validate(token(exp=NOW + 7000, iat=NOW + 4000, nbf=NOW)).kid == "k1"


async def test_a_login_that_finds_the_keys_stale_has_them_fetched_at_once(bench):
    here = await bench(K1).started()
    here.fetch.now_serves = DOWN
    await here.clock.advance(4000)
    assert await here.store.wanted("corp", "k1", "keys_stale") == Wanted(False, "fetch_failed")
    await here.clock.advance(3)
    here.fetch.now_serves = (K1,)
    fetches = here.fetch.fetches
    assert await here.store.wanted("corp", "k1", "keys_stale") == Wanted(True)
    assert here.fetch.fetches == fetches + 1
    assert here.validate(token(exp=NOW + 7000, iat=NOW + 4000, nbf=NOW)).kid == "k1"
    assert here.published[-1][0].stale_at > here.clock.now() + 3500
    assert await here.store.wanted("corp", "k1", "keys_stale") == Wanted(True), "an asker with an older snapshot"
    assert here.fetch.fetches == fetches + 1


async def test_retries_after_a_failure_come_slower_and_slower(bench):
    here = bench()
    here.fetch.now_serves = DOWN
    await here.store.start()
    await here.clock.advance(200)
    assert here.clock.slept[:9] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


async def test_a_fault_of_our_own_does_not_end_the_refreshing(bench):
    here = await bench(K1).started()
    here.fetch.now_serves = RuntimeError("a bug")
    await here.clock.advance(300)
    assert here.store.status()[0].error == "internal"
    here.fetch.now_serves = (K2,)
    await here.clock.advance(5)
    assert here.kids()[-1] == ["k2"]


async def test_a_brand_new_key_is_found_at_the_first_try(bench):
    here = await bench(K1).started()
    here.fetch.now_serves = (K1, K2)
    assert await here.store.wanted("corp", "k2") == Wanted(True)
    assert here.kids() == [["k1"], ["k1", "k2"]]


async def test_a_login_before_the_first_fetch_waits_for_it(bench):
    here = bench(K1)
    here.fetch.gate = asyncio.Event()
    await here.store.start()
    asked = asyncio.create_task(here.store.wanted("corp", "k1"))
    await settle()
    assert not asked.done()
    here.fetch.gate.set()
    assert await asked == Wanted(True)
    assert here.fetch.fetches == 1


async def test_many_waiting_logins_share_one_request(bench):
    here = await bench(K1).started()
    here.fetch.gate = asyncio.Event()
    here.fetch.now_serves = (K1, K2)
    asked = [asyncio.create_task(here.store.wanted("corp", "k2")) for _ in range(100)]
    await settle()
    here.fetch.gate.set()
    assert set(await asyncio.gather(*asked)) == {Wanted(True)}
    assert here.fetch.fetches == 2


async def test_a_key_wanted_within_the_pause_waits_for_its_turn(bench):
    here = await bench(K1).started()
    assert await here.store.wanted("corp", "none") == Wanted(False, "unknown_kid")
    here.fetch.now_serves = (K1, K2)
    asked = asyncio.create_task(here.store.wanted("corp", "k2"))
    await here.clock.advance(2.9)
    assert not asked.done()
    await here.clock.advance(0.2)
    assert await asked == Wanted(True)


async def test_a_flood_of_unknown_keys_costs_the_issuer_one_request_a_turn(bench):
    here = await bench(K1).started()
    began = here.fetch.fetches
    asked = []
    for second in range(30):
        asked += [asyncio.create_task(here.store.wanted("corp", f"evil-{second}-{n}")) for n in range(50)]
        await here.clock.advance(1)
    await here.clock.advance(10)
    answers = await asyncio.gather(*asked)
    assert here.fetch.fetches - began <= 12
    assert {answer.found for answer in answers} == {False}


async def test_a_few_new_keys_at_once_need_not_wait(bench):
    here = await bench(K1, pace=Pace(burst=3)).started()
    for number in range(4):
        assert await here.store.wanted("corp", f"none-{number}") == Wanted(False, "unknown_kid")
    asked = asyncio.create_task(here.store.wanted("corp", "none-4"))
    await here.clock.advance(2.9)
    assert not asked.done()
    await here.clock.advance(0.2)
    assert await asked == Wanted(False, "unknown_kid")


async def test_an_honest_new_key_passes_through_a_flood(bench):
    here = await bench(K1).started()
    flood = [asyncio.create_task(here.store.wanted("corp", f"evil-{n}")) for n in range(500)]
    await settle()
    here.fetch.now_serves = (K1, K2)
    asked = asyncio.create_task(here.store.wanted("corp", "k2"))
    await here.clock.advance(3)
    assert await asked == Wanted(True)
    await here.clock.advance(7)
    assert not any(answer.found for answer in await asyncio.gather(*flood))


async def test_what_was_looked_for_in_vain_is_not_looked_for_again_at_once(bench):
    here = await bench(K1).started()
    assert await here.store.wanted("corp", "k2") == Wanted(False, "unknown_kid")
    fetches = here.fetch.fetches
    await here.clock.advance(29)
    assert await here.store.wanted("corp", "k2") == Wanted(False, "unknown_kid")
    assert here.fetch.fetches == fetches
    here.fetch.now_serves = (K1, K2)
    await here.clock.advance(2)
    assert await here.store.wanted("corp", "k2") == Wanted(True)


async def test_the_memory_of_vain_searches_is_bounded(bench):
    here = await bench(K1, pace=Pace(pause=0.0)).started()
    for number in range(1100):
        assert not (await here.store.wanted("corp", f"evil-{number}")).found
    fetches = here.fetch.fetches
    await here.store.wanted("corp", "evil-1099")
    assert here.fetch.fetches == fetches
    await here.store.wanted("corp", "evil-0")
    assert here.fetch.fetches == fetches + 1


async def test_an_issuer_that_is_away_says_so_and_is_not_remembered_as_an_answer(bench):
    here = await bench(K1).started()
    here.fetch.now_serves = DOWN
    assert await here.store.wanted("corp", "k2") == Wanted(False, "fetch_failed")
    here.fetch.now_serves = (K1, K2)
    asked = asyncio.create_task(here.store.wanted("corp", "k2"))
    await here.clock.advance(3)
    assert await asked == Wanted(True)


async def test_an_id_given_to_a_new_key_is_noticed_by_a_failing_signature(bench):
    here = await bench(K1).started()
    await here.clock.advance(60)
    here.fetch.now_serves = (RENEWED,)
    assert await here.store.wanted("corp", "k1", "bad_signature") == Wanted(True)
    assert here.published[-1][0].keys == (RENEWED,)
    fetches = here.fetch.fetches
    assert await here.store.wanted("corp", "k1", "bad_signature") == Wanted(True), "the asker's snapshot may be older"
    assert here.fetch.fetches == fetches


async def test_forged_signatures_do_not_make_us_ask_again_and_again(bench):
    here = await bench(K1).started()
    await here.clock.advance(60)
    fetches = here.fetch.fetches
    for _ in range(20):
        assert await here.store.wanted("corp", "k1", "bad_signature") == Wanted(False, "bad_signature")
    assert here.fetch.fetches == fetches + 1
    assert await here.store.wanted("corp", "k1") == Wanted(True), "the key itself is known as ever"


async def test_a_key_withdrawn_while_its_signature_is_in_doubt(bench):
    here = await bench(K1).started()
    await here.clock.advance(60)
    here.fetch.now_serves = (K2,)
    assert await here.store.wanted("corp", "k1", "bad_signature") == Wanted(False, "bad_signature")


async def test_a_token_without_kid_is_looked_for_as_any_new_key(bench):
    here = await bench(K1).started()
    await here.clock.advance(60)
    assert await here.store.wanted("corp", "") == Wanted(False, "unknown_kid")
    here.fetch.now_serves = (K2,)
    await here.clock.advance(60)
    assert await here.store.wanted("corp", "") == Wanted(True)


async def test_an_issuer_nobody_configured(bench):
    here = await bench(K1).started()
    assert await here.store.wanted("evil", "k1") == Wanted(False, "unknown_issuer")


async def test_a_fetch_that_hangs_does_not_hold_a_login_for_ever(bench):
    here = await bench(K1, pace=Pace(wait=0.05)).started()
    here.fetch.gate = asyncio.Event()
    assert await here.store.wanted("corp", "k2") == Wanted(False, "timeout")


async def test_waiting_logins_are_bounded(bench):
    here = await bench(K1).started()
    here.fetch.gate = asyncio.Event()
    asked = [asyncio.create_task(here.store.wanted("corp", f"evil-{n}")) for n in range(MAX_WAITING)]
    await settle()
    assert await here.store.wanted("corp", "one-more") == Wanted(False, "too_many_waiting")
    here.fetch.gate.set()
    assert set(await asyncio.gather(*asked)) == {Wanted(False, "unknown_kid")}


async def test_log_lines_use_the_closed_table_and_quote_no_key_ids_of_tokens(bench):
    with capture_logs() as lines:
        here = await bench(K1).started()
        here.fetch.now_serves = DOWN
        await here.store.wanted("corp", "eyJhbGciOiJSUzI1NiJ9")
        await here.clock.advance(600)
    assert [line["event"] for line in lines][:2] == ["keys_fetched", "keys_not_fetched"]
    assert {key for line in lines for key in line} - {"event", "log_level"} <= set(LOG_KEYS)
    assert "eyJ" not in str(lines)
