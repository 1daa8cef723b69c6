"""Row 1 of the protocol table, every served version: a consumer's fetch, whatever the client says it is."""

from __future__ import annotations

from typing import Any

import pytest

from kproxy._ext import schema
from tests.support import frames
from tests.support.desk import CORRELATION, Desk, id_of, spanning

EVERY = spanning(1)
BY_ID = [version for version in EVERY if version >= 13]
RECORDS = frames.batch([b"canary"], base_offset=5)


def asked(*topics: str, **more: Any) -> dict[str, Any]:
    return {"max_wait_ms": 500, "min_bytes": 1, "session_id": 0, "session_epoch": -1, "topics": [
        {"topic": name, "partitions": [{"partition": at, "fetch_offset": 5, "partition_max_bytes": 900}
                                       for at in (0, 3)]} for name in topics], **more}


def answered(*topics: str, code: int = 0, **more: Any) -> dict[str, Any]:
    return {"responses": [{"topic": name, "partitions": [
        {"partition_index": at, "error_code": code, "high_watermark": 9, "records": RECORDS} for at in (0, 3)]}
        for name in topics], **more}


def seen(answer: dict[str, Any]) -> list[tuple[str, list[tuple[int, int, int, bytes]]]]:
    return [(topic["topic"], [(one["partition_index"], one["error_code"], one["high_watermark"],
                               bytes(one["records"] or b"")) for one in topic["partitions"]])
            for topic in answer["responses"]]


REFUSED = [(0, 29, -1, b""), (3, 29, -1, b"")]
SERVED = [(0, 0, 9, RECORDS), (3, 0, 9, RECORDS)]


@pytest.mark.parametrize("version", EVERY)
def test_what_may_not_be_read_is_not_asked_for(version: int) -> None:
    desk = Desk("read topic open*")
    treatment, sent = desk.request(1, version, asked("shut", "open1", "open2"))
    assert treatment == "replace" and [one["topic"] for one in sent["topics"]] == ["open1", "open2"]
    assert [one["fetch_offset"] for one in sent["topics"][0]["partitions"]] == [5, 5]
    assert desk.denied() == [("read", "topic", "shut")]
    _, answer = desk.response(1, version, answered("open1", "open2"))
    assert seen(answer) == [("open1", SERVED), ("open2", SERVED), ("shut", REFUSED)]


@pytest.mark.parametrize("version", EVERY)
def test_where_all_is_refused_the_broker_hears_nothing(version: int) -> None:
    treatment, answer = Desk().request(1, version, asked("shut"))
    assert treatment == "answer" and seen(answer) == [("shut", REFUSED)]


@pytest.mark.parametrize("version", EVERY)
def test_access_that_ended_while_the_broker_held_the_fetch(version: int) -> None:
    desk = Desk("read topic open*")
    assert desk.request(1, version, asked("open1"))[0] == "forward"
    desk.allow.clear()
    desk.opened.forget_decisions()
    _, answer = desk.response(1, version, answered("open1"))
    assert seen(answer) == [("open1", REFUSED)]


@pytest.mark.parametrize("version", EVERY)
def test_t27_a_follower_becomes_a_consumer(version: int) -> None:
    desk = Desk("read topic *")
    values = asked("a", forgotten_topics_data=[{"topic": "b", "partitions": [1]}])
    values["_tags"] = [(77, b"kept")] if version >= 12 else []
    if version >= 12:
        values["cluster_id"] = "lkc-1"
    if version < 15:
        values["replica_id"] = 2
    else:
        values["replica_state"] = {"replica_id": 2, "replica_epoch": 5}
    for partition in values["topics"][0]["partitions"]:
        partition["_tags"] = [(99, b"kept too")] if version >= 12 else []
        if version >= 17:
            partition["replica_directory_id"] = b"d" * 16
        if version >= 18:
            partition["high_watermark"] = 3
    treatment, sent = desk.request(1, version, values)
    assert treatment == "replace" and sent.get("replica_id", -1) == -1
    assert "replica_state" not in sent and "cluster_id" not in sent
    assert sent.get("forgotten_topics_data", []) == []
    assert sent.get("_tags", []) == values["_tags"]
    for partition in sent["topics"][0]["partitions"]:
        assert "replica_directory_id" not in partition and "high_watermark" not in partition
        assert partition.get("_tags", []) == ([(99, b"kept too")] if version >= 12 else [])
        assert partition["fetch_offset"] == 5


@pytest.mark.parametrize("version", [version for version in EVERY if version >= 16])
def test_t3_leaders_are_named_by_their_addresses_here(version: int) -> None:
    desk = Desk("read topic *")
    desk.request(1, version, asked("a"))
    leaders = [{"node_id": node, "host": f"broker-{node}", "port": 9092, "rack": "r1"} for node in (9, 2)]
    treatment, answer = desk.response(1, version, answered("a", code=6, node_endpoints=leaders,
                                                           _tags=[(5, b"unknown")]))
    assert treatment == "replace"
    assert answer["node_endpoints"] == [{"node_id": 2, "host": "proxy", "port": 9002, "rack": "r1"}]
    assert answer["_tags"] == [(5, b"unknown")]
    assert desk.addresses.learned == {9: ("broker-9", 9092), 2: ("broker-2", 9092)}
    assert seen(answer) == [("a", [(0, 6, 9, RECORDS), (3, 6, 9, RECORDS)])]


