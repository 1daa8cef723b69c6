"""Safeguards before a real Kafka: what real clients make of refusals, and what reaches the broker."""

from __future__ import annotations

import contextlib
import struct
import uuid
from collections.abc import Callable, Iterator

import pytest

from tests.support import frames
from tests.support.batches import Record as Written
from tests.support.batches import write_batch
from tests.support.client_confluent import ConfluentClient
from tests.support.clients import ClientError, Record, TopicAdmin
from tests.support.java import JavaDriver
from tests.support.kafka_broker import KafkaBroker
from tests.support.ports import wait_for
from tests.support.stage import Stage
from tests.support.tap import PRODUCE
from tests.support.transactions import open_transactions

pytestmark = pytest.mark.integration

METADATA, INIT_PRODUCER_ID, ALTER_CONFIGS = 3, 22, 33
OUT_OF_ORDER, POLICY_VIOLATION = 45, 44
POLICY = """\
roles:
  worker:
    members: '"workers" in principal.groups'
    allow:
      - {operations: [read, write, create, delete, alter, alter_configs], topics: ["*"]}
      - {operations: [write], transactional_ids: ["*"]}
safeguards:
  - {name: all-acks, topics: ["sure.*"], produce: {acks: all}, message: "Nothing may be lost here."}
  - {name: more-acks, topics: ["raised.*"], produce: {acks: all}, action: override}
  - {name: packed, topics: ["packed.*"], produce: {compression: [zstd, lz4]}}
  - {name: once, topics: ["once.*"], produce: {idempotence: true}}
  - {name: small, topics: ["small.*"], produce: {max_batch_bytes: 9000}}
  - {name: short, topics: ["short.*"], produce: {max_record_bytes: 3000}}
  - {name: watched, topics: ["watched.*"], produce: {max_batch_bytes: 100, acks: all}, action: record}
  - {name: shape, topics: ["made.*"], admin: {partitions: {max: 4}, configs: {retention.ms: {max: 86400000}}},
     message: "Ask the platform team."}
  - {name: names, topics: ["made.*"], admin: {names: ["made.good.*"]}}
  - {name: kept, topics: ["made.good.kept.*"], admin: {requests: [delete_topics, delete_records]}}
  - {name: mended, topics: ["mended.*"], action: override, admin: {partitions: {min: 3, max: 5},
     configs: {retention.ms: {min: 3600000, max: 86400000, required: true}}}}
"""


@pytest.fixture(scope="module")
def guarded(kafka: KafkaBroker, java: JavaDriver) -> Iterator[Stage]:
    with Stage(kafka, java, way="tapped3", policy=POLICY) as stage:
        yield stage


def hits(stage: Stage, rule: str, action: str) -> float:
    return stage.node.metric("kproxy_safeguard_hits_total", rule=rule, action=action)


def told(stage: Stage, topic: str) -> set[tuple[str, str]]:
    return {(event["rule"], event["decision"]) for event in stage.node.audit()
            if event["kind"] == "safeguard" and event["topic"] == topic}


@pytest.mark.parametrize("client", ["java", "confluent"])
@pytest.mark.parametrize(("prefix", "bad", "code", "good", "rule"), [
    ("sure.", {"acks": "1"}, 21, {"acks": "all"}, "all-acks"),
    ("packed.", {"codec": "gzip"}, 76, {"codec": "zstd"}, "packed"),
    ("once.", {"acks": "1"}, 44, {"idempotent": True}, "once"),
])
def test_clients_are_refused_by_code_until_they_do_as_asked(
        guarded: Stage, client: str, prefix: str, bad: dict[str, str], code: int, good: dict[str, str],
        rule: str) -> None:
    topic = guarded.make_topic(prefix)
    with guarded.client(client).producer(guarded.login(), **bad) as producer:
        [refused] = producer.send(topic, [Record(b"one" * 50)])
        assert refused.code == code, refused
    assert guarded.end_offset(topic) == 0
    with guarded.client(client).producer(guarded.login(), **good) as producer:
        assert [one.code for one in producer.send(topic, [Record(b"two" * 50)])] == [0]
    wait_for("the audit to tell of it", lambda: told(guarded, topic) == {(rule, "refuse")})
    assert hits(guarded, rule, "refuse") >= 1


