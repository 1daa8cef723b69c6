"""Known traps of the protocol, each as bytes on a real connection before a real Kafka."""

from __future__ import annotations

import struct

import pytest

from kproxy._ext.apis import SERVED
from tests.support import frames
from tests.support.children import command_line
from tests.support.clients import TOPIC_DENIED, Record
from tests.support.ports import wait_for
from tests.support.raw_client import (
    API_VERSIONS,
    FETCH,
    METADATA,
    PRODUCE,
    SASL_AUTHENTICATE,
    SASL_HANDSHAKE,
    RawClient,
    fetch,
    first_message,
    metadata,
    produce,
)
from tests.support.stage import TAPPED_HOST, Stage
from tests.support.tap import produced_records

pytestmark = pytest.mark.integration

CREATE_TOPICS, DESCRIBE_CONFIGS, DESCRIBE_CLUSTER = 19, 32, 60
CLIENT_SOFTWARE = {"client_software_name": "tester", "client_software_version": "1.0"}


def resident_kb(pid: int) -> int:
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def metadata_of(client: RawClient, topics: list[str] | None) -> dict[str, int]:
    """Name to error code."""
    return {topic["name"]: topic["error_code"] for topic in client.ask(METADATA, 9, metadata(topics))["topics"]}


def test_ten_thousand_unanswered_produces_then_an_answer(stage: Stage) -> None:
    """T1: acks=0 has no answer, so it must not take a place in the order of answers."""
    topic = stage.make_topic("open.")
    with stage.raw() as client:
        for _ in range(100):
            client.send(b"".join(client.frame(PRODUCE, 9, produce((topic, [b"x"]), acks=0)) for _ in range(100)))
        assert metadata_of(client, [topic]) == {topic: 0}
        answer = client.ask(PRODUCE, 9, produce((topic, [b"last"])))
    assert answer["responses"][0]["partition_responses"][0]["base_offset"] == 10_000


def test_an_unanswered_produce_that_is_denied_closes_and_writes_nothing(stage: Stage) -> None:
    """T2, first half."""
    closed = stage.make_topic("closed.")
    since = len(stage.behind.connections)
    with stage.raw("tapped") as client:
        client.send(client.frame(PRODUCE, 9, produce((closed, [b"x"]), acks=0)))
        assert client.is_closed()
    assert produced_records(stage.behind.requests(PRODUCE, since)) == []
    assert stage.end_offset(closed) == 0


def test_an_unanswered_produce_that_is_denied_in_part_closes_too(stage: Stage) -> None:
    """T2, second half: closing is the only way to say that something was refused."""
    closed, opened = stage.make_topic("closed."), stage.make_topic("open.")
    since = len(stage.behind.connections)
    with stage.raw("tapped") as client:
        client.send(client.frame(PRODUCE, 9, produce((opened, [b"a"]), (closed, [b"b"]), acks=0)))
        assert client.is_closed()
    assert closed not in {name for name, _, _ in produced_records(stage.behind.requests(PRODUCE, since))}
    assert stage.end_offset(closed) == 0


def test_a_produce_that_is_denied_in_part_writes_the_rest(stage: Stage) -> None:
    closed, opened = stage.make_topic("closed."), stage.make_topic("open.")
    with stage.raw() as client:
        answer = client.ask(PRODUCE, 9, produce((closed, [b"b"]), (opened, [b"a"])))
    codes = {topic["name"]: topic["partition_responses"][0]["error_code"] for topic in answer["responses"]}
    assert codes == {closed: TOPIC_DENIED, opened: 0}
    assert [one.value for one in stage.read_direct(opened, 1)] == [b"a"]
    assert stage.end_offset(closed) == 0


@pytest.mark.parametrize("version", [99, 32767])
def test_a_version_of_api_versions_nobody_knows_is_answered_in_version_0(stage: Stage, version: int) -> None:
    """T5: error 35, body and header of version 0, and the connection goes on."""
    unknown = struct.pack(">hhih", API_VERSIONS, version, 77, 2) + b"me" + b"\x00\xff\xee\xdd\xcc\xbb\xaa"
    with RawClient(stage.bootstrap("public")) as client:
        client.send(struct.pack(">i", len(unknown)) + unknown)
        frame = client.receive()
        assert frame is not None
        correlation, body = frames.read_response(API_VERSIONS, 0, frame)
        assert (correlation, body["error_code"]) == (77, 35)
        assert [one["api_key"] for one in body["api_keys"]] == [API_VERSIONS]
        assert client.ask(API_VERSIONS, 3, CLIENT_SOFTWARE)["error_code"] == 0


