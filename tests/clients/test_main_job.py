"""The main job from each real client, allowed and denied: produce, consumer group, create topic, logins."""

from __future__ import annotations

import uuid

import pytest

from tests.support.clients import (
    CLIENT_NAMES,
    GROUP_DENIED,
    LOGIN_FAILED,
    TOPIC_DENIED,
    ClientError,
    KafkaClient,
    Login,
    Record,
)
from tests.support.stage import Stage

pytestmark = pytest.mark.integration

RECORDS = [Record(f'{{"n":{n}}}'.encode(), b"k", (("trace", b"\x00\xff"),)) for n in range(5)]


@pytest.fixture(params=CLIENT_NAMES)
def client(request: pytest.FixtureRequest, stage: Stage) -> KafkaClient:
    return stage.client(request.param)


def new_name(prefix: str) -> str:
    return f"{prefix}{uuid.uuid4().hex[:10]}"


def code_of(work: object) -> int:
    """The code of the ClientError that ``work()`` ends with; 0 if it does not."""
    try:
        work()  # type: ignore[operator]
    except ClientError as problem:
        return problem.code
    return 0


@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "PLAIN"])
def test_creates_a_topic_produces_and_consumes_in_a_group(stage: Stage, client: KafkaClient, mechanism: str) -> None:
    topic, login = new_name("open."), stage.login(mechanism=mechanism)
    with client.admin(login) as admin:
        admin.create_topic(topic, 2)
        assert topic in admin.list_topics()
    with client.producer(login, acks="all", idempotent=mechanism == "OAUTHBEARER") as producer:
        sent = producer.send(topic, RECORDS, partition=1)
    assert [(one.partition, one.offset, one.code) for one in sent] == [(1, n, 0) for n in range(5)]
    with client.consumer(login, new_name("g.")) as consumer:
        consumer.subscribe(topic)
        got = consumer.poll(5)
        consumer.commit()
    assert [(one.partition, one.offset, one.key, one.value, one.headers) for one in got] \
        == [(1, n, r.key, r.value, r.headers) for n, r in enumerate(RECORDS)]


def test_a_group_goes_on_where_it_committed(stage: Stage, client: KafkaClient) -> None:
    topic, group, login = stage.make_topic("open."), new_name("g."), stage.login()
    stage.write_direct(topic, RECORDS)
    with client.consumer(login, group) as consumer:
        consumer.subscribe(topic)
        assert len(consumer.poll(5)) == 5
        consumer.commit()
    stage.write_direct(topic, [Record(b"later")])
    with client.consumer(login, group) as consumer:
        consumer.subscribe(topic)
        assert [(one.offset, one.value) for one in consumer.poll(1)] == [(5, b"later")]


def test_a_produce_to_a_topic_without_a_rule_is_refused_and_nothing_is_written(stage: Stage,
                                                                              client: KafkaClient) -> None:
    topic = stage.make_topic("closed.")
    with client.producer(stage.login()) as producer:
        assert {one.code for one in producer.send(topic, RECORDS)} == {TOPIC_DENIED}
    assert stage.end_offset(topic) == 0


def test_reading_a_topic_without_a_rule_is_refused(stage: Stage, client: KafkaClient) -> None:
    topic = stage.make_topic("closed.")
    stage.write_direct(topic, RECORDS)
    with client.consumer(stage.login(), new_name("g.")) as consumer:
        says_nothing = client.name == "kafka-python"        # It logs that the topic is refused, and waits on.

        def read() -> None:
            consumer.subscribe(topic)
            assert consumer.poll(1, 2 if says_nothing else 6) == []

        assert code_of(read) == (0 if says_nothing else TOPIC_DENIED)


def test_a_group_without_a_rule_is_refused(stage: Stage, client: KafkaClient) -> None:
    topic = stage.make_topic("open.")
    stage.write_direct(topic, RECORDS)
    with client.consumer(stage.login(), new_name("foreign.")) as consumer:
        def read() -> None:
            consumer.subscribe(topic)
            assert consumer.poll(1, 6) == []

        assert code_of(read) == GROUP_DENIED


