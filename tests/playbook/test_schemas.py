"""Records that bear a schema's id, as a session sees them: frames and answers that wait until it is known."""

from __future__ import annotations

from typing import Any

from kproxy._ext import mask
from kproxy._ext.registered import Registered
from kproxy.model.access import Verdict
from kproxy.model.record_plan import Action
from kproxy.schemas.avro import read_avro
from tests.support.batches import Record, read_batches, write_batch
from tests.support.fake_registry import USER
from tests.support.frames import read_request, read_response, request, response
from tests.support.playbook import Rules, Stage
from tests.support.record_plans import build_plan

ANN = b"\0\0\0\0\x07\x06Ann\x1eann@example.com"
HIDDEN = b"\0\0\0\0\x07\x06Ann\x02#"


class Hiding(Rules):
    """E-mails are hidden in all that is written and read; ``known`` are the schemas of the registry."""

    def __init__(self) -> None:
        super().__init__(orders="allow")
        self.known = Registered()
        self.plans: list[mask.Plan] = []

    def __call__(self, resource: str, operation: str, name: str, now: float) -> tuple[Verdict, Any]:
        verdict, _ = super().__call__(resource, operation, name, now)
        plan = build_plan("produce" if operation == "write" else "consume",
                          fields={"email": Action("replace", text="#")})
        plan.read_by(self.known)
        self.plans.append(plan)
        return verdict, plan

    def counts(self) -> list[dict[str, int]]:
        return [plan.take_counts()["fields_masked"] for plan in self.plans]


def staged() -> tuple[Stage, Hiding]:
    rules = Hiding()
    stage = Stage(rules)
    stage.log_in()
    return stage, rules


def values(*values: bytes) -> bytes:
    return write_batch([Record(value=value) for value in values])


def produce(correlation: int, *sets: bytes) -> bytes:
    return request(0, 9, correlation, {"acks": -1, "timeout_ms": 1000, "topic_data": [
        {"name": "orders", "partition_data": [{"index": i, "records": one} for i, one in enumerate(sets)]}]})


def fetch(correlation: int) -> bytes:
    return request(1, 11, correlation, {"session_id": 0, "session_epoch": -1, "topics": [
        {"topic": "orders", "partitions": [{"partition": 0, "fetch_offset": 0}]}]})


def fetched(correlation: int, *sets: bytes) -> bytes:
    return response(1, 11, correlation, {"responses": [{"topic": "orders", "partitions": [
        {"partition_index": i, "high_watermark": 9, "records": one} for i, one in enumerate(sets)]}]})


def values_of(batch: bytes) -> list[bytes | None]:
    return [record.value for record in read_batches(batch)[0].records]


def test_a_produce_waits_for_a_schema_and_is_counted_once() -> None:
    stage, rules = staged()
    plain = values(b'{"email":"x"}')
    frame = produce(5, plain, values(ANN))
    assert stage.client(frame) == [("wait", ("schemas", [7])), ("held", frame)]
    assert stage.notes() == [] and rules.counts() == [{}]
    rules.known.add(7, read_avro(USER))
    stage.session.resume_schemas()
    [(side, sent)] = stage.client(frame)
    [topic] = read_request(sent)[3]["topic_data"]
    assert side == "broker"
    assert [values_of(one["records"]) for one in topic["partition_data"]] == [[b'{"email":"#"}'], [HIDDEN]]
    assert rules.counts() == [{"email": 2}]


def test_a_produce_whose_schema_is_not_to_be_had_is_refused() -> None:
    stage, _ = staged()
    frame = produce(5, values(ANN))
    assert stage.client(frame)[0] == ("wait", ("schemas", [7]))
    stage.session.resume_schemas()
    [(side, answer)] = stage.client(frame)
    [topic] = read_response(0, 9, answer)[1]["responses"]
    assert side == "client" and topic["partition_responses"][0]["error_code"] == 87
    # What was asked for one frame says nothing of the next.
    assert stage.client(produce(6, values(ANN)))[0] == ("wait", ("schemas", [7]))


def test_an_answer_waits_and_those_behind_it_too() -> None:
    stage, rules = staged()
    stage.client(fetch(5) + fetch(6))
    first, second = fetched(5, values(b'{"email":"x"}'), values(ANN)), fetched(6, values(ANN))
    assert stage.broker(first + second) == [("held", first), ("held", second)]
    assert stage.session.answer_needs == [7]
    assert stage.notes() == [] and rules.counts() == [{}]
    rules.known.add(7, read_avro(USER))
    stage.session.resume_answer()
    [(side, given)] = stage.broker(first + second)
    at = int.from_bytes(given[:4], "big") + 4
    for frame, wanted in ((given[:at], [[b'{"email":"#"}'], [HIDDEN]]), (given[at:], [[HIDDEN]])):
        [topic] = read_response(1, 11, frame)[1]["responses"]
        assert side == "client" and [values_of(one["records"]) for one in topic["partitions"]] == wanted
    assert rules.counts() == [{"email": 3}]


def test_an_answer_whose_schema_is_not_to_be_had_gives_no_records() -> None:
    stage, _ = staged()
    stage.client(fetch(5) + fetch(6))
    first, second = fetched(5, values(ANN)), fetched(6, values(ANN))
    stage.broker(first)
    stage.session.resume_answer()
    [(_, given)] = stage.broker(first)
    [topic] = read_response(1, 11, given)[1]["responses"]
    assert [(one["error_code"], one["records"]) for one in topic["partitions"]] == [(44, b"")]
    assert stage.broker(second) == [("held", second)]


def test_a_client_that_waits_does_not_hold_up_its_answers() -> None:
    stage, _ = staged()
    stage.client(fetch(5))
    frame = produce(6, values(ANN))
    assert stage.client(frame)[0] == ("wait", ("schemas", [7]))
    answer = fetched(5, values(b'{"email":"x"}'))
    [(side, given), wait] = stage.broker(answer)
    assert (side, wait) == ("client", ("wait", ("schemas", [7])))
    [topic] = read_response(1, 11, given)[1]["responses"]
    assert values_of(topic["partitions"][0]["records"]) == [b'{"email":"#"}']
