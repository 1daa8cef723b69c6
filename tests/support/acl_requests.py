"""The table of requests whose answers are compared between Kafka's authoriser and kproxy. One line per request:
(name, API, version, body). A new API needs a line here and nothing else. A ``topic_id`` is written as the topic's name;
``with_ids`` puts there what the cluster that is asked calls it."""

from __future__ import annotations

from typing import Any

from tests.support import frames
from tests.support.batches import Record, write_batch

TOPICS = ("t.a", "t.b", "t.c")
GROUPS = ("g.a", "g.b")
#: With offsets of all topics and without members.
SHARE_GROUPS = ("g.a.share", "g.b.share")
IDS = ("x.a", "x.b")
MISSING = "t.missing"
#: Of a topic that is in no cluster.
MISSING_ID = b"m" * 16
#: A transaction of nobody: who may write is told so by the coordinator, who may not by the authoriser.
STRANGER = {"producer_id": 999_999, "producer_epoch": 0}
TRANSACTIONAL = 0x10

Request = tuple[str, int, int, dict[str, Any]]


def _each(partition: dict[str, Any], names: tuple[str, ...] = TOPICS, key: str = "name",
          partitions: str = "partitions") -> list[dict[str, Any]]:
    return [{key: name, partitions: [partition]} for name in names]


def _indexes(names: tuple[str, ...] = TOPICS, key: str = "partition_indexes",
             called: str = "name") -> list[dict[str, Any]]:
    return [{called: name, key: [0]} for name in names]


def _resources(configs: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"resource_type": kind, "resource_name": name, **configs}
            for kind, names in ((2, TOPICS), (32, GROUPS)) for name in names]


def _member(group: str) -> dict[str, Any]:
    return {"group_id": group, "member_id": "stranger"}


_COMMIT = {"partition_index": 0, "committed_offset": 1, "committed_leader_epoch": -1, "committed_metadata": ""}
_PROTOCOL = {"protocol_type": "consumer", "protocols": [{"name": "range", "metadata": b""}]}
_NEW = [{"name": name, "num_partitions": 1, "replication_factor": 1} for name in ("t.new", "u.new")]

#: What about, names, limit, cursor. Kafka's own topics come first of all, and are not shown to everybody by kproxy.
_PAGES: tuple[tuple[str, tuple[str, ...], int, tuple[str, int] | None], ...] = (
    ("all", (), 2000, None), ("all, first page", (), 1, ("t", 0)), ("all, second page", (), 1, ("t.b", 0)),
    ("all, from a name that is none", (), 1, ("t.aaa", 3)), ("all, behind them", (), 2000, ("zzz", 0)),
    ("some", (*TOPICS, MISSING), 2000, None), ("some, second page", (*TOPICS, MISSING), 1, ("t.b", 0)),
    ("some, from none of them", TOPICS, 2000, (MISSING, 0)), ("some, before a partition", TOPICS, 2000, ("t.b", -1)),
)


def _written(called: str, names: tuple[str, ...], transactional_id: str | None = None) -> dict[str, Any]:
    records = frames.batch([b"{}"]) if transactional_id is None else write_batch(
        [Record(b"{}")], attributes=TRANSACTIONAL, base_sequence=0, **STRANGER)
    return {"acks": -1, "timeout_ms": 5000, "transactional_id": transactional_id, "topic_data": [
        {called: name, "partition_data": [{"index": 0, "records": records}]} for name in names]}


def with_ids(body: Any, ids: dict[str, bytes]) -> Any:
    """The body for the cluster whose topics have these ids."""
    if isinstance(body, dict):
        return {key: ids.get(part, MISSING_ID) if key == "topic_id" else with_ids(part, ids)
                for key, part in body.items()}
    return [with_ids(part, ids) for part in body] if isinstance(body, list) else body


