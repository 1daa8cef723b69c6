"""Clients of other languages behind the common face: one class over the commands that all their drivers share."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tests.support.clients import Admin, Consumer, KafkaClient, Login, Producer
from tests.support.driver_handle import DriverConsumer, DriverHandle, DriverProducer
from tests.support.line_driver import LineDriver
from tests.support.transactions import BareTransactions


def _open(driver: LineDriver, kind: str, login: Login, **settings: Any) -> DriverHandle:
    handle = DriverHandle(driver, kind)
    handle.ask(kind, login=asdict(login), **settings)
    return handle


class _Admin(Admin):
    def __init__(self, handle: DriverHandle) -> None:
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
    def __init__(self, handle: DriverHandle) -> None:
        self._handle = handle
        self.writer = DriverProducer(handle)

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
        return DriverProducer(_open(self._driver, "producer", login, codec=codec, acks=acks, idempotent=idempotent))

    def consumer(self, login: Login, group: str | None = None, *, isolation: str = "read_uncommitted",
                 group_protocol: str = "classic") -> Consumer:
        return DriverConsumer(_open(self._driver, "consumer", login, group=group or "g.unused", isolation=isolation,
                                 protocol=group_protocol))

    def admin(self, login: Login) -> Admin:
        return _Admin(_open(self._driver, "admin", login))

    def transactions(self, login: Login, name: str) -> BareTransactions:
        return _Transactions(_open(self._driver, "producer", login, codec="none", acks="all", idempotent=True,
                                     transactional=name))
