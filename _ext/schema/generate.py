"""Writes the table of facts and the field names out of the message schemas a kafka-clients jar ships.

    python _ext/schema/generate.py path/to/kafka-clients-4.4.0.jar

makes ``_ext/schema/facts.pxi`` (compiled into kproxy._ext.schema) and ``kproxy/_ext/fields.pxd``. Only facts are taken:
names, types, versions, nullability, defaults and tags. Every API of the jar is in the table; to have a field marked,
name it in INTEREST and run again.
"""

from __future__ import annotations

import json
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: The fields a walk leaves marks for, as dotted paths; the arrays on the way to them get marks of their own.
#: Whatever is not named here is skipped, and fixed-size neighbours are skipped in one step. A message that is not here
#: is one that kproxy never opens.
INTEREST = {
    "ProduceRequest": """transactional_id acks topic_data.name topic_data.topic_id topic_data.partition_data.index
        topic_data.partition_data.records""",
    "ProduceResponse": """throttle_time_ms responses.name responses.topic_id responses.partition_responses.index
        responses.partition_responses.error_code responses.partition_responses.base_offset""",
    "FetchRequest": """replica_id session_id session_epoch topics.topic topics.topic_id topics.partitions.partition
        forgotten_topics_data.topic forgotten_topics_data.topic_id forgotten_topics_data.partitions""",
    "FetchResponse": """throttle_time_ms error_code session_id responses.topic responses.topic_id
        responses.partitions.partition_index responses.partitions.error_code responses.partitions.high_watermark
        responses.partitions.records""",
    "ListOffsetsRequest": "replica_id topics.name topics.partitions.partition_index",
    "ListOffsetsResponse": "topics.name",
    "MetadataRequest": """topics.topic_id topics.name allow_auto_topic_creation include_cluster_authorized_operations
        include_topic_authorized_operations""",
    "MetadataResponse": """brokers.node_id brokers.host brokers.port topics.error_code topics.name topics.topic_id
        topics.is_internal topics.topic_authorized_operations cluster_authorized_operations""",
    "OffsetCommitRequest": "group_id topics.name topics.topic_id topics.partitions.partition_index",
    "OffsetCommitResponse": "topics.name topics.topic_id",
    "OffsetFetchRequest": """group_id topics.name topics.partition_indexes groups.group_id groups.topics.name
        groups.topics.topic_id groups.topics.partition_indexes""",
    "OffsetFetchResponse": """topics.name error_code groups.group_id groups.topics.name groups.topics.topic_id
        groups.error_code""",
    "FindCoordinatorRequest": "key key_type coordinator_keys",
    "FindCoordinatorResponse": """error_code node_id host port coordinators.key coordinators.node_id coordinators.host
        coordinators.port coordinators.error_code""",
    "JoinGroupRequest": "group_id",
    "JoinGroupResponse": "error_code",
    "HeartbeatRequest": "group_id",
    "HeartbeatResponse": "error_code",
    "LeaveGroupRequest": "group_id",
    "LeaveGroupResponse": "error_code",
    "SyncGroupRequest": "group_id",
    "SyncGroupResponse": "error_code",
    "DescribeGroupsRequest": "groups include_authorized_operations",
    "DescribeGroupsResponse": """groups.error_code groups.group_id groups.protocol_type groups.members.member_metadata
        groups.members.member_assignment groups.authorized_operations""",
    "ListGroupsRequest": "states_filter types_filter",
    "ListGroupsResponse": "error_code groups.group_id",
    "SaslHandshakeRequest": "mechanism",
    "SaslHandshakeResponse": "error_code mechanisms",
    "ApiVersionsRequest": "client_software_name client_software_version cluster_id node_id",
    "ApiVersionsResponse": "error_code api_keys.api_key api_keys.min_version api_keys.max_version",
    "CreateTopicsRequest": "topics.name topics.num_partitions topics.replication_factor validate_only",
    "CreateTopicsResponse": "topics.name topics.error_code topics.error_message topics.configs",
    "DeleteTopicsRequest": "topics.name topics.topic_id topic_names",
    "DeleteTopicsResponse": "responses.name responses.topic_id responses.error_code responses.error_message",
    "DeleteRecordsRequest": "topics.name topics.partitions.partition_index",
    "DeleteRecordsResponse": "topics.name",
    "InitProducerIdRequest": "transactional_id",
    "InitProducerIdResponse": "error_code",
    "OffsetForLeaderEpochRequest": "replica_id topics.topic topics.partitions.partition",
    "OffsetForLeaderEpochResponse": "topics.topic",
    "AddPartitionsToTxnRequest": """v3_and_below_transactional_id v3_and_below_topics.name
        v3_and_below_topics.partitions""",
    "AddPartitionsToTxnResponse": "results_by_topic_v3_and_below.name",
    "AddOffsetsToTxnRequest": "transactional_id group_id",
    "AddOffsetsToTxnResponse": "error_code",
    "EndTxnRequest": "transactional_id",
    "EndTxnResponse": "error_code",
    "TxnOffsetCommitRequest": "transactional_id group_id topics.name topics.topic_id topics.partitions.partition_index",
    "TxnOffsetCommitResponse": "topics.name topics.topic_id",
    "DescribeConfigsRequest": "resources.resource_type resources.resource_name",
    "DescribeConfigsResponse": "results.error_code results.resource_type results.resource_name",
    "SaslAuthenticateRequest": "auth_bytes",
    "SaslAuthenticateResponse": "error_code auth_bytes",
    "CreatePartitionsRequest": "topics.name",
    "CreatePartitionsResponse": "results.name results.error_code",
    "DeleteGroupsRequest": "groups_names",
    "DeleteGroupsResponse": "results.group_id",
    "IncrementalAlterConfigsRequest": """resources.resource_type resources.resource_name resources.configs.name
        resources.configs.value""",
    "IncrementalAlterConfigsResponse": "responses.error_code responses.resource_type responses.resource_name",
    "OffsetDeleteRequest": "group_id topics.name topics.partitions.partition_index",
    "OffsetDeleteResponse": "error_code throttle_time_ms topics.name",
    "AlterConfigsRequest": "resources.resource_type resources.resource_name",
    "AlterConfigsResponse": "responses.error_code responses.resource_type responses.resource_name",
    "DescribeLogDirsRequest": "topics.topic",
    "DescribeLogDirsResponse": "error_code results.log_dir results.topics.name",
    "ElectLeadersRequest": "topic_partitions.topic topic_partitions.partitions",
    "ElectLeadersResponse": "error_code replica_election_results.topic",
    "AlterPartitionReassignmentsRequest": "topics.name topics.partitions.partition_index",
    "AlterPartitionReassignmentsResponse": "error_code responses.name",
    "ListPartitionReassignmentsRequest": "topics.name topics.partition_indexes",
    "ListPartitionReassignmentsResponse": "error_code topics.name",
    "DescribeClientQuotasResponse": "error_code",
    "AlterClientQuotasRequest": "validate_only",
    "DescribeQuorumRequest": "topics.topic_name topics.partitions.partition_index",
    "DescribeQuorumResponse": "error_code topics.topic_name nodes.node_id nodes.listeners",
    "DescribeProducersRequest": "topics.name topics.partition_indexes",
    "DescribeProducersResponse": "topics.name topics.partitions.error_code",
    "DescribeTransactionsRequest": "transactional_ids",
    "DescribeTransactionsResponse": """transaction_states.error_code transaction_states.transactional_id
        transaction_states.topics.topic""",
    "ListTransactionsRequest": "transactional_id_pattern",
    "ListTransactionsResponse": "error_code transaction_states.transactional_id",
    "ConsumerGroupHeartbeatRequest": """group_id member_epoch subscribed_topic_names subscribed_topic_regex
        topic_partitions.topic_id""",
    "ConsumerGroupHeartbeatResponse": "error_code assignment.topic_partitions.topic_id",
    "ConsumerGroupDescribeRequest": "group_ids include_authorized_operations",
    "ConsumerGroupDescribeResponse": """groups.error_code groups.group_id groups.members.subscribed_topic_names
        groups.members.subscribed_topic_regex groups.members.assignment.topic_partitions.topic_name
        groups.members.target_assignment.topic_partitions.topic_name groups.authorized_operations""",
    "GetTelemetrySubscriptionsResponse": "error_code",
    "PushTelemetryResponse": "error_code",
    "ListConfigResourcesRequest": "resource_types",
    "ListConfigResourcesResponse": "error_code config_resources.resource_name config_resources.resource_type",
    "DescribeTopicPartitionsRequest": """topics.name response_partition_limit cursor.topic_name
        cursor.partition_index""",
    "DescribeTopicPartitionsResponse": """topics.error_code topics.name topics.topic_id
        topics.partitions.partition_index topics.topic_authorized_operations next_cursor.topic_name
        next_cursor.partition_index""",
    "ShareGroupHeartbeatRequest": "group_id subscribed_topic_names",
    "ShareGroupHeartbeatResponse": "error_code assignment.topic_partitions.topic_id",
    "ShareGroupDescribeRequest": "group_ids include_authorized_operations",
    "ShareGroupDescribeResponse": """groups.error_code groups.group_id groups.members.subscribed_topic_names
        groups.members.assignment.topic_partitions.topic_name groups.authorized_operations""",
    "ShareFetchRequest": """group_id member_id share_session_epoch topics.topic_id topics.partitions.partition_index
        topics.partitions.acknowledgement_batches forgotten_topics_data.topic_id forgotten_topics_data.partitions""",
    "ShareFetchResponse": """throttle_time_ms error_code responses.topic_id responses.partitions.partition_index
        responses.partitions.error_code responses.partitions.acknowledge_error_code responses.partitions.records
        responses.partitions.acquired_records.first_offset responses.partitions.acquired_records.last_offset
        node_endpoints.node_id node_endpoints.host node_endpoints.port""",
    "ShareAcknowledgeRequest": """group_id member_id share_session_epoch topics.topic_id
        topics.partitions.partition_index""",
    "ShareAcknowledgeResponse": """throttle_time_ms error_code responses.topic_id
        responses.partitions.partition_index responses.partitions.error_code node_endpoints.node_id
        node_endpoints.host node_endpoints.port""",
    "StreamsGroupHeartbeatRequest": """group_id topology.subtopologies.source_topics
        topology.subtopologies.source_topic_regex topology.subtopologies.state_changelog_topics.name
        topology.subtopologies.repartition_sink_topics topology.subtopologies.repartition_source_topics.name""",
    "StreamsGroupHeartbeatResponse": """error_code status.status_code status.status_detail
        partitions_by_user_endpoint.active_partitions.topic partitions_by_user_endpoint.standby_partitions.topic""",
    "StreamsGroupDescribeRequest": "group_ids include_authorized_operations",
    "StreamsGroupDescribeResponse": """groups.error_code groups.group_id groups.topology.subtopologies.source_topics
        groups.topology.subtopologies.repartition_sink_topics
        groups.topology.subtopologies.state_changelog_topics.name
        groups.topology.subtopologies.repartition_source_topics.name groups.authorized_operations
        groups.topology_description.subtopologies.nodes.source_topics
        groups.topology_description.subtopologies.nodes.sink_topic
        groups.topology_description.global_stores.source.source_topics
        groups.topology_description.global_stores.source.sink_topic
        groups.topology_description.global_stores.processor.source_topics
        groups.topology_description.global_stores.processor.sink_topic""",
    "DescribeShareGroupOffsetsRequest": "groups.group_id groups.topics.topic_name groups.topics.partitions",
    "DescribeShareGroupOffsetsResponse": """groups.group_id groups.topics.topic_name groups.topics.topic_id
        groups.error_code""",
    "AlterShareGroupOffsetsRequest": "group_id topics.topic_name topics.partitions.partition_index",
    "AlterShareGroupOffsetsResponse": "error_code responses.topic_name responses.topic_id",
    "DeleteShareGroupOffsetsRequest": "group_id topics.topic_name",
    "DeleteShareGroupOffsetsResponse": "error_code responses.topic_name responses.topic_id",
    "StreamsGroupTopologyDescriptionUpdateRequest": """group_id
        topology_description.subtopologies.nodes.source_topics topology_description.subtopologies.nodes.sink_topic
        topology_description.global_stores.source.source_topics topology_description.global_stores.source.sink_topic
        topology_description.global_stores.processor.source_topics
        topology_description.global_stores.processor.sink_topic""",
    "StreamsGroupTopologyDescriptionUpdateResponse": "error_code",
    "DescribeClusterRequest": "include_cluster_authorized_operations endpoint_type",
    "DescribeClusterResponse": """error_code brokers.broker_id brokers.host brokers.port
        cluster_authorized_operations""",
}


def snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def messages(jar: Path) -> Iterator[dict]:
    """The requests and responses of which any version is left, by key, request first."""
    found = []
    with zipfile.ZipFile(jar) as archive:
        for name in archive.namelist():
            if not re.fullmatch(r"common/message/\w+(Request|Response)\.json", name):
                continue
            text = re.sub(r"(?m)^\s*//.*$", "", archive.read(name).decode())
            message = json.loads(text)
            if message["validVersions"] != "none":
                found.append(message)
    return iter(sorted(found, key=lambda one: (one["apiKey"], one["type"])))


def describe_field(field: dict, marked: bool) -> str:
    words = [snake_case(field["name"]), field["type"], field["versions"]]
    if not re.fullmatch(r"(\[\])?(bool|int8|u?int16|int32|int64|float64|uuid|string|bytes|records)", field["type"]):
        words[1] = "[]struct" if field["type"].startswith("[]") else "struct"
    if field.get("nullableVersions"):
        words.append(f"nullable={field['nullableVersions']}")
    if "tag" in field:
        words.append(f"tag={field['tag']}:{field['taggedVersions']}")
    default = str(field.get("default", "")).lower()
    if default not in ("", "0", "false"):
        words.append(f"default={int(default, 0) if re.fullmatch(r'-?(0x)?[0-9a-f]+', default) else default}")
    return " ".join(words + ["!"] * marked)


