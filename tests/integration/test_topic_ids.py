"""T30 before a real broker: topics named by id, known, unknown, denied, deleted and recreated, in one request."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import frames
from tests.support.clients import Record
from tests.support.ports import wait_for
from tests.support.raw_client import FETCH, METADATA, PRODUCE, RawClient
from tests.support.stage import Stage

pytestmark = pytest.mark.integration

OFFSET_COMMIT, OFFSET_FETCH, CREATE, DELETE = 8, 9, 19, 20


@pytest.fixture
def broker(stage: Stage) -> Iterator[RawClient]:
    """The broker itself, to which all is allowed."""
    with RawClient(stage.kafka.bootstrap()) as client:
        yield client


def id_of(broker: RawClient, topic: str) -> bytes:
    def look() -> bytes | None:
        [found] = broker.ask(METADATA, 12, {"topics": [{"topic_id": bytes(16), "name": topic}],
                                            "allow_auto_topic_creation": False})["topics"]
        return found["topic_id"] if found["error_code"] == 0 and found["partitions"] else None

    return wait_for(f"{topic} to be there", look, 30)  # type: ignore[no-any-return]


def make(stage: Stage, broker: RawClient, prefix: str) -> tuple[str, bytes]:
    topic = stage.make_topic(prefix)
    return topic, id_of(broker, topic)


def produce(*ids: bytes) -> dict[str, Any]:
    return {"acks": -1, "timeout_ms": 10_000, "topic_data": [
        {"topic_id": one, "partition_data": [{"index": 0, "records": frames.batch([b"v"])}]} for one in ids]}


def fetch(*ids: bytes) -> dict[str, Any]:
    return {"max_wait_ms": 0, "min_bytes": 0, "session_id": 0, "session_epoch": -1, "topics": [
        {"topic_id": one, "partitions": [{"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1 << 20}]}
        for one in ids]}


def codes(answer: dict[str, Any], partitions: str) -> dict[bytes, int]:
    return {one["topic_id"]: one[partitions][0]["error_code"] for one in answer["responses"]}


def written(answer: dict[str, Any]) -> dict[bytes, int]:
    return codes(answer, "partition_responses")


def test_known_unknown_and_denied_ids_in_one_request(stage: Stage, broker: RawClient) -> None:
    """Nobody has asked kproxy for these topics' metadata, so their names are looked up."""
    (_, good), (closed, shut), unknown = make(stage, broker, "open."), make(stage, broker, "closed."), os.urandom(16)
    ids = (unknown, shut, good)
    behind, front = len(stage.behind.connections), len(stage.front.connections)
    with stage.raw("tapped") as client:
        assert written(client.ask(PRODUCE, 13, produce(*ids))) == {good: 0, unknown: 100, shut: 29}
        for version in range(13, 19):
            answer = client.ask(FETCH, version, fetch(*ids))
            assert codes(answer, "partitions") == {good: 0, unknown: 100, shut: 29}
            [records] = [one["partitions"][0]["records"] for one in answer["responses"] if one["topic_id"] == good]
            assert bytes(records).endswith(b"v\x00")
        for version in (12, 13):
            answer = client.ask(METADATA, version, {"topics": [{"topic_id": one, "name": None} for one in ids]})
            assert {one["topic_id"]: (one["error_code"], one["name"] is None) for one in answer["topics"]} == {
                good: (0, False), unknown: (100, True), shut: (29, True)}
    sent = b"".join(bytes(passed.to_broker) for passed in stage.behind.connections[behind:])
    shown = b"".join(bytes(passed.to_client) for passed in stage.front.connections[front:])
    assert good in sent and shut not in sent and unknown not in sent
    assert closed.encode() not in shown
    assert stage.end_offset(closed) == 0


def test_a_deleted_topics_id_is_unknown_and_the_recreated_ones_is_served(stage: Stage, broker: RawClient) -> None:
    topic, old = make(stage, broker, "open.")
    with stage.raw() as client:
        assert written(client.ask(PRODUCE, 13, produce(old))) == {old: 0}
        [gone] = broker.ask(DELETE, 5, {"topic_names": [topic], "timeout_ms": 10_000})["responses"]
        assert gone["error_code"] == 0

        def is_refused() -> bool:
            # While the deletion spreads the broker's own words come through, all of which clients retry.
            return written(client.ask(PRODUCE, 13, produce(old)))[old] == 100

        wait_for("the old id to be unknown", is_refused, 30)
        assert codes(client.ask(FETCH, 18, fetch(old)), "partitions") == {old: 100}
        [made] = broker.ask(CREATE, 7, {"topics": [{"name": topic, "num_partitions": 1, "replication_factor": 1}],
                                        "timeout_ms": 10_000})["topics"]
        assert made["error_code"] == 0 and made["topic_id"] != old
        new = id_of(broker, topic)
        wait_for("the new id to be served", lambda: written(client.ask(PRODUCE, 13, produce(new)))[new] == 0, 30)
        assert written(client.ask(PRODUCE, 13, produce(old, new))) == {old: 100, new: 0}


