"""Names of ids: what a worker keeps of them, and how it asks a broker for those it lacks."""

from __future__ import annotations

import asyncio

import pytest

from kproxy._ext.login import advertised
from kproxy._ext.topic_ids import HIGHEST_BY_NAME, TopicIds
from kproxy.dataplane.topic_lookups import ALL, MISSING_SECONDS, TopicLookups
from kproxy.errors import BrokerUnreachable
from tests.support.scripted_broker import RANGES, ScriptedBroker
from tests.unit.test_upstream import Clock, at, viewing

A, B, C = b"a" * 16, b"b" * 16, b"c" * 16


# -- what is kept ------------------------------------------------------------------------------------------------------


def test_an_id_keeps_its_name_until_it_is_forgotten():
    ids = TopicIds()
    ids.teach(A, "orders")
    ids.teach(B, "orders")
    ids.teach(C, "payments")
    assert [ids.name(one) for one in (A, B, C, b"d" * 16)] == ["orders", "orders", "payments", None]
    ids.forget(B)
    assert [ids.name(one) for one in (A, B, C)] == ["orders", None, "payments"]
    ids.forget_names({b"orders"})
    assert [ids.name(one) for one in (A, B, C)] == [None, None, "payments"]


def test_no_name_is_kept_of_what_is_no_topic():
    ids = TopicIds()
    ids.teach(bytes(16), "orders")
    ids.teach(A, "")
    ids.teach(B, "x" * 250)
    ids.teach(C, "x" * 249)
    assert len(ids) == 1 and ids.name(C) == "x" * 249
    ids.teach(A, "no \udcff text")
    assert ids.name(A) == "no \ufffd text"
    with pytest.raises(ValueError, match="16 bytes"):
        ids.teach(b"short", "orders")


def test_the_oldest_go_when_there_are_too_many():
    ids = TopicIds()
    for number in range(1, 65537):
        ids.teach(number.to_bytes(16, "big"), f"t{number}")
    assert len(ids) == 65536
    ids.teach(A, "new")
    assert len(ids) == 65536 - 16384 + 1
    assert ids.name((16384).to_bytes(16, "big")) is None
    assert ids.name((16385).to_bytes(16, "big")) == "t16385" and ids.name(A) == "new"


def test_versions_that_name_by_id_are_not_shown_where_the_broker_cannot_tell_names():
    broker = {key: (0, 99) for key in HIGHEST_BY_NAME} | {18: (0, 4)}
    for highest in (11, 5):
        shown = advertised({**broker, 3: (0, highest)})
        known = {key: version for key, version in HIGHEST_BY_NAME.items() if version >= 0}
        assert {key: shown[key][1] for key in HIGHEST_BY_NAME if key in shown} == {**known, 3: highest}
    shown = advertised({**broker, 3: (0, 12)})
    assert shown[3] == (0, 12)


# -- asking ------------------------------------------------------------------------------------------------------------


class Told:
    """Answers when it is told to."""

    def __init__(self, **names: bytes) -> None:
        self.names = {topic_id: name for name, topic_id in names.items()}
        self.asked: list[list[bytes]] = []
        self.may_answer = asyncio.Event()
        self.broken = False

    async def ask(self, ids: list[bytes]) -> dict[bytes, str]:
        self.asked.append(ids)
        await self.may_answer.wait()
        if self.broken:
            raise BrokerUnreachable("no broker")
        return {one: self.names[one] for one in ids if one in self.names}


async def until(condition) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0)


async def test_many_who_wait_share_one_question_and_those_who_come_later_the_next():
    cluster, clock = Told(orders=A, payments=B), Clock()
    lookups = TopicLookups("prod", cluster.ask, clock=clock)
    first = asyncio.gather(*(lookups.look_up([A, C]) for _ in range(50)))
    await until(lambda: cluster.asked)
    later = asyncio.gather(*(lookups.look_up([B]) for _ in range(50)), lookups.look_up([A]))
    await asyncio.sleep(0)
    assert cluster.asked == [[A, C]] and not first.done()
    cluster.may_answer.set()
    await asyncio.gather(first, later)
    assert cluster.asked == [[A, C], [A, B]]
    assert (lookups.ids.name(A), lookups.ids.name(B), lookups.ids.name(C)) == ("orders", "payments", None)


async def test_what_is_missing_is_asked_for_again_a_moment_later():
    cluster, clock = Told(), Clock()
    cluster.may_answer.set()
    lookups = TopicLookups("prod", cluster.ask, clock=clock)
    await lookups.look_up([A])
    await lookups.look_up([A])
    clock.seconds += MISSING_SECONDS - 0.01
    await lookups.look_up([A])
    assert cluster.asked == [[A]]
    cluster.names[A] = "orders"
    clock.seconds += 0.02
    await lookups.look_up([A])
    assert cluster.asked == [[A], [A]] and lookups.ids.name(A) == "orders"


