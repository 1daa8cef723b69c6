"""Share groups (KIP-932) from Java's own consumer and administrator, before a real Kafka."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.clients import ClientError, Record
from tests.support.ports import wait_for
from tests.support.raw_client import METADATA, RawClient
from tests.support.share_groups import (
    ACKNOWLEDGE,
    FETCH,
    HEARTBEAT,
    RawMember,
    ShareAdmin,
    ShareConsumer,
    new_group,
    whole,
)
from tests.support.stage import POLICY, Stage

pytestmark = pytest.mark.integration

GROUP_DENIED, TOPIC_DENIED, POLICY_VIOLATION = 30, 29, 44
MAIL, HIDDEN = b'{"user":{"email":"ada@example.com"}}', b'{"user":{"email":""}}'


@pytest.fixture
def broker(stage: Stage) -> Iterator[RawClient]:
    """The broker itself, to which all is allowed."""
    with RawClient(stage.kafka.bootstrap()) as client:
        yield client


def member(stage: Stage, group: str, **about: Any) -> ShareConsumer:
    return ShareConsumer(stage.java, stage.login("tapped", mechanism="PLAIN", **about), group)


def admin(stage: Stage, **about: Any) -> ShareAdmin:
    return ShareAdmin(stage.java, stage.login("tapped", mechanism="PLAIN", **about))


def id_of(broker: RawClient, topic: str) -> bytes:
    [found] = broker.ask(METADATA, 12, {"topics": [{"topic_id": bytes(16), "name": topic}],
                                        "allow_auto_topic_creation": False})["topics"]
    return bytes(found["topic_id"])


def test_two_members_share_one_partition_and_each_record_goes_to_one(stage: Stage, broker: RawClient) -> None:
    topic, group = stage.make_topic("pii."), new_group(broker)
    front, behind = len(stage.front.connections), len(stage.behind.connections)
    for _ in range(6):
        stage.write_direct(topic, [Record(MAIL)] * 5)
    with member(stage, group) as first, member(stage, group) as second:
        first.subscribe(topic)
        second.subscribe(topic)
        one = first.poll()
        assert one and {record.value for record in one} == {HIDDEN} and {record.deliveries for record in one} == {1}
        assert set(first.acknowledge("RELEASE").values()) == {0}
        found: list[int] = []
        again = False
        while len(found) < 30:
            for consumer in (first, second):
                for record in consumer.poll(0.5):
                    assert record.value == HIDDEN
                    again |= record.deliveries > 1
                    found.append(record.offset)
                if found:
                    assert set(consumer.acknowledge().values()) <= {0}
        assert sorted(found) == list(range(30)) and again, "each once, what was released too"
        with admin(stage) as desk:
            shown = desk.describe(group)
            assert (shown["state"], shown["members"]) == ("Stable", 2)
            assert set(shown["operations"]) == {"read", "describe"}
    stage.write_direct(topic, [Record(MAIL)])
    with member(stage, group) as last:
        last.subscribe(topic)
        assert [record.offset for record in last.poll_all(1)] == [30], "what was accepted is done with"
    apis = {frame.api for frame in stage.behind.requests(since=behind)}
    assert {HEARTBEAT, FETCH, ACKNOWLEDGE} <= apis
    fetching = [sum(any(frame.api == FETCH for frame in passed.requests()) for passed in tap.connections[since:])
                for tap, since in ((stage.front, front), (stage.behind, behind))]
    assert fetching[0] == fetching[1] >= 2, "T42: no two members share a connection to the broker"
    for answers in (stage.front.responses(FETCH, front), stage.front.responses(ACKNOWLEDGE, front)):
        assert not any(b"ada@example.com" in frame.data for frame in answers)


def test_who_may_not_read_the_group_or_see_the_topic_does_not_join(stage: Stage, broker: RawClient) -> None:
    topic, closed = stage.make_topic("open."), stage.make_topic("closed.")
    for group, subscribed, code in ((new_group(broker, "other."), topic, GROUP_DENIED),
                                    (new_group(broker), closed, TOPIC_DENIED)):
        behind = len(stage.behind.connections)
        with member(stage, group) as consumer:
            consumer.subscribe(subscribed)
            with pytest.raises(ClientError) as refused:
                consumer.poll()
        assert refused.value.code == code
        beats = [frame.data for frame in stage.behind.requests(HEARTBEAT, behind)]
        assert not any(closed.encode() in data or b"other." in data for data in beats)


def test_a_topic_that_may_be_seen_and_not_read_is_refused_beside_one_that_may(stage: Stage, broker: RawClient) -> None:
    topic, kept, group = stage.make_topic("open."), stage.make_topic("kept."), new_group(broker)
    behind, front = len(stage.behind.connections), len(stage.front.connections)
    stage.write_direct(topic, [Record(b"for all")] * 3)
    stage.write_direct(kept, [Record(b"canary")] * 3)
    found, refused = [], None
    with member(stage, group, groups=["workers", "stewards"]) as consumer:
        consumer.subscribe(topic, kept)
        for _ in range(40):
            try:
                found += consumer.poll(1)
                consumer.acknowledge()
            except ClientError as problem:
                refused = problem
            if refused and len(found) == 3:
                break
    assert [record.value for record in found] == [b"for all"] * 3 and refused and refused.code == TOPIC_DENIED
    fetches = [frame.data for frame in stage.behind.requests(FETCH, behind)]
    assert fetches and not any(id_of(broker, kept) in data for data in fetches), "the broker's session never had it"
    assert not any(b"canary" in frame.data for frame in stage.front.responses(FETCH, front))
    with ShareAdmin(stage.java, stage.direct()) as desk:
        assert desk.offsets(group).get(f"{kept}-0", 0) <= 0, "nothing of it was delivered"


def test_what_cannot_be_masked_is_withheld_and_not_lost(stage: Stage, broker: RawClient) -> None:
    """A value that is no JSON. A client that was told it had acquired it would acknowledge a gap, and Kafka would
    never deliver it again."""
    topic, group = stage.make_topic("pii."), new_group(broker)
    for value in (MAIL, MAIL, b"canary: no JSON", MAIL):
        stage.write_direct(topic, [Record(value)])
    front = len(stage.front.connections)
    with member(stage, group) as consumer:
        consumer.subscribe(topic)
        found = consumer.poll_all(2)
        assert [(record.offset, record.value) for record in found] == [(0, HIDDEN), (1, HIDDEN)]
    assert not any(b"canary" in frame.data for frame in stage.front.responses(FETCH, front))
    with ShareAdmin(stage.java, stage.direct()) as desk:
        wait_for("what was accepted", lambda: desk.offsets(group) == {f"{topic}-0": 2}, 30)
    with member(stage, group, groups=["privacy"]) as officer:
        officer.subscribe(topic)
        assert [record.value for record in officer.poll_all(2)] == [b"canary: no JSON", MAIL], "whom the mask spares"


def test_the_refusal_of_records_is_told_for_their_partition_alone(stage: Stage, broker: RawClient) -> None:
    bad, good, group = stage.make_topic("pii."), stage.make_topic("open."), new_group(broker)
    stage.write_direct(bad, [Record(b"canary: no JSON")])
    stage.write_direct(good, [Record(b"for all")])
    ids = {id_of(broker, topic): topic for topic in (bad, good)}
    with stage.raw("tapped") as client:
        raw = RawMember(client, group)
        raw.join(bad, good)
        seen: dict[str, tuple[int, bytes, int]] = {}

        def both() -> bool:
            for topic in raw.fetch(*(map(whole, ids) if raw.epoch == 0 else ()))["responses"]:
                [one] = topic["partitions"]
                if one["error_code"] or one["records"]:
                    seen[ids[bytes(topic["topic_id"])]] = (
                        one["error_code"], one["records"], len(one["acquired_records"]))
            return len(seen) == 2

        wait_for("both topics", both, 30)
    assert seen[bad] == (POLICY_VIOLATION, b"", 0)
    code, records, acquired = seen[good]
    assert (code, acquired) == (0, 1) and b"for all" in records

    def told() -> dict[str, list[dict[str, Any]]] | None:
        """What the audit tells of either topic."""
        lines = stage.node.audit()
        found = {topic: [one for one in lines if topic in (one.get("topic"), one.get("name"))] for topic in (bad, good)}
        return found if all(found.values()) else None

    found = wait_for("the audit", told, 30)
    assert {one["kind"] for one in found[bad]} == {"guard_hit"}
    assert {(one["kind"], one["direction"]) for one in found[good]} == {("flow", "consume")}
    assert {tuple(part[:3]) for one in found[good] for part in one["partitions"]} == {(0, 0, 0)}


def test_a_lost_connection_gives_its_records_back(stage: Stage, broker: RawClient) -> None:
    """T42: the broker's session is that of the client's own connection, so what it had locked is free at once."""
    topic, group = stage.make_topic("open."), new_group(broker)
    stage.write_direct(topic, [Record(b"v")] * 3)
    with stage.raw("tapped") as client:
        raw = RawMember(client, group)
        raw.join(topic)
        topics = [whole(id_of(broker, topic))]

        def acquired() -> bool:
            [found] = raw.fetch(*(topics if raw.epoch == 0 else ()))["responses"] or [{"partitions": []}]
            return any(one["acquired_records"] for one in found["partitions"])

        wait_for("records to be acquired", acquired, 30)
    with member(stage, group) as consumer:
        consumer.subscribe(topic)
        found = consumer.poll_all(3)
        assert [record.offset for record in found] == [0, 1, 2]


def test_offsets_are_administered_by_who_may(stage: Stage, broker: RawClient) -> None:
    topic, group, mine = stage.make_topic("open."), new_group(broker), new_group(broker, "g.mine.")
    stage.write_direct(topic, [Record(b"v")] * 4)
    for name in (group, mine):
        with member(stage, name) as consumer:
            consumer.subscribe(topic)
            consumer.poll_all(4)
    with admin(stage) as desk:
        for name in (group, mine):
            wait_for("an empty group", lambda name=name: desk.describe(name)["state"] == "Empty", 60)
            desk.alter(name, topic, 1)
            assert desk.offsets(name) == {f"{topic}-0": 1}
        with pytest.raises(ClientError) as refused:
            desk.delete_offsets(group, topic)
        assert refused.value.code == GROUP_DENIED
        desk.delete_offsets(mine, topic)
        assert desk.offsets(mine) == {}
        desk.delete(mine)
        with pytest.raises(ClientError) as refused:
            desk.describe(new_group(broker, "other."))
        assert refused.value.code == GROUP_DENIED


def test_a_topic_forbidden_in_the_midst_leaves_the_brokers_session_and_comes_back(stage: Stage) -> None:
    with Stage(stage.kafka, stage.java, way="tapped2") as own, RawClient(stage.kafka.bootstrap()) as broker:
        topic, group = own.make_topic("open."), new_group(broker)
        own.write_direct(topic, [Record(b"first")])
        topic_id = id_of(broker, topic)
        with own.raw("tapped") as client:
            raw = RawMember(client, group)
            raw.join(topic)
            last: list[dict[str, Any]] = []

            def told() -> tuple[int, bytes] | None:
                """The last answer's code and records; what is acquired is acknowledged, so that the rest goes on."""
                nonlocal last
                asked = [whole(topic_id)] if raw.epoch == 0 else last
                answer = raw.fetch(*asked)
                assert answer["error_code"] == 0, answer
                last = []
                for found in answer["responses"]:
                    [one] = found["partitions"]
                    accepted = [{"first_offset": got["first_offset"], "last_offset": got["last_offset"],
                                 "acknowledge_types": [1]} for got in one["acquired_records"]]
                    if accepted:
                        last = [{"topic_id": topic_id, "partitions": [
                            {"partition_index": 0, "acknowledgement_batches": accepted}]}]
                    return one["error_code"], one["records"]
                return None

            wait_for("the first record", lambda: b"first" in (told() or (0, b""))[1], 30)
            own.node.reload(POLICY + f"forbid:\n  - {{name: closed, operations: [read], topics: [{topic}]}}\n")
            own.write_direct(topic, [Record(b"second")])
            wait_for("the refusal", lambda: (told() or (0, b""))[0] == TOPIC_DENIED, 30)
            behind = len(own.behind.connections) - 1
            before = len(own.behind.responses(FETCH, behind))
            for _ in range(3):
                assert told() == (TOPIC_DENIED, b""), "again and again, as from a broker"
            late = [frame.data for frame in own.behind.responses(FETCH, behind)][before:]
            assert late and not any(b"second" in data for data in late), "the broker does not even fetch it"
            own.node.reload(POLICY)
            wait_for("the second record", lambda: b"second" in (told() or (0, b""))[1], 90)
