"""A Kafka Streams application behind kproxy: topics of its own making, state it can lose, exactly-once transactions."""

from __future__ import annotations

import os
import uuid
from collections import Counter
from pathlib import Path

import pytest

from tests.support import children
from tests.support.client_console import ToolLogin
from tests.support.clients import Record
from tests.support.driver_builds import DriverMissing, build_streams
from tests.support.java import JavaDriver
from tests.support.kafka_broker import KafkaBroker
from tests.support.kafka_libs import java_program
from tests.support.ports import wait_for
from tests.support.raw_client import API_VERSIONS, RawClient
from tests.support.stage import Stage

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]

#: Its group has to settle and its state to be read, on a machine that may be busy.
COUNTED_SECONDS = 120
STREAMS_HEARTBEAT = 88
POLICY = """\
roles:
  counter:
    members: {groups: [counters]}
    allow:
      - {operations: [read, write], topics: ["words.*", "counts.*"]}
      - {operations: [create, read, write, delete, describe_configs], topics: ["app.*"]}
      - {operations: [read], groups: ["app.*"]}
      - {operations: [write], transactional_ids: ["app.*"]}
"""


def build(kafka: KafkaBroker) -> Path:
    try:
        return build_streams(kafka.version)
    except DriverMissing as missing:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"no Streams: {missing}")


def test_words_are_counted_exactly_once_and_over_a_restart(kafka: KafkaBroker, java: JavaDriver,
                                                           tmp_path: Path) -> None:
    """Streams leaves its group without a word, so the second one waits until the broker misses the first."""
    folder = build(kafka)
    with Stage(kafka, java, way="tapped4", policy=POLICY) as stage, \
            ToolLogin(stage.login(groups=["counters"], mechanism="PLAIN", lifetime=3600)) as login:
        words, counts, name = stage.make_topic("words."), stage.make_topic("counts."), f"app.{uuid.uuid4().hex[:10]}"
        log = tmp_path / "streams.log"
        command = command_of(folder, tmp_path, login, name, words, counts, "processing.guarantee=exactly_once_v2",
                             "session.timeout.ms=6000", "heartbeat.interval.ms=1000")
        spoken: Counter[str] = Counter()
        for round_ in (["ada", "bob", "ada"], ["bob", "ada", "cyd"]):
            stage.write_direct(words, [Record(word.encode()) for word in round_])
            spoken.update(round_)
            child = children.start(command, log)
            try:
                await_counts(stage, counts, spoken, log)
            finally:
                children.stop(child, 30)
        assert "AuthorizationException" not in log.read_text()
        with stage.client("confluent").admin(stage.direct()) as admin:
            made = {topic.removeprefix(name) for topic in admin.list_topics() if topic.startswith(name)}
        assert made == {"-by-value-repartition", "-counts-changelog"}


def test_the_groups_of_kip_1071_are_refused_clearly(kafka: KafkaBroker, java: JavaDriver, tmp_path: Path) -> None:
    """The broker has them and kproxy does not offer them: the application says so and ends, and nothing of its topology
    went anywhere. The test above is the same application in a classic group."""
    folder = build(kafka)
    with RawClient(kafka.bootstrap()) as direct:
        assert any(one["api_key"] == STREAMS_HEARTBEAT for one in direct.ask(API_VERSIONS, 3, {
            "client_software_name": "a", "client_software_version": "1"})["api_keys"]), "the broker has them"
    with Stage(kafka, java, way="tapped4", policy=POLICY) as stage, \
            ToolLogin(stage.login("tapped", groups=["counters"], mechanism="PLAIN", lifetime=3600)) as login:
        words, counts, name = stage.make_topic("words."), stage.make_topic("counts."), f"app.{uuid.uuid4().hex[:10]}"
        log = tmp_path / "streams.log"
        child = children.start(command_of(folder, tmp_path, login, name, words, counts, "group.protocol=streams"), log)
        try:
            wait_for("the refusal", lambda: "The node does not support STREAMS_GROUP_HEARTBEAT" in log.read_text(),
                     COUNTED_SECONDS, 0.2)
        finally:
            children.stop(child, 30)
        assert stage.behind.requests(STREAMS_HEARTBEAT) == stage.front.requests(STREAMS_HEARTBEAT) == []


def command_of(folder: Path, tmp_path: Path, login: ToolLogin, name: str, words: str, counts: str,
               *settings: str) -> list[str]:
    """How the application is run, with a file of settings."""
    file = tmp_path / "streams.properties"
    file.write_text(login.settings.read_text() + "\n".join([
        f"bootstrap.servers={login.bootstrap}", f"application.id={name}", f"state.dir={tmp_path}/state",
        "commit.interval.ms=100", "replication.factor=1", "statestore.cache.max.bytes=0",
        "auto.offset.reset=earliest", *settings, ""]))
    return [java_program(), "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{folder}:{folder}/libs/*", "StreamsApp",
            str(file), words, counts]


def await_counts(stage: Stage, topic: str, wanted: Counter[str], log: Path) -> None:
    """Each word was told at every number up to its own, once: what was aborted is not read, nothing is twice."""
    def is_told() -> bool:
        with stage.client("confluent").consumer(stage.direct(), isolation="read_committed") as consumer:
            consumer.assign(topic, 0, 0)
            told = sorted(((one.key or b"").decode(), int(one.value or b"0"))
                          for one in consumer.poll(wanted.total(), 3))
        return told == sorted((word, number + 1) for word, count in wanted.items() for number in range(count))

    try:
        wait_for("the counts", is_told, COUNTED_SECONDS, 0.2)
    except AssertionError:
        raise AssertionError(children.tail(log)) from None
