"""Rows 78 and 79 of the protocol table: a client's share session, and the broker's, which has only what may be read."""

from __future__ import annotations

import random

import pytest

from tests.support.batches import Record, read_batches, write_batch
from tests.support.desk import Desk, id_of, spanning
from tests.support.record_plans import BLOCK, REDACT, build_plan
from tests.support.share_fetches import (
    ACKNOWLEDGE,
    FETCH,
    GONE,
    OPEN,
    READER,
    RECORDS,
    SHUT,
    Topic,
    acknowledged,
    answered,
    asked,
    codes,
    desk_of,
    sent_topics,
)

# ---- both

@pytest.mark.parametrize("version", spanning(FETCH))
def test_the_group_must_be_readable(version: int) -> None:
    desk = desk_of()
    for group in ("other", None):
        treatment, answer = desk.request(FETCH, version, {**asked((OPEN, [0])), "group_id": group})
        assert (treatment, answer["error_code"], answer["responses"]) == ("answer", 30, [])
        treatment, answer = desk.request(ACKNOWLEDGE, version, {**acknowledged((OPEN, [0])), "group_id": group})
        assert (treatment, answer["error_code"], answer["responses"]) == ("answer", 30, [])


@pytest.mark.parametrize("version", spanning(FETCH))
def test_a_group_that_is_lost_while_the_fetch_waits_gets_no_records(version: int) -> None:
    desk = desk_of()
    desk.request(FETCH, version, asked((OPEN, [0])))
    desk.allow.remove("read group g*")
    desk.opened.forget_decisions()
    treatment, answer = desk.response(FETCH, version, answered((OPEN, [0]), (SHUT, [0])))
    assert (treatment, answer["error_code"], answer["responses"]) == ("answer", 30, [])
    assert desk.denied() == [("read", "group", "g1")]


@pytest.mark.parametrize("version", spanning(ACKNOWLEDGE))
def test_what_was_acknowledged_before_the_group_was_lost_is_told(version: int) -> None:
    desk = desk_of()
    desk.request(ACKNOWLEDGE, version, acknowledged((OPEN, [0])))
    desk.allow.remove("read group g*")
    desk.opened.forget_decisions()
    _, answer = desk.response(ACKNOWLEDGE, version, {"responses": [
        {"topic_id": id_of(OPEN), "partitions": [{"partition_index": 0, "error_code": 0}]}]})
    assert (answer["error_code"], codes(answer)) == (0, {OPEN: {0: 0}})


@pytest.mark.parametrize("version", spanning(ACKNOWLEDGE))
def test_only_what_may_be_read_is_acknowledged(version: int) -> None:
    """T30 for share groups: known, denied and unknown ids in one request."""
    desk = desk_of()
    assert desk.request(ACKNOWLEDGE, version, acknowledged((OPEN, [0, 3])))[0] == "forward"
    treatment, sent = desk.request(ACKNOWLEDGE, version, acknowledged((SHUT, [0, 3]), (OPEN, [1]), (GONE, [7])))
    assert treatment == "wait" and sent is None and desk.opened.unknown == [id_of(GONE)]
    desk.opened.looked_up()
    treatment, sent = desk.request(ACKNOWLEDGE, version, acknowledged((SHUT, [0, 3]), (OPEN, [1]), (GONE, [7])))
    assert treatment == "replace" and sent_topics(sent) == {OPEN: [1]}
    assert desk.denied() == [("read", "topic", SHUT)]
    _, answer = desk.response(ACKNOWLEDGE, version, {"responses": [
        {"topic_id": id_of(OPEN), "partitions": [{"partition_index": 1, "error_code": 0}]}]})
    assert codes(answer) == {OPEN: {1: 0}, SHUT: {0: 29, 3: 29}, GONE: {7: 100}}


@pytest.mark.parametrize("version", spanning(ACKNOWLEDGE))
def test_an_acknowledgement_of_nothing_is_sent_on_because_requests_are_counted(version: int) -> None:
    desk = desk_of()
    treatment, sent = desk.request(ACKNOWLEDGE, version, acknowledged((SHUT, [0]), epoch=4))
    assert treatment == "replace" and sent["topics"] == [] and sent["share_session_epoch"] == 4
    _, answer = desk.response(ACKNOWLEDGE, version, {"responses": []})
    assert codes(answer) == {SHUT: {0: 29}}


@pytest.mark.parametrize(("api", "version"), [(api, version) for api in (FETCH, ACKNOWLEDGE)
                                              for version in spanning(api)])
