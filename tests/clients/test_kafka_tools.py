"""Kafka's own tools through kproxy, as an operator with a token runs them: they see and change what the policy allows.

Their console programs and kafka-topics are clients of the matrix in test_compatibility.py; here are the others.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator

import pytest

from tests.support.client_console import TOOLS, TOPICS, ToolLogin
from tests.support.clients import GROUP_DENIED, TOPIC_DENIED, ClientError, Record
from tests.support.java import JavaDriver
from tests.support.kafka_broker import KafkaBroker
from tests.support.stage import Stage
from tests.support.transactions import open_transactions

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

CONFIGS, GROUPS = "kafka.admin.ConfigCommand", f"{TOOLS}.consumer.group.ConsumerGroupCommand"
TRANSACTIONS = f"{TOOLS}.TransactionsCommand"
POLICY = """\
roles:
  cluster-admin:
    members: {groups: [cluster]}
    allow: [{operations: [describe_configs, alter_configs], cluster: true}]
"""
PERFORMANCE, OFFSETS = f"{TOOLS}.ProducerPerformance", f"{TOOLS}.GetOffsetShell"


@pytest.fixture(scope="module")
def tools(stage: Stage) -> Iterator[ToolLogin]:
    """As somebody who works with topics and administers them."""
    with ToolLogin(stage.login(groups=("workers", "stewards"))) as login:
        yield login


@pytest.fixture(scope="module")
def cluster(kafka: KafkaBroker, java: JavaDriver) -> Iterator[Stage]:
    """Where some administer the cluster itself."""
    with Stage(kafka, java, way="tapped4", policy=POLICY) as stage:
        yield stage


def code_of(tools: ToolLogin, *words: str) -> int:
    with pytest.raises(ClientError) as refused:
        tools.run(*words)
    return refused.value.code


def group_of(stage: Stage, prefix: str, topic: str) -> str:
    """A group, joined past kproxy, that has read the three records of this topic."""
    group = f"{prefix}{uuid.uuid4().hex[:10]}"
    with stage.client("java").consumer(stage.direct(), group) as consumer:
        consumer.subscribe(topic)
        assert len(consumer.poll(3)) == 3
        consumer.commit()
    return group


def topic_of(stage: Stage, prefix: str = "open.") -> str:
    topic = stage.make_topic(prefix)
    stage.write_direct(topic, [Record(b"%d" % n) for n in range(3)])
    return topic


def test_configs_of_ones_own_topics_are_shown_and_changed(stage: Stage, tools: ToolLogin) -> None:
    topic, closed = topic_of(stage), topic_of(stage, "closed.")
    change = ("--alter", "--entity-type", "topics", "--add-config", "retention.ms=1234567", "--entity-name")
    assert f"Completed updating config for topic {topic}." in tools.run(CONFIGS, *change, topic)
    shown = tools.run(CONFIGS, "--describe", "--entity-type", "topics", "--entity-name", topic)
    assert re.search(r"^  retention\.ms=1234567 ", shown, re.M)
    assert code_of(tools, CONFIGS, *change, closed) == TOPIC_DENIED
    with stage.client("java").admin(stage.direct()) as direct:
        assert direct.configs(topic)["retention.ms"] == "1234567"                   # type: ignore[attr-defined]
        assert direct.configs(closed)["retention.ms"] != "1234567"                  # type: ignore[attr-defined]


@pytest.mark.slow
def test_configs_of_others_and_of_brokers_are_not_shown(stage: Stage, tools: ToolLogin) -> None:
    topic, closed = topic_of(stage), topic_of(stage, "closed.")
    everything = tools.run(CONFIGS, "--describe", "--entity-type", "topics")
    assert f"for topic {topic} are" in everything
    assert closed not in everything
    with pytest.raises(ClientError) as refused:
        tools.run(CONFIGS, "--describe", "--entity-type", "brokers", "--entity-name", "1")
    assert "ClusterAuthorizationException" in refused.value.message


def test_configs_of_brokers_are_shown_without_addresses_and_changed_with_care(cluster: Stage) -> None:
    """T32 with the tool that operators use."""
    front = len(cluster.front.connections)
    with ToolLogin(cluster.login("tapped", groups=("cluster",))) as login:
        of_broker = ("--entity-type", "brokers", "--entity-name", "1")
        shown = login.run(CONFIGS, "--describe", "--all", *of_broker)
        assert re.search(r"^  num\.io\.threads=8 sensitive=false ", shown, re.M)
        for name in ("listeners", "advertised.listeners", "controller.quorum.voters", "log.dirs"):
            assert re.search(rf"^  {re.escape(name)}=null sensitive=true ", shown, re.M), name
        change = ("--alter", *of_broker, "--add-config")
        assert "Completed updating config for broker 1." in login.run(CONFIGS, *change, "background.threads=11")
        assert "background.threads=11 " in login.run(CONFIGS, "--describe", *of_broker)
        login.run(CONFIGS, "--alter", *of_broker, "--delete-config", "background.threads")
        with pytest.raises(ClientError) as refused:
            login.run(CONFIGS, *change, "advertised.listeners=PLAINTEXT://evil:1")
        assert "not changed from here" in refused.value.message
        loggers = login.run(CONFIGS, "--describe", "--entity-type", "broker-loggers", "--entity-name", "1")
        assert re.search(r"^  root=(OFF|ERROR|WARN|INFO) sensitive=false ", loggers, re.M)
    got = b"".join(bytes(passed.to_client) for passed in cluster.front.connections[front:])
    assert b"127.0.0.1" not in got and str(cluster.kafka.folder).encode() not in got


@pytest.mark.slow
def test_topics_are_described_with_the_listeners_addresses_and_grown(stage: Stage, tools: ToolLogin) -> None:
    topic, closed = topic_of(stage), topic_of(stage, "closed.")
    tools.run(TOPICS, "--alter", "--topic", topic, "--partitions", "3")
    described = tools.run(TOPICS, "--describe")
    assert re.search(rf"^Topic: {re.escape(topic)}\t.*PartitionCount: 3\t", described, re.M)
    assert closed not in described
    with pytest.raises(ClientError) as refused:
        tools.run(TOPICS, "--alter", "--topic", closed, "--partitions", "3")
    assert "does not exist as expected" in refused.value.message, "the tool looks for it in the list of topics"


def test_topics_are_described_by_pages_that_show_nothing_else(stage: Stage) -> None:
    """The tool of 4.x asks DescribeTopicPartitions, page by page."""
    topic, other = stage.make_topic("open.", partitions=3), stage.make_topic("open.")
    closed = stage.make_topic("closed.")
    front, behind = len(stage.front.connections), len(stage.behind.connections)
    with ToolLogin(stage.login("tapped", groups=("workers", "stewards"))) as login:
        # The tool asks for configs too, which the policy shows of these only, and other tests made others.
        described = login.run(TOPICS, "--describe", "--topic", r"open\..*", "--partition-size-limit-per-response", "1")
        assert re.search(rf"^Topic: {re.escape(topic)}\t.*PartitionCount: 3\t", described, re.M)
        assert re.search(rf"^\tTopic: {re.escape(topic)}\tPartition: 2\tLeader: 1\t.*Elr: \tLastKnownElr: ", described,
                         re.M)
        assert f"Topic: {other}\t" in described
        with pytest.raises(ClientError) as refused:
            login.run(TOPICS, "--describe", "--topic", closed)
        assert "does not exist as expected" in refused.value.message
    shown = b"".join(bytes(passed.to_client) for passed in stage.front.connections[front:])
    assert closed.encode() not in shown and topic.encode() in shown
    asked = [frame for passed in stage.behind.connections[behind:] for frame in passed.requests() if frame.api == 75]
    assert len(asked) > 3 and not any(closed.encode() in frame.data for frame in asked)


def test_ones_own_groups_are_listed_and_described(stage: Stage, tools: ToolLogin) -> None:
    topic = topic_of(stage)
    mine, foreign = group_of(stage, "g.", topic), group_of(stage, "foreign.", topic)
    listed = tools.run(GROUPS, "--list").split()
    assert mine in listed
    assert foreign not in listed
    described = tools.run(GROUPS, "--describe", "--group", mine)
    assert re.search(rf"^{re.escape(mine)} +{re.escape(topic)} +0 +3 +3 +0 ", described, re.M)
    assert code_of(tools, GROUPS, "--describe", "--group", foreign) == GROUP_DENIED


@pytest.mark.slow
def test_groups_are_reset_and_deleted_where_the_policy_allows(stage: Stage, tools: ToolLogin) -> None:
    topic = topic_of(stage)
    mine, foreign = group_of(stage, "g.mine.", topic), group_of(stage, "foreign.", topic)
    place = f"127.0.0.1:{stage.node.ports['public'] + 1}"
    described = tools.run(GROUPS, "--describe", "--group", mine, "--state")
    assert place in described, "where kproxy stands for the coordinator"
    reset = ("--reset-offsets", "--topic", topic, "--to-earliest", "--execute", "--group")
    assert re.search(rf"^{re.escape(mine)} +{re.escape(topic)} +0 +0 *$", tools.run(GROUPS, *reset, mine), re.M)
    assert code_of(tools, GROUPS, *reset, foreign) == GROUP_DENIED
    assert "Successful" in tools.run(GROUPS, "--delete-offsets", "--group", mine, "--topic", topic)
    assert "was successful" in tools.run(GROUPS, "--delete", "--group", mine)
    assert code_of(tools, GROUPS, "--delete", "--group", foreign) == GROUP_DENIED
    left = stage.kafka.run_tool(GROUPS, "--bootstrap-server", stage.kafka.bootstrap(), "--list").split()
    assert foreign in left
    assert mine not in left


@pytest.mark.slow
def test_the_performance_tool_writes_only_where_it_may(stage: Stage, tools: ToolLogin) -> None:
    topic, closed = stage.make_topic("open."), stage.make_topic("closed.")
    load = ("--record-size", "200", "--throughput", "-1", "--num-records")
    assert "2000 records sent" in tools.run(PERFORMANCE, *load, "2000", "--topic", topic)
    assert tools.run(OFFSETS, "--topic", topic).split() == [f"{topic}:0:2000"]
    assert code_of(tools, PERFORMANCE, *load, "20", "--topic", closed) == TOPIC_DENIED
    assert stage.end_offset(closed) == 0


@pytest.mark.slow
def test_ones_own_transactions_are_listed_and_nobody_elses_is_ended(stage: Stage, tools: ToolLogin) -> None:
    """A marker would end any transaction of the cluster, so that API is served to nobody."""
    topic, mine, foreign = stage.make_topic("open."), f"tx.{uuid.uuid4().hex}", f"foreign.{uuid.uuid4().hex}"
    with open_transactions("java", stage.java, stage.login(), mine) as one, \
            open_transactions("java", stage.java, stage.direct(), foreign) as other:
        for writer in (one, other):
            writer.begin()
            writer.send(topic, [b"open"])
        listed = tools.run(TRANSACTIONS, "list")
        assert re.search(rf"^{mine}\t.*Ongoing", listed, re.M)
        assert foreign not in listed
        assert f"{topic}-0" in tools.run(TRANSACTIONS, "describe", "--transactional-id", mine)
        with pytest.raises(ClientError) as hidden:
            tools.run(TRANSACTIONS, "describe", "--transactional-id", foreign)
        assert "due to authorization failure" in hidden.value.message
        with pytest.raises(ClientError) as refused:
            tools.run(TRANSACTIONS, "abort", "--topic", topic, "--partition", "0", "--start-offset", "1")
        assert "does not support WRITE_TXN_MARKERS" in refused.value.message
        one.commit()
        other.commit()
    assert [record.value for record in stage.read_direct(topic, 2)] == [b"open", b"open"]
