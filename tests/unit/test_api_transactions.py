"""Rows 22 to 28 of the protocol table: what the broker is asked in a transaction, what the client is told."""

from __future__ import annotations

from typing import Any

import pytest

from kproxy._ext import schema
from kproxy._ext.apis import SERVED
from kproxy.errors import WireError
from tests.support import frames
from tests.support.desk import CORRELATION, Desk, id_of, spanning

MAY_ALL = ("write transactional_id tx-*", "read group g*", "read topic open*", "write topic open*")


def added(*names: str, transaction: str = "tx-1") -> dict[str, Any]:
    return {"v3_and_below_transactional_id": transaction, "v3_and_below_producer_id": 7,
            "v3_and_below_producer_epoch": 1,
            "v3_and_below_topics": [{"name": name, "partitions": [0, 4]} for name in names]}


def results(*codes: tuple[str, int]) -> list[dict[str, Any]]:
    return [{"name": name, "results_by_partition": [{"partition_index": at, "partition_error_code": code}
                                                    for at in (0, 4)]} for name, code in codes]


def committed(*names: str, transaction: str = "tx-1", group: str = "g1") -> dict[str, Any]:
    return {"transactional_id": transaction, "group_id": group, "producer_id": 7, "producer_epoch": 1, "topics": [
        {"name": name, "partitions": [{"partition_index": at, "committed_offset": 5, "committed_metadata": None}
                                      for at in (0, 4)]} for name in names]}


def commits(*codes: tuple[str, int]) -> list[dict[str, Any]]:
    return [{"name": name, "partitions": [{"partition_index": at, "error_code": code} for at in (0, 4)]}
            for name, code in codes]


def test_both_kinds_of_transactions_are_served_and_what_is_between_brokers_is_not() -> None:
    assert {api: SERVED[api] for api in (24, 25, 26, 28)} == {24: (0, 3), 25: (0, 4), 26: (0, 5), 28: (0, 6)}


def test_the_epoch_that_the_end_of_a_transaction_gives_reaches_the_producer() -> None:
    desk = Desk(*MAY_ALL)
    desk.request(26, 5, {"transactional_id": "tx-1", "producer_id": 7, "producer_epoch": 1, "committed": True})
    assert desk.response(26, 5, {"error_code": 0, "producer_id": 7, "producer_epoch": 2})[0] == "forward"


@pytest.mark.parametrize("version", spanning(24))
def test_partitions_are_added_all_or_none(version: int) -> None:
    desk = Desk(*MAY_ALL)
    assert desk.request(24, version, added("open1", "open2"))[0] == "forward"
    treatment, _ = desk.response(24, version, {"results_by_topic_v3_and_below": results(("open1", 3), ("open2", 55))})
    assert treatment == "forward", "a broker's own refusal goes on as it came"
    treatment, answer = desk.request(24, version, added("open1", "shut", "open2", "shut"))
    assert treatment == "answer"
    told = sorted(answer["results_by_topic_v3_and_below"], key=lambda topic: str(topic["name"]))
    assert told == results(("open1", 55), ("open2", 55), ("shut", 29), ("shut", 29))
    assert desk.denied() == [("write", "topic", "shut")] * 2, "each occurrence is authorised"
    treatment, answer = desk.request(24, version, added("shut"))
    assert (treatment, answer["results_by_topic_v3_and_below"]) == ("answer", results(("shut", 29)))


@pytest.mark.parametrize("version", spanning(24))
def test_a_foreign_transaction_adds_nothing(version: int) -> None:
    desk = Desk(*MAY_ALL)
    treatment, answer = desk.request(24, version, added("open1", "shut", transaction="other"))
    assert treatment == "answer"
    assert answer["results_by_topic_v3_and_below"] == results(("open1", 53), ("shut", 53))
    assert desk.denied() == [("write", "transactional_id", "other")]
    treatment, answer = desk.request(24, version, added(transaction="other"))
    assert (treatment, answer["results_by_topic_v3_and_below"]) == ("answer", [])


