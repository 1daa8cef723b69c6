"""Topics named by id, as a session sees them: frames that wait for a name, and answers that come to it."""

from __future__ import annotations

from typing import Any

from kproxy._ext import playbook
from kproxy.model.spool import INTENT, OUTCOME, READ
from tests.support.frames import batch, read_request, read_response, request, response
from tests.support.playbook import NOW, Stage, opened

A, B, GONE = b"a" * 16, b"b" * 16, b"g" * 16


def produce(correlation: int, *ids: bytes, acks: int = 1) -> bytes:
    return request(0, 13, correlation, {"acks": acks, "timeout_ms": 1000, "topic_data": [
        {"topic_id": one, "partition_data": [{"index": 0, "records": batch([b"v1", b"v2"])}]} for one in ids]})


def produced(correlation: int, codes: dict[bytes, int]) -> bytes:
    return response(0, 13, correlation, {"responses": [
        {"topic_id": one, "partition_responses": [
            {"index": 0, "error_code": code, "base_offset": -1 if code else 70}]} for one, code in codes.items()]})


def fetch(correlation: int, *ids: bytes) -> bytes:
    return request(1, 18, correlation, {"session_id": 0, "session_epoch": -1, "topics": [
        {"topic_id": one, "partitions": [{"partition": 0, "fetch_offset": 5}]} for one in ids]})


def metadata(correlation: int) -> bytes:
    return request(3, 13, correlation, {"topics": []})


def codes_of(answer: bytes, version: int = 13) -> dict[bytes, int]:
    return {one["topic_id"]: one["partition_responses"][0]["error_code"]
            for one in read_response(0, version, answer)[1]["responses"]}


def learn(stage: Stage, **ids: bytes) -> None:
    for name, topic_id in ids.items():
        stage.addresses.topic_ids.teach(topic_id, name)


def test_a_produce_waits_for_a_name_and_goes_on_as_it_came():
    stage = opened(orders="allow")
    frame, later = produce(5, A), metadata(6)
    assert stage.client(frame + later) == [("wait", ("topic_ids", [A])), ("held", frame), ("held", later)]
    assert stage.notes() == [] and stage.session.requests == 2, "the login, and nothing yet"
    learn(stage, orders=A)
    stage.session.resume_topic_ids()
    assert stage.client(frame + later) == [("broker", frame + later)]
    [intent] = stage.notes()
    assert (intent.kind, intent.topic, intent.partition, intent.records) == (INTENT, "orders", 0, 2)
    answer = produced(5, {A: 0})
    assert stage.broker(answer) == [("client", answer)]
    [outcome] = stage.notes()
    assert (outcome.kind, outcome.topic, outcome.first_offset, outcome.last_offset) == (OUTCOME, "orders", 70, 71)
    assert stage.session.flow.take() == {("orders", OUTCOME): (b"[[0,70,71,2,%d]]" % intent.bytes, 2, intent.bytes)}


def test_an_id_that_nobody_has_is_100_and_never_sent_on():
    stage = opened(orders="allow")
    learn(stage, orders=A, secret=B)
    frame = produce(5, GONE, B, A)
    assert stage.client(frame)[0] == ("wait", ("topic_ids", [GONE]))
    stage.session.resume_topic_ids()
    [(side, sent)] = stage.client(frame)
    assert side == "broker" and [one["topic_id"] for one in read_request(sent)[3]["topic_data"]] == [A]
    assert [fields["name"] for kind, fields in stage.told if kind == "denied"] == ["secret"]
    assert [note.topic for note in stage.notes()] == ["orders"]
    [(_, answer)] = stage.broker(produced(5, {A: 0}))
    assert codes_of(answer) == {A: 0, GONE: 100, B: 29}
    assert b"secret" not in answer.replace(b"deny secret", b""), "but in the words of the rule"


def test_an_unknown_id_alone_is_answered_in_its_turn():
    stage = opened(orders="allow")
    learn(stage, orders=A)
    stage.client(produce(5, A))
    stage.client(produce(6, GONE))
    stage.session.resume_topic_ids()
    assert stage.client(produce(6, GONE)) == [], "the answer waits behind the first request's"
    actions = stage.broker(produced(5, {A: 0}))
    assert len(actions) == 1 and codes_of(actions[0][1][len(produced(5, {A: 0})):]) == {GONE: 100}


def test_without_an_answer_an_unknown_id_closes_as_a_denial_does():
    stage = opened(orders="allow")
    learn(stage, orders=A)
    stage.client(produce(5, GONE, A, acks=0))
    stage.session.resume_topic_ids()
    (side, sent), close = stage.client(produce(5, GONE, A, acks=0))
    assert side == "broker" and [one["topic_id"] for one in read_request(sent)[3]["topic_data"]] == [A]
    assert close == ("close", "denied_without_answer")


