"""kproxy as a client of brokers: versions, login, addresses, over real sockets to scripted brokers."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import asynccontextmanager

import confluent_kafka
import pytest

from kproxy._ext import schema
from kproxy.dataplane import upstream
from kproxy.dataplane.cluster_view import BELIEVED_SECONDS, PAUSE_SECONDS, VERSIONS_SECONDS, ClusterView
from kproxy.dataplane.dialing import SUSPECT_SECONDS, Dialer
from kproxy.dataplane.upstream import BrokerLogin, ServiceConnection, Spoken, build_request, choose_credential
from kproxy.errors import BrokerRefusedLogin, BrokerUnreachable, WireError
from kproxy.model.settings import Cluster, Credential
from tests.support.ports import free_ports
from tests.support.scripted_broker import RANGES, ScriptedBroker

PLAIN = Credential("PLAIN", username="svc", password="pw-1")


def answer_frame(correlation: int, api_key: int, version: int, values: dict) -> bytes:
    body = correlation.to_bytes(4, "big") + schema.build(api_key, version, True, values)
    return len(body).to_bytes(4, "big") + body


def read_request(frame: bytes) -> tuple[int, int, int, dict]:
    size, key, version, correlation, length = struct.unpack_from(">ihhih", frame)
    assert size == len(frame) - 4
    return key, version, correlation, schema.parse(key, version, False, frame[14 + length :])


# -- the login, bytes in and bytes out ---------------------------------------------------------------------------------


def test_login_speaks_handshake_then_authenticate():
    login = BrokerLogin(PLAIN, {36: (0, 2)})
    key, version, correlation, values = read_request(login.start())
    assert (key, version, values["mechanism"]) == (17, 1, "PLAIN")
    message = login.receive_frame(answer_frame(correlation, 17, 1, {"mechanisms": ["PLAIN"]}))
    key, version, correlation, values = read_request(message)
    assert (key, version, values["auth_bytes"]) == (36, 1, b"\0svc\0pw-1")
    assert not login.done
    assert login.receive_frame(answer_frame(correlation, 36, 1, {"session_lifetime_ms": 90_000})) is None
    assert login.done and login.lifetime == 90.0 and login.failed == ""


def test_login_towards_an_old_broker():
    login = BrokerLogin(PLAIN, {36: (0, 0)})
    _, _, correlation, _ = read_request(login.start())
    message = login.receive_frame(answer_frame(correlation, 17, 1, {}))
    assert read_request(message)[1] == 0
    login.receive_frame(answer_frame(correlation + 1, 36, 0, {}))
    assert login.done and login.lifetime == 0


@pytest.mark.parametrize(("answers", "said"), [
    ([(17, {"error_code": 33, "mechanisms": ["GSSAPI", "SCRAM-SHA-512"]})],
     "the broker does not take PLAIN; it offers GSSAPI, SCRAM-SHA-512"),
    ([(17, {}), (36, {"error_code": 58, "error_message": "Invalid username or password"})],
     "Invalid username or password"),
    ([(17, {}), (36, {"error_code": 58})], "error 58")])
def test_a_refused_login_says_why(answers, said):
    login = BrokerLogin(PLAIN, {36: (0, 1)})
    login.start()
    with pytest.raises(BrokerRefusedLogin) as caught:
        for correlation, (key, values) in enumerate(answers, 1):
            login.receive_frame(answer_frame(correlation, key, 1, values))
    assert str(caught.value) == login.failed == said
    assert not login.done and "pw-1" not in login.failed


@pytest.mark.parametrize("frame", [b"", b"\0\0\0\x04", answer_frame(9, 17, 1, {}), answer_frame(1, 17, 1, {})[:-2]])
def test_a_login_answer_that_is_not_one_is_refused(frame):
    login = BrokerLogin(PLAIN, {})
    login.start()
    with pytest.raises(WireError):
        login.receive_frame(frame)
    assert login.failed and not login.done


def test_the_first_credential_that_fits_wins():
    fraud = Credential("PLAIN", role="fraud", username="svc-fraud", password="x")
    nobody = Credential("NONE")
    assert choose_credential((fraud, PLAIN), ("ml", "fraud")) is fraud
    assert choose_credential((fraud, PLAIN), ("ml",)) is PLAIN
    assert choose_credential((fraud, nobody, PLAIN), ()) is None
    assert choose_credential((), ("fraud",)) is None


# -- one connection ----------------------------------------------------------------------------------------------------


def plaintext(timeout: float = 5.0, clock=lambda: 1000.0) -> Dialer:
    return Dialer(lambda: None, timeout=timeout, clock=clock, on_error=lambda _: None)


def service(broker: ScriptedBroker, timeout: float = 5.0, max_bytes: int = 1 << 20) -> ServiceConnection:
    return ServiceConnection(plaintext(timeout), "127.0.0.1", broker.port, timeout=timeout, max_bytes=max_bytes)


@pytest.mark.parametrize(("newest", "above", "tried", "connections"), [
    (4, "35", [3], 1), (2, "35", [3, 2], 1), (0, "35", [3, 2, 1, 0], 1), (2, "garbage", [3, 2], 1),
    (1, "close", [3, 2, 1], 3)])
async def test_versions_are_learned_from_brokers_of_any_age(newest, above, tried, connections):
    """T6: who knows no such version answers in version 0."""
    async with ScriptedBroker(newest_api_versions=newest, above=above) as broker:
        one = service(broker)
        await one.open()
        # Who garbles a flexible answer is not asked for another.
        wanted = {0: (3, 8), 1: (4, 11), 3: (0, 8), 18: (0, 2), 36: (0, 1)} if above == "garbage" else {}
        assert one.ranges == RANGES | wanted
        assert [asked.version for asked in broker.asked] == tried
        assert broker.connections == connections
        one.close()


async def test_the_levels_of_features_are_learned_and_whose_cluster_it_is():
    def versions(_version, _values):
        return {"api_keys": [{"api_key": key, "min_version": low, "max_version": high}
                             for key, (low, high) in RANGES.items()],
                "finalized_features_epoch": 12,
                "finalized_features": [{"name": "transaction.version", "max_version_level": 2, "min_version_level": 2}]}

    async with ScriptedBroker() as broker, viewing([at(broker)]) as (view, _, _):
        broker.answers[18] = versions
        for node in (None, 1):
            assert await view.versions(node) == Spoken(RANGES, {"transaction.version": 2}, 12, "scripted")


async def test_software_is_named_and_no_credential_shown_before_versions():
    async with ScriptedBroker(users={"svc": "pw-1"}) as broker:
        one = service(broker)
        await one.open()
        await one.log_in(PLAIN)
        assert await one.fetch_brokers() == {1: ("127.0.0.1", broker.port)}
        assert [asked.api_key for asked in broker.asked] == [18, 17, 36, 3]
        assert broker.asked[0].values["client_software_name"] == "kproxy"
        assert {asked.client_id for asked in broker.asked} == {"kproxy"}
        one.close()


async def test_a_wrong_password_is_told_without_it():
    async with ScriptedBroker(users={"svc": "other"}) as broker:
        one = service(broker)
        await one.open()
        with pytest.raises(BrokerRefusedLogin, match="Invalid username or password") as caught:
            await one.log_in(PLAIN)
        assert "pw-1" not in str(caught.value)
        one.close()


@pytest.mark.parametrize(("highest", "asked_with"), [(12, 8), (5, 5), (1, 1)])
async def test_metadata_never_above_what_the_broker_speaks(highest, asked_with):
    async with ScriptedBroker(ranges={**RANGES, 3: (0, highest)}) as broker:
        one = service(broker)
        await one.open()
        await one.fetch_brokers()
        assert (broker.asked[-1].version, broker.asked[-1].values["topics"]) == (asked_with, [])
        one.close()


async def test_a_silent_broker_costs_its_timeout_and_no_more():
    async with ScriptedBroker(silent=True) as broker:
        one = service(broker, timeout=0.05)
        with pytest.raises(BrokerUnreachable, match=r"no answer within 0\.05 s"):
            await one.open(first=0)


async def test_a_frame_above_the_limit_is_refused_before_it_is_read():
    async with ScriptedBroker() as broker:
        one = service(broker, max_bytes=20)
        with pytest.raises(WireError, match=r"frame of 5[0-9] bytes"):
            await one.open()
        one.close()


async def test_every_address_of_a_name_is_tried(monkeypatch):
    async with ScriptedBroker() as broker:
        (dead,) = free_ports(1)
        loop = asyncio.get_running_loop()

        async def resolve(host, port, **_):
            assert (host, port) == ("kafka.test", broker.port)
            return [(socket.AF_INET, 1, 6, "", (address, port)) for address in ("127.0.0.9", "127.0.0.1")]

        real = loop.create_connection
        tried = []

        async def create(factory, host, port):
            tried.append(host)
            return await real(factory, host, dead if host == "127.0.0.9" else port)

        monkeypatch.setattr(loop, "getaddrinfo", resolve)
        monkeypatch.setattr(loop, "create_connection", create)
        clock = Clock()
        dialer = plaintext(clock=clock)
        for tries in (["127.0.0.9", "127.0.0.1"], ["127.0.0.1"], ["127.0.0.9", "127.0.0.1"]):
            tried.clear()
            transport, _ = await dialer.connect(asyncio.Protocol, "kafka.test", broker.port)
            transport.abort()
            assert tried == tries
            if tries == ["127.0.0.1"]:
                clock.seconds += SUSPECT_SECONDS


async def test_the_embedded_brokers_malformed_versions_are_asked_again_lower():
    """librdkafka's mock cluster writes an ApiVersions v3 answer that cannot be read."""
    embedded = confluent_kafka.Producer({"test.mock.num.brokers": 2, "bootstrap.servers": ""})
    brokers = {node: (broker.host, broker.port) for node, broker in embedded.list_topics(timeout=10).brokers.items()}
    one = ServiceConnection(plaintext(), *brokers[1], timeout=5.0, max_bytes=1 << 20)
    await one.open()
    assert await one.fetch_brokers() == brokers
    # Its other flexible answers are no better, so none is asked for: Produce, Fetch, Metadata, OffsetCommit, JoinGroup.
    assert [one.ranges[key][1] for key in (0, 1, 3, 8, 11)] == [8, 11, 8, 7, 5]
    assert one.ranges[24] == (0, 1)
    one.close()


