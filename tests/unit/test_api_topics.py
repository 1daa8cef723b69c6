"""Rows 2, 19, 22 and 23 of the protocol table, every served version."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.desk import Desk, spanning

CLUSTER = "cluster kafka-cluster"


def asked(name: str) -> dict[str, Any]:
    return {"name": name, "partitions": [{"partition_index": at, "timestamp": -1} for at in (0, 2)]}


def found(name: str, error: int, offset: int) -> dict[str, Any]:
    return {"name": name, "partitions": [{"partition_index": at, "error_code": error, "timestamp": -1,
                                          "offset": offset} for at in (0, 2)]}


def without_epochs(topics: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"name": topic["name"], "partitions": [
        {name: value for name, value in partition.items() if name != "leader_epoch"}
        for partition in topic["partitions"]]} for topic in topics]


@pytest.mark.parametrize("version", spanning(2))
def test_list_offsets(version: int) -> None:
    desk = Desk("describe topic open*")
    treatment, sent = desk.request(2, version, {"replica_id": -1, "isolation_level": 1,
                                                "topics": [asked("open1"), asked("shut"), asked("open2")]})
    assert treatment == "replace" and sent["replica_id"] == -1 and sent.get("isolation_level", 1) == 1
    assert [topic["name"] for topic in sent["topics"]] == ["open1", "open2"]
    _, answer = desk.response(2, version, {"topics": [found("open1", 0, 5), found("open2", 31000, -1)]})
    assert without_epochs(answer["topics"]) == [found("open1", 0, 5), found("open2", 31000, -1), found("shut", 29, -1)]
    treatment, answer = desk.request(2, version, {"topics": [asked("shut")]})
    assert treatment == "answer" and without_epochs(answer["topics"]) == [found("shut", 29, -1)]
    assert all(partition.get("leader_epoch", -1) == -1 for partition in answer["topics"][0]["partitions"])


@pytest.mark.parametrize("version", spanning(2))
@pytest.mark.parametrize("replica", (0, 7, -2))
def test_list_offsets_is_a_consumers(version: int, replica: int) -> None:
    """A follower's id, or the debugging one, would see beyond the high watermark."""
    desk = Desk("describe topic *")
    treatment, sent = desk.request(2, version, {"replica_id": replica, "topics": [asked("a")]})
    assert treatment == "replace" and sent["replica_id"] == -1 and sent["topics"][0]["name"] == "a"
    assert desk.request(2, version, {"replica_id": -1, "topics": [asked("a")]})[0] == "forward"
    assert desk.response(2, version, {"topics": [found("a", 0, 1)]})[0] == "forward"


def epochs_asked(name: str) -> dict[str, Any]:
    return {"topic": name, "partitions": [{"partition": at, "current_leader_epoch": 3, "leader_epoch": 2}
                                          for at in (0, 2)]}


def epochs(name: str, error: int, epoch: int, offset: int) -> dict[str, Any]:
    return {"topic": name, "partitions": [{"error_code": error, "partition": at, "leader_epoch": epoch,
                                           "end_offset": offset} for at in (0, 2)]}


@pytest.mark.parametrize("version", spanning(23))
def test_leader_epochs(version: int) -> None:
    desk = Desk("describe topic open*")
    replica = {"replica_id": -1} if version >= 3 else {}
    values = {**replica, "topics": [epochs_asked("open1"), epochs_asked("shut"), epochs_asked("open2")]}
    treatment, sent = desk.request(23, version, values)
    assert treatment == "replace" and sent == {**replica, "topics": [epochs_asked("open1"), epochs_asked("open2")]}
    broker = [epochs("open1", 0, 2, 50), epochs("open2", 31000, -1, -1)]
    assert desk.response(23, version, {"topics": broker})[1]["topics"] == [*broker, epochs("shut", 29, -1, -1)]
    treatment, answer = desk.request(23, version, {"topics": [epochs_asked("shut"), epochs_asked("shut")]})
    assert treatment == "answer" and answer["topics"] == [epochs("shut", 29, -1, -1)] * 2
    treatment, sent = desk.request(23, version, {"replica_id": 1, "topics": [epochs_asked("open1")]})
    assert treatment == ("replace" if version >= 3 else "forward"), "before version 3 nobody says who asks"
    assert sent.get("replica_id", -1) == -1


