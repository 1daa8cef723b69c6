"""librdkafka, through confluent-kafka, behind the common face."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic

from tests.support.clients import (
    GIVE_UP_SECONDS,
    LOGIN_FAILED,
    ClientError,
    Consumer,
    Got,
    KafkaClient,
    Login,
    Producer,
    Record,
    Sent,
    TopicAdmin,
    token_expiry,
)


def is_transient(error: KafkaError) -> bool:
    """Whether librdkafka tries again by itself. A connection that is lost in the middle of its login is told as a login
    that failed, but nobody refused it."""
    if error.code() == KafkaError._AUTHENTICATION:
        return "Local: Broker transport failure" in error.str()
    return error.code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT)


class _Errors:
    """librdkafka tells of a refused login beside the call that fails for it; that is the reason worth raising."""

    def __init__(self) -> None:
        self.login = ""

    def on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._AUTHENTICATION and not is_transient(error):
            self.login = error.str()

    def translated(self, error: KafkaError) -> ClientError:
        if self.login or error.code() == KafkaError._AUTHENTICATION:
            return ClientError(LOGIN_FAILED, self.login or error.str())
        return ClientError(error.code() if error.code() > 0 else -1, error.str())


def _settings(login: Login, errors: _Errors) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "bootstrap.servers": login.bootstrap, "error_cb": errors.on_error, "log_level": 0, "socket.timeout.ms": 8000,
        "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 500, "retry.backoff.ms": 50,
        "socket.nagle.disable": True, "broker.address.family": "v4",
    }
    if login.mechanism == "NONE":
        return settings
    settings |= {"security.protocol": login.protocol, "sasl.mechanism": login.mechanism}
    if login.ca:
        # librdkafka has no setting for the version; a list of TLS 1.2 suites does not keep it from 1.3.
        settings |= {"ssl.ca.location": login.ca, "ssl.endpoint.identification.algorithm": "https"}
    if login.mechanism == "PLAIN":
        return settings | {"sasl.username": login.username, "sasl.password": login.token}

    def give_token(_config: str) -> tuple[str, float, str, dict[str, str]]:
        return login.token, token_expiry(login.token, time.time() + 60), "test", login.extensions

    return settings | {"oauth_cb": give_token}


class _ConfluentProducer(Producer):
    def __init__(self, settings: dict[str, Any], errors: _Errors) -> None:
        self._errors = errors
        self._producer = confluent_kafka.Producer(settings)
        self._producer.poll(0)      # Older releases ask for a token only while somebody polls.

    def send(self, topic: str, records: Sequence[Record], partition: int = 0) -> list[Sent]:
        outcome: list[Sent | None] = [None] * len(records)

        def on_delivery(place: int) -> Any:
            def note(error: KafkaError | None, message: Any) -> None:
                if error is None:
                    outcome[place] = Sent(message.partition(), -1 if message.offset() is None else message.offset())
                else:
                    problem = self._errors.translated(error)
                    outcome[place] = Sent(code=problem.code, message=problem.message)

            return note

        for place, record in enumerate(records):
            try:
                self._producer.produce(topic, value=record.value, key=record.key, headers=list(record.headers),
                                       partition=partition, on_delivery=on_delivery(place))
            except confluent_kafka.KafkaException as error:
                # A topic that was refused before is refused at once, without asking the broker again.
                on_delivery(place)(error.args[0], None)
        self._producer.flush(GIVE_UP_SECONDS)
        return [sent if sent is not None else Sent(code=-1, message="no outcome in time") for sent in outcome]

    def close(self) -> None:
        self._producer.purge()
        self._producer.flush(1)


class _ConfluentConsumer(Consumer):
    def __init__(self, settings: dict[str, Any], errors: _Errors) -> None:
        self._errors = errors
        self._consumer = confluent_kafka.Consumer(settings)

    def subscribe(self, topic: str) -> None:
        self._consumer.subscribe([topic])

    def assign(self, topic: str, partition: int, offset: int) -> None:
        self._consumer.assign([TopicPartition(topic, partition, offset)])

    def poll(self, count: int, seconds: float = GIVE_UP_SECONDS) -> list[Got]:
        found: list[Got] = []
        deadline = time.monotonic() + seconds
        while len(found) < count and time.monotonic() < deadline:
            message = self._consumer.poll(0.1)
            if self._errors.login:
                raise ClientError(LOGIN_FAILED, self._errors.login)
            if message is None:
                continue
            error = message.error()
            if error is not None:
                if is_transient(error):
                    continue
                raise self._errors.translated(error)
            found.append(Got(message.topic(), message.partition(), message.offset(), message.key(), message.value(),
                             tuple(message.headers() or ())))
        return found

    def commit(self) -> None:
        try:
            self._consumer.commit(asynchronous=False)
        except KafkaException as problem:
            raise self._errors.translated(problem.args[0]) from None

    def close(self) -> None:
        self._consumer.close()


class _ConfluentAdmin(TopicAdmin):
    def __init__(self, settings: dict[str, Any], errors: _Errors) -> None:
        self._errors = errors
        self._admin = AdminClient(settings)
        self._admin.poll(0)

    def create_topic(self, name: str, partitions: int = 1) -> None:
        self._only(self._admin.create_topics([NewTopic(name, partitions, 1)], request_timeout=10))

    def _only(self, futures: dict[Any, Any]) -> Any:
        """The result of the one thing asked for."""
        try:
            return next(iter(futures.values())).result()
        except KafkaException as problem:
            raise self._errors.translated(problem.args[0]) from None

    def delete_topic(self, name: str) -> None:
        self._only(self._admin.delete_topics([name], request_timeout=10))

    def create_partitions(self, name: str, total: int) -> None:
        self._only(self._admin.create_partitions([NewPartitions(name, total)], request_timeout=10))

    def delete_records(self, name: str, before: int) -> int:
        asked = [TopicPartition(name, 0, before)]
        return int(self._only(self._admin.delete_records(asked, request_timeout=10)).low_watermark)

    def configs(self, name: str) -> dict[str, str]:
        return self._describe(ConfigResource(ConfigResource.Type.TOPIC, name))

    def _describe(self, resource: ConfigResource) -> dict[str, str]:
        found = self._only(self._admin.describe_configs([resource], request_timeout=10))
        return {key: entry.value for key, entry in found.items()}

    def alter_config(self, name: str, key: str, value: str) -> None:
        entry = ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=[entry])
        self._only(self._admin.incremental_alter_configs([resource], request_timeout=10))

    def broker_configs(self, node: int) -> dict[str, str]:
        return self._describe(ConfigResource(ConfigResource.Type.BROKER, str(node)))

    def nodes(self) -> list[str]:
        try:
            found = self._admin.describe_cluster(request_timeout=10).result()
        except KafkaException as problem:
            raise self._errors.translated(problem.args[0]) from None
        return [f"{one.host}:{one.port}" for one in found.nodes]

    def list_topics(self) -> set[str]:
        """Asked in short turns, because librdkafka tells of a refused login only between two calls."""
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while True:
            try:
                return set(self._admin.list_topics(timeout=1).topics)
            except KafkaException as problem:
                self._admin.poll(0)
                if self._errors.login or time.monotonic() > deadline:
                    raise self._errors.translated(problem.args[0]) from None

    def close(self) -> None:
        self._admin.poll(0)


class ConfluentClient(KafkaClient):
    name = "confluent"

    def producer(self, login: Login, *, codec: str = "none", acks: str = "all", idempotent: bool = False) -> Producer:
        errors = _Errors()
        return _ConfluentProducer(_settings(login, errors) | {
            "compression.type": codec, "acks": acks, "enable.idempotence": idempotent, "linger.ms": 20,
            "message.timeout.ms": 10000}, errors)

    def consumer(self, login: Login, group: str | None = None, *, isolation: str = "read_uncommitted",
                 group_protocol: str = "classic") -> Consumer:
        errors = _Errors()
        return _ConfluentConsumer(_settings(login, errors) | {
            "group.protocol": group_protocol,
            "group.id": group or "g.unused", "check.crcs": True, "auto.offset.reset": "earliest",
            "enable.auto.commit": False, "fetch.wait.max.ms": 100, "isolation.level": isolation}, errors)

    def admin(self, login: Login) -> TopicAdmin:
        errors = _Errors()
        return _ConfluentAdmin(_settings(login, errors), errors)
