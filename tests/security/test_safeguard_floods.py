"""A client that breaks safeguards again and again fills neither audit nor disk; nothing is missing in the counts."""

from __future__ import annotations

from typing import Any

import msgspec

from kproxy._ext.batch_limits import BatchLimits
from kproxy.model.access import Verdict
from kproxy.model.policy import ProduceLimits, Safeguard, SafeguardInForce
from tests.support.frames import read_response
from tests.support.playbook import FACTS, Rules, Stage, produce


class Guarded(Rules):
    """Every topic asks for the acknowledgements of all, and records batches of more than a byte."""

    def __call__(self, resource: str, operation: str, name: str, now: float) -> tuple[Verdict, Any]:
        verdict, plan = super().__call__(resource, operation, name, now)
        limits = BatchLimits((
            SafeguardInForce(Safeguard("large", ("*",), ProduceLimits(max_batch_bytes=1), action="record")),
            SafeguardInForce(Safeguard("sure", ("*",), ProduceLimits(-1)))))
        return msgspec.structs.replace(verdict, safeguards=limits), plan


def told(stage: Stage, decision: str) -> list[dict[str, Any]]:
    return [fields for kind, fields in stage.told if kind == "safeguard" and fields.get("decision") == decision]


def test_a_safeguard_that_is_broken_again_and_again_is_told_once_a_second_with_its_count() -> None:
    stage = Stage(Guarded(t="allow"))
    stage.log_in(FACTS)
    for at in range(1000):
        [(side, answer)] = stage.client(produce(at, {"t": [3]}))
        [refused] = read_response(0, 9, answer)[1]["responses"][0]["partition_responses"]
        assert (side, refused["error_code"]) == ("client", 21)
    first = {"api": 0, "topic": "t", "details": {"partition": 3}, "decision": "refuse", "would": "", "rule": "sure",
             "reason": "acks is 1, and all is required", "rules": {"sure": 1}}
    assert told(stage, "refuse") == [first]
    stage.session.tell_repeats()
    assert told(stage, "refuse")[1:] == [
        {**first, "details": {"partition": 3, "repeated": 999}, "rules": {"sure": 999}}]
    assert [one["rules"] for one in told(stage, "record")] == [{"large": 1}, {"large": 999}]
    stage.session.tell_repeats()
    assert len(told(stage, "refuse")) == 2


def test_safeguards_broken_in_more_places_than_are_told_are_summed_up() -> None:
    names = [f"t{at}" for at in range(300)]
    stage = Stage(Guarded(**dict.fromkeys(names, "allow")))
    stage.log_in(FACTS)
    stage.client(produce(1, {name: [0] for name in names}))
    stage.session.tell_repeats()
    refused, recorded = told(stage, "refuse"), told(stage, "record")
    assert len(refused) == len(recorded) == 128 + 1
    assert refused[-1] == {"decision": "refuse", "details": {"more": 172}, "rules": {"sure": 172}}
    assert recorded[-1] == {"decision": "record", "details": {"more": 172}, "rules": {"large": 172}}
