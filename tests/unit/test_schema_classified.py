"""Every API, version and field of the newest client that could tell or take more than policy says has been looked at.

A newer jar that brings one fails here until somebody has said what is done with it: ARCHITECTURE.md, "A new Kafka
release".
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from kproxy._ext import schema
from kproxy._ext.apis import LOCAL, NAMES, SERVED
from kproxy._ext.refused import REFUSED
from tests.support.kafka_libs import KafkaMissing, newest_client
from tests.support.scripts import load_script

#: What names something, or could: by Kafka's own entity types, by its type, by its name.
ENTITIES = ("topicName", "groupId", "transactionalId")
TYPES = ("uuid", "records", "bytes")
NAMES_OF_INTEREST = re.compile(
    r"(?:^|_)(?:host|port|regex|endpoint|principal|message|metadata|assignment|rack|rack_id|resource_name|log_dir|pattern)$")
#: Fields that a walk leaves no mark for, by what they are and why that is sound.
CLASSIFIED = {
    r"\w+Response\.(?:.*\.)?(?:batch_index_|acknowledge_)?error_message":
        "a broker's words on what it was sent, and it was sent only what is allowed",
    r"\w+\.(?:.*\.)?rack(?:_id)?": "a zone, by which followers are chosen; no address",
    r"(?:Produce|Fetch)Response\.node_endpoints\.\w+": "a tag; it is found as one and replaced or left out whole",
    r"DescribeQuorumResponse\.nodes\.listeners\.\w+": "the list they stand in is emptied",
    r"\w+\.(?:.*\.)?replica_directory_id": "the name of a disk, which no API of a client takes",
    r"\w+Describe\w*Response\.groups\.members\.client_host|DescribeGroupsResponse\.groups\.members\.client_host":
        "kproxy's address, or a client's where brokers are told it (PROXY protocol)",
    r"Streams\w+\.(?:.*\.)?user_endpoint(?:\.\w+)?": "where an application listens, not a broker",
    r"(?:Join|Sync)Group\w+\.(?:.*\.)?(?:metadata|assignment)|DescribeGroupsResponse\.groups\.members\.member_\w+":
        "bytes of the members' own making, shown to who may describe the group (docs/policy.md)",
    r"\w+\.(?:.*\.)?committed_metadata|OffsetFetchResponse\.(?:.*\.)?metadata": "a client's own remark on its offset",
    r"\w+Response\.(?:.*\.)?topic_id": "stands beside the name by which it is decided, or was not asked for by id",
    r"AddPartitionsToTxn(?:Request|Response)\.(?:transactions|results_by_transaction)\..*": "from 4 on, refused",
    r"(?:GetTelemetrySubscriptions|PushTelemetry)\w+\.(?:client_instance_id|metrics)": "a client's own measurements",
    r"StreamsGroupHeartbeatRequest\.topology\.subtopologies\.copartition_groups\.source_topic_regex":
        "numbers of entries in a list that is marked",
    r"JoinGroupResponse\.skip_assignment": "yes or no",
}
#: Neither served nor refused by name: what they wait for. A client that is told of none of a family uses none.
HIDDEN = {
    71: "telemetry, hidden with 72", 72: "telemetry, hidden with 71",
    **dict.fromkeys((88, 89, 93), "streams groups, hidden as a family"),
}
#: Served below the newest version: why.
CAPPED = {
    24: "above it for brokers, refused",
}


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    return load_script("_ext/schema/generate.py")


@pytest.fixture(scope="module")
def messages(generator: ModuleType) -> list[dict[str, Any]]:
    try:
        found = list(generator.messages(newest_client()))
    except KafkaMissing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing))
        pytest.skip(str(missing))
    for message in found:
        generator.put_common_in_place(message)
    return found


def fields_to_look_at(message: dict[str, Any], snake_case: Any) -> Iterator[str]:
    def look(fields: list[dict[str, Any]], path: str) -> Iterator[str]:
        for field in fields:
            name = snake_case(field["name"])
            if not field.get("fields") and (field.get("entityType") in ENTITIES or NAMES_OF_INTEREST.search(name)
                                            or field["type"].removeprefix("[]") in TYPES):
                yield f"{message['name']}.{path}{name}"
            yield from look(field.get("fields", []), f"{path}{name}.")

    return look(message["fields"], "")


def test_every_field_that_could_tell_is_marked_or_explained(messages: list[dict[str, Any]],
                                                             generator: ModuleType) -> None:
    used: set[str] = set()
    unexplained = []
    for message in messages:
        if message["apiKey"] in REFUSED and message["apiKey"] not in SERVED:
            continue
        marked = set(generator.INTEREST.get(message["name"], "").split())
        for field in fields_to_look_at(message, generator.snake_case):
            if field.partition(".")[2] in marked or message["apiKey"] in LOCAL:
                continue
            reasons = [pattern for pattern in CLASSIFIED if re.fullmatch(pattern, field)]
            used.update(reasons)
            unexplained += [] if reasons else [field]
    assert unexplained == [], "mark them in _ext/schema/generate.py and authorise them, or say here why not"
    assert used == set(CLASSIFIED), "nothing is explained that is not there"


def test_every_api_of_the_jar_is_served_refused_or_hidden_for_a_reason() -> None:
    undecided = {api: NAMES[api] for api in NAMES if api not in SERVED and api not in REFUSED and api not in HIDDEN}
    assert undecided == {} and not set(HIDDEN) & set(SERVED)
    assert set(REFUSED) & set(SERVED) == {24}


def test_every_newer_version_than_the_served_one_has_a_reason() -> None:
    newer = {api: schema.versions(api)[1] for api, (_, highest) in SERVED.items() if schema.versions(api)[1] > highest}
    assert set(newer) == set(CAPPED)


def test_the_eye_for_fields_sees_what_it_should(generator: ModuleType) -> None:
    """A planted field of each kind."""
    kinds = [{"name": "Owner", "type": "string", "entityType": "topicName"}, {"name": "LeaderHost", "type": "string"},
             {"name": "Ids", "type": "[]uuid"}, {"name": "Blob", "type": "bytes"},
             {"name": "NameRegex", "type": "string"}, {"name": "Count", "type": "int32"}]
    message = {"name": "XRequest", "fields": [{"name": "Rows", "type": "[]Row", "fields": kinds}]}
    assert list(fields_to_look_at(message, generator.snake_case)) == [
        f"XRequest.rows.{name}" for name in ("owner", "leader_host", "ids", "blob", "name_regex")]
