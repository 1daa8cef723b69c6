"""DescribeGroups (row 15): what members of a classic group tell each other, without the topics that are hidden."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from tests.support.desk import Desk, spanning
from tests.support.member_bytes import assignment, subscription

VERSIONS = range(4)


def shown(metadata: bytes, assigned: bytes = b"", *, version: int = 6, kind: str = "consumer",
          allow: tuple[str, ...] = ("describe topic open*",)) -> tuple[str, bytes, bytes]:
    """What becomes of an answer with one member: treatment, its metadata and its assignment."""
    desk = Desk("describe group g", *allow)
    desk.request(15, version, {"groups": ["g"]})
    member: dict[str, Any] = {"member_id": "m", "client_id": "c", "client_host": "/h", "member_metadata": metadata,
                              "member_assignment": assigned}
    treatment, answer = desk.response(15, version, {"groups": [
        {"error_code": 0, "group_id": "g", "group_state": "Stable", "protocol_type": kind, "protocol_data": "range",
         "members": [member, {**member, "member_id": "n"}]}]})
    first, second = answer["groups"][0]["members"]
    assert (second["member_id"], second["member_metadata"]) == ("n", first["member_metadata"])
    return treatment, bytes(first["member_metadata"]), bytes(first["member_assignment"])


@pytest.mark.parametrize("version", spanning(15))
@pytest.mark.parametrize("protocol", VERSIONS)
def test_hidden_topics_are_left_out_and_everything_else_stays(version: int, protocol: int) -> None:
    owned = [("shut", [0, 1]), ("open2", [3])]
    given = (subscription(protocol, ["open1", "shut", "open2"], owned, rack="r1"),
             assignment(protocol, [("shut", [1, 2]), ("open1", [0]), ("also-shut", [])]))
    wanted = (subscription(protocol, ["open1", "open2"], owned[1:], rack="r1"), assignment(protocol, [("open1", [0])]))
    assert shown(*given, version=version) == ("replace", *wanted)


@pytest.mark.parametrize("version", spanning(15))
@pytest.mark.parametrize("protocol", VERSIONS)
def test_what_names_nothing_hidden_goes_on_byte_for_byte(version: int, protocol: int) -> None:
    for user_data in (None, b""):
        given = (subscription(protocol, ["open1", "open2"], [("open1", [0])], user_data),
                 assignment(protocol, [("open1", [0])], user_data))
        assert shown(*given, version=version) == ("forward", *given)
    assert shown(b"", b"", version=version) == ("forward", b"", b"")


@pytest.mark.parametrize("protocol", VERSIONS)
def test_user_data_of_assignors_is_not_shown(protocol: int) -> None:
    """The sticky assignor writes the names of the topics it had, each assignor in its own way."""
    given = (subscription(protocol, ["open1"], [("open1", [0])], b"\0\5shut!"), assignment(protocol, [], b"shut"))
    assert shown(*given) == ("replace", subscription(protocol, ["open1"], [("open1", [0])]), assignment(protocol, []))


def test_bytes_that_are_no_subscription_are_not_shown() -> None:
    whole, assigned = subscription(3, ["open1", "shut"], [("shut", [0])]), assignment(1, [("shut", [0, 1])], b"u")
    for cut in range(1, len(assigned)):
        assert b"shut" not in shown(b"", assigned[:cut])[2], "half a message"
    for cut in range(1, len(whole)):
        assert b"shut" not in shown(whole[:cut])[1]
    for harmed in (whole + b"shut", struct.pack(">hi", 0, -1), struct.pack(">hi", 0, 1 << 30) + b"shut",
                   struct.pack(">hih", 0, 1, -5) + b"shut", b"shut", b"\0",
                   subscription(0, [], user_data=b"")[:-4] + b"\xff\xff\xff\xf0"):
        assert shown(harmed, harmed)[1:] == (b"", b"")


def test_a_subscription_without_what_its_version_has_is_read_as_some_clients_write_it() -> None:
    short = subscription(0, ["open1", "shut"])
    for version in (b"\0\1", b"\0\2", b"\0\3"):
        assert shown(version + short[2:])[1] == version + subscription(0, ["open1"])[2:]


def test_members_of_groups_of_another_kind_say_what_they_like() -> None:
    """Connect's workers for one; no topic stands there."""
    assert shown(b"worker url", b"tasks", kind="connect") == ("forward", b"worker url", b"tasks")


def test_internal_topics_are_hidden_here_as_elsewhere() -> None:
    given = subscription(0, ["__consumer_offsets", "open1"])
    assert shown(given, allow=("describe topic *",))[1] == subscription(0, ["open1"])
    assert shown(given, allow=("describe topic *", "alter cluster kafka-cluster"))[0] == "forward"