@pytest.mark.parametrize("name", ["__consumer_offsets", "__transaction_state", "__share_group_state"])
def test_kafkas_own_topics_are_in_nobodys_transaction(name: str) -> None:
    for desk in (Desk("write transactional_id *", "write topic *", "alter cluster kafka-cluster"), Desk(observe=True)):
        treatment, answer = desk.request(24, 3, added("open", name))
        assert (treatment, answer["results_by_topic_v3_and_below"]) == ("answer", results((name, 29), ("open", 55)))
        assert ("write", "topic", name) in desk.denied()


@pytest.mark.parametrize("version", spanning(25))
def test_offsets_are_added_for_a_group_one_may_read(version: int) -> None:
    desk = Desk(*MAY_ALL)
    values = {"transactional_id": "tx-1", "producer_id": 7, "producer_epoch": 1, "group_id": "g1"}
    assert desk.request(25, version, values)[0] == "forward"
    assert desk.response(25, version, {"error_code": 31000})[0] == "forward"
    for change, code in (({"transactional_id": "other"}, 53), ({"group_id": "x"}, 30),
                         ({"transactional_id": "other", "group_id": "x"}, 53)):
        treatment, answer = desk.request(25, version, {**values, **change})
        assert (treatment, answer["error_code"]) == ("answer", code), change
    assert desk.denied() == [("write", "transactional_id", "other")], "the group is not asked about any more"


@pytest.mark.parametrize("version", spanning(26))
@pytest.mark.parametrize("commits_it", [True, False])
def test_only_its_owner_ends_a_transaction(version: int, commits_it: bool) -> None:
    desk = Desk("write transactional_id tx-*", "describe transactional_id seen")
    values = {"producer_id": 7, "producer_epoch": 1, "committed": commits_it}
    assert desk.request(26, version, {"transactional_id": "tx-1", **values})[0] == "forward"
    for name in ("seen", "other", ""):
        treatment, answer = desk.request(26, version, {"transactional_id": name, **values})
        assert (treatment, answer["error_code"]) == ("answer", 53), name


@pytest.mark.parametrize("version", spanning(28))
def test_offsets_in_a_transaction(version: int) -> None:
    desk = Desk(*MAY_ALL)
    assert desk.request(28, version, committed("open1"))[0] == "forward"
    treatment, sent = desk.request(28, version, committed("open1", "shut", "open2"))
    assert treatment == "replace"
    assert [topic["name"] for topic in sent["topics"]] == ["open1", "open2"]
    assert (sent["transactional_id"], sent["group_id"], sent["producer_id"]) == ("tx-1", "g1", 7)
    treatment, answer = desk.response(28, version, {"topics": commits(("open1", 0), ("open2", 31000))})
    assert answer["topics"] == commits(("open1", 0), ("open2", 31000), ("shut", 29))
    treatment, answer = desk.request(28, version, committed("shut"))
    assert (treatment, answer["topics"]) == ("answer", commits(("shut", 29)))


def test_offsets_for_an_unknown_id_are_100_beside_good_and_denied_ones() -> None:
    """T30."""
    desk = Desk(*MAY_ALL)
    desk.teach(open=id_of("open"), shut=id_of("shut"))
    gone = b"g" * 16
    values = committed("", "", "")
    for topic, topic_id in zip(values["topics"], (gone, id_of("open"), id_of("shut")), strict=True):
        del topic["name"]
        topic["topic_id"] = topic_id
    frame = frames.request(28, 6, CORRELATION, values)[4:]
    assert desk.opened.request(frame) == ("wait", None) and desk.opened.unknown == [gone]
    desk.opened.looked_up()
    treatment, sent = desk.opened.request(frame)
    assert treatment == "replace" and sent is not None and gone not in sent and id_of("shut") not in sent
    _, out = desk.opened.response(frames.response(28, 6, CORRELATION, {"topics": [
        {"topic_id": id_of("open"), "partitions": [{"partition_index": at, "error_code": 0} for at in (0, 4)]}]})[4:])
    assert out is not None
    answer = schema.parse(28, 6, True, out[5:])
    assert [(one["topic_id"], [each["error_code"] for each in one["partitions"]]) for one in answer["topics"]] == [
        (id_of("open"), [0, 0]), (gone, [100, 100]), (id_of("shut"), [29, 29])]


