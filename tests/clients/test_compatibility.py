"""Every client with every feature that it has, through kproxy before a real Kafka: what docs/clients.md is made of.

The quick suite tries some features with one client of each family; ``make test-full`` tries all.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator

import pytest
from _pytest.mark import ParameterSet

from tests.support.clients import (
    GROUP_DENIED,
    LOGIN_FAILED,
    TOPIC_DENIED,
    ClientError,
    Consumer,
    Got,
    KafkaClient,
    Login,
    Record,
)
from tests.support.codecs import NAMES as CODECS
from tests.support.compatibility import FEATURES, OLDER_BROKERS, QUICK, TRIED, Opener
from tests.support.driver_builds import DriverMissing
from tests.support.java import JavaDriver
from tests.support.kafka_broker import KafkaBroker
from tests.support.matrix import RecordsSeen, hidden, records_for, user_batches
from tests.support.stage import Stage
from tests.support.tap import FETCH, PRODUCE
from tests.support.zookeeper_kafka import ZooKeeperKafka

Note = Callable[[str, object], None]
pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

TRANSACTION_DENIED = 53
JOIN_GROUP, SYNC_GROUP, CONSUMER_GROUP_HEARTBEAT = 11, 14, 68
#: Two members of a group have their partitions within this; every client beats at least each three seconds.
SETTLED_SECONDS = 60


@pytest.fixture(scope="module")
def opener(java: JavaDriver) -> Iterator[Opener]:
    opener = Opener(java)
    yield opener
    opener.close()


@pytest.fixture(scope="module")
def older(java: JavaDriver, kafka_jars: None, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A stage before a Kafka of the release that is asked for."""
    release = request.param
    broker = ZooKeeperKafka(release, ["tapped"]) if release.startswith("2.") else KafkaBroker(
        release=release, taps=["tapped"])
    with broker, Stage(broker, java) as stage:
        yield stage


class Trial:
    """One client on the stage, and what its features are tried by."""

    def __init__(self, stage: Stage, opener: Opener, name: str) -> None:
        self.stage = stage
        self.opener = opener
        self.name = name
        self.client: KafkaClient = opener.open(name)
        self.mechanism = "PLAIN" if "oauthbearer" in TRIED[name].lacks else "OAUTHBEARER"

    def login(self, listener: str = "public", groups: tuple[str, ...] = ("workers",), mechanism: str = "") -> Login:
        return self.stage.login(listener, mechanism=mechanism or self.mechanism, groups=groups)

    def read(self, topic: str, count: int, login: Login, isolation: str = "read_uncommitted") -> list[Got]:
        """The first records of partition 0."""
        with self.client.consumer(login, new_name("g."), isolation=isolation) as consumer:
            if TRIED[self.name].by_group:
                consumer.subscribe(topic)
            else:
                consumer.assign(topic, 0, 0)
            return consumer.poll(count)


def new_name(prefix: str) -> str:
    return f"{prefix}{uuid.uuid4().hex[:10]}"


def the_records(topic: str) -> list[Record]:
    """Those of the matrix, as far as a program can be given them on a line: headers that are text, and no empty value,
    which a line cannot tell from a missing one."""
    return [Record(one.value, one.key, (("trace", b"r-1"), ("span", b"s-2")) if n % 2 else ())
            for n, one in enumerate(records_for(topic, "")) if one.value != b""]


def code_of(work: Callable[[], object]) -> int:
    """The code of the ClientError that ``work()`` ends with; 0 if it does not."""
    try:
        work()
    except ClientError as problem:
        return problem.code
    return 0


def seen(records: list[Got]) -> list[tuple[int, bytes | None, bytes | None, tuple[tuple[str, bytes | None], ...]]]:
    return [(one.offset, one.key, one.value, one.headers) for one in records]


def expected(records: list[Record], sort: str = "open.", begin: int = 0) -> list[
        tuple[int, bytes | None, bytes | None, tuple[tuple[str, bytes | None], ...]]]:
    return [(begin + n, one.key, hidden(sort, one.value), one.headers) for n, one in enumerate(records)]


def goes_there_and_back(trial: Trial, mechanism: str) -> None:
    topic, login = trial.stage.make_topic("open."), trial.login(mechanism=mechanism)
    records = the_records(topic)
    with trial.client.producer(login) as producer:
        assert [one.code for one in producer.send(topic, records)] == [0] * len(records)
    assert seen(trial.read(topic, len(records), login)) == expected(records)