def test_java_cuts_a_batch_that_is_too_large_and_loses_nothing(guarded: Stage) -> None:
    """Batches of a producer hold 16 KB, 9 are allowed: each is refused once, cut, and sent again under new sequence
    numbers, while others of the same producer are under way."""
    topic = guarded.make_topic("small.")
    records = [Record(b"%04d" % n + uuid.UUID(int=n * 7**40 % 2**128).bytes * 50) for n in range(400)]
    before = hits(guarded, "small", "refuse")
    with guarded.client("java").producer(guarded.login(), idempotent=True) as producer:
        sent = producer.send(topic, records)
    assert [one.code for one in sent] == [0] * 400
    got = [one.value for one in guarded.read_direct(topic, 400)]
    assert sorted(got) == [record.value for record in records] and guarded.end_offset(topic) == 400
    wait_for("the refusals to be counted", lambda: hits(guarded, "small", "refuse") > before)


@pytest.mark.parametrize("client", ["java", "confluent"])
def test_an_idempotent_producer_goes_on_after_a_record_that_is_too_large(guarded: Stage, client: str) -> None:
    topic = guarded.make_topic("short.")
    with guarded.client(client).producer(guarded.login(), codec="zstd", idempotent=True) as producer:
        assert producer.send(topic, [Record(b"first")])[0].offset == 0
        [refused] = producer.send(topic, [Record(b"v" * 5000)])
        assert refused.code == 10, refused
        assert [one.offset for one in producer.send(topic, [Record(b"second"), Record(b"third")])] == [1, 2]
    assert [one.value for one in guarded.read_direct(topic, 3)] == [b"first", b"second", b"third"]


@pytest.mark.parametrize("client", ["java", "confluent"])
def test_a_transaction_with_a_refused_batch_is_aborted_and_the_next_one_counts(guarded: Stage, client: str) -> None:
    topic = guarded.make_topic("short.")
    with open_transactions(client, guarded.java, guarded.login(), f"tx.{uuid.uuid4().hex}") as writer:
        writer.begin()
        writer.send(topic, [b"fine"])
        with contextlib.suppress(ClientError):
            writer.send(topic, [b"v" * 5000])
        with pytest.raises(ClientError):
            writer.commit()
        writer.abort()
        if client == "java":
            writer.begin()
            writer.send(topic, [b"again"])
            writer.commit()
    guarded.write_direct(topic, [Record(b"end")])
    with guarded.client(client).consumer(guarded.direct(), isolation="read_committed") as consumer:
        consumer.assign(topic, 0, 0)
        wanted = [b"again", b"end"] if client == "java" else [b"end"]
        assert [one.value for one in consumer.poll(len(wanted))] == wanted


