"""docs/clients.md is what docs/clients.json says, and that is about the clients, versions and features of today."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support import driver_builds
from tests.support.compatibility import COLUMNS, FEATURES, OLDER_BROKERS, TRIED, merge
from tests.support.scripts import ROOT, load_script

SCRIPT = load_script("scripts/compatibility.py")


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    return dict(json.loads(SCRIPT.RESULTS.read_text()))


def test_the_tables_are_what_the_results_say(results: dict[str, Any]) -> None:
    text = SCRIPT.DOCUMENT.read_text()
    assert SCRIPT.render(text, results) == text, "run scripts/compatibility.py"


def test_every_client_was_tried_with_every_feature_and_has_it(results: dict[str, Any]) -> None:
    assert len(results["brokers"]) == 1 + len(OLDER_BROKERS)
    for broker, found in results["brokers"].items():
        assert found == {client: dict.fromkeys(tried.features_before(broker), "yes") for client, tried in TRIED.items()}


def test_every_feature_has_its_column() -> None:
    assert sorted(one for features in COLUMNS.values() for one in features) == sorted(FEATURES)
    assert all(set(tried.lacks) <= set(FEATURES) for tried in TRIED.values())


def test_the_versions_tried_are_those_that_are_locked(results: dict[str, Any]) -> None:
    """Whoever locks another version runs ``scripts/compatibility.py --run``."""
    go = dict(re.findall(r"^\s(\S+) v(\S+)$", (driver_builds.SOURCES / "go" / "go.mod").read_text(), re.M))
    node = json.loads((driver_builds.SOURCES / "node" / "package-lock.json").read_text())["packages"]
    confluent_node = json.loads((driver_builds.SOURCES / "node-confluent/package-lock.json").read_text())["packages"]
    python = dict(re.findall(r"^([\w-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.M))
    older = dict(re.findall(r"^([\w-]+)==(\S+)", (driver_builds.SOURCES / "python" / "requirements.txt").read_text(),
                            re.M))
    kafka = re.search(r"<kafka.version>(\S+)</kafka.version>", (ROOT / "tests" / "java" / "pom.xml").read_text())
    assert kafka is not None
    locked = {
        "java": kafka[1], "console": kafka[1], **{f"java-{one}": one for one in driver_builds.JAVA_RELEASES},
        "franz-go": go["github.com/twmb/franz-go"], "sarama": go["github.com/IBM/sarama"],
        "kafkajs": node["node_modules/kafkajs"]["version"], "confluent": python["confluent-kafka"],
        "confluent-2.5": older["confluent-kafka"],
        "confluent-js": confluent_node["node_modules/@confluentinc/kafka-javascript"]["version"],
        "aiokafka": python["aiokafka"], "kafka-python": python["kafka-python"],
    }
    tried = {client: version.split()[0] for client, version in results["versions"].items() if client != "kcat"}
    assert tried == locked
    assert list(results["brokers"]) == [kafka[1], *OLDER_BROKERS]


def test_a_failure_and_what_was_not_tried_are_told() -> None:
    found = {"brokers": {"4": {"kcat": {"plain": "no", "gzip": "yes"}}}, "versions": {"kcat": "1.7"}}
    text = "<!-- clients: scripts/compatibility.py -->\n<!-- end of clients -->\n"
    row = next(line for line in SCRIPT.render(text, found).splitlines() if line.startswith("| kcat"))
    assert row.startswith("| kcat | 1.7 | no OAUTHBEARER (1), **plain: fails**, **bad-token: not tried** | ")
    assert "**none: not tried**, gzip, " in row
    assert row.endswith(" | no (3) |")
    assert "no KIP-848 (2) | no (3) | " in row


def test_results_are_merged_and_old_ones_go(tmp_path: Path) -> None:
    file = tmp_path / "clients.json"
    file.write_text(json.dumps({"versions": {"gone": "1", "kcat": "1", "sarama": "1"}, "brokers": {
        "4": {"gone": {"plain": "yes"}, "kcat": {"plain": "yes", "topics": "yes"}, "sarama": {"plain": "yes"}}}}))
    merged = json.loads(merge(file, {("4", "kcat", "plain"): "no", ("5", "sarama", "gzip"): "yes"}, {"sarama": "2"}))
    assert merged == {"versions": {"sarama": "2", "kcat": "1"}, "brokers": {
        "5": {"sarama": {"gzip": "yes"}}, "4": {"sarama": {"plain": "yes"}, "kcat": {"plain": "no"}}}}
    assert list(merged["brokers"]) == ["5", "4"]
