"""Transactions from each real client: the committed is read, the aborted is not, and a foreign id gets nowhere."""

from __future__ import annotations

import json
import uuid

import pytest

from tests.support.clients import CLIENT_NAMES, ClientError, Record
from tests.support.stage import Stage
from tests.support.transactions import open_transactions

pytestmark = pytest.mark.integration

PRODUCE, METADATA, FIND_COORDINATOR, API_VERSIONS = 0, 3, 10, 18
INIT, ADD_PARTITIONS, ADD_OFFSETS, END, COMMIT_OFFSETS = 22, 24, 25, 26, 28
TRANSACTION_DENIED = 53


def new_name(prefix: str) -> str:
    return f"{prefix}{uuid.uuid4().hex[:10]}"


def order(number: int) -> bytes:
    return json.dumps({"n": number, "user": {"email": f"ada{number}@example.com"}}).encode()


@pytest.mark.parametrize("prefix", ["open.", "pii."])
@pytest.mark.parametrize("name", CLIENT_NAMES)
def test_committed_records_and_offsets_are_seen_and_aborted_ones_are_not(stage: Stage, name: str, prefix: str) -> None:
    """Read, change, write, all in one transaction. On ``pii.*`` every reader's address is hidden on the way."""
    source, topic, group = stage.make_topic("open."), stage.make_topic(prefix), new_name("g.")
    stage.write_direct(source, [Record(b"a"), Record(b"b"), Record(b"c")])
    login, client = stage.login("tapped", mechanism="PLAIN"), stage.client(name)
    front, behind = len(stage.front.connections), len(stage.behind.connections)
    with client.consumer(login, group) as reader, open_transactions(name, stage.java, login, new_name("tx.")) as writer:
        reader.subscribe(source)
        assert len(reader.poll(3)) == 3
        writer.begin()
        writer.send(topic, [order(1), order(2)])
        writer.send_offset(reader, group, source, 3)
        writer.abort()
        writer.begin()
        writer.send(topic, [order(3)])
        writer.send(topic, [order(4)])
        writer.send_offset(reader, group, source, 2)
        writer.commit()
    with client.consumer(login, group, isolation="read_committed") as reader:
        reader.subscribe(source)
        assert [one.value for one in reader.poll(1)] == [b"c"], "the group goes on where the transaction left it"
    seen = {}
    for isolation in ("read_committed", "read_uncommitted"):
        with client.consumer(login, isolation=isolation) as reader:
            reader.assign(topic, 0, 0)
            seen[isolation] = [(one.offset, json.loads(one.value or b"")) for one in
                               reader.poll(2 if isolation == "read_committed" else 4)]
    # Offset 2 is the marker that ends the aborted transaction.
    assert [(offset, value["n"]) for offset, value in seen["read_committed"]] == [(3, 3), (4, 4)]
    assert [(offset, value["n"]) for offset, value in seen["read_uncommitted"]] == [(0, 1), (1, 2), (3, 3), (4, 4)]
    mails = {value["user"]["email"] for values in seen.values() for _, value in values}
    assert mails == ({""} if prefix == "pii." else {f"ada{n}@example.com" for n in range(1, 5)})
    told = [(frame.api, frame.version) for frame in stage.behind.requests(since=behind)]
    used = {api: {version for one, version in told if one == api}
            for api in (PRODUCE, ADD_PARTITIONS, ADD_OFFSETS, END, COMMIT_OFFSETS, INIT)}
    if name == "java":
        # T41: of the second kind (KIP-890), nothing is added by a request of its own.
        assert not used[ADD_PARTITIONS] and not used[ADD_OFFSETS]
        assert min(used[PRODUCE]) >= 12 and used[END] == {5} and min(used[COMMIT_OFFSETS]) >= 5
        assert any(b"transaction.version" in frame.data for frame in stage.front.responses(API_VERSIONS, front))
    else:
        for api, highest in ((ADD_PARTITIONS, 3), (ADD_OFFSETS, 4), (END, 4), (COMMIT_OFFSETS, 4), (INIT, 5)):
            assert used[api] and max(used[api]) <= highest, (api, used[api])


@pytest.mark.parametrize("name", CLIENT_NAMES)
def test_a_foreign_transactional_id_reaches_no_broker(stage: Stage, name: str) -> None:
    foreign, since = new_name("foreign."), len(stage.behind.connections)
    with pytest.raises(ClientError) as refused:
        open_transactions(name, stage.java, stage.login("tapped"), foreign)
    assert refused.value.code == TRANSACTION_DENIED
    # The Java client calls itself by its transactional id, so it is in the head of what asks for brokers.
    assert {frame.api for frame in stage.behind.requests(since=since)} <= {API_VERSIONS, METADATA}


