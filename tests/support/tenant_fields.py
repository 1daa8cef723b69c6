"""What stands in the fields of Kafka's messages, by their names in the table of facts: whose names, codes, places."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kproxy._ext import schema
from tests.support.tenants import Tenants

FIND_COORDINATOR = 10
#: Fields that name something: its kind.
ENTITIES = {
    "topic": "topic", "topic_name": "topic", "topic_id": "topic", "name": "topic", "topic_names": "topic",
    "subscribed_topic_names": "topic", "group_id": "group", "groups": "group", "group_ids": "group",
    "groups_names": "group", "transactional_id": "transactional_id", "transactional_ids": "transactional_id",
    "v3_and_below_transactional_id": "transactional_id", "key": "coordinator", "coordinator_keys": "coordinator",
    "resource_name": "resource",
}
#: Arrays whose ``name`` or ``key`` is no topic's or group's.
OWN_WORDS = {"protocols", "configs", "synonyms", "listeners", "values", "ops"}
#: What a partition is called, and a list of them.
PLACES = ("partition_index", "partition", "partition_id", "index")
PARTITIONS = ("partitions", "partition_indexes", "partition_data", "partition_responses", "partition_result",
              "results_by_partition")
CODES = ("error_code", "partition_error_code")
#: Kafka's numbers of resources.
RESOURCES = {2: "topic", 32: "group", 4: "cluster"}

Path = tuple[tuple[str, str], ...]


def kind_of(field: Any, parent: str) -> str | None:
    """What a field names: one of ENTITIES' values."""
    if field.type not in ("string", "[]string", "uuid") or parent in OWN_WORDS:
        return None
    return ENTITIES.get(field.name)


def item_kind(field: Any, version: int) -> str | None:
    """What the items of an array are about."""
    if field.type == "[]string":
        return ENTITIES.get(field.name)
    return next((kind for one in field.fields if one.at(version) and (kind := kind_of(one, field.name))), None)


def entity_of(struct: dict[str, Any], parent: str, tenants: Tenants, key_type: int) -> tuple[str, str] | None:
    """(kind, name) of what a struct is about. An id counts as the name of its topic."""
    if parent in OWN_WORDS:
        return None
    found = None
    for field, value in struct.items():
        kind = ENTITIES.get(field)
        if isinstance(value, list) or kind is None or value in (None, "", bytes(16)):
            continue
        if kind == "coordinator":
            kind = ("group", "transactional_id")[key_type]
        elif kind == "resource":
            if "resource_type" not in struct:
                continue
            kind = RESOURCES[struct["resource_type"]]
            value = "kafka-cluster" if kind == "cluster" else value
        elif isinstance(value, bytes):
            value = tenants.name_of(value) or f"gone {value!r}"
        assert found in (None, (kind, value)), f"{found} and {value} in one item"
        found = (kind, value)
    return found


def walk(values: Any, tenants: Tenants, key_type: int = 0, path: Path = (),
         parent: str = "") -> Iterator[tuple[Path, int | None]]:
    """Everything a message names below its top, by its path of names, with each code that stands there; None for the
    name itself."""
    if isinstance(values, dict):
        entity = entity_of(values, parent, tenants, key_type) if parent else None
        if entity is not None and entity not in path:
            path = (*path, entity)
            yield path, None
        for field, value in values.items():
            if field in CODES:
                yield path, value
            elif isinstance(value, (dict, list)):
                yield from walk(value, tenants, key_type, path, field)
    elif isinstance(values, list):
        kind = ENTITIES.get(parent)
        for one in values:
            if isinstance(one, str) and kind is not None:
                yield (*path, (("group", "transactional_id")[key_type] if kind == "coordinator" else kind, one)), None
            elif isinstance(one, dict):
                yield from walk(one, tenants, key_type, path, parent)


def fields_at(api: int, version: int, response: bool) -> list[Any]:
    return [field for field in schema.fields_of(api, response) if field.at(version)]