@pytest.mark.parametrize("version", spanning(28))
def test_offsets_in_a_foreign_transaction_or_group(version: int) -> None:
    desk = Desk(*MAY_ALL)
    for values, code in ((committed("open1", "shut", transaction="other"), 53),
                         (committed("open1", "shut", group="x"), 30),
                         (committed("open1", "shut", transaction="other", group="x"), 53)):
        treatment, answer = desk.request(28, version, values)
        assert (treatment, answer["topics"]) == ("answer", commits(("open1", code), ("shut", code)))


@pytest.mark.parametrize("version", spanning(22))
def test_a_transactional_producer_is_initialised_under_its_id(version: int) -> None:
    desk = Desk("write transactional_id tx-*", "idempotent_write cluster kafka-cluster")
    assert desk.request(22, version, {"transactional_id": "tx-1"})[0] == "forward"
    treatment, answer = desk.request(22, version, {"transactional_id": "other"})
    assert treatment == "answer"
    assert (answer["error_code"], answer["producer_id"], answer["producer_epoch"]) == (53, -1, -1)


def test_observe_mode_lets_a_transaction_through_and_tells() -> None:
    desk = Desk(observe=True)
    assert desk.request(24, 3, added("t"))[0] == "forward"
    assert desk.denied() == [("write", "transactional_id", "tx-1"), ("write", "topic", "t")]
    assert desk.request(28, 3, committed("t"))[0] == "forward"
    assert desk.denied() == [("write", "transactional_id", "tx-1"), ("read", "group", "g1"), ("read", "topic", "t")]


def test_an_approval_is_asked_before_a_topic_joins_a_transaction() -> None:
    desk = Desk("write transactional_id tx-*", "write topic open", ask=("write topic scores",))
    values = added("open", "scores")
    assert desk.request(24, 3, values) == ("wait", None)
    desk.opened.answered({desk.decide("topic", "write", "scores", 0)[0].wanted: ("R-1", "pending")})
    treatment, answer = desk.request(24, 3, values)
    assert treatment == "answer", "there is no room for a text"
    assert answer["results_by_topic_v3_and_below"] == results(("scores", 29), ("open", 55))
    desk.ask, desk.allow = (), [*desk.allow, "write topic scores"]
    desk.opened.forget_decisions()
    assert desk.request(24, 3, values)[0] == "forward"


@pytest.mark.parametrize("api", [24, 28])
def test_what_is_allowed_goes_on_as_it_came_with_its_unknown_tags(api: int) -> None:
    values = added("open1") if api == 24 else committed("open1", "open2")
    topics = values["v3_and_below_topics" if api == 24 else "topics"]
    topics[0]["_tags"] = [(40, b"new")]
    desk = Desk(*MAY_ALL)
    assert desk.request(api, 3, {**values, "_tags": [(9, b"x")]})[0] == "forward"


def test_what_stays_of_a_cut_request_keeps_its_unknown_tags() -> None:
    values = committed("shut", "open1")
    values["topics"][1]["_tags"] = [(40, b"new")]
    _, sent = Desk(*MAY_ALL).request(28, 3, {**values, "_tags": [(9, b"x")]})
    assert sent["topics"][0]["_tags"] == [(40, b"new")] and sent["_tags"] == [(9, b"x")]


@pytest.mark.parametrize(("api", "version", "values", "count"), [
    (24, 3, added("open1"), 2), (25, 4, {"transactional_id": "tx-1", "group_id": "g1"}, 2),
    (26, 4, {"transactional_id": "tx-1"}, 1), (28, 4, committed("open1"), 3)])
