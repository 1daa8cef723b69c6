"""A real Kafka with its own authoriser and a few users, and the same users before kproxy: who may what is said once."""

from __future__ import annotations

from typing import Any

from confluent_kafka import admin

from kproxy.cli.import_acls import ask_cluster
from kproxy.policy.acls import Acl
from tests.support.kafka_broker import KafkaBroker
from tests.support.ports import wait_for
from tests.support.raw_client import SASL_AUTHENTICATE, SASL_HANDSHAKE, RawClient

USERS = ("admin", "reader", "prefix", "denied", "describer", "halves", "nobody")
KINDS = ("TOPIC", "GROUP", "TRANSACTIONAL_ID")


def acl(user: str, operation: str, resource: str, name: str, *, prefix: bool = False, deny: bool = False) -> Acl:
    return Acl(f"User:{user}", "*", "DENY" if deny else "ALLOW", resource, "PREFIXED" if prefix else "LITERAL", name,
               operation)


ACLS = (
    *(acl(user, "ALL", kind, "*") for user in ("admin", "denied") for kind in KINDS),
    acl("admin", "ALL", "CLUSTER", "kafka-cluster"),
    acl("reader", "READ", "TOPIC", "t.a"), acl("reader", "READ", "GROUP", "g.a"),
    acl("reader", "READ", "GROUP", "g.a.share"), acl("denied", "DESCRIBE", "GROUP", "g.a.share", deny=True),
    acl("halves", "DELETE", "GROUP", "g.a.share"), acl("halves", "READ", "GROUP", "g.b.share"),
    acl("prefix", "READ", "TOPIC", "t.", prefix=True), acl("prefix", "WRITE", "TOPIC", "t.", prefix=True),
    acl("prefix", "CREATE", "TOPIC", "t.", prefix=True), acl("prefix", "READ", "GROUP", "g.", prefix=True),
    acl("prefix", "DELETE", "GROUP", "g.b", prefix=True), acl("prefix", "WRITE", "TRANSACTIONAL_ID", "x.", prefix=True),
    acl("prefix", "WRITE", "TOPIC", "t.c", deny=True), acl("prefix", "READ", "GROUP", "g.b", deny=True),
    acl("denied", "READ", "TOPIC", "t.a", deny=True), acl("denied", "DESCRIBE", "TOPIC", "t.b", deny=True),
    acl("denied", "ALL", "TOPIC", "t.c", prefix=True, deny=True), acl("denied", "DESCRIBE", "GROUP", "g.a", deny=True),
    acl("denied", "WRITE", "TRANSACTIONAL_ID", "x.", prefix=True, deny=True),
    *(acl("describer", "DESCRIBE", kind, "*") for kind in KINDS),
    acl("describer", "DESCRIBE", "CLUSTER", "kafka-cluster"),
    acl("describer", "DESCRIBE_CONFIGS", "CLUSTER", "kafka-cluster"),
    acl("halves", "ALTER_CONFIGS", "TOPIC", "t.a"), acl("halves", "DELETE", "TOPIC", "t.b"),
    acl("halves", "ALTER", "TOPIC", "t.c"), acl("halves", "DESCRIBE_CONFIGS", "TOPIC", "t.b"),
    acl("halves", "DELETE", "GROUP", "g.a"), acl("halves", "WRITE", "TRANSACTIONAL_ID", "x.a"),
    acl("halves", "ALTER", "CLUSTER", "kafka-cluster"), acl("halves", "IDEMPOTENT_WRITE", "CLUSTER", "kafka-cluster"),
)


def guarded_settings() -> dict[str, str]:
    """Of a broker whose ``direct`` way is its operator's, and whose ``sasl`` way is the users'."""
    users = " ".join(f'user_{user}="{user}"' for user in USERS)
    module = "org.apache.kafka.common.security.plain.PlainLoginModule"
    return {"authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS", "listener.name.sasl.plain.sasl.jaas.config": f"{module} required {users};"}


def put_acls(broker: KafkaBroker) -> None:
    """As the broker's operator."""
    client = admin.AdminClient({"bootstrap.servers": broker.bootstrap()})
    bindings = [admin.AclBinding(
        admin.ResourceType["BROKER" if one.resource == "CLUSTER" else one.resource], one.name,
        admin.ResourcePatternType[one.pattern_type], one.principal, one.host, admin.AclOperation[one.operation],
        admin.AclPermissionType[one.permission]) for one in ACLS]
    for done in client.create_acls(bindings, request_timeout=30).values():
        done.result(30)
    wait_for("the broker to know its ACLs", lambda: set(ask_cluster(broker.bootstrap(), {})) == set(ACLS), 30)


def log_in(broker: KafkaBroker, user: str) -> RawClient:
    """A raw connection of a user, on the ``sasl`` way."""
    client = RawClient(broker.bootstrap("sasl"))
    assert client.ask(SASL_HANDSHAKE, 1, {"mechanism": "PLAIN"})["error_code"] == 0
    answer: dict[str, Any] = client.ask(SASL_AUTHENTICATE, 2, {"auth_bytes": f"\0{user}\0{user}".encode()})
    assert answer["error_code"] == 0, answer
    return client
