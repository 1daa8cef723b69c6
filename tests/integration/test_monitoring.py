"""The dashboard and the alerts, against a real Prometheus that scrapes a node at work."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kproxy.model.metrics import METRICS
from tests.support.clients import Record
from tests.support.ports import wait_for
from tests.support.prometheus import Prometheus, promtool
from tests.support.scripts import load_script
from tests.support.stage import Stage

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD = ROOT / "deploy/grafana/kproxy.json"
#: Panels that show nothing on a node on which nothing has gone wrong.
QUIET = {"Conditions in error", "Safeguard hits", "Waits for quotas", "Broker errors", "Certificates end in",
         "Certificates in the files are in force"}


def panels() -> list[dict[str, Any]]:
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def expressions(panel: dict[str, Any]) -> list[str]:
    return [target["expr"].replace("$instance", ".*").replace("$__rate_interval", "5s") for target in panel["targets"]]


def test_the_dashboard_is_what_its_script_writes() -> None:
    assert DASHBOARD.read_text() == load_script("scripts/dashboard.py").render()


def test_every_metric_is_on_the_dashboard_and_nothing_else() -> None:
    shown = {re.sub(r"_bucket$", "", name) for panel in panels() for expression in expressions(panel)
             for name in re.findall(r"\bkproxy_\w+", expression)}
    assert shown == set(METRICS)


@pytest.mark.parametrize("words", [("check", "rules", "kproxy.rules.yml"), ("test", "rules", "kproxy.rules.test.yml")])
def test_promtool_takes_the_rules(words: tuple[str, ...]) -> None:
    ran = promtool(*words)
    assert (ran.returncode, "SUCCESS" in ran.stdout) == (0, True), ran.stdout + ran.stderr


@pytest.fixture(scope="module")
def scraped(stage: Stage) -> Iterator[Prometheus]:
    """Prometheus, while a client writes what is allowed, denied, guarded, masked and asked for, and reads it."""
    over = threading.Event()
    topics = {prefix: stage.make_topic(prefix) for prefix in ("open.", "closed.", "pii.", "prompts.", "scores.")}
    working = threading.Thread(target=work, args=(stage, topics, over))
    with Prometheus(stage.node.metrics_address) as prometheus:
        working.start()
        try:
            yield prometheus
        finally:
            over.set()
            working.join()


def work(stage: Stage, topics: dict[str, str], over: threading.Event) -> None:
    client, login = stage.client("confluent"), stage.login()
    personal = Record(b'{"user":{"email":"ada@example.com"}}')
    secret = Record(b'{"text":"AKIAIOSFODNN7EXAMPLE"}')
    with client.producer(login) as producer, client.consumer(login) as consumer:
        producer.send(topics["pii."], [personal])
        consumer.assign(topics["pii."], 0, 0)
        while not over.wait(0.05):
            producer.send(topics["pii."], [personal])
            consumer.poll(1)
            producer.send(topics["prompts."], [secret])
            producer.send(topics["closed."], [personal])
            producer.send(topics["scores."], [personal])
            stage.raw().socket.close()


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_each_panel_shows_what_happens(scraped: Prometheus, panel: dict[str, Any]) -> None:
    for expression in expressions(panel):
        if panel["title"] in QUIET:
            assert scraped.get("query", query=expression)["resultType"] == "vector"
        else:
            wait_for(f"a sample of {expression}", lambda expression=expression: scraped.query(expression), 30)


def test_no_alert_cries_on_a_node_at_work(scraped: Prometheus) -> None:
    groups = scraped.get("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == 18
    wait_for("every rule to be evaluated", lambda: all(
        rule["health"] == "ok" for group in scraped.get("rules")["groups"] for rule in group["rules"]), 30)
    assert {rule["name"] for rule in rules if rule.get("state") == "firing"} <= {"KproxyPolicyErrors"}
