"""Rows 35, 43, 45, 46, 48, 49, 55 and 74 of the protocol table, every served version."""

from __future__ import annotations

from typing import Any

import pytest

from kproxy._ext import schema
from tests.support.desk import Desk, spanning

CLUSTER = "cluster kafka-cluster"
SECRET = "10.0.0.9"
#: API -> (what it needs, a request).
ASKED: dict[int, tuple[str, dict[str, Any]]] = {
    35: ("describe", {"topics": [{"topic": "shut", "partitions": [0]}]}),
    43: ("alter", {"election_type": 0, "topic_partitions": [{"topic": "shut", "partitions": [0, 2]}], "timeout_ms": 1}),
    45: ("alter", {"topics": [{"name": "shut", "partitions": [{"partition_index": 4, "replicas": [1]}]}]}),
    46: ("describe", {"topics": [{"name": "shut", "partition_indexes": [0]}]}),
    48: ("describe_configs", {"components": [{"entity_type": "user", "match_type": 0, "match": "x"}], "strict": True}),
    49: ("alter_configs", {"entries": [
        {"entity": [{"entity_type": kind, "entity_name": "x"}], "ops": [{"key": "k", "value": 1.0, "remove": False}]}
        for kind in ("user", "client-id")], "validate_only": False}),
    55: ("describe", {"topics": [{"topic_name": "__cluster_metadata", "partitions": [{"partition_index": 0}]}]}),
    74: ("describe_configs", {}),
}
VERSIONS = [(api, version) for api in ASKED for version in spanning(api)]


def asked(api: int, version: int, **changes: Any) -> dict[str, Any]:
    values = {**ASKED[api][1], **changes}
    known = {field.name for field in schema.fields_of(api, False) if field.at(version)}
    return {name: value for name, value in values.items() if name in known}


@pytest.mark.parametrize(("api", "version"), VERSIONS)
def test_it_takes_one_permission_on_the_cluster(api: int, version: int) -> None:
    operation, _ = ASKED[api]
    allowed = Desk(f"{operation} {CLUSTER}")
    assert allowed.request(api, version, asked(api, version))[0] == "forward" and allowed.denied() == []
    others = {"describe", "alter", "describe_configs", "alter_configs", "create", "cluster_action"} - {operation}
    desk = Desk(*(f"{other} {CLUSTER}" for other in others), "describe topic *", "alter topic *")
    treatment, answer = desk.request(api, version, asked(api, version))
    assert treatment == "answer" and desk.denied() == [(operation, "cluster", "kafka-cluster")]
    whole = {"error_code"} & {field.name for field in schema.fields_of(api, True) if field.at(version)}
    assert all(answer[name] == 31 for name in whole)
    refused = {
        43: lambda: [(topic["topic"], one["partition_id"], one["error_code"])
                     for topic in answer["replica_election_results"] for one in topic["partition_result"]],
        45: lambda: [(topic["name"], one["partition_index"], one["error_code"])
                     for topic in answer["responses"] for one in topic["partitions"]],
        49: lambda: [(one["entity"][0]["entity_type"], one["entity"][0]["entity_name"], one["error_code"])
                     for one in answer["entries"]],
    }
    expected = {43: [("shut", 0, 31), ("shut", 2, 31)], 45: [("shut", 4, 31)],
                49: [("user", "x", 31), ("client-id", "x", 31)]}
    if api in expected:
        assert refused[api]() == expected[api]
    else:
        assert (whole or version < 3) and not any(value for name, value in answer.items() if isinstance(value, list))


@pytest.mark.parametrize("version", spanning(35))
def test_disks_have_numbers_and_hidden_topics_are_not_on_them(version: int) -> None:
    def disk(path: str, *topics: str) -> dict[str, Any]:
        return {"error_code": 0, "log_dir": path, "topics": [{"name": name, "partitions": [
            {"partition_index": 0, "partition_size": 5, "offset_lag": 0, "is_future_key": False}]} for name in topics]}

    desk = Desk(f"describe {CLUSTER}", "describe topic open*", "describe topic __consumer_offsets")
    everything = [disk("/var/lib/kafka", "shut", "open1"), disk("/mnt/2", "__consumer_offsets", "shut", "open2")]
    _, answer = desk.response_after(35, version, {"topics": None}, {"results": everything})
    assert [(one["log_dir"], [topic["name"] for topic in one["topics"]]) for one in answer["results"]] == [
        ("disk-1", ["open1"]), ("disk-2", ["open2"])]
    _, answer = desk.response_after(35, version, {"topics": [{"topic": "shut", "partitions": [0]}]},
                                    {"results": [disk("/var/lib/kafka", "shut")]})
    assert [(one["log_dir"], len(one["topics"])) for one in answer["results"]] == [("disk-1", 1)]


