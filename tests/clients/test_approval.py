"""The approval round trip on one open connection, from each real client."""

from __future__ import annotations

import time

import pytest

from tests.support.clients import CLIENT_NAMES, POLICY_VIOLATION, TOPIC_DENIED, KafkaClient, Producer, Record, Sent
from tests.support.ports import wait_for
from tests.support.stage import Stage

pytestmark = pytest.mark.integration

SCORE = [Record(b'{"score":0.7}')]
#: How long a revoked grant may still let something through.
REVOKE_SECONDS = 1.0
#: What may lie between the clocks of a test and a worker.
LATE_SECONDS = 0.1


@pytest.fixture(params=CLIENT_NAMES)
def client(request: pytest.FixtureRequest, stage: Stage) -> KafkaClient:
    return stage.client(request.param)


@pytest.fixture
def model() -> str:
    """A grant is for a model, so each test brings a model of its own."""
    return f"models:/fraud/{time.monotonic_ns()}"


def send_one(producer: Producer, topic: str) -> Sent:
    return producer.send(topic, SCORE)[0]


def accepted(producer: Producer, topic: str) -> Sent | None:
    sent = send_one(producer, topic)
    return sent if sent.code == 0 else None


#: Produce has no room for a text before version 8; aiokafka speaks 7 and is told the authorisation code alone.
REFUSAL = {"aiokafka": TOPIC_DENIED}


def is_refused(client: KafkaClient, producer: Producer, topic: str) -> bool:
    """False where it passed; any other refusal fails the test."""
    sent = send_one(producer, topic)
    assert sent.code in (0, REFUSAL.get(client.name, POLICY_VIOLATION)), sent
    return sent.code != 0


def refused(stage: Stage, client: KafkaClient, producer: Producer, topic: str) -> str:
    """Sends once and is refused; the id of the one request that now waits."""
    assert is_refused(client, producer, topic)
    waiting = stage.pending(topic)
    assert len(waiting) == 1, waiting
    return str(waiting[0]["id"])


def test_a_refused_write_passes_after_approval_and_stops_after_revoke(stage: Stage, client: KafkaClient,
                                                                      model: str) -> None:
    topic = stage.make_topic("scores.")
    with client.producer(stage.login("tapped", subject="fraud-job", model_uri=model)) as producer:
        request_id = refused(stage, client, producer, topic)
        opened = len(stage.front.connections)
        status, answer = stage.review(request_id, reason="model card seen")
        assert status == 200, answer
        assert wait_for("the retry to pass", lambda: accepted(producer, topic)).offset == 0
        grant = stage.grant(topic)
        stage.revoke(grant["id"])
        wait_for("the revoke to be seen", lambda: is_refused(client, producer, topic), REVOKE_SECONDS)
        assert len(stage.front.connections) == opened, "the retry came over another connection"
    assert (grant["principal"], grant["model"], grant["rule"]) == ("dev:fraud-job", model, "new-model")
    assert [one["subject"] for one in grant["approvers"]] == ["carol"]


def test_nobody_approves_what_they_asked_for_or_launched(stage: Stage, client: KafkaClient, model: str) -> None:
    topic = stage.make_topic("scores.")
    login = stage.login(subject="both", groups=["workers", "ml-risk", "approvers"], model_uri=model)
    with client.producer(login) as producer:
        request_id = refused(stage, client, producer, topic)
        assert stage.review(request_id, subject="both", reason="trust me")[0] == 403
        assert stage.review(request_id, subject="alice", reason="I launched it")[0] == 403
        assert stage.review(request_id, subject="dave", groups=["approvers"], reason="not of the role")[0] == 403
        assert refused(stage, client, producer, topic) == request_id


def test_a_grant_ends_on_time(stage: Stage, client: KafkaClient, model: str) -> None:
    topic = stage.make_topic("scores.")
    with client.producer(stage.login(model_uri=model)) as producer:
        request_id = refused(stage, client, producer, topic)
        status, answer = stage.review(request_id, reason="once", **{"for": 4.0})
        assert status == 200, answer
        wait_for("the grant to be in force", lambda: accepted(producer, topic), 4)
        until = float(stage.grant(topic)["until"])
        sent_at = time.time()
        while not is_refused(client, producer, topic):
            assert sent_at < until + LATE_SECONDS, "what is sent after the end is refused"
            sent_at = time.time()
        assert time.time() >= until, "nothing is refused before it"


def test_a_denied_request_stays_refused(stage: Stage, client: KafkaClient, model: str) -> None:
    topic = stage.make_topic("scores.")
    with client.producer(stage.login(model_uri=model)) as producer:
        request_id = refused(stage, client, producer, topic)
        assert stage.review(request_id, "deny", reason="no model card")[0] == 200
        assert is_refused(client, producer, topic)
    assert stage.end_offset(topic) == 0


def test_the_java_client_is_told_which_request_waits(stage: Stage, model: str) -> None:
    """librdkafka and aiokafka do not show an application the broker's text; the Java client does."""
    topic = stage.make_topic("scores.")
    with stage.client("java").producer(stage.login(model_uri=model)) as producer:
        sent = send_one(producer, topic)
    assert stage.pending(topic)[0]["id"] in sent.message
