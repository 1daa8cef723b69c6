"""Safeguards on requests of administrators: what breaks which limit, how it is mended, and each API's answer."""

from __future__ import annotations

from typing import Any

import pytest

from kproxy._ext.topic_limits import judge
from kproxy.model.policy import SafeguardInForce
from tests.support.desk import Desk, spanning
from tests.support.safeguards import GuardedDesk, read_safeguards

CREATE, DELETE, DELETE_RECORDS, ALTER, PARTITIONS, INCREMENTAL = 19, 20, 21, 33, 37, 44
SET, RESET, APPEND, SUBTRACT = range(4)
METADATA, TOPIC = 3, 2


def judged(limits: str, api: int, values: dict[str, Any], action: str = "refuse") -> list[tuple[str, str]]:
    """(what is done, why) under one safeguard; ``values`` are left as the broker would get them."""
    [rule] = read_safeguards(f"{{name: r, topics: ['*'], action: {action}, admin: {{{limits}}}}}")
    told, texts, changed = judge((SafeguardInForce(rule),), api, values)
    assert bool(texts) == any(did == "refuse" for _, did, _ in told)
    assert changed == any(did == "override" for _, did, _ in told)
    return [(did, why) for _, did, why in told]


def topic(partitions: int = 3, replicas: int = 3, assigned: list[list[int]] | None = None,
          **configs: str | None) -> dict[str, Any]:
    return {"name": "t", "num_partitions": partitions, "replication_factor": replicas,
            "assignments": [{"partition_index": at, "broker_ids": ids} for at, ids in enumerate(assigned or [])],
            "configs": [{"name": name.replace("_", "."), "value": value} for name, value in configs.items()]}


def altered(*changes: tuple[str, int, str | None]) -> dict[str, Any]:
    return {"resource_type": 2, "resource_name": "t", "configs": [
        {"name": name, "config_operation": does, "value": value} for name, does, value in changes]}


@pytest.mark.parametrize(("partitions", "why", "mended"), [
    (3, "", 3), (5, "", 5), (2, "partitions: 2 is asked for, 3 to 5 is required", 3),
    (6, "partitions: 6 is asked for, 3 to 5 is required", 5),
    (-1, "partitions: the default is asked for, 3 to 5 is required", 3),
    (0, "partitions: 0 is asked for, 3 to 5 is required", 3),
    (-7, "partitions: -7 is asked for, 3 to 5 is required", 3),
])
def test_partitions(partitions: int, why: str, mended: int) -> None:
    for api, field in ((CREATE, "num_partitions"), (PARTITIONS, "count")):
        values = topic(partitions) if api == CREATE else {"name": "t", "count": partitions, "assignments": None}
        limits = "partitions: {min: 3, max: 5}"
        assert judged(limits, api, values) == ([("refuse", why)] if why else [])
        assert values[field] == partitions
        assert judged(limits, api, values, "override") == ([("override", why)] if why else [])
        assert values[field] == mended


def test_bounds_with_one_end() -> None:
    assert judged("partitions: {min: 3}", CREATE, topic(10**6)) == []
    assert judged("partitions: {max: 3}", CREATE, topic(4)) == [
        ("refuse", "partitions: 4 is asked for, at most 3 is required")]
    values = topic(-1, -1)
    judged("partitions: {max: 7}, replication_factor: {min: 2}", CREATE, values, "override")
    assert (values["num_partitions"], values["replication_factor"]) == (7, 2)


def test_replicas() -> None:
    limits = "replication_factor: {min: 2, max: 3}"
    assert judged(limits, CREATE, topic(1, 2)) == judged(limits, CREATE, topic(1, 3)) == []
    for replicas in (1, 4, -1):
        [(did, why)] = judged(limits, CREATE, topic(1, replicas))
        assert did == "refuse" and why.startswith("replication factor: ")


