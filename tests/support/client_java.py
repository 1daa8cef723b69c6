"""The Java client behind the common face."""

from __future__ import annotations

from typing import Any

from tests.support.clients import KafkaClient, Login, TopicAdmin
from tests.support.driver_handle import DriverConsumer, DriverHandle, DriverProducer
from tests.support.java import JavaDriver

_OAUTH_MODULE = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule"
_PLAIN_MODULE = "org.apache.kafka.common.security.plain.PlainLoginModule"


class _Handle(DriverHandle):
    def __init__(self, java: JavaDriver, kind: str, login: Login, settings: dict[str, Any]) -> None:
        super().__init__(java, kind)
        common = {"bootstrap.servers": login.bootstrap, "request.timeout.ms": 8000, "default.api.timeout.ms": 12000,
                  "reconnect.backoff.ms": 20, "retry.backoff.ms": 50}
        self.ask(kind, settings={k: str(v) for k, v in {**common, **self._security(login), **settings}.items()})

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


class _JavaProducer(DriverProducer):
    def put_token(self, token: str) -> None:
        """The next login of this producer uses another token."""
        self._handle.ask("token", token=token, extensions={})

    def metrics(self) -> dict[str, float]:
        return dict(self._handle.ask("metrics")["metrics"])


class _JavaConsumer(DriverConsumer):
    def put_token(self, token: str) -> None:
        """The next login of this consumer uses another token."""
        self._handle.ask("token", token=token, extensions={})


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