def test_a_topic_may_be_created_only_where_the_policy_allows_it(stage: Stage, client: KafkaClient) -> None:
    name = new_name("pii.")
    with client.admin(stage.login()) as admin:
        assert code_of(lambda: admin.create_topic(name)) == TOPIC_DENIED
    with client.admin(stage.direct()) as admin:
        assert name not in admin.list_topics()


def test_a_hidden_topic_appears_in_no_answer(stage: Stage, client: KafkaClient) -> None:
    hidden, shown = stage.make_topic("hidden."), stage.make_topic("open.")
    stage.write_direct(hidden, RECORDS)
    since = len(stage.front.connections)
    login = stage.login("tapped")
    with client.admin(login) as admin:
        topics = admin.list_topics()
    with client.producer(login) as producer:
        assert producer.send(shown, RECORDS)[4].offset == 4
    with client.consumer(login, new_name("g.")) as consumer:
        consumer.subscribe(shown)
        assert len(consumer.poll(5)) == 5
    assert shown in topics
    assert hidden not in topics
    answers = b"".join(bytes(passed.to_client) for passed in stage.front.connections[since:])
    assert shown.encode() in answers
    assert hidden.encode() not in answers


def test_no_address_of_a_broker_reaches_a_client(stage: Stage, client: KafkaClient) -> None:
    topic = stage.make_topic("open.")
    since = len(stage.front.connections)
    login = stage.login("tapped")
    with client.producer(login) as producer:
        producer.send(topic, RECORDS)
    with client.consumer(login, new_name("g.")) as consumer:
        consumer.subscribe(topic)
        assert len(consumer.poll(5)) == 5
    answers = b"".join(bytes(passed.to_client) for passed in stage.front.connections[since:])
    broker_port = stage.kafka.address("tapped")[1].to_bytes(4, "big")
    advertised_port = (stage.node.ports["tapped"] + 1).to_bytes(4, "big")
    assert b"127.0.0.2" + advertised_port in answers
    assert b"127.0.0.1" + broker_port not in answers


#: What is wrong with a token → the word under which its refusal is counted.
WRONG = {"expired": "expired", "audience": "wrong_audience", "signature": "bad_signature",
         "password": "malformed_token"}


def wrong_token(stage: Stage, wrong: str) -> str:
    good = stage.token()
    return {
        "expired": stage.token(lifetime=-600),
        "audience": stage.issuers.issuer.issue("job", "another-service", {"groups": ["workers"]}),
        "signature": good[:-8] + ("AAAAAAAA" if not good.endswith("AAAAAAAA") else "BBBBBBBB"),
        "password": "a-shared-password",
    }[wrong]


@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "PLAIN"])
@pytest.mark.parametrize("wrong", WRONG)
def test_a_login_without_a_good_token_is_refused(stage: Stage, client: KafkaClient, mechanism: str,
                                                 wrong: str) -> None:
    login = Login(stage.bootstrap("public"), mechanism, wrong_token(stage, wrong))
    before = stage.node.metric("kproxy_token_checks_total", result=WRONG[wrong])

    def list_topics() -> None:
        with client.admin(login) as admin:
            admin.list_topics()

    # RFC 7628 lets the server explain before it refuses; aiokafka takes that for success and meets a closed connection.
    misses_the_reason = client.name == "aiokafka" and mechanism == "OAUTHBEARER"
    code = code_of(list_topics)
    if client.name == "kafka-python":
        # It reads the reason only if that comes before the close.
        assert code in (LOGIN_FAILED, -1)
    else:
        assert code == (-1 if misses_the_reason else LOGIN_FAILED)
    assert stage.node.metric("kproxy_token_checks_total", result=WRONG[wrong]) > before
