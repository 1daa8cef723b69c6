"""TLS on both sides before a real Kafka: real clients, certificates that change, brokers that are not what they should
be, and logins of four seconds that kproxy renews without its clients' knowing."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kproxy.demo.issuer import DevelopmentIssuer, IssuerServer, SigningKey
from tests.support import frames
from tests.support.certificates import Authority, write_pair
from tests.support.clients import CLIENT_NAMES, Login, Record, open_client
from tests.support.java import JavaDriver
from tests.support.kafka_broker import LOGIN_SECONDS, PASSWORD, USERNAME, KafkaBroker, Secure
from tests.support.kproxy_node import Cluster, KproxyNode, Listener
from tests.support.ports import wait_for
from tests.support.raw_client import (
    FETCH,
    METADATA,
    PRODUCE,
    SASL_AUTHENTICATE,
    SASL_HANDSHAKE,
    RawClient,
    fetch,
    first_message,
    metadata,
    produce,
)
from tests.support.stalls import Stalls

pytestmark = pytest.mark.integration

POLICY = """\
topics: [{match: "open.*", labels: {class: internal}}]
roles:
  worker:
    members: '"workers" in principal.groups'
    allow:
      - {operations: [read, write, create, describe], topics: ["open.*"], groups: ["g.*"]}
"""


class World:
    """A Kafka and a node before it, both with certificates of ``authority``; ``clients`` vouches for the clients'."""

    def __init__(self, folder: Path, java: JavaDriver) -> None:
        self.folder, self.java = folder, java
        self.authority, self.clients = Authority("servers"), Authority("clients")
        self.ca, client_ca = self.authority.write_own(folder, "ca"), self.clients.write_own(folder, "clients")
        self.pair = self.authority.write(folder, "kproxy")
        broker_cert, broker_key = self.authority.write(folder, "broker")
        (folder / "broker.pem").write_bytes(broker_key.read_bytes() + broker_cert.read_bytes())
        own_cert, own_key = self.authority.write(folder, "own")
        self.kafka = KafkaBroker(auto_create=True, secure=Secure(folder / "broker.pem", self.ca))
        self.issuers = IssuerServer()
        self.issuers.issuer = DevelopmentIssuer(self.issuers.url, [SigningKey.create("ES256")])
        tls = {"cert": str(self.pair[0]), "key": str(self.pair[1])}
        trust = {"ca": str(self.ca)}
        account = ("localhost", self.kafka.address("tls")[1])
        clusters = {
            "plain": Cluster(account, USERNAME, PASSWORD, "PLAIN", trust),
            "sha256": Cluster(account, USERNAME, PASSWORD, "SCRAM-SHA-256", trust),
            "sha512": Cluster(account, USERNAME, PASSWORD, "SCRAM-SHA-512", trust),
            "mtls": Cluster(self.kafka.address("mtls"), tls={**trust, "cert": str(own_cert), "key": str(own_key)}),
            "wrong-password": Cluster(account, USERNAME, "not it", "SCRAM-SHA-512", trust),
            "wrong-ca": Cluster(account, USERNAME, PASSWORD, "PLAIN", {"ca": str(client_ca)}),
            "no-certificate": Cluster(self.kafka.address("mtls"), tls=trust),
            "tls-to-plaintext": Cluster(self.kafka.address("direct"), tls=trust),
            "plaintext-to-tls": Cluster(self.kafka.address("mtls")),
            "not-offered": Cluster(self.kafka.address("sasl"), USERNAME, PASSWORD, "SCRAM-SHA-256"),
        }
        listeners = {name: Listener(name, tls=tls) for name in clusters}
        for auth in ("requested", "required"):
            listeners[auth] = Listener("sha512", tls={**tls, "client_ca": str(client_ca), "client_auth": auth})
        listeners["plaintext"] = Listener("sha512")
        self.node = KproxyNode(clusters=clusters, listeners=listeners, issuer=self.issuers.url, policy=POLICY,
                               more={"limits": {"login.timeout.ms": 3000}})

    def __enter__(self) -> World:
        with contextlib.ExitStack() as stack:
            for one in (self.issuers, self.kafka, self.node):
                stack.enter_context(one)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def token(self) -> str:
        return self.issuers.issuer.issue("job", "kproxy", {"groups": ["workers"]}, lifetime=600)

    def login(self, listener: str, mechanism: str = "OAUTHBEARER", version: str = "1.3") -> Login:
        return Login(self.node.bootstrap(listener), mechanism, self.token(), ca=str(self.ca), tls_version=version)

    def context(self, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca))
        if version is not None:
            context.minimum_version = context.maximum_version = version
        return context

    def raw(self, listener: str, context: ssl.SSLContext | None = None) -> RawClient:
        client = RawClient(self.node.bootstrap(listener), context or self.context())
        answer = client.log_in(self.token())
        assert answer["error_code"] == 0, answer
        return client

    def closes(self, cause: str) -> float:
        return self.node.metric("kproxy_close_total", cause=cause)

    def wait_for_close(self, cause: str, more_than: float) -> None:
        wait_for(f"a close by {cause}", lambda: self.closes(cause) > more_than)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, java: JavaDriver) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("tls"), java) as world:
        yield world