def test_a_null_where_none_may_be_ends_the_connection(api: int, version: int, values: dict[str, Any],
                                                      count: int) -> None:
    """A transactional id, a group and an array of topics each as null, which no client sends."""
    desk = Desk("write transactional_id *", "read group *", "write topic *", "read topic *")
    frame = frames.request(api, version, CORRELATION, values)[4:]
    whole_array = frames.request(api, version, CORRELATION, {**values, **{
        name: [] for name in ("topics", "v3_and_below_topics") if name in values}})[4:]
    nulled = [frame.replace(old, b"\x00", 1) for old in (b"\x05tx-1", b"\x03g1") if old in frame]
    if whole_array != frame:
        assert whole_array.endswith(b"\x01\x00"), "an empty array, and no tags"
        assert desk.opened.request(whole_array)[0] == "forward"
        nulled.append(whole_array[:-2] + b"\x00\x00")
    assert len(nulled) == count
    for bad in nulled:
        with pytest.raises(WireError):
            desk.opened.request(bad)


# ---- what is shown of transactions under way

PRODUCER = {"producer_id": 4, "producer_epoch": 1, "last_sequence": 9, "last_timestamp": 7, "coordinator_epoch": 2,
            "current_txn_start_offset": 5}


@pytest.mark.parametrize("version", spanning(61))
def test_producers_are_shown_of_topics_one_may_read(version: int) -> None:
    desk = Desk("read topic open", "describe topic *")
    asked = {"topics": [{"name": "shut", "partition_indexes": [0, 3]}, {"name": "open", "partition_indexes": [1]}]}
    treatment, sent = desk.request(61, version, asked)
    assert treatment == "replace" and sent["topics"] == [asked["topics"][1]]
    assert desk.denied() == [("read", "topic", "shut")]
    shown = {"partition_index": 1, "error_code": 0, "error_message": None, "active_producers": [PRODUCER]}
    _, answer = desk.response(61, version, {"topics": [{"name": "open", "partitions": [shown]}]})
    assert answer["topics"] == [{"name": "open", "partitions": [shown]}, {"name": "shut", "partitions": [
        {"partition_index": index, "error_code": 29, "error_message": None, "active_producers": []}
        for index in (0, 3)]}]


def state(transactional_id: str, *topics: str, error: int = 0) -> dict[str, Any]:
    return {"error_code": error, "transactional_id": transactional_id, "transaction_state": "" if error else "Ongoing",
            "transaction_timeout_ms": 0, "transaction_start_time_ms": 0, "producer_id": 0, "producer_epoch": 0,
            "topics": [{"topic": topic, "partitions": [0]} for topic in topics]}


@pytest.mark.parametrize("version", spanning(65))
def test_a_transaction_is_described_without_the_topics_that_are_hidden(version: int) -> None:
    desk = Desk("describe transactional_id mine*", "describe topic open")
    treatment, sent = desk.request(65, version, {"transactional_ids": ["mine1", "theirs", "mine2"]})
    assert treatment == "replace" and sent["transactional_ids"] == ["mine1", "mine2"]
    _, answer = desk.response(65, version, {"transaction_states": [
        state("mine1", "shut", "open", "hidden"), state("mine2", "shut")]})
    assert answer["transaction_states"] == [state("mine1", "open"), state("mine2"), state("theirs", error=53)]
    _, answer = desk.response_after(65, version, {"transactional_ids": ["mine1"]}, {"transaction_states": [
        state("theirs", "open"), state("mine1", "open")]})
    assert answer["transaction_states"] == [state("theirs", error=53), state("mine1", "open")], "a broker that strays"
    assert desk.request(65, version, {"transactional_ids": ["theirs"]}) == (
        "answer", {"throttle_time_ms": 0, "transaction_states": [state("theirs", error=53)]})


@pytest.mark.parametrize("version", spanning(66))
def test_transactions_are_listed_that_may_be_described(version: int) -> None:
    desk = Desk("describe transactional_id mine*", "describe cluster kafka-cluster")
    pattern = {"transactional_id_pattern": "theirs.*"} if version >= 2 else {}
    asked = {"state_filters": ["Ongoing"], "producer_id_filters": [], **pattern}
    assert desk.request(66, version, asked)[0] == "forward"
    listed = [{"transactional_id": name, "producer_id": 4, "transaction_state": "Ongoing"}
              for name in ("theirs", "mine1", "also", "mine2")]
    treatment, answer = desk.response(66, version, {"transaction_states": listed})
    assert treatment == "replace" and answer["transaction_states"] == [listed[1], listed[3]]
    assert desk.denied() == [], "what is left out is no refusal"
