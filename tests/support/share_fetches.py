"""Requests and answers of share sessions (APIs 78 and 79), before a desk that has learned the ids of a few topics."""

from __future__ import annotations

from typing import Any

from tests.support import frames
from tests.support.desk import Desk, id_of

FETCH, ACKNOWLEDGE = 78, 79
OPEN, SHUT, GONE = "open", "shut", "gone"
RECORDS = frames.batch([b"canary", b"canary"], base_offset=5)
ACCEPT = [{"first_offset": 5, "last_offset": 6, "acknowledge_types": [1]}]
READER = ("read group g*", "read topic open*")
Topic = tuple[str, list[int]]


def desk_of(*allow: str, **more: Any) -> Desk:
    desk = Desk(*(allow or READER), **more)
    desk.teach(**{name: id_of(name) for name in (OPEN, SHUT, "open2", "__share_group_state")})
    return desk


def partition(index: int, acknowledged: bool = False) -> dict[str, Any]:
    return {"partition_index": index, "acknowledgement_batches": ACCEPT if acknowledged else []}


def asked(*topics: Topic, epoch: int = 0, forget: tuple[Topic, ...] = (), acknowledged: bool = False,
          member: str = "m", group: str = "g1") -> dict[str, Any]:
    return {"group_id": group, "member_id": member, "share_session_epoch": epoch, "max_wait_ms": 500, "min_bytes": 1,
            "max_bytes": 1 << 20, "max_records": 500, "batch_size": 500,
            "topics": [{"topic_id": id_of(name), "partitions": [partition(at, acknowledged) for at in indexes]}
                       for name, indexes in topics],
            "forgotten_topics_data": [{"topic_id": id_of(name), "partitions": indexes} for name, indexes in forget]}


def acknowledged(*topics: Topic, epoch: int = 1, group: str = "g1") -> dict[str, Any]:
    return {"group_id": group, "member_id": "m", "share_session_epoch": epoch, "topics": [
        {"topic_id": id_of(name), "partitions": [partition(at, True) for at in indexes]} for name, indexes in topics]}


def answered(*topics: Topic, records: bytes = RECORDS, code: int = 0, acquired: tuple[tuple[int, int], ...] = ((5, 6),),
             **values: Any) -> dict[str, Any]:
    ranges = [{"first_offset": first, "last_offset": last, "delivery_count": 1} for first, last in acquired]
    return {"acquisition_lock_timeout_ms": 30000, "responses": [{"topic_id": id_of(name), "partitions": [
        {"partition_index": at, "error_code": code, "records": records, "acquired_records": ranges, **values}
        for at in indexes]} for name, indexes in topics]}


def sent_topics(sent: dict[str, Any], field: str = "topics") -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for topic in sent[field]:
        found.setdefault(topic["topic_id"].rstrip(b".").decode(), []).extend(
            one["partition_index"] if isinstance(one, dict) else one for one in topic["partitions"])
    assert len(found) == len(sent[field]) or field != "topics", "of a topic named twice a broker takes the first only"
    return found


def codes(answer: dict[str, Any], field: str = "error_code") -> dict[str, dict[int, int]]:
    return {topic["topic_id"].rstrip(b".").decode(): {one["partition_index"]: one[field]
                                                      for one in topic["partitions"]} for topic in answer["responses"]}
