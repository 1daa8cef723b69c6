"""The same requests of the same users before a Kafka with ACLs, and before kproxy with the policy imported from them
and a Kafka that allows everything: the answers are the same, field by field."""

from __future__ import annotations

import json
from collections.abc import Iterator
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
from tests.support.acl_requests import GROUPS, IDS, REQUESTS, SHARE_GROUPS, TOPICS, Request
from tests.support.guarded_kafka import ACLS, USERS, guarded_settings, log_in, put_acls
from tests.support.kafka_broker import KafkaBroker
from tests.support.kproxy_node import Cluster, KproxyNode, Listener
from tests.support.ports import wait_for
from tests.support.raw_client import METADATA, RawClient
from tests.support.share_groups import ALTER_OFFSETS, RawMember
from tests.support.share_groups import FETCH as SHARE_FETCH

pytestmark = pytest.mark.integration

#: What two clusters cannot have in common: addresses, what is drawn at random or read from a clock, words for people.
DIFFERENT = frozenset(("throttle_time_ms", "host", "port", "cluster_id", "topic_id", "member_id", "producer_id",
                       "log_append_time_ms", "error_message", "client_host"))
#: Served APIs that are not compared, and why.
LEFT_OUT = {
    "DescribeLogDirs": "paths are hidden", "DescribeQuorum": "controllers' addresses are hidden",
    "DescribeCluster": "controllers are hidden", "AlterClientQuotas": "would slow the suite's own users",
    "AlterPartitionReassignments": "moves nothing with one broker",
    "ListConfigResources": "names what each cluster keeps for itself",
}
#: Who sees the topics Kafka keeps its own state in, where they may be described.
ALTER_THE_CLUSTER = ("admin", "halves")
TOPIC_DENIED = 29
#: Members of the newer consumer groups live by heartbeats.
NEW_GROUPS = (68,)


def comparable(value: Any) -> Any:
    """Without what differs by nature; lists in an order of their own, since Kafka promises none."""
    if isinstance(value, dict):
        return {key: comparable(part) for key, part in value.items() if key not in DIFFERENT}
    if isinstance(value, list):
        return sorted((comparable(part) for part in value), key=lambda part: json.dumps(part, default=repr,
                                                                                      sort_keys=True))
    return value


def as_documented(request: Request, user: str, answer: dict[str, Any]) -> None:
    """Makes of Kafka's answer what docs/policy.md says kproxy's is instead."""
    name = request[0]
    if name in ("Metadata of all", "DescribeTopicPartitions of all"):
        answer["topics"] = [topic for topic in answer["topics"]
                            if not topic["is_internal"] or user in ALTER_THE_CLUSTER]
    if name == "DeleteTopics" and user in ("prefix", "describer"):
        for topic in answer["responses"]:
            topic["error_code"] = 29


def fill(broker: KafkaBroker) -> None:
    """Topics, groups with offsets and coordinators that answer, as the operator."""
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
        for group in SHARE_GROUPS:
            member = RawMember(raw, group)
            member.join(*TOPICS)
            member.leave()
            wait_for("the share group's offsets", lambda group=group: raw.ask(ALTER_OFFSETS, 0, {
                "group_id": group, "topics": [{"topic_name": name, "partitions": [
                    {"partition_index": 0, "start_offset": 0}]} for name in TOPICS]})["error_code"] == 0, 30)


def ids_in(broker: KafkaBroker) -> dict[str, bytes]:
    """Name → id."""
    with RawClient(broker.bootstrap()) as raw:
        found = raw.ask(METADATA, 12, {"topics": [{"topic_id": bytes(16), "name": name} for name in TOPICS]})["topics"]
    return {topic["name"]: topic["topic_id"] for topic in found}


def with_ids(value: Any, ids: dict[str, bytes]) -> Any:
    if isinstance(value, list):
        return [with_ids(one, ids) for one in value]
    if isinstance(value, dict):
        return {name: ids[one] if name == "topic_id" and isinstance(one, str) else with_ids(one, ids)
                for name, one in value.items()}
    return value


@pytest.fixture(scope="module")
def imported(kafka_jars: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[KafkaBroker, Path]]:
    """A Kafka with ACLs, and the policy that the command made of them."""
    with KafkaBroker(settings=guarded_settings()) as broker:
        put_acls(broker)
        fill(broker)
        app, out = Typer(), tmp_path_factory.mktemp("imported") / "acls.yaml"
        policy.register(app)
        app.command("other")(lambda: None)
        done = CliRunner().invoke(app, ["policy", "import-acls", "--principal", "dev:{name}", "--out", str(out),
                                        "--bootstrap", broker.bootstrap(), "--json"])
        assert done.exit_code == 0, (done.output, done.exception)
        assert json.loads(done.stdout) == {"acls": len(set(ACLS)), "file": str(out), "unsaid": []}
        yield broker, out


@pytest.fixture(scope="module")
def sides(imported: tuple[KafkaBroker, Path]) -> Iterator[SimpleNamespace]:
    guarded, out = imported
    with KafkaBroker() as free, IssuerServer() as issuers:
        fill(free)
        issuers.issuer = DevelopmentIssuer(issuers.url, [SigningKey.create("ES256")])
        with KproxyNode(clusters={"plain": Cluster(free.address())}, listeners={"public": Listener("plain")},
                        issuer=issuers.url, policy=out.read_text()) as node:
            yield SimpleNamespace(guarded=guarded, node=node, issuer=issuers.issuer, ids=ids_in(guarded),
                                  free_ids=ids_in(free))


def test_a_listing_of_kafkas_own_tool_makes_the_same_policy(imported: tuple[KafkaBroker, Path]) -> None:
    broker, out = imported
    listing = broker.run_tool("org.apache.kafka.tools.AclCommand",
                              "--bootstrap-server", broker.bootstrap(), "--list")
    assert set(read_listing(listing)) == set(ACLS)
    assert import_acls(read_listing(listing), "dev:{name}").text == out.read_text()


@pytest.mark.parametrize("user", USERS)
def test_every_answer_is_that_of_kafkas_authoriser(sides: SimpleNamespace, user: str) -> None:
    differences = []
    with log_in(sides.guarded, user) as kafka, RawClient(sides.node.bootstrap("public")) as kproxy:
        assert kproxy.log_in(sides.issuer.issue(user, "kproxy", {}, lifetime=600))["error_code"] == 0
        for request in REQUESTS:
            wanted, found = ask(kafka, request, sides.ids), ask(kproxy, request, sides.free_ids)
            as_documented(request, user, wanted)
            wanted, found = comparable(wanted), comparable(found)
            if wanted != found:
                differences.append(f"{request[0]}:\n  kafka  {wanted}\n  kproxy {found}")
    assert not differences, "\n".join(differences)


def ask(client: RawClient, request: Request, ids: dict[str, bytes]) -> dict[str, Any]:
    _, api, version, body = request
    answer = client.ask(api, version, with_ids(body, ids))
    if api == SHARE_FETCH:
        # A broker may have read the group's state by now, or not yet; what is refused is refused either way.
        answer["responses"] = [one for one in answer["responses"] if one["partitions"][0]["error_code"] == TOPIC_DENIED]
    return answer


def test_every_served_api_is_compared_or_left_out_for_a_reason() -> None:
    compared = {NAMES[api] for _, api, _, _ in REQUESTS}
    served = {NAMES[api] for api in SERVED if api not in LOCAL and api not in NEW_GROUPS}
    assert not served - compared - set(LEFT_OUT)
    assert not compared & set(LEFT_OUT)
