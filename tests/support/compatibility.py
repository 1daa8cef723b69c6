"""Which client is tried with which feature, and how to open it: what docs/clients.md tells of.

A pytest plugin as well: ``-p tests.support.compatibility --compatibility FILE`` notes in FILE what each test of a
client and a feature ended with. ``scripts/compatibility.py`` makes the table of it.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import confluent_kafka
import pytest

from tests.support import driver_builds
from tests.support.client_console import ConsoleClient
from tests.support.client_driver import DriverClient
from tests.support.client_kcat import KcatClient
from tests.support.clients import KafkaClient, Login, open_client
from tests.support.codecs import NAMES as CODECS
from tests.support.java import JavaDriver
from tests.support.kafka_libs import java_program, kafka_version
from tests.support.line_driver import LineDriver
from tests.support.transactions import BareTransactions, open_transactions

#: Feature → what the tables call it.
FEATURES = {
    "oauthbearer": "OAUTHBEARER", "plain": "PLAIN", "bad-token": "bad token", **{codec: codec for codec in CODECS},
    "group": "commit", "rebalance": "rebalance",
    "new-groups": "KIP-848", "transactions": "yes", "denied-write": "write", "denied-read": "read",
    "denied-group": "group", "topics": "yes",
}
#: Column of the tables → its features.
COLUMNS = {
    "logins": ("oauthbearer", "plain", "bad-token"), "codecs": CODECS, "groups": ("group", "rebalance", "new-groups"),
    "transactions": ("transactions",), "refusals told": ("denied-write", "denied-read", "denied-group"),
    "topics": ("topics",),
}
#: Feature → the first major release of Kafka with brokers that have it.
SINCE = {"new-groups": 4}
#: What the quick suite tries with one client of each family that no other quick test knows.
QUICK = ("plain", "gzip", "rebalance", "denied-write", "topics")


def brokers_have(feature: str, version: str) -> bool:
    return int(version.partition(".")[0]) >= SINCE.get(feature, 0)


@dataclass(frozen=True, slots=True)
class Tried:
    """One client in one version. ``lacks``: feature → why there is nothing to try. ``by_group``: it reads in groups
    only. ``quick``: it stands for its family in the quick suite."""

    label: str
    lacks: dict[str, str] = field(default_factory=dict)
    by_group: bool = False
    quick: bool = False

    @property
    def features(self) -> list[str]:
        return [one for one in FEATURES if one not in self.lacks]

    def features_before(self, broker: str) -> list[str]:
        """Those that a broker of this version has as well."""
        return [one for one in self.features if brokers_have(one, broker)]


_NO_PLUGIN = "its plug-in is native code that npm would have to compile"
_NO_TOOL = "kcat does not do that"
_CLASSIC = {"new-groups": "it knows classic groups only"}
TRIED = {
    "java": Tried("Java"),
    **{f"java-{release}": Tried("Java", {} if brokers_have("new-groups", release) else _CLASSIC)
       for release in driver_builds.JAVA_RELEASES},
    "console": Tried("Kafka's console programs and kafka-topics", {
        "transactions": "no program of Kafka's aborts one", "new-groups": "tried with the Java client"}, quick=True),
    "franz-go": Tried("franz-go", quick=True),
    "sarama": Tried("Sarama", _CLASSIC, quick=True),
    "kafkajs": Tried("kafkajs", {
        **dict.fromkeys(("lz4", "zstd"), _NO_PLUGIN), "denied-group": "it says only that it found no coordinator",
        **_CLASSIC},
        by_group=True, quick=True),
    "confluent-js": Tried("@confluentinc/kafka-javascript", {
        "bad-token": "it says only that its connections broke",
        "new-groups": "tried with confluent-kafka, of the same library",
        **dict.fromkeys(("denied-read", "denied-group"), "it logs the refusal and waits on")}, by_group=True),
    "confluent": Tried("confluent-kafka"),
    "confluent-2.5": Tried("confluent-kafka", {"new-groups": "its groups of KIP-848 are a preview"}),
    "aiokafka": Tried("aiokafka", _CLASSIC),
    "kafka-python": Tried("kafka-python", {
        "bad-token": "it reads the reason only if that comes before the close",
        "denied-read": "it logs the refusal and waits on", **_CLASSIC}),
    "kcat": Tried("kcat", {"oauthbearer": "it takes no token, only a way to make one",
                           **dict.fromkeys(("topics", "transactions"), _NO_TOOL), **_CLASSIC}, quick=True),
}


#: Releases of the broker besides the rig's own, the newest first; ``make test-full`` tries all clients before each.
OLDER_BROKERS = ("3.9.2", "2.8.2")


class Opener:
    """Opens clients by name; the drivers that they need are started once and end with ``close``."""

    def __init__(self, java: JavaDriver) -> None:
        self._java = java
        self._drivers: dict[str, LineDriver] = {}

    def open(self, name: str) -> KafkaClient:
        """Raises DriverMissing."""
        if name == "kcat":
            return KcatClient()
        if name == "console":
            return ConsoleClient()
        if name in _COMMANDS or name.startswith("java-"):
            return DriverClient(name, self._driver(name))
        return open_client(name, self._java)

    def transactions(self, name: str, login: Login, identity: str) -> BareTransactions:
        client = self.open(name)
        if isinstance(client, DriverClient):
            return client.transactions(login, identity)
        return open_transactions(name, self._java, login, identity)

    def version(self, name: str) -> str:
        client = self.open(name)
        if isinstance(client, (DriverClient, KcatClient, ConsoleClient)):
            return client.version()
        if name == "java":
            return kafka_version()
        if name == "confluent":
            return f"{confluent_kafka.__version__} (librdkafka {confluent_kafka.libversion()[0]})"
        return importlib.metadata.version(name)

    def close(self) -> None:
        for driver in self._drivers.values():
            driver.close()

    def _driver(self, name: str) -> LineDriver:
        if name not in self._drivers:
            command = _java_command(name.removeprefix("java-")) if name.startswith("java-") else _COMMANDS[name]()
            self._drivers[name] = LineDriver(command)
        return self._drivers[name]


def _java_command(release: str) -> list[str]:
    folder = driver_builds.build_java(release)
    return [java_program(), "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{folder}:{folder}/libs/*", "ReleasedDriver"]


def _python_command() -> list[str]:
    """librdkafka from before #4956: it compresses nothing where a broker does not show Produce from version 0 on."""
    path = f"{driver_builds.build_python()}:{driver_builds.ROOT}"
    return ["env", f"PYTHONPATH={path}", sys.executable, str(driver_builds.SOURCES / "python" / "driver.py")]