@pytest.mark.parametrize("action", ["refuse", "override"])
def test_an_assignment_is_counted_and_never_changed(action: str) -> None:
    limits = "partitions: {min: 2}, replication_factor: {min: 2}"
    assert judged(limits, CREATE, topic(-1, -1, [[1, 2], [2, 3]]), action) == []
    [(did, why)] = judged(limits, CREATE, topic(-1, -1, [[1, 2]]), action)
    assert (did, why) == ("refuse", "partitions: 1 are assigned, at least 2 is required")
    [(did, why)] = judged(limits, CREATE, topic(-1, -1, [[1, 2], [3]]), action)
    assert (did, why) == ("refuse", "replication factor: 1 brokers are assigned, at least 2 is required")
    values: dict[str, Any] = {"name": "t", "count": 1, "assignments": [{"broker_ids": [1]}]}
    assert [did for did, _ in judged("partitions: {min: 2}", PARTITIONS, values, action)] == ["refuse"]
    assert values["count"] == 1


@pytest.mark.parametrize(("name", "limit", "value", "mended"), [
    ("min.insync.replicas", "{min: 2}", "2", None), ("min.insync.replicas", "{min: 2}", " +3 ", None),
    ("min.insync.replicas", "{min: 2}", "1", "2"), ("min.insync.replicas", "{min: 2}", "-1", "2"),
    ("min.insync.replicas", "{min: 2}", "2_0", "2"), ("min.insync.replicas", "{min: 2}", "0x9", "2"),
    ("min.insync.replicas", "{min: 2}", "", "2"), ("min.insync.replicas", "{min: 2}", "٣", "2"),
    ("retention.ms", "{min: 10, max: 90}", "90", None), ("retention.ms", "{min: 10, max: 90}", "91", "90"),
    ("retention.ms", "{min: 10, max: 90}", "9", "10"),
    # Without a limit: more than any number, and not less than the least.
    ("retention.ms", "{min: 10, max: 90}", "-1", "90"), ("retention.bytes", "{max: 90}", "-5", "90"),
    ("retention.ms", "{min: 10}", "-1", None),
    # What rests on another config is within no bounds.
    ("local.retention.ms", "{min: 10, max: 90}", "-2", "10"), ("local.retention.bytes", "{min: 10}", "-2", "10"),
    ("min.cleanable.dirty.ratio", "{max: 0.5}", "0.25", None),
    ("min.cleanable.dirty.ratio", "{max: 0.5}", "0.75", "0.5"),
    ("min.cleanable.dirty.ratio", "{max: 0.5}", "NaN", "0.5"),
    ("min.cleanable.dirty.ratio", "{max: 0.5}", "1e-3", "0.5"),
    ("cleanup.policy", "{allowed: [compact]}", "compact", None),
    ("cleanup.policy", "{allowed: [compact]}", "delete", "compact"),
    ("cleanup.policy", "{allowed: [compact]}", "compact,delete", "compact"),
    ("cleanup.policy", "{allowed: [compact]}", " compact , compact", None),
    ("unclean.leader.election.enable", "{allowed: ['false']}", "FALSE", "false"),
])
def test_values_of_configs(name: str, limit: str, value: str, mended: str | None) -> None:
    changed = mended is not None
    limits = f"configs: {{{name}: {limit}}}"
    for api, build in ((CREATE, lambda: {**topic(), "configs": [{"name": name, "value": value}]}),
                       (ALTER, lambda: {"configs": [{"name": name, "value": value}]}),
                       (INCREMENTAL, lambda: altered((name, SET, value)))):
        assert [did for did, _ in judged(limits, api, build())] == ["refuse"] * changed
        values = build()
        assert [did for did, _ in judged(limits, api, values, "override")] == ["override"] * changed
        assert [one["value"] for one in values["configs"]] == [mended if changed else value]
        assert [did for did, _ in judged(limits, api, values)] == [], "what was mended is within"


def test_every_occurrence_of_a_config_counts() -> None:
    values = {**topic(), "configs": [{"name": "retention.ms", "value": value} for value in ("5", "500")]}
    [(did, why)] = judged("configs: {retention.ms: {max: 90}}", CREATE, values)
    assert (did, why) == ("refuse", "retention.ms is '500', at most 90 is required")