def test_the_brokers_an_answer_names_are_shown_here(api: int, version: int) -> None:
    desk = desk_of()
    endpoints = [{"node_id": 2, "host": "real-host", "port": 9092, "rack": None},
                 {"node_id": 9, "host": "real-host", "port": 9093, "rack": None}]
    asks = asked((OPEN, [0])) if api == FETCH else acknowledged((OPEN, [0]))
    _, answer = desk.response_after(api, version, asks, {"responses": [], "node_endpoints": endpoints})
    assert answer["node_endpoints"] == [{"node_id": 2, "host": "proxy", "port": 9002, "rack": None}]


def test_a_brokers_error_for_the_whole_is_passed_on_alone() -> None:
    desk = desk_of()
    desk.request(FETCH, 1, asked((OPEN, [0]), (SHUT, [0]), epoch=3))
    _, answer = desk.response(FETCH, 1, {"error_code": 122, "responses": []})
    assert (answer["error_code"], answer["responses"]) == (122, [])


# ---- the share session

@pytest.mark.parametrize("version", spanning(FETCH))
def test_the_brokers_session_has_only_what_may_be_read(version: int) -> None:
    desk = desk_of()
    treatment, sent = desk.request(FETCH, version, asked((SHUT, [0, 1]), (OPEN, [0, 3])))
    assert treatment == "replace" and sent_topics(sent) == {OPEN: [0, 3]} and sent["forgotten_topics_data"] == []
    assert desk.denied() == [("read", "topic", SHUT)]
    _, answer = desk.response(FETCH, version, answered((OPEN, [0, 3])))
    assert codes(answer) == {OPEN: {0: 0, 3: 0}, SHUT: {0: 29, 1: 29}}
    refused = answer["responses"][1]["partitions"]
    assert all((one["records"], one["acquired_records"], one["error_message"]) == (b"", [], None) for one in refused)
    assert codes(answer, "acknowledge_error_code")[SHUT] == {0: 0, 1: 0}


def test_what_is_refused_is_told_at_every_request_as_a_broker_does() -> None:
    desk = desk_of()
    desk.request(FETCH, 1, asked((SHUT, [0, 1]), (OPEN, [0])))
    for epoch in (1, 2):
        treatment, _ = desk.request(FETCH, 1, asked(epoch=epoch))
        assert treatment == "forward" and desk.denied() == [], "it was told once"
        _, answer = desk.response(FETCH, 1, answered((OPEN, [0])))
        assert codes(answer) == {OPEN: {0: 0}, SHUT: {0: 29, 1: 29}}


def test_what_is_allowed_later_comes_into_the_session_then() -> None:
    desk = desk_of()
    desk.request(FETCH, 1, asked((SHUT, [1, 0]), (OPEN, [0])))
    desk.allow.append("read topic shut")
    desk.opened.forget_decisions()
    treatment, sent = desk.request(FETCH, 1, asked(epoch=1))
    assert treatment == "replace" and sent_topics(sent) == {SHUT: [0, 1]}
    _, answer = desk.response(FETCH, 1, answered((OPEN, [0]), (SHUT, [0])))
    assert codes(answer) == {OPEN: {0: 0}, SHUT: {0: 0}}
    assert answer["responses"][1]["partitions"][0]["records"] == RECORDS
    assert desk.request(FETCH, 1, asked(epoch=2))[0] == "forward", "once"


def test_partitions_refused_before_come_along_with_one_that_is_named_again() -> None:
    desk = desk_of()
    desk.request(FETCH, 1, asked((SHUT, [0, 1]), (OPEN, [0])))
    desk.allow.append("read topic shut")
    desk.opened.forget_decisions()
    treatment, sent = desk.request(FETCH, 1, asked((SHUT, [2]), ("open2", [5]), epoch=1))
    assert treatment == "replace" and sent_topics(sent) == {SHUT: [2, 0, 1], "open2": [5]}