_COMMANDS: dict[str, Callable[[], list[str]]] = {
    "franz-go": lambda: [str(driver_builds.build_go() / "franz")],
    "sarama": lambda: [str(driver_builds.build_go() / "sarama")],
    "confluent-2.5": _python_command,
    "confluent-js": lambda: ["node", str(driver_builds.build_confluent_node() / "driver.js")],
    "kafkajs": lambda: ["node", str(driver_builds.build_node() / "driver.js")],
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--compatibility", metavar="FILE", help="note what each client's tests ended with in FILE")


_outcomes: dict[tuple[str, str, str], str] = {}
_versions: dict[str, str] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    told = dict(report.user_properties)
    if "feature" in told and (report.when == "call" or report.failed):
        _versions[told["client"]] = told["version"]
        _outcomes[told["broker"], told["client"], told["feature"]] = "yes" if report.passed else "no"


def pytest_sessionfinish(session: pytest.Session) -> None:
    file = session.config.getoption("--compatibility")
    if file and _outcomes:
        Path(file).write_text(merge(Path(file), _outcomes, _versions))


def merge(file: Path, outcomes: dict[tuple[str, str, str], str], versions: dict[str, str]) -> str:
    """The file's content with these outcomes in it; those of clients and features that are no more go."""
    before: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"versions": {}, "brokers": {}}
    brokers: dict[str, dict[str, dict[str, str]]] = before["brokers"]
    for (broker, client, feature), outcome in outcomes.items():
        brokers.setdefault(broker, {}).setdefault(client, {})[feature] = outcome
    order = sorted(brokers, key=lambda broker: [int(part) for part in broker.split(".")], reverse=True)
    kept = {broker: {client: {feature: found[client][feature] for feature in tried.features if feature in found[client]}
                     for client, tried in TRIED.items() if client in found}
            for broker, found in ((broker, brokers[broker]) for broker in order)}
    told = {**before["versions"], **versions}
    return json.dumps({"versions": {client: told[client] for client in TRIED if client in told}, "brokers": kept},
                      indent=1) + "\n"
