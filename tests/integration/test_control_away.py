"""The control process is dead, or stuck, for a while: serving goes on, what ends does so on time, nothing is lost."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.audited_load import read_lines
from tests.support.clients import POLICY_VIOLATION, TOPIC_DENIED
from tests.support.kafka_broker import KafkaBroker
from tests.support.ports import wait_for
from tests.support.raw_client import PRODUCE, RawClient, produce
from tests.support.stage import POLICY, Stage
from tests.support.stalls import Stalls

pytestmark = pytest.mark.integration

#: How long the control process is away at least, how long one token is good, and how late its session may end.
AWAY_SECONDS, TOKEN_SECONDS, LATE_SECONDS = 5.0, 4, 3.0
LATER = POLICY.replace('"open.*", "pii.*"', '"open.*", "later.*", "pii.*"')


@pytest.fixture(scope="module")
def own(kafka: KafkaBroker) -> Iterator[Stage]:
    with Stage(kafka, None, way="tapped2", clock_skew="0s") as stage:  # type: ignore[arg-type]
        yield stage


@contextlib.contextmanager
def stuck(stage: Stage) -> Iterator[None]:
    control = stage.node.control()
    os.kill(control, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(control, signal.SIGCONT)


@contextlib.contextmanager
def dead(stage: Stage) -> Iterator[None]:
    """Whenever one is there it dies, so that the next comes later and later."""
    over = threading.Event()

    def keep_killing() -> None:
        while not over.wait(0.01):
            if control := stage.node.control():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(control, signal.SIGKILL)

    killer = threading.Thread(target=keep_killing)
    killer.start()
    try:
        yield
    finally:
        over.set()
        killer.join()


Away = Callable[[Stage], contextlib.AbstractContextManager[None]]


def code(client: RawClient, topic: str) -> int:
    answer = client.ask(PRODUCE, 9, produce((topic, [b"x"])))
    return int(answer["responses"][0]["partition_responses"][0]["error_code"])


@pytest.mark.parametrize("away", [stuck, dead])
def test_nothing_waits_for_it_and_nothing_is_lost(own: Stage, away: Away) -> None:
    topic, scores = own.make_topic("open."), own.make_topic("scores.")
    names = {f"dev:{away.__name__}-{number}" for number in range(4)}
    mine, brief, fresh, asking = sorted(name.removeprefix("dev:") for name in names)
    with own.raw(token=own.token(mine)) as client:
        assert code(client, topic) == 0
        with away(own):
            began = time.time()
            with Stalls() as stalls, own.raw(token=own.token(brief, lifetime=TOKEN_SECONDS)) as ending:
                assert code(ending, topic) == 0
                assert ending.is_closed()
                # Tokens tell their end in whole seconds.
                assert TOKEN_SECONDS - 1 <= time.time() - began <= TOKEN_SECONDS + LATE_SECONDS + stalls.since(began)
            with own.raw(token=own.token(fresh)) as newcomer:
                assert code(newcomer, topic) == 0
            with own.raw(token=own.token(asking)) as refused:
                assert code(refused, scores) == POLICY_VIOLATION, "nobody can be asked, so it is refused, and not held"
            sent = 3    # one of each client that may
            while time.time() - began < AWAY_SECONDS:
                assert code(client, topic) == 0
                sent += 1
        wait_for("the admin API", lambda: own.node.metric("kproxy_connections") > 0, 30)
        assert code(client, topic) == 0
        sent += 1
    wait_for("every line", lambda: {
        line["principal"] for line in own.node.audit() if line["kind"] == "disconnect"} >= names, 30)
    lines, problems = read_lines([own.node.audit_file])
    assert problems == []
    told = [line for line in lines if line["kind"] == "flow" and line.get("topic") == topic]
    assert sum(line["records"] for line in told) == sent
    assert [line["cause"] for line in lines if line["kind"] == "disconnect" and line["principal"] == f"dev:{brief}"] \
        == ["session_expired"]


def test_a_policy_that_comes_while_it_is_stuck_is_in_force_once_it_is_not(own: Stage) -> None:
    topic = own.make_topic("later.")
    with own.raw() as client:
        with stuck(own):
            own.node.reload(LATER)
            assert code(client, topic) == TOPIC_DENIED
        wait_for("the new policy", lambda: code(client, topic) == 0, 5)
        own.node.reload(POLICY)
        wait_for("the old one", lambda: code(client, topic) == TOPIC_DENIED, 5)


def test_a_changed_file_is_taken_without_a_signal_and_a_broken_one_is_not(own: Stage) -> None:
    def put(policy: str) -> None:
        fresh = own.node.policy.with_suffix(".new")
        fresh.write_text(policy)
        fresh.rename(own.node.policy)

    topic = own.make_topic("later.")
    with own.raw() as client:
        assert code(client, topic) == TOPIC_DENIED
        put(LATER)
        wait_for("the new policy", lambda: code(client, topic) == 0, 10)
        put("roles: {worker: {members: 'nobody.knows(this', allow: []}}\n")
        wait_for("the refusal", lambda: own.node.metric("kproxy_config_last_reload_successful") == 0)
        assert code(client, topic) == 0, "what was in force stays"
        put(POLICY)
        wait_for("the old one", lambda: code(client, topic) == TOPIC_DENIED, 10)
        assert own.node.metric("kproxy_config_last_reload_successful") == 1
