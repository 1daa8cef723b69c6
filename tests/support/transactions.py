"""Transactional producers of the four clients behind one face."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import aiokafka
import confluent_kafka
from kafka.structs import OffsetAndMetadata, TopicPartition

from tests.support import client_aiokafka, client_confluent, client_java, client_kafka_python
from tests.support.clients import (
    GIVE_UP_SECONDS,
    ClientError,
    Consumer,
    Login,
    Opened,
    Producer,
    Record,
    Sent,
    build_settings,
)
from tests.support.java import JavaDriver


class BareTransactions(Opened):
    """A producer whose transactional id has been initialised. Every method raises ClientError with Kafka's code."""

    writer: Producer

    @abstractmethod
    def begin(self) -> None: ...

    def send(self, topic: str, values: list[bytes]) -> list[Sent]:
        """To partition 0, as part of the transaction; waits for the broker."""
        return self.send_records(topic, [Record(value) for value in values])

    def send_records(self, topic: str, records: Sequence[Record]) -> list[Sent]:
        sent = self.writer.send(topic, records)
        for one in sent:
            if one.code:
                raise ClientError(one.code, one.message)
        return sent

    @abstractmethod
    def commit(self) -> None: ...

    @abstractmethod
    def abort(self) -> None: ...


class Transactions(BareTransactions):
    @abstractmethod
    def send_offset(self, consumer: Consumer, group: str, topic: str, offset: int) -> None:
        """Partition 0 is read up to ``offset`` by the group of ``consumer``, if the transaction commits."""


class _Confluent(Transactions):
    def __init__(self, login: Login, name: str, codec: str) -> None:
        self._errors = client_confluent._Errors()
        self.writer = client_confluent._ConfluentProducer(client_confluent._settings(login, self._errors) | {
            "transactional.id": name, "linger.ms": 5, "compression.type": codec}, self._errors)
        self._producer = self.writer._producer
        self._run(self._producer.init_transactions, GIVE_UP_SECONDS)

    def _run(self, work: Callable[..., Any], *arguments: Any) -> None:
        try:
            work(*arguments)
        except confluent_kafka.KafkaException as problem:
            raise self._errors.translated(problem.args[0]) from None

    def begin(self) -> None:
        self._run(self._producer.begin_transaction)

    def send_offset(self, consumer: Consumer, group: str, topic: str, offset: int) -> None:
        assert isinstance(consumer, client_confluent._ConfluentConsumer)
        self._run(self._producer.send_offsets_to_transaction, [confluent_kafka.TopicPartition(topic, 0, offset)],
                  consumer._consumer.consumer_group_metadata(), GIVE_UP_SECONDS)

    def commit(self) -> None:
        self._run(self._producer.commit_transaction, GIVE_UP_SECONDS)

    def abort(self) -> None:
        self._run(self._producer.abort_transaction, GIVE_UP_SECONDS)

    def close(self) -> None:
        self._producer.purge()
        # One that was fenced or refused for good says so again.
        with contextlib.suppress(confluent_kafka.KafkaException):
            self._producer.flush(1)


class _Aiokafka(Transactions):
    def __init__(self, login: Login, name: str, codec: str) -> None:
        settings = build_settings(login, client_aiokafka._Token(login))
        self.writer = client_aiokafka._AiokafkaProducer(settings | {
            "transactional_id": name, "compression_type": None if codec == "none" else codec})
        self._producer = self.writer._producer

    def begin(self) -> None:
        client_aiokafka._Loop.run(self._producer.begin_transaction())

    def send_offset(self, consumer: Consumer, group: str, topic: str, offset: int) -> None:
        client_aiokafka._Loop.run(self._producer.send_offsets_to_transaction(
            {aiokafka.TopicPartition(topic, 0): offset}, group))

    def commit(self) -> None:
        client_aiokafka._Loop.run(self._producer.commit_transaction())

    def abort(self) -> None:
        client_aiokafka._Loop.run(self._producer.abort_transaction())

    def close(self) -> None:
        client_aiokafka._Loop.run(self._producer.stop())


class _KafkaPython(Transactions):
    def __init__(self, login: Login, name: str, codec: str) -> None:
        self.writer = client_kafka_python._KafkaPythonProducer(client_kafka_python._settings(login) | {
            "transactional_id": name, "linger_ms": 5, "max_block_ms": 12000, "delivery_timeout_ms": 12000,
            "compression_type": None if codec == "none" else codec})
        self._producer = self.writer._producer
        try:
            self._try(self._producer.init_transactions)
        except ClientError:
            self.close()
            raise

    _try = staticmethod(client_kafka_python._try)

    def begin(self) -> None:
        self._try(self._producer.begin_transaction)

    def send_offset(self, consumer: Consumer, group: str, topic: str, offset: int) -> None:
        offsets = {TopicPartition(topic, 0): OffsetAndMetadata(offset, "", -1)}
        assert isinstance(consumer, client_kafka_python._KafkaPythonConsumer)
        members = consumer._consumer.group_metadata()
        self._try(lambda: self._producer.send_offsets_to_transaction(offsets, members))

    def commit(self) -> None:
        self._try(self._producer.commit_transaction)

    def abort(self) -> None:
        self._try(self._producer.abort_transaction)

    def close(self) -> None:
        self._producer.close(timeout=2)


class _Java(Transactions):
    def __init__(self, java: JavaDriver, login: Login, name: str, codec: str) -> None:
        self._handle = client_java._Handle(java, "producer", login, {
            "transactional.id": name, "linger.ms": 5, "delivery.timeout.ms": 12000, "max.block.ms": 12000,
            "compression.type": codec})
        self.writer = client_java._JavaProducer(self._handle)
        try:
            self._step("init")
        except ClientError:
            self.close()
            raise

    def _step(self, step: str, **more: Any) -> None:
        self._handle.ask("transaction", step=step, **more)

    def begin(self) -> None:
        self._step("begin")

    def send_offset(self, consumer: Consumer, group: str, topic: str, offset: int) -> None:
        assert isinstance(consumer, client_java._JavaConsumer)
        self._step("offsets", consumer=consumer._handle.name, topic=topic, offset=offset)

    def commit(self) -> None:
        self._step("commit")

    def abort(self) -> None:
        self._step("abort")

    def close(self) -> None:
        self._handle.ask("close")


def open_transactions(client: str, java: JavaDriver, login: Login, name: str, codec: str = "none") -> Transactions:
    """A producer of the client named so, with this transactional id; raises ClientError where that is refused."""
    if client == "java":
        return _Java(java, login, name, codec)
    kinds = {"confluent": _Confluent, "kafka-python": _KafkaPython, "aiokafka": _Aiokafka}
    return kinds[client](login, name, codec)