def passes_masks(trial: Trial, codec: str) -> None:
    """Both ways, with a rule and without one; the batches on the wire are of the codec, before kproxy and behind it."""
    login = trial.login("tapped")
    front, behind = (RecordsSeen(tap, PRODUCE) for tap in (trial.stage.front, trial.stage.behind))
    with trial.client.producer(login, codec=codec) as producer:
        for sort in ("open.", "cards."):
            topic = trial.stage.make_topic(sort)
            records = the_records(topic)
            assert [one.code for one in producer.send(topic, records)] == [0] * len(records)
            assert seen(trial.stage.read_direct(topic, len(records))) == expected(records, sort)
            came, went = front.of(topic), behind.of(topic)
            assert codecs(came) == codecs(went) == {codec}
            assert (came == went) is (sort == "open.")
    received = RecordsSeen(trial.stage.front, FETCH)
    for sort in ("open.", "pii."):
        topic = trial.stage.make_topic(sort)
        records = the_records(topic)
        trial.stage.write_direct(topic, records, codec)
        assert seen(trial.read(topic, len(records), login)) == expected(records, sort)
        assert codecs(received.of(topic)) == {codec}
        assert (b"@example.com" in b"".join(one.value or b"" for batch in user_batches(received.of(topic))
                                            for one in batch.records)) is (sort == "open.")


def codecs(sets: list[bytes]) -> set[str]:
    """Of the batches that carry a document; a lone tombstone is smaller as it is."""
    return {CODECS[batch.attributes & 7] for data in sets for batch in user_batches([data])
            if any(record.value for record in batch.records)}


def goes_on_where_its_group_committed(trial: Trial) -> None:
    topic, group, login = trial.stage.make_topic("open."), new_name("g."), trial.login()
    trial.stage.write_direct(topic, [Record(b"%d" % n) for n in range(5)])
    with trial.client.consumer(login, group) as consumer:
        consumer.subscribe(topic)
        assert [one.value for one in consumer.poll(5, SETTLED_SECONDS)] == [b"%d" % n for n in range(5)]
        consumer.commit()
    trial.stage.write_direct(topic, [Record(b"later")])
    with trial.client.consumer(login, group) as consumer:
        consumer.subscribe(topic)
        assert [(one.offset, one.value) for one in consumer.poll(1, SETTLED_SECONDS)] == [(5, b"later")]


def shares_partitions(trial: Trial, **protocol: str) -> None:
    """Two members have a partition each; when one leaves, the other has both."""
    topic, group, login = trial.stage.make_topic("open.", 2), new_name("g."), trial.login("tapped")
    with trial.client.consumer(login, group, **protocol) as first:
        first.subscribe(topic)
        wait_for_shares(trial, topic, [first], [{0, 1}])
        with trial.client.consumer(login, group, **protocol) as second:
            second.subscribe(topic)
            wait_for_shares(trial, topic, [first, second], [{0}, {1}])
        wait_for_shares(trial, topic, [first], [{0, 1}])


def shares_partitions_by_the_broker(trial: Trial) -> None:
    """KIP-848: the broker assigns. A group that the policy does not name is refused as one of the old kind is."""
    since = len(trial.stage.front.connections)
    shares_partitions(trial, group_protocol="consumer")
    asked = {frame.api for passed in trial.stage.front.connections[since:] for frame in passed.requests()}
    assert CONSUMER_GROUP_HEARTBEAT in asked
    assert not asked & {JOIN_GROUP, SYNC_GROUP}, "no client fell back to the classic protocol"
    topic = trial.stage.make_topic("open.")
    trial.stage.write_direct(topic, [Record(b"here")])
    assert code_of_reading(trial, topic, new_name("foreign."), group_protocol="consumer") == GROUP_DENIED


def wait_for_shares(trial: Trial, topic: str, members: list[Consumer], wanted: list[set[int]]) -> None:
    """Until a record in each partition, written after all before was read, is received by members as ``wanted``, in
    whichever order."""
    deadline = time.monotonic() + SETTLED_SECONDS
    got: list[set[int]] = []
    with trial.stage.client("confluent").producer(trial.stage.direct()) as writer:
        while time.monotonic() < deadline:
            mark = uuid.uuid4().hex.encode()
            assert [writer.send(topic, [Record(mark)], partition)[0].code for partition in (0, 1)] == [0, 0]
            got = [{one.partition for one in member.poll(100, 0.5) if one.value == mark} for member in members]
            if sorted(map(sorted, got)) == sorted(map(sorted, wanted)):
                return
    raise AssertionError(f"after {SETTLED_SECONDS} s members have {got}, not {wanted}")


def commits_and_aborts(trial: Trial) -> None:
    """kafkajs says of a refused transactional id only that it found no coordinator."""
    topic, login = trial.stage.make_topic("open."), trial.login()
    with trial.opener.transactions(trial.name, login, new_name("tx.")) as writer:
        writer.begin()
        writer.send(topic, [b"aborted"])
        writer.abort()
        writer.begin()
        writer.send(topic, [b"one", b"two"])
        writer.commit()
    assert [one.value for one in trial.read(topic, 2, login, "read_committed")] == [b"one", b"two"]

    def write_as_another() -> None:
        with trial.opener.transactions(trial.name, login, new_name("foreign.")) as writer:
            writer.begin()
            writer.send(topic, [b"foreign"])

    assert code_of(write_as_another) == (-1 if trial.name == "kafkajs" else TRANSACTION_DENIED)


