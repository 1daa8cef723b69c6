"""A real Apache Kafka in KRaft mode, one node, on free loopback ports; up in about three seconds.

Its ways in are listeners of their own, each with its own advertised address, because a client follows the address that
Metadata names: ``direct`` (PLAINTEXT), ``sasl`` (SASL_PLAINTEXT with PLAIN) and whatever ``taps`` names: a PLAINTEXT
listener whose advertised port is left free for a relay that forwards to it. With ``secure`` there are also ``tls``
(SASL_SSL with PLAIN and SCRAM, logins that last four seconds) and ``mtls`` (SSL that asks for a certificate).

By hand: ``python -m tests.support.kafka_broker [--auto-create] [--port N] [--tap NAME]``; ``scripts/kafka.sh`` is that
with topics on first use, at the port that the quick start names.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support import children
from tests.support.kafka_libs import class_path, java_program, kafka_version, release_libs
from tests.support.ports import accepts, free_ports, wait_for

CLUSTER_ID = "kproxyRigClusterAAAAAA"
#: The account kproxy shows the broker on the ``sasl`` way.
USERNAME, PASSWORD = "kproxy", "kproxy-upstream"
SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")
ITERATIONS = 4096
#: How long a login on the ``tls`` way lasts (connections.max.reauth.ms).
LOGIN_SECONDS = 4
START_SECONDS = 60
#: Tests want a quick start; a bench wants the optimising compiler.
QUICK = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
THOROUGH = ("-Xms1g", "-Xmx1g", "-XX:+UseG1GC")


@dataclass(frozen=True, slots=True)
class Secure:
    """PEM files: the broker's key with its certificate, and whom it trusts."""

    pair: Path
    authorities: Path


@dataclass(frozen=True, slots=True)
class Seat:
    """A broker's place in a cluster: its id, its address, and where all controllers are, itself among them."""

    node: int
    host: str
    controllers: Mapping[int, tuple[str, int]]


