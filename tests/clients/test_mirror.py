"""MirrorMaker 2 and the Connect worker that it runs in, with both of its clusters behind kproxy.

It creates and describes topics, reads and writes their configs, joins a worker's group, keeps its state in compacted
topics, lists groups and their offsets: all of that with a token, as far as a policy names it.
"""

from __future__ import annotations

import os
import re
import subprocess
import uuid
from pathlib import Path

import pytest

from tests.support import children
from tests.support.client_console import ToolLogin
from tests.support.clients import Login, Record
from tests.support.java import JavaDriver
from tests.support.kafka_broker import KafkaBroker
from tests.support.kafka_libs import KafkaMissing, class_path, mirror_libs
from tests.support.ports import wait_for
from tests.support.stage import Stage

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]

#: MirrorMaker starts three connectors one after another, and a busy machine is slow.
MIRRORED_SECONDS = 180
POLICY = """\
roles:
  mirror:
    members: {groups: [mirrors]}
    allow:
      - {operations: [read, describe_configs], topics: ["open.*"], groups: ["g.*"]}
      - operations: [create, read, write, describe_configs, alter_configs, alter]
        topics: ["here.*", "mm2-*", heartbeats]
      - {operations: [read], groups: ["*-mm2"]}
masks:
  - {name: contact, topics: ["open.*"], directions: [consume], fields: [user.email], action: redact}
"""


def properties(topic: str, group: str, login: ToolLogin) -> str:
    """From the cluster ``here`` to the cluster ``there``, which are one Kafka: names tell them apart."""
    common = dict(line.split("=", 1) for line in login.settings.read_text().splitlines())
    lines = {"clusters": "here,there", "here->there.enabled": "true", "here->there.topics": re.escape(topic),
             "here->there.groups": re.escape(group), "there->here.enabled": "false", "replication.factor": "1",
             "checkpoints.topic.replication.factor": "1", "heartbeats.topic.replication.factor": "1",
             "offset-syncs.topic.replication.factor": "1", "offset.storage.replication.factor": "1",
             "status.storage.replication.factor": "1", "config.storage.replication.factor": "1",
             "sync.topic.acls.enabled": "false", "emit.checkpoints.interval.seconds": "1",
             "refresh.groups.interval.seconds": "1", "offset.lag.max": "0", "tasks.max": "1",
             "plugin.discovery": "service_load"}
    for cluster in ("here", "there"):
        lines |= {f"{cluster}.{name}": value for name, value in common.items()}
        lines[f"{cluster}.bootstrap.servers"] = login.bootstrap
    return "".join(f"{name}={value}\n" for name, value in lines.items())


@pytest.fixture
def jars() -> list[Path]:
    try:
        return sorted(mirror_libs().glob("*.jar"))
    except KafkaMissing as missing:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"no MirrorMaker: {missing}")


def test_a_topic_with_a_mask_and_its_group_are_mirrored(kafka: KafkaBroker, java: JavaDriver, jars: list[Path],
                                                        tmp_path: Path) -> None:
    with Stage(kafka, java, way="tapped4", policy=POLICY) as stage, \
            ToolLogin(stage.login(groups=["mirrors"], lifetime=3600)) as login:
        topic, group = stage.make_topic("open."), f"g.{uuid.uuid4().hex[:10]}"
        stage.write_direct(topic, [Record(b'{"user":{"email":"ada@example.com"},"n":%d}' % n) for n in range(20)])
        read_and_commit(stage, topic, group)
        settings = tmp_path / "mirror.properties"
        settings.write_text(properties(topic, group, login))
        command = login.command("org.apache.kafka.connect.mirror.MirrorMaker", str(settings))
        command[command.index("-cp") + 1] = class_path(*jars)
        command[command.index("-Xmx128m")] = "-Xmx512m"
        log = tmp_path / "mirror.log"
        child = children.start(command, log)
        try:
            await_copy(stage, f"here.{topic}", 20, child, log)
            copied = stage.read_direct(f"here.{topic}", 20)
            assert [one.value for one in copied] == [b'{"user":{"email":""},"n":%d}' % n for n in range(20)]
            await_checkpoint(stage, group, f"here.{topic}")
        finally:
            children.stop(child, 30)
        assert "AuthorizationException" not in log.read_text()


def read_and_commit(stage: Stage, topic: str, group: str) -> None:
    with stage.client("java").consumer(stage.direct(), group) as consumer:
        consumer.subscribe(topic)
        assert len(consumer.poll(20)) == 20
        consumer.commit()


def await_copy(stage: Stage, topic: str, count: int, child: subprocess.Popen[bytes], log: Path) -> None:
    with stage.client("confluent").admin(stage.direct()) as admin:
        def is_there() -> bool:
            assert child.poll() is None, children.tail(log)
            return topic in admin.list_topics() and len(stage.read_direct(topic, count)) >= count

        try:
            wait_for("the copy", is_there, MIRRORED_SECONDS, 0.5)
        except AssertionError:
            raise AssertionError(children.tail(log)) from None


def await_checkpoint(stage: Stage, group: str, topic: str) -> None:
    """MirrorMaker tells where the group stands in the copy."""
    with stage.client("confluent").consumer(Login(stage.kafka.bootstrap())) as consumer:
        consumer.assign("here.checkpoints.internal", 0, 0)
        keys: list[bytes] = []

        def told() -> bool:
            keys.extend(one.key or b"" for one in consumer.poll(1, 2))
            return any(group.encode() in key and topic.encode() in key for key in keys)

        wait_for("a checkpoint", told, MIRRORED_SECONDS, 0.5)
