"""Every process is killed under load, again and again, and the audit still accounts for every record in Kafka."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.support.audited_load import Load, Verdict, judge
from tests.support.kafka_broker import KafkaBroker
from tests.support.ports import wait_for
from tests.support.stage import Stage

pytestmark = pytest.mark.integration

#: Acknowledged produces between two deaths, so that each falls into work under way.
BETWEEN = 150
SECONDS = 60


@pytest.fixture
def stage(kafka: KafkaBroker) -> Iterator[Stage]:
    """Two workers, small segments, and a Kafka of its own, because it dies too."""
    more = {"limits": {"drain.timeout.ms": 2000},
            "audit": {"durability": "request", "flow_interval": "500ms", "max_spool_bytes": "8MiB"}}
    with KafkaBroker(taps=["tapped"]) as broker, Stage(broker, None, workers=2, more=more) as one:  # type: ignore[arg-type]
        yield one


def find_busiest(stage: Stage) -> int:
    """The number of the worker with most sessions; the death of one that has none would leave nothing to complete."""
    operator = stage.token("olga", ["operators"])

    def look() -> list[str]:
        status, sessions = stage.node.admin("GET", "/v1/sessions", operator)
        return [one["id"].partition("-")[0] for one in sessions] if status == 200 else []

    return int(Counter(wait_for("sessions", look, SECONDS)).most_common(1)[0][0])


def kill_worker(stage: Stage, _round: int) -> None:
    workers = wait_for("two workers", lambda: found if len(found := stage.node.workers()) == 2 else [], SECONDS)
    victim = workers[find_busiest(stage)]
    os.kill(victim, signal.SIGKILL)
    wait_for("its successor", lambda: len(found := stage.node.workers()) == 2 and victim not in found, SECONDS)


def kill_control(stage: Stage, _round: int) -> None:
    victim = wait_for("a control process", stage.node.control, SECONDS)
    os.kill(victim, signal.SIGKILL)
    wait_for("its successor", lambda: stage.node.control() not in (0, victim), SECONDS)
    wait_for("it to answer", lambda: stage.node.get("/healthz")[0] == 200, SECONDS)


def kill_supervisor(stage: Stage, _round: int) -> None:
    stage.node.kill_supervisor()
    stage.node.start()


def kill_broker(stage: Stage, _round: int) -> None:
    stage.kafka.kill()
    stage.kafka.start()


KINDS: dict[str, Callable[[Stage, int], None]] = {
    "worker": kill_worker, "control": kill_control, "supervisor": kill_supervisor, "broker": kill_broker}


def run_kills(stage: Stage, kinds: list[str]) -> Verdict:
    topic = stage.make_topic("open.")
    with Load(stage, topic) as load:
        for number, kind in enumerate(kinds):
            enough = load.acked() + BETWEEN
            wait_for(f"load before death {number + 1}", lambda enough=enough: load.acked() >= enough, SECONDS)
            KINDS[kind](stage, number)
        enough = load.acked() + BETWEEN
        wait_for("load after the last death", lambda: load.acked() >= enough, SECONDS)
    assert stage.node.stop() == 0, stage.node.log_tail()
    verdict = judge(topic, load.account, stage.read_whole(topic), [stage.node.audit_file])
    print(f"{len(kinds)} deaths, {load.account.connections} connections: {verdict}")
    return verdict


def test_every_process_is_killed_twice_and_nothing_is_missing_in_the_audit(stage: Stage) -> None:
    verdict = run_kills(stage, ["worker", "control", "worker", "supervisor", "control", "broker", "supervisor"])
    assert verdict.problems == []
    assert verdict.acked >= 8 * BETWEEN and verdict.in_kafka >= verdict.told >= verdict.acked
    assert verdict.recovered > 0, "some lines were completed from the spool of a dead worker"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_twenty_deaths_of_one_kind(stage: Stage, kind: str) -> None:
    verdict = run_kills(stage, [kind] * 20)
    assert verdict.problems == []
    assert verdict.acked >= 21 * BETWEEN
