"""Who administers a cluster through kproxy, before a real Kafka: a permission opens an API, and shows what it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.java import JavaDriver
from tests.support.kafka_broker import KafkaBroker
from tests.support.raw_client import RawClient
from tests.support.stage import TAPPED_HOST, Stage

pytestmark = pytest.mark.integration

LOG_DIRS, ELECT, REASSIGN, REASSIGNED, QUOTAS, ALTER_QUOTAS, QUORUM, RESOURCES = 35, 43, 45, 46, 48, 49, 55, 74
POLICY = """\
roles:
  cluster-admin:
    members: {groups: [cluster]}
    allow:
      - {operations: [describe, alter, describe_configs, alter_configs], cluster: true}
      - {operations: [describe], topics: ["open.*"], groups: ["open.*"]}
  worker:
    members: {groups: [workers]}
    allow: [{operations: [all], topics: ["*"]}]
"""
USER = [{"entity_type": "client-id", "entity_name": "somebody"}]


@pytest.fixture(scope="module")
def own(kafka: KafkaBroker, java: JavaDriver) -> Iterator[Stage]:
    with Stage(kafka, java, way="tapped4", policy=POLICY) as stage:
        yield stage


def ask(client: RawClient, topics: list[str]) -> dict[int, dict[str, Any]]:
    """Every API once, in its newest version that Kafka 4.3 has."""
    named = [{"name": name, "partition_indexes": [0]} for name in topics]
    return {
        LOG_DIRS: client.ask(LOG_DIRS, 4, {"topics": None}),
        ELECT: client.ask(ELECT, 2, {"election_type": 0, "timeout_ms": 5000, "topic_partitions": [
            {"topic": name, "partitions": [0]} for name in topics]}),
        REASSIGN: client.ask(REASSIGN, 1, {"topics": [
            {"name": name, "partitions": [{"partition_index": 0, "replicas": [1]}]} for name in topics]}),
        REASSIGNED: client.ask(REASSIGNED, 0, {"topics": named}),
        ALTER_QUOTAS: client.ask(ALTER_QUOTAS, 1, {"validate_only": False, "entries": [
            {"entity": USER, "ops": [{"key": "producer_byte_rate", "value": 1e9, "remove": False}]}]}),
        QUOTAS: client.ask(QUOTAS, 1, {"strict": True, "components": [
            {"entity_type": "client-id", "match_type": 0, "match": "somebody"}]}),
        QUORUM: client.ask(QUORUM, 2, {"topics": [
            {"topic_name": "__cluster_metadata", "partitions": [{"partition_index": 0}]}]}),
        RESOURCES: client.ask(RESOURCES, 1, {"resource_types": [2, 4]}),
    }


def test_a_cluster_is_administered_and_its_secrets_stay(own: Stage) -> None:
    opened, closed = own.make_topic("open."), own.make_topic("closed.")
    front = len(own.front.connections)
    with own.raw("tapped", own.token("root", ["cluster"])) as client:
        answers = ask(client, [opened])
    assert {api: answer["error_code"] for api, answer in answers.items() if "error_code" in answer} == {
        LOG_DIRS: 0, ELECT: 0, REASSIGN: 0, REASSIGNED: 0, QUOTAS: 0, QUORUM: 0, RESOURCES: 0}
    [disk] = answers[LOG_DIRS]["results"]
    names = {topic["name"] for topic in disk["topics"]}
    assert disk["log_dir"] == "disk-1" and opened in names and all(name.startswith("open.") for name in names)
    assert [one["error_code"] for one in answers[ALTER_QUOTAS]["entries"]] == [0]
    assert answers[QUORUM]["nodes"] and all(node["listeners"] == [] for node in answers[QUORUM]["nodes"])
    resources = [one["resource_name"] for one in answers[RESOURCES]["config_resources"] if one["resource_type"] == 2]
    assert opened in resources and closed not in resources
    got = b"".join(bytes(passed.to_client) for passed in own.front.connections[front:])
    assert closed.encode() not in got and str(own.kafka.folder).encode() not in got
    assert b"127.0.0.1" not in got and TAPPED_HOST.encode() not in got


def test_who_may_do_everything_to_topics_may_not_touch_the_cluster(own: Stage) -> None:
    topic = own.make_topic("closed.")
    behind = len(own.behind.connections)
    with own.raw("tapped", own.token("job", ["workers"])) as client:
        answers = ask(client, [topic])
    assert {api: answer["error_code"] for api, answer in answers.items() if "error_code" in answer} == dict.fromkeys(
        (LOG_DIRS, ELECT, REASSIGN, REASSIGNED, QUOTAS, QUORUM, RESOURCES), 31)
    assert [one["error_code"] for one in answers[ALTER_QUOTAS]["entries"]] == [31]
    assert {frame.api for frame in own.behind.requests(since=behind)}.isdisjoint(answers)