async def test_a_name_that_nobody_knows_is_called_so():
    with pytest.raises(BrokerUnreachable, match=r"no-such-broker\.invalid is not a known name") as caught:
        await plaintext().connect(asyncio.Protocol, "no-such-broker.invalid", 9092)
    assert caught.value.cause == "name_not_found"


# -- the view of a cluster ---------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@asynccontextmanager
async def viewing(bootstrap, credentials=(), timeout=2.0):
    errors: list[tuple[str, str]] = []
    clock = Clock()
    view = ClusterView(Cluster("prod", tuple(bootstrap), tuple(credentials)), timeout=timeout, max_bytes=1 << 20,
                       clock=clock, random=lambda: 0.0, on_error=lambda *labels: errors.append(labels))
    try:
        yield view, clock, errors
    finally:
        view.close()


def at(broker: ScriptedBroker) -> tuple[str, int]:
    return "127.0.0.1", broker.port


async def test_the_bootstrap_list_is_tried_in_turn():
    (dead,) = free_ports(1)
    async with ScriptedBroker() as broker, viewing([("127.0.0.1", dead), at(broker)]) as (view, _, errors):
        await view.refresh()
        assert view.nodes == {1: at(broker)}
        assert errors == [("prod", "broker_unreachable")]
        assert (await view.versions(None)).ranges == RANGES


