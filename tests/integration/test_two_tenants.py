"""Two tenants before a real Kafka, many requests at a time, over reloads: nothing of one's own is seen by the other."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import frames
from tests.support.clients import TOPIC_DENIED, Record
from tests.support.java import JavaDriver
from tests.support.kafka_broker import KafkaBroker
from tests.support.ports import wait_for
from tests.support.raw_client import API_VERSIONS, METADATA, RawClient, metadata
from tests.support.stage import Stage
from tests.support.tenant_checks import check_bytes, check_refused
from tests.support.tenant_messages import ask
from tests.support.tenant_node import LOGIN, Asked
from tests.support.tenants import ANYTHING, KINDS, NAMES, NOTHING, TENANTS, Tenants, other, value_of

pytestmark = pytest.mark.integration

#: What waits for other members, or ends what the others are asked about.
NOT_ASKED = {11, 14, 20, 42, 43, 45, 68, 76, 78, 79, 88, *LOGIN}
ROUNDS, AT_ONCE = 12, 25


def policy(shared: bool) -> str:
    """What is shared is both's, or ann's alone."""
    def role(who: str) -> str:
        mine = f'"{who}-*"' + (', "shared-*"' if shared or who == "ann" else "")
        allows = "".join(f"      - {{operations: [all], {kind}s: [{mine}]}}\n" for kind in KINDS)
        return f"  {who}:\n    members: {{groups: [{who}]}}\n    allow:\n{allows}"

    return "roles:\n" + "".join(map(role, TENANTS))


class Known(Tenants):
    """With the ids that a real broker gave its topics."""

    def learn(self, broker: RawClient) -> None:
        for topic in broker.ask(METADATA, 12, {"topics": [{"name": name} for name in NAMES["topic"]],
                                               "allow_auto_topic_creation": False})["topics"]:
            assert topic["error_code"] == 0, topic
            self.ids[topic["name"]] = topic["topic_id"]
        self.dead.clear()


@pytest.fixture(scope="module")
def own(kafka: KafkaBroker, java: JavaDriver) -> Iterator[Stage]:
    with Stage(kafka, java, way="tapped2", policy=policy(True)) as stage:
        yield stage


def furnish(stage: Stage) -> Tenants:
    """Every topic with its record, every group with its offset, every transactional id with its producer."""
    with stage.client("confluent").admin(stage.direct()) as admin:
        for topic in NAMES["topic"]:
            admin.create_topic(topic, 2)
    for topic in NAMES["topic"]:
        stage.write_direct(topic, [Record(value_of(topic))])
    tenants = Known()
    with RawClient(stage.kafka.bootstrap()) as broker:
        tenants.learn(broker)
        for kind, names in ((0, NAMES["group"]), (1, NAMES["transactional_id"])):
            # Whoever looks for a coordinator first has Kafka make its topic.
            broker.ask(10, 4, {"key_type": kind, "coordinator_keys": list(names)})
        for group in NAMES["group"]:
            body = {"group_id": group, "generation_id_or_member_epoch": -1, "member_id": "", "topics": [
                {"name": NAMES["topic"][0], "partitions": [{"partition_index": 0, "committed_offset": 1,
                                                            "committed_metadata": None}]}]}
            wait_for("the coordinator of groups", lambda body=body: broker.ask(8, 8, body)["topics"][0]["partitions"][
                0]["error_code"] == 0, 30)
        for one in NAMES["transactional_id"]:
            body = {"transactional_id": one, "transaction_timeout_ms": 60_000, "producer_id": -1, "producer_epoch": -1}
            wait_for("the coordinator of transactions",
                     lambda body=body: broker.ask(22, 4, body)["error_code"] == 0, 30)
    return tenants


def rows_of(client: RawClient) -> list[tuple[int, int]]:
    said = client.ask(API_VERSIONS, 3, {"client_software_name": "tester", "client_software_version": "1"})
    return [(one["api_key"], version) for one in said["api_keys"] if one["api_key"] not in NOT_ASKED
            for version in range(max(one["min_version"], 3 if one["api_key"] == 0 else 0), one["max_version"] + 1)]


def send(client: RawClient, tenants: Tenants, who: str, rows: list[tuple[int, int]],
         chance: random.Random) -> list[Asked]:
    asked = []
    for api, version in rows:
        values = ask(tenants, who, api, version, chance)
        client.correlation += 1
        frame = frames.request(api, version, client.correlation, values)
        asked.append(Asked(api, version, client.correlation, values, frame, tenants.rights_now(who)))
    client.send(b"".join(one.frame for one in asked))
    return asked


def code_of_shared(client: RawClient) -> int:
    return int(client.ask(METADATA, 9, metadata(["shared-topic-1"]))["topics"][0]["error_code"])


def test_neither_sees_what_is_the_others(own: Stage) -> None:
    tenants, chance = furnish(own), random.Random(48)
    got: dict[str, bytes] = dict.fromkeys(TENANTS, b"")
    with own.raw("tapped", own.token("ann", ["ann"])) as ann, own.raw("tapped", own.token("bob", ["bob"])) as bob:
        clients = {"ann": ann, "bob": bob}
        rows = rows_of(ann)
        for number in range(ROUNDS):
            shared = number % 2 == 0
            own.node.reload(policy(shared))
            code = 0 if shared else TOPIC_DENIED
            wait_for("the policy to be in force", lambda code=code: code_of_shared(bob) == code)
            for kind in KINDS:
                for name in (one for one in NAMES[kind] if one.startswith("shared")):
                    tenants.grant("bob", name, ANYTHING if shared else NOTHING)
            asked = {who: send(clients[who], tenants, who, chance.sample(rows, AT_ONCE), chance) for who in TENANTS}
            for who in TENANTS:
                got[who] += receive(clients[who], tenants, who, asked[who])
    for who in TENANTS:
        assert value_of(f"{who}-canary-topic-1") in got[who], "what is one's own is there to be seen"
        assert f"{other(who)}-canary".encode() not in got[who]


def receive(client: RawClient, tenants: Tenants, who: str, asked: list[Asked]) -> bytes:
    got = b""
    for one in asked:
        frame = client.receive()
        assert frame is not None, f"closed instead of answered: {one}"
        assert int.from_bytes(frame[4:8], "big") == one.correlation
        check_bytes(tenants, who, one, one.rights, frame)
        check_refused(tenants, one, frame)
        got += frame
    return got


def test_all_that_is_asked_is_furnished() -> None:
    policies: list[Any] = [policy(True), policy(False)]
    assert policies[0].count('"shared-*"') == 6 and policies[1].count('"shared-*"') == 3
