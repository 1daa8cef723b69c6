"""Rows 8 to 14 of the protocol table, every served version: what the broker is asked, what the client is told."""

from __future__ import annotations

from typing import Any

import pytest

from kproxy._ext import schema
from tests.support import frames
from tests.support.desk import CORRELATION, Desk, id_of, spanning

MEMBERSHIP = (11, 12, 13, 14)


def commit_topics(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "partitions": [{"partition_index": at, "committed_offset": 5, "committed_metadata": None}
                                          for at in (0, 4)]} for name in names]


def fetch_topics(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "partition_indexes": [0, 4]} for name in names]


def offsets(name: str, offset: int, error: int) -> dict[str, Any]:
    """An answered topic of OffsetFetch, as far as every version has it."""
    return {"name": name, "partitions": [{"partition_index": at, "committed_offset": offset, "metadata": "",
                                          "error_code": error} for at in (0, 4)]}


def without_epochs(topics: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"name": topic["name"], "partitions": [
        {name: value for name, value in partition.items() if name != "committed_leader_epoch"}
        for partition in topic["partitions"]]} for topic in topics]


@pytest.mark.parametrize(("api", "version"), [(api, version) for api in MEMBERSHIP for version in spanning(api)])
def test_membership_needs_read_on_the_group(api: int, version: int) -> None:
    desk = Desk("read group team-a.*")
    assert desk.request(api, version, {"group_id": "team-a.x"})[0] == "forward"
    assert desk.denied() == []
    treatment, answer = desk.request(api, version, {"group_id": "team-b.x"})
    assert (treatment, answer["error_code"]) == ("answer", 30)
    assert desk.denied() == [("read", "group", "team-b.x")]
    if api == 11:
        assert (answer["generation_id"], answer["members"], answer["member_id"]) == (-1, [], "")
        assert answer["protocol_name"] == (None if version >= 7 else "")


def test_describe_on_a_group_is_not_read() -> None:
    assert Desk("describe group g").request(12, 4, {"group_id": "g"})[1]["error_code"] == 30


@pytest.mark.parametrize("version", spanning(8))
def test_offset_commit(version: int) -> None:
    desk = Desk("read group g", "read topic open*")
    values = {"group_id": "g", "member_id": "m", "topics": commit_topics("open1", "shut", "open2", "shut")}
    treatment, sent = desk.request(8, version, values)
    assert treatment == "replace"
    assert [topic["name"] for topic in sent["topics"]] == ["open1", "open2"]
    assert sent["topics"][0]["partitions"][1]["partition_index"] == 4
    assert (sent["group_id"], sent["member_id"]) == ("g", "m")
    assert desk.denied() == [("read", "topic", "shut")] * 2, "each occurrence is authorised"
    broker = [{"name": name, "partitions": [{"partition_index": at, "error_code": 31000} for at in (0, 4)]}
              for name in ("open1", "open2")]
    treatment, answer = desk.response(8, version, {"topics": broker})
    refusal = {"name": "shut", "partitions": [{"partition_index": at, "error_code": 29} for at in (0, 4)]}
    assert answer["topics"] == [*broker, refusal, refusal]


@pytest.mark.parametrize("version", spanning(8))
def test_offset_commit_refused_whole(version: int) -> None:
    values = {"group_id": "g", "member_id": "m", "topics": commit_topics("a", "b")}
    for policy, code in ((("read topic *",), 30), (("read group g",), 29)):
        desk = Desk(*policy)
        treatment, answer = desk.request(8, version, values)
        assert treatment == "answer"
        assert answer["topics"] == [{"name": name, "partitions": [{"partition_index": at, "error_code": code}
                                                                  for at in (0, 4)]} for name in ("a", "b")]
    assert desk.request(8, version, {"group_id": "g", "member_id": "m", "topics": []})[0] == "forward"


@pytest.mark.parametrize("version", range(1, 8))
def test_offset_fetch_of_one_group(version: int) -> None:
    desk = Desk("describe group g", "describe topic open*")
    treatment, sent = desk.request(9, version, {"group_id": "g", "topics": fetch_topics("shut", "open")})
    assert treatment == "replace"
    assert sent["topics"] == fetch_topics("open")
    _, answer = desk.response(9, version, {"topics": [offsets("open", 9, 0)]})
    assert without_epochs(answer["topics"]) == [offsets("open", 9, 0), offsets("shut", -1, 29)]
    treatment, answer = desk.request(9, version, {"group_id": "g", "topics": fetch_topics("shut")})
    assert treatment == "answer" and without_epochs(answer["topics"]) == [offsets("shut", -1, 29)]
    assert answer.get("error_code", 0) == 0
    treatment, answer = desk.request(9, version, {"group_id": "other", "topics": fetch_topics("open")})
    assert treatment == "answer"
    if version >= 2:
        assert (answer["error_code"], answer["topics"]) == (30, [])
    else:
        assert without_epochs(answer["topics"]) == [offsets("open", -1, 30)]