@pytest.mark.parametrize("name", CLIENT_NAMES)
@pytest.mark.parametrize(("listener", "version", "mechanism"), [
    ("sha512", "1.3", "OAUTHBEARER"), ("sha256", "1.2", "PLAIN"), ("mtls", "1.3", "PLAIN"), ("plain", "1.2", "PLAIN")])
def test_real_clients(world: World, name: str, listener: str, version: str, mechanism: str) -> None:
    client, login = open_client(name, world.java), world.login(listener, mechanism, version)
    topic = f"open.{name}.{listener}"
    big = bytes(range(256)) * 800
    with client.producer(login) as producer:
        sent = producer.send(topic, [Record(b"small"), Record(big), Record(None, b"key")])
    assert [one.code for one in sent] == [0, 0, 0], sent
    with client.consumer(login, f"g.{name}.{listener}") as consumer:
        consumer.subscribe(topic)
        assert [got.value for got in consumer.poll(3)] == [b"small", big, None]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_only_kproxys_addresses_are_told(world: World, version: ssl.TLSVersion) -> None:
    with world.raw("sha512", world.context(version)) as client:
        assert client.socket.version() == f"TLSv1.{2 if version == ssl.TLSVersion.TLSv1_2 else 3}"
        answer = client.ask(METADATA, 9, metadata(None))
    first = world.node.ports["sha512"] + 1
    assert [(one["host"], one["port"]) for one in answer["brokers"]] == [("127.0.0.1", first)]


def test_a_broker_login_of_four_seconds_is_renewed_under_the_client(world: World) -> None:
    """Two and a half lifetimes of a connection, with requests on the way all the time and a connection that says
    nothing until its broker login would long have ended."""
    errors = world.node.metric("kproxy_broker_errors_total", cluster="sha512")
    closed = {cause: world.closes(cause) for cause in ("broker_closed", "broker_refused_login")}
    with world.raw("sha512") as busy, world.raw("sha512") as idle:
        topic = "open.renewed"
        with open_client("confluent", None).admin(Login(world.kafka.bootstrap())) as admin:
            admin.create_topic(topic)
        begun, count = time.monotonic(), 0
        while time.monotonic() - begun < 2.5 * LOGIN_SECONDS:
            busy.send(b"".join(busy.frame(PRODUCE, 9, produce((topic, [b"x"]))) for _ in range(5)))
            for _ in range(5):
                correlation, body = busy.receive_answer(PRODUCE, 9)
                count += 1
                assert correlation == count + 2, "the answers are those asked for, in their order"
                partition = body["responses"][0]["partition_responses"][0]
                assert (partition["error_code"], partition["base_offset"]) == (0, count - 1)
        assert idle.ask(METADATA, 9, metadata([topic]))["topics"][0]["error_code"] == 0
    assert count > 100
    assert {cause: world.closes(cause) for cause in closed} == closed
    assert world.node.metric("kproxy_broker_errors_total", cluster="sha512") == errors


