"""Row 20 of the protocol table where topics are named by id (DeleteTopics 6), and what a deletion makes forgotten."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.desk import Desk, id_of


def by_id(*items: tuple[str | None, bytes]) -> dict[str, Any]:
    return {"topics": [{"name": name, "topic_id": topic_id} for name, topic_id in items], "timeout_ms": 9}


def told(answer: dict[str, Any]) -> list[tuple[str | None, bytes, int]]:
    return [(one["name"], one["topic_id"], one["error_code"]) for one in answer["responses"]]


OPEN, SEEN, SHUT, GONE, NO_ID = id_of("open"), id_of("seen"), id_of("shut"), b"g" * 16, bytes(16)


def deleting() -> Desk:
    desk = Desk("delete topic open", "describe topic open", "describe topic seen")
    desk.teach(open=OPEN, seen=SEEN, shut=SHUT)
    return desk


def test_t46_a_hidden_topic_is_named_by_nobody() -> None:
    desk = deleting()
    asked = by_id((None, SHUT), (None, GONE), (None, OPEN), ("shut", NO_ID), (None, SEEN), ("open2", NO_ID))
    assert desk.request(20, 6, asked) == ("wait", None) and desk.opened.unknown == [GONE]
    desk.opened.looked_up()
    treatment, sent = desk.request(20, 6, asked)
    assert treatment == "replace" and [(one["name"], one["topic_id"]) for one in sent["topics"]] == [(None, OPEN)]
    _, answer = desk.response(20, 6, {"responses": [{"name": "open", "topic_id": OPEN, "error_code": 0}]})
    assert told(answer) == [("open", OPEN, 0), (None, SHUT, 29), (None, GONE, 100), ("shut", NO_ID, 29),
                            ("seen", SEEN, 29), ("open2", NO_ID, 29)]
    assert desk.addresses.topic_ids.name(OPEN) is None, "it is deleted"
    assert desk.addresses.topic_ids.name(SHUT) == "shut"


@pytest.mark.parametrize("wrong", [("open", OPEN), ("shut", OPEN), ("open", GONE), (None, NO_ID)])
def test_a_topic_with_name_and_id_or_neither_refuses_all(wrong: tuple[str | None, bytes]) -> None:
    desk = deleting()
    asked = by_id((None, OPEN), wrong)
    desk.request(20, 6, asked)
    desk.opened.looked_up()
    treatment, answer = desk.request(20, 6, asked)
    assert treatment == "answer" and told(answer) == [(None, OPEN, 42), (*wrong, 42)]


def test_too_many_of_them_are_not_answered() -> None:
    desk = deleting()
    assert desk.request(20, 6, by_id(*[("open", OPEN)] * 65537)) == ("close", None)
    assert desk.opened.cause == "malformed_request"


def test_an_id_named_twice_is_refused_once_and_a_name_beside_it_is_not_told_to_be_the_same() -> None:
    desk = deleting()
    treatment, answer = desk.request(20, 6, by_id((None, OPEN), (None, OPEN), ("shut", NO_ID), (None, SHUT)))
    assert treatment == "answer"
    assert told(answer) == [("open", OPEN, 42), ("shut", NO_ID, 29), (None, SHUT, 29)]
    assert desk.request(20, 6, by_id((None, OPEN), ("open", NO_ID)))[0] == "forward", "the broker says what it is"


def test_a_name_that_may_no_longer_be_told_is_taken_out() -> None:
    desk = deleting()
    desk.request(20, 6, by_id((None, OPEN)))
    desk.allow.clear()
    desk.opened.forget_decisions()
    broker = {"responses": [{"name": "open", "topic_id": OPEN, "error_code": 73, "error_message": "open is disabled"}]}
    _, answer = desk.response(20, 6, broker)
    assert told(answer) == [(None, OPEN, 73)] and answer["responses"][0]["error_message"] is None


@pytest.mark.parametrize("version", range(1, 6))
def test_older_answers_forget_by_name(version: int) -> None:
    desk = deleting()
    desk.request(20, version, {"topic_names": ["open"], "timeout_ms": 9})
    desk.response(20, version, {"responses": [{"name": "open", "error_code": 0}]})
    assert [desk.addresses.topic_ids.name(one) for one in (OPEN, SHUT)] == [None, "shut"]
