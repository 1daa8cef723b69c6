"""Safeguards on Produce: what breaks which limit, what is cut out and answered, what is changed, what only recorded."""

from __future__ import annotations

from typing import Any

import pytest

from kproxy._ext.batch_limits import BatchLimits
from kproxy.model.policy import SafeguardInForce
from kproxy.model.settings import Limits
from tests.support.batches import Record, write_batch
from tests.support.codecs import NAMES
from tests.support.desk import spanning
from tests.support.record_plans import REDACT, build_plan
from tests.support.safeguards import GuardedDesk, read_safeguards

GZIP, ZSTD = NAMES.index("gzip"), NAMES.index("zstd")
PLAIN = write_batch([Record(value=b"v" * 100)])
IDEMPOTENT = {"producer_id": 7, "producer_epoch": 0, "base_sequence": 0}


def asked(acks: int, *topics: tuple[str, dict[int, bytes]]) -> dict[str, Any]:
    return {"acks": acks, "timeout_ms": 1500, "topic_data": [
        {"name": name, "partition_data": [{"index": at, "records": batch} for at, batch in partitions.items()]}
        for name, partitions in topics]}


def sent(request: dict[str, Any]) -> list[tuple[str, list[int]]]:
    return [(topic["name"], [one["index"] for one in topic["partition_data"]]) for topic in request["topic_data"]]


def told(answer: dict[str, Any]) -> list[tuple[str, list[tuple[int, int]]]]:
    return [(topic["name"], [(one["index"], one["error_code"]) for one in topic["partition_responses"]])
            for topic in answer["responses"]]


@pytest.mark.parametrize("version", spanning(0))
def test_what_is_refused_spoils_no_neighbour(version: int) -> None:
    rules = read_safeguards(
        "{name: small, topics: [kept], produce: {max_batch_bytes: 200}, message: Too much at once.}",
        "{name: safe, topics: [sure*], produce: {acks: all}}")
    desk = GuardedDesk(rules, "write topic *")
    big = write_batch([Record(value=b"v" * 300)])
    treatment, request = desk.request(0, version, asked(1, ("kept", {0: PLAIN, 1: big, 2: PLAIN}), ("free", {0: big}),
                                                        ("sure1", {3: PLAIN})))
    assert treatment == "replace" and request["acks"] == 1
    assert sent(request) == [("kept", [0, 2]), ("free", [0])]
    assert desk.told() == [("kept", "small", "refuse"), ("sure1", "safe", "refuse")]
    _, answer = desk.response(0, version, {"responses": [
        {"name": "kept", "partition_responses": [{"index": at, "base_offset": 5} for at in (0, 2)]},
        {"name": "free", "partition_responses": [{"index": 0, "base_offset": 6}]}]})
    assert told(answer) == [("kept", [(0, 0), (2, 0)]), ("free", [(0, 0)]), ("kept", [(1, 10)]), ("sure1", [(3, 21)])]
    if version >= 8:
        assert [topic["partition_responses"][0]["error_message"] for topic in answer["responses"][2:]] == [
            f"Too much at once. (the batch has {len(big)} bytes, and 200 are allowed; safeguard small)",
            "kproxy: acks is 1, and all is required (safeguard safe)"]
    # What keeps the limits goes on as it came.
    assert desk.request(0, version, asked(-1, ("kept", {0: PLAIN}), ("sure1", {0: big})))[0] == "forward"
    assert desk.told() == []


@pytest.mark.parametrize("version", spanning(0))
def test_the_acknowledgements_of_all_are_asked_for_instead(version: int) -> None:
    rules = read_safeguards("{name: sure, topics: [sure], produce: {acks: all}, action: override}")
    desk = GuardedDesk(rules, "write topic *")
    treatment, request = desk.request(0, version, asked(1, ("free", {0: PLAIN}), ("sure", {0: PLAIN, 1: PLAIN})))
    assert treatment == "replace" and request["acks"] == -1 and request["timeout_ms"] == 1500
    assert sent(request) == [("free", [0]), ("sure", [0, 1])]
    assert request["topic_data"][1]["partition_data"][0]["records"] == PLAIN
    assert desk.told() == [("sure", "sure", "override")] * 2
    assert desk.request(0, version, asked(1, ("free", {0: PLAIN})))[0] == "forward"
    assert desk.request(0, version, asked(-1, ("sure", {0: PLAIN})))[0] == "forward"


