"""Rows 68 and 69 of the protocol table, every served version."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.desk import Desk, spanning

NOT_ASKED = -(2**31)


def beat(*topics: str, group: str = "g1", **values: Any) -> dict[str, Any]:
    return {"group_id": group, "member_id": "m", "member_epoch": 0, "rebalance_timeout_ms": 9, "topic_partitions": [],
            "subscribed_topic_names": list(topics), **values}


@pytest.mark.parametrize("version", spanning(68))
def test_a_member_reads_the_group_and_describes_what_it_subscribes_to(version: int) -> None:
    desk = Desk("read group g*", "describe topic open*")
    assert desk.request(68, version, beat("open1", "open2"))[0] == "forward"
    assert desk.request(68, version, beat(subscribed_topic_names=None))[0] == "forward", "nothing has changed since"
    treatment, answer = desk.request(68, version, beat("open1", group="other"))
    assert (treatment, answer["error_code"]) == ("answer", 30) and desk.denied() == [("read", "group", "other")]
    treatment, answer = desk.request(68, version, beat("open1", "shut", "open2"))
    assert (treatment, answer["error_code"]) == ("answer", 29) and desk.denied() == [("describe", "topic", "shut")]
    assert (answer["member_id"], answer["assignment"]) == (None, None)
    treatment, answer = desk.request(68, version, beat("__consumer_offsets"))
    assert (treatment, answer["error_code"]) == ("answer", 29)
    assigned = {"member_id": "m", "member_epoch": 3, "heartbeat_interval_ms": 5, "assignment": {"topic_partitions": [
        {"topic_id": b"i" * 16, "partitions": [0, 1]}]}}
    assert desk.response_after(68, version, beat("open1"), assigned)[0] == "forward"


@pytest.mark.parametrize(("pattern", "treatment"), [(None, "forward"), ("", "forward"), ("open.*", "answer"),
                                                    (".*", "answer")])
def test_a_pattern_is_not_matched_with_the_account_of_kproxy(pattern: str | None, treatment: str) -> None:
    """T19: the broker would match it against every topic that its client, which is kproxy, may describe."""
    desk = Desk("read group g*", "describe topic *")
    found, answer = desk.request(68, 1, beat("open1", subscribed_topic_regex=pattern))
    assert found == treatment
    if treatment == "answer":
        assert answer["error_code"] == 128 and "by pattern" in answer["error_message"]


def member(*topics: str, assigned: str = "", target: str = "", pattern: str | None = None,
           version: int = 0) -> dict[str, Any]:
    def held(name: str) -> dict[str, Any]:
        return {"topic_partitions": [{"topic_id": b"i" * 16, "topic_name": name, "partitions": [0]}] if name else []}

    return {"member_id": "m", "instance_id": None, "rack_id": None, "member_epoch": 4, "client_id": "c",
            "client_host": "/10.0.0.9", "subscribed_topic_names": list(topics), "subscribed_topic_regex": pattern,
            "assignment": held(assigned), "target_assignment": held(target),
            **({"member_type": 1} if version else {})}


def group(name: str, *members: dict[str, Any], operations: int = NOT_ASKED) -> dict[str, Any]:
    return {"error_code": 0, "error_message": None, "group_id": name, "group_state": "Stable", "group_epoch": 3,
            "assignment_epoch": 3, "assignor_name": "uniform", "members": list(members),
            "authorized_operations": operations}


def refused(name: str, code: int, message: str | None = None) -> dict[str, Any]:
    return {"error_code": code, "error_message": message, "group_id": name, "group_state": "", "group_epoch": 0,
            "assignment_epoch": 0, "assignor_name": "", "members": [], "authorized_operations": NOT_ASKED}


@pytest.mark.parametrize("version", spanning(69))
def test_a_group_is_shown_if_all_it_names_may_be(version: int) -> None:
    desk = Desk("describe group g*", "describe topic open*")
    asked = {"group_ids": ["g1", "other", "g2", "g3", "g4"], "include_authorized_operations": False}
    treatment, sent = desk.request(69, version, asked)
    assert treatment == "replace" and sent["group_ids"] == ["g1", "g2", "g3", "g4"]
    fine = member("open1", assigned="open1", target="open2", version=version)
    groups = [group("g1", fine, fine), group("g2", fine, member("open1", "shut", version=version)),
              group("g3", member("open1", assigned="shut", version=version)),
              group("g4", member("open1", target="shut", version=version))]
    _, answer = desk.response(69, version, {"groups": groups})
    hidden = "The group has described topic(s) that the client is not authorized to describe."
    assert answer["groups"] == [group("g1", fine, fine), *(refused(name, 29, hidden) for name in ("g2", "g3", "g4")),
                                refused("other", 30)]
    assert "shut" not in repr(answer)


@pytest.mark.parametrize("version", spanning(69))
def test_a_members_pattern_and_the_brokers_operations_are_not_shown(version: int) -> None:
    """T45 for these groups."""
    desk = Desk("describe group g*", "read group g*", "describe topic open*")
    answer = desk.response_after(69, version, {"group_ids": ["g1"], "include_authorized_operations": True}, {
        "groups": [group("g1", member("open1", pattern="secret.*", version=version), operations=0x7FF)]})[1]
    assert answer["groups"][0]["members"][0]["subscribed_topic_regex"] is None and "secret" not in repr(answer)
    assert answer["groups"][0]["authorized_operations"] == 1 << 3 | 1 << 8


def test_a_group_that_may_no_longer_be_described_is_refused() -> None:
    desk = Desk("describe group *", "describe topic *")
    asked = {"group_ids": ["g1"], "include_authorized_operations": False}
    assert desk.request(69, 0, asked)[0] == "forward"
    desk.allow.clear()
    desk.opened.forget_decisions()
    _, answer = desk.response(69, 0, {"groups": [group("g1", member("t"))]})
    assert answer["groups"] == [refused("g1", 30)]
