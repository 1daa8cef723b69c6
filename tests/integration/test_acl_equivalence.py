"""The same requests of the same users before a Kafka with ACLs, and before kproxy with the policy imported from them
and a Kafka that allows everything: the answers are the same, field by field."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import admin
from typer import Typer
from typer.testing import CliRunner

from kproxy._ext.apis import LOCAL, NAMES, SERVED
from kproxy.cli import policy
from kproxy.demo.issuer import DevelopmentIssuer, IssuerServer, SigningKey
from kproxy.policy.acls import import_acls, read_listing
from tests.support.acl_requests import (
    DELETES,
    GROUPS,
    IDS,
    MAY_NOT_DELETE,
    MISSING,
    MISSING_ID,
    REQUESTS,
    SHARE_GROUPS,
    TOPICS,
    Request,
    with_ids,
)
from tests.support.guarded_kafka import ACLS, USERS, guarded_settings, log_in, put_acls
from tests.support.kafka_broker import KafkaBroker
from tests.support.kproxy_node import Cluster, KproxyNode, Listener
from tests.support.ports import wait_for
from tests.support.raw_client import METADATA, RawClient
from tests.support.share_groups import ALTER_OFFSETS, RawMember
from tests.support.share_groups import FETCH as SHARE_FETCH

pytestmark = pytest.mark.integration

#: What two clusters cannot have in common: addresses, what is drawn at random or read from a clock, words for people.
DIFFERENT = frozenset(("throttle_time_ms", "host", "port", "cluster_id", "member_id", "producer_id",
                       "log_append_time_ms", "error_message", "client_host"))
#: The same, within one API.
DIFFERENT_IN = {
    "CreateTopics": frozenset(("topic_id",)),
    "DescribeLogDirs": frozenset(("log_dir", "partition_size", "total_bytes", "usable_bytes")),
    "DescribeQuorum": frozenset(("leader_epoch", "high_watermark", "log_end_offset", "replica_directory_id",
                                 "last_fetch_timestamp", "last_caught_up_timestamp", "listeners")),
}
#: Served APIs that are not compared, and why.
LEFT_OUT: dict[str, str] = {}
#: Who sees the topics Kafka keeps its own state in, where they may be described.
ALTER_THE_CLUSTER = ("admin", "halves")
TOPIC_DENIED = 29


def comparable(value: Any, names: Mapping[bytes, str], leave_out: frozenset[str]) -> Any:
    """Without what differs by nature, and with names for ids; lists in an order of their own, since Kafka promises
    none."""
    if isinstance(value, dict):
        return {key: names.get(part, part) if key == "topic_id" else comparable(part, names, leave_out)
                for key, part in value.items() if key not in leave_out}
    if isinstance(value, list):
        parts = [comparable(part, names, leave_out) for part in value]
        return sorted(parts, key=lambda part: json.dumps(part, default=repr, sort_keys=True))
    return value


def as_documented(request: Request, user: str, answer: dict[str, Any]) -> None:
    """Makes of Kafka's answer what docs/policy.md says kproxy's is instead."""
    name = request[0]
    if name in ("Metadata of all", "DescribeTopicPartitions of all"):
        answer["topics"] = [topic for topic in answer["topics"]
                            if not topic["is_internal"] or user in ALTER_THE_CLUSTER]
    if name == "ListConfigResources" and user not in ALTER_THE_CLUSTER:
        answer["config_resources"] = [one for one in answer["config_resources"]
                                      if not one["resource_name"].startswith("__")]
    if name.startswith("AlterShareGroupOffsets"):
        for topic in answer["responses"]:
            if topic["partitions"][0]["error_code"] == TOPIC_DENIED:
                topic["topic_id"] = bytes(16)
    if name in ("DeleteTopics", "DeleteTopics that are there") and user in ("prefix", "describer"):
        for topic in answer["responses"]:
            topic["error_code"] = TOPIC_DENIED


Imported = tuple[KafkaBroker, Path, dict[str, bytes]]


def fill(broker: KafkaBroker) -> dict[str, bytes]:
    """Topics, groups with offsets and coordinators that answer, as the operator. Gives the ids of all topics."""
    client = admin.AdminClient({"bootstrap.servers": broker.bootstrap()})
    for done in client.create_topics([admin.NewTopic(name, 1, 1) for name in TOPICS]).values():
        done.result(30)
    with RawClient(broker.bootstrap()) as raw:
        for kind, keys in ((0, GROUPS), (1, IDS)):
            wait_for("coordinators", lambda kind=kind, keys=keys: all(
                one["error_code"] == 0 for one in raw.ask(10, 4, {"key_type": kind, "coordinator_keys": list(keys)})[
                    "coordinators"]), 30)
        commit = {"partition_index": 0, "committed_offset": 0, "committed_leader_epoch": -1, "committed_metadata": ""}
        for group in GROUPS:
            wait_for("the group's coordinator", lambda group=group: raw.ask(8, 8, {
                "group_id": group, "generation_id_or_member_epoch": -1, "topics": [
                    {"name": name, "partitions": [commit]} for name in TOPICS]})["topics"][0]["partitions"][0][
                        "error_code"] == 0, 30)
        for one in IDS:
            wait_for("the transaction's coordinator", lambda one=one: raw.ask(22, 4, {
                "transactional_id": one, "transaction_timeout_ms": 1000, "producer_id": -1, "producer_epoch": -1})[
                    "error_code"] == 0, 30)
        for group in SHARE_GROUPS:
            member = RawMember(raw, group)
            member.join(*TOPICS)
            member.leave()
            wait_for("the share group's offsets", lambda group=group: raw.ask(ALTER_OFFSETS, 0, {
                "group_id": group, "topics": [{"topic_name": name, "partitions": [
                    {"partition_index": 0, "start_offset": 0}]} for name in TOPICS]})["error_code"] == 0, 30)
        ids = {topic["name"]: topic["topic_id"] for topic in raw.ask(METADATA, 12, {"topics": None})["topics"]}
    assert set(TOPICS) < set(ids) and MISSING not in ids
    return ids


@pytest.fixture(scope="module")
def imported(kafka_jars: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Imported]:
    """A Kafka with ACLs, and the policy that the command made of them."""
    with KafkaBroker(settings=guarded_settings()) as broker:
        put_acls(broker)
        ids = fill(broker)
        app, out = Typer(), tmp_path_factory.mktemp("imported") / "acls.yaml"
        policy.register(app)
        app.command("other")(lambda: None)
        done = CliRunner().invoke(app, ["policy", "import-acls", "--principal", "dev:{name}", "--out", str(out),
                                        "--bootstrap", broker.bootstrap(), "--json"])
        assert done.exit_code == 0, (done.output, done.exception)
        assert json.loads(done.stdout) == {"acls": len(set(ACLS)), "file": str(out), "unsaid": []}
        yield broker, out, ids


@pytest.fixture(scope="module")
def sides(imported: Imported) -> Iterator[SimpleNamespace]:
    guarded, out, ids = imported
    with KafkaBroker() as free, IssuerServer() as issuers:
        free_ids = fill(free)
        issuers.issuer = DevelopmentIssuer(issuers.url, [SigningKey.create("ES256")])
        with KproxyNode(clusters={"plain": Cluster(free.address())}, listeners={"public": Listener("plain")},
                        issuer=issuers.url, policy=out.read_text()) as node:
            yield SimpleNamespace(guarded=guarded, ids=ids, free_ids=free_ids, node=node, issuer=issuers.issuer)


def test_a_listing_of_kafkas_own_tool_makes_the_same_policy(imported: Imported) -> None:
    broker, out, _ = imported
    listing = broker.run_tool("org.apache.kafka.tools.AclCommand",
                              "--bootstrap-server", broker.bootstrap(), "--list")
    assert set(read_listing(listing)) == set(ACLS)
    assert import_acls(read_listing(listing), "dev:{name}").text == out.read_text()


@pytest.mark.parametrize("user", USERS)
def test_every_answer_is_that_of_kafkas_authoriser(sides: SimpleNamespace, user: str) -> None:
    compare(sides, user, REQUESTS)


@pytest.mark.parametrize("user", MAY_NOT_DELETE)
def test_who_may_not_delete_a_topic_is_told_what_kafka_tells(sides: SimpleNamespace, user: str) -> None:
    compare(sides, user, DELETES)


def compare(sides: SimpleNamespace, user: str, requests: tuple[Request, ...]) -> None:
    differences = []
    with log_in(sides.guarded, user) as kafka, RawClient(sides.node.bootstrap("public")) as kproxy:
        assert kproxy.log_in(sides.issuer.issue(user, "kproxy", {}, lifetime=600))["error_code"] == 0
        for request in requests:
            theirs, ours = ask(kafka, request, sides.ids), ask(kproxy, request, sides.free_ids)
            as_documented(request, user, theirs)
            leave_out = DIFFERENT | DIFFERENT_IN.get(NAMES[request[1]], frozenset())
            theirs = comparable(theirs, names_of(sides.ids), leave_out)
            ours = comparable(ours, names_of(sides.free_ids), leave_out)
            if theirs != ours:
                differences.append(f"{request[0]}:\n  kafka  {theirs}\n  kproxy {ours}")
    assert not differences, "\n".join(differences)


def names_of(ids: Mapping[str, bytes]) -> dict[bytes, str]:
    return {topic_id: name for name, topic_id in ids.items()} | {MISSING_ID: MISSING}


def ask(client: RawClient, request: Request, ids: dict[str, bytes]) -> dict[str, Any]:
    _, api, version, body = request
    answer = client.ask(api, version, with_ids(body, ids))
    if api == SHARE_FETCH:
        # A broker may have read the group's state by now, or not yet; what is refused is refused either way.
        answer["responses"] = [one for one in answer["responses"] if one["partitions"][0]["error_code"] == TOPIC_DENIED]
    return answer


def test_every_served_api_is_compared_or_left_out_for_a_reason() -> None:
    compared = {NAMES[api] for _, api, _, _ in REQUESTS}
    served = {NAMES[api] for api in SERVED if api not in LOCAL}
    assert not served - compared - set(LEFT_OUT)
    assert not compared & set(LEFT_OUT)
