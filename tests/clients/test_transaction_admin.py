"""Who looks at transactions under way through kproxy sees those that may be described, before a real Kafka."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.support.clients import Login
from tests.support.raw_client import METADATA, RawClient, metadata
from tests.support.stage import Stage
from tests.support.transactions import open_transactions

pytestmark = pytest.mark.integration

ALTER_CONFIGS, DESCRIBE_PRODUCERS, DESCRIBE_TRANSACTIONS, LIST_TRANSACTIONS = 33, 61, 65, 66


def new_name(prefix: str) -> str:
    return f"{prefix}{uuid.uuid4().hex[:10]}"


def leader(stage: Stage, topic: str) -> RawClient:
    """The one broker, by the bootstrap connection."""
    client = stage.raw()
    assert client.ask(METADATA, 9, metadata([topic]))["topics"][0]["partitions"][0]["leader_id"] == 1
    return client


def test_transactions_under_way_are_shown_by_their_names(stage: Stage) -> None:
    topic, closed = stage.make_topic("open."), stage.make_topic("closed.")
    mine, theirs, both = new_name("tx."), new_name("other."), new_name("tx.")
    direct: Login = stage.direct()
    with (open_transactions("confluent", stage.java, direct, mine) as one,
          open_transactions("confluent", stage.java, direct, theirs) as two,
          open_transactions("confluent", stage.java, direct, both) as three):
        for writer, topics in ((one, [topic]), (two, [topic]), (three, [topic, closed])):
            writer.begin()
            for name in topics:
                writer.send(name, [b"x"])
        with leader(stage, topic) as client:
            listed: dict[str, Any] = {}
            for version in (0, 1):
                states = client.ask(LIST_TRANSACTIONS, version, {"state_filters": ["Ongoing"]})["transaction_states"]
                listed = {state["transactional_id"]: state for state in states}
                assert {mine, both} <= set(listed) and theirs not in listed
            described = client.ask(DESCRIBE_TRANSACTIONS, 0, {"transactional_ids": [theirs, both, mine]})
            producers = client.ask(DESCRIBE_PRODUCERS, 0, {"topics": [
                {"name": closed, "partition_indexes": [0]}, {"name": topic, "partition_indexes": [0]}]})["topics"]
        for writer in (one, two, three):
            writer.abort()
    found = {state["transactional_id"]: (state["error_code"], [(one["topic"], one["partitions"])
             for one in state["topics"]]) for state in described["transaction_states"]}
    assert found == {mine: (0, [(topic, [0])]), both: (0, [(topic, [0])]), theirs: (53, [])}
    answered = {one["name"]: one["partitions"][0] for one in producers}
    assert (answered[closed]["error_code"], answered[closed]["active_producers"]) == (29, [])
    assert answered[topic]["error_code"] == 0
    assert {mine: listed[mine]["producer_id"], both: listed[both]["producer_id"]}.items() <= {
        name: producer["producer_id"] for name, state in listed.items()
        for producer in answered[topic]["active_producers"] if producer["producer_id"] == state["producer_id"]}.items()


def test_the_older_way_to_alter_configs_asks_the_same_permission(stage: Stage) -> None:
    topic, closed = stage.make_topic("open."), stage.make_topic("closed.")
    change = [{"name": "retention.ms", "value": "86400000"}]
    with stage.raw(token=stage.token("sam", ["stewards"])) as steward:
        answer = steward.ask(ALTER_CONFIGS, 2, {"validate_only": False, "resources": [
            {"resource_type": 2, "resource_name": name, "configs": change} for name in (closed, topic)]})
    assert {one["resource_name"]: one["error_code"] for one in answer["responses"]} == {topic: 0, closed: 29}
    with RawClient(stage.kafka.bootstrap()) as broker:
        configs = broker.ask(32, 4, {"resources": [
            {"resource_type": 2, "resource_name": name, "configuration_keys": ["retention.ms"]}
            for name in (topic, closed)]})["results"]
    assert [result["configs"][0]["value"] for result in configs] == ["86400000", "-1"], "the rig keeps records for ever"