def test_permission_is_the_names_each_time():
    """T30: recreated, a topic has another id and the same rules; and rules change without an id's changing."""
    stage = opened(orders="allow")
    learn(stage, orders=A)
    assert stage.client(produce(5, A)) == [("broker", produce(5, A))]
    refused = produced(5, {A: 100})
    assert stage.broker(refused) == [("client", refused)]
    assert stage.client(produce(6, A))[0] == ("wait", ("topic_ids", [A])), "the broker has said that it is gone"
    stage.session.resume_topic_ids()
    assert codes_of(stage.client(produce(6, A))[0][1]) == {A: 100}
    learn(stage, orders=B)
    assert stage.client(produce(7, B)) == [("broker", produce(7, B))]
    stage.broker(produced(7, {B: 0}))
    stage.rules.effects["orders"] = "deny"
    stage.epoch.value += 1
    assert codes_of(stage.client(produce(8, B))[0][1]) == {B: 29}


def test_an_id_forgotten_while_the_broker_answers_still_has_its_outcome():
    stage = opened(orders="allow")
    learn(stage, orders=A)
    stage.client(produce(5, A))
    stage.notes()
    stage.addresses.topic_ids.forget(A)
    stage.broker(produced(5, {A: 0}))
    [outcome] = stage.notes()
    assert (outcome.kind, outcome.topic, outcome.records, outcome.error) == (OUTCOME, "orders", 2, 0)


def test_an_approval_is_asked_for_by_the_name_once_it_is_known():
    stage = opened(scores="ask")
    frame = produce(5, A)
    assert stage.client(frame)[0] == ("wait", ("topic_ids", [A]))
    learn(stage, scores=A)
    stage.session.resume_topic_ids()
    (kind, (what, [wanted])), _ = stage.client(frame)
    assert (kind, what, wanted.name) == ("wait", "approval", "scores")
    stage.session.resume_approval({wanted: ("R-1", "pending")})
    [(_, answer)] = stage.client(frame)
    item = read_response(0, 13, answer)[1]["responses"][0]
    assert item["topic_id"] == A and item["partition_responses"][0]["error_code"] == 44
    assert "R-1" in item["partition_responses"][0]["error_message"]


def test_a_full_spool_refuses_ids_too_and_asks_nobody():
    stage = opened(orders="allow")
    stage.spool.refusing = True
    stage.ledger.commit()
    [(side, answer)] = stage.client(produce(5, A))
    assert side == "client" and codes_of(answer) == {A: 56}


def test_a_read_by_id_is_noted_under_the_name():
    stage = opened(orders="allow")
    learn(stage, orders=A)
    assert stage.client(fetch(5, A)) == [("broker", fetch(5, A))]
    answer = response(1, 18, 5, {"responses": [{"topic_id": A, "partitions": [
        {"partition_index": 0, "error_code": 0, "high_watermark": 9, "records": batch([b"a", b"b"], base_offset=5)}]}]})
    assert stage.broker(answer) == [("client", answer)]
    [note] = stage.notes()
    assert (note.kind, note.topic, note.first_offset, note.last_offset) == (READ, "orders", 5, 6)


def test_names_are_learned_from_a_topics_metadata_even_if_the_client_may_not_see_them():
    stage = opened(orders="allow")
    stage.client(request(3, 13, 5, {"topics": None}))
    topics = [{"name": name, "topic_id": one, "error_code": 0, "partitions": []}
              for name, one in (("orders", A), ("secret", B))]
    [(_, answer)] = stage.broker(response(3, 13, 5, {"brokers": [], "topics": topics}))
    assert [one["name"] for one in read_response(3, 13, answer)[1]["topics"]] == ["orders"]
    assert codes_of(stage.client(produce(6, B))[0][1]) == {B: 29}


def test_a_broker_that_answers_a_produce_by_an_id_nobody_named_is_not_believed():
    stage = opened(orders="allow")
    learn(stage, orders=A)
    stage.client(produce(5, A))
    assert stage.broker(produced(5, {GONE: 0})) == [("close", "malformed_response")]


def test_a_session_that_ended_while_a_name_was_asked_for_stays_closed():
    stage = opened(orders="allow")
    stage.client(produce(5, A))
    stage.session.close("session_killed")
    stage.session.resume_topic_ids()
    assert playbook.take_actions(stage.session) == [("close", "session_killed")]


def test_what_is_kept_of_ids_goes_with_the_answer():
    stage = opened(orders="allow")
    learn(stage, orders=A)
    for correlation in range(100):
        stage.client(fetch(correlation, A), NOW)
    kept: Any = stage.session.slots.waiting
    assert kept >= 100 * 256
    for correlation in range(100):
        stage.broker(response(1, 18, correlation, {"responses": []}), NOW)
    assert (stage.session.slots.count, stage.session.slots.waiting) == (0, 0)
