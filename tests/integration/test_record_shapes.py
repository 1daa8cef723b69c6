"""Shapes of records that a real Kafka makes: gaps and empty batches of compaction, codecs that change within a
partition, batches that grow, refusals inside an idempotent producer's sequence and inside a transaction."""

from __future__ import annotations

import contextlib
import json
import struct
import uuid

import pytest

from tests.support import batches
from tests.support.client_java import JavaClient
from tests.support.clients import INVALID_RECORD, ClientError, Record
from tests.support.codecs import NAMES
from tests.support.ports import wait_for
from tests.support.record_sets import split_batches
from tests.support.stage import Stage
from tests.support.tap import FETCH, records_of
from tests.support.transactions import open_transactions

pytestmark = pytest.mark.integration

PRODUCE, OUT_OF_ORDER = 0, 45
COMPACTED = {"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0",
             "min.compaction.lag.ms": "0", "max.compaction.lag.ms": "100", "delete.retention.ms": "600000"}
COMPACTION_SECONDS = 40


def order(key: str, n: int) -> Record:
    return Record(json.dumps({"n": n, "user": {"email": f"canary{n}@example.com"}}).encode(), key.encode())


def write(stage: Stage, topic: str, records: list[Record], codec: str) -> None:
    with stage.client("confluent").producer(stage.direct(), codec=codec, idempotent=True) as producer:
        assert [one.code for one in producer.send(topic, records)] == [0] * len(records)


def make_compacted(stage: Stage, codec: str) -> str:
    """A producer whose every record is written over, one of whose records every third is, deletes, and a last one in a
    segment of its own, because the last segment is not compacted."""
    topic = f"pii.{uuid.uuid4().hex[:10]}"
    with JavaClient(stage.java).admin(stage.direct()) as admin:
        admin.create_topic(topic, 1, COMPACTED)
    write(stage, topic, [order(f"gone{n}", n) for n in range(5)], codec)
    write(stage, topic, [order(f"k{n}", n) for n in range(40)], codec)
    write(stage, topic, [*(order(f"gone{n}", 100 + n) for n in range(5)),
                         *(order(f"k{n}", 100 + n) for n in range(0, 40, 3)),
                         *(Record(None, b"k%d" % n) for n in range(1, 40, 9))], codec)
    return topic


def heads_behind(stage: Stage, topic: str, since: int) -> list[tuple[int, int, int]]:
    """(codec, last offset delta, count) of every batch that the broker answered with."""
    found = []
    for data in records_of(stage.behind, FETCH, topic, since):
        for batch in split_batches(data):
            found.append((batch[22] & 7, *struct.unpack_from(">i", batch, 23), *struct.unpack_from(">i", batch, 57)))
    return found


@pytest.mark.timeout(120)
def test_offsets_of_a_compacted_topic_are_those_that_the_broker_has(stage: Stage) -> None:
    """T9, T12: gaps stay gaps, an emptied batch moves the reader on, a tombstone stays one."""
    topics = {codec: make_compacted(stage, codec) for codec in NAMES}
    left = 5 + 40 + 5 + 14 + 5 - 5 - len({*range(0, 40, 3), *range(1, 40, 9)})

    def is_compacted(topic: str) -> bool:
        stage.write_direct(topic, [order("last", 999)])
        with stage.client("confluent").consumer(stage.direct()) as consumer:
            consumer.assign(topic, 0, 0)
            offsets = [one.offset for one in consumer.poll(left + 1)]
        return len(offsets) > left and offsets[0] >= 5 and 5 not in offsets and 7 in offsets

    for topic in topics.values():
        wait_for(f"{topic} to be compacted", lambda topic=topic: is_compacted(topic), COMPACTION_SECONDS, 0.2)
    for number, (codec, topic) in enumerate(topics.items()):
        since = len(stage.behind.connections)
        direct = stage.read_direct(topic, left)[:left]
        with stage.client("confluent" if number % 2 else "java").consumer(stage.login("tapped")) as consumer:
            consumer.assign(topic, 0, 0)
            masked = consumer.poll(left)[:left]
        assert [(one.offset, one.key) for one in masked] == [(one.offset, one.key) for one in direct]
        for one, original in zip(masked, direct, strict=True):
            if original.value is None:
                assert one.value is None
            else:
                assert json.loads(one.value or b"") == json.loads(original.value) | {"user": {"email": ""}}
        assert any(original.value is None for original in direct)
        heads = heads_behind(stage, topic, since)
        assert any(count == 0 for _, _, count in heads), (codec, heads)
        assert any(0 < count < last + 1 and one == number for one, last, count in heads), (codec, heads)