@pytest.mark.parametrize(("listener", "cause", "words"), [
    ("wrong-password", "broker_refused_login", "Authentication failed during authentication"),
    ("wrong-ca", "tls_untrusted", "no authority of the cluster's tls.ca vouches for the broker's certificate"),
    ("tls-to-plaintext", "tls_handshake_failed", "does the broker speak TLS at this port?"),
    ("plaintext-to-tls", "broker_speaks_tls", "the broker speaks TLS at this port"),
    ("not-offered", "mechanism_not_offered", "the broker does not take SCRAM-SHA-256; it offers PLAIN"),
    ("no-certificate", "tls_refused_by_broker", "the broker refused our certificate or versions"),
])
def test_a_broker_that_cannot_be_used_is_told_by_name(world: World, listener: str, cause: str, words: str) -> None:
    wait_for(f"errors of {listener} by {cause}",
             lambda: world.node.metric("kproxy_broker_errors_total", cluster=listener, cause=cause) > 0)
    assert words in world.node.log.read_text()
    assert PASSWORD not in world.node.log.read_text()
    with RawClient(world.node.bootstrap(listener), world.context()) as client, pytest.raises(AssertionError):
        client.log_in(world.token())


def test_plaintext_and_tls_at_the_wrong_port(world: World) -> None:
    before = world.closes("plaintext_on_tls")
    with RawClient(world.node.bootstrap("sha512")) as client:
        client.send(client.frame(18, 0, {}))
        client.socket.settimeout(5)
        assert client.is_closed()
    world.wait_for_close("plaintext_on_tls", before)
    before = world.closes("tls_on_plaintext")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        RawClient(world.node.bootstrap("plaintext"), world.context())
    world.wait_for_close("tls_on_plaintext", before)


def test_a_handshake_that_stalls(world: World) -> None:
    before = world.closes("tls_handshake_timeout")
    begun = time.time()
    with (Stalls() as stalls,
          socket.create_connection(("127.0.0.1", world.node.ports["sha512"])) as client):
        client.sendall(b"\x16\x03\x01")
        client.settimeout(30)
        assert client.recv(100) == b""
        assert 2.5 < time.time() - begun < 5 + stalls.since(begun)
    world.wait_for_close("tls_handshake_timeout", before)


@pytest.mark.parametrize(("listener", "shown", "taken"), [
    ("sha512", "ours", True), ("requested", "", True), ("requested", "ours", True), ("requested", "strange", False),
    ("required", "", False), ("required", "ours", True), ("required", "strange", False)])
def test_certificates_of_clients(world: World, listener: str, shown: str, taken: bool) -> None:
    context = world.context()
    if shown:
        authority = world.clients if shown == "ours" else world.authority
        context.load_cert_chain(*authority.write(world.folder, f"client-{shown}"))
    before = world.closes("tls_client_certificate")
    if taken:
        with world.raw(listener, context) as client:
            assert client.ask(METADATA, 9, metadata([]))["topics"] == []
    else:
        with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
            world.raw(listener, context)
        world.wait_for_close("tls_client_certificate", before)


def test_a_new_certificate_is_taken_and_a_broken_one_is_not(world: World) -> None:
    def shown() -> int:
        with socket.create_connection(("127.0.0.1", world.node.ports["plain"])) as plain, \
                world.context().wrap_socket(plain, server_hostname="localhost") as secured:
            return int(secured.getpeercert()["serialNumber"], 16)  # type: ignore[index,arg-type]

    use = "listener:plain"
    first = shown()
    with world.raw("plain") as open_before:
        certificate, key = world.authority.issue(days=3)
        write_pair(world.folder, "kproxy", certificate, key)
        wait_for("the new certificate", lambda: shown() != first)
        second = shown()
        ends = world.node.metric("kproxy_certificate_expiry_timestamp_seconds", use=use)
        assert abs(ends - time.time() - 3 * 86400) < 120
        write_pair(world.folder, "kproxy", world.clients.issue(days=3)[0], key)
        wait_for("the refusal", lambda: world.node.metric("kproxy_certificate_reload_successful", use=use) == 0)
        assert shown() == second
        assert "the key does not belong to the certificate; the one before stays in force" in world.node.log.read_text()
        write_pair(world.folder, "kproxy", *world.authority.issue(days=4))
        wait_for("the mended one", lambda: world.node.metric("kproxy_certificate_reload_successful", use=use) == 1)
        assert shown() not in (first, second)
        assert open_before.ask(METADATA, 9, metadata([]))["topics"] == [], "who was connected stays so"


