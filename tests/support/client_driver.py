"""Clients of other languages behind the common face: one class over the commands that all their drivers share."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tests.support.clients import (
    GIVE_UP_SECONDS,
    Admin,
    ClientError,
    Consumer,
    Got,
    KafkaClient,
    Login,
    Producer,
    Record,
    Sent,
)
from tests.support.line_driver import DriverError, LineDriver
from tests.support.transactions import BareTransactions


def to_text(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def to_bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


class _Handle:
    """One open client in the driver, and the translation of its errors."""

    def __init__(self, driver: LineDriver, kind: str, login: Login, **settings: Any) -> None:
        self._driver = driver
        self._name = driver.new_handle(kind)
        self.ask(kind, login=asdict(login), **settings)

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        try:
            return self._driver.ask(do, self._name, **more)
        except DriverError as problem:
            raise ClientError(problem.code, f"{problem.name}: {problem.message}") from None


class _Producer(Producer):
    def __init__(self, handle: _Handle) -> None:
        self._handle = handle

    def send(self, topic: str, records: Sequence[Record], partition: int = 0) -> list[Sent]:
        given = [{"value": to_text(r.value), "key": to_text(r.key),
                  "headers": [[name, to_text(value)] for name, value in r.headers]} for r in records]
        results = self._handle.ask("send", topic=topic, partition=partition,
                                   records=[{**one, "partition": partition} for one in given])["results"]
        return [Sent(code=r["error"]["code"], message=r["error"]["message"]) if r.get("error")
                else Sent(r["partition"], r["offset"]) for r in results]

    def close(self) -> None:
        self._handle.ask("close")


class _Consumer(Consumer):
    def __init__(self, handle: _Handle) -> None:
        self._handle = handle

    def subscribe(self, topic: str) -> None:
        self._handle.ask("subscribe", topic=topic)

    def assign(self, topic: str, partition: int, offset: int) -> None:
        self._handle.ask("assign", topic=topic, partition=partition, offset=offset)

    def poll(self, count: int, seconds: float = GIVE_UP_SECONDS) -> list[Got]:
        found = self._handle.ask("poll", count=count, seconds=seconds)["records"]
        return [Got(r["topic"], r["partition"], r["offset"], to_bytes(r["key"]), to_bytes(r["value"]),
                    tuple((name, to_bytes(value)) for name, value in r["headers"])) for r in found]

    def commit(self) -> None:
        self._handle.ask("commit")

    def close(self) -> None:
        self._handle.ask("close")


class _Admin(Admin):
    def __init__(self, handle: _Handle) -> None:
        self._handle = handle

    def create_topic(self, name: str, partitions: int = 1) -> None:
        self._handle.ask("create_topic", topic=name, partitions=partitions)

    def delete_topic(self, name: str) -> None:
        self._handle.ask("delete_topic", topic=name)

    def list_topics(self) -> set[str]:
        return set(self._handle.ask("list_topics")["topics"])

    def close(self) -> None:
        self._handle.ask("close")


class _Transactions(BareTransactions):
    def __init__(self, handle: _Handle) -> None:
        self._handle = handle
        self.writer = _Producer(handle)

    def begin(self) -> None:
        self._handle.ask("transaction", step="begin")

    def commit(self) -> None:
        self._handle.ask("transaction", step="commit")

    def abort(self) -> None:
        self._handle.ask("transaction", step="abort")

    def close(self) -> None:
        self._handle.ask("close")


class DriverClient(KafkaClient):
    """``driver`` outlives the client."""

    def __init__(self, name: str, driver: LineDriver) -> None:
        self.name = name
        self._driver = driver

    def version(self) -> str:
        return str(self._driver.ask("version")["version"]).removeprefix("v")

    def producer(self, login: Login, *, codec: str = "none", acks: str = "all", idempotent: bool = False) -> Producer:
        return _Producer(_Handle(self._driver, "producer", login, codec=codec, acks=acks, idempotent=idempotent))

    def consumer(self, login: Login, group: str | None = None, *, isolation: str = "read_uncommitted",
                 group_protocol: str = "classic") -> Consumer:
        return _Consumer(_Handle(self._driver, "consumer", login, group=group or "g.unused", isolation=isolation,
                                 protocol=group_protocol))

    def admin(self, login: Login) -> Admin:
        return _Admin(_Handle(self._driver, "admin", login))

    def transactions(self, login: Login, name: str) -> BareTransactions:
        return _Transactions(_Handle(self._driver, "producer", login, codec="none", acks="all", idempotent=True,
                                     transactional=name))
