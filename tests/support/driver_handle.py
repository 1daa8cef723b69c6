"""One client behind a driver's lines: what Java's and all other languages' share."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from tests.support.clients import GIVE_UP_SECONDS, ClientError, Consumer, Got, Producer, Record, Sent
from tests.support.line_driver import DriverError, LineDriver


def to_text(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def to_bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


class DriverHandle:
    """One open client in the driver, and the translation of its errors."""

    def __init__(self, driver: LineDriver, kind: str) -> None:
        self._driver = driver
        self.name = driver.new_handle(kind)

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        try:
            return self._driver.ask(do, self.name, **more)
        except DriverError as problem:
            raise ClientError(problem.code, f"{problem.name}: {problem.message}") from None


class DriverProducer(Producer):
    def __init__(self, handle: DriverHandle) -> None:
        self._handle = handle

    def send(self, topic: str, records: Sequence[Record], partition: int = 0) -> list[Sent]:
        given = [{"value": to_text(r.value), "key": to_text(r.key), "partition": partition,
                  "headers": [[name, to_text(value)] for name, value in r.headers]} for r in records]
        results = self._handle.ask("send", topic=topic, partition=partition, records=given)["results"]
        return [Sent(code=r["error"]["code"], message=r["error"]["message"]) if r.get("error")
                else Sent(r["partition"], r["offset"]) for r in results]

    def close(self) -> None:
        self._handle.ask("close")


class DriverConsumer(Consumer):
    def __init__(self, handle: DriverHandle) -> None:
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