@pytest.mark.parametrize("broken", [True, False])
async def test_a_broker_that_fails_or_says_nothing_leaves_ids_unknown(broken):
    cluster = Told(orders=A)
    cluster.broken = broken
    if broken:
        cluster.may_answer.set()
    lookups = TopicLookups("prod", cluster.ask, clock=Clock(), seconds=0.05)
    await lookups.look_up([A])
    assert lookups.ids.name(A) is None and len(cluster.asked) == 1


async def test_what_all_topics_are_called_is_not_known_once_it_could_not_be_asked():
    cluster, clock = Told(orders=A), Clock()
    cluster.may_answer.set()
    lookups = TopicLookups("prod", cluster.ask, clock=clock)
    assert lookups.ids.everything is None
    await lookups.look_up([ALL])
    assert lookups.ids.everything == ()
    cluster.broken = True
    clock.seconds += MISSING_SECONDS
    await lookups.look_up([A])
    assert lookups.ids.everything == ()
    await lookups.look_up([ALL])
    assert lookups.ids.everything is None


# -- over a socket -----------------------------------------------------------------------------------------------------


def telling(broker: ScriptedBroker, **names: bytes) -> None:
    """Has the broker answer Metadata as Kafka does: by id, or all topics."""
    by_id = {topic_id: name for name, topic_id in names.items()}

    def answer(version: int, asked: dict) -> dict:
        wanted = list(by_id) if asked["topics"] is None else [one.get("topic_id", b"") for one in asked["topics"]]
        return {"brokers": [{"node_id": 1, "host": "127.0.0.1", "port": broker.port}], "topics": [
            {"error_code": 0 if one in by_id else 100, "name": by_id.get(one), "topic_id": one, "partitions": []}
            for one in wanted]}

    broker.answers[3] = answer


@pytest.mark.parametrize(("highest", "version"), [(13, 12), (12, 12), (11, 11), (10, 10)])
async def test_t25_no_version_above_the_brokers_and_nothing_is_created(highest, version):
    async with ScriptedBroker(ranges={**RANGES, 3: (0, highest)}) as broker, viewing([at(broker)]) as (view, _, _):
        telling(broker, orders=A, payments=B)
        await view.topics.look_up([A, C])
        asked = broker.asked[-1]
        assert (asked.api_key, asked.version) == (3, version)
        assert asked.values["allow_auto_topic_creation"] is False
        if version == 12:
            assert [(one["topic_id"], one["name"]) for one in asked.values["topics"]] == [(A, None), (C, None)]
        else:
            assert asked.values["topics"] is None
        assert [view.topics.ids.name(one) for one in (A, B, C)] == ["orders", None, None]


async def test_the_zero_id_asks_for_all_names_and_not_at_every_turn():
    async with ScriptedBroker() as broker, viewing([at(broker)]) as (view, clock, _):
        telling(broker, orders=A, payments=B)
        for _ in range(3):
            await view.topics.look_up([ALL])
        assert [asked.values["topics"] for asked in broker.asked if asked.version == 12] == [None]
        assert [view.topics.ids.name(one) for one in (A, B, C)] == ["orders", "payments", None]
        assert view.topics.ids.everything == (b"orders", b"payments")
        clock.seconds += MISSING_SECONDS
        await view.topics.look_up([C, ALL])
        assert broker.asked[-1].values["topics"] is None


async def test_a_broker_that_tells_no_ids_is_not_asked():
    async with ScriptedBroker(ranges={**RANGES, 3: (0, 9)}) as broker, viewing([at(broker)]) as (view, _, errors):
        await view.topics.look_up([A])
        assert [asked.version for asked in broker.asked if asked.api_key == 3] == [8]
        assert view.topics.ids.name(A) is None and errors == [("prod", "malformed_response")]


async def test_a_lost_service_connection_is_opened_again_and_asked():
    async with ScriptedBroker() as broker, viewing([at(broker)]) as (view, _, _):
        telling(broker, orders=A)
        await view.refresh()
        broker.cut()
        await view.topics.look_up([A])
        assert view.topics.ids.name(A) == "orders" and broker.connections == 2


async def test_an_answer_that_came_too_late_is_not_taken_for_the_next():
    async with ScriptedBroker() as broker, viewing([at(broker)]) as (view, clock, _):
        await view.refresh()
        broker.answers[3] = lambda version, asked: None
        view.topics._seconds = 0.05
        await view.topics.look_up([A])
        assert view.topics.ids.name(A) is None
        telling(broker, orders=A)
        view.topics._seconds = 20.0
        clock.seconds += 1
        await view.topics.look_up([A])
        assert view.topics.ids.name(A) == "orders" and broker.connections == 2