def is_told_that_it_may_not_write(trial: Trial) -> None:
    """Sarama gives up on a partition after some refusals, and says so of the records that were still to go."""
    topic = trial.stage.make_topic("closed.")
    with trial.client.producer(trial.login()) as producer:
        codes = {one.code for one in producer.send(topic, [Record(b"a"), Record(b"b")])}
    assert codes == {TOPIC_DENIED} or (trial.name == "sarama" and codes == {TOPIC_DENIED, -1})
    assert trial.stage.end_offset(topic) == 0


def is_told_that_it_may_not_read(trial: Trial) -> None:
    topic = trial.stage.make_topic("closed.")
    trial.stage.write_direct(topic, [Record(b"secret")])
    assert code_of_reading(trial, topic, new_name("g.")) == TOPIC_DENIED


def is_told_that_it_may_not_join(trial: Trial) -> None:
    topic = trial.stage.make_topic("open.")
    trial.stage.write_direct(topic, [Record(b"here")])
    assert code_of_reading(trial, topic, new_name("foreign.")) == GROUP_DENIED


def code_of_reading(trial: Trial, topic: str, group: str, **protocol: str) -> int:
    def read() -> None:
        with trial.client.consumer(trial.login(), group, **protocol) as consumer:
            consumer.subscribe(topic)
            assert consumer.poll(1) == []

    return code_of(read)


def is_told_that_its_token_is_bad(trial: Trial) -> None:
    login = Login(trial.stage.bootstrap("public"), "PLAIN", trial.stage.token(lifetime=-600))

    def list_topics() -> None:
        with trial.client.admin(login) as admin:
            admin.list_topics()

    before = trial.stage.node.metric("kproxy_token_checks_total", result="expired")
    assert code_of(list_topics) == LOGIN_FAILED
    assert trial.stage.node.metric("kproxy_token_checks_total", result="expired") > before


def creates_lists_and_deletes_topics(trial: Trial) -> None:
    name, foreign, unseen = new_name("open."), new_name("pii."), trial.stage.make_topic("hidden.")
    with trial.client.admin(trial.login(groups=("workers", "stewards"))) as admin:
        admin.create_topic(name, 2)
        assert code_of(lambda: admin.create_topic(foreign)) == TOPIC_DENIED
        listed = admin.list_topics()
        assert name in listed
        assert not {unseen, foreign} & listed
        admin.delete_topic(name)
        with trial.stage.client("confluent").admin(trial.stage.direct()) as direct:
            left = direct.list_topics()
        assert name not in left
        assert unseen in left


TRIALS: dict[str, Callable[[Trial], None]] = {
    "oauthbearer": lambda trial: goes_there_and_back(trial, "OAUTHBEARER"),
    "plain": lambda trial: goes_there_and_back(trial, "PLAIN"),
    **{codec: lambda trial, codec=codec: passes_masks(trial, codec) for codec in CODECS},  # type: ignore[misc]
    "bad-token": is_told_that_its_token_is_bad,
    "group": goes_on_where_its_group_committed,
    "rebalance": shares_partitions,
    "new-groups": shares_partitions_by_the_broker,
    "transactions": commits_and_aborts,
    "denied-write": is_told_that_it_may_not_write,
    "denied-read": is_told_that_it_may_not_read,
    "denied-group": is_told_that_it_may_not_join,
    "topics": creates_lists_and_deletes_topics,
}


def trials() -> list[ParameterSet]:
    return [pytest.param(name, feature, id=f"{name}-{feature}",
                         marks=[] if tried.quick and feature in QUICK else [pytest.mark.slow])
            for name, tried in TRIED.items() for feature in tried.features]


def older_trials() -> list[ParameterSet]:
    return [pytest.param(broker, name, feature, id=f"{broker}-{name}-{feature}", marks=pytest.mark.slow)
            for broker in OLDER_BROKERS for name, tried in TRIED.items() for feature in tried.features_before(broker)]


@pytest.mark.parametrize(("name", "feature"), trials())
def test_client_with_feature(stage: Stage, opener: Opener, name: str, feature: str, record_property: Note) -> None:
    try_and_note(stage, opener, name, feature, record_property)


@pytest.mark.parametrize(("older", "name", "feature"), older_trials(), indirect=["older"], scope="module")
def test_client_before_an_older_broker(older: Stage, opener: Opener, name: str, feature: str,
                                       record_property: Note) -> None:
    try_and_note(older, opener, name, feature, record_property)


def try_and_note(stage: Stage, opener: Opener, name: str, feature: str, note: Note) -> None:
    try:
        version = opener.version(name)
    except DriverMissing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no {name}: {missing}")
        pytest.skip(f"no {name}: {missing}")
    for key, value in {"broker": stage.kafka.version, "client": name, "version": version, "feature": feature}.items():
        note(key, value)
    TRIALS[feature](Trial(stage, opener, name))


def test_every_feature_is_tried() -> None:
    assert set(TRIALS) == set(FEATURES)
    assert set(QUICK) <= set(FEATURES)
