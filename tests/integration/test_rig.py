"""The rig itself, without kproxy: if these fail, a failure of the other integration tests says nothing about kproxy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.clients import CLIENT_NAMES, LOGIN_FAILED, ClientError, Login, Record, open_client
from tests.support.java import JavaDriver
from tests.support.kafka_broker import PASSWORD, USERNAME, KafkaBroker
from tests.support.ports import wait_for
from tests.support.raw_client import METADATA, RawClient, metadata
from tests.support.tap import FETCH, PRODUCE, Tap, fetched_records, produced_records

pytestmark = pytest.mark.integration

RECORDS = [Record(b"a", b"k", (("h", b"1"), ("n", None))), Record(None, b"k"), Record(b"", None)]


@pytest.mark.parametrize("name", CLIENT_NAMES)
def test_each_client_does_every_verb_against_kafka_itself(kafka: KafkaBroker, java: JavaDriver, name: str) -> None:
    client, topic = open_client(name, java), f"rig-{name}"
    # kafka-python sends no header without a value.
    records = [replace(RECORDS[0], headers=RECORDS[0].headers[:1]), *RECORDS[1:]] if name == "kafka-python" else RECORDS
    login = Login(kafka.bootstrap("sasl"), "PLAIN", PASSWORD, USERNAME)
    with client.admin(login) as admin:
        admin.create_topic(topic, 2)
        assert topic in admin.list_topics()
        with pytest.raises(ClientError) as problem:
            admin.create_topic(topic)
        assert problem.value.code == 36
    with client.producer(login, codec="gzip", idempotent=True) as producer:
        assert [(one.partition, one.offset) for one in producer.send(topic, records, 1)] == [(1, 0), (1, 1), (1, 2)]
    with client.consumer(login, f"rig-{name}") as consumer:
        consumer.subscribe(topic)
        got = consumer.poll(3)
        consumer.commit()
    assert [(one.key, one.value, one.headers) for one in got] == [(r.key, r.value, r.headers) for r in records]
    with client.consumer(login) as consumer:
        consumer.assign(topic, 1, 2)
        assert [one.offset for one in consumer.poll(1)] == [2]


@pytest.mark.parametrize("name", CLIENT_NAMES)
def test_each_client_tells_a_refused_login(kafka: KafkaBroker, java: JavaDriver, name: str) -> None:
    with pytest.raises(ClientError) as problem, \
            open_client(name, java).admin(Login(kafka.bootstrap("sasl"), "PLAIN", "wrong", USERNAME)) as admin:
        admin.list_topics()
    assert problem.value.code in (LOGIN_FAILED, -1) if name == "kafka-python" else problem.value.code == LOGIN_FAILED


def test_a_tap_keeps_what_passed_and_can_cut_it_small(kafka: KafkaBroker, java: JavaDriver) -> None:
    with Tap((kafka.address("tapped4"), kafka.behind("tapped4"))) as tap:
        tap.faults.piece = 11
        client, login = open_client("java", java), Login(kafka.bootstrap("tapped4"))
        with client.admin(login) as admin:
            admin.create_topic("rig-tap")
        with client.producer(login, codec="lz4") as producer:
            assert [one.offset for one in producer.send("rig-tap", RECORDS)] == [0, 1, 2]
        with client.consumer(login) as consumer:
            consumer.assign("rig-tap", 0, 0)
            assert [one.value for one in consumer.poll(3)] == [b"a", None, b""]
        (topic, partition, produced), = produced_records(tap.requests(PRODUCE))
        fetched = fetched_records(tap.responses(FETCH))
    assert partition == 0 and topic
    # The broker sets the leader epoch (12..16), which no CRC covers; all else is what the producer wrote.
    assert fetched[0][2][:12] + fetched[0][2][16:] == produced[:12] + produced[16:]


def test_topics_come_into_being_on_first_use_only_where_the_broker_is_told_so(
        kafka: KafkaBroker, kafka_auto_create: KafkaBroker) -> None:
    def shows(client: RawClient) -> bool:
        return "rig-new" in {one["name"] for one in client.ask(METADATA, 9, metadata(None))["topics"]}

    ask_for = {"topics": [{"name": "rig-new"}], "allow_auto_topic_creation": True}
    with RawClient(kafka_auto_create.bootstrap()) as client:
        client.ask(METADATA, 9, ask_for)
        wait_for("the topic to be created", lambda: shows(client))
    with RawClient(kafka.bootstrap()) as client:
        assert client.ask(METADATA, 9, ask_for)["topics"][0]["error_code"] == 3
        assert not shows(client)