@pytest.mark.parametrize("api", [CREATE, ALTER])
def test_a_config_that_is_required(api: int) -> None:
    limits = "configs: {min.insync.replicas: {min: 2, required: true}}"
    assert judged(limits, api, topic(min_insync_replicas="2")) == []
    assert judged(limits, api, topic()) == [
        ("refuse", "min.insync.replicas is not given, at least 2 is required")]
    values = topic()
    assert [did for did, _ in judged(limits, api, values, "override")] == ["override"]
    assert values["configs"] == [{"name": "min.insync.replicas", "value": "2"}]
    assert judged("configs: {min.insync.replicas: {min: 2}}", api, topic()) == []
    assert judged(limits, INCREMENTAL, altered(("retention.ms", SET, "5"))) == []


@pytest.mark.parametrize(("limit", "does", "value", "why"), [
    ("{min: 2, required: true}", RESET, None, "may not be reset"), ("{min: 2}", RESET, None, ""),
    ("{min: 2}", APPEND, "1", "can only be set as a whole"), ("{min: 2}", SUBTRACT, "1", "can only be set as a whole"),
    ("{min: 2}", 9, "5", "can only be set as a whole"), ("{min: 2}", SET, None, "has no value"),
    ("{allowed: [a, b]}", APPEND, "a", ""), ("{allowed: [a, b]}", APPEND, "a,c", "is 'a,c'"),
    ("{allowed: [a, b]}", SUBTRACT, "c", ""),
    ("{allowed: [a], required: true}", SUBTRACT, "a", "may lose none of its values"),
    ("{allowed: [a], required: true}", RESET, None, "may not be reset"),
    ("{required: true}", SET, "anything", ""), ("{required: true}", SET, None, "has no value"),
    ("forbidden", SET, "1", "may not be set"), ("forbidden", APPEND, "1", "may not be set"),
    ("forbidden", RESET, None, ""),
])
def test_ways_to_change_a_config(limit: str, does: int, value: str | None, why: str) -> None:
    found = judged(f"configs: {{x.y: {limit}}}", INCREMENTAL, altered(("x.y", does, value)))
    assert [did for did, _ in found] == ["refuse"] * bool(why)
    assert not why or found[0][1].startswith(f"x.y {why}")


def test_a_reset_is_overridden_by_a_value_and_an_appended_one_is_refused() -> None:
    values = altered(("min.insync.replicas", RESET, None))
    assert [did for did, _ in judged("configs: {min.insync.replicas: {min: 2, required: true}}", INCREMENTAL, values,
                                     "override")] == ["override"]
    assert values["configs"] == [{"name": "min.insync.replicas", "config_operation": SET, "value": "2"}]
    values = altered(("cleanup.policy", APPEND, "delete"))
    assert [did for did, _ in judged("configs: {cleanup.policy: {allowed: [compact]}}", INCREMENTAL, values,
                                     "override")] == ["refuse"]


def test_other_configs() -> None:
    limits = "configs: {retention.ms: {max: 90}}, other_configs: refuse"
    assert judged(limits, CREATE, topic(retention_ms="5")) == []
    assert judged(limits, CREATE, topic(retention_ms="5", segment_ms="5")) == [
        ("refuse", "'segment.ms' is not among the configs that may be set")]
    assert len(judged("other_configs: refuse", INCREMENTAL, altered(("segment.ms", RESET, None)))) == 1


def test_all_faults_are_told_at_once_and_long_ones_shortly() -> None:
    [(_, why)] = judged("partitions: {min: 9}, replication_factor: {min: 9}, configs: {a.b: forbidden}", CREATE,
                        topic(a_b="1"))
    assert why == ("partitions: 3 is asked for, at least 9 is required; replication factor: 3 is asked for, at least 9"
                   " is required; a.b may not be set")
    values = {**topic(), "configs": [{"name": f"{n}" * 300, "value": "v" * 9000} for n in range(100)]}
    [(_, why)] = judged("other_configs: refuse", CREATE, values)
    assert len(why) <= 501


