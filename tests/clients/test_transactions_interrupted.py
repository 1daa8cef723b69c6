"""Transactions whose worker dies, whose rights change, or whose producer is followed by another: exactly once, and what
was refused is read by nobody. Java runs those of the second kind (KIP-890), librdkafka those of the first."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice, pairwise

import pytest

from tests.support.clients import INVALID_RECORD, TOPIC_DENIED, ClientError, Got, Record
from tests.support.java import JavaDriver
from tests.support.kafka_broker import KafkaBroker
from tests.support.ports import wait_for
from tests.support.raw_client import PRODUCE, RawClient, produce
from tests.support.stage import POLICY as COMMON
from tests.support.stage import Stage
from tests.support.transactions import Transactions, open_transactions

pytestmark = pytest.mark.integration

OFFSET_FETCH, FIND_COORDINATOR, INIT, END, DESCRIBE_TRANSACTIONS = 9, 10, 22, 26, 65
TRANSACTION_DENIED, FENCED, DROPPED = 53, (47, 90), -1
SECONDS = 40
RECORDS, EACH = 24, 3
POLICY = COMMON.replace("- {operations: [create], topics", """- {operations: [read], topics: ["shown.*"]}
      - {operations: [read, write], topics: ["ending.*"]}
      - {operations: [create], topics""", 1)
WITHOUT_TOPIC = POLICY.replace('[read, write], topics: ["ending.*"]', '[read], topics: ["ending.*"]', 1)
WITHOUT_ID = POLICY.replace('transactional_ids: ["tx.*"]', 'transactional_ids: ["other.*"]', 1)
BOTH = pytest.mark.parametrize("name", ["java", "confluent"])


@pytest.fixture(scope="module")
def own(kafka: KafkaBroker, java: JavaDriver) -> Iterator[Stage]:
    """One worker, so that its death meets everybody."""
    assert len({POLICY, WITHOUT_TOPIC, WITHOUT_ID, COMMON}) == 4
    with Stage(kafka, java, way="tapped3", policy=POLICY) as stage:
        yield stage


def new_name(prefix: str) -> str:
    return f"{prefix}{uuid.uuid4().hex[:10]}"


def opened(stage: Stage, name: str, transactional_id: str) -> Transactions:
    return open_transactions(name, stage.java, stage.login("tapped"), transactional_id)


def read_committed(stage: Stage, topic: str) -> list[bytes | None]:
    """All that was committed, past kproxy, up to a record that is written for the purpose."""
    stage.write_direct(topic, [Record(b"the end")])
    found: list[Got] = []
    with stage.client("confluent").consumer(stage.direct(), isolation="read_committed") as reader:
        reader.assign(topic, 0, 0)
        while not found or found[-1].value != b"the end":
            more = reader.poll(1, SECONDS)
            assert more, f"after {len(found)} records nothing more came"
            found += more
    return [one.value for one in found[:-1]]


@dataclass
class Killer:
    """Kills the worker where it is told to. ``due``: the steps that are still to be interrupted, each once."""

    stage: Stage
    due: list[str]
    done: list[str] = field(default_factory=list)

    def step(self, name: str) -> None:
        if self.due and self.due[0] == name:
            self.kill()

    def kill(self) -> None:
        self.done.append(self.due.pop(0))
        [victim] = wait_for("a worker", self.stage.node.workers, SECONDS)
        os.kill(victim, signal.SIGKILL)
        wait_for("its successor", lambda: self.stage.node.workers() not in ([], [victim]), SECONDS)

    @contextlib.contextmanager
    def during_commit(self) -> Iterator[None]:
        """The worker dies when the broker has been asked to end the transaction."""
        if not self.due or self.due[0] != "commit":
            yield
            return
        since = len(self.stage.behind.requests(END))

        def strike() -> None:
            wait_for("the end to be asked for", lambda: len(self.stage.behind.requests(END)) > since, SECONDS)
            self.kill()

        thread = threading.Thread(target=strike)
        thread.start()
        try:
            yield
        finally:
            thread.join()


def committed_offset(stage: Stage, group: str, topic: str) -> int:
    """Of partition 0, past kproxy, when nothing of it is pending any more."""
    with RawClient(stage.kafka.bootstrap()) as client:
        def ask() -> list[int]:
            # Asking for the coordinator is what makes Kafka create its topic of offsets.
            client.ask(FIND_COORDINATOR, 3, {"key": group, "key_type": 0})
            answer = client.ask(OFFSET_FETCH, 7, {"group_id": group, "require_stable": True,
                                                  "topics": [{"name": topic, "partition_indexes": [0]}]})
            found = answer["topics"][0]["partitions"][0] if answer["error_code"] == 0 else answer
            return [max(found["committed_offset"], 0)] if found["error_code"] == 0 else []

        return int(wait_for("a stable offset", ask, SECONDS)[0])


def copy_some(stage: Stage, name: str, topics: tuple[str, str], group: str, writer: Transactions,
              killer: Killer) -> None:
    """From where the group stands to the end of the source, a few records in each transaction. Raises ClientError."""
    source, target = topics
    with stage.client(name).consumer(stage.login("tapped"), group, isolation="read_committed") as reader:
        reader.subscribe(source)
        got = iter(reader.poll(RECORDS - committed_offset(stage, group, source), SECONDS))
        while records := list(islice(got, EACH)):
            writer.begin()
            killer.step("begin")
            writer.send(target, [one.value or b"" for one in records])
            killer.step("send")
            writer.send_offset(reader, group, source, records[-1].offset + 1)
            killer.step("offset")
            with killer.during_commit():
                writer.commit()


def test_every_record_is_copied_once_whenever_the_worker_dies(own: Stage) -> None:
    name = "java"
    source, target = own.make_topic("open."), own.make_topic("open.")
    group, transactional_id = new_name("g."), new_name("tx.")
    values = [b"%d" % number for number in range(RECORDS)]
    own.write_direct(source, [Record(value) for value in values])
    killer = Killer(own, ["send", "offset", "commit", "begin", "commit"])
    attempts = 0
    while committed_offset(own, group, source) < RECORDS:
        attempts += 1
        assert attempts <= 20, f"interrupted {len(killer.done)} times only"
        # Whoever was interrupted begins anew: the id ends what its predecessor left, the group says where to go on.
        with contextlib.suppress(ClientError), opened(own, name, transactional_id) as writer:
            copy_some(own, name, (source, target), group, writer, killer)
    assert killer.done == ["send", "offset", "commit", "begin", "commit"]
    assert read_committed(own, target) == values


def code_of_produce(stage: Stage, topic: str) -> int:
    with stage.raw() as client:
        answer = client.ask(PRODUCE, 9, produce((topic, [b"probe"])))
    return int(answer["responses"][0]["partition_responses"][0]["error_code"])


def code_of_init(stage: Stage, transactional_id: str) -> int:
    with stage.raw() as client:
        return int(client.ask(INIT, 4, {"transactional_id": transactional_id, "transaction_timeout_ms": 1000,
                                        "producer_id": -1, "producer_epoch": -1})["error_code"])


@contextlib.contextmanager
def policy(stage: Stage, wanted: str, code: int, probe: Callable[[], int]) -> Iterator[None]:
    """``wanted`` is in force, which is when ``probe`` is answered with the code."""
    stage.node.reload(wanted)
    try:
        wait_for("the policy to be in force", lambda: probe() == code, SECONDS)
        yield
    finally:
        stage.node.reload(POLICY)
        wait_for("the first one again", lambda: probe() == 0, SECONDS)


@BOTH
def test_a_topics_right_that_ends_in_mid_transaction_ends_only_that(own: Stage, name: str) -> None:
    shown, ending, probed = own.make_topic("open."), own.make_topic("ending."), own.make_topic("ending.")
    with opened(own, name, new_name("tx.")) as writer:
        writer.begin()
        writer.send(shown, [b"1"])
        writer.send(ending, [b"2"])
        with policy(own, WITHOUT_TOPIC, TOPIC_DENIED, lambda: code_of_produce(own, probed)):
            with pytest.raises(ClientError) as refused:
                writer.send(ending, [b"3"])
            assert refused.value.code == TOPIC_DENIED
            writer.abort()
            writer.begin()
            writer.send(shown, [b"4"])
            writer.commit()
    assert (read_committed(own, shown), read_committed(own, ending)) == ([b"4"], [])


@BOTH
def test_nothing_is_committed_under_an_id_whose_right_has_ended(own: Stage, name: str) -> None:
    topic, transactional_id, probed = own.make_topic("open."), new_name("tx."), new_name("tx.")
    with opened(own, name, transactional_id) as writer:
        writer.begin()
        writer.send(topic, [b"1"])
        with policy(own, WITHOUT_ID, TRANSACTION_DENIED, lambda: code_of_init(own, probed)):
            with pytest.raises(ClientError) as refused:
                writer.commit()
            assert refused.value.code == TRANSACTION_DENIED
    with opened(own, name, transactional_id) as writer:
        writer.begin()
        writer.send(topic, [b"2"])
        writer.commit()
    assert read_committed(own, topic) == [b"2"]


@BOTH
@pytest.mark.parametrize(("prefix", "value", "code"), [
    ("shown.", b"{}", TOPIC_DENIED), ("prompts.", b"-----BEGIN PRIVATE KEY-----", INVALID_RECORD)])
def test_one_refused_topic_is_told_by_itself_and_the_transaction_ends_cleanly(own: Stage, name: str, prefix: str,
                                                                              value: bytes, code: int) -> None:
    shown, refused = own.make_topic("open."), own.make_topic(prefix)
    with opened(own, name, new_name("tx.")) as writer:
        writer.begin()
        writer.send(shown, [b"1"])
        with pytest.raises(ClientError) as told:
            writer.send(refused, [value])
        if told.value.code == DROPPED:
            # librdkafka was refused when it added the partition, and says so where the transaction would end.
            with pytest.raises(ClientError) as told:
                writer.commit()
        assert told.value.code == code
        writer.abort()
        writer.begin()
        writer.send(shown, [b"2"])
        writer.commit()
    assert (read_committed(own, shown), read_committed(own, refused)) == ([b"2"], [])


@BOTH
def test_who_opens_the_same_id_fences_the_one_before(own: Stage, name: str) -> None:
    topic, transactional_id = own.make_topic("open."), new_name("tx.")
    with opened(own, name, transactional_id) as first:
        first.begin()
        first.send(topic, [b"1"])
        with opened(own, name, transactional_id) as second:
            with pytest.raises(ClientError) as fenced:
                first.commit()
            # librdkafka has a code of its own for it.
            assert fenced.value.code in FENCED or "fenced by a newer instance" in fenced.value.message
            second.begin()
            second.send(topic, [b"2"])
            second.commit()
    assert read_committed(own, topic) == [b"2"]


@pytest.mark.parametrize(("name", "grows"), [("java", 1), ("confluent", 0)])
def test_each_transaction_of_the_second_kind_has_an_epoch_of_its_own(own: Stage, name: str, grows: int) -> None:
    """T41. Of the first kind all have the producer's."""
    topic, transactional_id = own.make_topic("open."), new_name("tx.")
    epochs = []

    def ended(state: str) -> int | None:
        with own.raw() as client:
            [found] = client.ask(DESCRIBE_TRANSACTIONS, 0, {"transactional_ids": [transactional_id]})[
                "transaction_states"]
        assert found["error_code"] == 0
        return found["producer_epoch"] + 1 if found["transaction_state"] == state else None

    with opened(own, name, transactional_id) as writer:
        for end, state in ((writer.commit, "CompleteCommit"), (writer.abort, "CompleteAbort"),
                           (writer.commit, "CompleteCommit")):
            writer.begin()
            writer.send(topic, [b"1"])
            end()
            epochs.append(wait_for(state, lambda state=state: ended(state), SECONDS))
    assert [later - earlier for earlier, later in pairwise(epochs)] == [grows, grows]
