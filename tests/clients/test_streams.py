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
from tests.support.stage import Stage

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]

#: Its group has to settle and its state to be read, on a machine that may be busy.
COUNTED_SECONDS = 120
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
        settings, log = tmp_path / "streams.properties", tmp_path / "streams.log"
        settings.write_text(login.settings.read_text() + (
            f"bootstrap.servers={login.bootstrap}\napplication.id={name}\nstate.dir={tmp_path}/state\n"
            "processing.guarantee=exactly_once_v2\ncommit.interval.ms=100\nreplication.factor=1\n"
            "statestore.cache.max.bytes=0\nauto.offset.reset=earliest\n"
            "session.timeout.ms=6000\nheartbeat.interval.ms=1000\n"))
        command = [java_program(), "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
                   "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{folder}:{folder}/libs/*", "StreamsApp",
                   str(settings), words, counts]
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
