"""A client that hits a guard again and again fills neither audit nor disk, and no hit is missing in the counts."""

from __future__ import annotations

from tests.support.frames import batch, read_response, request
from tests.support.playbook import FACTS, Rules, Stage
from tests.support.record_plans import BLOCK, build_plan


def told(stage: Stage) -> list[dict]:
    return [fields for kind, fields in stage.told if kind == "guard_hit"]


class Guarded(Rules):
    """Every allowed topic has a guard against private keys."""

    def __call__(self, resource, operation, name, now):
        verdict, _ = super().__call__(resource, operation, name, now)
        return verdict, build_plan("produce", detect={"private_key": BLOCK})


def leak(correlation: int, topics: list[str]) -> bytes:
    secret = batch([b"-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----"])
    return request(0, 9, correlation, {"acks": 1, "timeout_ms": 1000, "topic_data": [
        {"name": topic, "partition_data": [{"index": 3, "records": secret}]} for topic in topics]})


def test_a_guard_that_is_hit_again_and_again_is_told_once_a_second_with_its_counts():
    stage = Stage(Guarded(t="allow"))
    stage.log_in(FACTS)
    for at in range(1000):
        [(side, answer)] = stage.client(leak(at, ["t"]))
        [refused] = read_response(0, 9, answer)[1]["responses"][0]["partition_responses"]
        assert (side, refused["error_code"]) == ("client", 87)
    first = {"api": 0, "topic": "t", "details": {"partition": 3}, "reason": "not here", "rules": {"d:private_key": 1}}
    assert told(stage) == [first]
    stage.session.tell_repeats()
    assert told(stage)[1:] == [
        {**first, "details": {"partition": 3, "repeated": 999}, "rules": {"d:private_key": 999}}]
    stage.session.tell_repeats()
    assert len(told(stage)) == 2


def test_guards_hit_in_more_places_than_are_told_are_summed_up_by_rule():
    names = [f"t{at}" for at in range(300)]
    stage = Stage(Guarded(**dict.fromkeys(names, "allow")))
    stage.log_in(FACTS)
    stage.client(leak(1, names))
    stage.client(leak(2, names))
    stage.session.tell_repeats()
    hits = told(stage)
    assert len(hits) == 256 + 256 + 1
    assert hits[-1] == {"details": {"more": 2 * 44}, "rules": {"d:private_key": 2 * 44}}
    assert sum(one["rules"]["d:private_key"] for one in hits) == 600, "the metric is counted by these"