def test_who_acts_for_the_cluster_asks_for_every_epoch_but_a_forbidden_one() -> None:
    desk = Desk("cluster_action " + CLUSTER, forbid=("describe topic secret",))
    asked_for = [epochs_asked(name) for name in ("a", "secret", "__consumer_offsets")]
    treatment, sent = desk.request(23, 4, {"replica_id": -1, "topics": asked_for})
    assert treatment == "replace" and [topic["topic"] for topic in sent["topics"]] == ["a"]


def new_topic(name: str) -> dict[str, Any]:
    return {"name": name, "num_partitions": 3, "replication_factor": 1, "configs": [{"name": "retention.ms",
                                                                                     "value": "5"}]}


def created(name: str, **values: Any) -> dict[str, Any]:
    return {"name": name, "error_code": 0, "error_message": None, "num_partitions": 3, "replication_factor": 1,
            "configs": [{"name": "retention.ms", "value": "5"}], **values}


def brief(item: dict[str, Any]) -> tuple[Any, ...]:
    return item["name"], item["error_code"], item["error_message"]


@pytest.mark.parametrize("version", spanning(19))
def test_create_topics_topic_by_topic(version: int) -> None:
    desk = Desk("create topic open*")
    names = ("shut", "open1", "open2", "twice", "shut2", "twice", "shut2")
    values = {"topics": [new_topic(name) for name in names], "timeout_ms": 9, "validate_only": True}
    treatment, sent = desk.request(19, version, values)
    assert treatment == "replace" and (sent["timeout_ms"], sent["validate_only"]) == (9, True)
    assert [topic["name"] for topic in sent["topics"]] == ["open1", "open2"]
    assert sent["topics"][0]["configs"] == [{"name": "retention.ms", "value": "5"}]
    _, answer = desk.response(19, version, {"topics": [created("open1", error_code=36, error_message="There"),
                                                   created("open2")]})
    assert [brief(item) for item in answer["topics"]] == [
        ("open1", 36, "There"), ("open2", 0, None), ("shut", 29, "nothing allows it"),
        ("twice", 42, "Duplicate topic name."), ("shut2", 42, "Duplicate topic name.")], "as a broker answers"
    treatment, answer = desk.request(19, version, {"topics": [new_topic("shut")]})
    assert treatment == "answer" and brief(answer["topics"][0]) == ("shut", 29, "nothing allows it")
    assert answer["topics"][0].get("num_partitions", -1) == -1 and answer["topics"][0].get("configs", []) == []


def test_a_created_topics_id_is_learned_whoever_may_see_it() -> None:
    desk = Desk("create topic *")
    desk.request(19, 7, {"topics": [new_topic(name) for name in ("made", "there")]})
    desk.response(19, 7, {"topics": [{**created("made"), "topic_id": b"m" * 16},
                                     {**created("there", error_code=36), "topic_id": b"t" * 16}]})
    assert [desk.addresses.topic_ids.name(one) for one in (b"m" * 16, b"t" * 16)] == ["made", None]


@pytest.mark.parametrize("version", spanning(19))
def test_create_on_the_cluster_covers_topics_but_those_forbidden_or_in_approval(version: int) -> None:
    desk = Desk(f"create {CLUSTER}", forbid=("create topic secret*",), ask=("create topic big*",))
    assert desk.request(19, version, {"topics": [new_topic("any"), new_topic("other")]})[0] == "forward"
    assert desk.denied() == []
    treatment, answer = desk.request(19, version, {"topics": [new_topic("secret.x")]})
    assert treatment == "answer" and brief(answer["topics"][0]) == ("secret.x", 29, "forbidden by a rule")
    assert desk.request(19, version, {"topics": [new_topic("big"), new_topic("any")]}) == ("wait", None)
    wanted = desk.decide("topic", "create", "big", 0)[0].wanted
    desk.opened.answered({wanted: ("R-7", "pending")})
    treatment, sent = desk.request(19, version, {"topics": [new_topic("big"), new_topic("any")]})
    assert treatment == "replace" and [topic["name"] for topic in sent["topics"]] == ["any"]
    _, answer = desk.response(19, version, {"topics": [created("any")]})
    assert brief(answer["topics"][1])[:2] == ("big", 44) and "R-7" in answer["topics"][1]["error_message"]


