"""Row 0 of the protocol table, every served version: what is cut out, what is replaced, and what the client is told."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.batches import Record, read_batches, write_batch
from tests.support.desk import Desk, spanning
from tests.support.record_plans import BLOCK, REDACT, build_plan

PLAIN, HIDDEN, BLOCKED = b'{"a":1}', b'{"name":"x","a":1}', b'{"a":"ann@example.com"}'
MASKED = b'{"name":"","a":1}'


def asked(*topics: tuple[str, dict[int, bytes]]) -> dict[str, Any]:
    return {"acks": -1, "timeout_ms": 1500, "topic_data": [
        {"name": name, "partition_data": [{"index": at, "records": write_batch([Record(value=value)])}
                                          for at, value in partitions.items()]} for name, partitions in topics]}


def sent_values(request: dict[str, Any]) -> list[tuple[str, dict[int, Any]]]:
    return [(topic["name"], {one["index"]: read_batches(one["records"])[0].records[0].value
                             for one in topic["partition_data"]}) for topic in request["topic_data"]]


def answered(*topics: tuple[str, dict[int, int]]) -> dict[str, Any]:
    return {"responses": [{"name": name, "partition_responses": [
        {"index": at, "error_code": 0, "base_offset": offset} for at, offset in offsets.items()]}
        for name, offsets in topics], "throttle_time_ms": 3}


def told(answer: dict[str, Any]) -> list[tuple[str, list[tuple[int, int, int]]]]:
    return [(topic["name"], [(one["index"], one["error_code"], one["base_offset"])
                             for one in topic["partition_responses"]]) for topic in answer["responses"]]


@pytest.mark.parametrize("version", spanning(0))
def test_topics_partitions_and_records_are_cut_and_changed_in_one_frame(version: int) -> None:
    desk = Desk("write topic open*", plan=build_plan("produce", {"name": REDACT}, {"email": BLOCK}))
    treatment, sent = desk.request(0, version, asked(
        ("shut", {0: PLAIN}), ("open1", {0: PLAIN, 1: BLOCKED, 2: HIDDEN}), ("open2", {4: BLOCKED}), ("shut2", {})))
    assert treatment == "replace" and (sent["acks"], sent["timeout_ms"]) == (-1, 1500)
    assert sent_values(sent) == [("open1", {0: PLAIN, 2: MASKED})]
    treatment, answer = desk.response(0, version, answered(("open1", {0: 70, 2: 80})))
    assert treatment == "replace" and answer["throttle_time_ms"] == 3
    assert told(answer) == [("open1", [(0, 0, 70), (2, 0, 80)]), ("shut", [(0, 29, -1)]), ("open1", [(1, 87, -1)]),
                            ("open2", [(4, 87, -1)])]
    if version >= 8:
        refused = answer["responses"][2]["partition_responses"][0]
        assert refused["record_errors"] == [{"batch_index": 0, "batch_index_error_message": "not here"}]


@pytest.mark.parametrize("version", spanning(0))
def test_what_is_only_changed_adds_nothing_to_the_answer(version: int) -> None:
    desk = Desk("write topic open*", plan=build_plan("produce", {"name": REDACT}))
    treatment, sent = desk.request(0, version, asked(("open1", {0: HIDDEN}), ("open2", {})))
    assert treatment == "replace" and sent_values(sent) == [("open1", {0: MASKED}), ("open2", {})]
    assert desk.response(0, version, answered(("open1", {0: 70})))[0] == "forward"
    assert desk.request(0, version, asked(("open1", {0: PLAIN}), ("open2", {3: PLAIN})))[0] == "forward"


@pytest.mark.parametrize("version", spanning(0))
def test_where_nothing_is_left_the_broker_hears_nothing(version: int) -> None:
    desk = Desk("write topic open*", plan=build_plan("produce", detect={"email": BLOCK}))
    treatment, answer = desk.request(0, version, asked(("shut", {0: PLAIN, 3: PLAIN}), ("open1", {1: BLOCKED})))
    assert treatment == "answer"
    assert told(answer) == [("shut", [(0, 29, -1), (3, 29, -1)]), ("open1", [(1, 87, -1)])]


@pytest.mark.parametrize("version", spanning(0))
def test_a_transactional_batch_needs_its_id(version: int) -> None:
    desk = Desk("write topic open", "write transactional_id mine")
    request = asked(("open", {0: PLAIN, 2: PLAIN}))
    for one in request["topic_data"][0]["partition_data"]:
        one["records"] = write_batch([Record(value=PLAIN)], attributes=0x10, producer_id=9, producer_epoch=0,
                                     base_sequence=0)
    assert desk.request(0, version, {**request, "transactional_id": "mine"})[0] == "forward"
    for name, why in (("other", "other"), (None, "")):
        treatment, answer = desk.request(0, version, {**request, "transactional_id": name})
        assert treatment == "answer" and told(answer) == [("open", [(0, 53, -1), (2, 53, -1)])]
        assert desk.denied() == [("write", "transactional_id", why)]