@pytest.mark.parametrize("version", spanning(43))
def test_elections_everywhere_tell_of_topics_that_may_be_described(version: int) -> None:
    desk = Desk(f"alter {CLUSTER}", "describe topic open*")
    results = [{"topic": name, "partition_result": [{"partition_id": 0, "error_code": 0, "error_message": None}]}
               for name in ("shut", "open1")]
    _, answer = desk.response_after(43, version, asked(43, version, topic_partitions=None),
                                    {"replica_election_results": results})
    assert answer["replica_election_results"] == [results[1]]
    assert desk.request(43, version, asked(43, version))[0] == "forward"


@pytest.mark.parametrize("version", spanning(46))
def test_reassignments_everywhere_tell_of_topics_that_may_be_described(version: int) -> None:
    desk = Desk(f"describe {CLUSTER}", "describe topic open*")
    topics = [{"name": name, "partitions": []} for name in ("shut", "open1", "shut2")]
    _, answer = desk.response_after(46, version, {"topics": None}, {"topics": topics})
    assert [topic["name"] for topic in answer["topics"]] == ["open1"]


@pytest.mark.parametrize("version", spanning(55))
def test_controllers_are_shown_without_their_listeners(version: int) -> None:
    """T32."""
    desk = Desk(f"describe {CLUSTER}")
    nodes = {"nodes": [{"node_id": number, "listeners": [
        {"name": "CONTROLLER", "host": SECRET, "port": 9093}, {"name": "C2", "host": SECRET, "port": 40000}]}
        for number in (1, 2)]} if version >= 2 else {}
    voters = [{"replica_id": 1, "log_end_offset": 7}]
    quorum = {"topics": [{"topic_name": "__cluster_metadata", "partitions": [
        {"partition_index": 0, "leader_id": 1, "leader_epoch": 3, "high_watermark": 7, "current_voters": voters,
         "observers": []}]}], **nodes}
    treatment, answer = desk.response_after(55, version, ASKED[55][1], quorum)
    assert answer["topics"][0]["partitions"][0]["current_voters"][0]["replica_id"] == 1
    assert SECRET not in repr(answer) and treatment == ("replace" if version >= 2 else "forward")
    if version >= 2:
        assert answer["nodes"] == [{"node_id": 1, "listeners": []}, {"node_id": 2, "listeners": []}]


@pytest.mark.parametrize("version", spanning(74))
def test_names_of_configs_are_listed_that_may_be_described(version: int) -> None:
    desk = Desk(f"describe_configs {CLUSTER}", "describe topic open*", "describe group open*")
    kinds = ((2, "shut"), (2, "open1"), (32, "shut"), (32, "open1"), (4, "1"), (16, "m")) if version else ((16, "m"),)
    listed = [{"resource_name": name, **({"resource_type": kind} if version else {})} for kind, name in kinds]
    _, answer = desk.response_after(74, version, {}, {"config_resources": listed})
    kept = [one["resource_name"] for one in answer["config_resources"]]
    assert kept == (["open1", "open1", "1", "m"] if version else ["m"])


#: API -> (the array of topics, what an item calls its topic, an item of two partitions).
NAMED: dict[int, tuple[str, str, Any]] = {
    35: ("topics", "topic", {"partitions": [0, 2]}),
    43: ("topic_partitions", "topic", {"partitions": [0, 2]}),
    45: ("topics", "name", {"partitions": [{"partition_index": at, "replicas": [1]} for at in (0, 2)]}),
    46: ("topics", "name", {"partition_indexes": [0, 2]}),
    55: ("topics", "topic_name", {"partitions": [{"partition_index": at} for at in (0, 2)]}),
}
#: API -> where its answer has codes: (the topics, what they are called, their partitions, what those are called).
CODED = {43: ("replica_election_results", "topic", "partition_result", "partition_id"),
         45: ("responses", "name", "partitions", "partition_index"),
         55: ("topics", "topic_name", "partitions", "partition_index")}