@pytest.mark.parametrize("version", spanning(19))
def test_internal_topics_are_an_administrators_and_cluster_metadata_nobodys(version: int) -> None:
    everything = (f"create {CLUSTER}", "create topic *")
    for policy, codes in ((everything, [29, 29, 42]), ((*everything, f"alter {CLUSTER}"), [42])):
        desk = Desk(*policy)
        names = ["__consumer_offsets", "__transaction_state", "__cluster_metadata"]
        treatment, out = desk.request(19, version, {"topics": [new_topic(name) for name in names]})
        if len(codes) == 3:
            assert treatment == "answer" and [item["error_code"] for item in out["topics"]] == codes
        else:
            assert treatment == "replace" and [topic["name"] for topic in out["topics"]] == names[:2]
            _, answer = desk.response(19, version, {"topics": []})
            assert [brief(item)[:2] for item in answer["topics"]] == [("__cluster_metadata", 42)]


@pytest.mark.parametrize("version", range(5, 8))
def test_configs_are_shown_only_to_those_who_may_describe_them(version: int) -> None:
    desk = Desk("create topic *", "describe_configs topic seen")
    desk.request(19, version, {"topics": [new_topic("seen"), new_topic("blind"), new_topic("failed")]})
    topics = [created("seen"), created("blind", _tags=[(30, b"new")], topic_id=b"i" * 16),
              created("failed", error_code=36, error_message="exists", num_partitions=-1, configs=[])]
    treatment, answer = desk.response(19, version, {"topics": topics})
    seen, blind, failed = answer["topics"]
    assert treatment == "replace"
    assert (seen["num_partitions"], seen["configs"][0]["value"]) == (3, "5") and "topic_config_error_code" not in seen
    assert (blind["error_code"], blind["topic_config_error_code"]) == (0, 29)
    assert (blind["num_partitions"], blind["replication_factor"], blind["configs"]) == (-1, -1, [])
    assert blind["_tags"] == [(30, b"new")] and blind.get("topic_id", b"i" * 16) == b"i" * 16
    assert brief(failed) == ("failed", 36, "exists") and "topic_config_error_code" not in failed


@pytest.mark.parametrize("version", spanning(19))
def test_a_name_that_collides_does_not_tell_with_which(version: int) -> None:
    desk = Desk("create topic *", "describe_configs topic *")
    desk.request(19, version, {"topics": [new_topic("hidden_x"), new_topic("b")]})
    words = "Topic 'hidden_x' collides with existing topic: hidden.x"
    refused = created("hidden_x", error_code=17, error_message=words)
    _, answer = desk.response(19, version, {"topics": [refused, created("b", error_code=37, error_message="words")]})
    assert [brief(item) for item in answer["topics"]] == [
        ("hidden_x", 17, "The name is not valid, or collides with another topic's."), ("b", 37, "words")]


@pytest.mark.parametrize("version", spanning(22))
def test_init_producer_id(version: int) -> None:
    transactional = {"transactional_id": "t", "transaction_timeout_ms": 5}
    plain = {"transactional_id": None, "transaction_timeout_ms": 5}
    refused = {"producer_id": -1, "producer_epoch": -1, "throttle_time_ms": 0}
    assert Desk("write transactional_id t").request(22, version, transactional)[0] == "forward"
    desk = Desk("write topic a", f"idempotent_write {CLUSTER}")
    assert desk.request(22, version, transactional) == ("answer", {**refused, "error_code": 53})
    assert desk.denied() == [("write", "transactional_id", "t")]
    assert Desk("write topic a").request(22, version, plain)[0] == "forward", "any topic will do"
    assert Desk(f"idempotent_write {CLUSTER}").request(22, version, plain)[0] == "forward"
    assert Desk("read topic a").request(22, version, plain) == ("answer", {**refused, "error_code": 31})
    assert Desk(ask=("write topic a",)).request(22, version, plain)[0] == "forward", "the write itself will ask"


def test_init_producer_id_keeps_epochs_and_unknown_tags() -> None:
    desk = Desk("write topic a")
    desk.request(22, 5, {"transactional_id": None, "producer_id": 9, "producer_epoch": 3})
    assert desk.response(22, 5, {"producer_id": 9, "producer_epoch": 4, "_tags": [(77, b"x")]})[0] == "forward"


def test_creating_in_observe_mode_is_told_only_where_policy_would_refuse() -> None:
    covered = Desk(f"create {CLUSTER}", observe=True)
    assert covered.request(19, 7, {"topics": [new_topic("a")]})[0] == "forward" and covered.denied() == []
    desk = Desk(observe=True)
    assert desk.request(19, 7, {"topics": [new_topic("a")]})[0] == "forward"
    assert desk.denied() == [("create", "topic", "a")]