def test_no_answer_can_be_made_out_of_none() -> None:
    """acks=0 has no answer, so it cannot be overridden: the neighbours go on and the connection ends, as always."""
    desk = GuardedDesk(read_safeguards("{name: sure, topics: [sure], produce: {acks: all}, action: override}"),
                       "write topic *")
    treatment, request = desk.request(0, 9, asked(0, ("free", {0: PLAIN}), ("sure", {0: PLAIN})))
    assert treatment == "replace" and request["acks"] == 0 and sent(request) == [("free", [0])]
    assert desk.opened.cause == "denied_without_answer" and desk.told() == [("sure", "sure", "refuse")]
    treatment, _ = desk.request(0, 9, asked(0, ("sure", {0: PLAIN})))
    assert (treatment, desk.opened.cause) == ("close", "denied_without_answer")


def test_an_override_does_not_hide_what_another_topic_refuses() -> None:
    """The verdict on one topic does not rest on which topics stand before it."""
    rules = read_safeguards("{name: a, topics: [a], produce: {acks: all}, action: override}",
                            "{name: b, topics: [b], produce: {acks: all}}")
    desk = GuardedDesk(rules, "write topic *")
    for names in (("a", "b"), ("b", "a")):
        treatment, request = desk.request(0, 9, asked(1, *((name, {0: PLAIN}) for name in names)))
        assert treatment == "replace" and request["acks"] == -1 and sent(request) == [("a", [0])]


@pytest.mark.parametrize("observed", [True, False])
def test_recorded_only(observed: bool) -> None:
    action = "refuse" if observed else "record"
    rules = read_safeguards(f"{{name: small, topics: ['*'], produce: {{max_batch_bytes: 10}}, action: {action}}}")
    desk = GuardedDesk(rules, "write topic *", observed=observed)
    assert desk.request(0, 9, asked(1, ("a", {0: PLAIN})))[0] == "forward"
    assert desk.told() == [("a", "small", "record")]


def test_who_may_not_write_is_told_that_alone() -> None:
    desk = GuardedDesk(read_safeguards("{name: sure, topics: ['*'], produce: {acks: all}}"), "write topic open")
    treatment, answer = desk.request(0, 9, asked(1, ("shut", {0: PLAIN}), ("open", {0: PLAIN})))
    assert treatment == "answer" and told(answer) == [("shut", [(0, 29)]), ("open", [(0, 21)])]
    assert desk.told() == [("open", "sure", "refuse")]


def test_a_mask_comes_after_a_safeguard() -> None:
    desk = GuardedDesk(read_safeguards("{name: small, topics: ['*'], produce: {max_batch_bytes: 90}}"),
                       "write topic *", plan=build_plan("produce", {"name": REDACT}))
    fits, larger = write_batch([Record(value=b'{"name":"x"}')]), write_batch([Record(value=b'{"name":"' + b"x" * 50)])
    assert len(fits) < 90 < len(larger)
    treatment, request = desk.request(0, 9, asked(1, ("a", {0: fits, 1: larger})))
    assert treatment == "replace" and sent(request) == [("a", [0])]
    assert request["topic_data"][0]["partition_data"][0]["records"] != fits


def judged(limits: str, batch: bytes, acks: int = -1, measures: Limits | None = None) -> int:
    """The code of a refusal, 0 for none."""
    [rule] = read_safeguards(f"{{name: r, topics: ['*'], produce: {{{limits}}}}}")
    broken, judgement, found, refusal = BatchLimits((SafeguardInForce(rule),), measures).examine(acks, batch)
    assert broken == (judgement == 2) == bool(found) == bool(refusal)
    return refusal[0] if refusal else 0


def packed(codec: int, *sizes: int, **more: Any) -> bytes:
    return write_batch([Record(value=b"v" * size) for size in sizes], codec=codec, **more)


