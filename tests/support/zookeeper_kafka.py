"""Kafka as it was before KRaft: a broker with a ZooKeeper of its own, from the jars of that release."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support import children
from tests.support.kafka_broker import KafkaBroker
from tests.support.kafka_libs import java_program
from tests.support.ports import accepts, free_ports, wait_for

START_SECONDS = 60
#: Settings of the rig's broker that such a one has not.
UNKNOWN = ("process.roles", "node.id", "controller.", "share.coordinator.")


class ZooKeeperKafka(KafkaBroker):
    """One broker and one ZooKeeper, which is asked for nothing but to be there."""

    started = b"[KafkaServer id=1] started"

    def __init__(self, release: str, taps: Sequence[str] = ()) -> None:
        self._zookeeper_port = free_ports(1)[0]
        self._zookeeper: subprocess.Popen[bytes] | None = None
        super().__init__(release=release, taps=taps)

    def start(self) -> KafkaBroker:
        if self._zookeeper is None:
            words = ["-cp", self._class_path, "org.apache.zookeeper.server.ZooKeeperServerMain",
                     str(self._zookeeper_port), str(self.folder / "zookeeper")]
            command = [java_program(), "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
                       "-Dzookeeper.admin.enableServer=false", *words]
            self._zookeeper = children.start(command, self.log, cwd=self.folder)
            wait_for("ZooKeeper", lambda: accepts("127.0.0.1", self._zookeeper_port), START_SECONDS)
        return super().start()

    def close(self) -> None:
        self.kill()
        if self._zookeeper is not None:
            children.kill(self._zookeeper)
            self._zookeeper = None
        super().close()

    def format(self) -> None:
        """The broker makes its folder by itself."""

    def _write_properties(self, auto_create: bool, settings: dict[str, str]) -> Path:
        path = super()._write_properties(auto_create, settings)
        lines = dict(line.split("=", 1) for line in path.read_text().splitlines())
        kept = {name: value for name, value in lines.items() if not name.startswith(UNKNOWN)}
        for name in ("listeners", "listener.security.protocol.map"):
            kept[name] = ",".join(one for one in kept[name].split(",") if not one.startswith("CONTROLLER:"))
        kept |= {"broker.id": "1", "zookeeper.connect": f"127.0.0.1:{self._zookeeper_port}"}
        path.write_text("".join(f"{name}={value}\n" for name, value in kept.items()))
        return path
