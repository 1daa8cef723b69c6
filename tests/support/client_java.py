"""The Java client behind the common face."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from tests.support.clients import (
    GIVE_UP_SECONDS,
    ClientError,
    Consumer,
    Got,
    KafkaClient,
    Login,
    Producer,
    Record,
    Sent,
    TopicAdmin,
)
from tests.support.java import JavaDriver
from tests.support.line_driver import DriverError

_OAUTH_MODULE = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule"
_PLAIN_MODULE = "org.apache.kafka.common.security.plain.PlainLoginModule"


def _text(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


class _Handle:
    """One open client in the driver, and the translation of its errors."""

    def __init__(self, java: JavaDriver, kind: str, login: Login, settings: dict[str, Any]) -> None:
        self.java = java
        self.name = java.new_handle(kind)
        common = {"bootstrap.servers": login.bootstrap, "request.timeout.ms": 8000, "default.api.timeout.ms": 12000,
                  "reconnect.backoff.ms": 20, "retry.backoff.ms": 50}
        self.ask(kind, settings={k: str(v) for k, v in {**common, **self._security(login), **settings}.items()})

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        try:
            return self.java.ask(do, self.name, **more)
        except DriverError as problem:
            raise ClientError(problem.code, f"{problem.name}: {problem.message}") from None

    def _security(self, login: Login) -> dict[str, Any]:
        if login.mechanism == "NONE":
            return {}
        common = {"security.protocol": login.protocol, "sasl.mechanism": login.mechanism}
        if login.ca:
            common |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": login.ca,
                       "ssl.enabled.protocols": f"TLSv{login.tls_version}", "ssl.protocol": f"TLSv{login.tls_version}"}
        if login.mechanism == "PLAIN":
            return {**common, "sasl.jaas.config":
                    f'{_PLAIN_MODULE} required username="{login.username}" password="{login.token}";'}
        self.ask("token", token=login.token, extensions=login.extensions)
        return {**common, "sasl.login.callback.handler.class": "TokenLogin",
                "sasl.login.refresh.min.period.seconds": 0, "sasl.login.refresh.buffer.seconds": 0,
                "sasl.jaas.config": f'{_OAUTH_MODULE} required source="{self.name}";'}


class _JavaProducer(Producer):
    def __init__(self, handle: _Handle) -> None:
        self._handle = handle

    def send(self, topic: str, records: Sequence[Record], partition: int = 0) -> list[Sent]:
        given = [{"value": _text(r.value), "key": _text(r.key), "partition": partition,
                  "headers": [[name, _text(value)] for name, value in r.headers]} for r in records]
        results = self._handle.ask("send", topic=topic, records=given)["results"]
        return [Sent(code=r["error"]["code"], message=r["error"]["message"]) if "error" in r
                else Sent(r["partition"], r["offset"]) for r in results]

    def put_token(self, token: str) -> None:
        """The next login of this producer uses another token."""
        self._handle.ask("token", token=token, extensions={})

    def metrics(self) -> dict[str, float]:
        return dict(self._handle.ask("metrics")["metrics"])

    def close(self) -> None:
        self._handle.ask("close")


class _JavaConsumer(Consumer):
    def __init__(self, handle: _Handle) -> None:
        self._handle = handle

    def subscribe(self, topic: str) -> None:
        self._handle.ask("subscribe", topic=topic)

    def assign(self, topic: str, partition: int, offset: int) -> None:
        self._handle.ask("assign", topic=topic, partition=partition, offset=offset)

    def poll(self, count: int, seconds: float = GIVE_UP_SECONDS) -> list[Got]:
        found = self._handle.ask("poll", count=count, seconds=seconds)["records"]
        return [Got(r["topic"], r["partition"], r["offset"], _bytes(r["key"]), _bytes(r["value"]),
                    tuple((name, _bytes(value)) for name, value in r["headers"])) for r in found]

    def commit(self) -> None:
        self._handle.ask("commit")

    def put_token(self, token: str) -> None:
        """The next login of this consumer uses another token."""
        self._handle.ask("token", token=token, extensions={})

    def close(self) -> None:
        self._handle.ask("close")


class _JavaAdmin(TopicAdmin):
    def __init__(self, handle: _Handle) -> None:
        self._handle = handle

    def create_topic(self, name: str, partitions: int = 1, configs: dict[str, str] | None = None) -> None:
        self._handle.ask("create_topic", topic=name, partitions=partitions, configs=configs or {})

    def list_topics(self) -> set[str]:
        return set(self._handle.ask("list_topics")["topics"])

    def delete_topic(self, name: str) -> None:
        self._handle.ask("delete_topic", topic=name)

    def create_partitions(self, name: str, total: int) -> None:
        self._handle.ask("create_partitions", topic=name, total=total)

    def delete_records(self, name: str, before: int) -> int:
        return int(self._handle.ask("delete_records", topic=name, before=before)["low"])

    def configs(self, name: str) -> dict[str, str]:
        return dict(self._handle.ask("configs", type="TOPIC", name=name)["configs"])

    def alter_config(self, name: str, key: str, value: str) -> None:
        self._handle.ask("alter_config", topic=name, key=key, value=value)

    def broker_configs(self, node: int) -> dict[str, str]:
        return dict(self._handle.ask("configs", type="BROKER", name=str(node))["configs"])

    def nodes(self) -> list[str]:
        return list(self._handle.ask("describe_cluster")["nodes"])

    def close(self) -> None:
        self._handle.ask("close")


class JavaClient(KafkaClient):
    name = "java"

    def __init__(self, java: JavaDriver) -> None:
        self._java = java

    def producer(self, login: Login, *, codec: str = "none", acks: str = "all", idempotent: bool = False
                 ) -> _JavaProducer:
        return _JavaProducer(_Handle(self._java, "producer", login, {
            "compression.type": codec, "acks": acks, "enable.idempotence": str(idempotent).lower(), "linger.ms": 20,
            "delivery.timeout.ms": 12000, "max.block.ms": 12000}))

    def consumer(self, login: Login, group: str | None = None, *, isolation: str = "read_uncommitted",
                 heartbeat_ms: int = 3000, group_protocol: str = "classic") -> _JavaConsumer:
        # A member of the newer groups is told its heartbeat by the broker, and refuses to be told another.
        beat = {"heartbeat.interval.ms": heartbeat_ms} if group_protocol == "classic" else {}
        return _JavaConsumer(_Handle(self._java, "consumer", login, beat | {"group.protocol": group_protocol} | {
            **({"group.id": group} if group else {}), "check.crcs": "true", "auto.offset.reset": "earliest",
            "enable.auto.commit": "false", "fetch.max.wait.ms": 100, "allow.auto.create.topics": "false",
            "isolation.level": isolation}))

    def admin(self, login: Login) -> TopicAdmin:
        return _JavaAdmin(_Handle(self._java, "admin", login, {}))