def test_what_is_forbidden_later_is_taken_out_of_the_session() -> None:
    """T29 for share groups. A broker that went on fetching it would lock and count what nobody is given."""
    desk = desk_of("read group g*", "read topic open*", "read topic shut")
    assert desk.request(FETCH, 1, asked((SHUT, [1, 0]), (OPEN, [0])))[0] == "forward"
    desk.allow.remove("read topic shut")
    desk.opened.forget_decisions()
    _, answer = desk.response(FETCH, 1, answered((OPEN, [0]), (SHUT, [0]), acknowledge_error_code=6))
    assert codes(answer) == {OPEN: {0: 0}, SHUT: {0: 29}} and desk.denied() == [("read", "topic", SHUT)]
    withheld = answer["responses"][1]["partitions"][0]
    assert (withheld["records"], withheld["acquired_records"], withheld["acknowledge_error_code"]) == (b"", [], 6)
    treatment, sent = desk.request(FETCH, 1, asked(epoch=1))
    assert treatment == "replace" and sent["topics"] == []
    assert sent_topics(sent, "forgotten_topics_data") == {SHUT: [0, 1]} and desk.denied() == [("read", "topic", SHUT)]
    _, answer = desk.response(FETCH, 1, answered((OPEN, [0])))
    assert codes(answer) == {OPEN: {0: 0}, SHUT: {0: 29, 1: 29}}
    assert desk.request(FETCH, 1, asked(epoch=2))[0] == "forward", "once"


def test_what_a_client_forgets_is_not_told_any_more() -> None:
    desk = desk_of()
    desk.request(FETCH, 1, asked((SHUT, [0, 1]), (OPEN, [0])))
    assert desk.request(FETCH, 1, asked(epoch=1, forget=((SHUT, [0]),)))[0] == "forward"
    assert codes(desk.response(FETCH, 1, answered())[1]) == {SHUT: {1: 29}}
    desk.request(FETCH, 1, asked(epoch=2, forget=((SHUT, [1]), (OPEN, [0]))))
    assert desk.response(FETCH, 1, answered())[0] == "forward"


def test_acknowledging_while_forgetting_is_answered_once() -> None:
    desk = desk_of()
    desk.request(FETCH, 1, asked((SHUT, [0, 1])))
    treatment, sent = desk.request(FETCH, 1, asked((SHUT, [0]), epoch=1, forget=((SHUT, [0]),), acknowledged=True))
    assert treatment == "replace" and sent["topics"] == []
    _, answer = desk.response(FETCH, 1, answered())
    assert codes(answer) == {SHUT: {0: 29, 1: 29}} and codes(answer, "acknowledge_error_code") == {SHUT: {0: 29, 1: 0}}


def test_a_new_session_and_a_closed_one_know_nothing_of_the_former() -> None:
    for last in (asked((OPEN, [0]), epoch=0), asked(epoch=-1)):
        desk = desk_of()
        desk.request(FETCH, 1, asked((SHUT, [0])))
        assert desk.request(FETCH, 1, last)[0] == "forward"
        desk.request(FETCH, 1, asked(epoch=1))
        assert desk.response(FETCH, 1, answered())[0] == "forward"
    desk = desk_of()
    desk.request(FETCH, 1, asked((SHUT, [0])))
    assert desk.request(ACKNOWLEDGE, 1, acknowledged(epoch=-1))[0] == "forward"
    desk.request(FETCH, 1, asked(epoch=1))
    assert desk.response(FETCH, 1, answered())[0] == "forward"


def test_closing_a_session_acknowledges_only_what_may_be_read() -> None:
    desk = desk_of()
    desk.request(FETCH, 1, asked((SHUT, [0]), (OPEN, [0])))
    treatment, sent = desk.request(FETCH, 1, asked((SHUT, [0]), (OPEN, [0]), epoch=-1, acknowledged=True))
    assert treatment == "replace" and sent_topics(sent) == {OPEN: [0]}
    _, answer = desk.response(FETCH, 1, answered((OPEN, [0]), records=b"", acquired=()))
    assert codes(answer, "acknowledge_error_code") == {OPEN: {0: 0}, SHUT: {0: 29}}


def test_members_have_sessions_of_their_own() -> None:
    desk = desk_of()
    desk.request(FETCH, 1, asked((SHUT, [0]), member="a"))
    desk.request(FETCH, 1, asked((SHUT, [1]), member="b"))
    desk.request(FETCH, 1, asked(epoch=1, member="a"))
    assert codes(desk.response(FETCH, 1, answered())[1]) == {SHUT: {0: 29}}


def test_a_topic_made_later_comes_into_the_session_once_its_name_is_known() -> None:
    """T30."""
    desk = desk_of()
    treatment, _ = desk.request(FETCH, 1, asked((GONE, [0])))
    assert treatment == "wait" and desk.opened.unknown == [id_of(GONE)]
    desk.opened.looked_up()
    treatment, sent = desk.request(FETCH, 1, asked((GONE, [0])))
    assert treatment == "replace" and sent["topics"] == []
    assert codes(desk.response(FETCH, 1, answered())[1]) == {GONE: {0: 100}}
    desk.addresses.topic_ids.teach(id_of(GONE), "open-late")
    treatment, sent = desk.request(FETCH, 1, asked(epoch=1))
    assert treatment == "replace" and sent_topics(sent) == {GONE: [0]}
    assert codes(desk.response(FETCH, 1, answered((GONE, [0])))[1]) == {GONE: {0: 0}}


