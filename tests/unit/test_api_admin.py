"""Rows 20, 21, 32, 33, 37, 44 and 60 of the protocol table, every served version."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.desk import Desk, spanning

CLUSTER = "cluster kafka-cluster"
TOPIC, BROKER, GROUP = 2, 4, 32
INT_MIN = -2**31
NOBODY = "nothing allows it"


def codes(items: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(item.get("name") or item["resource_name"], item["error_code"]) for item in items]


# ---- DeleteTopics and CreatePartitions: names in, one item with a code and a text for each

#: API -> (what is needed, the request for some names, the answer's array).
NAMED = {
    20: (("delete topic", "describe topic"), lambda names: {
        "topic_names": names, "topics": [{"name": name} for name in names], "timeout_ms": 9}, "responses"),
    37: (("alter topic",), lambda names: {"topics": [
        {"name": name, "count": 6, "assignments": None} for name in names], "timeout_ms": 9,
        "validate_only": True}, "results"),
}
NAMED_VERSIONS = [(api, version) for api in NAMED for version in spanning(api)]


def desk_for(api: int, pattern: str, **more: Any) -> Desk:
    return Desk(*(f"{one} {pattern}" for one in NAMED[api][0]), **more)


def names_of(api: int, sent: dict[str, Any]) -> list[str]:
    return sent["topic_names"] if "topic_names" in sent else [topic["name"] for topic in sent["topics"]]


def has_text(api: int, version: int) -> bool:
    return api != 20 or version >= 5


@pytest.mark.parametrize(("api", "version"), NAMED_VERSIONS)
def test_topics_that_are_not_allowed_are_cut_out_and_answered_after_the_others(api: int, version: int) -> None:
    _, request, answered = NAMED[api]
    desk = desk_for(api, "open*")
    assert desk.request(api, version, request(["open1", "open2"]))[0] == "forward"
    assert desk.response(api, version, {answered: [{"name": "open1", "error_code": 3}]})[0] == "forward"
    treatment, sent = desk.request(api, version, request(["shut1", "open1", "shut2", "open2"]))
    assert treatment == "replace" and names_of(api, sent) == ["open1", "open2"] and sent["timeout_ms"] == 9
    assert {name for _, _, name in desk.denied()} == {"shut1", "shut2"}
    broker = [{"name": "open2", "error_code": 3, "error_message": "gone"}, {"name": "open1", "error_code": 0}]
    _, answer = desk.response(api, version, {answered: broker, "throttle_time_ms": 4})
    assert codes(answer[answered]) == [("open2", 3), ("open1", 0), ("shut1", 29), ("shut2", 29)]
    assert answer["throttle_time_ms"] == 4
    if has_text(api, version):
        assert [item["error_message"] for item in answer[answered]] == ["gone", None, NOBODY, NOBODY]


@pytest.mark.parametrize(("api", "version"), NAMED_VERSIONS)
def test_nothing_goes_to_the_broker_when_nothing_is_allowed(api: int, version: int) -> None:
    _, request, answered = NAMED[api]
    treatment, answer = desk_for(api, "open*").request(api, version, request(["shut", "other"]))
    assert treatment == "answer" and codes(answer[answered]) == [("shut", 29), ("other", 29)]


@pytest.mark.parametrize(("api", "version"), NAMED_VERSIONS)
def test_a_topic_named_twice_is_refused_once_whoever_may_touch_it(api: int, version: int) -> None:
    """As a broker does, before it looks at permissions: the answer is no different for a topic that is hidden."""
    _, request, answered = NAMED[api]
    desk = desk_for(api, "open*", ask=tuple(f"{one} ask" for one in NAMED[api][0][:1]))
    treatment, sent = desk.request(api, version, request(["open1", "shut", "ask", "open2", "open1", "shut", "shut",
                                                          "ask"]))
    assert treatment == "replace" and names_of(api, sent) == ["open2"] and desk.denied() == []
    _, answer = desk.response(api, version, {answered: [{"name": "open2", "error_code": 0}]})
    assert codes(answer[answered]) == [("open2", 0), ("open1", 42), ("shut", 42), ("ask", 42)]
    if has_text(api, version):
        assert {item["error_message"] for item in answer[answered][1:]} == {"Duplicate topic name."}


@pytest.mark.parametrize(("api", "version"), NAMED_VERSIONS)
def test_a_change_that_needs_an_approval_waits_then_is_refused_with_the_request(api: int, version: int) -> None:
    (needed, *_), request, answered = NAMED[api]
    desk = desk_for(api, "open*", ask=(f"{needed} big",))
    desk.allow.append("describe topic big")
    assert desk.request(api, version, request(["big", "open"])) == ("wait", None)
    wanted = desk.decide("topic", needed.split()[0], "big", 0)[0].wanted
    desk.opened.answered({wanted: ("R-7", "pending")})
    treatment, sent = desk.request(api, version, request(["big", "open"]))
    assert treatment == "replace" and names_of(api, sent) == ["open"]
    _, answer = desk.response(api, version, {answered: [{"name": "open", "error_code": 0}]})
    assert codes(answer[answered]) == [("open", 0), ("big", 44)]
    assert not has_text(api, version) or "R-7 is pending" in answer[answered][1]["error_message"]


@pytest.mark.parametrize(("api", "version"), NAMED_VERSIONS)
def test_internal_topics_are_an_administrators(api: int, version: int) -> None:
    _, request, _ = NAMED[api]
    names = ["__consumer_offsets", "__transaction_state", "__share_group_state", "__mine"]
    desk = desk_for(api, "*")
    treatment, sent = desk.request(api, version, request(names))
    assert treatment == "replace" and names_of(api, sent) == ["__mine"]
    assert set(desk.denied()) == {("alter", "cluster", "kafka-cluster")}
    desk.allow.append(f"alter {CLUSTER}")
    desk.opened.forget_decisions()
    assert desk.request(api, version, request(names))[0] == "forward"


@pytest.mark.parametrize(("api", "version"), NAMED_VERSIONS)
def test_observing_refuses_nothing_and_tells_what_it_would(api: int, version: int) -> None:
    needed, request, _ = NAMED[api]
    desk = Desk(observe=True)
    assert desk.request(api, version, request(["a"]))[0] == "forward"
    assert sorted(desk.denied()) == sorted((*one.split(), "a") for one in needed)


@pytest.mark.parametrize("version", spanning(20))
def test_who_may_not_see_a_topic_may_not_delete_it_either(version: int) -> None:
    """DELETE gives DESCRIBE, but a rule may forbid DESCRIBE alone; the broker would say whether the topic is there."""
    desk = Desk("delete topic *", "describe topic *", forbid=("describe topic hidden*",))
    treatment, answer = desk.request(20, version, NAMED[20][1](["hidden1", "hidden2"]))
    assert treatment == "answer" and codes(answer["responses"]) == [("hidden1", 29), ("hidden2", 29)]
    assert desk.denied() == [("describe", "topic", "hidden1"), ("describe", "topic", "hidden2")]


# ---- DeleteRecords

def records(name: str, *partitions: int) -> dict[str, Any]:
    return {"name": name, "partitions": [{"partition_index": at, "offset": 7} for at in partitions]}


def removed(name: str, low: int, error: int, *partitions: int) -> dict[str, Any]:
    return {"name": name, "partitions": [{"partition_index": at, "low_watermark": low, "error_code": error}
                                         for at in partitions]}


@pytest.mark.parametrize("version", spanning(21))
def test_delete_records(version: int) -> None:
    desk = Desk("delete topic open*", "delete topic __consumer_offsets")
    assert desk.request(21, version, {"topics": [records("open", 0, 1)], "timeout_ms": 5})[0] == "forward"
    asked = [records("shut", 0, 3), records("open", 1), records("__consumer_offsets", 0)]
    treatment, sent = desk.request(21, version, {"topics": asked, "timeout_ms": 5})
    assert treatment == "replace" and sent == {"topics": [records("open", 1)], "timeout_ms": 5}
    _, answer = desk.response(21, version, {"topics": [removed("open", 7, 0, 1)]})
    assert answer["topics"] == [removed("open", 7, 0, 1), removed("shut", -1, 29, 0, 3),
                                removed("__consumer_offsets", -1, 29, 0)]
    treatment, answer = desk.request(21, version, {"topics": [records("shut", 0)]})
    assert treatment == "answer" and answer["topics"] == [removed("shut", -1, 29, 0)]


@pytest.mark.parametrize("version", spanning(21))
def test_records_of_a_partition_named_twice_are_answered_once(version: int) -> None:
    treatment, answer = Desk().request(21, version, {"topics": [records("b", 0, 0), records("a", 1),
                                                                records("b", 2, 0)]})
    assert treatment == "answer"
    assert answer["topics"] == [removed("b", -1, 29, 0, 2), removed("a", -1, 29, 1)]


@pytest.mark.parametrize("version", spanning(21))
def test_deleting_records_may_need_an_approval_which_is_told_by_the_code(version: int) -> None:
    desk = Desk(ask=("delete topic a",))
    assert desk.request(21, version, {"topics": [records("a", 0)]}) == ("wait", None)
    desk.opened.answered({desk.decide("topic", "delete", "a", 0)[0].wanted: ("R-7", "pending")})
    treatment, answer = desk.request(21, version, {"topics": [records("a", 0)]})
    assert treatment == "answer" and answer["topics"] == [removed("a", -1, 44, 0)]


# ---- DescribeConfigs and IncrementalAlterConfigs

CONFIGS = {32: ("describe_configs", "results"), 33: ("alter_configs", "responses"), 44: ("alter_configs", "responses")}
CONFIG_VERSIONS = [(api, version) for api in CONFIGS for version in spanning(api)]


def resource(kind: int, name: str) -> dict[str, Any]:
    return {"resource_type": kind, "resource_name": name}


def asking(api: int, *resources: tuple[int, str]) -> dict[str, Any]:
    if api == 32:
        return {"resources": [{**resource(*one), "configuration_keys": None} for one in resources],
                "include_synonyms": True}
    config = {"name": "retention.ms", "value": "5"} | ({"config_operation": 0} if api == 44 else {})
    return {"resources": [{**resource(*one), "configs": [config]} for one in resources], "validate_only": True}


def told(api: int, kind: int, name: str, value: str = "5") -> dict[str, Any]:
    """What a broker says of one resource."""
    item = {**resource(kind, name), "error_code": 0, "error_message": None}
    return item if api != 32 else {**item, "configs": [{"name": "retention.ms", "value": value}]}


def brief(items: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(item["resource_type"], item["resource_name"], item["error_code"], len(item.get("configs", ())))
            for item in items]


@pytest.mark.parametrize(("api", "version"), CONFIG_VERSIONS)
def test_configs_of_topics_and_groups(api: int, version: int) -> None:
    operation, answered = CONFIGS[api]
    desk = Desk(f"{operation} topic open*", f"{operation} group g*", f"{operation} topic __consumer_offsets")
    shown = 1 if api == 32 else 0
    fine = asking(api, (TOPIC, "open1"), (GROUP, "g1"))
    assert desk.request(api, version, fine)[0] == "forward"
    assert desk.response(api, version, {answered: [told(api, TOPIC, "open1"), told(api, GROUP, "g1")]})[0] == "forward"
    mixed = asking(api, (GROUP, "other"), (TOPIC, "shut"), (TOPIC, "open1"), (TOPIC, "g1"), (GROUP, "g1"),
                   (TOPIC, "__consumer_offsets"))
    treatment, sent = desk.request(api, version, mixed)
    assert treatment == "replace" and sent == asking(api, (TOPIC, "open1"), (GROUP, "g1")) | (
        {"include_documentation": False} if api == 32 and version >= 3 else {})
    assert desk.denied() == [(operation, "group", "other"), (operation, "topic", "shut"), (operation, "topic", "g1"),
                             ("alter", "cluster", "kafka-cluster")]
    _, answer = desk.response(api, version, {answered: [told(api, TOPIC, "open1"), told(api, GROUP, "g1")]})
    assert brief(answer[answered]) == [
        (TOPIC, "open1", 0, shown), (GROUP, "g1", 0, shown), (GROUP, "other", 30, 0), (TOPIC, "shut", 29, 0),
        (TOPIC, "g1", 29, 0), (TOPIC, "__consumer_offsets", 29, 0)]
    assert [item["error_message"] for item in answer[answered][2:]] == [NOBODY, NOBODY, NOBODY, "Authorization failed."]


@pytest.mark.parametrize(("api", "version"), CONFIG_VERSIONS)
@pytest.mark.parametrize("observe", [False, True])
def test_configs_of_what_nobody_knows_are_refused(api: int, version: int, observe: bool) -> None:
    """Those of the cluster are in test_api_broker_configs.py."""
    operation, answered = CONFIGS[api]
    desk = Desk(f"{operation} {CLUSTER}", f"{operation} topic *", f"{operation} group *", observe=observe)
    kinds = [(0, "x"), (3, "x"), (-1, "x"), (64, "x")]
    treatment, answer = desk.request(api, version, asking(api, *kinds))
    assert treatment == "answer" and desk.denied() == []
    assert brief(answer[answered]) == [(kind, name, 42, 0) for kind, name in kinds]


@pytest.mark.parametrize(("api", "version"), CONFIG_VERSIONS)
def test_configs_that_need_an_approval(api: int, version: int) -> None:
    operation, answered = CONFIGS[api]
    desk = Desk(f"{operation} topic open", ask=(f"{operation} topic big",))
    request = asking(api, (TOPIC, "big"), (TOPIC, "open"))
    assert desk.request(api, version, request) == ("wait", None)
    desk.opened.answered({desk.decide("topic", operation, "big", 0)[0].wanted: ("R-7", "pending")})
    treatment, sent = desk.request(api, version, request)
    assert treatment == "replace" and [one["resource_name"] for one in sent["resources"]] == ["open"]
    _, answer = desk.response(api, version, {answered: [told(api, TOPIC, "open")]})
    assert brief(answer[answered])[1] == (TOPIC, "big", 44, 0)
    assert "R-7 is pending" in answer[answered][1]["error_message"]


@pytest.mark.parametrize(("api", "version"), [one for one in CONFIG_VERSIONS if one[0] != 32])
def test_a_resource_to_alter_is_named_once(api: int, version: int) -> None:
    """As a broker does: each occurrence is refused, whoever may alter it; a group of the same name is another."""
    desk = Desk("alter_configs topic a", "alter_configs group a")
    treatment, sent = desk.request(api, version, asking(api, (TOPIC, "a"), (GROUP, "a"), (TOPIC, "shut"), (TOPIC, "a"),
                                                        (TOPIC, "shut")))
    assert treatment == "replace" and [one["resource_type"] for one in sent["resources"]] == [GROUP]
    _, answer = desk.response(api, version, {"responses": [told(api, GROUP, "a")]})
    assert brief(answer["responses"]) == [(GROUP, "a", 0, 0), (TOPIC, "a", 42, 0), (TOPIC, "shut", 42, 0),
                                          (TOPIC, "a", 42, 0), (TOPIC, "shut", 42, 0)]
    assert {item["error_message"] for item in answer["responses"][1:]} == {"Each resource must appear at most once."}


@pytest.mark.parametrize("version", spanning(32))
def test_a_resource_to_describe_may_be_named_twice(version: int) -> None:
    desk = Desk("describe_configs topic a")
    assert desk.request(32, version, asking(32, (TOPIC, "a"), (TOPIC, "a")))[0] == "forward"
    treatment, answer = desk.request(32, version, asking(32, (TOPIC, "b"), (TOPIC, "b")))
    assert treatment == "answer" and brief(answer["results"]) == [(TOPIC, "b", 29, 0)] * 2


@pytest.mark.parametrize("version", spanning(32))
def test_an_answer_shows_no_configs_that_are_not_allowed_by_then(version: int) -> None:
    """The policy changed while the broker answered, or the broker told of what nobody asked for."""
    desk = Desk("describe_configs topic *", "describe_configs group *", f"describe_configs {CLUSTER}")
    assert desk.request(32, version, asking(32, (TOPIC, "a"), (TOPIC, "b"), (GROUP, "g")))[0] == "forward"
    desk.allow[:] = ["describe_configs topic a"]
    desk.opened.forget_decisions()
    treatment, answer = desk.response(32, version, {"results": [
        told(32, kind, name, "secret") for kind, name in
        ((TOPIC, "b"), (TOPIC, "a"), (GROUP, "g"), (BROKER, "1"), (77, "?"), (TOPIC, "__consumer_offsets"))]})
    assert treatment == "replace"
    assert brief(answer["results"]) == [(TOPIC, "b", 29, 0), (TOPIC, "a", 0, 1), (GROUP, "g", 30, 0),
                                        (BROKER, "1", 31, 0), (77, "?", 31, 0), (TOPIC, "__consumer_offsets", 29, 0)]


@pytest.mark.parametrize(("api", "version"), CONFIG_VERSIONS)
def test_unknown_tags_and_errors_of_configs_stay(api: int, version: int) -> None:
    operation, answered = CONFIGS[api]
    desk = Desk(f"{operation} topic open")
    desk.request(api, version, asking(api, (TOPIC, "open"), (TOPIC, "shut")))
    item = {**told(api, TOPIC, "open"), "error_code": 31001, "error_message": "new"}
    flexible = {32: 4, 33: 2, 44: 1}[api]
    if version >= flexible:
        item["_tags"] = [(44, b"later")]
    _, answer = desk.response(api, version, {answered: [item]})
    kept, refused = answer[answered]
    assert (kept["error_code"], kept["error_message"], kept.get("_tags", [])) == (31001, "new", item.get("_tags", []))
    assert refused["error_code"] == 29


# ---- DescribeCluster

def a_broker(number: int, host: str = "10.9.8.7", port: int = 9092) -> dict[str, Any]:
    return {"broker_id": number, "host": host, "port": port, "rack": "r1"}


@pytest.mark.parametrize("version", spanning(60))
@pytest.mark.parametrize("asks", [False, True])
def test_describe_cluster(version: int, asks: bool) -> None:
    desk = Desk(f"describe {CLUSTER}", f"create {CLUSTER}")
    assert desk.request(60, version, {"include_cluster_authorized_operations": asks})[0] == "forward"
    _, answer = desk.response(60, version, {
        "cluster_id": "c-1", "controller_id": 2, "brokers": [a_broker(2), a_broker(9), a_broker(1, "other", 9)],
        "cluster_authorized_operations": 0x1FFF if asks else INT_MIN})
    assert [(one["broker_id"], one["host"], one["port"], one["rack"]) for one in answer["brokers"]] \
        == [(2, "proxy", 9002, "r1"), (1, "proxy", 9001, "r1")], "broker 9 has no address on this listener"
    assert (answer["cluster_id"], answer["controller_id"], answer["error_code"]) == ("c-1", 2, 0)
    assert answer["cluster_authorized_operations"] == (1 << 8 | 1 << 5 if asks else INT_MIN)
    assert desk.addresses.learned == {1: ("other", 9), 2: ("10.9.8.7", 9092), 9: ("10.9.8.7", 9092)}


@pytest.mark.parametrize("version", spanning(60))
def test_operations_on_the_cluster_are_shown_to_who_may_describe_it(version: int) -> None:
    desk = Desk(f"create {CLUSTER}", f"alter {CLUSTER}")
    _, answer = desk.response_after(60, version, {"include_cluster_authorized_operations": True},
                                    {"brokers": [], "cluster_authorized_operations": 0x1FFF})
    assert answer["cluster_authorized_operations"] == 0


@pytest.mark.parametrize("version", range(1, 3))
@pytest.mark.parametrize(("endpoint", "code"), [(2, 114), (0, 115), (3, 115), (-1, 115)])
def test_controllers_are_not_described(version: int, endpoint: int, code: int) -> None:
    desk = Desk(f"describe {CLUSTER}")
    assert desk.request(60, version, {"endpoint_type": 1})[0] == "forward"
    treatment, answer = desk.request(60, version, {"endpoint_type": endpoint})
    assert treatment == "answer" and answer["error_code"] == code and answer["error_message"].endswith(".")
    assert (answer["brokers"], answer["cluster_id"], answer["controller_id"]) == ([], "", -1)


@pytest.mark.parametrize("version", spanning(60))
def test_a_refusal_of_the_broker_loses_its_words(version: int) -> None:
    """They may name addresses; the code says enough."""
    _, answer = Desk().response_after(60, version, {}, {
        "error_code": 41, "error_message": "ask 10.0.0.1:9093", "brokers": [a_broker(1)]})
    assert (answer["error_code"], answer["error_message"], answer["brokers"]) == (41, None, [])