BY_NAME = [(api, version) for api in NAMED for version in spanning(api)]


def naming(api: int, version: int, *names: str) -> dict[str, Any]:
    array, called, item = NAMED[api]
    return asked(api, version, **{array: [{called: name, **item} for name in names]})


def names_of(api: int, sent: dict[str, Any]) -> list[str]:
    return [one[NAMED[api][1]] for one in sent[NAMED[api][0]]]


def coded(api: int, *topics: tuple[str, int]) -> dict[str, Any]:
    """The broker's answer."""
    array, called, partitions, index = CODED[api]
    return {array: [{called: name, partitions: [{index: at, "error_code": code} for at in (0, 2)]}
                    for name, code in topics]}


def codes_of(api: int, answer: dict[str, Any]) -> dict[str, dict[int, int]]:
    array, called, partitions, index = CODED[api]
    assert answer.get("error_code", 0) == 0
    return {topic[called]: {one[index]: one["error_code"] for one in topic[partitions]} for topic in answer[array]}


@pytest.mark.parametrize(("api", "version"), BY_NAME)
@pytest.mark.parametrize("rule", ["forbid", "ask"])
def test_a_rule_that_speaks_of_the_topic_comes_before_the_clusters_permission(
        api: int, version: int, rule: str) -> None:
    operation, _ = ASKED[api]
    speaks: Any = {rule: (f"{operation} topic shut",)}
    desk = Desk(f"{operation} {CLUSTER}", **speaks)
    if rule == "ask":
        assert desk.request(api, version, naming(api, version, "a", "shut", "b"))[0] == "wait"
        desk.opened.answered({verdict.wanted: ("R-1", "pending") for *_, verdict in desk.opened.denials})
    treatment, sent = desk.request(api, version, naming(api, version, "a", "shut", "b"))
    assert treatment == "replace" and names_of(api, sent) == ["a", "b"]
    assert desk.denied() == [(operation, "topic", "shut")]
    if api in CODED:
        _, answer = desk.response(api, version, coded(api, ("a", 0), ("b", 7)))
        assert codes_of(api, answer) == {"a": {0: 0, 2: 0}, "b": {0: 7, 2: 7}, "shut": {0: 29, 2: 29}}
    treatment, sent = desk.request(api, version, naming(api, version, "shut", "shut"))
    if api in CODED:
        assert treatment == "answer" and codes_of(api, sent) == {"shut": {0: 29, 2: 29}}
    else:
        assert treatment == "replace" and names_of(api, sent) == [], "empty, not null: nothing is asked about"


@pytest.mark.parametrize(("api", "version"), BY_NAME)
def test_a_rule_on_another_operation_says_nothing_of_it(api: int, version: int) -> None:
    operation, _ = ASKED[api]
    desk = Desk(f"{operation} {CLUSTER}", "write topic shut", forbid=("read topic shut", "delete topic shut"))
    assert desk.request(api, version, naming(api, version, "a", "shut"))[0] == "forward" and desk.denied() == []


@pytest.mark.parametrize(("api", "version"), BY_NAME)
def test_a_listener_that_observes_tells_of_it_only(api: int, version: int) -> None:
    operation, _ = ASKED[api]
    desk = Desk(f"{operation} {CLUSTER}", forbid=(f"{operation} topic shut",), observe=True)
    assert desk.request(api, version, naming(api, version, "a", "shut"))[0] == "forward"
    assert desk.denied() == [(operation, "topic", "shut")]


@pytest.mark.parametrize("version", spanning(43))
def test_a_brokers_error_for_the_whole_election_is_passed_on_alone(version: int) -> None:
    desk = Desk(f"alter {CLUSTER}", forbid=("alter topic shut",))
    desk.request(43, version, naming(43, version, "a", "shut"))
    if version >= 1:
        _, answer = desk.response(43, version, {"error_code": 41, "replica_election_results": []})
        assert (answer["error_code"], answer["replica_election_results"]) == (41, [])


def test_a_refusal_that_would_name_too_much_closes() -> None:
    topics = [{"name": "x" * 200, "partitions": [{"partition_index": 0, "replicas": None}]} for _ in range(6000)]
    desk = Desk()
    assert desk.request(45, 0, {"topics": topics}) == ("close", None)
    assert desk.opened.cause == "malformed_request"
