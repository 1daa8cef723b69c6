"""What kproxy does to record bytes, seen on both sides of it: nothing, unless a rule found something."""

from __future__ import annotations

import json

import pytest

from tests.support.clients import INVALID_RECORD, Got, Record
from tests.support.stage import Stage
from tests.support.tap import FETCH, PRODUCE, records_of

pytestmark = pytest.mark.integration

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
PLAIN = [Record(json.dumps({"n": n, "text": "x" * 200}).encode(), b"key-%d" % n, (("h", b"1"),)) for n in range(50)]


def record_bytes(stage: Stage, api: int, topic: str, front: int, behind: int) -> tuple[list[bytes], list[bytes]]:
    """The record sets of ``topic`` before and behind kproxy, of connections since the given ones."""
    return records_of(stage.front, api, topic, front), records_of(stage.behind, api, topic, behind)


def read_through(stage: Stage, topic: str, count: int, client: str = "java", **about: object) -> list[Got]:
    """Reads from the beginning without a group, CRC checks on."""
    with stage.client(client).consumer(stage.login("tapped", **about)) as consumer:
        consumer.assign(topic, 0, 0)
        return consumer.poll(count)


@pytest.mark.parametrize("client", ["java", "confluent"])
@pytest.mark.parametrize("codec", CODECS)
def test_without_a_rule_record_bytes_pass_as_they_came_both_ways(stage: Stage, client: str, codec: str) -> None:
    topic = stage.make_topic("open.")
    marks = len(stage.front.connections), len(stage.behind.connections)
    with stage.client(client).producer(stage.login("tapped"), codec=codec) as producer:
        assert [one.offset for one in producer.send(topic, PLAIN)] == list(range(50))
    sent, arrived = record_bytes(stage, PRODUCE, topic, *marks)
    assert sent and sent == arrived
    marks = len(stage.front.connections), len(stage.behind.connections)
    got = read_through(stage, topic, 50, client)
    assert [(one.offset, one.key, one.value) for one in got] == [(n, r.key, r.value) for n, r in enumerate(PLAIN)]
    received, given = record_bytes(stage, FETCH, topic, *marks)
    assert given and received == given


@pytest.mark.parametrize("codec", CODECS)
def test_a_batch_that_a_rule_looked_at_and_found_clean_passes_as_it_came(stage: Stage, codec: str) -> None:
    topic = stage.make_topic("pii.")
    stage.write_direct(topic, PLAIN, codec)
    marks = len(stage.front.connections), len(stage.behind.connections)
    got = read_through(stage, topic, 50)
    received, given = record_bytes(stage, FETCH, topic, *marks)
    assert given and received == given
    assert [one.value for one in got] == [record.value for record in PLAIN]
    written = stage.make_topic("cards.")
    marks = len(stage.front.connections), len(stage.behind.connections)
    with stage.client("java").producer(stage.login("tapped"), codec=codec) as producer:
        producer.send(written, PLAIN)
    sent, arrived = record_bytes(stage, PRODUCE, written, *marks)
    assert sent and sent == arrived


def order(n: int, name: str = "ada") -> Record:
    """Every third has nothing to hide."""
    value: dict[str, object] = {"n": n, "note": "ok"}
    if n % 3:
        value = {"n": n, "user": {"name": "Ada", "email": f"{name}@example.com"}, "items": [{"phone": "0123456789"}]}
    return Record(json.dumps(value).encode(), b"k%d" % n, (("trace", b"t"),))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("client", ["java", "confluent", "aiokafka"])
def test_a_masked_read_hides_the_fields_and_keeps_offsets_keys_and_the_rest(stage: Stage, client: str,
                                                                            codec: str) -> None:
    if client == "aiokafka":
        pytest.importorskip("cramjam", reason="aiokafka reads compressed records through cramjam")
    topic = stage.make_topic("pii.")
    canary = f"canary-{topic}"
    stage.write_direct(topic, [order(n, canary) for n in range(30)], codec)
    direct = stage.read_direct(topic, 30)
    assert canary.encode() in (direct[1].value or b"")
    since = len(stage.front.connections)
    masked = read_through(stage, topic, 30, client)
    assert [(one.offset, one.key, one.headers) for one in masked] \
        == [(one.offset, one.key, one.headers) for one in direct]
    for one, original in zip(masked, direct, strict=True):
        expected = json.loads(original.value or b"")
        if "user" in expected:
            expected["user"]["email"] = ""
            expected["items"][0]["phone"] = "********89"
        assert json.loads(one.value or b"") == expected
    answers = b"".join(bytes(passed.to_client) for passed in stage.front.connections[since:])
    assert topic.encode() in answers and canary.encode() not in answers
    clear = read_through(stage, topic, 30, client, subject="officer", groups=["privacy"])
    assert [one.value for one in clear] == [one.value for one in direct]


@pytest.mark.parametrize("codec", CODECS)
def test_a_read_may_begin_in_the_middle_of_a_masked_batch(stage: Stage, codec: str) -> None:
    topic = stage.make_topic("pii.")
    stage.write_direct(topic, [order(n) for n in range(30)], codec)
    with stage.client("java").consumer(stage.login()) as consumer:
        consumer.assign(topic, 0, 17)
        got = consumer.poll(13)
    assert [one.offset for one in got] == list(range(17, 30))
    assert json.loads(got[0].value or b"")["user"]["email"] == ""


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("client", ["java", "confluent"])
def test_a_masked_write_reaches_the_broker_hidden(stage: Stage, client: str, codec: str) -> None:
    topic = stage.make_topic("cards.")
    paid = [Record(b'{"card":"4111 1111 1111 1111","n":%d}' % n, b"k") for n in range(10)]
    with stage.client(client).producer(stage.login(), codec=codec, idempotent=True) as producer:
        assert [one.offset for one in producer.send(topic, paid)] == list(range(10))
    for n, one in enumerate(stage.read_direct(topic, 10)):
        card = json.loads(one.value or b"")
        assert card["n"] == n
        assert card["card"].endswith("1111") and "4111" not in card["card"] and card["card"].count("*") >= 12
        assert one.key == b"k"


@pytest.mark.parametrize("client", ["java", "confluent", "aiokafka"])
def test_a_guard_refuses_the_batch_with_its_own_words(stage: Stage, client: str) -> None:
    topic = stage.make_topic("prompts.")
    secret = b'{"prompt":"use AKIAIOSFODNN7EXAMPLE please"}'
    with stage.client(client).producer(stage.login()) as producer:
        assert producer.send(topic, [Record(b'{"prompt":"hello"}')])[0].code == 0
        refused = producer.send(topic, [Record(secret)])[0]
    # aiokafka's table of errors ends before 87, so it tells of an unknown one.
    assert refused.code == (-1 if client == "aiokafka" else INVALID_RECORD), refused
    if client == "java":
        assert "Secrets do not belong in prompts." in refused.message
        assert "AKIA" not in refused.message
    assert stage.end_offset(topic) == 1
