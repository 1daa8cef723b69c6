"""One face over four Kafka clients, so that a test is written once and run with each.

A client opens producers, consumers and admins for a Login. All of them are context managers, block the caller, and
raise ClientError with Kafka's own numeric code, whichever library said it.
"""

from __future__ import annotations

import base64
import json
import logging
import ssl
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from tests.support.java import JavaDriver

TOPIC_DENIED, GROUP_DENIED, CLUSTER_DENIED, LOGIN_FAILED, POLICY_VIOLATION, INVALID_RECORD = 29, 30, 31, 58, 44, 87
#: What a library gives up after; kproxy on loopback answers in milliseconds.
GIVE_UP_SECONDS = 15


@dataclass(frozen=True, slots=True)
class Login:
    """Where to go and as whom. ``mechanism`` NONE: PLAINTEXT. With PLAIN the token is the password. ``ca``: the file of
    the authority that vouches for the server, which is spoken to in TLS then, in ``tls_version`` (1.2 or 1.3)."""

    bootstrap: str
    mechanism: str = "NONE"
    token: str = ""
    username: str = "token"
    extensions: dict[str, str] = field(default_factory=dict)
    ca: str = ""
    tls_version: str = "1.3"

    @property
    def protocol(self) -> str:
        return "SASL_SSL" if self.ca else "SASL_PLAINTEXT"


@dataclass(frozen=True, slots=True)
class Record:
    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one record: ``code`` 0 and its place, or the code and text of its refusal."""

    partition: int = -1
    offset: int = -1
    code: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class Got:
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


class ClientError(Exception):
    """What a client library raised. ``code`` is Kafka's, 58 for a refused login, −1 where the library gives none."""

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(f"{code}: {message}")


class LoginWatch(logging.Handler):
    """Some libraries raise a mere connection error where the login was refused at bootstrap; they log the true reason,
    which is ``reason`` then."""

    def __init__(self, logger: str) -> None:
        super().__init__(logging.WARNING)
        self.reason = ""
        logging.getLogger(logger).addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if "[Error 58]" in record.getMessage():
            self.reason = record.getMessage()


def build_settings(login: Login, provider: object) -> dict[str, Any]:
    """The settings that aiokafka and kafka-python call by the same names; ``provider`` gives tokens."""
    settings: dict[str, Any] = {
        "bootstrap_servers": login.bootstrap, "request_timeout_ms": 8000, "retry_backoff_ms": 50,
    }
    if login.mechanism == "NONE":
        return settings
    settings |= {"security_protocol": login.protocol, "sasl_mechanism": login.mechanism}
    if login.ca:
        settings["ssl_context"] = tls_context(login)
    if login.mechanism == "PLAIN":
        return settings | {"sasl_plain_username": login.username, "sasl_plain_password": login.token}
    return settings | {"sasl_oauth_token_provider": provider}


class Opened(ABC):
    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None: ...


class Producer(Opened):
    @abstractmethod
    def send(self, topic: str, records: Sequence[Record], partition: int = 0) -> list[Sent]:
        """Sends and waits for every outcome, in order. With acks=0 offsets are −1."""


class Consumer(Opened):
    @abstractmethod
    def subscribe(self, topic: str) -> None:
        """Joins the group that the consumer was opened with; it begins at the earliest offset."""

    @abstractmethod
    def assign(self, topic: str, partition: int, offset: int) -> None:
        """Reads one partition without a group."""

    @abstractmethod
    def poll(self, count: int, seconds: float = GIVE_UP_SECONDS) -> list[Got]:
        """``count`` records or a few more, fewer only when ``seconds`` are over. Raises ClientError."""

    @abstractmethod
    def commit(self) -> None:
        """Commits what was polled. Raises ClientError."""


class Admin(Opened):
    @abstractmethod
    def create_topic(self, name: str, partitions: int = 1) -> None:
        """Raises ClientError with the topic's own code."""

    @abstractmethod
    def list_topics(self) -> set[str]:
        """Every topic that the cluster shows this principal."""

    @abstractmethod
    def delete_topic(self, name: str) -> None:
        """Raises ClientError with the topic's own code."""


class TopicAdmin(Admin):
    """What an administrator of topics does besides. Each raises ClientError with the code of the topic or partition."""

    @abstractmethod
    def create_partitions(self, name: str, total: int) -> None: ...

    @abstractmethod
    def delete_records(self, name: str, before: int) -> int:
        """Of partition 0, below an offset; the lowest offset that is left."""

    @abstractmethod
    def configs(self, name: str) -> dict[str, str]: ...

    @abstractmethod
    def alter_config(self, name: str, key: str, value: str) -> None:
        """Incrementally."""

    @abstractmethod
    def broker_configs(self, node: int) -> dict[str, str]: ...

    @abstractmethod
    def nodes(self) -> list[str]:
        """host:port of every broker that the cluster shows."""


class KafkaClient(ABC):
    name: str

    @abstractmethod
    def producer(self, login: Login, *, codec: str = "none", acks: str = "all",
                 idempotent: bool = False) -> Producer: ...

    @abstractmethod
    def consumer(self, login: Login, group: str | None = None, *,
                 isolation: str = "read_uncommitted") -> Consumer: ...

    @abstractmethod
    def admin(self, login: Login) -> Admin: ...


CLIENT_NAMES = ("confluent", "aiokafka", "kafka-python", "java")
#: Those whose ``admin`` is a TopicAdmin; aiokafka's speaks none of the APIs that change a config bit by bit.
ADMIN_NAMES = ("confluent", "kafka-python", "java")


def open_client(name: str, java: JavaDriver | None) -> KafkaClient:
    """``java`` is needed for the Java client only; it outlives the client."""
    if name == "confluent":
        from tests.support.client_confluent import ConfluentClient

        return ConfluentClient()
    if name == "aiokafka":
        from tests.support.client_aiokafka import AiokafkaClient

        return AiokafkaClient()
    if name == "kafka-python":
        from tests.support.client_kafka_python import KafkaPythonClient

        return KafkaPythonClient()
    from tests.support.client_java import JavaClient

    assert java is not None
    return JavaClient(java)


def tls_context(login: Login) -> ssl.SSLContext:
    """For the clients that take Python's own."""
    context = ssl.create_default_context(cafile=login.ca)
    context.minimum_version = context.maximum_version = ssl.TLSVersion[f"TLSv{login.tls_version.replace('.', '_')}"]
    return context


def token_expiry(token: str, at_least: float) -> float:
    """The ``exp`` a client library is told, never before ``at_least``: one that refuses to send an expired token would
    keep a test from seeing that kproxy refuses it."""
    try:
        body = token.split(".")[1]
        return max(float(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["exp"]), at_least)
    except (IndexError, ValueError, KeyError, TypeError):
        return at_least
