"""Rows 15, 16, 42 and 47 of the protocol table, every served version."""

from __future__ import annotations

from typing import Any

import pytest

from kproxy.errors import WireError
from tests.support import frames
from tests.support.desk import CORRELATION, Desk, spanning
from tests.support.member_bytes import subscription

READ, DELETE, DESCRIBE = 1 << 3, 1 << 6, 1 << 8
DESCRIBE_CONFIGS, ALTER_CONFIGS = 1 << 10, 1 << 11
NOT_ASKED = -(2**31)
#: What a member says is in test_api_group_members.py; this names no topic.
SUBSCRIBED = subscription(3, [])
#: What Kafka writes for an account that may do everything.
EVERYTHING = READ | DELETE | DESCRIBE | DESCRIBE_CONFIGS | ALTER_CONFIGS


def member(**values: Any) -> dict[str, Any]:
    return {"member_id": "m-1", "client_id": "c", "client_host": "/10.0.0.9", "member_metadata": SUBSCRIBED,
            "member_assignment": b"", **values}


def described(name: str, **values: Any) -> dict[str, Any]:
    return {"group_id": name, "error_code": 0, "group_state": "Stable", "protocol_type": "consumer",
            "protocol_data": "range", "members": [member()], **values}


def refused(name: str, version: int, code: int = 30, text: str = "nothing allows it") -> dict[str, Any]:
    """A refused group as a version answers it."""
    answer = {"error_code": code, "group_id": name, "group_state": "", "protocol_type": "", "protocol_data": "",
              "members": []}
    if version >= 3:
        answer["authorized_operations"] = NOT_ASKED
    if version >= 6:
        answer["error_message"] = text
    return answer


def same(answer: dict[str, Any], expected: dict[str, Any]) -> bool:
    return {name: value for name, value in answer.items() if name != "_tags"} == expected


@pytest.mark.parametrize("version", spanning(15))
def test_groups_are_described_one_by_one(version: int) -> None:
    desk = Desk("describe group g*")
    assert desk.request(15, version, {"groups": ["g1", "g2"]})[0] == "forward"
    assert desk.denied() == []
    treatment, sent = desk.request(15, version, {"groups": ["x", "g1", "x", "g2"]})
    assert treatment == "replace" and sent["groups"] == ["g1", "g2"]
    assert desk.denied() == [("describe", "group", "x")] * 2
    broker = [described("g1"), described("g2", error_code=31000)]
    _, answer = desk.response(15, version, {"groups": broker})
    first, second, *rest = answer["groups"]
    assert (first["group_id"], first["members"][0]["member_metadata"]) == ("g1", SUBSCRIBED)
    assert (first["members"][0]["client_host"], second["error_code"]) == ("/10.0.0.9", 31000)
    assert len(rest) == 2 and all(same(one, refused("x", version)) for one in rest)
    treatment, answer = desk.request(15, version, {"groups": ["x", "y"]})
    assert treatment == "answer" and [one["group_id"] for one in answer["groups"]] == ["x", "y"]
    assert same(answer["groups"][1], refused("y", version))
    assert desk.request(15, version, {"groups": []})[0] == "forward"


@pytest.mark.parametrize("version", range(3, 7))
def test_the_operations_of_a_group_are_those_of_the_policy(version: int) -> None:
    desk = Desk("describe group g*", "read group g1", "delete group g1", "alter_configs group g2")
    assert desk.request(15, version, {"groups": ["g1", "g2", "g3"], "include_authorized_operations": True}
                        )[0] == "forward"
    treatment, answer = desk.response(15, version, {"groups": [
        described(name, authorized_operations=EVERYTHING) for name in ("g1", "g2", "g3")]})
    assert treatment == "replace"
    assert [one["authorized_operations"] for one in answer["groups"]] == [
        READ | DELETE | DESCRIBE, DESCRIBE | ALTER_CONFIGS, DESCRIBE]
    assert desk.denied() == [], "a list of what one may do refuses nothing"
    treatment, answer = desk.response(15, version, {"groups": [described("g1", authorized_operations=NOT_ASKED)]})
    assert treatment == "forward" and answer["groups"][0]["authorized_operations"] == NOT_ASKED


def test_a_group_that_needs_an_approval_says_so_where_there_is_room() -> None:
    desk = Desk("describe group g", ask=("describe group asked",))
    assert desk.request(15, 6, {"groups": ["g", "asked"]}) == ("wait", None)
    desk.opened.answered({desk.decide("group", "describe", "asked", 0)[0].wanted: ("R-1", "pending")})
    desk.request(15, 6, {"groups": ["g", "asked"]})
    _, answer = desk.response(15, 6, {"groups": [described("g")]})
    assert same(answer["groups"][1], refused(
        "asked", 6, 44, "kproxy: rule an-approval needs an approval; request R-1 is pending"))
    treatment, answer = desk.request(15, 5, {"groups": ["asked"]})
    assert treatment == "answer" and same(answer["groups"][0], refused("asked", 5))


@pytest.mark.parametrize("version", spanning(16))
def test_only_groups_one_may_describe_are_listed(version: int) -> None:
    everything = {"groups": [{"group_id": name, "protocol_type": "consumer"} for name in ("a", "g1", "b", "g2", "")]}
    for policy, shown in ((("describe group g*",), ["g1", "g2"]), ((), []),
                          (("describe cluster kafka-cluster",), ["a", "g1", "b", "g2", ""])):
        desk = Desk(*policy)
        assert desk.request(16, version, {})[0] == "forward"
        treatment, answer = desk.response(16, version, everything)
        assert [group["group_id"] for group in answer["groups"]] == shown
        assert (treatment == "forward") == (len(shown) == 5)
        assert desk.denied() == [], "a hidden name is not a refusal"


