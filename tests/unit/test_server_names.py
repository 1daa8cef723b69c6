"""Brokers told apart by name: what a name means, where clients are led, and what a ClientHello may ask for."""

from __future__ import annotations

import ssl
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kproxy._ext.opening import Addresses
from kproxy._ext.tls_context import TlsContext
from kproxy.dataplane.server_names import NameRefused, ServerNames
from kproxy.dataplane.tls import Certificates
from kproxy.model.settings import AdvertiseNames, Limits, ListenerTls
from tests.support.async_client import API_VERSIONS, RawClient
from tests.support.certificates import Authority
from tests.support.desk import Desk
from tests.support.scripted_control import until
from tests.support.tls_ends import Ends
from tests.support.world import LISTENER, on_uvloop, serving

NAMES = AdvertiseNames("b{node}.kafka.test", "kafka.test", 9443, 0, 200)
FIND = ServerNames(NAMES).find
OURS = Authority()
SERVER = OURS.issue("kafka", ("kafka.test", "*.kafka.test"))
VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


def refusal(name: bytes) -> str:
    with pytest.raises(NameRefused) as refused:
        FIND(name)
    return str(refused.value.cause)


# -- what a name means -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "place"), [
    (b"kafka.test", None), (b"KAFKA.Test", None), (b"b0.kafka.test", 0), (b"b1.kafka.test", 1),
    (b"b20.kafka.test", 20), (b"B200.KAFKA.TEST", 200)])
def test_names_that_lead_somewhere(name: bytes, place: int | None) -> None:
    assert FIND(name) == place


@pytest.mark.parametrize("name", [
    b"b.kafka.test", b"b01.kafka.test", b"b00.kafka.test", b"b+1.kafka.test", b"b-1.kafka.test", b"b 1.kafka.test",
    b"b1 .kafka.test", b"b1_0.kafka.test", b"b0x1.kafka.test", b"b1e1.kafka.test", "b١.kafka.test".encode(),
    b"b201.kafka.test", b"b4294967297.kafka.test", b"b" + b"1" * 300 + b".kafka.test", b"b1.kafka.test.", b"b1",
    b"b1.kafka.test.evil.test", b"evil.b1.kafka.test", b"b1.b1.kafka.test", b"b1xkafka.test", b"xb1.kafka.test",
    b"b1.kafka.test\0", b"b1\0.kafka.test", b"b1\n.kafka.test", b".kafka.test", b"kafka.tes", b"akafka.test", b"\xff",
    b"127.0.0.1", b"b{node}.kafka.test"])
def test_names_that_lead_nowhere(name: bytes) -> None:
    assert refusal(name) == "server_name_unknown"


def test_no_name_is_a_cause_of_its_own() -> None:
    assert refusal(b"") == "server_name_missing"


def test_what_is_told_of_a_strange_name_is_short_and_plain() -> None:
    with pytest.raises(NameRefused) as refused:
        FIND(b"\x1b[31m\xff" + b"x" * 60_000)
    assert len(str(refused.value)) < 200 and str(refused.value).isprintable()


@pytest.mark.parametrize("pattern", ["1{node}.test", "b{node}1.test", "{node}.test", "b-{node}-1.test", "x.{node}.a.b"])
@given(node=st.integers(0, 2**31 - 1), other=st.integers(0, 2**31 - 1))
@example(node=1, other=11)
@example(node=11, other=111)
@example(node=0, other=10)
def test_every_broker_has_one_name_and_every_name_one_broker(pattern: str, node: int, other: int) -> None:
    names = ServerNames(AdvertiseNames(pattern, "kafka.test", 9443, 0, 2**31 - 1))
    name = pattern.replace("{node}", str(node))
    assert names.find(name.encode()) == node
    assert (pattern.replace("{node}", str(other)) == name) == (node == other)
    near = pattern.replace("{node}", f"0{node}").encode()
    with pytest.raises(NameRefused):
        names.find(near)


@given(st.binary(max_size=80))
def test_whatever_is_asked_for_is_a_name_of_ours_or_refused(name: bytes) -> None:
    try:
        place = FIND(name)
    except NameRefused as refused:
        assert str(refused.cause) == ("server_name_unknown" if name else "server_name_missing")
    else:
        assert name.lower() == (b"kafka.test" if place is None else b"b%d.kafka.test" % place)


# -- where clients are led ---------------------------------------------------------------------------------------------


def named() -> Addresses:
    return Addresses("b", 0, 200, 9443, None, ".kafka.test")


def test_metadata_leads_to_names_and_hides_who_has_none() -> None:
    desk = Desk("describe topic *", addresses=named())
    desk.request(3, 9, {"topics": [{"name": "t"}], "allow_auto_topic_creation": False})
    partition = {"error_code": 0, "partition_index": 0, "leader_id": 11, "replica_nodes": [1, 11], "isr_nodes": [1]}
    _, answer = desk.response(3, 9, {
        "brokers": [{"node_id": node, "host": f"broker-{node}", "port": 9092, "rack": None} for node in (1, 11, 201)],
        "cluster_id": "c", "controller_id": 1,
        "topics": [{"name": "t", "error_code": 0, "partitions": [partition]}]})
    assert [(one["node_id"], one["host"], one["port"]) for one in answer["brokers"]] == [
        (1, "b1.kafka.test", 9443), (11, "b11.kafka.test", 9443)]
    assert desk.addresses.learned == {node: (f"broker-{node}", 9092) for node in (1, 11, 201)}


