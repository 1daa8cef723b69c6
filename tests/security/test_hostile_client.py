"""The hostile client before a real Kafka where kproxy's account may do everything: it obtains and changes nothing."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from kproxy._ext import request, schema
from kproxy._ext.apis import SERVED
from tests.security.hostile_client import Hidden, Hostile
from tests.support.clients import Record
from tests.support.raw_client import METADATA, PRODUCE, RawClient
from tests.support.stage import Stage

pytestmark = pytest.mark.integration


def look(stage: Stage, hidden: Hidden) -> dict[str, Any]:
    """The state of the broker as its operator sees it, past kproxy."""
    with RawClient(stage.kafka.bootstrap()) as broker:
        topics = broker.ask(METADATA, 12, {"topics": None, "allow_auto_topic_creation": False})["topics"]
        at = [{"partition_index": 0, "timestamp": -1, "current_leader_epoch": -1}]
        ends = broker.ask(2, 6, {"replica_id": -1, "isolation_level": 0,
                                 "topics": [{"name": hidden.topic, "partitions": at}]})
        configs = broker.ask(32, 4, {"resources": [
            {"resource_type": 2, "resource_name": hidden.topic, "configuration_keys": None},
            {"resource_type": 4, "resource_name": "1", "configuration_keys": None}]})
        return {
            "topics": sorted((topic["name"], topic["topic_id"], len(topic["partitions"])) for topic in topics
                             if not topic["is_internal"]),
            "end": ends["topics"][0]["partitions"][0]["offset"],
            "configs": [[(one["name"], one["value"]) for one in result["configs"]] for result in configs["results"]],
            "groups": sorted(one["group_id"] for one in broker.ask(16, 4, {})["groups"]),
            "users": broker.ask(50, 0, {"users": None})["results"],
            "quotas": broker.ask(48, 1, {"components": [], "strict": False})["entries"],
            "features": broker.ask(18, 3, {"client_software_name": "x", "client_software_version": "1"})[
                "finalized_features"],
            "reassigned": broker.ask(46, 0, {"topics": None})["topics"],
        }


def test_a_hostile_client_obtains_nothing(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    canary = uuid.uuid4().hex
    closed, opened = stage.make_topic("closed."), stage.make_topic("open.")
    never_named = stage.make_topic(f"closed.{canary}.")
    stage.write_direct(closed, [Record(f"canary-{canary}".encode())])
    stage.write_direct(opened, [Record(b"seen by all")])
    secret_group = f"closed.group.{canary}"
    with stage.client("confluent").consumer(stage.direct(), group=secret_group) as consumer:
        consumer.subscribe(closed)
        assert consumer.poll(1)
        consumer.commit()
    with RawClient(stage.kafka.bootstrap()) as broker:
        topic_id = broker.ask(METADATA, 12, {"topics": [{"name": closed}], "allow_auto_topic_creation": False})[
            "topics"][0]["topic_id"]
    hidden = Hidden(closed, topic_id, f"closed.group.of-{canary[:6]}", f"closed.tx.{canary[:6]}")
    before, front, behind = look(stage, hidden), len(stage.front.connections), len(stage.behind.connections)
    hostile = Hostile(lambda: RawClient(stage.bootstrap("tapped")), stage.token("mallory"), hidden, opened)
    transcript = hostile.run()
    with capsys.disabled():
        print("", *transcript, sep="\n")
    got = b"".join(bytes(passed.to_client) for passed in stage.front.connections[front:])
    for secret in (f"canary-{canary}", never_named, secret_group, "127.0.0.1", str(stage.kafka.folder)):
        assert secret.encode() not in got, secret
    sent = [frame for passed in stage.behind.connections[behind:] for frame in passed.requests()]
    # One spelling begins as a topic that is open, and is a name of its own to policy and broker alike.
    alike = f"{opened}/../{closed}".encode()
    for name in (closed, hidden.group, hidden.transactional_id):
        reached = {frame.api for frame in sent if name.encode() in frame.data.replace(alike, b"")}
        # Kafka looks at the id of a Produce only where a batch is transactional, and so does kproxy: these have none.
        # ListTransactions takes a pattern, whose matches are left out of the answer.
        harmless = {PRODUCE, 66} if name == hidden.transactional_id else set()
        assert reached <= harmless, f"{name} reached the broker"
    # What a member of a group says it owns is only looked at where it was given that, and a share session forgets only
    # what it has.
    reached = {frame.api for frame in sent if topic_id in frame.data}
    assert reached <= {68, 78}, "the hidden topic's id reached the broker"
    forgetful = [frame for frame in sent if frame.api == 78 and topic_id in frame.data]
    assert all(schema.parse(78, frame.version, False, frame.data[request.request_head(frame.data)[4]:])["topics"] == []
               for frame in forgetful), "but never to be fetched"
    assert {frame.api for frame in sent} <= set(SERVED)
    assert look(stage, hidden) == before, "nothing on the broker is another than before"
    assert not any("silence" in line for line in transcript), "whoever asks is answered or closed"
