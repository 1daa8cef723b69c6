"""Ordinary Kafka clients (librdkafka) as the demo's people and jobs use them: nothing of kproxy is in them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from kproxy.demo.embedded import kafka, silent

SECONDS = 20.0


class Delivery(NamedTuple):
    """What a producer was told of one record. ``code`` is Kafka's error code, 0 for none."""

    code: int
    text: str
    partition: int = -1
    offset: int = -1


def common(bootstrap: str, token: str, name: str, declared: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Settings of a client that logs in with a token. ``declared`` travels as SASL extensions: its own words."""
    expiry = time.time() + 300

    def give_token(_settings: str) -> tuple[str, float, str, dict[str, str]]:
        return token, expiry, name, dict(declared or {})

    return {"bootstrap.servers": bootstrap, "client.id": name, "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanisms": "OAUTHBEARER", "oauth_cb": give_token, "allow.auto.create.topics": False,
            "topic.metadata.propagation.max.ms": 2000, "socket.timeout.ms": 10000}


class Writer:
    """A producer that stays connected."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._producer = kafka().Producer(
            settings | {"message.timeout.ms": 15000, "enable.idempotence": False, "linger.ms": 5}, logger=silent)

    def write(self, topic: str, values: list[Any], partition: int = 0) -> list[Delivery]:
        """Writes JSON values and waits until the broker, or kproxy, has answered for each."""
        told: list[Delivery] = []

        def delivered(error: Any, message: Any) -> None:
            told.append(Delivery(error.code(), error.str()) if error is not None
                        else Delivery(0, "", message.partition(), message.offset()))

        for value in values:
            self._producer.produce(topic, json.dumps(value).encode(), partition=partition, on_delivery=delivered)
        self._producer.flush(SECONDS)
        return told


def read(
    settings: dict[str, Any], topic: str, count: int, group: str = "none", *, join: bool = False
) -> tuple[list[Any], int]:
    """The first ``count`` values of a topic's partition 0, and the error code that ended the reading early (0: none).

    With ``join`` the client joins its group and is given its partitions; else it picks them itself.
    """
    module = kafka()
    consumer = module.Consumer(settings | {
        "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": join}, logger=silent)
    values: list[Any] = []
    try:
        if join:
            consumer.subscribe([topic])
        else:
            consumer.assign([module.TopicPartition(topic, 0, module.OFFSET_BEGINNING)])
        deadline = time.monotonic() + SECONDS
        while len(values) < count and time.monotonic() < deadline:
            message = consumer.poll(0.2)
            if message is None:
                continue
            if message.error() is not None:
                return values, int(message.error().code())
            values.append(json.loads(message.value()))
        return values, 0
    finally:
        consumer.close()


def count_held(settings: dict[str, Any], topic: str) -> int:
    """How many records the broker ever took into a topic's partition 0."""
    module = kafka()
    consumer = module.Consumer(settings | {"group.id": "none"}, logger=silent)
    try:
        return int(consumer.get_watermark_offsets(module.TopicPartition(topic, 0), timeout=SECONDS)[1])
    finally:
        consumer.close()


def topics_seen(settings: dict[str, Any]) -> set[str]:
    """The names a client is shown when it asks for all topics."""
    client = kafka().Producer(settings, logger=silent)
    client.poll(1)  # gives the token; only then can it log in
    return set(client.list_topics(timeout=SECONDS).topics)


def login_error(bootstrap: str, username: str, password: str) -> str:
    """What a client with a name and a password is told; empty if it was let in."""
    module = kafka()
    errors: list[str] = []

    def note(error: Any) -> None:
        if error.code() == module.KafkaError._AUTHENTICATION:
            errors.append(error.str())

    client = module.Producer({
        "bootstrap.servers": bootstrap, "security.protocol": "SASL_PLAINTEXT", "sasl.mechanisms": "PLAIN",
        "sasl.username": username, "sasl.password": password, "error_cb": note}, logger=silent)
    deadline = time.monotonic() + SECONDS
    while not errors and time.monotonic() < deadline:
        try:
            client.list_topics(timeout=0.5)
            return ""
        except module.KafkaException:
            client.poll(0.1)
    return errors[0] if errors else "no answer"
