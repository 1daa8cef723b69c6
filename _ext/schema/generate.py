"""Writes the table of facts and the field names out of the message schemas a kafka-clients jar ships.

    python _ext/schema/generate.py path/to/kafka-clients-4.3.1.jar

makes ``_ext/schema/facts.pxi`` (compiled into kproxy._ext.schema) and ``kproxy/_ext/fields.pxd``. Only facts are taken:
names, types, versions, nullability, defaults and tags. To serve another API, add it to SERVED and INTEREST and run
again.
"""

from __future__ import annotations

import json
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVED = (0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 28, 32, 36, 37, 42, 44,
          47, 60)

#: The fields a walk leaves marks for, as dotted paths; the arrays on the way to them get marks of their own.
#: Whatever is not named here is skipped, and fixed-size neighbours are skipped in one step.
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
    "DescribeGroupsResponse": "groups.error_code groups.group_id groups.authorized_operations",
    "ListGroupsRequest": "states_filter types_filter",
    "ListGroupsResponse": "error_code groups.group_id",
    "SaslHandshakeRequest": "mechanism",
    "SaslHandshakeResponse": "error_code mechanisms",
    "ApiVersionsRequest": "client_software_name client_software_version",
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
    "TxnOffsetCommitRequest": "transactional_id group_id topics.name topics.partitions.partition_index",
    "TxnOffsetCommitResponse": "topics.name",
    "DescribeConfigsRequest": "resources.resource_type resources.resource_name",
    "DescribeConfigsResponse": "results.error_code results.resource_type results.resource_name",
    "SaslAuthenticateRequest": "auth_bytes",
    "SaslAuthenticateResponse": "error_code auth_bytes",
    "CreatePartitionsRequest": "topics.name",
    "CreatePartitionsResponse": "results.name results.error_code",
    "DeleteGroupsRequest": "groups_names",
    "DeleteGroupsResponse": "results.group_id",
    "IncrementalAlterConfigsRequest": "resources.resource_type resources.resource_name",
    "IncrementalAlterConfigsResponse": "responses.error_code responses.resource_type responses.resource_name",
    "OffsetDeleteRequest": "group_id topics.name topics.partitions.partition_index",
    "OffsetDeleteResponse": "error_code topics.name",
    "DescribeClusterRequest": "include_cluster_authorized_operations endpoint_type",
    "DescribeClusterResponse": """error_code brokers.broker_id brokers.host brokers.port
        cluster_authorized_operations""",
}


def snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def messages(jar: Path) -> Iterator[dict]:
    """The served requests and responses, by key, request first."""
    found = []
    with zipfile.ZipFile(jar) as archive:
        for name in archive.namelist():
            if not re.fullmatch(r"common/message/\w+(Request|Response)\.json", name):
                continue
            text = re.sub(r"(?m)^\s*//.*$", "", archive.read(name).decode())
            message = json.loads(text)
            if message["apiKey"] in SERVED:
                found.append(message)
    return iter(sorted(found, key=lambda one: (one["apiKey"], one["type"])))


def describe_field(field: dict, marked: bool) -> str:
    words = [snake_case(field["name"]), field["type"], field["versions"]]
    if not re.fullmatch(r"(\[\])?(bool|int8|int16|int32|int64|uuid|string|bytes|records)", field["type"]):
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
    """The table has no words for these, so a schema that starts to use them is refused, not half understood."""

    def look(fields: list[dict]) -> None:
        for field in fields:
            if field.get("flexibleVersions") or "struct" in field["type"]:
                raise SystemExit(f"{message['name']}.{field['name']}: not supported by this generator")
            if not field["type"].startswith("[]") and field.get("fields") and "tag" not in field:
                raise SystemExit(f"{message['name']}.{field['name']}: a struct outside the tags is not supported")
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
    wanted = set(INTEREST[message["name"]].split())
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
