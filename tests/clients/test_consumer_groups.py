"""Groups whose members the broker assigns (KIP-848), from the real clients that have them, before a real Kafka."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.support.clients import ClientError, Record
from tests.support.ports import wait_for
from tests.support.raw_client import METADATA, RawClient
from tests.support.stage import Stage

pytestmark = pytest.mark.integration

HEARTBEAT, DESCRIBE, JOIN = 68, 69, 11
GROUP_DENIED, TOPIC_DENIED, BAD_PATTERN = 30, 29, 128
WITH_THEM = ("confluent", "java")


def new_group(prefix: str = "g.") -> str:
    return f"{prefix}{uuid.uuid4().hex[:10]}"


def consumer(stage: Stage, name: str, group: str) -> Any:
    client: Any = stage.client(name)
    return client.consumer(stage.login("tapped", mechanism="PLAIN"), group, group_protocol="consumer")


def describe(client: RawClient, *groups: str) -> list[dict[str, Any]]:
    body = {"group_ids": list(groups), "include_authorized_operations": True}
    return list(client.ask(DESCRIBE, 1, body)["groups"])


@pytest.mark.parametrize("name", WITH_THEM)
def test_two_members_share_a_topic_and_one_takes_over(stage: Stage, name: str) -> None:
    topic, group = stage.make_topic("pii.", partitions=2), new_group()
    with stage.client("confluent").producer(stage.direct()) as producer:
        for partition in (0, 1):
            sent = producer.send(topic, [Record(b'{"user":{"email":"ada@example.com"}}')] * 5, partition)
            assert [one.code for one in sent] == [0] * 5
    behind = len(stage.behind.connections)
    with consumer(stage, name, group) as first:
        first.subscribe(topic)
        got = first.poll(10)
        assert len(got) == 10 and {one.value for one in got} == {b'{"user":{"email":""}}'}
        first.commit()
        with consumer(stage, name, group) as second, stage.raw() as raw:
            second.subscribe(topic)

            def shared() -> bool:
                first.poll(1, 0.2)
                second.poll(1, 0.2)
                held = [one["partitions"] for found in describe(raw, group) for member in found["members"]
                        for one in member["assignment"]["topic_partitions"]]
                return sorted(map(len, held)) == [1, 1]

            wait_for("each to have one partition", shared, 60)
            [found] = describe(raw, group)
            assert {member["client_host"] for member in found["members"]} == {"/127.0.0.1"}
            assert found["authorized_operations"] == 1 << 3 | 1 << 8, "read and describe, as policy has it"
        with stage.client("confluent").producer(stage.direct()) as producer:
            for partition in (0, 1):
                producer.send(topic, [Record(b'{"user":{"email":"x@example.com"}}')], partition)
        assert {one.partition for one in first.poll(2)} == {0, 1}, "the one that stays has both"
    apis = {frame.api for frame in stage.behind.requests(since=behind)}
    assert HEARTBEAT in apis and JOIN not in apis


@pytest.mark.parametrize("name", WITH_THEM)
def test_who_may_not_read_the_group_or_see_the_topic_does_not_join(stage: Stage, name: str) -> None:
    topic, closed = stage.make_topic("open."), stage.make_topic("closed.")
    for group, subscribed, code in ((new_group("other."), topic, GROUP_DENIED), (new_group(), closed, TOPIC_DENIED)):
        behind = len(stage.behind.connections)
        with consumer(stage, name, group) as member:
            member.subscribe(subscribed)
            with pytest.raises(ClientError) as refused:
                member.poll(1)
        assert refused.value.code == code
        # A Java member leaves the group that it could not join; of that the broker may hear.
        beats = [frame.data for frame in stage.behind.requests(HEARTBEAT, behind)]
        assert not any(closed.encode() in data or b"other." in data for data in beats)


def test_a_pattern_finds_no_hidden_topic(stage: Stage) -> None:
    """T19: also not one that is made after the member has joined."""
    group, behind = new_group(), len(stage.behind.connections)
    with stage.raw("tapped") as client:
        answer = client.ask(HEARTBEAT, 1, {
            "group_id": group, "member_id": uuid.uuid4().hex, "member_epoch": 0, "rebalance_timeout_ms": 5000,
            "subscribed_topic_names": [], "subscribed_topic_regex": ".*", "topic_partitions": []})
        assert answer["error_code"] == BAD_PATTERN and answer["assignment"] is None
        stage.make_topic("closed.")
    assert stage.behind.requests(HEARTBEAT, behind) == []


def test_a_group_with_a_hidden_topic_is_not_described(stage: Stage) -> None:
    opened, closed, group = stage.make_topic("open."), stage.make_topic("closed."), new_group()
    with RawClient(stage.kafka.bootstrap()) as direct, stage.raw() as client:
        assert direct.ask(METADATA, 9, {"topics": [{"name": closed}], "allow_auto_topic_creation": False})["topics"]
        member = uuid.uuid4().hex

        def joined() -> bool:
            answer = direct.ask(HEARTBEAT, 1, {
                "group_id": group, "member_id": member, "member_epoch": 0, "rebalance_timeout_ms": 5000,
                "subscribed_topic_names": [opened, closed], "topic_partitions": []})
            return answer["error_code"] == 0 and answer["assignment"] is not None

        wait_for("the group to be assigned", joined, 30)
        [found] = describe(client, group)
        assert (found["error_code"], found["members"]) == (TOPIC_DENIED, [])
        assert closed not in repr(found)
        [other] = describe(client, new_group("other."))
        assert (other["error_code"], other["members"]) == (GROUP_DENIED, [])
