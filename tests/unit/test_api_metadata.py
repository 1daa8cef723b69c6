"""Row 3 of the protocol table, versions 0 to 13: hidden topics, brokers' addresses, creation, authorized operations."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.desk import Desk, spanning

CLUSTER = "cluster kafka-cluster"
NOT_ASKED = -(2**31)
EVERY = spanning(3)


def ask_for(*names: str, create: bool = False, **more: Any) -> dict[str, Any]:
    return {"topics": [{"name": name} for name in names], "allow_auto_topic_creation": create, **more}


def topic(name: str, **values: Any) -> dict[str, Any]:
    partition = {"error_code": 0, "partition_index": 0, "leader_id": 1, "replica_nodes": [1, 2], "isr_nodes": [1]}
    return {"name": name, "error_code": 0, "topic_id": name.encode()[:16].ljust(16, b"."), "partitions": [partition],
            **values}


def answer_with(*topics: dict[str, Any], brokers: tuple[int, ...] = (1, 2), **more: Any) -> dict[str, Any]:
    return {"brokers": [{"node_id": node, "host": f"broker-{node}", "port": 9092, "rack": "r"} for node in brokers],
            "cluster_id": "c", "controller_id": 1, "topics": list(topics), **more}


def seen(answer: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(one["name"], one["error_code"], len(one["partitions"])) for one in answer["topics"]]


@pytest.mark.parametrize("version", EVERY)
def test_named_topics(version: int) -> None:
    desk = Desk("describe topic open*", "create topic *")
    treatment, sent = desk.request(3, version, ask_for("shut", "open1", "open2", "shut"))
    assert treatment == "replace" and [one["name"] for one in sent["topics"]] == ["open1", "open2"]
    assert desk.denied() == [("describe", "topic", "shut")] * 2
    _, answer = desk.response(3, version, answer_with(topic("open1"), topic("open2", error_code=31000)))
    assert seen(answer) == [("open1", 0, 1), ("open2", 31000, 1), ("shut", 29, 0), ("shut", 29, 0)]
    refused = answer["topics"][2]
    assert refused.get("is_internal", False) is False and refused.get("topic_id", bytes(16)) == bytes(16)
    assert refused.get("topic_authorized_operations", NOT_ASKED) == NOT_ASKED
    assert answer["topics"][0]["partitions"][0]["replica_nodes"] == [1, 2]


@pytest.mark.parametrize("version", EVERY)
def test_all_named_topics_refused_still_learns_the_brokers(version: int) -> None:
    """In version 0 an empty list would ask for all topics, and they must not come back."""
    desk = Desk()
    treatment, sent = desk.request(3, version, ask_for("shut"))
    assert treatment == "replace" and sent["topics"] == []
    everything = answer_with(topic("a"), topic("shut")) if version == 0 else answer_with()
    _, answer = desk.response(3, version, everything)
    assert seen(answer) == [("shut", 29, 0)]
    assert [one["host"] for one in answer["brokers"]] == ["proxy", "proxy"]


@pytest.mark.parametrize("version", EVERY)
def test_all_topics_are_those_the_client_may_describe(version: int) -> None:
    desk = Desk("describe topic open*", "describe topic __consumer_offsets")
    values = {"topics": None if version else [], "allow_auto_topic_creation": True}
    assert desk.request(3, version, values)[0] == "forward"
    names = ("shut", "open1", "__consumer_offsets", "open2")
    treatment, answer = desk.response(3, version, answer_with(*(topic(name) for name in names)))
    assert treatment == "replace" and seen(answer) == [("open1", 0, 1), ("open2", 0, 1)]
    assert desk.denied() == [], "a hidden name is not a refusal"


@pytest.mark.parametrize("version", EVERY)
def test_addresses_are_this_listeners_and_unknown_brokers_are_not_shown(version: int) -> None:
    desk = Desk("describe topic *", f"create {CLUSTER}")
    desk.request(3, version, ask_for("a"))
    treatment, answer = desk.response(3, version, answer_with(topic("a"), brokers=(3, 9, 1)))
    assert treatment == "replace"
    assert [(one["node_id"], one["host"], one["port"]) for one in answer["brokers"]] == [
        (3, "proxy", 9003), (1, "proxy", 9001)]
    assert all(one.get("rack", "r") == "r" for one in answer["brokers"])
    assert desk.addresses.learned[9] == ("broker-9", 9092)
    assert answer.get("cluster_id", "c") == "c" and answer.get("controller_id", 1) == 1


@pytest.mark.parametrize("version", range(4, 12))
def test_nothing_is_created_without_the_right(version: int) -> None:
    """T26. From v4 the flag says it, and it is taken back unless every topic named may be created."""
    for policy, kept in ((("create topic a",), False), (("create topic *",), True), ((f"create {CLUSTER}",), True),
                         ((), False)):
        desk = Desk("describe topic *", *policy)
        treatment, sent = desk.request(3, version, ask_for("a", "b", create=True))
        assert sent["allow_auto_topic_creation"] is kept, policy
        assert treatment == ("forward" if kept else "replace")
        assert [one["name"] for one in sent["topics"]] == ["a", "b"], "existing topics are still described"
        assert desk.denied() == []
    assert Desk("describe topic *").request(3, version, ask_for("a"))[0] == "forward"


@pytest.mark.parametrize("version", range(4))
def test_nothing_is_created_without_the_right_where_no_flag_says_so(version: int) -> None:
    """T26."""
    desk = Desk("describe topic open*", "create topic open1")
    treatment, sent = desk.request(3, version, ask_for("open1", "shut", "open2", "open3"))
    assert treatment == "replace" and sent["topics"] == ([] if version == 0 else None), "all topics: creates nothing"
    names = ("other", "open3", "open1", "open9", "shut")
    _, answer = desk.response(3, version, answer_with(*(topic(name) for name in names)))
    assert sorted(seen(answer)) == [("open1", 0, 1), ("open2", 3, 0), ("open3", 0, 1), ("shut", 29, 0)]
    may = Desk("describe topic *", f"create {CLUSTER}")
    assert may.request(3, version, ask_for("a"))[0] == "forward"


@pytest.mark.parametrize("version", range(1, 12))
def test_no_topics_at_all_is_not_all_topics(version: int) -> None:
    desk = Desk("describe topic *")
    assert desk.request(3, version, {"topics": [], "allow_auto_topic_creation": False})[0] == "forward"
    assert seen(desk.response(3, version, answer_with())[1]) == []


@pytest.mark.parametrize("version", range(8, 12))
def test_authorized_operations_are_policys_not_the_upstream_accounts(version: int) -> None:
    desk = Desk("describe topic *", "read topic a", "write topic a", "describe_configs topic b",
                f"describe {CLUSTER}", f"create {CLUSTER}")
    desk.request(3, version, ask_for("a", "b", include_topic_authorized_operations=True))
    upstream = {"topic_authorized_operations": 0xFFF}
    values = answer_with(topic("a", **upstream), topic("b", **upstream), topic("c"))
    values["cluster_authorized_operations"] = 0xFFF
    _, answer = desk.response(3, version, values)
    bits = [one["topic_authorized_operations"] for one in answer["topics"]]
    assert bits == [1 << 3 | 1 << 4 | 1 << 8, 1 << 8 | 1 << 10, NOT_ASKED]
    assert answer.get("cluster_authorized_operations", 1 << 5 | 1 << 8) == 1 << 5 | 1 << 8
    _, answer = Desk("describe topic *").response_after(3, version, ask_for("a"), values)
    assert answer.get("cluster_authorized_operations", 0) == 0, "asked but not permitted"


@pytest.mark.parametrize("version", (10, 11))
def test_ids_have_no_right_use_before_v12(version: int) -> None:
    """A broker that took the id would answer for a topic nobody authorised."""
    desk = Desk("describe topic *", f"create {CLUSTER}")
    for item in ({"name": "a", "topic_id": b"x" * 16}, {"name": None}, {"name": None, "topic_id": b"x" * 16}):
        treatment, answer = desk.request(3, version, {"topics": [item, {"name": "b"}]})
        assert treatment == "answer"
        assert seen(answer) == [(item["name"] or "", 42, 0), ("b", 42, 0)] and answer["brokers"] == []


def test_a_policy_that_changed_meanwhile_refuses_named_topics_and_hides_others() -> None:
    desk = Desk("describe topic *", f"create {CLUSTER}")
    desk.request(3, 9, ask_for("a", "b"))
    desk.allow = ["describe topic b"]
    desk.opened.forget_decisions()
    _, answer = desk.response(3, 9, answer_with(topic("a"), topic("b")))
    assert sorted(seen(answer)) == [("a", 29, 0), ("b", 0, 1)]
    old = Desk("describe topic *")
    old.request(3, 1, ask_for("a", "b"))
    old.allow = ["describe topic b"]
    old.opened.forget_decisions()
    _, answer = old.response(3, 1, answer_with(topic("a"), topic("b"), topic("c")))
    assert sorted(seen(answer)) == [("a", 29, 0), ("b", 0, 1)]


def test_unknown_tags_survive_everywhere() -> None:
    desk = Desk("describe topic open", f"create {CLUSTER}")
    treatment, sent = desk.request(3, 9, {"topics": [{"name": "open", "_tags": [(5, b"x")]}, {"name": "shut"}],
                                          "allow_auto_topic_creation": True, "_tags": [(6, b"y")]})
    assert treatment == "replace"
    assert sent["topics"] == [{"name": "open", "_tags": [(5, b"x")]}] and sent["_tags"] == [(6, b"y")]
    values = answer_with(topic("open", _tags=[(7, b"z")]), _tags=[(8, b"w")])
    values["brokers"][0]["_tags"] = [(9, b"v")]
    _, answer = desk.response(3, 9, values)
    assert answer["topics"][0]["_tags"] == [(7, b"z")] and answer["_tags"] == [(8, b"w")]
    assert answer["brokers"][0]["_tags"] == [(9, b"v")]


def test_a_hidden_name_is_in_no_byte_of_any_answer() -> None:
    desk = Desk("describe topic open", "read group g", "describe group g")
    hidden = [topic("hidden-one"), topic("open"), topic("hidden-two")]
    for version in EVERY:
        desk.request(3, version, {"topics": None if version else [], "allow_auto_topic_creation": True})
        _, answer = desk.response(3, version, answer_with(*hidden))
        assert "hidden" not in repr(answer) and seen(answer) == [("open", 0, 1)]


def test_internal_topics_are_shown_to_administrators() -> None:
    values = {"topics": None, "allow_auto_topic_creation": False}
    for policy, names in ((("describe topic *",), ["a"]), (("describe topic *", f"alter {CLUSTER}"),
                                                           ["__consumer_offsets", "a"])):
        desk = Desk(*policy)
        desk.request(3, 9, values)
        _, answer = desk.response(3, 9, answer_with(topic("__consumer_offsets"), topic("a")))
        assert [one["name"] for one in answer["topics"]] == names


# -- topics by id ------------------------------------------------------------------------------------------------------

OPEN, SHUT, GONE = b"o" * 16, b"s" * 16, b"g" * 16


def by_id(*ids: bytes, **more: Any) -> dict[str, Any]:
    return {"topics": [{"topic_id": one, "name": None} for one in ids], "allow_auto_topic_creation": False, **more}


def with_ids(answer: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(one["name"], one["topic_id"], one["error_code"], len(one["partitions"])) for one in answer["topics"]]


@pytest.mark.parametrize("version", (12, 13))
def test_t30_topics_by_id_denied_without_a_name_unknown_100(version: int) -> None:
    desk = Desk("describe topic open")
    desk.teach(open=OPEN, shut=SHUT)
    assert desk.request(3, version, by_id(OPEN, SHUT, GONE)) == ("wait", None) and desk.opened.unknown == [GONE]
    desk.opened.looked_up()
    treatment, sent = desk.request(3, version, by_id(OPEN, SHUT, GONE))
    assert treatment == "replace" and [one["topic_id"] for one in sent["topics"]] == [OPEN]
    assert desk.denied() == [("describe", "topic", "shut")]
    _, answer = desk.response(3, version, answer_with(topic("open", topic_id=OPEN)))
    assert with_ids(answer) == [("open", OPEN, 0, 1), (None, SHUT, 29, 0), (None, GONE, 100, 0)]


@pytest.mark.parametrize("version", (12, 13))
def test_a_name_beside_an_id_is_not_looked_at(version: int) -> None:
    desk = Desk("describe topic open")
    desk.teach(open=OPEN, shut=SHUT)
    asked = {"topics": [{"topic_id": SHUT, "name": "open"}, {"topic_id": OPEN, "name": "shut"},
                        {"topic_id": bytes(16), "name": "shut"}], "allow_auto_topic_creation": True}
    treatment, sent = desk.request(3, version, asked)
    assert treatment == "replace" and sent["topics"] == [{"topic_id": OPEN, "name": None}], "nor does a broker get it"
    assert sent["allow_auto_topic_creation"] is False
    both = [{"topic_id": OPEN, "name": name} for name in ("open", None, "shut")]
    treatment, again = desk.request(3, version, {"topics": both, "allow_auto_topic_creation": False})
    assert treatment == "replace" and again["topics"] == [{"topic_id": OPEN, "name": None}] * 3
    assert desk.request(3, version, asked)[0] == "replace"
    _, answer = desk.response(3, version, answer_with(topic("open", topic_id=OPEN)))
    assert with_ids(answer) == [("open", OPEN, 0, 1), (None, SHUT, 29, 0), ("shut", bytes(16), 29, 0)]


@pytest.mark.parametrize("version", (12, 13))
def test_a_topic_deleted_meanwhile_is_unknown_and_its_name_forgotten(version: int) -> None:
    desk = Desk("describe topic open")
    desk.teach(open=OPEN)
    assert desk.request(3, version, by_id(OPEN))[0] == "forward"
    _, answer = desk.response(3, version, answer_with({**topic("", topic_id=OPEN, error_code=100), "name": None}))
    assert with_ids(answer) == [(None, OPEN, 100, 0)]
    assert desk.addresses.topic_ids.name(OPEN) is None


@pytest.mark.parametrize("version", (12, 13))
def test_access_that_ended_meanwhile_does_not_tell_the_name_of_an_id(version: int) -> None:
    desk = Desk("describe topic open")
    desk.teach(open=OPEN)
    desk.request(3, version, by_id(OPEN))
    desk.allow.clear()
    desk.opened.forget_decisions()
    _, answer = desk.response(3, version, answer_with(topic("open", topic_id=OPEN)))
    assert with_ids(answer) == [(None, OPEN, 29, 0)]


@pytest.mark.parametrize("version", range(10, 14))
def test_every_answer_teaches_names_before_anything_is_hidden(version: int) -> None:
    desk = Desk("describe topic open")
    desk.request(3, version, {"topics": None})
    _, answer = desk.response(3, version, answer_with(topic("open", topic_id=OPEN), topic("shut", topic_id=SHUT)))
    assert [one["name"] for one in answer["topics"]] == ["open"]
    assert [desk.addresses.topic_ids.name(one) for one in (OPEN, SHUT)] == ["open", "shut"]


@pytest.mark.parametrize("version", (12, 13))
def test_neither_name_nor_id_is_42(version: int) -> None:
    desk = Desk("describe topic open")
    treatment, answer = desk.request(3, version, {"topics": [{"topic_id": bytes(16), "name": None}]})
    assert treatment == "answer" and [one["error_code"] for one in answer["topics"]] == [42]
