"""The stage of the integration tests: a real Kafka, taps before and behind a kproxy node, tokens from an issuer.

The node has two listeners with one policy: ``public`` goes straight to Kafka's SASL listener, ``tapped`` has a relay on
either side, so that a test sees every byte that kproxy took and gave.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from kproxy.demo.issuer import DevelopmentIssuer, IssuerServer, SigningKey
from tests.support.client_confluent import ConfluentClient
from tests.support.clients import Got, KafkaClient, Login, Record, Sent, open_client
from tests.support.java import JavaDriver
from tests.support.kafka_broker import PASSWORD, USERNAME, KafkaBroker
from tests.support.kproxy_node import Cluster, KproxyNode, Listener
from tests.support.raw_client import RawClient
from tests.support.tap import Tap

POLICY = """\
topics:
  - {match: "open.*", labels: {class: internal}}
  - {match: "pii.*", labels: {class: pii}}
  - {match: "scores.*", labels: {model_output: fraud}}
roles:
  worker:
    members: '"workers" in principal.groups'
    allow:
      - {operations: [read, write], topics: ["open.*", "pii.*", "cards.*", "prompts.*", "scores.*", "grow.*"]}
      - {operations: [create], topics: ["open.*"]}
      - {operations: [read], groups: ["g.*"]}
      - {operations: [delete], groups: ["g.mine.*"]}
      - {operations: [write], transactional_ids: ["tx.*"]}
  steward:
    members: {groups: [stewards]}
    allow:
      - {operations: [create, delete, alter, alter_configs], topics: ["open.*"]}
      - {operations: [delete], topics: ["kept.*"]}
  privacy-officer:
    members: {groups: [privacy]}
    allow:
      - {operations: [read], topics: ["pii.*"], groups: ["g.*"]}
  ml-risk: {members: {groups: [ml-risk]}}
masks:
  - {name: contact, topics: ["pii.*"], directions: [consume], except_roles: [privacy-officer],
     fields: [user.email], action: redact}
  - {name: phones, topics: ["pii.*"], directions: [consume], except_roles: [privacy-officer],
     fields: ["items[*].phone"], action: {mask: {keep_last: 2}}}
  - {name: cards, topics: ["cards.*"], directions: [produce], detect: [credit_card], action: {mask: {keep_last: 4}}}
  - {name: places, topics: ["grow.*"], directions: [produce], detect: [ipv4], action: {replace: "an address was here"}}
guards:
  - {name: secrets, topics: ["prompts.*"], directions: [produce], detect: [private_key, api_key], action: block,
     message: "Secrets do not belong in prompts."}
approvals:
  - {name: new-model, operations: [write], topics: ["scores.*"], unless: 'attested.model in granted.models',
     approvers: {role: ml-risk}, request_ttl: 1h, max_duration: 8h}
  - {name: no-lonely-deletes, operations: [delete], topics: ["kept.*"], approvers: {role: ml-risk}, request_ttl: 1h,
     max_duration: 8h}
