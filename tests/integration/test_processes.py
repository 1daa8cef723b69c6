"""A node whose processes die, drain and reload while real clients are at work. It has a stage of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.children import is_alive
from tests.support.clients import POLICY_VIOLATION, TOPIC_DENIED, Record
from tests.support.java import JavaDriver
from tests.support.kafka_broker import KafkaBroker
from tests.support.ports import wait_for
from tests.support.raw_client import METADATA, PRODUCE, metadata, produce
from tests.support.stage import POLICY, Stage

pytestmark = pytest.mark.integration

ONE = [Record(b'{"n":1}')]


@pytest.fixture(scope="module")
def own(kafka: KafkaBroker, java: JavaDriver) -> Iterator[Stage]:
    with Stage(kafka, java, way="tapped2", workers=2) as stage:
        yield stage


def status(stage: Stage) -> tuple[int, Any]:
    return stage.node.admin("GET", "/v1/status", stage.token("olga", ["operators"]))


def test_a_killed_worker_is_started_again_and_the_client_goes_on(own: Stage) -> None:
    topic = own.make_topic("open.")
    with own.client("java").producer(own.login(), idempotent=True) as producer:
        assert producer.send(topic, ONE)[0].offset == 0
        before = own.node.workers()
        for worker in before:
            os.kill(worker, signal.SIGKILL)
        wait_for("two new workers", lambda: len(set(own.node.workers()) - set(before)) == 2)
        assert producer.send(topic, ONE)[0].offset == 1
    assert [one.offset for one in own.read_direct(topic, 2)] == [0, 1]


def test_a_killed_control_process_stops_no_traffic_and_forgets_no_approval(own: Stage) -> None:
    topic, scores = own.make_topic("open."), own.make_topic("scores.")
    with own.client("confluent").producer(own.login()) as producer:
        assert producer.send(scores, ONE)[0].code == POLICY_VIOLATION
        waiting = own.pending(scores)
        control = own.node.control()
        os.kill(control, signal.SIGKILL)
        assert producer.send(topic, ONE)[0].offset == 0
        wait_for("a new control process", lambda: own.node.control() not in (0, control))
        wait_for("the admin API", lambda: status(own)[0] == 200)
        assert own.pending(scores) == waiting
        assert own.review(waiting[0]["id"], reason="seen")[0] == 200
        wait_for("the retry to pass", lambda: producer.send(scores, ONE)[0].code == 0)
    assert own.grant(scores)["name"] == scores


def test_a_new_policy_is_in_force_on_open_connections(own: Stage) -> None:
    topic = own.make_topic("later.")
    with own.raw() as client:
        def code() -> int:
            answer = client.ask(PRODUCE, 9, produce((topic, [b"x"])))
            return int(answer["responses"][0]["partition_responses"][0]["error_code"])

        assert code() == TOPIC_DENIED
        own.node.reload(POLICY.replace('"open.*", "pii.*"', '"open.*", "later.*", "pii.*"'))
        wait_for("the new policy to allow it", lambda: code() == 0, 5)
        own.node.reload(POLICY)
        wait_for("the old policy to deny it again", lambda: code() == TOPIC_DENIED, 5)


def test_a_bad_policy_leaves_the_old_one_in_force_and_says_so(own: Stage) -> None:
    topic = own.make_topic("open.")
    before = status(own)[1]
    own.node.reload("roles: {worker: {members: 'nobody.knows(this', allow: []}}\n")
    wait_for("the failed reload to show", lambda: own.node.metric("kproxy_config_last_reload_successful") == 0)
    with own.raw() as client:
        answer = client.ask(PRODUCE, 9, produce((topic, [b"x"])))
    assert answer["responses"][0]["partition_responses"][0]["error_code"] == 0
    own.node.reload(POLICY)
    wait_for("the good one again", lambda: own.node.metric("kproxy_config_last_reload_successful") == 1)
    assert status(own)[1]["policy"] == before["policy"]


def test_sigterm_drains_and_ends_well(kafka: KafkaBroker, java: JavaDriver) -> None:
    with Stage(kafka, java, way="tapped3", more={"limits": {"drain.timeout.ms": 5000}}) as stage:
        topic = stage.make_topic("open.")
        with stage.raw() as client:
            answer = client.ask(PRODUCE, 9, produce((topic, [b"x"])))
            assert answer["responses"][0]["partition_responses"][0]["error_code"] == 0
            pids = [stage.node.supervisor, stage.node.control(), *stage.node.workers()]
            os.kill(stage.node.supervisor, signal.SIGTERM)
            wait_for("the node to stop being ready", lambda: stage.node.get("/readyz")[0] != 200)
            assert client.is_closed()
        assert stage.node.stop() == 0
        assert not any(is_alive(pid) for pid in pids)
        events = stage.node.audit()
    flows = [one for one in events if one["kind"] == "flow" and one.get("topic") == topic]
    assert flows and sum(one["records"] for one in flows) == 1


def test_the_audit_names_who_wrote_which_offsets(own: Stage) -> None:
    topic = own.make_topic("open.")
    login = own.login(subject="audited", model_uri="models:/fraud/9", extensions={"owner": "payments"})
    with own.client("java").producer(login) as producer:
        sent = producer.send(topic, [Record(b'{"n":%d}' % n) for n in range(7)])
    assert [one.offset for one in sent] == list(range(7))

    def flows() -> list[dict[str, object]]:
        found = [one for one in own.node.audit() if one["kind"] == "flow" and one.get("topic") == topic]
        return found if sum(one["records"] for one in found) == 7 else []

    found = wait_for("the flow to be shipped", flows, 10)
    assert {one["principal"] for one in found} == {"dev:audited"}
    assert {one["attested"]["model"] for one in found} == {"models:/fraud/9"}  # type: ignore[index]
    assert {one["declared"]["owner"] for one in found} == {"payments"}  # type: ignore[index]
    covered = sorted((part[1], part[2]) for one in found for part in one["partitions"])  # type: ignore[attr-defined]
    assert covered[0][0] == 0 and covered[-1][1] == 6
    assert {one.get("fields") for one in found} == {"not_inspected"}


def test_metadata_answers_while_one_worker_is_being_replaced(own: Stage) -> None:
    topic = own.make_topic("open.")
    victim = own.node.workers()[0]
    os.kill(victim, signal.SIGKILL)
    wait_for("it to be gone, with its listening sockets", lambda: not is_alive(victim))
    with own.raw() as client:
        assert client.ask(METADATA, 9, metadata([topic]))["topics"][0]["error_code"] == 0
    wait_for("a new worker", lambda: len(own.node.workers()) == 2 and victim not in own.node.workers())