def test_an_answer_about_a_topic_nobody_named_shows_nothing() -> None:
    """Another connection's session, continued by its number and member: no name is known here that could be allowed."""
    desk = Desk(*READER)
    desk.request(FETCH, 1, asked(epoch=7))
    _, answer = desk.response(FETCH, 1, answered(("foreign", [0])))
    assert codes(answer) == {"foreign": {0: 100}} and b"canary" not in repr(answer).encode()
    desk.teach(shut=id_of(SHUT))
    desk.request(FETCH, 1, asked(epoch=8))
    _, answer = desk.response(FETCH, 1, answered((SHUT, [0])))
    assert codes(answer) == {SHUT: {0: 29}} and b"canary" not in repr(answer).encode()


def test_a_topic_of_the_session_keeps_its_name_when_others_are_told_it_is_gone() -> None:
    desk = desk_of()
    desk.request(FETCH, 1, asked((OPEN, [0])))
    desk.addresses.topic_ids.forget(id_of(OPEN))
    assert desk.request(FETCH, 1, asked(epoch=1))[0] == "forward"
    _, answer = desk.response(FETCH, 1, answered((OPEN, [0])))
    assert codes(answer) == {OPEN: {0: 0}}


def test_a_topic_that_is_gone_is_forgotten() -> None:
    desk = desk_of()
    _, answer = desk.response_after(FETCH, 1, asked((OPEN, [0])), answered((OPEN, [0]), records=b"", code=100,
                                                                           acquired=()))
    assert codes(answer) == {OPEN: {0: 100}} and desk.addresses.topic_ids.name(id_of(OPEN)) is None


def test_internal_topics_are_for_administrators() -> None:
    desk = desk_of("read group g*", "read topic *")
    _, sent = desk.request(FETCH, 1, asked(("__share_group_state", [0]), (OPEN, [0])))
    assert sent_topics(sent) == {OPEN: [0]}


def test_an_approval_that_is_asked_for_leaves_the_session_as_it_was() -> None:
    desk = desk_of("read group g*", "read topic open*", ask=("read topic shut",))
    assert desk.request(FETCH, 1, asked((SHUT, [0]), (OPEN, [0])))[0] == "wait"
    desk.opened.answered({one: ("r1", "pending") for one in [desk.decide("topic", "read", SHUT, 0)[0].wanted]})
    treatment, sent = desk.request(FETCH, 1, asked((SHUT, [0]), (OPEN, [0])))
    assert treatment == "replace" and sent_topics(sent) == {OPEN: [0]}
    assert codes(desk.response(FETCH, 1, answered())[1]) == {SHUT: {0: 29}}


def test_a_session_has_no_end_of_partitions() -> None:
    desk = desk_of()
    treatment, _ = desk.request(FETCH, 1, asked((SHUT, list(range(70_000)))))
    assert treatment == "close" and desk.opened.cause == "malformed_request"
    many = desk_of()
    for member in range(40):
        many.request(FETCH, 1, asked((SHUT, [0]), member=f"m{member}"))
    many.request(FETCH, 1, asked(epoch=1, member="m0"))
    assert many.response(FETCH, 1, answered())[0] == "forward", "the oldest is forgotten"
    many.request(FETCH, 1, asked(epoch=1, member="m39"))
    assert codes(many.response(FETCH, 1, answered())[1]) == {SHUT: {0: 29}}


@pytest.mark.parametrize("seed", range(30))
def test_whatever_happens_the_brokers_session_has_what_the_clients_has_of_what_is_allowed(seed: int) -> None:
    chance = random.Random(f"share session {seed}")
    names = ["t1", "t2", "t3"]
    desk = Desk("read group g*")
    desk.teach(**{name: id_of(name) for name in names})
    wanted: set[tuple[str, int]] = set()
    held: set[tuple[str, int]] = set()
    for epoch in range(25):
        allowed = {name for name in names if chance.random() < 0.5}
        desk.allow[:] = ["read group g*", *(f"read topic {name}" for name in sorted(allowed))]
        desk.opened.forget_decisions()
        new = {(name, chance.randrange(3)) for name in chance.sample(names, chance.randrange(3))}
        gone = {one for one in wanted - new if chance.random() < 0.2}
        frame = asked(*grouped(new), epoch=epoch, forget=tuple(grouped(gone)))
        treatment, sent = desk.request(FETCH, 1, frame)
        sent = frame if treatment == "forward" else sent
        wanted = (wanted | new) - gone
        held |= {(name, at) for name, indexes in sent_topics(sent).items() for at in indexes}
        held -= {(name, at) for name, indexes in sent_topics(sent, "forgotten_topics_data").items() for at in indexes}
        assert held == {(name, at) for name, at in wanted if name in allowed}
        _, answer = desk.response(FETCH, 1, answered(*grouped(held), records=b"", acquired=()))
        told = {(name, at): code for name, found in codes(answer).items() for at, code in found.items()}
        assert {one: told[one] for one in wanted} == {one: 0 if one[0] in allowed else 29 for one in wanted}