_FETCHED = {"partition": 0, "current_leader_epoch": -1, "last_fetched_epoch": -1, "log_start_offset": -1,
            "partition_max_bytes": 1 << 16}
_ALL = (*TOPICS, MISSING)

READS: tuple[Request, ...] = (
    ("Fetch", 1, 12, {"replica_id": -1, "max_bytes": 1 << 20, "session_epoch": -1, "topics": _each(
        _FETCHED, key="topic")}),
    *((f"Fetch of ids, {version}", 1, version, {"max_bytes": 1 << 20, "session_epoch": -1, "topics": _each(
        _FETCHED, _ALL, key="topic_id")}) for version in (13, 17)),
    ("ListOffsets", 2, 7, {"replica_id": -1, "topics": _each(
        {"partition_index": 0, "current_leader_epoch": -1, "timestamp": -1})}),
    ("Metadata of all", 3, 9, {"topics": None, "include_topic_authorized_operations": True}),
    ("Metadata", 3, 9, {"topics": [{"name": name} for name in (*TOPICS, MISSING)],
                        "include_topic_authorized_operations": True}),
    ("Metadata of ids", 3, 12, {"topics": [{"topic_id": name, "name": None} for name in _ALL],
                                "include_topic_authorized_operations": True}),
    *((f"DescribeTopicPartitions of {what}", 75, 0, {
        "topics": [{"name": name} for name in names], "response_partition_limit": limit,
        "cursor": first and {"topic_name": first[0], "partition_index": first[1]}})
      for what, names, limit, first in _PAGES),
    ("OffsetFetch", 9, 7, {"group_id": "g.a", "topics": _indexes()}),
    ("OffsetFetch of all", 9, 8, {"groups": [{"group_id": group, "topics": None} for group in GROUPS]}),
    ("OffsetFetch of ids", 9, 10, {"groups": [
        {"group_id": group, "topics": _indexes(_ALL, called="topic_id")} for group in GROUPS]}),
    ("FindCoordinator", 10, 4, {"key_type": 0, "coordinator_keys": list(GROUPS)}),
    ("FindCoordinator of transactions", 10, 4, {"key_type": 1, "coordinator_keys": list(IDS)}),
    ("DescribeGroups", 15, 5, {"groups": list(GROUPS), "include_authorized_operations": True}),
    ("ListGroups", 16, 4, {}),
    ("ConsumerGroupDescribe", 69, 1, {"group_ids": list(GROUPS), "include_authorized_operations": True}),
    ("ShareGroupDescribe", 77, 1, {"group_ids": [*GROUPS, *SHARE_GROUPS], "include_authorized_operations": True}),
    ("DescribeShareGroupOffsets", 90, 1, {"groups": [
        {"group_id": group, "topics": [{"topic_name": name, "partitions": [0]} for name in TOPICS]}
        for group in SHARE_GROUPS]}),
    ("DescribeShareGroupOffsets of all", 90, 0, {"groups": [
        {"group_id": group, "topics": None} for group in (*SHARE_GROUPS, "g.none")]}),
    ("OffsetForLeaderEpoch", 23, 4, {"replica_id": -1, "topics": _each(
        {"partition": 0, "current_leader_epoch": -1, "leader_epoch": 0}, key="topic")}),
    ("DescribeConfigs", 32, 4, {"resources": _resources({"configuration_keys": ["retention.ms"]})}),
    ("DescribeConfigs of the cluster", 32, 4, {"include_synonyms": True, "resources": [
        {"resource_type": kind, "resource_name": name, "configuration_keys": keys}
        for kind, name, keys in ((4, "1", ["num.io.threads", "compression.type", "log.retention.hours"]),
                                 (4, "", None), (8, "1", ["root"]), (16, "m", None))]}),
    *((f"DescribeCluster, {version}", 60, version, {"include_cluster_authorized_operations": True, "endpoint_type": 1})
      for version in (0, 1)),
    ("DescribeLogDirs", 35, 4, {"topics": [{"topic": name, "partitions": [0]} for name in TOPICS]}),
    ("DescribeQuorum", 55, 2, {"topics": [{"topic_name": "__cluster_metadata", "partitions": [
        {"partition_index": 0}]}]}),
    ("ListConfigResources", 74, 1, {"resource_types": [2, 4, 8]}),
    ("DescribeProducers", 61, 0, {"topics": _indexes()}),
    ("DescribeTransactions", 65, 0, {"transactional_ids": list(IDS)}),
    ("ListTransactions", 66, 0, {}),
    ("ListPartitionReassignments", 46, 0, {"timeout_ms": 5000, "topics": None}),
    ("DescribeClientQuotas", 48, 1, {"components": [], "strict": False}),
)
WRITES: tuple[Request, ...] = (
    ("Produce", 0, 9, _written("name", TOPICS)),
    ("Produce by ids", 0, 13, _written("topic_id", _ALL)),
    *((f"Produce in {one}, {version}", 0, version, _written(called, TOPICS, one))
      for one in IDS for version, called in ((11, "name"), (12, "name"), (13, "topic_id"))),
    *((f"OffsetCommit {group}, {version}", 8, version, {
        "group_id": group, "generation_id_or_member_epoch": -1, "topics": _each(_COMMIT, names, key=key)})
      for group in GROUPS for version, key, names in ((8, "name", TOPICS), (10, "topic_id", _ALL))),
    *((f"ConsumerGroupHeartbeat {group} of {topic}", 68, 1, {
        "group_id": group, "member_id": "stranger", "member_epoch": 5, "rebalance_timeout_ms": -1,
        "subscribed_topic_names": [topic], "topic_partitions": None}) for group in GROUPS for topic in TOPICS),
    *((f"{name} {body['group_id']}", api, version, body) for group in GROUPS for name, api, version, body in (
        ("Heartbeat", 12, 4, {**_member(group), "generation_id": 1}),
        ("SyncGroup", 14, 5, {**_member(group), "generation_id": 1, "protocol_type": "consumer",
                              "protocol_name": "range"}),
        ("LeaveGroup", 13, 5, {"group_id": group, "members": [{"member_id": "stranger"}]}),
        ("JoinGroup", 11, 7, {**_member(group), "session_timeout_ms": 10000, "rebalance_timeout_ms": 10000,
                              **_PROTOCOL}))),
    *((f"ShareGroupHeartbeat {group} {topic}", 76, 1, {
        "group_id": group, "member_id": "stranger", "member_epoch": 7, "subscribed_topic_names": [topic]})
      for group in SHARE_GROUPS for topic in TOPICS),
    *((f"ShareFetch {group}", 78, 1, {
        "group_id": group, "member_id": "stranger", "share_session_epoch": 0, "max_wait_ms": 10, "min_bytes": 0,
        "max_bytes": 1 << 20, "max_records": 10, "batch_size": 10, "topics": _each(
            {"partition_index": 0, "acknowledgement_batches": []}, key="topic_id"),
        "forgotten_topics_data": []}) for group in SHARE_GROUPS),
    *((f"ShareAcknowledge {group}", 79, 1, {
        "group_id": group, "member_id": "nobody", "share_session_epoch": 7, "topics": []}) for group in SHARE_GROUPS),
    *((f"AlterShareGroupOffsets {group}", 91, 0, {
        "group_id": group, "topics": [{"topic_name": name, "partitions": [{"partition_index": 0, "start_offset": 0}]}
                                      for name in (*TOPICS, MISSING)]}) for group in SHARE_GROUPS),
    *((f"DeleteShareGroupOffsets {group}", 92, 0, {
        "group_id": group, "topics": [{"topic_name": name} for name in ("t.a", MISSING)]}) for group in SHARE_GROUPS),
    ("InitProducerId", 22, 4, {"transactional_id": None, "transaction_timeout_ms": 1000, "producer_id": -1,
                               "producer_epoch": -1}),
    *((f"InitProducerId {one}", 22, 5, {"transactional_id": one, "transaction_timeout_ms": 1000, "producer_id": -1,
                                        "producer_epoch": -1}) for one in IDS),
    *((f"AddPartitionsToTxn {one}", 24, 3, {
        "v3_and_below_transactional_id": one, **{f"v3_and_below_{key}": value for key, value in STRANGER.items()},
        "v3_and_below_topics": _indexes(key="partitions")}) for one in IDS),
    *((f"{name} {one}", api, version, {"transactional_id": one, **STRANGER, **more})
      for one in IDS for name, api, version, more in (
        ("AddOffsetsToTxn", 25, 4, {"group_id": "g.a"}), ("EndTxn, 3", 26, 3, {"committed": True}),
        ("EndTxn, 5", 26, 5, {"committed": True}),
        *((f"TxnOffsetCommit {group}, {version}", 28, version, {"group_id": group, "topics": _each(_COMMIT)})
          for group in GROUPS for version in (3, 5)))),
    ("CreateTopics", 19, 7, {"topics": _NEW, "timeout_ms": 5000, "validate_only": True}),
    ("CreatePartitions", 37, 3, {"topics": [{"name": name, "count": 2, "assignments": None} for name in TOPICS],
                                 "timeout_ms": 5000, "validate_only": True}),
    ("IncrementalAlterConfigs", 44, 1, {"validate_only": True, "resources": _resources({"configs": []})}),
    ("IncrementalAlterConfigs of the cluster", 44, 1, {"validate_only": True, "resources": [
        {"resource_type": kind, "resource_name": "1", "configs": [
            {"name": name, "config_operation": 0, "value": value}]}
        for kind, name, value in ((4, "num.io.threads", "9"), (8, "root", "INFO"), (16, "interval.ms", "5000"))]}),
    ("AlterConfigs", 33, 2, {"validate_only": True, "resources": _resources({"configs": []})}),
    ("DeleteRecords", 21, 2, {"timeout_ms": 5000, "topics": _each({"partition_index": 0, "offset": 0})}),
    ("OffsetDelete", 47, 0, {"group_id": "g.a", "topics": _each({"partition_index": 0}, (*TOPICS[:1], "t.c"))}),
    ("DeleteGroups", 42, 2, {"groups_names": ["g.gone", "g.b.gone"]}),
    ("DeleteTopics", 20, 5, {"topic_names": [MISSING, "u.missing"], "timeout_ms": 5000}),
    ("DeleteTopics by id", 20, 6, {"topics": [{"topic_id": MISSING, "name": None}], "timeout_ms": 5000}),
    ("AlterPartitionReassignments", 45, 0, {"timeout_ms": 5000, "topics": _each(
        {"partition_index": 0, "replicas": None})}),
    ("AlterClientQuotas", 49, 1, {"validate_only": True, "entries": [{
        "entity": [{"entity_type": "user", "entity_name": name}],
        "ops": [{"key": "producer_byte_rate", "value": 1e6, "remove": False}]} for name in ("somebody", "else")]}),
    ("ElectLeaders", 43, 2, {"election_type": 0, "topic_partitions": [{"topic": "t.a", "partitions": [0]}],
                             "timeout_ms": 5000}),
)
REQUESTS = (*READS, *WRITES)
#: What nobody of these may do, so that it can be asked about topics that are there.
DELETES: tuple[Request, ...] = (
    ("DeleteTopics that are there", 20, 6, {"topics": [{"name": name} for name in _ALL], "timeout_ms": 5000}),
    ("DeleteTopics that are there, by id", 20, 6, {
        "topics": [{"topic_id": name, "name": None} for name in _ALL], "timeout_ms": 5000}),
)
MAY_NOT_DELETE = ("reader", "prefix", "describer", "nobody")