# -- topics by id ------------------------------------------------------------------------------------------------------


def raw(version: int, *ids: bytes) -> bytes:
    values = asked(*("" for _ in ids))
    for topic, topic_id in zip(values["topics"], ids, strict=True):
        del topic["topic"]
        topic["topic_id"] = topic_id
    return frames.request(1, version, CORRELATION, values)[4:]


def answer_of(version: int, frame: bytes | None) -> list[tuple[bytes, list[int]]]:
    assert frame is not None
    answer = schema.parse(1, version, True, frame[5:])
    return [(one["topic_id"], [partition["error_code"] for partition in one["partitions"]])
            for one in answer["responses"]]


@pytest.mark.parametrize("version", BY_ID)
def test_t30_an_unknown_id_is_looked_up_and_then_100_beside_good_and_denied_ones(version: int) -> None:
    desk = Desk("read topic open")
    good, shut, gone, zero = id_of("open"), id_of("shut"), b"g" * 16, bytes(16)
    desk.teach(open=good, shut=shut)
    frame = raw(version, gone, good, zero, shut)
    assert desk.opened.request(frame) == ("wait", None) and desk.opened.unknown == [gone]
    desk.opened.looked_up()
    treatment, sent = desk.opened.request(frame)
    assert treatment == "replace" and sent is not None
    assert [one["topic_id"] for one in frames.read_request(len(sent).to_bytes(4, "big") + sent)[3]["topics"]] == [good]
    _, answer = desk.opened.response(frames.response(1, version, CORRELATION, {"responses": [
        {"topic_id": good, "partitions": [{"partition_index": 0, "error_code": 0, "records": RECORDS}]}]})[4:])
    assert answer_of(version, answer) == [(good, [0]), (gone, [100, 100]), (zero, [100, 100]), (shut, [29, 29])]
    assert answer is not None and b"shut" not in answer.replace(shut, b"")


@pytest.mark.parametrize("version", BY_ID)
def test_t30_a_name_that_comes_while_it_is_waited_for_decides(version: int) -> None:
    desk = Desk("read topic open")
    assert desk.opened.request(raw(version, b"1" * 16))[0] == "wait"
    desk.teach(open=b"1" * 16)
    desk.opened.looked_up()
    assert desk.opened.request(raw(version, b"1" * 16))[0] == "forward"
    assert desk.opened.request(raw(version, b"2" * 16))[0] == "wait", "the next frame is looked up anew"


@pytest.mark.parametrize("version", BY_ID)
@pytest.mark.parametrize("code", [100, 103])
def test_t30_a_deleted_topics_id_is_forgotten_and_answered_as_the_broker_did(version: int, code: int) -> None:
    desk = Desk("read topic open")
    desk.teach(open=id_of("open"))
    desk.opened.request(raw(version, id_of("open")))
    refused = frames.response(1, version, CORRELATION, {"responses": [
        {"topic_id": id_of("open"), "partitions": [{"partition_index": at, "error_code": code} for at in (0, 3)]}]})[4:]
    assert desk.opened.response(refused) == ("forward", refused)
    assert desk.addresses.topic_ids.name(id_of("open")) is None
    assert desk.opened.request(raw(version, id_of("open")))[0] == "wait"


@pytest.mark.parametrize("version", BY_ID)
def test_an_id_that_another_forgot_meanwhile_keeps_its_name_for_the_answer(version: int) -> None:
    desk = Desk("read topic open")
    desk.teach(open=id_of("open"))
    desk.opened.request(raw(version, id_of("open")))
    desk.addresses.topic_ids.forget(id_of("open"))
    whole = frames.response(1, version, CORRELATION, {"responses": [
        {"topic_id": id_of("open"), "partitions": [{"partition_index": 0, "error_code": 0, "records": RECORDS}]}]})[4:]
    assert desk.opened.response(whole) == ("forward", whole)


@pytest.mark.parametrize("version", BY_ID)
def test_a_topic_that_was_not_asked_for_and_nobody_knows_shows_nothing(version: int) -> None:
    desk = Desk("read topic *")
    desk.teach(open=id_of("open"))
    desk.opened.request(raw(version, id_of("open")))
    _, answer = desk.opened.response(frames.response(1, version, CORRELATION, {"responses": [
        {"topic_id": b"x" * 16, "partitions": [{"partition_index": 0, "error_code": 0, "records": RECORDS}]}]})[4:])
    assert answer_of(version, answer) == [(b"x" * 16, [100])] and answer is not None and b"canary" not in answer