@pytest.mark.parametrize("way", ["kproxy", "kafka"])
def test_a_refusal_in_the_middle_of_a_pipeline_is_what_a_brokers_is(guarded: Stage, way: str) -> None:
    """Five batches are under way, the second is refused. Those behind it are out of order to the broker, whoever has
    refused it, and what is sent again in order is taken."""
    topic = f"packed.{uuid.uuid4().hex[:10]}" if way == "kproxy" else f"broker.{uuid.uuid4().hex[:10]}"
    with guarded.client("java").admin(guarded.direct()) as admin:
        # The broker that refuses has a limit of its own; the others' batches are below it.
        admin.create_topic(topic, 1, {"max.message.bytes": "2000"})
    codes, base = [], []
    with guarded.raw() as client:
        made = client.ask(INIT_PRODUCER_ID, 4, {"transactional_id": None, "transaction_timeout_ms": 60000})

        def produce(number: int, bad: bool) -> bytes:
            size = 3000 if bad and way == "kafka" else 10
            batch = write_batch([Written(value=b"v" * size)], codec=0 if bad and way == "kproxy" else 3 * (not bad),
                                producer_id=made["producer_id"], producer_epoch=made["producer_epoch"],
                                base_sequence=number)
            return client.frame(PRODUCE, 9, {"transactional_id": None, "acks": -1, "timeout_ms": 9000, "topic_data": [
                {"name": topic, "partition_data": [{"index": 0, "records": batch}]}]})

        for numbers, bad in (((0, 1, 2, 3, 4), 1), ((1, 2, 3, 4), None)):
            for number in numbers:
                client.send(produce(number, number == bad))
            for _ in numbers:
                _, answer = client.receive_answer(PRODUCE, 9)
                [one] = answer["responses"][0]["partition_responses"]
                codes.append(one["error_code"])
                base.append(one["base_offset"])
    refused = 76 if way == "kproxy" else 10
    assert codes == [0, refused, OUT_OF_ORDER, OUT_OF_ORDER, OUT_OF_ORDER, 0, 0, 0, 0]
    assert base[0] == 0 and base[5:] == [1, 2, 3, 4] and guarded.end_offset(topic) == 5


def test_acks_are_raised_on_the_wire_and_the_client_hears_nothing_of_it(guarded: Stage) -> None:
    topic = guarded.make_topic("raised.")
    since = len(guarded.behind.connections)
    with guarded.client("java").producer(guarded.login("tapped"), acks="1") as producer:
        assert [one.offset for one in producer.send(topic, [Record(b"one"), Record(b"two")])] == [0, 1]
    acks = {frames.read_request(struct.pack(">i", len(frame.data)) + frame.data)[3]["acks"]
            for frame in guarded.behind.requests(PRODUCE, since)}
    assert acks == {-1}
    wait_for("the audit to tell of it", lambda: told(guarded, topic) == {("more-acks", "override")})
    assert hits(guarded, "more-acks", "override") >= 1


def test_what_is_only_recorded_goes_on(guarded: Stage) -> None:
    topic = guarded.make_topic("watched.")
    with guarded.client("confluent").producer(guarded.login(), acks="1") as producer:
        assert [one.code for one in producer.send(topic, [Record(b"v" * 200)])] == [0]
    wait_for("the audit to tell of it", lambda: told(guarded, topic) == {("watched", "record")})
    [event] = [one for one in guarded.node.audit() if one["kind"] == "safeguard" and one["topic"] == topic]
    assert event["principal"] == "dev:job" and event["api"] == "Produce" and event["rules"] == {"watched": 1}
    assert event["reason"] == "acks is 1, and all is required"


def administrator(stage: Stage, client: str) -> TopicAdmin:
    admin = stage.client(client).admin(stage.login())
    assert isinstance(admin, TopicAdmin)
    return admin


def count_partitions(stage: Stage, topic: str) -> int:
    with stage.raw() as client:
        answer = client.ask(METADATA, 9, {"topics": [{"name": topic}], "allow_auto_topic_creation": False})
    return len(answer["topics"][0]["partitions"])


def refused(work: Callable[[], object]) -> str:
    with pytest.raises(ClientError) as caught:
        work()
    assert caught.value.code == POLICY_VIOLATION, caught.value
    return str(caught.value)


