"""Requests of a tenant and answers of a broker that holds everything of both, for any API and version, straight from
the table of facts. The broker is honest and lets everybody do everything, as it lets kproxy's account."""

from __future__ import annotations

import random
from typing import Any

from tests.support import frames
from tests.support.tenant_fields import (
    PARTITIONS,
    PLACES,
    entity_of,
    fields_at,
    item_kind,
    kind_of,
)
from tests.support.tenant_rules import DESCRIBED_WITH_TOPICS
from tests.support.tenants import BROKER_CANARY, NAMES, Tenants, topics_of_group, value_of, words_of

#: Asked the same each time. Acknowledged by all, from no follower, in no fetch session.
FIXED: dict[str, Any] = {
    "acks": -1, "timeout_ms": 1000, "replica_id": -1, "session_id": 0, "session_epoch": -1, "max_wait_ms": 5,
    "max_bytes": 1 << 20, "partition_max_bytes": 1 << 20, "member_id": "m", "generation_id": 1, "member_epoch": 1,
    "rebalance_timeout_ms": 1000, "session_timeout_ms": 6000, "count": 2, "num_partitions": 1, "replication_factor": 1,
    "response_partition_limit": 2000, "endpoint_type": 1, "allow_auto_topic_creation": False, "validate_only": True,
    "subscribed_topic_regex": None, "transactional_id_pattern": None, "configuration_keys": None, "cursor": None,
    "auth_bytes": b"t", "mechanism": "OAUTHBEARER", "client_software_name": "tester", "client_software_version": "1",
    "forgotten_topics_data": [], "max_records": 10, "acknowledgement_batches": [], "batch_size": 10,
    "components": [], "ops": [], "configs": [], "assignments": [],
}
#: Where a null (before there was one: an empty list) stands for all there is.
ALL = {*((api, "topics") for api in (3, 9, 35, 46, 75, 90)), (43, "topic_partitions")}
EMPTY_IS_ALL = {(3, 0), (75, 0)}
#: (API, field) of answers that list all there is, whatever was asked.
LISTS = {(16, "groups"), (66, "transaction_states"), (74, "config_resources"), (65, "topics")}
#: Where an answer's items come from in the request, if they are not called the same.
CALLED_IN_REQUEST = {
    "responses": ("topic_data", "topics", "topic_names", "resources"),
    "results": ("resources", "topics", "groups_names"),
    "topics": ("topic_names", "subscribed_topic_names"), "groups": ("group_ids",),
    "replica_election_results": ("topic_partitions",), "coordinators": ("coordinator_keys",),
    "results_by_topic_v3_and_below": ("v3_and_below_topics",), "transaction_states": ("transactional_ids",),
    "topic_partitions": ("subscribed_topic_names",), **dict.fromkeys(PARTITIONS, PARTITIONS),
}
UNKNOWN_TOPIC_ID = 100


def ask(tenants: Tenants, who: str, api: int, version: int, chance: random.Random) -> dict[str, Any]:
    """A request of the names that ``who`` knows, his own and others."""
    return _Request(tenants, who, api, version, chance).struct(fields_at(api, version, False), "")


class _Request:
    def __init__(self, tenants: Tenants, who: str, api: int, version: int, chance: random.Random) -> None:
        self.tenants, self.who, self.api, self.version, self.chance = tenants, who, api, version, chance
        self.key_type = chance.randrange(2) if version else 0

    def struct(self, fields: list[Any], parent: str) -> dict[str, Any]:
        here = [field for field in fields if field.at(self.version)]
        values = {field.name: self.value(field, parent) for field in here if not field.is_tagged(self.version)}
        if "resource_type" in values:
            self.choose_resource(values)
        if {"topic_id", "name"} <= {field.name for field in here}:
            # One of them names the topic. In 10 and 11 of Metadata only a name does.
            by_id = self.chance.random() < 0.5 and (self.api, self.version) not in ((3, 10), (3, 11))
            values["name" if by_id else "topic_id"] = None if by_id else bytes(16)
        return values

    def choose_resource(self, values: dict[str, Any]) -> None:
        kinds = {2: NAMES["topic"], 32: NAMES["group"], **({} if self.api == 33 else {4: ("1",)})}
        values["resource_type"] = self.chance.choice(list(kinds))
        if values["resource_type"] != 4:
            kind = {2: "topic", 32: "group"}[values["resource_type"]]
            values["resource_name"] = self.chance.choice(self.tenants.askable(self.who, kind))
        else:
            values["resource_name"] = "1"

    def value(self, field: Any, parent: str) -> Any:
        if field.name == "key_type":
            return self.key_type
        if self.api == 0 and field.name == "transactional_id":
            return None
        kind = kind_of(field, parent)
        if kind is not None and not field.type.startswith("[]"):
            return self.names(kind, field.type == "uuid", 1)[0]
        if field.name == "share_session_epoch":
            return 0 if self.api == 78 else -1
        if field.name in FIXED:
            return FIXED[field.name]
        if field.type == "records":
            return frames.batch([b"written"])
        if field.type.startswith("[]"):
            return self.array(field)
        return self.struct(list(field.fields), field.name) if field.type == "struct" else field.default

    def array(self, field: Any) -> Any:
        if (self.api, field.name) == (68, "topic_partitions"):
            return []
        may_be_all = field.is_nullable(self.version) or (self.api, self.version) in EMPTY_IS_ALL
        if (self.api, field.name) in ALL and may_be_all and self.chance.random() < 0.25:
            return None if field.is_nullable(self.version) else []
        kind = item_kind(field, self.version)
        if field.type == "[]string":
            return self.names(kind, False, self.chance.randint(1, 4)) if kind else []
        if field.name in PARTITIONS:
            places = [0, 1][:self.chance.randint(1, 2)]
            if field.type == "[]int32":
                return places
            place = next(one.name for one in field.fields if one.name in PLACES)
            return [{**self.struct(list(field.fields), field.name), place: at} for at in places]
        if not field.fields:
            return []
        items = [self.struct(list(field.fields), field.name) for _ in range(self.chance.randint(1, 4))]
        distinct = {repr(entity_of(one, field.name, self.tenants, self.key_type)): one for one in items}
        return list(distinct.values())

    def names(self, kind: str, by_id: bool, count: int) -> list[Any]:
        if kind == "coordinator":
            kind = ("group", "transactional_id")[self.key_type]
        known: list[Any] = ["1"] if kind == "resource" else self.tenants.askable(self.who, kind)
        return self.chance.sample(self.tenants.askable_ids(self.who, self.chance) if by_id else known,
                                  min(count, len(known)))


