"""Kafka's own programs behind the common face: the console producer and consumer, and kafka-topics."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.support.client_programs import ProgramConsumer, ProgramProducer, run
from tests.support.clients import Admin, Consumer, Got, KafkaClient, Login, Producer, Record
from tests.support.kafka_libs import class_path, java_program, kafka_version

TOOLS = "org.apache.kafka.tools"
TOPICS, READER = f"{TOOLS}.TopicCommand", f"{TOOLS}.consumer.ConsoleConsumer"
_MODULES = "org.apache.kafka.common.security"
#: Kafka's programs split lines at these; in no record of a test.
PART, NULL = "\t", "-null-"


class ToolLogin:
    """A context manager: the file that ``--command-config`` names, and a token's where the login is by OAUTHBEARER."""

    def __init__(self, login: Login) -> None:
        self.bootstrap = login.bootstrap
        self._folder = tempfile.TemporaryDirectory(prefix="kproxy-tool-")
        self._token = Path(self._folder.name) / "token"
        self.settings = Path(self._folder.name) / "client.properties"
        self.settings.write_text("".join(f"{name}={value}\n" for name, value in self._lines(login).items()))

    def _lines(self, login: Login) -> dict[str, str]:
        if login.mechanism == "NONE":
            return {}
        lines = {"security.protocol": login.protocol, "sasl.mechanism": login.mechanism}
        if login.mechanism == "PLAIN":
            return {**lines, "sasl.jaas.config": f'{_MODULES}.plain.PlainLoginModule required '
                                                 f'username="{login.username}" password="{login.token}";'}
        self._token.write_text(login.token)
        return {**lines, "sasl.oauthbearer.token.endpoint.url": self._token.as_uri(),
                "sasl.login.callback.handler.class": f"{_MODULES}.oauthbearer.OAuthBearerLoginCallbackHandler",
                "sasl.jaas.config": f"{_MODULES}.oauthbearer.OAuthBearerLoginModule required;"}

    def command(self, program: str, *arguments: str) -> list[str]:
        """``program`` is a class with a main."""
        return [java_program(), "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.files={self._token}",
                f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={self._token.as_uri()}",
                "-cp", class_path(), program, *arguments]

    def run(self, program: str, *arguments: str) -> str:
        """With this login; what it wrote. Raises ClientError."""
        return run(self.command(program, "--bootstrap-server", self.bootstrap, "--command-config", str(self.settings),
                                *arguments))

    def close(self) -> None:
        self._folder.cleanup()

    def __enter__(self) -> ToolLogin:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _properties(flag: str, **settings: str) -> list[str]:
    return [word for name, value in settings.items() for word in (flag, f"{name}={value}")]


class _Producer(ProgramProducer):
    def __init__(self, login: Login, codec: str, acks: str, idempotent: bool) -> None:
        self._login = ToolLogin(login)
        self._settings = ["--compression-codec", codec, *_properties("--command-property", **{
            "acks": acks, "enable.idempotence": str(idempotent).lower(),
            "delivery.timeout.ms": "12000", "max.block.ms": "12000", "request.timeout.ms": "8000", "linger.ms": "20"})]

    def command(self, topic: str, partition: int, records: Sequence[Record]) -> list[str]:
        assert partition == 0, "the console producer chooses partitions by itself"
        return self._login.command(
            f"{TOOLS}.ConsoleProducer", "--bootstrap-server", self._login.bootstrap, "--command-config",
            str(self._login.settings), "--topic", topic, *self._settings, *_properties("--reader-property", **{
                "parse.key": "true", "key.separator": PART, "parse.headers": "true", "headers.delimiter": PART,
                "null.marker": NULL}))

    def lines(self, records: Sequence[Record]) -> bytes:
        def line(one: Record) -> str:
            headers = ",".join(f"{name}:{(value or b'').decode()}" for name, value in one.headers)
            parts = (headers or NULL, *(NULL if part is None else part.decode() for part in (one.key, one.value)))
            return PART.join(parts) + "\n"

        return "".join(map(line, records)).encode()

    def close(self) -> None:
        self._login.close()


class _Consumer(ProgramConsumer):
    def __init__(self, login: Login, group: str | None, isolation: str) -> None:
        super().__init__()
        self._login = ToolLogin(login)
        self._group = group or "g.unused"
        self._begin = [
            "--bootstrap-server", self._login.bootstrap, "--command-config", str(self._login.settings),
            "--isolation-level", isolation,
            *_properties("--command-property", **{
                "fetch.max.wait.ms": "100", "heartbeat.interval.ms": "500", "auto.offset.reset": "earliest"}),
            *_properties("--formatter-property", **{
                "print.partition": "true", "print.offset": "true", "print.headers": "true", "print.key": "true",
                "key.separator": PART, "headers.separator": ",", "null.literal": NULL})]
        self._topic = ""

    def group_command(self, topic: str) -> list[str]:
        self._topic = topic
        return self._login.command(READER, *self._begin, "--topic", topic, "--group", self._group)

    def partition_command(self, topic: str, partition: int, offset: int) -> list[str]:
        self._topic = topic
        return self._login.command(READER, *self._begin, "--topic", topic, "--partition",
                                   str(partition), "--offset", str(offset))

    def take(self, data: bytes) -> tuple[Got | None, bytes]:
        line, found, rest = data.partition(b"\n")
        if not found:
            return None, data
        partition, offset, headers, key, value = line.decode().split(PART)
        pairs = [] if headers == "NO_HEADERS" else [one.partition(":") for one in headers.split(",")]
        return Got(self._topic, int(partition.removeprefix("Partition:")), int(offset.removeprefix("Offset:")),
                   None if key == NULL else key.encode(), None if value == NULL else value.encode(),
                   tuple((name, text.encode()) for name, _, text in pairs)), rest

    def close(self) -> None:
        super().close()
        self._login.close()


class _Admin(Admin):
    def __init__(self, login: Login) -> None:
        self._login = ToolLogin(login)

    def create_topic(self, name: str, partitions: int = 1) -> None:
        self._login.run(TOPICS, "--create", "--topic", name, "--partitions", str(partitions))

    def delete_topic(self, name: str) -> None:
        self._login.run(TOPICS, "--delete", "--topic", name)

    def list_topics(self) -> set[str]:
        return set(self._login.run(TOPICS, "--list").split())

    def close(self) -> None:
        self._login.close()


class ConsoleClient(KafkaClient):
    name = "console"

    def version(self) -> str:
        return kafka_version()

    def producer(self, login: Login, *, codec: str = "none", acks: str = "all", idempotent: bool = False) -> Producer:
        return _Producer(login, codec, acks, idempotent)

    def consumer(self, login: Login, group: str | None = None, *, isolation: str = "read_uncommitted") -> Consumer:
        return _Consumer(login, group, isolation)

    def admin(self, login: Login) -> Admin:
        return _Admin(login)