def test_a_forbidden_group_is_hidden_from_who_may_describe_the_cluster() -> None:
    desk = Desk("describe cluster kafka-cluster", forbid=("describe group secret",), ask=("describe group asked",))
    desk.request(16, 5, {"states_filter": ["Stable"], "types_filter": []})
    _, answer = desk.response(16, 5, {"error_code": 15, "throttle_time_ms": 7, "groups": [
        {"group_id": "secret"}, {"group_id": "a", "_tags": [(9, b"x")]}, {"group_id": "asked"}]})
    assert [group["group_id"] for group in answer["groups"]] == ["a"]
    assert (answer["error_code"], answer["throttle_time_ms"], answer["groups"][0]["_tags"]) == (15, 7, [(9, b"x")])


def test_observing_hides_nothing() -> None:
    desk = Desk(observe=True)
    desk.request(16, 5, {})
    assert desk.response(16, 5, {"groups": [{"group_id": "a"}]})[0] == "forward"
    assert desk.request(42, 2, {"groups_names": ["a"]})[0] == "forward"
    assert desk.denied() == [("delete", "group", "a")]


@pytest.mark.parametrize("version", spanning(42))
def test_groups_are_deleted_one_by_one(version: int) -> None:
    desk = Desk("delete group mine*", "read group *", "describe group *")
    assert desk.request(42, version, {"groups_names": ["mine1"]})[0] == "forward"
    treatment, sent = desk.request(42, version, {"groups_names": ["x", "mine1", "x", "mine2"]})
    assert treatment == "replace" and sent["groups_names"] == ["mine1", "mine2"]
    assert desk.denied() == [("delete", "group", "x")] * 2
    words = [{"error_message": text} for text in (None, "not empty", "nothing allows it")] if version >= 3 else [{}] * 3
    broker = [{"group_id": "mine1", "error_code": 0, **words[0]}, {"group_id": "mine2", "error_code": 68, **words[1]}]
    refused = {"group_id": "x", "error_code": 30, **words[2]}
    _, answer = desk.response(42, version, {"results": broker})
    assert answer["results"] == [*broker, refused, refused]
    treatment, answer = desk.request(42, version, {"groups_names": ["x"]})
    assert treatment == "answer" and answer["results"] == [refused]
    assert desk.request(42, version, {"groups_names": []})[0] == "forward"


def offsets_of(*names: str, group: str = "g") -> dict[str, Any]:
    return {"group_id": group, "topics": [{"name": name, "partitions": [{"partition_index": at} for at in (0, 4)]}
                                          for name in names]}


def deleted(*codes: tuple[str, int]) -> list[dict[str, Any]]:
    return [{"name": name, "partitions": [{"partition_index": at, "error_code": code} for at in (0, 4)]}
            for name, code in codes]


def test_offsets_are_deleted_by_who_may_delete_the_group_and_read_the_topic() -> None:
    desk = Desk("delete group g", "read topic open*")
    assert desk.request(47, 0, offsets_of("open1"))[0] == "forward"
    treatment, sent = desk.request(47, 0, offsets_of("shut", "open1", "open2"))
    assert (treatment, sent) == ("replace", offsets_of("open1", "open2"))
    _, answer = desk.response(47, 0, {"error_code": 0, "topics": deleted(("open1", 0), ("open2", 86))})
    assert (answer["error_code"], answer["topics"]) == (0, deleted(("open1", 0), ("open2", 86), ("shut", 29)))
    treatment, answer = desk.request(47, 0, offsets_of("shut"))
    assert (treatment, answer["error_code"], answer["topics"]) == ("answer", 0, deleted(("shut", 29)))


def test_a_group_one_may_not_delete_keeps_its_offsets() -> None:
    desk = Desk("read group g", "read topic *")
    treatment, answer = desk.request(47, 0, offsets_of("open1"))
    assert (treatment, answer["error_code"], answer["topics"]) == ("answer", 30, [])
    assert desk.denied() == [("delete", "group", "g")], "no topic is asked about any more"


def test_a_brokers_error_for_the_whole_request_stands_alone() -> None:
    """As a broker merges its own refusals: none are told where the group could not be dealt with."""
    desk = Desk("delete group g", "read topic open*")
    desk.request(47, 0, offsets_of("shut", "open1"))
    treatment, answer = desk.response(47, 0, {"error_code": 69, "topics": []})
    assert (treatment, answer["error_code"], answer["topics"]) == ("forward", 69, [])


@pytest.mark.parametrize(("api", "version", "field"), [(15, 5, "groups"), (42, 2, "groups_names")])
@pytest.mark.parametrize("bad", [b"\x00", b"\x02\x00", b"\x03\x02g"])
def test_null_arrays_null_names_and_wrong_counts_end_the_connection(api: int, version: int, field: str,
                                                                    bad: bytes) -> None:
    desk = Desk("describe group *", "delete group *")
    frame = frames.request(api, version, CORRELATION, {field: []})[4:]
    tail = b"\x00\x00" if api == 15 else b"\x00"
    assert frame.endswith(b"\x01" + tail) and desk.opened.request(frame)[0] == "forward"
    with pytest.raises(WireError):
        desk.opened.request(frame[:-len(tail) - 1] + bad + tail)


def test_offset_delete_has_no_tags() -> None:
    """Never flexible: a tag section behind the body is bytes that nobody would read."""
    desk = Desk("delete group g", "read topic *")
    frame = frames.request(47, 0, CORRELATION, offsets_of("a"))[4:]
    assert desk.opened.request(frame)[0] == "forward"
    with pytest.raises(WireError):
        desk.opened.request(frame + b"\x00")