def answer(tenants: Tenants, api: int, version: int, asked: dict[str, Any]) -> dict[str, Any]:
    """What a broker says to ``asked``, which is what kproxy made of a request."""
    return _Answer(tenants, api, version).struct(fields_at(api, version, True), asked, "", "shared-all", 0)


class _Answer:
    def __init__(self, tenants: Tenants, api: int, version: int) -> None:
        self.tenants, self.api, self.version = tenants, api, version

    def struct(self, fields: list[Any], asked: dict[str, Any], parent: str, name: str, code: int) -> dict[str, Any]:
        """``name``: whose item it is in, which says what words it is full of."""
        return {field.name: self.value(field, asked, parent, name, code)
                for field in fields if field.at(self.version)}

    def value(self, field: Any, asked: dict[str, Any], parent: str, name: str, code: int) -> Any:
        if field.name.endswith("error_code"):
            return code
        if field.type == "struct":
            fields = list(field.fields)
            return None if field.name == "next_cursor" else self.struct(fields, asked, field.name, name, code)
        if field.type == "[]string" and ENTITY_LISTS.get(field.name):
            return topics_of_group(name)
        if field.type.startswith("[]"):
            return self.array(field, asked, name, code)
        if field.name == "host":
            return f"{BROKER_CANARY}-host"
        if field.type == "string":
            return f"{words_of(name)}-{field.name}"
        if field.type in ("records", "bytes"):
            return frames.batch([value_of(name)]) if field.type == "records" else words_of(name).encode()
        return 1 if field.name in ("node_id", "leader_id", "broker_id", "controller_id") else field.default

    def array(self, field: Any, asked: dict[str, Any], name: str, code: int) -> Any:
        if not field.fields:
            return []
        fields, kind = list(field.fields), item_kind(field, self.version)
        if field.name in PARTITIONS:
            place = next((one.name for one in fields if one.name in PLACES), None)
            rows = [{**self.struct(fields, asked, field.name, name, code), **({place: at} if place else {})}
                    for at in self.places(asked)]
            return rows
        if kind is None or field.name in ("brokers", "node_endpoints", "members"):
            return [self.struct(fields, asked, field.name, name, code)]
        return [self.item(fields, field.name, kind, one, inside) for one, inside in self.rows(field, asked, kind, name)]

    def places(self, asked: dict[str, Any]) -> list[int]:
        given = next((asked[one] for one in PARTITIONS if asked.get(one)), [0])
        return [at if isinstance(at, int) else next(at[one] for one in PLACES if one in at) for at in given]

    def rows(self, field: Any, asked: dict[str, Any], kind: str, name: str) -> list[tuple[Any, dict[str, Any]]]:
        """(a name, an id or both a kind and a name, what the request says of it)."""
        source = next((one for one in (field.name, *CALLED_IN_REQUEST.get(field.name, ())) if one in asked), None)
        given = asked[source] if source is not None else None
        if self.api in DESCRIBED_WITH_TOPICS and kind == "topic":
            return [(one, {}) for one in topics_of_group(name)]
        if self.api == 74 and self.version == 0:
            return [("shared-metrics", {})]
        if self.api == 74:
            return [((number, one), {}) for number, what in ((2, "topic"), (32, "group")) for one in NAMES[what]]
        is_all = given is None or (given == [] and (self.api, self.version) in EMPTY_IS_ALL)
        if is_all or (self.api, field.name) in LISTS:
            return [(one, {}) for one in NAMES[kind]]
        if kind == "resource":
            return [((one["resource_type"], one["resource_name"]), one) for one in given]
        return [(one, {}) if isinstance(one, str) else (self.named(one), one) for one in given]

    def named(self, one: dict[str, Any]) -> Any:
        for field in ("topic_id", "name", "topic", "topic_name", "group_id", "transactional_id"):
            if one.get(field) not in (None, "", bytes(16)):
                return one[field]
        raise AssertionError(f"nothing is named by {one}")

    def item(self, fields: list[Any], parent: str, kind: str, one: Any, asked: dict[str, Any]) -> dict[str, Any]:
        number, one = one if isinstance(one, tuple) else (None, one)
        topic_id = one if isinstance(one, bytes) else self.tenants.ids.get(one, bytes(16))
        name = self.tenants.name_of(one) if isinstance(one, bytes) else one
        code = UNKNOWN_TOPIC_ID if name is None else 0
        values = self.struct(fields, asked, parent, name or "shared-by-all", code)
        here = {field.name: field for field in fields if field.at(self.version)}
        for field in here.values():
            if field.name == "topic_id":
                values[field.name] = topic_id
            elif kind_of(field, parent) and not field.type.startswith("[]"):
                values[field.name] = name if name or field.is_nullable(self.version) else ""
        if number is not None:
            values["resource_type"] = number
        return values


#: Lists of names inside an item.
ENTITY_LISTS = {"subscribed_topic_names": "topic"}