async def test_no_broker_at_all():
    (dead,) = free_ports(1)
    async with viewing([("127.0.0.1", dead)]) as (view, _, errors):
        for ask in (view.refresh(), view.versions(None), view.versions(3), view.connect(asyncio.Protocol, 1)):
            with pytest.raises(BrokerUnreachable):
                await ask
        assert set(errors) == {("prod", "broker_unreachable")}


async def test_refused_credentials_are_counted_by_their_cause():
    async with ScriptedBroker(users={"svc": "other"}) as broker, viewing([at(broker)], [PLAIN]) as (view, _, errors):
        with pytest.raises(BrokerUnreachable, match="Invalid username or password"):
            await view.refresh()
        assert errors == [("prod", "broker_refused_login")]


async def test_concurrent_refreshes_are_one_and_the_connection_is_kept():
    async with ScriptedBroker(users={"svc": "pw-1"}) as broker, viewing([at(broker)], [PLAIN]) as (view, _, _):
        await asyncio.gather(*(view.refresh() for _ in range(20)))
        await view.refresh()
        assert [asked.api_key for asked in broker.asked] == [18, 17, 36, 3, 3]
        assert broker.connections == 1


async def test_each_brokers_versions_are_its_own_and_cached():
    async with (ScriptedBroker(node=2, ranges={**RANGES, 0: (3, 9)}) as old, ScriptedBroker(node=1) as new,
                viewing([at(new)]) as (view, clock, _)):
        new.brokers = {1: at(new), 2: at(old)}
        await view.refresh()
        assert (await view.versions(1)).ranges[0] == (3, 12)
        assert (await view.versions(2)).ranges[0] == (3, 9)
        assert (await view.versions(2)).ranges[0] == (3, 9)
        assert old.connections == 1
        old.ranges[0] = (3, 11)
        clock.seconds += VERSIONS_SECONDS
        assert (await view.versions(2)).ranges[0] == (3, 11)
        old.ranges[0] = (3, 12)
        view.forget(2)
        assert (await view.versions(2)).ranges[0] == (3, 12)


