"""A bad network on either side of kproxy: streams cut anywhere, connections that stall, half close or are reset.

What was acknowledged is in Kafka where it was acknowledged; answers are not lost, doubled or out of order; every close
has its cause; nothing is left over.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest

from tests.support.certificates import Authority
from tests.support.clients import CLIENT_NAMES, Login, Record
from tests.support.conversation import ASKED, Baseline, Conversations, at_byte, behind, inside, soon, strike
from tests.support.java import JavaDriver
from tests.support.kafka_broker import KafkaBroker
from tests.support.ports import wait_for
from tests.support.raw_client import FETCH, METADATA, PRODUCE, SASL_AUTHENTICATE, SASL_HANDSHAKE
from tests.support.stage import TAPPED_HOST, Stage
from tests.support.tap import Tap

pytestmark = pytest.mark.integration

DIRECTIONS = ("to_broker", "to_client")
#: Which relay, and over which listener.
SIDES = ("front", "secure", "behind")
LOGIN_SECONDS, IDLE_SECONDS = 1.5, 2.0


@pytest.fixture(scope="module")
def secured(kafka: KafkaBroker, java: JavaDriver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("faults")
    authority = Authority("servers")
    certificate, key = authority.write(folder, "kproxy", "127.0.0.1", TAPPED_HOST)
    limits = {"login.timeout.ms": int(LOGIN_SECONDS * 1000), "connections.max.idle.ms": int(IDLE_SECONDS * 1000)}
    with Stage(kafka, java, way="tapped2", more={"limits": limits},
               tls={"cert": str(certificate), "key": str(key)}) as stage:
        stage.ca = str(authority.write_own(folder))     # type: ignore[attr-defined]
        first = conversations(stage)
        for listener in ("tapped", "secure"):
            first.hold_whole(listener)      # So that a worker has opened whatever it keeps.
        yield stage


def conversations(stage: Stage) -> Conversations:
    return Conversations(stage, ssl.create_default_context(cafile=stage.ca))     # type: ignore[attr-defined]


@pytest.fixture
def talks(secured: Stage) -> Conversations:
    return conversations(secured)


@pytest.fixture(autouse=True)
def nothing_is_left(secured: Stage) -> Iterator[None]:
    """Every test of this module ends as it began: no connection, no descriptor, no failure of kproxy's own."""
    wait_for("clients of the test before to be gone", lambda: secured.front.open_count() == 0)
    baseline = Baseline(secured)
    yield
    for tap in (secured.front, secured.behind):
        tap.strike = None
        for passed in tap.struck:
            tap.reset(passed.number)
        tap.struck.clear()
    baseline.check()


def tap_of(stage: Stage, side: str) -> Tap:
    return stage.behind if side == "behind" else stage.front


def listener_of(side: str) -> str:
    return "secure" if side == "secure" else "tapped"


def lengths(stage: Stage, talks: Conversations, side: str) -> dict[str, int]:
    """How many bytes one conversation is, each way."""
    tap = tap_of(stage, side)
    since = len(tap.connections)
    talks.hold_whole(listener_of(side))
    return {direction: max(len(getattr(one, direction)) for one in tap.connections[since:]) for direction in DIRECTIONS}


def cut_everywhere(stage: Stage, talks: Conversations, side: str, step: int) -> int:
    """Conversations whose stream is split in two, one per position and direction; how many there were."""
    tap, split = tap_of(stage, side), 0
    for direction, length in lengths(stage, talks, side).items():
        for position in range(1, length, step):
            strike(tap, direction, at_byte(tap, direction, position), "pause")
            talks.hold_whole(listener_of(side))
            split += tap.strike is None
            tap.strike = None
    talks.check()
    return split


@pytest.mark.parametrize("side", SIDES)
def test_a_stream_may_be_split_anywhere(secured: Stage, talks: Conversations, side: str) -> None:
    """At a prime distance here, so that all kinds of fields are met; at every byte in the slow one."""
    assert cut_everywhere(secured, talks, side, 211 if side == "secure" else 61) > 10


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("side", SIDES)
def test_a_stream_may_be_split_at_every_byte(secured: Stage, talks: Conversations, side: str) -> None:
    split = cut_everywhere(secured, talks, side, 1)
    print(f"{split} places on {side}")
    assert split > 800


#: Where a blow falls: the relay, the direction, the place; and what kproxy calls the close that follows.
BLOWS = [
    ("front", "to_broker", inside, SASL_AUTHENTICATE, "client_closed"),
    ("front", "to_broker", behind, SASL_AUTHENTICATE, "client_closed"),
    ("front", "to_broker", inside, PRODUCE, "client_closed"),
    ("front", "to_broker", behind, PRODUCE, "client_closed"),
    ("front", "to_broker", inside, FETCH, "client_closed"),
    ("front", "to_client", inside, SASL_HANDSHAKE, "client_closed"),
    ("front", "to_client", inside, PRODUCE, "client_closed"),
    ("front", "to_client", behind, PRODUCE, "client_closed"),
    ("behind", "to_broker", inside, METADATA, "broker_closed"),
    ("behind", "to_broker", inside, PRODUCE, "broker_closed"),
    ("behind", "to_broker", behind, PRODUCE, "broker_closed"),
    ("behind", "to_client", inside, METADATA, "broker_closed"),
    ("behind", "to_client", inside, PRODUCE, "broker_closed"),
    ("behind", "to_client", behind, PRODUCE, "broker_closed"),
    ("behind", "to_client", inside, FETCH, "broker_closed"),
]