def check_known(message: dict) -> None:
    """The table has no words for this, so a schema that starts to use it is refused, not half understood."""

    def look(fields: list[dict]) -> None:
        for field in fields:
            if field.get("flexibleVersions") or "struct" in field["type"]:
                raise SystemExit(f"{message['name']}.{field['name']}: not supported by this generator")
            look(field.get("fields", []))

    look(message["fields"])


def put_common_in_place(message: dict) -> None:
    """A struct that a message names in several places stands in each of them: paths and depths are those of the
    bytes. One that holds itself ends in SystemExit."""
    common = {one["name"]: one["fields"] for one in message.get("commonStructs", ())}

    def place(fields: list[dict], inside: tuple[str, ...]) -> list[dict]:
        placed = []
        for field in fields:
            name = field["type"].removeprefix("[]")
            if name in inside:
                raise SystemExit(f"{message['name']}.{field['name']}: {name} holds itself")
            held = field.get("fields") or common.get(name, [])
            placed.append({**field, "fields": place(held, (*inside, name))} if held else field)
        return placed

    message["fields"] = place(message["fields"], ())


def describe_message(message: dict) -> list[str]:
    put_common_in_place(message)
    check_known(message)
    wanted = set(INTEREST.get(message["name"], "").split())
    seen: set[str] = set()
    valid = message["validVersions"]
    words = [str(message["apiKey"]), message["type"], message["name"], valid, message["flexibleVersions"]]
    if message.get("latestVersionUnstable"):
        words.append("unstable")
    lines = [" ".join(words)]

    def describe(fields: list[dict], path: str, depth: int) -> None:
        for field in fields:
            here = path + snake_case(field["name"])
            marked = any(one == here or one.startswith(here + ".") for one in wanted)
            seen.update(one for one in wanted if one == here)
            lines.append(" " * depth + describe_field(field, marked))
            describe(field.get("fields", []), here + ".", depth + 1)

    describe(message["fields"], "", 1)
    if wanted != seen:
        raise SystemExit(f"{message['name']} has no {', '.join(sorted(wanted - seen))}")
    return lines


def generate(jar: Path) -> dict[Path, str]:
    """What the two files should hold for this jar. Raises SystemExit for a schema it cannot describe."""
    lines: list[str] = []
    for message in messages(jar):
        lines += describe_message(message)
    names = sorted({line.split()[0] for line in lines if line.startswith(" ")})
    head = f"# Generated by _ext/schema/generate.py from {jar.name}. Never edited by hand."
    facts = [head, 'FACTS = """', *lines, '"""', ""]
    fields = [head, "", "cdef enum:", *(f"    F_{name.upper()} = {at}" for at, name in enumerate(names, 1)), ""]
    return {
        ROOT / "_ext" / "schema" / "facts.pxi": "\n".join(facts),
        ROOT / "kproxy" / "_ext" / "fields.pxd": "\n".join(fields),
    }


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    for path, text in generate(Path(sys.argv[1])).items():
        path.write_text(text)
        print(f"{path.relative_to(ROOT)}: {len(text.splitlines())} lines")