def test_every_step_of_a_foreign_transaction_is_refused_before_the_broker(stage: Stage) -> None:
    topic, since = stage.make_topic("open."), len(stage.behind.connections)
    who = {"transactional_id": "foreign.1", "producer_id": 0, "producer_epoch": 0}
    with stage.raw("tapped") as client:
        assert client.ask(FIND_COORDINATOR, 3, {"key": "foreign.1", "key_type": 1})["error_code"] == 53
        assert client.ask(INIT, 4, {"transactional_id": "foreign.1", "transaction_timeout_ms": 1000,
                                    "producer_id": -1, "producer_epoch": -1})["error_code"] == 53
        added = client.ask(ADD_PARTITIONS, 3, {
            "v3_and_below_transactional_id": "foreign.1", "v3_and_below_producer_id": 0,
            "v3_and_below_producer_epoch": 0, "v3_and_below_topics": [{"name": topic, "partitions": [0]}]})
        assert added["results_by_topic_v3_and_below"] == [
            {"name": topic, "results_by_partition": [{"partition_index": 0, "partition_error_code": 53}]}]
        assert client.ask(ADD_OFFSETS, 4, {**who, "group_id": "g.1"})["error_code"] == 53
        assert client.ask(COMMIT_OFFSETS, 4, {**who, "group_id": "g.1", "topics": [
            {"name": topic, "partitions": [{"partition_index": 0, "committed_offset": 1, "committed_metadata": ""}]}
        ]})["topics"][0]["partitions"] == [{"partition_index": 0, "error_code": 53}]
        for commits in (True, False):
            assert client.ask(END, 4, {**who, "committed": commits})["error_code"] == 53
    assert {frame.api for frame in stage.behind.requests(since=since)} <= {API_VERSIONS}


def test_a_denied_topic_keeps_the_whole_step_from_the_broker(stage: Stage) -> None:
    shown, closed, since = stage.make_topic("open."), stage.make_topic("closed."), len(stage.behind.connections)
    with stage.raw("tapped") as client:
        answer = client.ask(ADD_PARTITIONS, 2, {
            "v3_and_below_transactional_id": "tx.1", "v3_and_below_producer_id": 0, "v3_and_below_producer_epoch": 0,
            "v3_and_below_topics": [{"name": name, "partitions": [0]} for name in (shown, closed)]})
    codes = {topic["name"]: topic["results_by_partition"][0]["partition_error_code"]
             for topic in answer["results_by_topic_v3_and_below"]}
    assert codes == {shown: 55, closed: 29}
    assert stage.behind.requests(ADD_PARTITIONS, since) == []


@pytest.mark.parametrize(("api", "version"), [
    (ADD_PARTITIONS, 4), (ADD_PARTITIONS, 5), (27, 1), (58, 0), (83, 0), (4, 7)])
def test_what_is_between_brokers_is_not_served(stage: Stage, api: int, version: int) -> None:
    """T31: kproxy's own account may do all of it, so nothing of it may get there."""
    since = len(stage.behind.connections)
    with stage.raw("tapped") as client:
        client.correlation += 1
        head = api.to_bytes(2, "big") + version.to_bytes(2, "big") + client.correlation.to_bytes(4, "big")
        frame = head + b"\xff\xff\x00" + b"\x00" * 40
        client.send(len(frame).to_bytes(4, "big") + frame)
        assert client.is_closed()
    assert stage.behind.requests(api, since) == []


def test_the_end_of_an_epoch_is_told_for_topics_one_may_describe(stage: Stage) -> None:
    shown, closed = stage.make_topic("open."), stage.make_topic("closed.")
    stage.write_direct(shown, [Record(b"a"), Record(b"b")])
    asked = [{"topic": name, "partitions": [{"partition": 0, "current_leader_epoch": -1, "leader_epoch": 0}]}
             for name in (closed, shown)]
    with stage.raw() as client:
        answer = client.ask(23, 4, {"replica_id": 1, "topics": asked})
    ends = {topic["topic"]: (topic["partitions"][0]["error_code"], topic["partitions"][0]["end_offset"])
            for topic in answer["topics"]}
    assert ends == {shown: (0, 2), closed: (29, -1)}
