"""Groups seen, described and deleted by real administrators: only as far as the policy goes."""

from __future__ import annotations

import uuid

import pytest

from tests.support.clients import GROUP_DENIED, TOPIC_DENIED, ClientError, Record
from tests.support.group_admins import JavaGroupAdmin, open_group_admin
from tests.support.stage import Stage

pytestmark = pytest.mark.integration

CLIENTS = ("confluent", "java")


def join(stage: Stage, prefix: str) -> tuple[str, str]:
    """A group on Kafka, past kproxy, that has read one record of a new topic: its name and the topic's."""
    group, topic = f"{prefix}{uuid.uuid4().hex[:10]}", stage.make_topic("open.")
    stage.write_direct(topic, [Record(b"a")])
    with stage.client("java").consumer(stage.direct(), group) as consumer:
        consumer.subscribe(topic)
        assert len(consumer.poll(1)) == 1
        consumer.commit()
    return group, topic


def code_of(work: object) -> int:
    with pytest.raises(ClientError) as refused:
        work()  # type: ignore[operator]
    return refused.value.code


@pytest.mark.parametrize("name", CLIENTS)
def test_only_ones_own_groups_are_listed_described_and_deleted(stage: Stage, name: str) -> None:
    (mine, _), (read_only, _), (foreign, _) = join(stage, "g.mine."), join(stage, "g."), join(stage, "foreign.")
    front, behind = len(stage.front.connections), len(stage.behind.connections)
    with open_group_admin(name, stage.java, stage.login("tapped", mechanism="PLAIN")) as admin:
        listed = admin.list_groups()
        assert {mine, read_only} <= listed
        assert foreign not in listed
        described = admin.describe(read_only)
        assert (described.state, described.members, described.operations) == ("Empty", 0, {"read", "describe"})
        assert admin.describe(mine).operations == {"read", "describe", "delete"}
        answers = b"".join(bytes(passed.to_client) for passed in stage.front.connections[front:])
        assert read_only.encode() in answers
        assert foreign.encode() not in answers
        # The clients look for the group's coordinator first; that is refused as well.
        assert code_of(lambda: admin.describe(foreign)) == GROUP_DENIED
        assert code_of(lambda: admin.delete(foreign)) == GROUP_DENIED
        assert code_of(lambda: admin.delete(read_only)) == GROUP_DENIED
        admin.delete(mine)
        listed = admin.list_groups()
        assert mine not in listed
        assert read_only in listed
    assert foreign.encode() not in b"".join(bytes(passed.to_broker) for passed in stage.behind.connections[behind:])
    with open_group_admin("java", stage.java, stage.direct()) as admin:
        assert {read_only, foreign} <= admin.list_groups()


def test_a_committed_offset_is_deleted_by_who_may_delete_the_group_and_read_the_topic(stage: Stage) -> None:
    group, topic = join(stage, "g.mine.")
    read_only, _ = join(stage, "g.")
    committed = {"groups": [{"group_id": group, "topics": [{"name": topic, "partition_indexes": [0]}]}]}

    def offset() -> int:
        with stage.raw() as client:
            answer = client.ask(9, 8, committed)["groups"][0]
        return int(answer["topics"][0]["partitions"][0]["committed_offset"])

    assert offset() == 1
    admin = JavaGroupAdmin(stage.java, stage.login("tapped"))
    try:
        assert code_of(lambda: admin.delete_offset(read_only, topic)) == GROUP_DENIED
        assert code_of(lambda: admin.delete_offset(group, stage.make_topic("closed."))) == TOPIC_DENIED
        assert offset() == 1
        admin.delete_offset(group, topic)
        assert offset() == -1
    finally:
        admin.close()


def test_groups_named_together_are_answered_apart(stage: Stage) -> None:
    """Straight to the coordinator, past what a client library asks first."""
    (mine, _), (foreign, _) = join(stage, "g.mine."), join(stage, "foreign.")
    since = len(stage.behind.connections)
    with stage.raw("tapped") as client:
        described = client.ask(15, 5, {"groups": [foreign, mine], "include_authorized_operations": True})["groups"]
        deleted = client.ask(42, 2, {"groups_names": [foreign, mine]})["results"]
    assert {one["group_id"]: (one["error_code"], one["group_state"]) for one in described} \
        == {mine: (0, "Empty"), foreign: (30, "")}
    assert {one["group_id"]: one["error_code"] for one in deleted} == {mine: 0, foreign: 30}
    assert foreign.encode() not in b"".join(bytes(passed.to_broker) for passed in stage.behind.connections[since:])