async def test_an_unknown_broker_causes_one_refresh_and_no_storm():
    async with ScriptedBroker() as broker, viewing([at(broker)]) as (view, clock, _):
        await view.refresh()
        for _ in range(10):
            with pytest.raises(BrokerUnreachable, match="cluster prod has no broker 7"):
                await view.connect(asyncio.Protocol, 7)
        assert len([one for one in broker.asked if one.api_key == 3]) == 1, "the fresh view is believed"
        broker.brokers = {1: at(broker), 7: at(broker)}
        clock.seconds += BELIEVED_SECONDS
        transport, _ = await view.connect(asyncio.Protocol, 7)
        transport.abort()


async def test_a_dead_broker_is_not_dialled_by_every_client_and_found_when_it_is_back():
    async with ScriptedBroker(node=1) as contact, viewing([at(contact)]) as (view, clock, _):
        (port,) = free_ports(1)
        contact.brokers = {1: at(contact), 2: ("127.0.0.1", port)}
        await view.refresh()
        asked = len(contact.asked)
        for _ in range(50):
            with pytest.raises(BrokerUnreachable, match=rf"127\.0\.0\.1:{port}: "):
                await view.connect(asyncio.Protocol, 2)
        assert len(contact.asked) == asked + 1, "one dial and one refresh"
        async with ScriptedBroker(node=2) as back:
            contact.brokers[2] = at(back)
            clock.seconds += PAUSE_SECONDS[1]
            transport, _ = await view.connect(asyncio.Protocol, 2)
            assert transport.get_extra_info("peername") == at(back)
            transport.abort()


async def test_the_service_connection_is_opened_anew_before_its_login_ends():
    async with (ScriptedBroker(users={"svc": "pw-1"}, lifetime_ms=10_000) as broker,
                viewing([at(broker)], [PLAIN]) as (view, clock, errors)):
        await view.refresh()
        clock.seconds += 7.9
        await view.refresh()
        assert broker.connections == 1
        clock.seconds += 0.2
        await view.refresh()
        assert broker.connections == 2 and errors == []


async def test_a_broker_that_moved_is_found_again():
    async with (ScriptedBroker(node=1) as contact, ScriptedBroker(node=2) as moved,
                viewing([at(contact)]) as (view, _, _)):
        (gone,) = free_ports(1)
        contact.brokers = {1: at(contact), 2: ("127.0.0.1", gone)}
        await view.refresh()
        contact.brokers = {1: at(contact), 2: at(moved)}
        transport, _ = await view.connect(asyncio.Protocol, 2)
        assert transport.get_extra_info("peername")[1] == moved.port
        transport.abort()


async def test_what_is_known_stays_while_a_refresh_fails():
    async with ScriptedBroker() as broker, viewing([at(broker)]) as (view, _, _):
        await view.refresh()
        known = view.nodes
        await broker.stop()
        with pytest.raises(BrokerUnreachable):
            await view.refresh()
        assert view.nodes == known


async def test_addresses_seen_in_answers_fill_a_gap():
    async with ScriptedBroker() as broker, viewing([at(broker)]) as (view, _, _):
        learned: dict[int, tuple[str, int]] = {}
        view.learn_from(learned)
        learned[5] = at(broker)
        transport, _ = await view.connect(asyncio.Protocol, 5)
        assert transport.get_extra_info("peername") == at(broker)
        transport.abort()


async def test_a_lost_service_connection_is_opened_again():
    async with ScriptedBroker() as broker, viewing([at(broker)]) as (view, _, errors):
        await view.refresh()
        broker.cut()
        await view.refresh()
        assert broker.connections == 2 and errors == [("prod", "broker_unreachable")]


def test_a_request_of_ours_is_what_the_schema_says():
    body = schema.build(18, 3, False, {"client_software_name": "kproxy", "client_software_version": "1"})
    frame = build_request(18, 3, 5, body)
    assert frame[:14] == struct.pack(">ihhih", len(frame) - 4, 18, 3, 5, 6)
    assert frame[14:21] == b"kproxy\0", "client id, then the tags of a flexible header"
    assert build_request(18, 2, 5, b"")[14:] == b"kproxy"
    assert upstream.LONGEST_CORRELATION < 2147483640