def test_what_is_advertised_is_what_is_served(stage: Stage) -> None:
    with RawClient(stage.bootstrap("public")) as client:
        body = client.ask(API_VERSIONS, 3, CLIENT_SOFTWARE)
    ranges = {one["api_key"]: (one["min_version"], one["max_version"]) for one in body["api_keys"]}
    assert set(ranges) == set(SERVED)
    assert ranges[PRODUCE] == (0, 13)
    assert (ranges[FETCH][1], ranges[METADATA][1], ranges[8][1], ranges[9][1]) == (18, 13, 10, 10)


def test_answers_come_in_the_order_of_the_requests_whoever_gives_them(stage: Stage) -> None:
    """Local answers (denied topics) wait behind the broker's."""
    opened, closed = stage.make_topic("open."), stage.make_topic("closed.")
    kinds = [opened, closed, closed, opened, closed] * 20
    with stage.raw() as client:
        first = client.correlation + 1
        client.send(b"".join(client.frame(PRODUCE, 9, produce((name, [b"x"]))) for name in kinds))
        answers = [client.receive_answer(PRODUCE, 9) for _ in kinds]
    assert [correlation for correlation, _ in answers] == list(range(first, first + len(kinds)))
    codes = [body["responses"][0]["partition_responses"][0]["error_code"] for _, body in answers]
    assert codes == [0 if name == opened else TOPIC_DENIED for name in kinds]


def test_a_client_that_leaves_with_requests_in_flight_frees_both_sides(stage: Stage) -> None:
    """T37."""
    topic = stage.make_topic("open.")
    since_front, since_behind = len(stage.front.connections), len(stage.behind.connections)
    with stage.raw("tapped") as client:
        client.ask(METADATA, 9, metadata([topic]))
        client.send(b"".join(client.frame(FETCH, 12, fetch(topic, max_wait_ms=20_000)) for _ in range(100)))
        wait_for("a fetch to reach the broker", lambda: stage.behind.requests(FETCH, since_behind))
    wait_for("the client's connection to be forgotten",
             lambda: not any(one.open for one in stage.front.connections[since_front:]))
    mine = [one for one in stage.behind.connections[since_behind:] if any(f.api == FETCH for f in one.requests())]
    assert len(mine) == 1
    wait_for("the broker's connection to be closed", lambda: not mine[0].open, 15)


def test_when_the_broker_closes_the_client_is_closed(stage: Stage) -> None:
    """T37, the other way round."""
    topic = stage.make_topic("open.")
    since = len(stage.behind.connections)
    with stage.raw("tapped") as client:
        client.ask(PRODUCE, 9, produce((topic, [b"x"])))
        mine = [one for one in stage.behind.connections[since:] if any(f.api == PRODUCE for f in one.requests())]
        stage.behind.reset(mine[0].number)
        assert client.is_closed()


@pytest.mark.parametrize("garbage", [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 32,
    b"GET / HTTP/1.1\r\nHost: kafka\r\n\r\n",
    struct.pack(">i", 0) + b"\x00" * 16,
    struct.pack(">i", -1) + b"\x00" * 16,
    struct.pack(">i", 2**31 - 1) + b"\x00" * 16,
    struct.pack(">ihhi", 8, 32000, 0, 1),
    struct.pack(">ihhi", 8, 0, 99, 1),
    b"\x00" * 64,
], ids=["tls", "http", "zero", "negative", "largest", "unknown-api", "unknown-version", "zeros"])
@pytest.mark.parametrize("logged_in", [False, True], ids=["before-login", "after-login"])
def test_what_is_not_kafka_is_closed_and_costs_nothing(stage: Stage, garbage: bytes, logged_in: bool) -> None:
    """T38."""
    worker = stage.node.workers()[0]
    before = resident_kb(worker)
    with stage.raw() if logged_in else RawClient(stage.bootstrap("public")) as client:
        client.send(garbage)
        assert client.is_closed()
    assert stage.node.workers()[0] == worker, "the worker died"
    assert resident_kb(worker) - before < 8192