def grouped(partitions: set[tuple[str, int]]) -> list[Topic]:
    return [(name, sorted(at for other, at in partitions if other == name))
            for name in sorted({name for name, _ in partitions})]


# ---- records

MAIL, PLAIN = b'{"user":{"email":"ada@example.com"}}', b'{"n":1}'


def batches_at(*values: tuple[int, bytes]) -> bytes:
    return b"".join(write_batch([Record(value=value, offset_delta=0), Record(value=value, offset_delta=1)],
                                base_offset=at) for at, value in values)


@pytest.mark.parametrize("version", spanning(FETCH))
def test_records_are_masked_as_a_fetchs_are(version: int) -> None:
    desk = desk_of(plan=build_plan(fields={"user.email": REDACT}))
    _, answer = desk.response_after(FETCH, version, asked((OPEN, [0])), answered(
        (OPEN, [0]), records=batches_at((5, MAIL)), acquired=((5, 6),)))
    [got] = answer["responses"][0]["partitions"]
    assert [record.value for one in read_batches(got["records"]) for record in one.records] == [
        b'{"user":{"email":""}}'] * 2
    assert got["acquired_records"] == [{"first_offset": 5, "last_offset": 6, "delivery_count": 1}]


@pytest.mark.parametrize("version", spanning(FETCH))
def test_what_is_refused_is_withheld_and_no_gap(version: int) -> None:
    """A client would tell a gap where it has an offset and no record, and nobody would be given it again."""
    desk = desk_of(plan=build_plan(detect={"email": BLOCK}))
    whole = batches_at((5, PLAIN), (7, PLAIN), (9, MAIL), (11, PLAIN))
    _, answer = desk.response_after(FETCH, version, asked((OPEN, [0])), answered(
        (OPEN, [0]), records=whole, acquired=((5, 5), (6, 9), (10, 12))))
    [got] = answer["responses"][0]["partitions"]
    assert got["records"] == batches_at((5, PLAIN), (7, PLAIN)) and got["error_code"] == 0
    assert [(one["first_offset"], one["last_offset"]) for one in got["acquired_records"]] == [(5, 5), (6, 8)]
    _, answer = desk.response_after(FETCH, version, asked((OPEN, [0])), answered(
        (OPEN, [0, 1]), records=batches_at((9, MAIL), (11, PLAIN)), acquired=((9, 12),), acknowledge_error_code=6))
    for got in answer["responses"][0]["partitions"]:
        assert (got["error_code"], got["acknowledge_error_code"]) == (44, 6)
        assert (got["records"], got["acquired_records"]) == (b"", [])


def test_a_partial_batch_that_nobody_looked_at_is_not_given_out() -> None:
    """T36 for share groups."""
    desk = desk_of(plan=build_plan(fields={"user.email": REDACT}))
    _, answer = desk.response_after(FETCH, 1, asked((OPEN, [0])), answered(
        (OPEN, [0]), records=batches_at((5, PLAIN), (7, MAIL))[:-3], acquired=((5, 8),)))
    [got] = answer["responses"][0]["partitions"]
    assert got["records"] == batches_at((5, PLAIN))
    assert [(one["first_offset"], one["last_offset"]) for one in got["acquired_records"]] == [(5, 6)]


def test_what_cannot_be_read_is_refused_alone() -> None:
    desk = desk_of(plan=build_plan(fields={"user.email": REDACT}))
    harmed = bytearray(batches_at((5, MAIL)))
    harmed[-1] ^= 1
    values = answered((OPEN, [0, 1]), records=batches_at((5, PLAIN)))
    values["responses"][0]["partitions"][0]["records"] = bytes(harmed)
    _, answer = desk.response_after(FETCH, 1, asked((OPEN, [0, 1])), values)
    assert codes(answer) == {OPEN: {0: 2, 1: 0}}