@pytest.mark.parametrize("version", range(2, 8))
def test_offset_fetch_of_all_topics_leaves_hidden_ones_out(version: int) -> None:
    desk = Desk("describe group g", "describe topic open*")
    assert desk.request(9, version, {"group_id": "g", "topics": None})[0] == "forward"
    treatment, answer = desk.response(9, version, {"topics": [offsets(name, 3, 0) for name in ("a", "open", "b")]})
    assert treatment == "replace"
    assert without_epochs(answer["topics"]) == [offsets("open", 3, 0)]
    assert desk.denied() == [], "a hidden name is not a refusal"


@pytest.mark.parametrize("version", (8, 9))
def test_offset_fetch_of_several_groups(version: int) -> None:
    desk = Desk("describe group g*", "describe topic open*")
    treatment, sent = desk.request(9, version, {"require_stable": True, "groups": [
        {"group_id": "g1", "topics": fetch_topics("shut", "open")}, {"group_id": "x", "topics": fetch_topics("open")},
        {"group_id": "g2", "topics": None}, {"group_id": "g3", "topics": fetch_topics("shut")}]})
    assert treatment == "replace" and sent["require_stable"] is True
    assert [(group["group_id"], group["topics"]) for group in sent["groups"]] == [
        ("g1", fetch_topics("open")), ("g2", None), ("g3", [])]
    _, answer = desk.response(9, version, {"groups": [
        {"group_id": "g1", "topics": [offsets("open", 9, 0)]},
        {"group_id": "g2", "topics": [offsets("shut", 1, 0), offsets("open", 2, 0)], "_tags": [(40, b"new")]},
        {"group_id": "g3", "topics": []}]})
    told = [(group["group_id"], group["error_code"], without_epochs(group["topics"])) for group in answer["groups"]]
    assert told == [
        ("g1", 0, [offsets("open", 9, 0), offsets("shut", -1, 29)]), ("g2", 0, [offsets("open", 2, 0)]),
        ("g3", 0, [offsets("shut", -1, 29)]), ("x", 30, [])]
    assert answer["groups"][1]["_tags"] == [(40, b"new")]


@pytest.mark.parametrize("version", (8, 9))
def test_offset_fetch_of_refused_groups_never_reaches_the_broker(version: int) -> None:
    treatment, answer = Desk("describe topic *").request(9, version, {"groups": [
        {"group_id": "a", "topics": None}, {"group_id": "a", "topics": fetch_topics("t")}]})
    assert treatment == "answer"
    assert [(group["group_id"], group["error_code"], group["topics"]) for group in answer["groups"]] == [
        ("a", 30, []), ("a", 30, [])]


def test_a_group_asked_for_twice_is_answered_twice_in_the_order_asked() -> None:
    desk = Desk("describe group g", "describe topic open")
    desk.request(9, 8, {"groups": [{"group_id": "g", "topics": fetch_topics("shut")},
                                   {"group_id": "g", "topics": fetch_topics("open")}]})
    _, answer = desk.response(9, 8, {"groups": [{"group_id": "g", "topics": []},
                                                {"group_id": "g", "topics": [offsets("open", 1, 0)]}]})
    assert [[topic["name"] for topic in group["topics"]] for group in answer["groups"]] == [["shut"], ["open"]]


def test_everything_allowed_goes_on_as_it_came() -> None:
    desk = Desk("describe group *", "describe topic *")
    groups = [{"group_id": "g", "topics": fetch_topics("a")}]
    assert desk.request(9, 8, {"groups": groups, "_tags": [(9, b"x")]})[0] == "forward"
    assert desk.response(9, 8, {"groups": [{"group_id": "g", "topics": [offsets("a", 1, 0)]}]})[0] == "forward"


NOWHERE = {"node_id": -1, "host": "", "port": -1}


def coordinator(key: str, **values: Any) -> dict[str, Any]:
    return {"key": key, "error_code": 0, "error_message": None, "node_id": 2, "host": "broker-2", "port": 9092,
            **values}


def shown(item: dict[str, Any]) -> tuple[Any, ...]:
    return item.get("key"), item["error_code"], item["node_id"], item["host"], item["port"]