def test_faults_without_end_are_not_gathered_and_not_mended() -> None:
    """A client may name one config as often as its frame has room for."""
    values = {**topic(), "configs": [{"name": "retention.ms", "value": "91"} for _ in range(50_000)]}
    [(did, why), (again, _)] = judged("configs: {retention.ms: {max: 90}}", CREATE, values, "override")
    assert (did, again) == ("override", "refuse") and len(why) <= 501
    assert sum(one["value"] == "90" for one in values["configs"]) == 32


def test_what_is_overridden_is_refused_by_what_came_of_it_and_recorded_by_what_was_asked() -> None:
    rules = read_safeguards("{name: c, topics: ['*'], admin: {partitions: {min: 3}}, action: override}",
                            "{name: a, topics: ['*'], admin: {partitions: {min: 3}}}",
                            "{name: b, topics: ['*'], admin: {partitions: {min: 3}}, action: record}")
    values = topic(1)
    told, texts, changed = judge(tuple(SafeguardInForce(rule) for rule in rules), CREATE, values)
    assert [(one.rule.name, did) for one, did, _ in told] == [("b", "record"), ("c", "override")]
    assert texts == [] and changed and values["num_partitions"] == 3
    # Two that cannot both be kept refuse, instead of one winning.
    rules = read_safeguards("{name: a, topics: ['*'], roles: [all], admin: {partitions: {min: 5}}, action: override}",
                            "{name: b, topics: ['*'], admin: {partitions: {max: 4}}, action: override}")
    told, texts, _ = judge(tuple(SafeguardInForce(rule) for rule in rules), CREATE, topic(4))
    assert [(one.rule.name, did) for one, did, _ in told] == [("a", "override"), ("b", "override"), ("a", "refuse")]
    assert texts == ["kproxy: partitions: 4 is asked for, at least 5 is required (safeguard a)"]


# ---- the APIs

SHAPE = read_safeguards(
    "{name: shape, topics: ['t.*'], admin: {partitions: {max: 9}, configs: {retention.ms: {max: 90}}},"
    " message: Ask the platform.}",
    "{name: names, topics: ['t.*'], admin: {names: ['*.good*']}}",
    "{name: kept, topics: [t.kept], admin: {requests: [delete_topics, delete_records]}}",
    "{name: more, topics: ['o.*'], admin: {partitions: {min: 3}, configs: {retention.ms: {max: 90}}},"
    " action: override}",
    "{name: seen, topics: ['r.*'], admin: {partitions: {min: 99}, requests: [delete_topics]}, action: record}")
EVERYTHING = tuple(f"{operation} topic *" for operation in (
    "create", "alter", "alter_configs", "delete", "describe", "describe_configs"))


def named(items: list[dict[str, Any]], field: str = "name") -> list[tuple[str, int]]:
    return [(item[field], item["error_code"]) for item in items]


@pytest.mark.parametrize("version", spanning(CREATE))
def test_create_topics(version: int) -> None:
    desk = GuardedDesk(SHAPE, *EVERYTHING)
    treatment, sent = desk.request(CREATE, version, {"timeout_ms": 5, "topics": [
        {**topic(), "name": "free"}, {**topic(99), "name": "t.good"}, {**topic(), "name": "t.bad"},
        {**topic(1, 1, retention_ms="500"), "name": "o.x"}, {**topic(4), "name": "t.goods"},
        {**topic(1), "name": "r.x"}]})
    assert treatment == "replace" and sent["timeout_ms"] == 5
    assert [(one["name"], one["num_partitions"]) for one in sent["topics"]] == [
        ("free", 3), ("o.x", 3), ("t.goods", 4), ("r.x", 1)]
    assert sent["topics"][1]["configs"] == [{"name": "retention.ms", "value": "90"}]
    assert desk.told() == [("t.good", "shape", "refuse"), ("t.bad", "names", "refuse"), ("o.x", "more", "override"),
                           ("r.x", "seen", "record")]
    _, answer = desk.response(CREATE, version, {"topics": [
        {"name": name, "error_code": 0} for name in ("free", "o.x", "t.goods", "r.x")]})
    assert named(answer["topics"]) == [("free", 0), ("o.x", 0), ("t.goods", 0), ("r.x", 0), ("t.good", 44),
                                       ("t.bad", 44)]
    assert [one["error_message"] for one in answer["topics"][4:]] == [
        "Ask the platform. (partitions: 99 is asked for, at most 9 is required; safeguard shape)",
        "kproxy: the name must be like *.good* (safeguard names)"]