@pytest.mark.parametrize("client", ["java", "confluent"])
def test_administrators_are_told_what_a_topic_must_be_like(guarded: Stage, client: str) -> None:
    topic, kept = f"made.good.{uuid.uuid4().hex[:10]}", f"made.good.kept.{uuid.uuid4().hex[:10]}"
    with administrator(guarded, client) as admin:
        assert "Ask the platform team. (partitions: 5 is asked for, at most 4 is required; safeguard shape)" in refused(
            lambda: admin.create_topic(topic, 5))
        assert "the name must be like made.good.*" in refused(lambda: admin.create_topic("made.bad", 1))
        admin.create_topic(topic, 2)
        refused(lambda: admin.create_partitions(topic, 5))
        admin.create_partitions(topic, 4)
        wait_for("the partitions", lambda: count_partitions(guarded, topic) == 4)
        assert "retention.ms is '-1', at most 86400000 is required" in refused(
            lambda: admin.alter_config(topic, "retention.ms", "-1"))
        admin.alter_config(topic, "retention.ms", "86400000")
        wait_for("the config", lambda: admin.configs(topic)["retention.ms"] == "86400000")
        admin.create_topic(kept, 1)
        # librdkafka asks in a version whose answer has no text.
        assert client != "java" or "delete_topics is not for this topic (safeguard kept)" in refused(
            lambda: admin.delete_topic(kept))
        refused(lambda: admin.delete_topic(kept))
        guarded.write_direct(kept, [Record(b"one"), Record(b"two")])
        refused(lambda: admin.delete_records(kept, 1))
        admin.delete_topic(topic)
    assert guarded.end_offset(kept) == 2
    wait_for("the audit to tell of it", lambda: told(guarded, kept) == {("kept", "refuse")})
    assert hits(guarded, "shape", "refuse") >= 3


def test_a_broker_that_creates_topics_by_itself_does_not_create_those_that_have_limits(java: JavaDriver) -> None:
    limited, free = f"made.good.{uuid.uuid4().hex[:10]}", f"free.{uuid.uuid4().hex[:10]}"
    with KafkaBroker(auto_create=True, taps=["tapped"]) as kafka, Stage(kafka, java, policy=POLICY) as stage, \
            stage.raw() as client, ConfluentClient().admin(stage.direct()) as admin:
        for topic in (limited, free):
            client.ask(METADATA, 9, {"topics": [{"name": topic}], "allow_auto_topic_creation": True})
        wait_for("the topic that may be created", lambda: free in admin.list_topics())
        assert limited not in admin.list_topics()
        # Said outright, it is made.
        with administrator(stage, "java") as creator:
            creator.create_topic(limited, 2)
        wait_for("the topic that is asked for", lambda: limited in admin.list_topics())


@pytest.mark.parametrize("client", ["java", "confluent"])
def test_a_topic_is_made_as_the_safeguard_has_it(guarded: Stage, client: str) -> None:
    topic = f"mended.{uuid.uuid4().hex[:10]}"
    with administrator(guarded, client) as admin:
        admin.create_topic(topic, 1)
        wait_for("the topic", lambda: count_partitions(guarded, topic) == 3)
        assert admin.configs(topic)["retention.ms"] == "3600000"
        admin.alter_config(topic, "retention.ms", "999999999999")
        wait_for("the config", lambda: admin.configs(topic)["retention.ms"] == "86400000")
        admin.create_partitions(topic, 9)
        wait_for("the partitions", lambda: count_partitions(guarded, topic) == 5)
    wait_for("the audit to tell of it", lambda: told(guarded, topic) == {("mended", "override")})


def test_the_older_way_to_alter_configs_is_held_to_the_same(guarded: Stage) -> None:
    """It replaces all configs, so what it does not name would go back to the broker's default."""
    topic, other = f"mended.{uuid.uuid4().hex[:10]}", f"made.good.{uuid.uuid4().hex[:10]}"
    with administrator(guarded, "java") as admin:
        admin.create_topic(topic, 3)
        admin.create_topic(other, 1)
        with guarded.raw() as client:
            answer = client.ask(ALTER_CONFIGS, 1, {"validate_only": False, "resources": [
                {"resource_type": 2, "resource_name": topic, "configs": [{"name": "segment.ms", "value": "70000"}]},
                {"resource_type": 2, "resource_name": other, "configs": [{"name": "retention.ms", "value": "-1"}]}]})
        assert [(one["resource_name"], one["error_code"]) for one in answer["responses"]] == [(topic, 0), (other, 44)]
        wait_for("the config", lambda: admin.configs(topic)["segment.ms"] == "70000")
        assert admin.configs(topic)["retention.ms"] == "3600000"