"""
#: The relays before kproxy stand at the same ports on another loopback address, which the listener advertises.
TAPPED_HOST = "127.0.0.2"


class Stage:
    """A context manager. ``kafka`` and ``java`` outlive it. ``way`` is a tap of the broker that no other stage uses.
    With ``tls`` (the configuration's own words) there is ``secure`` too, a listener like ``tapped`` that speaks TLS.
    ``registry`` is the URL of the schema registry behind ``public``."""

    def __init__(self, kafka: KafkaBroker, java: JavaDriver, *, way: str = "tapped", policy: str = POLICY,
                 workers: int = 1, more: dict[str, Any] | None = None, clock_skew: str = "30s",
                 tls: Mapping[str, str] | None = None, registry: str = "") -> None:
        self.kafka = kafka
        self.java = java
        self.issuers = IssuerServer()
        self.issuers.issuer = DevelopmentIssuer(self.issuers.url, [SigningKey.create("ES256")])
        self.behind = Tap((kafka.address(way), kafka.behind(way)))
        self.node = KproxyNode(
            clusters={"plain": Cluster(kafka.address("sasl"), USERNAME, PASSWORD, registry=registry),
                      "tapped": Cluster(kafka.address(way))},
            listeners={"public": Listener("plain"), "tapped": Listener("tapped", TAPPED_HOST),
                       **({"secure": Listener("tapped", TAPPED_HOST, tls=tls)} if tls else {})},
            issuer=self.issuers.url, policy=policy, workers=workers, more=more, clock_skew=clock_skew)
        self.front = Tap(*self.node.ways("tapped"), *(self.node.ways("secure") if tls else ()))

    def __enter__(self) -> Stage:
        self.issuers.__enter__()
        self.behind.__enter__()
        try:
            self.node.__enter__()
            self.front.__enter__()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self.front.is_running():
            self.front.__exit__()
        self.node.close()
        self.behind.__exit__()
        self.issuers.__exit__(None, None, None)

    def token(self, subject: str = "job", groups: Sequence[str] = ("workers",), lifetime: float = 600,
              **claims: Any) -> str:
        about = {"groups": list(groups), "actor": "alice", "run_id": "run-7", "model_uri": "models:/fraud/4", **claims}
        return self.issuers.issuer.issue(subject, "kproxy", about, lifetime=lifetime)

    def bootstrap(self, listener: str) -> str:
        return self.node.bootstrap(listener) if listener == "public" else f"{TAPPED_HOST}:{self.node.ports[listener]}"

    def login(self, listener: str = "public", *, token: str | None = None, mechanism: str = "OAUTHBEARER",
              extensions: dict[str, str] | None = None, **about: Any) -> Login:
        return Login(self.bootstrap(listener), mechanism, self.token(**about) if token is None else token,
                     extensions=extensions or {})

    def raw(self, listener: str = "public", token: str | None = None) -> RawClient:
        """A raw connection, logged in."""
        client = RawClient(self.bootstrap(listener))
        answer = client.log_in(self.token() if token is None else token)
        assert answer["error_code"] == 0, answer
        return client

    def client(self, name: str) -> KafkaClient:
        return open_client(name, self.java)

    def direct(self) -> Login:
        """Past kproxy, as the broker's own operator."""
        return Login(self.kafka.bootstrap())

    def make_topic(self, prefix: str, partitions: int = 1) -> str:
        """A new topic on Kafka whose name begins with ``prefix``; its name."""
        name = f"{prefix}{uuid.uuid4().hex[:10]}"
        with ConfluentClient().admin(self.direct()) as admin:
            admin.create_topic(name, partitions)
        return name

    def write_direct(self, topic: str, records: Sequence[Record], codec: str = "none") -> list[Sent]:
        with ConfluentClient().producer(self.direct(), codec=codec) as producer:
            sent = producer.send(topic, records)
        assert [one.code for one in sent] == [0] * len(sent), sent
        return sent

    def read_direct(self, topic: str, count: int, offset: int = 0) -> list[Got]:
        with ConfluentClient().consumer(self.direct()) as consumer:
            consumer.assign(topic, 0, offset)
            return consumer.poll(count)

    def read_whole(self, topic: str) -> list[Got]:
        """All of partition 0, past kproxy, up to a record that is written for the purpose and not given back."""
        end = self.end_offset(topic)
        with ConfluentClient().consumer(self.direct()) as consumer:
            consumer.assign(topic, 0, 0)
            found: list[Got] = []
            while not found or found[-1].offset < end:
                more = consumer.poll(1)
                assert more, f"{topic} ends at {end}, and after {len(found)} records nothing more came"
                found += more
        return found[:-1]

    def end_offset(self, topic: str) -> int:
        """What the next record of partition 0 would get."""
        return int(self.write_direct(topic, [Record(b'{"probe":true}')])[0].offset)

    def pending(self, topic: str) -> list[dict[str, Any]]:
        """The approval requests that wait for this topic, as an operator sees them."""
        status, found = self.node.admin("GET", "/v1/requests?state=pending", self.token("olga", ["operators"]))
        assert status == 200, found
        return [one for one in found if one["name"] == topic]

    def grant(self, topic: str) -> dict[str, Any]:
        """The one grant in force for this topic."""
        status, found = self.node.admin("GET", "/v1/grants", self.token("olga", ["operators"]))
        assert status == 200, found
        grants = [one for one in found if one["name"] == topic]
        assert len(grants) == 1, grants
        return dict(grants[0])

    def revoke(self, grant_id: str) -> None:
        token = self.token("olga", ["operators"])
        status, answer = self.node.admin("POST", f"/v1/grants/{grant_id}/revoke", token, {"reason": "over"})
        assert status == 200, answer

    def review(self, request_id: str, verb: str = "approve", subject: str = "carol",
               groups: Sequence[str] = ("ml-risk", "approvers"), **body: Any) -> tuple[int, Any]:
        """Approves or denies as somebody with a token of their own: status and answer."""
        token = self.token(subject, groups, actor=subject)
        return self.node.admin("POST", f"/v1/requests/{request_id}/{verb}", token, body)
