"""Every served API and version: what kproxy does not know, and what is not its business, arrives as it was sent."""

from __future__ import annotations

import random
from typing import Any

import pytest

from kproxy._ext import schema
from kproxy._ext.apis import LOCAL, SERVED
from tests.support import frames
from tests.support.desk import Desk
from tests.support.playbook import NOW, Stage
from tests.support.tenant_fields import CODES
from tests.support.tenant_messages import answer, ask
from tests.support.tenant_node import BROKER, Node, Seat
from tests.support.tenants import Tenants, other

ROWS = [(api, version) for api, (low, high) in SERVED.items() if api not in LOCAL for version in range(low, high + 1)]
FLEXIBLE = [row for row in ROWS if schema.flexible(*row)]
#: A number that no message of Kafka has for a tag, and 31000, which is no error of Kafka's.
TAGS, UNKNOWN_CODE = [(4321, b"of a later Kafka")], 31_000


class Open(Tenants):
    """Where ann may do everything and bob has nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.rights["ann"] = dict.fromkeys(self.rights["ann"], 2)
        self.cluster["ann"] = True

    def askable(self, who: str, kind: str) -> list[str]:
        return [name for name in super().askable(who, kind) if not name.startswith(other(who))]

    def askable_ids(self, who: str, chance: random.Random) -> list[bytes]:
        return [self.ids[name] for name in self.askable(who, "topic")]


def seat_of_ann() -> Seat:
    node = Node()
    node.tenants = Open()
    return node.seat("ann")


def through(seat: Seat, api: int, version: int, asked: dict[str, Any],
            said: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """(what the broker got, what the client got), where the broker says ``said(what it got)``."""
    stage: Stage = seat.stage
    for topic, topic_id in seat.tenants.ids.items():
        stage.addresses.topic_ids.teach(topic_id, topic)
    stage.addresses.topic_ids.teach_all(sorted(seat.tenants.ids))
    frame = frames.request(api, version, 5, asked)
    actions = stage.client(frame, NOW)
    if actions[0][0] == "wait":
        stage.session.resume_topic_ids()
        actions = stage.client(frame, NOW)
    [(side, sent)] = actions
    assert side == "broker"
    got = frames.read_request(sent)[3]
    [(side, told)] = stage.broker(frames.response(api, version, 5, said(got)), NOW)
    assert side == "client"
    return got, frames.read_response(api, version, told)[1]


@pytest.mark.parametrize(("api", "version"), FLEXIBLE)
def test_an_unknown_tag_survives_both_ways(api: int, version: int) -> None:
    """T20."""
    seat = seat_of_ann()
    asked = ask(seat.tenants, "ann", api, version, random.Random(1))
    got, told = through(seat, api, version, {**asked, "_tags": TAGS},
                        lambda sent: {**answer(seat.tenants, api, version, sent), "_tags": TAGS})
    assert [tag for tag in got["_tags"] if tag in TAGS] == [tag for tag in told["_tags"] if tag in TAGS] == TAGS


def with_code(value: Any, code: int) -> Any:
    if isinstance(value, dict):
        return {name: code if name in CODES else with_code(one, code) for name, one in value.items()}
    return [with_code(one, code) for one in value] if isinstance(value, list) else value


def codes_in(value: Any) -> set[int]:
    if isinstance(value, dict):
        return {one for name, one in value.items() if name in CODES}.union(*map(codes_in, value.values()))
    return set().union(*map(codes_in, value)) if isinstance(value, list) else set()


@pytest.mark.parametrize(("api", "version"), ROWS)
def test_an_error_that_nobody_knows_reaches_the_client(api: int, version: int) -> None:
    """T21."""
    seat = seat_of_ann()
    asked = ask(seat.tenants, "ann", api, version, random.Random(2))
    said: list[dict[str, Any]] = []

    def says(sent: dict[str, Any]) -> dict[str, Any]:
        said.append(with_code(answer(seat.tenants, api, version, sent), UNKNOWN_CODE))
        return said[0]

    told = through(seat, api, version, asked, says)[1]
    assert codes_in(told) == codes_in(said[0]) <= {UNKNOWN_CODE}


@pytest.mark.parametrize("version", range(3, 13))
def test_a_produce_that_is_cut_keeps_what_it_says_of_itself(version: int) -> None:
    """T15."""
    desk = Desk("write topic open", "write transactional_id tx")
    asked = {"acks": 1, "timeout_ms": 12345, "transactional_id": "tx", "topic_data": [
        {"name": name, "partition_data": [{"index": 0, "records": frames.batch([b"v"])}]} for name in ("shut", "open")]}
    treatment, sent = desk.request(0, version, asked)
    assert treatment == "replace" and [one["name"] for one in sent["topic_data"]] == ["open"]
    assert {name: sent[name] for name in ("acks", "timeout_ms", "transactional_id")} == {
        "acks": 1, "timeout_ms": 12345, "transactional_id": "tx"}


@pytest.mark.parametrize("version", range(4, 13))
def test_a_fetch_that_is_cut_keeps_what_it_says_of_itself(version: int) -> None:
    """T15."""
    desk = Desk("read topic open")
    kept = {"max_wait_ms": 321, "min_bytes": 17, "max_bytes": 98765, "isolation_level": 1}
    place = {"partition": 3, "fetch_offset": 44, "partition_max_bytes": 5555}
    treatment, sent = desk.request(1, version, {**kept, "session_epoch": -1, "topics": [
        {"topic": name, "partitions": [place]} for name in ("shut", "open")]})
    assert treatment == "replace" and {name: sent[name] for name in kept} == kept
    [topic] = sent["topics"]
    assert topic["topic"] == "open" and {name: topic["partitions"][0][name] for name in place} == place


def test_the_broker_of_these_serves_all() -> None:
    assert set(BROKER.ranges) == set(SERVED)
