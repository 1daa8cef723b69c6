"""The administration of topics from real clients: allowed, denied, behind an approval; and what they were sent."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.support.client_confluent import ConfluentClient
from tests.support.clients import (
    ADMIN_NAMES,
    CLUSTER_DENIED,
    POLICY_VIOLATION,
    TOPIC_DENIED,
    ClientError,
    KafkaClient,
    Login,
    Record,
    TopicAdmin,
)
from tests.support.ports import wait_for
from tests.support.stage import TAPPED_HOST, Stage

pytestmark = pytest.mark.integration

RECORDS = [Record(f'{{"n":{n}}}'.encode()) for n in range(5)]
UNKNOWN_TOPIC = 3


@pytest.fixture(params=ADMIN_NAMES)
def client(request: pytest.FixtureRequest, stage: Stage) -> KafkaClient:
    return stage.client(request.param)


def steward(stage: Stage, listener: str = "public") -> Login:
    return stage.login(listener, subject="sue", groups=["stewards"])


def opened(client: KafkaClient, login: Login) -> TopicAdmin:
    admin = client.admin(login)
    assert isinstance(admin, TopicAdmin)
    return admin


def code_of(work: Callable[[], object]) -> int:
    try:
        work()
    except ClientError as problem:
        return problem.code
    return 0


@contextmanager
def operator(stage: Stage) -> Iterator[TopicAdmin]:
    """Past kproxy."""
    with opened(ConfluentClient(), stage.direct()) as admin:
        yield admin


def has_partition(stage: Stage, topic: str, partition: int) -> bool:
    with ConfluentClient().producer(stage.direct()) as producer:
        return producer.send(topic, RECORDS[:1], partition)[0].code == 0


def test_a_topic_grows_loses_records_changes_and_goes(stage: Stage, client: KafkaClient) -> None:
    """And no address of a broker, and no topic of anybody else, is in what the client was sent."""
    hidden = stage.make_topic("hidden.")
    since = len(stage.front.connections)
    name = f"open.{uuid.uuid4().hex[:10]}"
    with opened(client, steward(stage, "tapped")) as admin, operator(stage) as direct:
        admin.create_topic(name, 1)
        wait_for("the topic to be there", lambda: name in admin.list_topics())
        stage.write_direct(name, RECORDS)
        assert admin.delete_records(name, 3) == 3
        admin.alter_config(name, "retention.ms", "86400000")
        wait_for("the new config", lambda: admin.configs(name).get("retention.ms") == "86400000")
        admin.create_partitions(name, 3)
        wait_for("the new partition", lambda: has_partition(stage, name, 2))
        assert admin.nodes() == [f"{TAPPED_HOST}:{stage.node.ports['tapped'] + 1}"]
        assert hidden not in admin.list_topics()
        admin.delete_topic(name)
        wait_for("the topic to be gone", lambda: name not in direct.list_topics())
        assert hidden in direct.list_topics()
    answers = b"".join(bytes(passed.to_client) for passed in stage.front.connections[since:])
    host, port = stage.kafka.address("tapped")
    assert name.encode() in answers and hidden.encode() not in answers
    assert host.encode() + port.to_bytes(4, "big") not in answers and f"{host}:{port}".encode() not in answers
    describes_cluster = set() if client.name == "confluent" else {60}       # librdkafka asks for metadata instead
    assert {frame.api for frame in stage.front.requests(since=since)} >= {19, 20, 21, 32, 37, 44} | describes_cluster


def test_what_is_not_allowed_is_refused_and_changes_nothing(stage: Stage, client: KafkaClient) -> None:
    """A worker may create, read and write open topics; nothing else."""
    topic = stage.make_topic("open.")
    stage.write_direct(topic, RECORDS)
    with operator(stage) as direct, opened(client, stage.login()) as admin:
        before = direct.configs(topic)
        assert code_of(lambda: admin.delete_topic(topic)) == TOPIC_DENIED
        assert code_of(lambda: admin.create_partitions(topic, 3)) == TOPIC_DENIED
        assert code_of(lambda: admin.delete_records(topic, 3)) == TOPIC_DENIED
        assert code_of(lambda: admin.alter_config(topic, "retention.ms", "1")) == TOPIC_DENIED
        shows_errors = client.name != "kafka-python"
        assert shown(lambda: admin.configs(topic)) == (TOPIC_DENIED if shows_errors else {})
        assert shown(lambda: admin.broker_configs(1)) == (CLUSTER_DENIED if shows_errors else {})
        assert direct.configs(topic) == before
    assert not has_partition(stage, topic, 1)
    assert stage.read_direct(topic, 1)[0].offset == 0


def shown(ask: Callable[[], dict[str, str]]) -> dict[str, str] | int:
    """The configs, or the code of the refusal."""
    try:
        return ask()
    except ClientError as problem:
        return problem.code


def test_a_hidden_topic_is_refused_like_one_that_is_not_there(stage: Stage, client: KafkaClient) -> None:
    hidden, missing = stage.make_topic("hidden."), "hidden.nowhere"
    with opened(client, steward(stage)) as admin:
        for name in (hidden, missing):
            assert code_of(lambda name=name: admin.delete_topic(name)) == TOPIC_DENIED
            assert code_of(lambda name=name: admin.create_partitions(name, 3)) == TOPIC_DENIED
            assert code_of(lambda name=name: admin.alter_config(name, "retention.ms", "1")) == TOPIC_DENIED
        assert code_of(lambda: admin.delete_topic("open.nowhere")) == UNKNOWN_TOPIC
    with operator(stage) as direct:
        assert hidden in direct.list_topics()


def test_a_topic_that_people_must_agree_to_lose_goes_when_they_do(stage: Stage, client: KafkaClient) -> None:
    topic = stage.make_topic("kept.")
    with opened(client, steward(stage)) as admin, operator(stage) as direct:
        assert code_of(lambda: admin.delete_topic(topic)) == POLICY_VIOLATION
        waiting = stage.pending(topic)
        assert [(one["operation"], one["rule"]) for one in waiting] == [("delete", "no-lonely-deletes")]
        assert topic in direct.list_topics()
        status, answer = stage.review(waiting[0]["id"], reason="nobody reads it")
        assert status == 200, answer
        wait_for("the deletion to pass", lambda: code_of(lambda: admin.delete_topic(topic)) in (0, UNKNOWN_TOPIC))
        wait_for("the topic to be gone", lambda: topic not in direct.list_topics())