class KafkaBroker(children.Served):
    """One broker. ``start`` after ``kill`` keeps its data: the folder goes away only with ``close``."""

    #: What the log says once it serves.
    started = b"Kafka Server started"

    def __init__(self, *, auto_create: bool = False, taps: Sequence[str] = (), jvm: Sequence[str] = QUICK,
                 settings: dict[str, str] | None = None, secure: Secure | None = None, port: int = 0,
                 release: str = "", classes: Path | None = None, seat: Seat | None = None) -> None:
        """``port`` is that of the ``direct`` way; 0: a free one, as all others are. ``release``: another than the rig's
        own, one that knows KRaft. ``classes``: a folder of the broker's plug-ins. ``seat``: its place among others;
        without one it is a cluster by itself."""
        self._release = release
        self._class_path = f"{release_libs(release)}/*" if release else class_path(*[classes] if classes else [])
        self._secure = secure
        self.folder = Path(tempfile.mkdtemp(prefix="kproxy-kafka-"))
        self.log = self.folder / "kafka.log"
        self.jvm = list(jvm)
        names = ["direct", "sasl", *(["tls", "mtls"] if secure else []), *taps]
        ports = free_ports(1 + len(names) + len(taps))
        self._seat = seat or Seat(1, "127.0.0.1", {1: ("127.0.0.1", ports[-1])})
        self._host = self._seat.host
        ports.pop()
        self._bound = dict(zip(names, ports, strict=False)) | ({"direct": port} if port else {})
        self._advertised = {**self._bound, **dict(zip(taps, ports[len(names):], strict=True))}
        self._child: subprocess.Popen[bytes] | None = None
        self._properties = self._write_properties(auto_create, settings or {})

    def address(self, way: str = "direct") -> tuple[str, int]:
        """Where clients of this way go: the advertised host and port."""
        return self._host, self._advertised[way]

    def bootstrap(self, way: str = "direct") -> str:
        host, port = self.address(way)
        return f"{host}:{port}"

    def behind(self, way: str) -> tuple[str, int]:
        """Where a relay on ``address(way)`` must forward to: the port the broker itself listens on."""
        return self._host, self._bound[way]

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    @property
    def version(self) -> str:
        return self._release or kafka_version()

    def start(self) -> KafkaBroker:
        """Formats the storage if it is new, starts Kafka and waits until every listener answers."""
        self.launch()
        self.wait_until_up()
        return self

    def launch(self) -> None:
        """The first half of ``start``: a broker that waits for others is not up before they are there."""
        self.format()
        self._seen = self.log.stat().st_size if self.log.exists() else 0
        command = [java_program(), *self.jvm, "-cp", self._class_path, "kafka.Kafka", str(self._properties)]
        self._child = children.start(command, self.log, cwd=self.folder)

    def wait_until_up(self) -> None:
        wait_for("Kafka to start", self._is_up, START_SECONDS, 0.05)

    def format(self) -> None:
        """Makes the storage ready, if it is new."""
        if not (self.folder / "data").exists():
            accounts = [f"{kind}=[name={USERNAME},password={PASSWORD},iterations={ITERATIONS}]" for kind in SCRAM]
            self._run_to_end("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(self._properties),
                             *(word for one in accounts if self._secure for word in ("--add-scram", one)))

    def stop(self) -> None:
        if self._child is not None:
            children.stop(self._child, 15)
            self._child = None

    def is_running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def kill(self) -> None:
        """The broker dies without a word."""
        if self._child is not None:
            children.kill(self._child)
            self._child = None

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run_tool(self, tool: str, *arguments: str, seconds: float = 600) -> str:
        """Runs one of Kafka's own tools (``org.apache.kafka.tools.TopicCommand`` …) to its end; its output."""
        return self._run_to_end(tool, *arguments, seconds=seconds)

    def _is_up(self) -> bool:
        assert self._child is not None
        if self._child.poll() is not None:
            raise AssertionError(f"Kafka ended with {self._child.returncode}:\n{children.tail(self.log)}")
        with open(self.log, "rb") as log:
            log.seek(self._seen)
            if self.started not in log.read():
                return False
        return all(accepts(self._host, port) for port in self._bound.values())

    def _run_to_end(self, program: str, *arguments: str, seconds: float = 60) -> str:
        command = [java_program(), "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", self._class_path,
                   program, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
        if done.returncode != 0:
            raise AssertionError(f"{program} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")
        return done.stdout

    def _write_properties(self, auto_create: bool, settings: dict[str, str]) -> Path:
        def listed(ports: dict[str, int]) -> list[str]:
            return [f"{name.upper()}://{self._host}:{port}" for name, port in ports.items()]

        kinds = {"sasl": "SASL_PLAINTEXT", "tls": "SASL_SSL", "mtls": "SSL"}
        protocols = {name.upper(): kinds.get(name, "PLAINTEXT") for name in self._bound}
        protocols["CONTROLLER"] = "PLAINTEXT"
        seat = self._seat
        controllers = {node: f"{host}:{port}" for node, (host, port) in seat.controllers.items()}
        module = "org.apache.kafka.common.security.plain.PlainLoginModule"
        lines = {
            "process.roles": "broker,controller",
            "node.id": str(seat.node),
            "controller.quorum.voters": ",".join(f"{node}@{where}" for node, where in controllers.items()),
            "controller.listener.names": "CONTROLLER",
            "listeners": ",".join([*listed(self._bound), f"CONTROLLER://{controllers[seat.node]}"]),
            "advertised.listeners": ",".join(listed(self._advertised)),
            "listener.security.protocol.map": ",".join(f"{name}:{kind}" for name, kind in protocols.items()),
            "inter.broker.listener.name": "DIRECT",
            "listener.name.sasl.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl.plain.sasl.jaas.config": f'{module} required user_{USERNAME}="{PASSWORD}";',
            "log.dirs": str(self.folder / "data"),
            "num.partitions": "1",
            "auto.create.topics.enable": str(auto_create).lower(),
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "share.coordinator.state.topic.num.partitions": "1",
            "group.initial.rebalance.delay.ms": "0",
            "log.cleaner.backoff.ms": "100",        # compaction is looked for often, so that a test can await it
            "log.flush.interval.messages": "9223372036854775807",
            **(_secure_lines(self._secure, module) if self._secure else {}),
            "log.retention.ms": "-1",               # a record's own timestamp may be long ago: nobody lets go of it
            **settings,
        }
        path = self.folder / "server.properties"
        path.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        return path


def _secure_lines(secure: Secure, plain: str) -> dict[str, str]:
    lines = {
        "listener.name.tls.sasl.enabled.mechanisms": ",".join(("PLAIN", *SCRAM)),
        "listener.name.tls.plain.sasl.jaas.config": f'{plain} required user_{USERNAME}="{PASSWORD}";',
        "listener.name.tls.connections.max.reauth.ms": str(LOGIN_SECONDS * 1000),
        "listener.name.mtls.ssl.client.auth": "required",
    }
    for kind in SCRAM:
        lines[f"listener.name.tls.{kind.lower()}.sasl.jaas.config"] = (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;")
    for way in ("tls", "mtls"):
        lines |= {f"listener.name.{way}.ssl.keystore.type": "PEM",
                  f"listener.name.{way}.ssl.keystore.location": str(secure.pair),
                  f"listener.name.{way}.ssl.truststore.type": "PEM",
                  f"listener.name.{way}.ssl.truststore.location": str(secure.authorities)}
    return lines


WAYS = {"direct": "no login", "sasl": "SASL PLAIN"}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Starts a real Kafka, says where; Ctrl-C ends and deletes it.")
    parser.add_argument("--auto-create", action="store_true", help="create topics on first use")
    parser.add_argument("--tap", action="append", default=[], help="one more way in whose advertised port stays free")
    parser.add_argument("--port", type=int, default=0, help="of the way without a login; a free one by default")
    options = parser.parse_args(arguments)
    with KafkaBroker(auto_create=options.auto_create, taps=options.tap, port=options.port) as broker:
        ways = {way: broker.bootstrap(way) for way in ("direct", "sasl", *options.tap)}
        behind = {way: "{}:{}".format(*broker.behind(way)) for way in options.tap}
        for way, where in ways.items():
            print(f"Kafka is at {where} ({WAYS.get(way, way)})" + (f", behind {behind[way]}" if way in behind else ""))
        print(f"its log is {broker.log}; Ctrl-C ends it, and its data goes with it", flush=True)
        ends = {signal.SIGINT, signal.SIGTERM}
        # Not blocked, SIGTERM would end this process and leave Kafka and its folder.
        signal.pthread_sigmask(signal.SIG_BLOCK, ends)
        while signal.sigtimedwait(ends, 0.5) is None:
            if not broker.is_running():
                sys.exit(f"Kafka has ended:\n{children.tail(broker.log)}")
    sys.exit(0)


if __name__ == "__main__":
    main()
