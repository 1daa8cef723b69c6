"""Rows 76, 77 and 90 to 92 of the protocol table: share groups, their members and their offsets."""

from __future__ import annotations

from typing import Any

import pytest

from kproxy._ext.login import advertised
from tests.support.desk import Desk, id_of, spanning

NOT_ASKED = -(2**31)
HEARTBEAT, DESCRIBE, OFFSETS, ALTER, DELETE = 76, 77, 90, 91, 92
FAMILY = {HEARTBEAT, DESCRIBE, 78, 79, OFFSETS, ALTER, DELETE}


def beat(*topics: str, group: str = "g1", **values: Any) -> dict[str, Any]:
    return {"group_id": group, "member_id": "m", "member_epoch": 0, "subscribed_topic_names": list(topics), **values}


@pytest.mark.parametrize("version", spanning(HEARTBEAT))
def test_a_member_reads_the_group_and_describes_what_it_subscribes_to(version: int) -> None:
    desk = Desk("read group g*", "describe topic open*")
    assert desk.request(HEARTBEAT, version, beat("open1", "open2"))[0] == "forward"
    assert desk.request(HEARTBEAT, version, beat(subscribed_topic_names=None))[0] == "forward"
    treatment, answer = desk.request(HEARTBEAT, version, beat("open1", group="other"))
    assert (treatment, answer["error_code"]) == ("answer", 30) and desk.denied() == [("read", "group", "other")]
    treatment, answer = desk.request(HEARTBEAT, version, beat("open1", "shut", "open2"))
    assert (treatment, answer["error_code"]) == ("answer", 29) and desk.denied() == [("describe", "topic", "shut")]
    assert (answer["member_id"], answer["assignment"], answer["error_message"]) == (None, None, None)
    assert desk.request(HEARTBEAT, version, beat("__share_group_state"))[0] == "answer"
    assigned = {"member_id": "m", "member_epoch": 3, "heartbeat_interval_ms": 5, "assignment": {"topic_partitions": [
        {"topic_id": b"i" * 16, "partitions": [0, 1]}]}}
    assert desk.response_after(HEARTBEAT, version, beat("open1"), assigned)[0] == "forward"


def group(name: str, *topics: str, assigned: str = "", operations: int = NOT_ASKED) -> dict[str, Any]:
    held = [{"topic_id": id_of(assigned), "topic_name": assigned, "partitions": [0]}] if assigned else []
    return {"error_code": 0, "error_message": None, "group_id": name, "group_state": "Stable", "group_epoch": 3,
            "assignment_epoch": 3, "assignor_name": "simple", "authorized_operations": operations, "members": [
                {"member_id": "m", "rack_id": None, "member_epoch": 4, "client_id": "c", "client_host": "/10.0.0.9",
                 "subscribed_topic_names": list(topics), "assignment": {"topic_partitions": held}}]}


def refused(name: str, code: int, message: str | None = None) -> dict[str, Any]:
    return {"error_code": code, "error_message": message, "group_id": name, "group_state": "", "group_epoch": 0,
            "assignment_epoch": 0, "assignor_name": "", "members": [], "authorized_operations": NOT_ASKED}


@pytest.mark.parametrize("version", spanning(DESCRIBE))
def test_a_group_is_shown_if_all_it_names_may_be(version: int) -> None:
    desk = Desk("describe group g*", "describe topic open*")
    asked = {"group_ids": ["g1", "other", "g2", "g3"], "include_authorized_operations": True}
    treatment, sent = desk.request(DESCRIBE, version, asked)
    assert treatment == "replace" and sent["group_ids"] == ["g1", "g2", "g3"]
    _, answer = desk.response(DESCRIBE, version, {"groups": [
        group("g1", "open1", assigned="open1", operations=0x7FF), group("g2", "open1", "shut"),
        group("g3", "open1", assigned="shut")]})
    hidden = "The group has described topic(s) that the client is not authorized to describe."
    assert answer["groups"] == [group("g1", "open1", assigned="open1", operations=1 << 8), refused("g2", 29, hidden),
                                refused("g3", 29, hidden), refused("other", 30)]
    assert "shut" not in repr(answer)


def offsets(*names: str, version: int = 0) -> list[dict[str, Any]]:
    return [{"topic_name": name, "topic_id": id_of(name), "partitions": [
        {"partition_index": 0, "start_offset": 5, "leader_epoch": 1, **({"lag": 2} if version else {}),
         "error_code": 0, "error_message": None}]} for name in names]


def shown(found: dict[str, Any]) -> list[tuple[str, bytes, list[int]]]:
    return [(topic["topic_name"], bytes(topic["topic_id"]).rstrip(b"\0"),
             [one["error_code"] for one in topic["partitions"]]) for topic in found["topics"]]


