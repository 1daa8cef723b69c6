"""kcat behind the common face. It takes no token of an issuer by OAUTHBEARER, so it logs in with PLAIN only."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence

from tests.support.client_programs import ProgramConsumer, ProgramProducer, run
from tests.support.clients import Admin, ClientError, Consumer, Got, KafkaClient, Login, Producer, Record

#: Between the parts of a record and between records; in no record of a test.
PART, RECORD = "\x1e", "\x1f"
FORMAT = RECORD.join(("%t", "%p", "%o", "%K", "%S", "%h", "%k%s"))


def _settings(login: Login, **more: str) -> list[str]:
    settings = {"bootstrap.servers": login.bootstrap, "socket.timeout.ms": "8000", "reconnect.backoff.ms": "20",
                "reconnect.backoff.max.ms": "200", **more}
    if login.mechanism != "NONE":
        settings |= {"security.protocol": login.protocol, "sasl.mechanisms": login.mechanism,
                     "sasl.username": login.username, "sasl.password": login.token}
    return ["kcat", *(word for name, value in settings.items() for word in ("-X", f"{name}={value}"))]


class _Producer(ProgramProducer):
    def __init__(self, login: Login, codec: str, **settings: str) -> None:
        self._begin = [*_settings(login, **settings), "-P", "-Z", "-D", RECORD, "-K", PART,
                       *(() if codec == "none" else ("-z", codec))]

    def alike(self, record: Record) -> object:
        return record.headers

    def command(self, topic: str, partition: int, records: Sequence[Record]) -> list[str]:
        named = [word for name, value in records[0].headers for word in ("-H", f"{name}={(value or b'').decode()}")]
        return [*self._begin, "-t", topic, "-p", str(partition), *named]

    def lines(self, records: Sequence[Record]) -> bytes:
        return RECORD.encode().join((one.key or b"") + PART.encode() + (one.value or b"") for one in records)


class _Consumer(ProgramConsumer):
    def __init__(self, login: Login, group: str | None, isolation: str) -> None:
        super().__init__()
        self._group = group or "g.unused"
        self._begin = [*_settings(login, **{
            "isolation.level": isolation, "auto.offset.reset": "earliest", "check.crcs": "true",
            "fetch.wait.max.ms": "100", "heartbeat.interval.ms": "500"}), "-q", "-u", "-f", FORMAT]

    def group_command(self, topic: str) -> list[str]:
        return [*self._begin, "-G", self._group, topic]

    def partition_command(self, topic: str, partition: int, offset: int) -> list[str]:
        return [*self._begin, "-C", "-t", topic, "-p", str(partition), "-o", str(offset)]

    def take(self, data: bytes) -> tuple[Got | None, bytes]:
        parts = data.split(RECORD.encode(), 6)
        if len(parts) < 7:
            return None, data
        topic, rest = parts[0].decode(), parts[6]
        partition, offset, key_size, size = map(int, parts[1:5])
        end = max(key_size, 0) + max(size, 0)
        if len(rest) < end:
            return None, data
        key = rest[:key_size] if key_size >= 0 else None
        value = rest[max(key_size, 0):end] if size >= 0 else None
        headers = tuple((name, text.encode()) for name, _, text in
                        (pair.partition("=") for pair in parts[5].decode().split(",") if pair))
        return Got(topic, partition, offset, key, value, headers), rest[end:]


class _Admin(Admin):
    def __init__(self, login: Login) -> None:
        self._begin = _settings(login)

    def create_topic(self, name: str, partitions: int = 1) -> None:
        raise ClientError(-1, "kcat creates no topics")

    def delete_topic(self, name: str) -> None:
        raise ClientError(-1, "kcat deletes no topics")

    def list_topics(self) -> set[str]:
        return {one["topic"] for one in json.loads(run([*self._begin, "-L", "-J"]))["topics"]}

    def close(self) -> None:
        """Each process has ended by itself."""


class KcatClient(KafkaClient):
    name = "kcat"

    def version(self) -> str:
        told = subprocess.run(["kcat", "-V"], capture_output=True, text=True, check=True).stdout
        found = re.search(r"Version (\S+) .*librdkafka (\S+)", told)
        assert found is not None, told
        return f"{found[1]} (librdkafka {found[2]})"

    def producer(self, login: Login, *, codec: str = "none", acks: str = "all", idempotent: bool = False) -> Producer:
        return _Producer(login, codec, **{"acks": acks, "enable.idempotence": str(idempotent).lower(),
                                          "message.timeout.ms": "10000"})

    def consumer(self, login: Login, group: str | None = None, *, isolation: str = "read_uncommitted") -> Consumer:
        return _Consumer(login, group, isolation)

    def admin(self, login: Login) -> Admin:
        return _Admin(login)