@pytest.mark.parametrize("version", spanning(PARTITIONS))
def test_create_partitions(version: int) -> None:
    desk = GuardedDesk(SHAPE, *EVERYTHING)
    treatment, sent = desk.request(PARTITIONS, version, {"timeout_ms": 5, "topics": [
        {"name": name, "count": count, "assignments": None} for name, count in (("t.a", 10), ("t.b", 9), ("o.x", 2))]})
    assert treatment == "replace"
    assert [(one["name"], one["count"]) for one in sent["topics"]] == [("t.b", 9), ("o.x", 3)]
    _, answer = desk.response(PARTITIONS, version, {"results": [{"name": "t.b"}, {"name": "o.x"}]})
    assert named(answer["results"]) == [("t.b", 0), ("o.x", 0), ("t.a", 44)]
    assert answer["results"][2]["error_message"].startswith("Ask the platform. (partitions: 10 is asked for")


@pytest.mark.parametrize(("api", "version"), [(ALTER, version) for version in spanning(ALTER)]
                         + [(INCREMENTAL, version) for version in spanning(INCREMENTAL)])
def test_alter_configs(api: int, version: int) -> None:
    desk = GuardedDesk(SHAPE, *EVERYTHING, "alter_configs group *")

    def resource(name: str, value: str, kind: int = TOPIC) -> dict[str, Any]:
        change = {"name": "retention.ms", "value": value, **({"config_operation": SET} if api == INCREMENTAL else {})}
        return {"resource_type": kind, "resource_name": name, "configs": [change]}

    # A group of a topic's name has nothing to do with it.
    treatment, sent = desk.request(api, version, {"validate_only": True, "resources": [
        resource("t.a", "91"), resource("t.b", "90"), resource("o.x", "-1"), resource("t.a", "91", 32)]})
    assert treatment == "replace" and sent["validate_only"]
    assert sent["resources"] == [resource("t.b", "90"), resource("o.x", "90"), resource("t.a", "91", 32)]
    _, answer = desk.response(api, version, {"responses": [
        {"resource_type": TOPIC, "resource_name": "t.b"}, {"resource_type": TOPIC, "resource_name": "o.x"},
        {"resource_type": 32, "resource_name": "t.a", "error_code": 42, "error_message": "the broker's"}]})
    assert named(answer["responses"], "resource_name") == [("t.b", 0), ("o.x", 0), ("t.a", 42), ("t.a", 44)]
    assert answer["responses"][3]["error_message"] == (
        "Ask the platform. (retention.ms is '91', at most 90 is required; safeguard shape)")


@pytest.mark.parametrize("version", spanning(DELETE))
def test_delete_topics(version: int) -> None:
    desk = GuardedDesk(SHAPE, *EVERYTHING)
    names = ["t.kept", "t.other", "r.x"]
    asked = ({"topics": [{"name": name} for name in names]} if version >= 6 else {"topic_names": names})
    treatment, sent = desk.request(DELETE, version, {**asked, "timeout_ms": 5})
    assert treatment == "replace"
    assert ([one["name"] for one in sent["topics"]] if version >= 6 else sent["topic_names"]) == ["t.other", "r.x"]
    assert desk.told() == [("t.kept", "kept", "refuse"), ("r.x", "seen", "record")]
    _, answer = desk.response(DELETE, version, {"responses": [{"name": "t.other"}, {"name": "r.x"}]})
    assert named(answer["responses"]) == [("t.other", 0), ("r.x", 0), ("t.kept", 44)]
    if version >= 5:
        assert answer["responses"][2]["error_message"] == (
            "kproxy: delete_topics is not for this topic (safeguard kept)")


