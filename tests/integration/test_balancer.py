"""HAProxy on both sides of kproxy, before a real Kafka: whom each of them takes the client for.

    client (127.0.0.77) ──► HAProxy (from 127.0.0.9) ──header──► kproxy ──header──► HAProxy ──► Kafka
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from kproxy.demo.issuer import DevelopmentIssuer, IssuerServer, SigningKey
from tests.support.certificates import Authority
from tests.support.clients import CLIENT_NAMES, Login, Record, open_client
from tests.support.haproxy import Haproxy, Way
from tests.support.java import JavaDriver
from tests.support.kafka_broker import KafkaBroker
from tests.support.kproxy_node import Cluster, KproxyNode, Listener
from tests.support.ports import wait_for
from tests.support.raw_client import METADATA, PRODUCE, RawClient, metadata, produce

pytestmark = pytest.mark.integration

#: Where clients go, where HAProxy comes from, and where one client comes from.
FRONT, BALANCER, CLIENT = "127.0.0.2", "127.0.0.9", "127.0.0.77"
POLICY = """\
roles:
  worker:
    members: '"workers" in principal.groups'
    allow:
      - {operations: [read, write, create, describe], topics: ["open.*"], groups: ["g.*"]}
      - {operations: [write, create], topics: [near], when: 'cidr("127.0.0.77/32", client.address)'}
"""
SENT = {"v1": "send-proxy", "v2": "send-proxy-v2 proxy-v2-options crc32c"}


class World:
    """With version 1 everything is in plaintext, with version 2 there is TLS on either side of kproxy."""

    def __init__(self, folder: Path, java: JavaDriver) -> None:
        self.java, authority = java, Authority("servers")
        self.ca = authority.write_own(folder, "ca")
        cert, key = authority.write(folder, "kproxy", "localhost", "127.0.0.1", FRONT)
        (folder / "haproxy.pem").write_bytes(key.read_bytes() + cert.read_bytes())
        self.kafka = KafkaBroker(auto_create=True, taps=["v1", "v2"])
        self.issuers = IssuerServer()
        self.issuers.issuer = DevelopmentIssuer(self.issuers.url, [SigningKey.create("ES256")])
        tls = {"cert": str(cert), "key": str(key)}
        self.node = KproxyNode(
            clusters={"v1": Cluster(self.kafka.address("v1"), proxy_protocol="v1"),
                      "v2": Cluster(self.kafka.address("v2"), proxy_protocol="v2", tls={"ca": str(self.ca)})},
            listeners={"v1": Listener("v1", FRONT, trusted=(f"{BALANCER}/32",)),
                       "v2": Listener("v2", FRONT, trusted=(f"{BALANCER}/32",), tls=tls)},
            issuer=self.issuers.url, policy=POLICY)
        secure = {"v1": "", "v2": f"ssl crt {folder / 'haproxy.pem'}"}
        self.behind = Haproxy([Way(name, self.kafka.bootstrap(name), "{}:{}".format(*self.kafka.behind(name)),
                                   f"accept-proxy {secure[name]}") for name in SENT])
        self.front = Haproxy([Way(f"{name}-{port}", f"{host}:{port}", f"{target[0]}:{target[1]}", "",
                                  f"source {BALANCER} {sent} check inter 500ms")
                              for name, sent in SENT.items() for (host, port), target in self.node.ways(name)])

    def __enter__(self) -> World:
        with contextlib.ExitStack() as stack:
            for one in (self.issuers, self.kafka, self.behind, self.node, self.front):
                stack.enter_context(one)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def token(self, subject: str = "job") -> str:
        return self.issuers.issuer.issue(subject, "kproxy", {"groups": ["workers"]}, lifetime=600)

    def bootstrap(self, version: str) -> str:
        return f"{FRONT}:{self.node.ports[version]}"

    def raw(self, version: str, subject: str, source: str) -> RawClient:
        context = ssl.create_default_context(cafile=str(self.ca)) if version == "v2" else None
        client = RawClient(self.bootstrap(version), context, source)
        assert client.log_in(self.token(subject))["error_code"] == 0
        return client


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, java: JavaDriver) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("balancer"), java) as world:
        yield world


@pytest.mark.parametrize("version", SENT)
def test_the_client_is_known_on_either_side(world: World, version: str) -> None:
    subject = f"far-{version}"
    with world.raw(version, subject, CLIENT) as client:
        assert client.ask(METADATA, 9, metadata(["open.x"]))["topics"][0]["name"] == "open.x"
        wait_for("HAProxy behind to know the client", lambda: CLIENT in world.behind.served(version))

    def connects() -> list[tuple[str, str]]:
        return [(event["address"], event["details"].get("via")) for event in world.node.audit()
                if event["kind"] == "connect" and event["principal"] == f"dev:{subject}"]

    wait_for("the session in the audit", connects)
    assert connects() == [(CLIENT, BALANCER)]


@pytest.mark.parametrize(("source", "code"), [(CLIENT, 0), ("127.0.0.78", 29)])
@pytest.mark.parametrize("version", SENT)
def test_rules_see_the_clients_address(world: World, version: str, source: str, code: int) -> None:
    with world.raw(version, "near", source) as client:
        assert client.ask(METADATA, 9, {**metadata(["near"]), "allow_auto_topic_creation": True})
        wait_for("the topic", lambda: client.ask(METADATA, 9, metadata(["near"]))["topics"][0]["error_code"] == code)
        answer = client.ask(PRODUCE, 9, produce(("near", [b"x"])))
        assert answer["responses"][0]["partition_responses"][0]["error_code"] == code


@pytest.mark.parametrize("name", CLIENT_NAMES)
@pytest.mark.parametrize("version", SENT)
def test_real_clients(world: World, name: str, version: str) -> None:
    client = open_client(name, world.java)
    login = Login(world.bootstrap(version), "PLAIN", world.token(), ca=str(world.ca) if version == "v2" else "")
    topic = f"open.{name}.{version}"
    with client.producer(login) as producer:
        sent = producer.send(topic, [Record(b"small"), Record(bytes(range(256)) * 800), Record(None, b"key")])
    assert [one.code for one in sent] == [0, 0, 0], sent
    with client.consumer(login, f"g.{name}.{version}") as consumer:
        consumer.subscribe(topic)
        assert [len(got.value or b"") for got in consumer.poll(3)] == [5, 204_800, 0]


@pytest.mark.parametrize("version", SENT)
def test_who_goes_round_the_balancer_is_turned_away(world: World, version: str) -> None:
    before = world.node.metric("kproxy_close_total", cause="proxy_untrusted")
    with RawClient(world.node.bootstrap(version)) as client:
        client.socket.settimeout(20)
        assert client.is_closed()
    wait_for("the close in the metrics",
             lambda: world.node.metric("kproxy_close_total", cause="proxy_untrusted") == before + 1)
    assert "its network is not among the trusted ones" in world.node.log.read_text()


def test_the_balancers_own_checks_are_taken(world: World) -> None:
    """They come with LOCAL or UNKNOWN and leave at once: HAProxy holds kproxy for healthy, and the log is still."""
    before = world.node.metric("kproxy_close_total", cause="client_closed")
    wait_for("some checks", lambda: world.node.metric("kproxy_close_total", cause="client_closed") > before + 5)
    assert " is DOWN" not in world.front.log()
    assert f'"address": "{BALANCER}"' not in world.node.log.read_text()
