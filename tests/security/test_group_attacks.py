"""What a client that means harm asks of groups and transactions, and what a broker that lies answers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import frames
from tests.support.desk import CORRELATION, Desk

TX = {"transactional_id": "tx", "group_id": "g", "producer_id": 1, "producer_epoch": 0}
MOST_REFUSED = 1 << 16


def added(*topics: tuple[str, list[int]], transaction: str = "tx") -> dict[str, Any]:
    return {"v3_and_below_transactional_id": transaction, "v3_and_below_producer_id": 1,
            "v3_and_below_producer_epoch": 0,
            "v3_and_below_topics": [{"name": name, "partitions": indexes} for name, indexes in topics]}


def offsets_asked(version: int, partitions: int) -> dict[str, Any]:
    topics = [{"name": "t", "partition_indexes": list(range(partitions))}]
    return {"groups": [{"group_id": "g", "topics": topics}]} if version >= 8 else {"group_id": "g", "topics": topics}


def many(api: int, version: int, count: int) -> dict[str, Any]:
    """A request with about this many things to refuse, four bytes each where the protocol allows it."""
    half = list(range(count // 2))
    return {
        9: offsets_asked(version, count),
        10: {"key_type": 0, "coordinator_keys": ["g"] * count},
        15: {"groups": ["g"] * count},
        24: added(("t", half), ("u", half)),
        28: {**TX, "topics": [{"name": "t", "partitions": []}] * count},
        42: {"groups_names": ["g"] * count},
    }[api]


@pytest.mark.parametrize(("api", "version"), [(9, 1), (9, 7), (9, 8), (10, 4), (15, 5), (24, 0), (24, 3), (28, 4),
                                              (42, 2)])
def test_a_few_bytes_do_not_buy_a_refusal_of_hundreds_of_megabytes(api: int, version: int) -> None:
    """A refusal costs hundreds of times the four bytes that may ask for it, and the whole worker waits for it."""
    group = "describe group g" if api == 9 else "read group none"
    desk = Desk(group, "write transactional_id tx", "read group g" if api == 28 else group)
    frame = frames.request(api, version, CORRELATION, many(api, version, MOST_REFUSED + 2))[4:]
    assert desk.opened.request(frame) == ("close", None)
    assert desk.opened.cause == "malformed_request"
    frame = frames.request(api, version, CORRELATION, many(api, version, 1000))[4:]
    assert desk.opened.request(frame)[0] in ("answer", "replace"), "a refusal of one frame is not held against the next"


def test_what_is_allowed_may_name_as_much_as_it_likes() -> None:
    desk = Desk("write transactional_id tx", "write topic t", "write topic u")
    frame = frames.request(24, 3, CORRELATION, many(24, 3, 4 * MOST_REFUSED))[4:]
    assert desk.opened.request(frame) == ("forward", frame)


def test_a_broker_that_describes_a_hidden_group_is_not_passed_on() -> None:
    """Or policy changed while the broker thought: the answer is authorised as the request was."""
    desk = Desk("describe group mine")
    members = [{"member_id": "m", "client_host": "/10.0.0.9", "member_metadata": b"secret-topic"}]
    desk.request(15, 6, {"groups": ["mine", "hidden", "mine"], "include_authorized_operations": True})
    _, answer = desk.response(15, 6, {"groups": [
        {"group_id": name, "group_state": "Stable", "error_message": "of secret-topic", "members": members,
         "authorized_operations": 4095} for name in ("hidden", "mine")]})
    hidden, mine, refused = answer["groups"]
    assert [one["error_code"] for one in (hidden, mine, refused)] == [30, 0, 30]
    assert hidden == refused
    assert (hidden["group_id"], hidden["members"], hidden["group_state"]) == ("hidden", [], "")
    assert (mine["members"][0]["member_id"], mine["authorized_operations"]) == ("m", 1 << 8)


def test_a_denied_topic_without_partitions_still_refuses_the_step() -> None:
    desk = Desk("write transactional_id tx", "write topic open", "read group g", "read topic open", "delete group g")
    treatment, answer = desk.request(24, 3, added(("shut", []), ("open", [0])))
    assert treatment == "answer"
    assert answer["results_by_topic_v3_and_below"] == [
        {"name": "shut", "results_by_partition": []},
        {"name": "open", "results_by_partition": [{"partition_index": 0, "partition_error_code": 55}]}]
    for api, version, values in ((28, 4, TX), (47, 0, {"group_id": "g"})):
        topics = [{"name": "shut", "partitions": []}, {"name": "open", "partitions": [{"partition_index": 0}]}]
        treatment, sent = desk.request(api, version, {**values, "topics": topics})
        assert treatment == "replace" and [topic["name"] for topic in sent["topics"]] == ["open"]


@pytest.mark.parametrize(("api", "version", "values"), [
    (25, 4, TX), (26, 4, {"transactional_id": "tx", "committed": True}), (42, 2, {"groups_names": ["tx"]}),
    (15, 5, {"groups": ["tx"]})])
@pytest.mark.parametrize("name", [b"\xff\xfe", b"tx\x00", b"t\xc0\xf8"])
def test_names_that_are_no_text_match_no_pattern(api: int, version: int, values: dict[str, Any], name: bytes) -> None:
    """Neither refused with a crash nor taken for the name they resemble."""
    desk = Desk("write transactional_id tx", "delete group tx", "describe group tx", "read group g")
    frame = frames.request(api, version, CORRELATION, values)[4:]
    assert desk.opened.request(frame)[0] == "forward"
    assert frame.count(b"\x03tx") == 1
    harmed = frame.replace(b"\x03tx", bytes([len(name) + 1]) + name)
    treatment, answer = desk.opened.request(harmed)
    assert treatment == "answer"
    assert answer is not None
    code = b"\x00\x35" if api in (25, 26) else b"\x00\x1e"
    assert code in answer


def test_a_listed_groups_unknown_tags_go_where_the_group_goes() -> None:
    desk = Desk("describe group mine")
    desk.request(16, 5, {})
    treatment, answer = desk.response(16, 5, {"groups": [
        {"group_id": "hidden", "_tags": [(7, b"canary")]}, {"group_id": "mine", "_tags": [(7, b"kept")]}]})
    assert treatment == "replace"
    assert [(one["group_id"], one["_tags"]) for one in answer["groups"]] == [("mine", [(7, b"kept")])]
