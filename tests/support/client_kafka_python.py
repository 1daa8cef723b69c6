"""kafka-python behind the common face.

It renews a login on the live connection (KIP-368) after 85 to 95 % of the lifetime it was told (a second at least): it
lets what is under way come back first, a long poll too, sends nothing meanwhile, and closes the connection if the
broker refuses. The token provider is asked anew each time.

What arrives together with the close of a connection it throws away unread, so the reason of a refused login is lost
more often than not, from Kafka itself too; it goes on trying until its bootstrap timeout.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import kafka
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import KafkaError, SaslAuthenticationFailedError, for_code
from kafka.net.sasl.oauth import AbstractTokenProvider
from kafka.structs import TopicPartition

from tests.support.clients import (
    GIVE_UP_SECONDS,
    LOGIN_FAILED,
    ClientError,
    Consumer,
    Got,
    KafkaClient,
    Login,
    LoginWatch,
    Producer,
    Record,
    Sent,
    TopicAdmin,
    build_settings,
)

T = TypeVar("T")
_login_watch = LoginWatch("kafka")


class _Token(AbstractTokenProvider):  # type: ignore[misc]
    def __init__(self, login: Login) -> None:
        super().__init__()
        self._login = login

    def token(self) -> str:
        return self._login.token

    def extensions(self) -> dict[str, str]:
        return self._login.extensions


def _translated(problem: BaseException) -> ClientError:
    if isinstance(problem, SaslAuthenticationFailedError) or _login_watch.reason:
        return ClientError(LOGIN_FAILED, _login_watch.reason or str(problem))
    code = getattr(problem, "errno", None)
    return ClientError(-1 if code is None else int(code), f"{type(problem).__name__}: {problem}")


def _try(work: Callable[[], T]) -> T:
    """Raises ClientError for whatever kafka-python raised."""
    _login_watch.reason = ""
    try:
        return work()
    except KafkaError as problem:
        raise _translated(problem) from None


def _settings(login: Login) -> dict[str, Any]:
    return build_settings(login, _Token(login)) | {
        "bootstrap_timeout_ms": 1500, "reconnect_backoff_ms": 20, "reconnect_backoff_max_ms": 500}


class _KafkaPythonProducer(Producer):
    def __init__(self, settings: dict[str, Any]) -> None:
        self._producer = _try(lambda: kafka.KafkaProducer(**settings))

    def send(self, topic: str, records: Sequence[Record], partition: int = 0) -> list[Sent]:
        pending: list[Any] = []
        for record in records:
            try:
                pending.append(self._producer.send(topic, record.value, record.key, list(record.headers), partition))
            except KafkaError as problem:
                pending.append(problem)
        sent = []
        for each in pending:
            try:
                if isinstance(each, KafkaError):
                    raise each
                place = each.get(GIVE_UP_SECONDS)
                sent.append(Sent(place.partition, place.offset))
            except KafkaError as problem:
                error = _translated(problem)
                sent.append(Sent(code=error.code, message=error.message))
        return sent

    def close(self) -> None:
        self._producer.close(timeout=2)


def learn_partitions(consumer: kafka.KafkaConsumer, topic: str) -> None:
    """For before the group is joined: kafka-python 3.0 does not wait for the metadata of its topics. A leader
    that joins first assigns itself nothing and joins again, and a ``poll`` that times out in the second join loses its
    outcome, so that nothing is ever assigned."""
    _try(lambda: consumer.partitions_for_topic(topic))


class _KafkaPythonConsumer(Consumer):
    def __init__(self, settings: dict[str, Any]) -> None:
        self._consumer = _try(lambda: kafka.KafkaConsumer(**settings))

    def subscribe(self, topic: str) -> None:
        self._consumer.subscribe([topic])
        learn_partitions(self._consumer, topic)

    def assign(self, topic: str, partition: int, offset: int) -> None:
        place = TopicPartition(topic, partition)
        self._consumer.assign([place])
        self._consumer.seek(place, offset)

    def poll(self, count: int, seconds: float = GIVE_UP_SECONDS) -> list[Got]:
        found: list[Got] = []
        deadline = time.monotonic() + seconds
        while len(found) < count and time.monotonic() < deadline:
            batches = _try(functools.partial(self._consumer.poll, timeout_ms=100, max_records=count - len(found)))
            for records in batches.values():
                found += [Got(r.topic, r.partition, r.offset, r.key, r.value, tuple(r.headers)) for r in records]
        return found

    def commit(self) -> None:
        _try(self._consumer.commit)

    def close(self) -> None:
        self._consumer.close(autocommit=False)


class _KafkaPythonAdmin(TopicAdmin):
    def __init__(self, settings: dict[str, Any]) -> None:
        self._admin = _try(lambda: KafkaAdminClient(**settings))

    def create_topic(self, name: str, partitions: int = 1) -> None:
        topics = {name: {"num_partitions": partitions, "replication_factor": 1}}
        _first(_try(lambda: self._admin.create_topics(topics, raise_errors=False))["topics"])

    def list_topics(self) -> set[str]:
        return set(_try(self._admin.list_topics))

    def delete_topic(self, name: str) -> None:
        _first(_try(lambda: self._admin.delete_topics([name], raise_errors=False))["topics"])

    def create_partitions(self, name: str, total: int) -> None:
        answer = _try(lambda: self._admin.create_partitions({name: total}, raise_errors=False))
        _first(answer.to_dict()["results"])

    def delete_records(self, name: str, before: int) -> int:
        place = TopicPartition(name, 0)
        return int(_try(lambda: self._admin.delete_records({place: before}))[place]["low_watermark"])

    def configs(self, name: str) -> dict[str, str]:
        """kafka-python drops the error of a resource; one that is refused has no configs."""
        asked = [ConfigResource(ConfigResourceType.TOPIC, name)]
        found = _try(lambda: self._admin.describe_configs(asked, config_filter="all"))["topic"][name]
        return {key: value["value"] for key, value in found.items()}

    def alter_config(self, name: str, key: str, value: str) -> None:
        """An error comes as text alone, "[Error 29] TopicAuthorizationFailedError: …"."""
        asked = [ConfigResource(ConfigResourceType.TOPIC, name, configs={key: value})]
        told = _try(lambda: self._admin.alter_configs(asked, raise_on_unknown=False))["topic"][name]
        if told != "OK":
            raise ClientError(int(told.partition("[Error ")[2].partition("]")[0]), told)

    def broker_configs(self, node: int) -> dict[str, str]:
        asked = [ConfigResource(ConfigResourceType.BROKER, str(node))]
        found = _try(lambda: self._admin.describe_configs(asked, config_filter="all"))["broker"][str(node)]
        return {key: value["value"] for key, value in found.items()}

    def nodes(self) -> list[str]:
        return [f"{one['host']}:{one['port']}" for one in _try(self._admin.describe_cluster)["brokers"]]

    def close(self) -> None:
        self._admin.close()


def _first(results: Sequence[dict[str, Any]]) -> None:
    code = results[0]["error_code"]
    if code != 0:
        raise ClientError(code, f"{for_code(code).__name__}: {results[0].get('error_message')}")


class KafkaPythonClient(KafkaClient):
    name = "kafka-python"

    def producer(self, login: Login, *, codec: str = "none", acks: str = "all", idempotent: bool = False) -> Producer:
        return _KafkaPythonProducer(_settings(login) | {
            "compression_type": None if codec == "none" else codec, "acks": "all" if acks == "all" else int(acks),
            "enable_idempotence": idempotent, "linger_ms": 20, "max_block_ms": 12000, "delivery_timeout_ms": 12000})

    def consumer(self, login: Login, group: str | None = None, *, isolation: str = "read_uncommitted") -> Consumer:
        return _KafkaPythonConsumer(_settings(login) | {
            "group_id": group, "check_crcs": True, "auto_offset_reset": "earliest", "enable_auto_commit": False,
            "fetch_max_wait_ms": 100, "allow_auto_create_topics": False, "isolation_level": isolation})

    def admin(self, login: Login) -> TopicAdmin:
        return _KafkaPythonAdmin(_settings(login))