@pytest.mark.parametrize("version", range(4))
def test_find_one_coordinator(version: int) -> None:
    desk = Desk("describe group g", "describe transactional_id t")
    for kind, key, code in ((0, "g", 0), (0, "x", 30), (1, "t", 0), (1, "g", 53), (2, "s", 31), (9, "g", 42)):
        if version == 0 and kind:
            continue
        treatment, out = desk.request(10, version, {"key": key, "key_type": kind})
        if code == 0:
            assert treatment == "forward"
        else:
            assert treatment == "answer" and shown(out) == (None, code, -1, "", -1), (kind, key)
            assert version == 0 or out["error_message"]
    desk.request(10, version, {"key": "g"})
    values = {name: value for name, value in coordinator("g").items() if name != "key"}
    assert shown(desk.response(10, version, values)[1]) == (None, 0, 2, "proxy", 9002)
    assert desk.addresses.learned == {2: ("broker-2", 9092)}
    assert shown(desk.response(10, version, {**values, "node_id": 9})[1]) == (None, 15, -1, "", -1)
    treatment, out = desk.response(10, version, {**NOWHERE, "error_code": 15})
    assert treatment == "forward" and shown(out) == (None, 15, -1, "", -1)


@pytest.mark.parametrize("version", range(4, 7))
def test_find_several_coordinators(version: int) -> None:
    desk = Desk("describe group g*")
    treatment, sent = desk.request(10, version, {"key_type": 0, "coordinator_keys": ["g1", "x", "g2", "x", "g3"]})
    assert treatment == "replace" and sent["coordinator_keys"] == ["g1", "g2", "g3"]
    assert desk.denied() == [("describe", "group", "x")] * 2
    _, answer = desk.response(10, version, {"throttle_time_ms": 5, "coordinators": [
        coordinator("g1"), coordinator("g2", node_id=7, host="hidden"), coordinator("g3", error_code=15, **NOWHERE)]})
    assert [shown(item) for item in answer["coordinators"]] == [
        ("g1", 0, 2, "proxy", 9002), ("g2", 15, -1, "", -1), ("g3", 15, -1, "", -1), ("x", 30, -1, "", -1),
        ("x", 30, -1, "", -1)]
    assert answer["throttle_time_ms"] == 5
    treatment, answer = desk.request(10, version, {"key_type": 0, "coordinator_keys": ["x", "y"]})
    assert treatment == "answer" and [shown(item)[:2] for item in answer["coordinators"]] == [("x", 30), ("y", 30)]
    treatment, answer = desk.request(10, version, {"key_type": 2, "coordinator_keys": ["g1:id:0"]})
    assert treatment == "answer" and answer["coordinators"][0]["error_code"] == 31


def test_share_coordinators_are_for_those_who_may_act_for_the_cluster() -> None:
    desk = Desk("cluster_action cluster kafka-cluster")
    assert desk.request(10, 6, {"key_type": 2, "coordinator_keys": ["g:id:0"]})[0] == "forward"


@pytest.mark.parametrize("code", (31000, -1))
def test_a_coordinators_error_with_an_unknown_node_keeps_its_code(code: int) -> None:
    desk = Desk("describe group g")
    desk.request(10, 4, {"coordinator_keys": ["g"]})
    _, answer = desk.response(10, 4, {"coordinators": [coordinator("g", error_code=code, node_id=9)]})
    assert shown(answer["coordinators"][0]) == ("g", code, -1, "", -1)


def test_internal_topics_need_an_administrator() -> None:
    """A role for every topic does not reach the topics Kafka keeps its own state in."""
    values = {"group_id": "g", "member_id": "m", "topics": commit_topics("__consumer_offsets", "a")}
    desk = Desk("read group g", "read topic *")
    treatment, sent = desk.request(8, 9, values)
    assert treatment == "replace" and [topic["name"] for topic in sent["topics"]] == ["a"]
    admin = Desk("read group g", "read topic *", "alter cluster kafka-cluster")
    assert admin.request(8, 9, values)[0] == "forward"
    for name in ("__transaction_state", "__share_group_state", "__cluster_metadata"):
        treatment, _ = desk.request(8, 9, {"group_id": "g", "member_id": "m", "topics": commit_topics(name)})
        assert treatment == "answer", name
    own = {"group_id": "g", "member_id": "m", "topics": commit_topics("__mine")}
    assert desk.request(8, 9, own)[0] == "forward"


def test_observe_mode_lets_through_and_tells() -> None:
    desk = Desk(observe=True)
    assert desk.request(12, 4, {"group_id": "g"})[0] == "forward"
    assert desk.denied() == [("read", "group", "g")]