@pytest.mark.parametrize("api", [4, 5, 6, 7, 27, 29, 30, 34, 38, 58, 88, 84])
def test_an_api_that_is_not_served_never_reaches_the_broker(stage: Stage, api: int) -> None:
    """T31: not advertised, and refused if sent anyway."""
    since = len(stage.behind.connections)
    with stage.raw("tapped") as client:
        client.ask(METADATA, 9, metadata([]))
        client.send(struct.pack(">ihhihB", 11, api, 1, 99, -1, 0))
        assert client.is_closed()
    assert api not in {frame.api for frame in stage.behind.requests(since=since)}


def test_brokers_configs_and_controllers_are_not_shown(stage: Stage) -> None:
    """T32, and the cluster itself at this listener's addresses."""
    since = len(stage.behind.connections)
    with stage.raw("tapped") as client:
        configs = client.ask(DESCRIBE_CONFIGS, 4, {"include_synonyms": True, "resources": [
            {"resource_type": 4, "resource_name": "1", "configuration_keys": None}]})["results"]
        controllers = client.ask(DESCRIBE_CLUSTER, 1, {"endpoint_type": 2})
        cluster = client.ask(DESCRIBE_CLUSTER, 2, {"include_cluster_authorized_operations": True})
    assert [(one["error_code"], one["configs"]) for one in configs] == [(31, [])]
    assert (controllers["error_code"], controllers["brokers"]) == (114, [])
    assert [(one["broker_id"], one["host"], one["port"]) for one in cluster["brokers"]] \
        == [(1, TAPPED_HOST, stage.node.ports["tapped"] + 1)]
    assert cluster["cluster_authorized_operations"] == 0
    asked = [frame.api for frame in stage.behind.requests(since=since)]
    assert DESCRIBE_CONFIGS not in asked and asked.count(DESCRIBE_CLUSTER) == 1


def test_a_name_that_collides_with_a_hidden_topic_does_not_tell_with_which(stage: Stage) -> None:
    hidden = stage.make_topic("open_hidden")
    name = hidden.replace("open_", "open.")
    with stage.raw() as client:
        answer = client.ask(CREATE_TOPICS, 7, {"timeout_ms": 9000, "topics": [
            {"name": name, "num_partitions": 1, "replication_factor": 1}]})["topics"][0]
    assert answer["error_code"] == 17 and hidden not in answer["error_message"]


def test_a_request_right_behind_the_login_waits_for_it(stage: Stage) -> None:
    """T22: login and request in one write."""
    topic = stage.make_topic("open.")
    with RawClient(stage.bootstrap("public")) as client:
        pieces = [client.frame(SASL_HANDSHAKE, 1, {"mechanism": "OAUTHBEARER"}),
                  client.frame(SASL_AUTHENTICATE, 2, {"auth_bytes": first_message(stage.token())}),
                  client.frame(METADATA, 9, metadata([topic]))]
        client.send(b"".join(pieces))
        assert client.receive_answer(SASL_HANDSHAKE, 1)[1]["error_code"] == 0
        assert client.receive_answer(SASL_AUTHENTICATE, 2)[1]["error_code"] == 0
        correlation, body = client.receive_answer(METADATA, 9)
    assert (correlation, body["topics"][0]["error_code"]) == (3, 0)


def test_a_request_before_the_login_is_closed_unanswered(stage: Stage) -> None:
    since = len(stage.behind.connections)
    with RawClient(stage.bootstrap("tapped")) as client:
        client.send(client.frame(METADATA, 9, metadata(None)))
        assert client.is_closed()
    assert [one for one in stage.behind.connections[since:] if one.open] == []


