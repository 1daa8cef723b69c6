"""How Kafka pages topics (DescribeTopicPartitions), written plainly after its DescribeTopicPartitionsRequestHandler
and KRaftMetadataCache: the broker behind kproxy that allows everything, and one with ACLs to compare kproxy with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.desk import id_of

#: What Kafka lets the page hold at most, whatever a client asks for (max.request.partition.size.limit).
MOST_PARTITIONS = 2000
UNKNOWN, DENIED, INVALID = 3, 29, 42
#: Neither asked for nor computed.
NO_OPERATIONS = -(2**31)


class Catalogue:
    """Topics → number of partitions, as a broker knows them, and who may describe which."""

    def __init__(self, topics: dict[str, int], visible: Callable[[str], bool] = lambda name: True,
                 operations: int = 0x7FF) -> None:
        self.topics, self.visible, self.operations = topics, visible, operations
        self.asked: list[dict[str, Any]] = []

    def page(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The broker's answer to one request."""
        self.asked.append(asked)
        cursor, everything = asked["cursor"], not asked["topics"]
        first = cursor["topic_name"] if cursor else ""
        names = {name for name in (self.topics if everything else (one["name"] for one in asked["topics"]))
                 if name >= first}
        if cursor and (cursor["partition_index"] < 0 or (not everything and first not in names)):
            return {"topics": [topic(one["name"], error=INVALID) for one in asked["topics"]], "next_cursor": None}
        answered: list[dict[str, Any]] = []
        refused = [] if everything else [topic(name, error=DENIED) for name in sorted(names) if not self.visible(name)]
        following: dict[str, Any] | None = None
        left = max(min(MOST_PARTITIONS, asked["response_partition_limit"]), 1)
        for name in sorted(filter(self.visible, names)):
            if left == 0:
                following = {"topic_name": name, "partition_index": 0}
                break
            if name not in self.topics:
                answered += [] if everything else [topic(name, error=UNKNOWN, operations=self.operations)]
                continue
            start = cursor["partition_index"] if cursor and name == first else 0
            shown = range(start, min(self.topics[name], start + left))
            answered.append(topic(name, shown, operations=self.operations))
            if shown.stop < self.topics[name]:
                following = {"topic_name": name, "partition_index": shown.stop}
                break
            left -= len(shown)
        return {"topics": answered + refused, "next_cursor": following}


def topic(name: str, partitions: range = range(0), *, error: int = 0,
          operations: int = NO_OPERATIONS) -> dict[str, Any]:
    """As it stands in an answer."""
    return {"error_code": error, "name": name, "topic_id": bytes(16) if error else id_of(name), "is_internal": False,
            "partitions": [partition(index) for index in partitions], "topic_authorized_operations": operations}


def partition(index: int) -> dict[str, Any]:
    return {"error_code": 0, "partition_index": index, "leader_id": 1, "leader_epoch": 4, "replica_nodes": [1, 2],
            "isr_nodes": [1], "eligible_leader_replicas": [2], "last_known_elr": [], "offline_replicas": [2]}


def asking(*topics: str, limit: int = 2000, cursor: tuple[str, int] | None = None) -> dict[str, Any]:
    """A request; without topics it is about all."""
    return {"topics": [{"name": name} for name in topics], "response_partition_limit": limit,
            "cursor": cursor and {"topic_name": cursor[0], "partition_index": cursor[1]}}
