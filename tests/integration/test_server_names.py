"""Brokers at one port, told apart by the name in the TLS handshake: Java's client before a real Kafka."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kproxy.demo.issuer import DevelopmentIssuer, IssuerServer, SigningKey
from tests.support.certificates import Authority
from tests.support.clients import Login, Record, open_client
from tests.support.java import JavaDriver
from tests.support.kafka_broker import PASSWORD, USERNAME, KafkaBroker
from tests.support.kproxy_node import Cluster, KproxyNode, Listener
from tests.support.ports import wait_for
from tests.support.raw_client import METADATA, RawClient, metadata
from tests.support.stage import POLICY

pytestmark = pytest.mark.integration

NAMES = ("b{node}.kafka.test", "kafka.test")


@dataclass
class World:
    node: KproxyNode
    issuer: DevelopmentIssuer
    ca: Path

    def token(self, *groups: str) -> str:
        return self.issuer.issue("job", "kproxy", {"groups": list(groups)}, lifetime=600)

    def login(self) -> Login:
        return Login(f"kafka.test:{self.node.ports['named']}", "OAUTHBEARER", self.token("workers"), ca=str(self.ca),
                     tls_version="1.3")

    def shake_hands(self, name: str | None) -> RawClient:
        """Raises ssl.SSLError where the name is refused."""
        context = ssl.create_default_context(cafile=str(self.ca))
        context.check_hostname = False
        return RawClient(self.node.bootstrap("named"), context, name=name)


@pytest.fixture(scope="module")
def world(kafka: KafkaBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder, authority = tmp_path_factory.mktemp("names"), Authority()
    ca = authority.write_own(folder)
    cert, key = authority.write(folder, "kafka", "kafka.test", "*.kafka.test")
    with IssuerServer() as issuers:
        issuers.issuer = DevelopmentIssuer(issuers.url, [SigningKey.create("ES256")])
        with KproxyNode(
                clusters={"plain": Cluster(kafka.address("sasl"), USERNAME, PASSWORD)},
                listeners={"named": Listener("plain", names=NAMES, tls={"cert": str(cert), "key": str(key)})},
                issuer=issuers.url, policy=POLICY, workers=2) as node:
            yield World(node, issuers.issuer, ca)


@pytest.fixture(scope="module")
def named_java(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JavaDriver]:
    """A client for whom all names lead to loopback."""
    hosts = tmp_path_factory.mktemp("hosts") / "hosts"
    hosts.write_text("127.0.0.1 kafka.test b0.kafka.test b1.kafka.test b2.kafka.test\n")
    driver = JavaDriver(f"-Djdk.net.hosts.file={hosts}")
    yield driver
    driver.close()


def test_java_writes_and_reads_by_names_alone(world: World, named_java: JavaDriver, kafka: KafkaBroker) -> None:
    client, login, topic = open_client("java", named_java), world.login(), "open.names"
    with open_client("confluent", None).admin(Login(kafka.bootstrap())) as admin:
        admin.create_topic(topic, 1)
    with client.producer(login) as producer, client.consumer(login, "g.names") as consumer:
        assert [one.code for one in producer.send(topic, [Record(b"1"), Record(b"2")])] == [0, 0]
        consumer.subscribe(topic)
        assert [one.value for one in consumer.poll(2)] == [b"1", b"2"]
        _, found = world.node.admin("GET", "/v1/sessions", token=world.token("operators"))
        brokers = {one["broker"] for one in found}
        assert {"1"} <= brokers <= {"", "1"}, brokers


def test_metadata_tells_names_and_one_port(world: World) -> None:
    for name in ("kafka.test", "b1.kafka.test", "B1.KAFKA.TEST"):
        with world.shake_hands(name) as client:
            assert client.log_in(world.token("workers"))["error_code"] == 0
            told = client.ask(METADATA, 9, metadata([]))["brokers"]
            assert [(one["node_id"], one["host"], one["port"]) for one in told] == [
                (1, "b1.kafka.test", world.node.ports["named"])]


@pytest.mark.parametrize(("name", "cause"), [
    ("b01.kafka.test", "server_name_unknown"), ("b4096.kafka.test", "server_name_unknown"),
    ("kafka.elsewhere", "server_name_unknown"), (None, "server_name_missing")])
def test_a_name_that_is_nobodys_is_refused_in_the_handshake(world: World, name: str | None, cause: str) -> None:
    before = world.node.metric("kproxy_close_total", cause=cause)
    with pytest.raises(ssl.SSLError, match=re.compile("unrecognized.name", re.I)):
        world.shake_hands(name)
    wait_for("the close to be counted", lambda: world.node.metric("kproxy_close_total", cause=cause) == before + 1)
    assert "connection_closed" in world.node.log.read_text() and cause in world.node.log.read_text()


def test_a_name_whose_broker_is_not_there_leads_nowhere(world: World) -> None:
    before = world.node.metric("kproxy_close_total", cause="broker_unreachable")
    with world.shake_hands("b7.kafka.test") as client, pytest.raises(AssertionError, match="closed"):
        client.log_in(world.token("workers"))
    wait_for("the close to be counted", lambda: world.node.metric(
        "kproxy_close_total", cause="broker_unreachable") > before)