def test_a_broker_that_moved_keeps_its_name() -> None:
    desk = Desk("describe topic *", addresses=named())
    for host in ("old", "new"):
        desk.request(3, 9, {"topics": [], "allow_auto_topic_creation": False})
        _, answer = desk.response(3, 9, {
            "brokers": [{"node_id": 7, "host": host, "port": 9092, "rack": None}], "cluster_id": "c",
            "controller_id": 7, "topics": []})
        assert [(one["host"], one["port"]) for one in answer["brokers"]] == [("b7.kafka.test", 9443)]
        assert desk.addresses.learned == {7: (host, 9092)}


# -- the handshake -----------------------------------------------------------------------------------------------------


def client(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=OURS.pem.decode())
    context.check_hostname = False
    context.minimum_version = context.maximum_version = version
    return context


def server(find: Any = FIND) -> TlsContext:
    return TlsContext(True, certificates=SERVER[0], key=SERVER[1], authorities=b"", client_auth="none", find_place=find)


@VERSIONS
@pytest.mark.parametrize("piece", [1, 1 << 20])
@pytest.mark.parametrize(("name", "place"), [("kafka.test", None), ("b1.kafka.test", 1), ("b11.kafka.test", 11)])
def test_the_place_is_known_when_the_handshake_is_done(version: ssl.TLSVersion, piece: int, name: str,
                                                       place: int | None) -> None:
    ends = Ends(server(), client(version), name=name, piece=piece).settle()
    assert (ends.link.records.place, ends.readies, ends.failures, ends.error) == (place, 1, [], None)


@VERSIONS
@pytest.mark.parametrize(("name", "cause"), [
    (None, "server_name_missing"), ("127.0.0.1", "server_name_missing"), ("b201.kafka.test", "server_name_unknown"),
    ("elsewhere.test", "server_name_unknown")])
def test_a_wrong_name_ends_the_handshake_with_an_alert_that_says_so(version: ssl.TLSVersion, name: str | None,
                                                                    cause: str) -> None:
    ends = Ends(server(), client(version), name=name).settle()
    assert [why for why, _ in ends.failures] == [cause]
    assert ends.readies == 0 and ends.error is not None and "UNRECOGNIZED_NAME" in str(ends.error)
    assert ends.inner.got == b""


@VERSIONS
def test_a_fault_of_our_own_refuses(version: ssl.TLSVersion) -> None:
    def find(name: bytes) -> int:
        raise RuntimeError("a bug")

    ends = Ends(server(find), client(version), name="b1.kafka.test").settle()
    assert ends.failures == [("internal", "a bug")] and ends.readies == 0


@VERSIONS
def test_a_session_that_is_resumed_under_another_name_goes_where_the_new_name_says(version: ssl.TLSVersion) -> None:
    context, ours = client(version), server()
    first = Ends(ours, context, name="b1.kafka.test").settle()
    first.link.write(b"x")      # In TLS 1.3 the ticket comes behind the handshake.
    first.settle()
    assert first.read_other() == b"x"
    second = Ends(ours, context, name="b2.kafka.test", session=first.other.session).settle()
    assert second.error is None and second.other.session_reused
    assert second.link.records.place == 2


def test_without_names_any_will_do() -> None:
    for name in (None, "anything.test"):
        ends = Ends(server(None), client(ssl.TLSVersion.TLSv1_3), name=name).settle()
        assert (ends.link.records.place, ends.readies, ends.failures) == (None, 1, [])


@on_uvloop
async def test_a_connection_is_the_named_brokers(tmp_path: Path) -> None:
    cert, key = OURS.write(tmp_path, "kafka", "kafka.test", "*.kafka.test")
    listener = msgspec.structs.replace(LISTENER, advertise=NAMES, tls=ListenerTls(str(cert), str(key)))
    certificates = Certificates(SimpleNamespace(  # type: ignore[arg-type]
        listeners={listener.name: listener}, clusters={}, limits=Limits()), now=time.time)
    async with serving(listener, certificates.wrap) as (world, connections):
        world.open("versions", "token", "broker")
        asked: list[int | None] = []
        told = world.api_versions

        async def api_versions(cluster: str, node: int | None) -> Any:
            asked.append(node)
            return await told(cluster, node)

        world.api_versions = api_versions
        for name, place in (("b7.kafka.test", 7), ("kafka.test", None), ("B70.Kafka.test", 70)):
            one = await RawClient.connect_tls(world.port, client(ssl.TLSVersion.TLSv1_3), name)
            assert (await one.ask(API_VERSIONS, 0, {}))["error_code"] == 0
            (connection,) = connections.open.values()
            assert (connection.node, asked.pop()) == (place, place)
            assert connection.view(0).broker == ("" if place is None else str(place))
            one.close()
            await until(lambda: not connections.open)
