"""aiokafka behind the common face: its event loop runs in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import aiokafka
from aiokafka import TopicPartition
from aiokafka.abc import AbstractTokenProvider
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import AuthenticationFailedError, KafkaError, for_code

from tests.support.clients import (
    GIVE_UP_SECONDS,
    LOGIN_FAILED,
    Admin,
    ClientError,
    Consumer,
    Got,
    KafkaClient,
    Login,
    LoginWatch,
    Producer,
    Record,
    Sent,
    build_settings,
)

T = TypeVar("T")


_login_watch = LoginWatch("aiokafka")


class _Loop:
    """One event loop for all clients of this process, in a thread that ends with it."""

    _loop: asyncio.AbstractEventLoop | None = None

    @classmethod
    def run(cls, work: Coroutine[Any, Any, T], seconds: float = 2 * GIVE_UP_SECONDS) -> T:
        """Raises ClientError for whatever aiokafka raised."""
        if cls._loop is None:
            cls._loop = asyncio.new_event_loop()
            threading.Thread(target=cls._loop.run_forever, daemon=True, name="aiokafka").start()
        _login_watch.reason = ""
        try:
            return asyncio.run_coroutine_threadsafe(work, cls._loop).result(seconds)
        except (KafkaError, TimeoutError) as problem:
            if _login_watch.reason:
                raise ClientError(LOGIN_FAILED, _login_watch.reason) from None
            raise _translated(problem) from None


def _translated(problem: BaseException) -> ClientError:
    if isinstance(problem, AuthenticationFailedError):
        return ClientError(LOGIN_FAILED, str(problem))
    return ClientError(int(getattr(problem, "errno", -1)), f"{type(problem).__name__}: {problem}")


class _Token(AbstractTokenProvider):  # type: ignore[misc]
    def __init__(self, login: Login) -> None:
        self._login = login

    async def token(self) -> str:
        return self._login.token

    def extensions(self) -> dict[str, str]:
        return self._login.extensions


class _AiokafkaProducer(Producer):
    def __init__(self, settings: dict[str, Any]) -> None:
        async def begin() -> aiokafka.AIOKafkaProducer:
            producer = aiokafka.AIOKafkaProducer(**settings)
            try:
                await producer.start()
            except BaseException:
                await producer.stop()
                raise
            return producer

        self._producer = _Loop.run(begin())

    def send(self, topic: str, records: Sequence[Record], partition: int = 0) -> list[Sent]:
        return _Loop.run(self._send(topic, records, partition))

    async def _send(self, topic: str, records: Sequence[Record], partition: int) -> list[Sent]:
        pending: list[Any] = []
        for record in records:
            try:
                pending.append(await self._producer.send(topic, record.value, record.key, partition,
                                                         headers=list(record.headers)))
            except KafkaError as problem:
                pending.append(problem)
        sent = []
        for each in pending:
            try:
                if isinstance(each, KafkaError):
                    raise each
                place = await each
                sent.append(Sent(place.partition, place.offset) if place is not None else Sent(partition))
            except KafkaError as problem:
                error = _translated(problem)
                sent.append(Sent(code=error.code, message=error.message))
        return sent

    def close(self) -> None:
        _Loop.run(self._producer.stop())


class _AiokafkaConsumer(Consumer):
    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._consumer: aiokafka.AIOKafkaConsumer | None = None

    def subscribe(self, topic: str) -> None:
        self._begin(lambda consumer: consumer.subscribe([topic]))

    def assign(self, topic: str, partition: int, offset: int) -> None:
        place = TopicPartition(topic, partition)
        self._settings = {**self._settings, "group_id": None}
        self._begin(lambda consumer: consumer.assign([place]))
        self._consumer.seek(place, offset)  # type: ignore[union-attr]

    def _begin(self, choose: Any) -> None:
        async def begin() -> aiokafka.AIOKafkaConsumer:
            consumer = aiokafka.AIOKafkaConsumer(**self._settings)
            choose(consumer)
            try:
                await consumer.start()
            except BaseException:
                await consumer.stop()
                raise
            return consumer

        self._consumer = _Loop.run(begin())

    def poll(self, count: int, seconds: float = GIVE_UP_SECONDS) -> list[Got]:
        return _Loop.run(self._poll(count, seconds), seconds + GIVE_UP_SECONDS)

    async def _poll(self, count: int, seconds: float) -> list[Got]:
        assert self._consumer is not None
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        found: list[Got] = []
        while len(found) < count and loop.time() < deadline:
            batches = await self._consumer.getmany(timeout_ms=100, max_records=count - len(found))
            for records in batches.values():
                found += [Got(r.topic, r.partition, r.offset, r.key, r.value, tuple(r.headers)) for r in records]
        return found

    def commit(self) -> None:
        assert self._consumer is not None
        _Loop.run(self._consumer.commit())

    def close(self) -> None:
        if self._consumer is not None:
            _Loop.run(self._consumer.stop())


class _AiokafkaAdmin(Admin):
    def __init__(self, settings: dict[str, Any]) -> None:
        async def begin() -> AIOKafkaAdminClient:
            admin = AIOKafkaAdminClient(**settings)
            try:
                await admin.start()
            except BaseException:
                await admin.close()
                raise
            return admin

        self._admin = _Loop.run(begin())

    def create_topic(self, name: str, partitions: int = 1) -> None:
        self._raise_refused(_Loop.run(self._admin.create_topics([NewTopic(name, partitions, 1)])).topic_errors)

    def delete_topic(self, name: str) -> None:
        self._raise_refused(_Loop.run(self._admin.delete_topics([name])).topic_error_codes)

    @staticmethod
    def _raise_refused(topics: Sequence[tuple[Any, ...]]) -> None:
        for topic in topics:
            if topic[1] != 0:
                raise ClientError(topic[1], f"{for_code(topic[1]).__name__}: {topic[2] if len(topic) > 2 else ''}")

    def list_topics(self) -> set[str]:
        return set(_Loop.run(self._admin.list_topics()))

    def close(self) -> None:
        _Loop.run(self._admin.close())


class AiokafkaClient(KafkaClient):
    name = "aiokafka"

    def producer(self, login: Login, *, codec: str = "none", acks: str = "all", idempotent: bool = False) -> Producer:
        return _AiokafkaProducer(build_settings(login, _Token(login)) | {
            "compression_type": None if codec == "none" else codec, "acks": "all" if acks == "all" else int(acks),
            "enable_idempotence": idempotent, "linger_ms": 20})

    def consumer(self, login: Login, group: str | None = None, *, isolation: str = "read_uncommitted") -> Consumer:
        return _AiokafkaConsumer(build_settings(login, _Token(login)) | {
            "group_id": group, "check_crcs": True, "auto_offset_reset": "earliest", "enable_auto_commit": False,
            "fetch_max_wait_ms": 100, "isolation_level": isolation})

    def admin(self, login: Login) -> Admin:
        return _AiokafkaAdmin(build_settings(login, _Token(login)))