@pytest.mark.parametrize("what", ["reset", "finish"])
@pytest.mark.parametrize(("side", "direction", "place", "api", "cause"), BLOWS,
                         ids=lambda one: getattr(one, "__name__", str(one)))
def test_a_connection_that_is_lost_is_told_and_leaves_nothing(secured: Stage, talks: Conversations, side: str,
                                                              direction: str, place: object, api: int, cause: str,
                                                              what: str) -> None:
    tap = tap_of(secured, side)
    talks.hold_whole()
    before, lines = secured.node.metric("kproxy_close_total", cause=cause), told(secured, cause)
    strike(tap, direction, place(direction, api), what)     # type: ignore[operator]
    outcome = talks.hold(seconds=1.0 if what == "finish" else 10.0, until=lambda: tap.struck)
    assert len(tap.struck) == 1, "the blow did not fall"
    assert len(outcome.answered) < len(ASKED)
    assert outcome.closed or what == "finish"
    tap.reset(tap.struck[0].number)
    wait_for(f"a close by {cause}", lambda: secured.node.metric("kproxy_close_total", cause=cause) > before, 8)
    assert told(secured, cause) == lines + (cause != "client_closed")
    talks.hold_whole()
    talks.check()


def told(stage: Stage, cause: str) -> int:
    """Lines of the log about closes by this cause; clients that simply leave are not told of."""
    lines = stage.node.log.read_text().splitlines()
    return sum("connection_closed" in line and f'"{cause}"' in line for line in lines)


@pytest.mark.parametrize(("side", "direction", "number", "cause", "most"), [
    ("front", "to_broker", 100, "login_timeout", LOGIN_SECONDS + 2),
    ("secure", "to_broker", 40, "tls_handshake_timeout", LOGIN_SECONDS + 2),
    ("front", "to_broker", 1000, "idle", IDLE_SECONDS + 2)])
def test_a_client_that_stalls_is_closed_at_its_deadline(secured: Stage, talks: Conversations, side: str,
                                                        direction: str, number: int, cause: str, most: float) -> None:
    before, lines = secured.node.metric("kproxy_close_total", cause=cause), told(secured, cause)
    strike(secured.front, direction, at_byte(secured.front, direction, number), "stall")
    outcome = talks.hold(listener_of(side), seconds=most + 4)
    assert len(secured.front.struck) == 1 and outcome.seconds < most + 1.5, outcome
    wait_for(f"a close by {cause}", lambda: secured.node.metric("kproxy_close_total", cause=cause) > before, 8)
    assert told(secured, cause) == lines + 1
    talks.check()


@pytest.mark.parametrize("place", [inside, behind])
def test_a_broker_that_stalls_costs_only_those_who_wait_for_it(secured: Stage, talks: Conversations,
                                                               place: object) -> None:
    """How long is long enough is the client's to say: kproxy waits with it, and goes when it goes."""
    strike(secured.behind, "to_client", place("to_client", PRODUCE), "stall")     # type: ignore[operator]
    outcome = talks.hold(seconds=0.5)
    assert len(secured.behind.struck) == 1
    assert len(outcome.answered) in (3, 4, 5) and not outcome.closed
    talks.hold_whole()
    wait_for("the stalled broker's connection to be closed", lambda: not any(
        one.open for one in secured.front.connections), 5)
    talks.check()


def login_over(stage: Stage, side: str) -> Login:
    ca = stage.ca if side == "secure" else ""     # type: ignore[attr-defined]
    return Login(stage.bootstrap(listener_of(side)), "PLAIN", stage.token(), ca=ca)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", CLIENT_NAMES)
def test_real_clients_get_over_it(secured: Stage, name: str, side: str) -> None:
    """An idempotent producer sends again what it does not know about; a consumer goes on where it was."""
    topic, tap, client = secured.make_topic("open."), tap_of(secured, side), secured.client(name)
    login, sent, records = login_over(secured, side), [], [Record(b"%d" % n * 30) for n in range(24)]
    blows = [(direction, what) for what in ("reset", "finish") for direction in DIRECTIONS]
    with client.producer(login, idempotent=True) as producer:
        sent += producer.send(topic, records[:4])
        for turn, (direction, what) in enumerate(blows):
            strike(tap, direction, soon(tap, direction, 30 + turn), what)
            sent += producer.send(topic, records[4 + 5 * turn: 9 + 5 * turn])
            reset_struck(tap)
    assert [(one.code, one.offset) for one in sent] == [(0, n) for n in range(24)]
    assert [one.value for one in secured.read_direct(topic, 24)] == [one.value for one in records]
    with client.consumer(login) as consumer:
        consumer.assign(topic, 0, 0)
        got = consumer.poll(1)
        for turn, (direction, what) in enumerate(blows):
            strike(tap, direction, soon(tap, direction, 30 + turn), what)
            secured.write_direct(topic, [Record(b"more-%d" % turn)])
            got += consumer.poll(25 + turn - len(got))
            reset_struck(tap)
    assert [one.offset for one in got] == list(range(28))
    # A fetch that was under way already may bring the record, and then no request is there to be hit.
    assert len(tap.struck) >= 2 * len(blows) - 2, "a blow did not fall"


def reset_struck(tap: Tap) -> None:
    """A half-closed connection stays so until somebody gives it up."""
    tap.strike = None
    for passed in tap.struck:
        tap.reset(passed.number)