@pytest.mark.parametrize("version", spanning(OFFSETS))
def test_offsets_of_groups_and_topics_that_may_be_described(version: int) -> None:
    desk = Desk("describe group g*", "describe topic open*")
    named = [{"topic_name": name, "partitions": [0, 1]} for name in ("shut", "open1")]
    treatment, sent = desk.request(OFFSETS, version, {"groups": [
        {"group_id": "other", "topics": named}, {"group_id": "g1", "topics": named},
        {"group_id": "g2", "topics": None}]})
    assert treatment == "replace" and [one["group_id"] for one in sent["groups"]] == ["g1", "g2"]
    assert [one["topic_name"] for one in sent["groups"][0]["topics"]] == ["open1"]
    assert desk.denied() == [("describe", "group", "other"), ("describe", "topic", "shut")]
    _, answer = desk.response(OFFSETS, version, {"groups": [
        {"group_id": "g1", "topics": offsets("open1", version=version), "error_code": 0, "error_message": None},
        {"group_id": "g2", "topics": offsets("open1", "shut", version=version), "error_code": 0,
         "error_message": None}]})
    first, second, third = answer["groups"]
    assert shown(first) == [("open1", id_of("open1"), [0]), ("shut", b"", [29, 29])]
    assert {one["start_offset"] for one in first["topics"][1]["partitions"]} == {-1}, "as Kafka has it"
    assert shown(second) == [("open1", id_of("open1"), [0])], "what nobody named is left out without a word"
    assert (third["group_id"], third["error_code"], third["topics"]) == ("other", 30, [])
    treatment, answer = desk.request(OFFSETS, version, {"groups": [{"group_id": "other", "topics": None}]})
    assert treatment == "answer" and answer["groups"][0]["error_code"] == 30


@pytest.mark.parametrize("version", spanning(ALTER))
def test_offsets_are_moved_by_who_reads_group_and_topic(version: int) -> None:
    desk = Desk("read group g*", "read topic open*")
    body = {"group_id": "g1", "topics": [{"topic_name": name, "partitions": [{"partition_index": 0, "start_offset": 3}]}
                                         for name in ("shut", "open1")]}
    treatment, answer = desk.request(ALTER, version, {**body, "group_id": "other"})
    assert (treatment, answer["error_code"], answer["responses"]) == ("answer", 30, [])
    treatment, sent = desk.request(ALTER, version, body)
    assert treatment == "replace" and [one["topic_name"] for one in sent["topics"]] == ["open1"]
    _, answer = desk.response(ALTER, version, {"responses": [
        {"topic_name": "open1", "topic_id": id_of("open1"), "partitions": [{"partition_index": 0, "error_code": 0}]}]})
    assert [(one["topic_name"], any(one["topic_id"]), one["partitions"][0]["error_code"])
            for one in answer["responses"]] == [("open1", True, 0), ("shut", False, 29)]
    _, answer = desk.response_after(ALTER, version, body, {"error_code": 69, "responses": []})
    assert (answer["error_code"], answer["responses"]) == (69, [])


@pytest.mark.parametrize("version", spanning(DELETE))
def test_offsets_are_deleted_by_who_deletes_the_group_and_reads_the_topic(version: int) -> None:
    desk = Desk("delete group g*", "read group *", "read topic open*")
    body = {"group_id": "g1", "topics": [{"topic_name": "shut"}, {"topic_name": "open1"}]}
    treatment, answer = desk.request(DELETE, version, {**body, "group_id": "other"})
    assert (treatment, answer["error_code"]) == ("answer", 30) and desk.denied() == [("delete", "group", "other")]
    treatment, sent = desk.request(DELETE, version, body)
    assert treatment == "replace" and [one["topic_name"] for one in sent["topics"]] == ["open1"]
    _, answer = desk.response(DELETE, version, {"responses": [
        {"topic_name": "open1", "topic_id": id_of("open1"), "error_code": 0}]})
    assert [(one["topic_name"], any(one["topic_id"]), one["error_code"]) for one in answer["responses"]] == [
        ("open1", True, 0), ("shut", False, 29)]
    treatment, answer = desk.request(DELETE, version, {**body, "topics": [{"topic_name": "shut"}]})
    assert treatment == "answer" and answer["responses"][0]["error_code"] == 29


def test_share_groups_are_offered_whole_or_not_at_all() -> None:
    newest = {key: (0, 99) for key in range(95)}
    assert advertised(newest).keys() >= FAMILY
    # Kafka 4.0 had early versions of four of them, and nothing of the rest; Kafka 2.7 could not tell a topic by its id.
    for broker in ({**newest, 78: (0, 0)}, {**newest, 3: (0, 9)}, {key: newest[key] for key in newest if key != 76}):
        assert not advertised(broker).keys() & FAMILY
    without_offsets = {key: newest[key] for key in newest if key not in (OFFSETS, ALTER, DELETE)}
    assert advertised(without_offsets).keys() & FAMILY == {HEARTBEAT, DESCRIBE, 78, 79}
