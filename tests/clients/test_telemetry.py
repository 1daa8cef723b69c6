"""A broker that asks its clients for their measurements (KIP-714), and Java clients before kproxy, which hides that."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kproxy._ext.login import advertised
from tests.support.clients import Record
from tests.support.java import JavaDriver, compiled
from tests.support.kafka_broker import KafkaBroker
from tests.support.ports import wait_for
from tests.support.raw_client import API_VERSIONS, RawClient
from tests.support.stage import Stage

pytestmark = pytest.mark.integration

SUBSCRIPTIONS, PUSH, ALTER_CONFIGS, CLIENT_METRICS = 71, 72, 44, 16


@pytest.fixture(scope="module")
def asking(kafka_jars: None) -> Iterator[KafkaBroker]:
    with KafkaBroker(taps=["tapped"], settings={"metric.reporters": "TelemetryReceiver"},
                     classes=compiled("TelemetryReceiver.java")) as broker:
        with RawClient(broker.bootstrap()) as operator:
            [answer] = operator.ask(ALTER_CONFIGS, 1, {"validate_only": False, "resources": [{
                "resource_type": CLIENT_METRICS, "resource_name": "all", "configs": [
                    {"name": "metrics", "config_operation": 0, "value": "*"},
                    {"name": "interval.ms", "config_operation": 0, "value": "100"}]}]})["responses"]
            assert answer["error_code"] == 0, answer
        yield broker


def offered(client: RawClient) -> set[int]:
    return {one["api_key"] for one in client.ask(API_VERSIONS, 3, {
        "client_software_name": "test", "client_software_version": "1"})["api_keys"]}


def test_hidden_telemetry_does_no_harm_to_a_client_that_would_push(asking: KafkaBroker, java: JavaDriver) -> None:
    with RawClient(asking.bootstrap()) as direct:
        assert offered(direct) >= {SUBSCRIPTIONS, PUSH}
    with Stage(asking, java) as stage:
        topic = stage.make_topic("open.")
        with stage.client("java").producer(stage.direct()) as producer:
            assert [one.code for one in producer.send(topic, [Record(b"direct")])] == [0]
            wait_for("measurements without kproxy", lambda: b"measurements of " in asking.log.read_bytes(), 60)
        with stage.raw("tapped") as client:
            assert not offered(client) & {SUBSCRIPTIONS, PUSH}
        login = stage.login("tapped", mechanism="PLAIN")
        clients = stage.client("java")
        with clients.producer(login) as producer, clients.consumer(login, "g.measured") as reader:
            assert [one.code for one in producer.send(topic, [Record(b"behind kproxy")] * 5)] == [0] * 5
            reader.subscribe(topic)
            assert [one.value for one in reader.poll(6)] == [b"direct", *[b"behind kproxy"] * 5]
            reader.commit()
        asked = {frame.api for tap in (stage.front, stage.behind) for frame in tap.requests()}
        assert API_VERSIONS in asked and not asked & {SUBSCRIPTIONS, PUSH}


def test_neither_of_the_pair_is_ever_offered_alone() -> None:
    everything = {key: (0, 99) for key in range(128)}
    for missing in (set(), {SUBSCRIPTIONS}, {PUSH}):
        shown = advertised({key: versions for key, versions in everything.items() if key not in missing})
        assert (SUBSCRIPTIONS in shown) == (PUSH in shown)
