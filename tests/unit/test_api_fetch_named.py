"""Fetch in every version that names its topics; what becomes of records is in tests/playbook."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.batches import Record, write_batch
from tests.support.desk import Desk

NAMED = range(4, 13)
RECORDS = write_batch([Record(value=b"v")])


def asked(*topics: str, **values: Any) -> dict[str, Any]:
    return {"replica_id": -1, "max_wait_ms": 5, "min_bytes": 1, "session_id": 0, "session_epoch": -1, "topics": [
        {"topic": name, "partitions": [{"partition": n, "fetch_offset": 7} for n in (0, 1)]} for name in topics],
        **values}


def answered(*topics: str) -> dict[str, Any]:
    return {"responses": [{"topic": name, "partitions": [
        {"partition_index": n, "error_code": 0, "high_watermark": 9, "records": RECORDS} for n in (0, 1)]}
        for name in topics]}


def seen(answer: dict[str, Any]) -> dict[str, list[tuple[int, int, int]]]:
    """Topic -> (partition, error, bytes of records)."""
    return {topic["topic"]: [(one["partition_index"], one["error_code"], len(one["records"] or b""))
                             for one in topic["partitions"]] for topic in answer["responses"]}


@pytest.mark.parametrize("version", NAMED)
def test_what_may_not_be_read_is_not_asked_for(version: int) -> None:
    desk = Desk("read topic open")
    treatment, sent = desk.request(1, version, asked("open", "closed"))
    assert treatment == "replace" and [topic["topic"] for topic in sent["topics"]] == ["open"]
    assert desk.denied() == [("read", "topic", "closed")]
    _, answer = desk.response(1, version, answered("open"))
    assert seen(answer) == {"open": [(0, 0, len(RECORDS)), (1, 0, len(RECORDS))], "closed": [(0, 29, 0), (1, 29, 0)]}
    assert all(one["high_watermark"] == -1 for one in answer["responses"][1]["partitions"])
    assert all(one["aborted_transactions"] == [] for one in answer["responses"][1]["partitions"]), "as Kafka's"


@pytest.mark.parametrize("version", NAMED)
def test_all_of_it_refused_is_answered_here(version: int) -> None:
    treatment, answer = Desk().request(1, version, asked("closed"))
    assert treatment == "answer" and seen(answer) == {"closed": [(0, 29, 0), (1, 29, 0)]}


@pytest.mark.parametrize("version", NAMED)
def test_a_client_is_no_follower(version: int) -> None:
    """T27: a follower would see beyond the high watermark."""
    treatment, sent = Desk("read topic open").request(1, version, asked("open", replica_id=1))
    assert treatment == "replace" and sent["replica_id"] == -1


@pytest.mark.parametrize("version", NAMED)
def test_what_may_no_longer_be_read_is_taken_out_of_the_answer(version: int) -> None:
    """T29, T48: policy changed while the broker held the fetch."""
    desk = Desk("read topic *")
    assert desk.request(1, version, asked("open", "later"))[0] == "forward"
    desk.allow[:] = ["read topic open"]
    desk.opened.forget_decisions()
    treatment, answer = desk.response(1, version, answered("open", "later"))
    assert treatment == "replace"
    assert seen(answer) == {"open": [(0, 0, len(RECORDS)), (1, 0, len(RECORDS))], "later": [(0, 29, 0), (1, 29, 0)]}