def test_an_approval_is_asked_once_and_then_refused_or_let_through() -> None:
    desk = Desk("read group g", ask=("read topic t",))
    values = {"group_id": "g", "member_id": "m", "topics": commit_topics("t")}
    assert desk.request(8, 9, values) == ("wait", None)
    wanted = desk.decide("topic", "read", "t", 0)[0].wanted
    desk.opened.answered({wanted: ("R-1", "pending")})
    treatment, answer = desk.request(8, 9, values)
    assert treatment == "answer" and answer["topics"][0]["partitions"][0]["error_code"] == 29, "no room for a text"
    desk.ask, desk.allow = (), [*desk.allow, "read topic t"]
    desk.opened.forget_decisions()
    assert desk.request(8, 9, values)[0] == "forward"


# ---- topics by id

GONE = b"g" * 16


def raw_topic(topic_id: bytes, **partitions: Any) -> dict[str, Any]:
    return {"topic_id": topic_id, **partitions}


def test_t30_a_commit_to_an_unknown_id_is_100_beside_good_and_denied_ones() -> None:
    desk = Desk("read group g", "read topic open")
    desk.teach(open=id_of("open"), shut=id_of("shut"))
    partitions = [{"partition_index": at, "committed_offset": 5, "committed_metadata": None} for at in (0, 4)]
    frame = frames.request(8, 10, CORRELATION, {"group_id": "g", "member_id": "m", "topics": [
        raw_topic(one, partitions=partitions) for one in (GONE, id_of("open"), id_of("shut"))]})[4:]
    assert desk.opened.request(frame) == ("wait", None) and desk.opened.unknown == [GONE]
    desk.opened.looked_up()
    treatment, sent = desk.opened.request(frame)
    assert treatment == "replace" and sent is not None and GONE not in sent and id_of("shut") not in sent
    done = frames.response(8, 10, CORRELATION, {"topics": [
        raw_topic(id_of("open"), partitions=[{"partition_index": at, "error_code": 0} for at in (0, 4)])]})[4:]
    _, out = desk.opened.response(done)
    assert out is not None
    answer = schema.parse(8, 10, True, out[5:])
    assert [(one["topic_id"], [each["error_code"] for each in one["partitions"]]) for one in answer["topics"]] == [
        (id_of("open"), [0, 0]), (GONE, [100, 100]), (id_of("shut"), [29, 29])]


def test_t30_offsets_of_an_unknown_id_are_100() -> None:
    desk = Desk("describe group g", "describe topic open")
    desk.teach(open=id_of("open"), shut=id_of("shut"))
    frame = frames.request(9, 10, CORRELATION, {"groups": [{"group_id": "g", "member_id": None, "topics": [
        raw_topic(one, partition_indexes=[3]) for one in (GONE, id_of("shut"))]}]})[4:]
    assert desk.opened.request(frame)[0] == "wait"
    desk.opened.looked_up()
    treatment, out = desk.opened.request(frame)
    assert treatment == "replace" and out is not None and GONE not in out
    _, out = desk.opened.response(frames.response(9, 10, CORRELATION, {"groups": [{"group_id": "g"}]})[4:])
    assert out is not None
    [group] = schema.parse(9, 10, True, out[5:])["groups"]
    assert [(one["topic_id"], [(each["partition_index"], each["committed_offset"], each["error_code"])
                               for each in one["partitions"]]) for one in group["topics"]] == [
        (GONE, [(3, -1, 100)]), (id_of("shut"), [(3, -1, 29)])]


def test_all_offsets_by_id_wait_for_all_names_and_show_none_without_one() -> None:
    desk = Desk("describe group g", "describe topic open")
    frame = frames.request(9, 10, CORRELATION, {"groups": [{"group_id": "g", "member_id": None, "topics": None}]})[4:]
    assert desk.opened.request(frame)[0] == "wait" and desk.opened.unknown == [bytes(16)]
    desk.teach(open=id_of("open"), shut=id_of("shut"))
    desk.opened.looked_up()
    assert desk.opened.request(frame)[0] == "forward"
    topics = [raw_topic(one, partitions=[{"partition_index": 0, "committed_offset": 7, "error_code": 0}])
              for one in (GONE, id_of("shut"), id_of("open"))]
    _, out = desk.opened.response(frames.response(9, 10, CORRELATION, {
        "groups": [{"group_id": "g", "topics": topics}]})[4:])
    assert out is not None
    [group] = schema.parse(9, 10, True, out[5:])["groups"]
    assert [one["topic_id"] for one in group["topics"]] == [id_of("open")]