def test_a_topic_deleted_by_its_id_is_held_to_the_limits_of_its_name() -> None:
    desk = GuardedDesk(SHAPE, *EVERYTHING)
    desk.teach(**{"t.kept": b"k" * 16, "t.other": b"o" * 16})
    treatment, sent = desk.request(DELETE, 6, {"topics": [
        {"name": None, "topic_id": b"k" * 16}, {"name": None, "topic_id": b"o" * 16}], "timeout_ms": 5})
    assert treatment == "replace" and [one["topic_id"] for one in sent["topics"]] == [b"o" * 16]
    assert desk.told() == [("t.kept", "kept", "refuse")]


@pytest.mark.parametrize("version", spanning(DELETE_RECORDS))
def test_delete_records(version: int) -> None:
    desk = GuardedDesk(SHAPE, *EVERYTHING)
    treatment, sent = desk.request(DELETE_RECORDS, version, {"timeout_ms": 5, "topics": [
        {"name": name, "partitions": [{"partition_index": 0, "offset": 5}]} for name in ("t.kept", "t.other", "r.x")]})
    assert treatment == "replace" and [one["name"] for one in sent["topics"]] == ["t.other", "r.x"]
    # Recorded are topics that are deleted, not records.
    assert desk.told() == [("t.kept", "kept", "refuse")]
    _, answer = desk.response(DELETE_RECORDS, version, {"topics": [{"name": "t.other", "partitions": []}]})
    assert answer["topics"][1] == {"name": "t.kept", "partitions": [
        {"partition_index": 0, "low_watermark": -1, "error_code": 44}]}


def test_nothing_is_changed_where_nothing_is_broken() -> None:
    desk = GuardedDesk(SHAPE, *EVERYTHING)
    for api, values in ((CREATE, {"topics": [{**topic(9), "name": "t.good"}, {**topic(3), "name": "o.x"}]}),
                        (PARTITIONS, {"topics": [{"name": "t.a", "count": 9, "assignments": None}]}),
                        (DELETE, {"topics": [{"name": "t.a"}]})):
        assert desk.request(api, spanning(api)[-1], values)[0] == "forward"
        assert desk.told() == []


def test_only_who_is_allowed_hears_of_limits() -> None:
    desk = GuardedDesk(SHAPE, "create topic o.*")
    treatment, answer = desk.request(CREATE, 7, {"topics": [{**topic(99), "name": "t.good"}]})
    assert treatment == "answer" and named(answer["topics"]) == [("t.good", 29)] and desk.told() == []


def test_the_clusters_permission_does_not_lift_limits() -> None:
    desk = GuardedDesk(SHAPE, "create cluster kafka-cluster")
    treatment, answer = desk.request(CREATE, 7, {"topics": [{**topic(99), "name": "t.good"}]})
    assert treatment == "answer" and named(answer["topics"]) == [("t.good", 44)]


@pytest.mark.parametrize("version", [version for version in spanning(METADATA) if version >= 4])
@pytest.mark.parametrize("grant", ["create topic *", "create cluster kafka-cluster"])
def test_a_broker_does_not_create_by_itself_what_has_limits(version: int, grant: str) -> None:
    desk = GuardedDesk(SHAPE, grant, "describe topic *")
    for name, creates in (("t.good", False), ("o.x", False), ("r.x", True), ("free", True)):
        treatment, sent = desk.request(METADATA, version, {
            "topics": [{"name": name}], "allow_auto_topic_creation": True})
        assert treatment == ("forward" if creates else "replace") and sent["allow_auto_topic_creation"] == creates
    plain = Desk(grant, "describe topic *")
    assert plain.request(METADATA, version, {"topics": [{"name": "t.good"}], "allow_auto_topic_creation": True})[0] == (
        "forward")


def test_a_listener_that_observes_only_records() -> None:
    desk = GuardedDesk(SHAPE, *EVERYTHING, observed=True)
    treatment, _ = desk.request(CREATE, 7, {"topics": [{**topic(99), "name": "t.bad"}, {**topic(1), "name": "o.x"}]})
    assert treatment == "forward"
    assert desk.told() == [("t.bad", "shape", "record"), ("t.bad", "names", "record"), ("o.x", "more", "record")]
