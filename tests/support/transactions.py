"""Transactional producers of the four clients behind one face."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import aiokafka
import confluent_kafka
import kafka
from kafka.structs import OffsetAndMetadata, TopicPartition

from tests.support import client_aiokafka, client_confluent, client_java, client_kafka_python
from tests.support.clients import GIVE_UP_SECONDS, ClientError, Consumer, Login, Opened, Record
from tests.support.java import JavaDriver


class Transactions(Opened):
    """A producer whose transactional id has been initialised. Every method raises ClientError with Kafka's code."""

    @abstractmethod
    def begin(self) -> None: ...

    @abstractmethod
    def send(self, topic: str, values: list[bytes]) -> None:
        """To partition 0, as part of the transaction; waits for the broker."""

    @abstractmethod
    def send_offset(self, consumer: Consumer, group: str, topic: str, offset: int) -> None:
        """Partition 0 is read up to ``offset`` by the group of ``consumer``, if the transaction commits."""

    @abstractmethod
    def commit(self) -> None: ...

    @abstractmethod
    def abort(self) -> None: ...


class _Confluent(Transactions):
    def __init__(self, login: Login, name: str) -> None:
        self._errors = client_confluent._Errors()
        self._producer = confluent_kafka.Producer(client_confluent._settings(login, self._errors) | {
            "transactional.id": name, "linger.ms": 5})
        self._run(self._producer.init_transactions, GIVE_UP_SECONDS)

    def _run(self, work: Callable[..., Any], *arguments: Any) -> None:
        try:
            work(*arguments)
        except confluent_kafka.KafkaException as problem:
            raise self._errors.translated(problem.args[0]) from None

    def begin(self) -> None:
        self._run(self._producer.begin_transaction)

    def send(self, topic: str, values: list[bytes]) -> None:
        for value in values:
            self._producer.produce(topic, value=value, partition=0)
        assert self._producer.flush(GIVE_UP_SECONDS) == 0

    def send_offset(self, consumer: Consumer, group: str, topic: str, offset: int) -> None:
        assert isinstance(consumer, client_confluent._ConfluentConsumer)
        self._run(self._producer.send_offsets_to_transaction, [confluent_kafka.TopicPartition(topic, 0, offset)],
                  consumer._consumer.consumer_group_metadata())

    def commit(self) -> None:
        self._run(self._producer.commit_transaction, GIVE_UP_SECONDS)

    def abort(self) -> None:
        self._run(self._producer.abort_transaction, GIVE_UP_SECONDS)

    def close(self) -> None:
        self._producer.purge()
        self._producer.flush(1)


class _Aiokafka(Transactions):
    def __init__(self, login: Login, name: str) -> None:
        async def begin() -> aiokafka.AIOKafkaProducer:
            producer = aiokafka.AIOKafkaProducer(**client_aiokafka._settings(login), transactional_id=name)
            try:
                await producer.start()
            except BaseException:
                await producer.stop()
                raise
            return producer

        self._producer = client_aiokafka._Loop.run(begin())

    def begin(self) -> None:
        client_aiokafka._Loop.run(self._producer.begin_transaction())

    def send(self, topic: str, values: list[bytes]) -> None:
        async def send() -> None:
            for pending in [await self._producer.send(topic, value, partition=0) for value in values]:
                await pending

        client_aiokafka._Loop.run(send())

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
    def __init__(self, login: Login, name: str) -> None:
        self._producer = self._try(lambda: kafka.KafkaProducer(
            **client_kafka_python._settings(login), transactional_id=name, linger_ms=5, max_block_ms=12000,
            delivery_timeout_ms=12000))
        try:
            self._try(self._producer.init_transactions)
        except ClientError:
            self.close()
            raise

    _try = staticmethod(client_kafka_python._try)

    def begin(self) -> None:
        self._try(self._producer.begin_transaction)

    def send(self, topic: str, values: list[bytes]) -> None:
        for pending in [self._producer.send(topic, value, partition=0) for value in values]:
            self._try(lambda pending=pending: pending.get(GIVE_UP_SECONDS))

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
    def __init__(self, java: JavaDriver, login: Login, name: str) -> None:
        self._handle = client_java._Handle(java, "producer", login, {
            "transactional.id": name, "linger.ms": 5, "delivery.timeout.ms": 12000, "max.block.ms": 12000})
        self._producer = client_java._JavaProducer(self._handle)
        try:
            self._step("init")
        except ClientError:
            self.close()
            raise

    def _step(self, step: str, **more: Any) -> None:
        self._handle.ask("transaction", step=step, **more)

    def begin(self) -> None:
        self._step("begin")

    def send(self, topic: str, values: list[bytes]) -> None:
        refused = [one for one in self._producer.send(topic, [Record(value) for value in values]) if one.code]
        if refused:
            raise ClientError(refused[0].code, refused[0].message)

    def send_offset(self, consumer: Consumer, group: str, topic: str, offset: int) -> None:
        assert isinstance(consumer, client_java._JavaConsumer)
        self._step("offsets", consumer=consumer._handle.name, topic=topic, offset=offset)

    def commit(self) -> None:
        self._step("commit")

    def abort(self) -> None:
        self._step("abort")

    def close(self) -> None:
        self._handle.ask("close")


def open_transactions(client: str, java: JavaDriver, login: Login, name: str) -> Transactions:
    """A producer of the client named so, with this transactional id; raises ClientError where that is refused."""
    if client == "confluent":
        return _Confluent(login, name)
    if client == "kafka-python":
        return _KafkaPython(login, name)
    return _Aiokafka(login, name) if client == "aiokafka" else _Java(java, login, name)