@pytest.mark.parametrize(("limits", "acks", "code"), [
    ("acks: all", -1, 0), ("acks: all", 1, 21), ("acks: all", 0, 21), ("acks: all", 2, 21),
    ("acks: 1", -1, 0), ("acks: 1", 1, 0), ("acks: 1", 0, 21), ("acks: 1", 2, 21),
])
def test_acks(limits: str, acks: int, code: int) -> None:
    assert judged(limits, PLAIN, acks) == code
    # What the batch is like is not asked where only acks are limited: a broker says that.
    assert judged(limits, b"", acks) == code


@pytest.mark.parametrize("codec", range(5))
def test_compression(codec: int) -> None:
    name, others = NAMES[codec], [one for one in NAMES if one != NAMES[codec]]
    assert judged(f"compression: [{name}]", packed(codec, 50)) == 0
    assert judged(f"compression: [{', '.join(others)}]", packed(codec, 50)) == 76
    # A number that is no codec is none of those allowed.
    assert judged(f"compression: [{name}]", write_batch([Record(value=b"v")], attributes=6)) == 76


def test_idempotence() -> None:
    assert judged("idempotence: true", packed(0, 5)) == 44
    assert judged("idempotence: true", packed(0, 5, **IDEMPOTENT)) == 0
    assert judged("idempotence: true", packed(ZSTD, 5, **{**IDEMPOTENT, "producer_id": 0})) == 0


@pytest.mark.parametrize("codec", range(5))
def test_sizes(codec: int) -> None:
    batch = packed(codec, 10, 4000, 300)
    assert judged(f"max_batch_bytes: {len(batch)}", batch) == 0
    assert judged(f"max_batch_bytes: {len(batch) - 1}", batch) == 10
    # 4000 bytes of value, and around them two bytes of length and six of head.
    largest = 4000 + 2 + 2 + 4 + 1
    found = [size for size in range(largest - 8, largest + 8) if judged(f"max_record_bytes: {size}", batch) == 0]
    assert found == list(range(found[0], largest + 8)) and 4000 < found[0] <= largest
    if codec:
        assert len(batch) < 1000    # So it was the record that was measured, and not the batch.


def test_a_bomb_is_not_opened_to_measure_it() -> None:
    batch = packed(GZIP, *([100_000] * 30))
    measures = Limits(records_max_bytes=1 << 20, records_any_ratio_bytes=1 << 16)
    assert judged("max_record_bytes: 200000", batch) == 0
    assert judged("max_record_bytes: 200000", batch, measures=measures) == 10


@pytest.mark.parametrize("batch", [
    b"", PLAIN[:60], PLAIN[:-1], PLAIN + PLAIN, PLAIN[:16] + b"\1" + PLAIN[17:],
    PLAIN[:8] + b"\xff\xff\xff\xff" + PLAIN[12:],
], ids=["none", "short", "cut", "two", "old", "negative"])
def test_what_a_broker_would_read_otherwise_is_not_judged_by_its_head(batch: bytes) -> None:
    for limits in ("compression: [none]", "idempotence: true", "max_batch_bytes: 1MiB", "max_record_bytes: 1MiB"):
        assert judged(limits, batch) == 87


@pytest.mark.parametrize("codec", [0, GZIP])
def test_records_that_are_none_are_not_measured(codec: int) -> None:
    batch = bytearray(packed(codec, 300))
    batch[61] ^= 0x55
    assert judged("max_record_bytes: 50", bytes(batch)) == 87


def test_every_rule_is_told_and_the_first_by_name_answers() -> None:
    rules = read_safeguards("{name: c, topics: ['*'], produce: {max_batch_bytes: 10}}",
                            "{name: a, topics: ['*'], produce: {compression: [zstd]}, action: record}",
                            "{name: b, topics: ['*'], produce: {idempotence: true}}")
    ordered = tuple(SafeguardInForce(rule) for rule in sorted(rules, key=lambda rule: rule.name))
    _, judgement, found, refusal = BatchLimits(ordered).examine(-1, PLAIN)
    assert judgement == 2 and [(one.rule.name, action) for one, action, _ in found] == [
        ("a", "record"), ("b", "refuse"), ("c", "refuse")]
    assert refusal == [44, "kproxy: the producer is not idempotent (enable.idempotence) (safeguard b)"]
