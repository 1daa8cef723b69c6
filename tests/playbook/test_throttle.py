"""A session with a quota: who is told for how long to wait, and that nothing else changes."""

from __future__ import annotations

from typing import Any

import pytest

from kproxy._ext.quota import Budgets, SharedQuotas, Tally
from tests.support.frames import read_response, request, response
from tests.support.playbook import Rules, Stage, fetch, fetched, opened, produce, produced


def give(stage: Stage, **rates: float) -> Tally:
    tally = Tally("role r")
    stage.session.budgets = Budgets(SharedQuotas(), [(1, tally, rates.get("produce", 0), rates.get("consume", 0),
                                                      rates.get("requests", 0))])
    return tally


def told(api: int, version: int, actions: list[tuple[str, Any]]) -> int:
    [(side, answer)] = actions
    assert side == "client"
    return int(read_response(api, version, answer)[1]["throttle_time_ms"])


def test_within_its_quota_nothing_changes() -> None:
    stage = opened(t="allow")
    tally = give(stage, produce=1e9, consume=1e9, requests=1e6)
    stage.client(produce(1, {"t": [0]}))
    assert stage.broker(produced(1, {"t": {0: 3}})) == [("client", produced(1, {"t": {0: 3}}))]
    assert not stage.session.muted and tally.throttled == 0


def test_a_produce_beyond_its_quota_is_forwarded_and_its_answer_says_how_long() -> None:
    stage = opened(t="allow")
    tally = give(stage, produce=10)
    [(side, _)] = stage.client(produce(1, {"t": [0]}))
    assert side == "broker" and stage.session.muted
    time = told(0, 9, stage.broker(produced(1, {"t": {0: 3}})))
    assert tally.throttled == 1 and time == pytest.approx(tally.seconds * 1000, abs=2)
    assert time > 5_000, "a hundred bytes at ten a second, less a second's worth"


def test_a_fetch_is_charged_by_what_it_brings() -> None:
    stage = opened(t="allow")
    tally = give(stage, consume=10)
    stage.client(fetch(1, ["t"]))
    assert not stage.session.muted and tally.throttled == 0
    time = told(1, 12, stage.broker(fetched(1, {"t": b""})))
    assert stage.session.muted and time == pytest.approx(tally.seconds * 1000, abs=2) and time > 1_000


@pytest.mark.parametrize(("ours", "brokers"), [(True, 3_600_000), (False, 250)])
def test_the_larger_of_two_times_is_told(ours: bool, brokers: int) -> None:
    stage = opened(t="allow")
    give(stage, produce=10 if ours else 1e9)
    stage.client(produce(1, {"t": [0]}))
    answer = response(0, 9, 1, {"throttle_time_ms": brokers, "responses": []})
    assert told(0, 9, stage.broker(answer)) == brokers


@pytest.mark.parametrize(("api", "version", "values", "answer"), [
    (3, 3, {"topics": [{"name": "t"}]}, {"brokers": [], "topics": []}),
    (3, 12, {"topics": [{"name": "t"}]}, {"brokers": [], "topics": []}),
    (2, 6, {"topics": []}, {"topics": []}),
])
def test_every_answer_that_has_room_tells_it(api: int, version: int, values: dict[str, Any],
                                             answer: dict[str, Any]) -> None:
    stage = opened(t="allow")
    give(stage, requests=1)
    times = []
    for correlation in (1, 2, 3):
        stage.client(request(api, version, correlation, values))
        times.append(told(api, version, stage.broker(response(api, version, correlation, answer))))
    assert times == pytest.approx([0, 1000, 1000], abs=100), "a second at most"


def test_an_answer_without_room_is_as_it_was() -> None:
    stage = opened(t="allow")
    give(stage, requests=1)
    for correlation in (1, 2):
        stage.client(request(3, 2, correlation, {"topics": [{"name": "t"}]}))
        [(_, answer)] = stage.broker(response(3, 2, correlation, {"brokers": [], "topics": []}))
        assert "throttle_time_ms" not in read_response(3, 2, answer)[1]
    assert stage.session.muted


def test_what_is_refused_here_counts_and_has_no_time() -> None:
    stage = opened(no="deny")
    tally = give(stage, requests=1)
    for correlation in (1, 2):
        [(side, _)] = stage.client(fetch(correlation, ["no"]))
        assert side == "client"
    assert tally.throttled == 1 and stage.session.muted


def test_a_produce_that_nobody_answers_mutes_all_the_same() -> None:
    stage = opened(t="allow")
    give(stage, produce=10)
    stage.client(fetch(1, ["t"]))
    stage.client(produce(2, {"t": [0]}, acks=0))
    assert stage.session.muted
    assert told(1, 12, stage.broker(fetched(1, {"t": b""}))) == 0, "another request's answer says nothing of it"


def test_what_is_waited_for_is_charged_once() -> None:
    stage = opened(t="ask")
    tally = give(stage, requests=1)
    frame = produce(1, {"t": [0]})
    actions = stage.client(frame)
    assert [kind for kind, *_ in actions] == ["wait", "held"] and tally.throttled == 0
    rules = stage.rules
    assert isinstance(rules, Rules)
    stage.session.resume_approval({wanted: ("R-1", "pending") for wanted in actions[0][1][1]})
    stage.client(frame)
    assert tally.throttled == 0
    stage.client(produce(2, {"t": [0]}))
    assert tally.throttled == 1
