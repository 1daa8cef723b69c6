"""A session with a quota: who is told for how long to wait, and that nothing else changes."""

from __future__ import annotations

import random
from typing import Any

import pytest

from kproxy._ext import schema
from kproxy._ext.apis import LOCAL, SERVED
from kproxy._ext.login import Promise, advertised
from kproxy._ext.quota import Budgets, SharedQuotas, Tally
from kproxy._ext.refused import REFUSED
from kproxy.model.access import Verdict
from tests.support.frames import read_response, request, response, split
from tests.support.messages import random_values
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


def test_a_brokers_own_time_stands_in_an_answer_that_is_built_anew() -> None:
    for ours in (0, 0.001):
        stage = opened(g="allow")
        give(stage, requests=ours)
        stage.client(request(10, 3, 1, {"key": "g", "key_type": 0}))
        nowhere = {"throttle_time_ms": 70 if ours == 0 else 5000, "node_id": 77, "host": "hidden", "port": 1}
        [(_, answer)] = stage.broker(response(10, 3, 1, nowhere))
        values = read_response(10, 3, answer)[1]
        assert (values["error_code"], values["host"]) == (15, "")
        assert values["throttle_time_ms"] == nowhere["throttle_time_ms"]


def test_an_answer_that_waits_for_its_turn_tells_its_own_time() -> None:
    stage = opened(t="allow", no="deny")
    give(stage, produce=10)
    stage.client(produce(1, {"t": [0]}))
    assert stage.client(produce(2, {"no": [0]})) == [], "it is not its turn"
    give(stage, produce=1e9)
    assert stage.client(fetch(3, ["no"])) == []
    [(_, answers)] = stage.broker(produced(1, {"t": {0: 3}}))
    first, second, third = split(answers)
    times = [read_response(api, version, one)[1]["throttle_time_ms"]
             for api, version, one in ((0, 9, first), (0, 9, second), (1, 12, third))]
    assert 0 < times[0] < times[1] and times[2] == 0


def test_an_answer_without_room_is_as_it_was() -> None:
    stage = opened(t="allow")
    give(stage, requests=1)
    for correlation in (1, 2):
        stage.client(request(3, 2, correlation, {"topics": [{"name": "t"}]}))
        [(_, answer)] = stage.broker(response(3, 2, correlation, {"brokers": [], "topics": []}))
        assert "throttle_time_ms" not in read_response(3, 2, answer)[1]
    assert stage.session.muted


def everything(effect: str) -> Any:
    """Rules with one effect for all there is."""
    return lambda *_: (Verdict(effect=effect, rule="r1", reason=effect), None)  # type: ignore[arg-type]


def used_up(effect: str) -> Stage:
    """Before a broker that serves all there is, a session that owes a second, the most there is, after each request."""
    stage = Stage(everything(effect))
    stage.log_in(promise=Promise(advertised({api: schema.versions(api) for api in SERVED if api in schema.names()})))
    give(stage, requests=0.001)
    return stage


def ask(stage: Stage, api: int, version: int, values: dict[str, Any]) -> str:
    """Who answered, ``broker`` or ``client``, or the last thing that was done instead; the answer tells the time."""
    frame = request(api, version, 9, values)
    actions = stage.client(frame)
    if actions[0][0] == "wait":
        stage.session.resume_topic_ids()
        actions = stage.client(frame)
    kind, sent = actions[-1]
    if kind == "broker":
        [(_, sent)] = stage.broker(response(api, version, 9, {}))
    if kind in ("broker", "client"):
        assert read_response(api, version, sent)[1]["throttle_time_ms"] == 1001, (api, version, kind)
        assert stage.session.muted
    return str(kind)


def with_room(key: int) -> list[int]:
    """The versions of an API that is served or refused whose answers have the field."""
    if key in SERVED:
        lowest, highest = SERVED[key]
    else:
        lowest, highest = max(REFUSED[key][0], schema.versions(key)[0]), schema.versions(key)[1]
    [*field] = [one for one in schema.fields_of(key, True) if one.name == "throttle_time_ms"]
    return [version for version in range(lowest, highest + 1) if any(one.at(version) for one in field)]


#: Nobody is refused these: what may not be seen is left out, and the broker tells the rest.
FILTERED = {3, 16, 60, 66}


@pytest.mark.parametrize("api", sorted(key for key in {*SERVED, *REFUSED} if key in schema.names() and with_room(key)))
def test_the_time_is_told_by_whoever_answers(api: int) -> None:
    for version in with_room(api):
        seen: set[str] = set()
        for attempt in range(40):
            chance = random.Random(f"{api} {version} {attempt}")
            values = random_values(chance, api, version, False, tags=False)
            seen.add(ask(used_up(("deny", "allow")[attempt % 2]), api, version,
                         {**values, **({"acks": 1} if api == 0 else {})}))
            if attempt >= 8 and seen >= {"client", "broker"}:
                break
        assert "client" in seen or api in FILTERED, "kproxy itself"
        assert "broker" in seen or api in {*LOCAL, *REFUSED}


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