@pytest.mark.parametrize("client", ["java", "confluent", "aiokafka"])
def test_codecs_that_change_within_a_partition_are_read_as_one_log(stage: Stage, client: str) -> None:
    topic = stage.make_topic("pii.")
    for n, codec in enumerate([*NAMES, *reversed(NAMES)]):
        stage.write_direct(topic, [order(f"k{at}", n * 10 + at) for at in range(10)], codec)
    since = len(stage.front.connections)
    with stage.client(client).consumer(stage.login("tapped", mechanism="PLAIN")) as consumer:
        consumer.assign(topic, 0, 0)
        got = consumer.poll(100)
    assert [one.offset for one in got] == list(range(100))
    assert [json.loads(one.value or b"") for one in got] == [{"n": n, "user": {"email": ""}} for n in range(100)]
    answers = records_of(stage.front, FETCH, topic, since)
    assert {batch[22] & 7 for data in answers for batch in split_batches(data)} == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("codec", NAMES)
def test_a_batch_that_masking_makes_larger_is_the_brokers_to_refuse(stage: Stage, codec: str) -> None:
    """T13: 3 MB become 6 MB. A topic that takes a megabyte refuses them with 10, one that takes more has them whole."""
    small = stage.make_topic("grow.")
    large = f"grow.{uuid.uuid4().hex[:10]}"
    with JavaClient(stage.java).admin(stage.direct()) as admin:
        admin.create_topic(large, 1, {"max.message.bytes": "9000000"})
    lines = [b"%d 10.1.2.3 %s" % (n, uuid.UUID(int=n * 7**40 % 2**128).hex.encode()) for n in range(60_000)]
    plain, hidden = b"\n".join(lines), b"\n".join(line.replace(b"10.1.2.3", b"an address was here") for line in lines)
    assert len(plain) > 2_500_000 and len(hidden) > len(plain) + 600_000
    records = batches.write_batch([batches.Record(value=plain, key=b"k")], codec=NAMES.index(codec))
    with stage.raw("tapped") as client:
        answer = client.ask(PRODUCE, 9, {"transactional_id": None, "acks": -1, "timeout_ms": 9000, "topic_data": [
            {"name": name, "partition_data": [{"index": 0, "records": records}]} for name in (small, large)]})
    codes = {topic["name"]: topic["partition_responses"][0]["error_code"] for topic in answer["responses"]}
    assert codes == {small: 10, large: 0}
    with stage.client("java").consumer(stage.direct()) as consumer:
        consumer.assign(large, 0, 0)
        [one] = consumer.poll(1)
    assert one.value == hidden and one.key == b"k"
    assert stage.end_offset(small) == 0


@pytest.mark.parametrize("codec", ["none", "zstd"])
@pytest.mark.parametrize("client", ["java", "confluent"])
def test_an_idempotent_producer_goes_on_after_a_refused_batch(stage: Stage, client: str, codec: str) -> None:
    topic = stage.make_topic("prompts.")
    with stage.client(client).producer(stage.login(), codec=codec, idempotent=True) as producer:
        assert producer.send(topic, [Record(b"first")])[0].offset == 0
        refused = producer.send(topic, [Record(b"fine"), Record(b"use AKIAIOSFODNN7EXAMPLE please")])
        # Java gives a record that only shared the batch no code of Kafka's.
        assert refused[1].code == INVALID_RECORD and refused[0].code in (INVALID_RECORD, -1), refused
        assert [one.offset for one in producer.send(topic, [Record(b"second"), Record(b"third")])] == [1, 2]
    assert [one.value for one in stage.read_direct(topic, 3)] == [b"first", b"second", b"third"]


@pytest.mark.parametrize("client", ["java", "confluent"])
def test_a_transaction_with_a_refused_batch_can_only_be_aborted(stage: Stage, client: str) -> None:
    topic = stage.make_topic("prompts.")
    with open_transactions(client, stage.java, stage.login("tapped"), f"tx.{uuid.uuid4().hex}") as writer:
        writer.begin()
        writer.send(topic, [b"fine"])
        try:
            writer.send(topic, [b"use AKIAIOSFODNN7EXAMPLE please"])
        except ClientError as problem:
            assert problem.code == INVALID_RECORD
        with pytest.raises(ClientError):
            writer.commit()
        writer.abort()
        if client == "confluent":
            # librdkafka counts the refused record in its sequence, so its next one fails too, as before Kafka itself.
            writer.begin()
            with contextlib.suppress(ClientError):
                writer.send(topic, [b"lost"])
            with pytest.raises(ClientError) as lost:
                writer.commit()
            assert lost.value.code == OUT_OF_ORDER
            writer.abort()
        writer.begin()
        writer.send(topic, [b"again"])
        writer.commit()
    with stage.client(client).consumer(stage.direct(), isolation="read_committed") as consumer:
        consumer.assign(topic, 0, 0)
        assert [one.value for one in consumer.poll(1)] == [b"again"]
