"""Rows 32, 33 and 44 of the protocol table for what is the cluster's: brokers, their loggers, clients' metrics."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.desk import Desk, spanning

TOPIC, BROKER, LOGGER, METRICS = 2, 4, 8, 16
READS, CHANGES = "describe_configs cluster kafka-cluster", "alter_configs cluster kafka-cluster"
#: What a broker said, by name; ``None`` is what it says of a secret.
SHOWN = {
    "num.io.threads": "8", "log.retention.ms": "-1", "log.cleaner.io.max.bytes.per.second": "1.7976931348623157E308",
    "auto.create.topics.enable": "false", "compression.type": "producer", "log.cleanup.policy": "compact,delete",
    "broker.rack": "zone-a", "num.recovery.threads.per.data.dir": "2", "max.connections.per.ip": "2147483647",
    "process.roles": "broker,controller", "controller.quorum.election.timeout.ms": "1000", "sasl.jaas.config": None,
    "ssl.client.auth": "none", "zookeeper.session.timeout.ms": "18000", "node.id": "1",
    "sasl.oauthbearer.jwks.endpoint.refresh.ms": "3600000", "alter.log.dirs.replication.quota.window.num": "11"}
#: Shown and not changed: they say how brokers tell who is who, or where they are.
KEPT = {"sasl.jaas.config", "ssl.client.auth", "sasl.oauthbearer.jwks.endpoint.refresh.ms",
        "alter.log.dirs.replication.quota.window.num"}
HIDDEN = {
    "listeners": "PLAINTEXT://canary:9092", "advertised.listeners": "PLAINTEXT://canary:9092",
    "controller.quorum.voters": "1@canary:9093", "controller.quorum.bootstrap.servers": "canary:9093",
    "zookeeper.connect": "canary:2181", "host.name": "canary", "port": "9092", "advertised.port": "9092",
    "controller.listener.names": "canary", "inter.broker.listener.name": "canary", "log.dirs": "/var/canary",
    "listener.security.protocol.map": "canary:PLAINTEXT", "log.dir": "/var/canary", "metadata.log.dir": "/var/canary",
    "ssl.keystore.location": "/etc/canary.jks", "sasl.oauthbearer.jwks.endpoint.url": "https://canary/jwks",
    "max.connections.per.ip.overrides": "canary:5", "sasl.oauthbearer.expected.issuer": "https://canary",
    "ssl.principal.mapping.rules": "RULE:^CN=canary", "a.setting.of.a.later.kafka": "canary:9092",
    "listener.name.canary-free.max.connections": "17", "super.users": "User:canary", "metric.reporters": "com.canary.R",
    "remote.log.metadata.manager.class.path": "/opt/canary", "min.insync.replicas": "10.0.0.1 is the canary"}


def configs(values: dict[str, str | None], version: int) -> list[dict[str, Any]]:
    """As a broker tells them, each with a synonym of the same value and one of another."""
    kind = {"config_type": 2, "documentation": None} if version >= 3 else {}
    return [{"name": name, "value": value, "read_only": False, "config_source": 4, "is_sensitive": value is None,
             "synonyms": [{"name": name, "value": value, "source": 4},
                          {"name": "advertised.listeners", "value": "PLAINTEXT://canary:1", "source": 5},
                          {"name": "num.io.threads", "value": "8", "source": 5}], **kind}
            for name, value in values.items()]


def answer_of(kind: int, name: str, values: dict[str, str | None], version: int) -> dict[str, Any]:
    return {"error_code": 0, "error_message": None, "resource_type": kind, "resource_name": name,
            "configs": configs(values, version)}


def asking(*resources: tuple[int, str]) -> dict[str, Any]:
    return {"include_synonyms": True, "resources": [
        {"resource_type": kind, "resource_name": name, "configuration_keys": None} for kind, name in resources]}


@pytest.mark.parametrize("version", spanning(32))
def test_t32_a_brokers_addresses_paths_and_secrets_are_blank_in_synonyms_too(version: int) -> None:
    desk = Desk(READS, "describe_configs topic open")
    assert desk.request(32, version, asking((BROKER, "1"), (TOPIC, "open"), (BROKER, "")))[0] == "forward"
    topic = answer_of(TOPIC, "open", {"retention.ms": "5"}, version)
    treatment, answer = desk.response(32, version, {"results": [
        answer_of(BROKER, "1", {**SHOWN, **HIDDEN}, version), topic, answer_of(BROKER, "", SHOWN, version)]})
    assert treatment == "replace" and answer["results"][1] == topic, "a topic has neither addresses nor paths"
    broker, default = answer["results"][0], answer["results"][2]
    assert "canary:" not in repr(broker) and "canary:" not in repr(default)
    assert [one["name"] for one in broker["configs"]] == [*SHOWN, *HIDDEN], "the names are Kafka's"
    for one in (*broker["configs"], *default["configs"]):
        shown = SHOWN.get(one["name"])
        assert (one["value"], one["is_sensitive"]) == (shown, shown is None)
        assert [synonym["value"] for synonym in one["synonyms"]] == [shown, None, "8" if shown is not None else None]
        assert one["config_source"] == 4


@pytest.mark.parametrize("version", spanning(32))
def test_what_is_marked_sensitive_is_never_shown_whatever_a_broker_says(version: int) -> None:
    desk = Desk(READS)
    desk.request(32, version, asking((BROKER, "1")))
    told = answer_of(BROKER, "1", {"num.io.threads": "8"}, version)
    told["configs"][0]["is_sensitive"] = True
    told["configs"][0]["_tags"] = [(9, b"kept")] if version >= 4 else []
    [one] = desk.response(32, version, {"results": [told]})[1]["results"][0]["configs"]
    assert one["value"] is None and [synonym["value"] for synonym in one["synonyms"]] == [None] * 3
    assert one.get("_tags", []) == told["configs"][0]["_tags"]


@pytest.mark.parametrize("version", spanning(32))
def test_levels_of_loggers_and_what_clients_measure_are_shown(version: int) -> None:
    desk = Desk(READS)
    assert desk.request(32, version, asking((LOGGER, "1"), (METRICS, "m")))[0] == "forward"
    levels = {"kafka.server": "INFO", "root": "OFF", "odd": "to canary:9092"}
    metrics = {"metrics": "org.apache.kafka.producer.", "interval.ms": "5000", "match": "client_id=a.*",
               "to": "canary:1"}
    _, answer = desk.response(32, version, {"results": [answer_of(LOGGER, "1", levels, version),
                                                        answer_of(METRICS, "m", metrics, version)]})
    assert [[one["value"] for one in result["configs"]] for result in answer["results"]] == [
        ["INFO", "OFF", None], ["org.apache.kafka.producer.", "5000", "client_id=a.*", None]]


@pytest.mark.parametrize("version", spanning(32))
def test_configs_of_the_cluster_need_its_permission_when_asked_and_when_answered(version: int) -> None:
    desk = Desk("describe_configs topic *", "describe_configs group *", CHANGES.replace("alter_configs", "alter"))
    kinds = ((BROKER, "1"), (BROKER, ""), (LOGGER, "1"), (METRICS, "m"))
    treatment, answer = desk.request(32, version, asking(*kinds))
    assert treatment == "answer" and desk.denied() == [("describe_configs", "cluster", "kafka-cluster")] * 4
    assert [(one["resource_type"], one["resource_name"], one["error_code"], one["configs"])
            for one in answer["results"]] == [(*kind, 31, []) for kind in kinds]
    desk = Desk(READS)
    assert desk.request(32, version, asking(*kinds))[0] == "forward"
    desk.allow.clear()
    desk.opened.forget_decisions()
    _, answer = desk.response(32, version, {"results": [answer_of(*kind, {"node.id": "1"}, version) for kind in kinds]})
    assert [(one["error_code"], one["configs"]) for one in answer["results"]] == [(31, [])] * 4


@pytest.mark.parametrize("api", [32, 33, 44])
def test_an_approval_of_the_cluster_is_asked_for(api: int) -> None:
    line = CHANGES if api != 32 else READS
    desk = Desk(ask=(line,))
    request = asking((BROKER, "1")) if api == 32 else changing(BROKER, {"num.io.threads": "9"}, api)
    assert desk.request(api, 1, request) == ("wait", None)
    desk.opened.answered({desk.decide("cluster", line.split()[0], "kafka-cluster", 0)[0].wanted: ("R-7", "pending")})
    [told] = desk.request(api, 1, request)[1]["results" if api == 32 else "responses"]
    assert told["error_code"] == 44 and "R-7 is pending" in told["error_message"]


# ---- changes

def changing(kind: int, values: dict[str, str | None], api: int = 44) -> dict[str, Any]:
    operation = {} if api == 33 else {"config_operation": 0}
    return {"validate_only": False, "resources": [{"resource_type": kind, "resource_name": "1", "configs": [
        {"name": name, "value": value, **operation} for name, value in values.items()]}]}


def code(desk: Desk, version: int, asked: dict[str, Any], api: int = 44) -> int:
    treatment, answer = desk.request(api, version, asked)
    return 0 if treatment == "forward" else int(answer["responses"][0]["error_code"])


@pytest.mark.parametrize("version", spanning(44))
def test_nothing_is_changed_that_is_not_shown(version: int) -> None:
    desk = Desk(CHANGES)
    for name, value in SHOWN.items():
        assert code(desk, version, changing(BROKER, {name: value})) == (44 if name in KEPT else 0), name
    for name, value in HIDDEN.items():
        assert code(desk, version, changing(BROKER, {name: value})) == 44, name
        assert code(desk, version, changing(BROKER, {"num.io.threads": "9", name: value})) == 44, name
    assert code(desk, version, changing(BROKER, {"advertised.listeners": None})) == 44, "nor is it taken back"
    assert code(desk, version, changing(BROKER, {"log.retention.ms": None})) == 0
    assert code(desk, version, changing(LOGGER, {"kafka.server": "DEBUG", "root": None})) == 0
    assert code(desk, version, changing(LOGGER, {"kafka.server": "anything"})) == 44
    assert code(desk, version, changing(METRICS, {"match": "client_id=a", "interval.ms": "5", "metrics": ""})) == 0
    assert code(desk, version, changing(METRICS, {"other": "5"})) == 44
    told = desk.request(44, version, changing(BROKER, HIDDEN))[1]["responses"][0]
    assert "not changed from here" in told["error_message"]
    assert desk.denied() == [("alter_configs", "cluster", "1")]


@pytest.mark.parametrize("version", spanning(44))
def test_changes_of_the_cluster_need_its_permission(version: int) -> None:
    desk = Desk(READS, "alter_configs topic *", "alter_configs group *")
    for kind, name in ((BROKER, "num.io.threads"), (LOGGER, "root"), (METRICS, "metrics")):
        assert code(desk, version, changing(kind, {name: "1"})) == 31
    assert desk.denied() == [("alter_configs", "cluster", "kafka-cluster")]


@pytest.mark.parametrize("version", spanning(33))
def test_nobody_takes_back_all_that_a_request_does_not_name(version: int) -> None:
    assert code(Desk(CHANGES), version, changing(BROKER, {"num.io.threads": "9"}, 33), 33) == 44
    assert code(Desk(READS), version, changing(BROKER, {"num.io.threads": "9"}, 33), 33) == 31


def test_observing_changes_no_more_than_what_is_shown() -> None:
    desk = Desk(observe=True)
    assert code(desk, 1, changing(BROKER, {"num.io.threads": "9"})) == 0
    assert code(desk, 1, changing(BROKER, {"listeners": "PLAINTEXT://mine:1"})) == 44
