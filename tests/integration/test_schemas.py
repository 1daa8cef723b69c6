"""Avro through a node, before a real Kafka: schemas come from a registry while requests and answers wait for them."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Iterator
from typing import Any

import fastavro
import pytest

from tests.support.clients import INVALID_RECORD, Record
from tests.support.fake_registry import USER, FakeRegistry
from tests.support.java import JavaDriver
from tests.support.kafka_broker import KafkaBroker
from tests.support.stage import POLICY, Stage

pytestmark = pytest.mark.integration

AVRO_MASKS = """\
masks:
  - {name: tagged, topics: ["pii.*"], directions: [consume], except_roles: [privacy-officer], tags: [PII],
     action: {replace: hidden}}
"""
SCHEMA = json.loads(USER)


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as server:
        yield server  # type: ignore[misc]


@pytest.fixture
def staged(kafka: KafkaBroker, java: JavaDriver, registry: FakeRegistry) -> Iterator[Stage]:
    before, _, rest = POLICY.partition("masks:\n")
    policy = before + AVRO_MASKS + "guards:\n" + rest.partition("guards:\n")[2]
    policy = policy.replace("guards:\n", "guards:\n  - {name: mail, topics: [\"open.*\"], detect: [email],"
                                         " message: no mail}\n", 1)
    with Stage(kafka, java, way="tapped5", policy=policy, registry=registry.url) as stage:
        yield stage


def avro(schema_id: int = 7, **value: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, SCHEMA, value)
    return b"\0" + schema_id.to_bytes(4, "big") + out.getvalue()


def read(stage: Stage, topic: str, count: int, groups: tuple[str, ...] = ("workers",)) -> list[bytes | None]:
    login = stage.login(groups=groups)
    with stage.client("confluent").consumer(login, f"g.{uuid.uuid4().hex[:10]}") as consumer:
        consumer.assign(topic, 0, 0)
        return [one.value for one in consumer.poll(count)]


def test_what_the_schema_tags_is_hidden_from_all_but_those_who_may_see_it(staged: Stage, registry: FakeRegistry
                                                                         ) -> None:
    topic = staged.make_topic("pii.")
    sent = [avro(name=f"Ann {n}", email=f"ann{n}@example.com") for n in range(20)]
    with staged.client("confluent").producer(staged.login()) as producer:
        assert [one.code for one in producer.send(topic, [Record(value) for value in sent])] == [0] * 20
    assert read(staged, topic, 20) == [avro(name=f"Ann {n}", email="hidden") for n in range(20)]
    assert read(staged, topic, 20, ("privacy",)) == sent
    assert registry.asked == ["/schemas/ids/7"]


def test_a_produce_waits_for_its_schema_and_is_refused_by_what_stands_in_it(staged: Stage) -> None:
    topic = staged.make_topic("open.")
    with staged.client("confluent").producer(staged.login()) as producer:
        values = [avro(name="Ann", email="none"), avro(name="Ann", email="ann@example.com"),
                  avro(8, name="Ann", email="none")]
        codes = [producer.send(topic, [Record(value)])[0].code for value in values]
    assert codes == [0, INVALID_RECORD, INVALID_RECORD]