def test_a_token_that_arrives_byte_by_byte_is_as_good(stage: Stage) -> None:
    """T23: any split of the stream is the same stream."""
    topic = stage.make_topic("open.")
    with RawClient(stage.bootstrap("public")) as client:
        whole = (client.frame(SASL_HANDSHAKE, 1, {"mechanism": "PLAIN"})
                 + client.frame(SASL_AUTHENTICATE, 1, {"auth_bytes": first_message(stage.token(), "PLAIN")})
                 + client.frame(PRODUCE, 9, produce((topic, [b"slow"]))))
        for at in range(len(whole)):
            client.send(whole[at : at + 1])
        assert client.receive_answer(SASL_HANDSHAKE, 1)[1]["error_code"] == 0
        assert client.receive_answer(SASL_AUTHENTICATE, 1)[1]["error_code"] == 0
        body = client.receive_answer(PRODUCE, 9)[1]
    assert body["responses"][0]["partition_responses"][0]["error_code"] == 0
    assert [one.value for one in stage.read_direct(topic, 1)] == [b"slow"]


def test_a_stream_in_pieces_both_ways_is_the_same_stream(stage: Stage) -> None:
    """T23 on both sides of kproxy at once, with the relays cutting every seven bytes."""
    topic = stage.make_topic("open.")
    values: list[bytes | None] = [b"%d" % n * 50 for n in range(20)]
    stage.front.faults.piece = stage.behind.faults.piece = 7
    try:
        with stage.raw("tapped") as client:
            body = client.ask(PRODUCE, 9, produce((topic, values)))
            assert body["responses"][0]["partition_responses"][0]["error_code"] == 0
            read = client.ask(FETCH, 12, fetch(topic, max_wait_ms=1000))
    finally:
        stage.front.faults.piece = stage.behind.faults.piece = 0
    assert read["responses"][0]["partitions"][0]["records"][61:] == frames.batch(values)[61:]


def test_all_topics_lists_only_what_may_be_seen_in_every_version(stage: Stage) -> None:
    hidden, shown = stage.make_topic("hidden."), stage.make_topic("open.")
    with stage.raw() as client:
        for version in range(4, 12):
            names = {one["name"] for one in client.ask(METADATA, version, metadata(None))["topics"]}
            assert shown in names and hidden not in names, version
        assert metadata_of(client, [hidden, shown]) == {hidden: TOPIC_DENIED, shown: 0}
        missing = "hidden.never-created"
        assert metadata_of(client, [missing]) == {missing: TOPIC_DENIED}, "existence must not show"


def test_librdkafka_asks_for_all_topics_with_bytes_left_over(stage: Stage) -> None:
    """T24: librdkafka writes the null array of a flexible Metadata request in four bytes, so that three are left over
    behind what any broker reads. Brokers ignore them; an application's list_topics hangs if we do not."""
    shown = stage.make_topic("open.")
    with stage.raw() as client:
        client.send(struct.pack(">ihhih", 25, METADATA, 11, 5, 7) + b"rdkafka" + b"\x00" * 5 + b"\x01\x00\x00")
        correlation, body = client.receive_answer(METADATA, 11)
    assert correlation == 5
    assert shown in {one["name"] for one in body["topics"]}


def test_a_fetch_denied_in_part_serves_the_rest(stage: Stage) -> None:
    closed, opened = stage.make_topic("closed."), stage.make_topic("open.")
    stage.write_direct(closed, [Record(b"secret")])
    stage.write_direct(opened, [Record(b"public")])
    body = fetch(opened)
    body["topics"] = [*fetch(closed)["topics"], *body["topics"]]
    with stage.raw() as client:
        answer = client.ask(FETCH, 12, {**body, "max_wait_ms": 1000})
    found = {topic["topic"]: topic["partitions"][0] for topic in answer["responses"]}
    assert found[closed]["error_code"] == TOPIC_DENIED and not found[closed]["records"]
    assert found[opened]["error_code"] == 0 and b"public" in bytes(found[opened]["records"])


def test_an_answer_larger_than_all_buffers_arrives_whole(stage: Stage) -> None:
    topic = stage.make_topic("open.")
    values = [bytes([65 + n % 26]) * 900_000 for n in range(8)]
    for value in values:
        stage.write_direct(topic, [Record(value)])
    with stage.client("java").consumer(stage.login("tapped")) as consumer:
        consumer.assign(topic, 0, 0)
        assert [one.value for one in consumer.poll(8)] == values


def test_the_worker_is_the_one_the_supervisor_started(stage: Stage) -> None:
    """Guards the other tests' idea of what a worker is."""
    assert "kproxy.dataplane" in command_line(stage.node.workers()[0])
