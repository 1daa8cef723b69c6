"""Row 75 of the protocol table: pages of topics that neither show nor count what is hidden."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.desk import Desk, id_of
from tests.support.topic_pages import Catalogue, asking, topic

READ_AND_DESCRIBE = 1 << 3 | 1 << 8


def ask(desk: Desk, broker: Catalogue, asked: dict[str, Any]) -> dict[str, Any]:
    """What the client is answered; the names of all topics are known to the desk."""
    desk.addresses.topic_ids.teach_all(broker.topics)
    treatment, out = desk.request(75, 0, asked)
    if treatment == "answer":
        return {field: out[field] for field in ("topics", "next_cursor")}
    assert treatment in ("forward", "replace")
    answer = desk.response(75, 0, broker.page(out))[1]
    return {field: answer[field] for field in ("topics", "next_cursor")}


def names(answer: dict[str, Any]) -> list[tuple[str, int]]:
    return [(one["name"], one["error_code"]) for one in answer["topics"]]


def test_named_topics_are_described_refused_or_not_there() -> None:
    desk = Desk("describe topic open*", "read topic open*")
    broker = Catalogue({"open1": 2, "shut": 3})
    answer = ask(desk, broker, asking("open1", "shut", "open9", "also-shut"))
    assert broker.asked == [asking("open1", "open9")] and "shut" not in repr(broker.asked)
    assert answer == {"next_cursor": None, "topics": [
        topic("open1", range(2), operations=READ_AND_DESCRIBE), topic("open9", error=3, operations=READ_AND_DESCRIBE),
        topic("also-shut", error=29), topic("shut", error=29)]}
    assert answer["topics"][0]["partitions"][1]["eligible_leader_replicas"] == [2]
    assert answer["topics"][3]["topic_id"] == bytes(16), "as Kafka has it, a refused topic has no id"


def test_nothing_is_asked_of_a_broker_where_nothing_may_be_seen() -> None:
    """An empty list would be a request for all."""
    desk, broker = Desk("describe topic open*"), Catalogue({"shut": 1})
    assert names(ask(desk, broker, asking("shut", "shut"))) == [("shut", 29)]
    assert ask(desk, broker, asking()) == {"topics": [], "next_cursor": None} and broker.asked == []
    assert desk.denied() == [], "what nobody named is no refusal"


def test_t33_pages_of_all_are_complete_and_as_long_as_what_may_be_seen() -> None:
    """5,000 topics of which one is visible, at either end, in the middle; then every hundredth."""
    topics = {f"t{number:04}": 1 + number % 3 for number in range(5000)}
    for shown in (["t0000"], ["t2500"], ["t4999"], [f"t{number:04}" for number in range(0, 5000, 100)]):
        desk, broker = Desk(*(f"describe topic {name}" for name in shown)), Catalogue(topics)
        found: list[tuple[str, int]] = []
        cursor: Any = None
        pages = []
        while cursor is not None or not pages:
            answer = ask(desk, broker, asking(limit=4, cursor=cursor))
            pages.append(sum(len(one["partitions"]) for one in answer["topics"]))
            found += [(one["name"], part["partition_index"]) for one in answer["topics"] for part in one["partitions"]]
            cursor = answer["next_cursor"] and tuple(answer["next_cursor"].values())
        assert found == [(name, index) for name in shown for index in range(topics[name])]
        assert set(pages[:-1]) <= {4}, "only the last page may be short"
        assert {one["name"] for asked in broker.asked for one in asked["topics"]} == set(shown)


def test_a_cursor_that_names_a_hidden_topic_is_a_place_like_any_other() -> None:
    """Whatever is asked about the hidden name is answered as about a name that was made up."""
    answers = []
    for name in ("m-hidden", "m-madeup"):
        for partition in (0, 1, 7):
            desk = Desk("describe topic open*", "describe topic zoo")
            broker = Catalogue({"m-hidden": 3, "open1": 2, "zoo": 1, "a-hidden": 1})
            answers.append([ask(desk, broker, asking(cursor=(name, partition))),
                            ask(desk, broker, asking("open1", name, "zoo", cursor=(name, partition)))])
            assert name not in repr(broker.asked)
            answers[-1][1]["topics"] = [one for one in answers[-1][1]["topics"] if one["name"] != name]
    assert all(answer == answers[0] for answer in answers)
    assert names(answers[0][0]) == names(answers[0][1]) == [("open1", 0), ("zoo", 0)]


@pytest.mark.parametrize("cursor", [("open1", -1), ("shut", 0), ("nowhere", 0)])
def test_a_cursor_that_is_none_is_refused_before_anything_is_looked_at(cursor: tuple[str, int]) -> None:
    desk, broker = Desk("describe topic open*"), Catalogue({"open1": 2, "shut": 3})
    asked = asking("open1", "open2", "hidden", cursor=cursor)
    assert ask(desk, broker, asked) == broker.page(asked)
    assert names(ask(desk, broker, asked)) == [("open1", 42), ("open2", 42), ("hidden", 42)] and desk.denied() == []


def test_pages_of_all_go_on_where_a_broker_was_asked_for_no_more() -> None:
    """Topics that went in between leave a page short, which must not look like the end."""
    everything = [f"t{number:04}" for number in range(2500)]
    desk = Desk("describe topic *")
    desk.addresses.topic_ids.teach_all(everything)
    _, sent = desk.request(75, 0, asking(limit=2_000_000))
    assert [one["name"] for one in sent["topics"]] == everything[:2000], "each has a partition at least"
    left = Catalogue({"t0007": 1, "t2100": 1})
    answer = desk.response(75, 0, left.page(sent))[1]
    assert names(answer) == [("t0007", 0)] and answer["next_cursor"] == {"topic_name": "t2000", "partition_index": 0}


def test_what_may_not_be_seen_when_the_answer_comes_is_not() -> None:
    """Neither its name nor as the place where the next page begins."""
    for everything in (True, False):
        desk = Desk("describe topic *")
        desk.addresses.topic_ids.teach_all(["a", "b", "c", "d"])
        broker = Catalogue({"a": 1, "b": 1, "c": 2, "d": 1})
        _, sent = desk.request(75, 0, asking(*([] if everything else "abcd"), limit=3))
        desk.allow[:] = ["describe topic a", "describe topic d"]
        desk.opened.forget_decisions()
        answer = desk.response(75, 0, broker.page(sent))[1]
        assert names(answer) == [("a", 0)] + ([] if everything else [("b", 29), ("c", 29)])
        assert answer["next_cursor"] == {"topic_name": "d", "partition_index": 0}
        assert all(one["topic_id"] == bytes(16) for one in answer["topics"][1:])


def test_a_broker_that_names_what_it_was_not_asked_for_shows_nothing() -> None:
    desk = Desk("describe topic open*")
    desk.request(75, 0, asking("open1"))
    answer = desk.response(75, 0, {"topics": [topic("shut", range(2)), topic("open1", range(1))],
                                   "next_cursor": {"topic_name": "shut", "partition_index": 5}})[1]
    assert names(answer) == [("open1", 0), ("shut", 29)] and answer["topics"][1]["partitions"] == []
    assert answer["next_cursor"] is None


def test_of_all_topics_those_are_left_out_that_the_broker_does_not_show() -> None:
    """They are gone, or the account that the broker knows the client by may not see them."""
    desk = Desk("describe topic *")
    desk.addresses.topic_ids.teach_all(["a", "b", "c"])
    answers = {}
    for everything in (True, False):
        desk.request(75, 0, asking(*([] if everything else "abc")))
        answers[everything] = names(desk.response(75, 0, {"next_cursor": None, "topics": [
            topic("a", error=29), topic("b", error=3), topic("c", error=-1)]})[1])
    assert answers == {True: [("c", -1)], False: [("a", 29), ("b", 3), ("c", -1)]}


def test_without_the_names_of_all_there_is_no_answer() -> None:
    desk = Desk("describe topic *")
    assert desk.addresses.topic_ids.everything is None
    assert desk.request(75, 0, asking()) == ("close", None) and desk.opened.cause == "broker_unreachable"
    assert desk.request(75, 0, asking("t"))[0] == "forward"


def test_answers_teach_the_names_of_ids_before_anything_is_hidden() -> None:
    desk = Desk("describe topic open*")
    ask(desk, Catalogue({"open1": 1}), asking("open1"))
    assert desk.addresses.topic_ids.name(id_of("open1")) == "open1"


def test_internal_topics_are_for_who_may_alter_the_cluster() -> None:
    broker = Catalogue({"__consumer_offsets": 1, "open": 1})
    assert names(ask(Desk("describe topic *"), broker, asking())) == [("open", 0)]
    seen = ask(Desk("describe topic *", "alter cluster kafka-cluster"), broker, asking())
    assert names(seen) == [("__consumer_offsets", 0), ("open", 0)]


def test_unknown_tags_and_bytes_go_on_as_they_came() -> None:
    """What is cut out of a request leaves its neighbours as they were."""
    desk = Desk("describe topic open*")
    values = asking("open1", "shut", cursor=("open1", 0))
    values["topics"][0]["_tags"] = [(9, b"kept")]
    values["cursor"]["_tags"] = [(5, b"kept too")]
    sent = desk.request(75, 0, values)[1]
    assert sent["topics"] == [values["topics"][0]] and sent["cursor"] == values["cursor"]