def test_many_unknown_ids_cost_one_question_and_no_wait_for_others(stage: Stage, broker: RawClient) -> None:
    _, good = make(stage, broker, "open.")
    unknown = [os.urandom(16) for _ in range(500)]
    began = time.monotonic()
    with stage.raw() as client, stage.raw() as other:
        client.send(client.frame(FETCH, 18, fetch(*unknown)))
        assert written(other.ask(PRODUCE, 13, produce(good))) == {good: 0}
        answer = client.receive_answer(FETCH, 18)[1]
    assert codes(answer, "partitions") == dict.fromkeys(unknown, 100)
    assert time.monotonic() - began < 30


def commit(group: str, *ids: bytes) -> dict[str, Any]:
    return {"group_id": group, "generation_id_or_member_epoch": -1, "member_id": "", "topics": [
        {"topic_id": one, "partitions": [{"partition_index": 0, "committed_offset": 7, "committed_metadata": ""}]}
        for one in ids]}


def offsets_of(group: str, *ids: bytes, everything: bool = False) -> dict[str, Any]:
    return {"groups": [{"group_id": group, "member_id": None, "topics": None if everything else [
        {"topic_id": one, "partition_indexes": [0]} for one in ids]}]}


def offsets(answer: dict[str, Any]) -> dict[bytes, tuple[int, int]]:
    [group] = answer["groups"]
    assert group["error_code"] == 0
    return {one["topic_id"]: (one["partitions"][0]["committed_offset"], one["partitions"][0]["error_code"])
            for one in group["topics"]}


def test_a_groups_offsets_by_id(stage: Stage, broker: RawClient) -> None:
    (_, good), (closed, shut), unknown = make(stage, broker, "open."), make(stage, broker, "closed."), os.urandom(16)
    group = f"g.{os.urandom(5).hex()}"
    front = len(stage.front.connections)

    def is_committed() -> bool:
        # Asking makes the broker create what it keeps offsets in, and loading it takes a moment.
        broker.ask(10, 4, {"key_type": 0, "coordinator_keys": [group]})
        answer = broker.ask(OFFSET_COMMIT, 10, commit(group, shut))
        return bool(answer["topics"][0]["partitions"][0]["error_code"] == 0)

    wait_for("a coordinator", is_committed, 30)
    with stage.raw("tapped") as client:
        answer = client.ask(OFFSET_COMMIT, 10, commit(group, unknown, shut, good))
        assert {one["topic_id"]: one["partitions"][0]["error_code"] for one in answer["topics"]} == {
            good: 0, unknown: 100, shut: 29}
        asked = offsets_of(group, good, unknown, shut)
        assert offsets(client.ask(OFFSET_FETCH, 10, asked)) == {good: (7, 0), unknown: (-1, 100), shut: (-1, 29)}
        assert offsets(client.ask(OFFSET_FETCH, 10, offsets_of(group, everything=True))) == {good: (7, 0)}
    assert offsets(broker.ask(OFFSET_FETCH, 10, offsets_of(group, everything=True))) == {good: (7, 0), shut: (7, 0)}
    shown = b"".join(bytes(passed.to_client) for passed in stage.front.connections[front:])
    assert closed.encode() not in shown


def test_t46_topics_are_deleted_by_id(stage: Stage, broker: RawClient) -> None:
    (name, good), (closed, shut), unknown = make(stage, broker, "open."), make(stage, broker, "closed."), os.urandom(16)
    asked = {"topics": [{"name": None, "topic_id": one} for one in (unknown, shut, good)], "timeout_ms": 10_000}
    front = len(stage.front.connections)
    with stage.raw("tapped", stage.token(groups=("stewards",))) as client:
        answer = client.ask(DELETE, 6, asked)
        assert {one["topic_id"]: (one["name"], one["error_code"]) for one in answer["responses"]} == {
            good: (name, 0), unknown: (None, 100), shut: (None, 29)}
        assert closed.encode() not in b"".join(bytes(passed.to_client) for passed in stage.front.connections[front:])
    assert id_of(broker, closed) == shut


@pytest.mark.parametrize(("name", "versions"), [("java", {PRODUCE: 13, FETCH: 18}), ("confluent", {})])
def test_a_client_goes_on_after_its_topic_was_recreated(stage: Stage, broker: RawClient, name: str,
                                                        versions: dict[int, int]) -> None:
    """What it knew by id is gone; it learns anew by what it is told, and reads what it wrote."""
    topic, old = make(stage, broker, "open.")
    since, login = len(stage.behind.connections), stage.login("tapped")
    with stage.client(name).producer(login) as producer:
        assert [(one.offset, one.code) for one in producer.send(topic, [Record(b"before")])] == [(0, 0)]
        assert broker.ask(DELETE, 5, {"topic_names": [topic], "timeout_ms": 10_000})["responses"][0]["error_code"] == 0

        def is_made() -> bool:
            [made] = broker.ask(CREATE, 7, {"topics": [
                {"name": topic, "num_partitions": 1, "replication_factor": 1}], "timeout_ms": 10_000})["topics"]
            return bool(made["error_code"] == 0 and made["topic_id"] != old)

        wait_for("the topic to be made again", is_made, 30)
        id_of(broker, topic)
        # A client may give a record up that it sent under the old id, but not the one after.
        wait_for("a record to be written", lambda: producer.send(topic, [Record(b"after")])[0].code == 0, 60)
    with stage.client(name).consumer(login, f"g.{os.urandom(5).hex()}") as consumer:
        consumer.subscribe(topic)
        assert consumer.poll(1)[0].value == b"after"
    for api, version in versions.items():
        assert {frame.version for frame in stage.behind.requests(api, since)} == {version}