def records_of(fetched: dict[str, Any]) -> bytes:
    """Of the one partition that was asked for."""
    [partition] = fetched["responses"][0]["partitions"]
    assert partition["error_code"] == 0
    return bytes(partition["records"])


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_client_that_asks_much_and_reads_late(world: World, version: str) -> None:
    """Frames and answers of all sizes, more than every buffer on the way holds, in both directions."""
    topic = f"open.late.{version}"
    with open_client("confluent", None).producer(world.login("sha512", "PLAIN")) as producer:
        assert [one.code for one in producer.send(topic, [Record(b"first")])] == [0]
    sizes = [number * 7919 % 90_001 for number in range(200)]
    with world.raw("sha512", world.context(ssl.TLSVersion[f"TLSv{version.replace('.', '_')}"])) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        for size in sizes:
            client.send(client.frame(PRODUCE, 9, produce((topic, [bytes([size % 251]) * size]))))
        answers = [client.receive_answer(PRODUCE, 9)[1] for _ in sizes]
        assert [one["responses"][0]["partition_responses"][0]["base_offset"] for one in answers] == list(range(1, 201))
        for _ in range(5):
            client.send(client.frame(FETCH, 12, fetch(topic)))
        client.wait_until_full()
        found = {records_of(client.receive_answer(FETCH, 12)[1]) for _ in range(5)}
        [same] = found
        assert len(same) > 4_000_000


@pytest.mark.parametrize("letter", [b"k", b"K"])
def test_keys_change_on_the_open_connection(world: World, letter: bytes) -> None:
    """RFC 8446 section 4.6.3: the client takes new keys, and with K asks for new ones of ours too."""
    with OpensslClient(world.node.bootstrap("sha512"), world.ca) as other:
        assert other.ask(SASL_HANDSHAKE, 1, {"mechanism": "OAUTHBEARER"})["error_code"] == 0
        other.type(letter)
        answer = other.ask(SASL_AUTHENTICATE, 2, {"auth_bytes": first_message(world.token())})
        assert answer["error_code"] == 0
        for _ in range(3):
            other.type(letter)
            assert other.ask(METADATA, 9, metadata([]))["topics"] == []


class OpensslClient:
    """``openssl s_client``, whose commands do what Python's ssl cannot."""

    def __init__(self, bootstrap: str, ca: Path) -> None:
        self._child = subprocess.Popen(
            # Being quiet ignores the commands too, unless the end of the input counts.
            ["openssl", "s_client", "-quiet", "-no_ign_eof", "-connect", bootstrap, "-CAfile", str(ca)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self._child.stdin and self._child.stdout and self._child.stderr
        self._in, self._out, self._told = self._child.stdin, self._child.stdout, self._child.stderr

    def __enter__(self) -> OpensslClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.kill()
        self._child.communicate()

    def type(self, letter: bytes) -> None:
        """A command; it must come alone, so what the program says of it is waited for."""
        self._in.write(letter + b"\n")
        self._in.flush()
        while b"KEYUPDATE" not in self._told.readline():
            assert self._child.poll() is None

    def ask(self, api: int, version: int, values: dict[str, Any]) -> dict[str, Any]:
        self._in.write(frames.request(api, version, 7, values))
        self._in.flush()
        head = self._out.read(4)
        frame = head + self._out.read(int.from_bytes(head))
        correlation, body = frames.read_response(api, version, frame)
        assert correlation == 7
        return body


def test_a_broker_that_dies_and_comes_back(world: World) -> None:
    with world.raw("mtls") as client:
        world.kafka.kill()
        assert client.is_closed()
    login = replace(world.login("mtls", "PLAIN"))
    world.kafka.start()
    with open_client("confluent", None).producer(login) as producer:
        assert [one.code for one in producer.send("open.back", [Record(b"again")])] == [0]
