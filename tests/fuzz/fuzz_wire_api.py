"""Invariant: whatever a client or broker sends, no refused name and no broker's address passes an authorising module.

    python -m tests.fuzz.fuzz_wire_api --seconds 30 [--seed 1] [FILE ...]

Requests and answers of the rows in APIS with random names, some allowed; a part of them harmed. A module forwards,
replaces, answers or raises WireError; what it makes is well formed, and only the names the policy allows are in the
frame for the broker, and in the topics of the answer that do not carry an error; every second input meets safeguards,
and no topic goes on that breaks one. A file given is one input: api key
(i16), version (i16), the request's length (u32), the request's frame and the broker's answer without their sizes.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from typing import Any

from kproxy._ext import apis, request, schema
from kproxy.errors import WireError
from tests.fuzz.fuzz_wire import PIECES
from tests.fuzz.harness import Harness, mutate
from tests.support import frames
from tests.support.desk import Desk, id_of, spanning
from tests.support.messages import random_values
from tests.support.safeguards import GuardedDesk, read_safeguards

#: All that are served but what kproxy answers itself, and Produce and Fetch: fuzz_records has their records.
APIS = tuple(sorted(set(apis.SERVED) - set(apis.LOCAL) - {0, 1}))
NAMES = ("open-a", "open-b", "shut-a", "shut-b", "__consumer_offsets", "")
#: What kproxy has learned; the zero id and that of the empty name are no topic's.
IDS = {id_of(name): name for name in NAMES if name}
NAME_FIELDS = ("name", "topic", "topic_name", "group_id", "key", "transactional_id", "v3_and_below_transactional_id",
               "resource_name", "topic_name")
NAME_LISTS = ("coordinator_keys", "groups", "group_ids", "groups_names", "topic_names", "subscribed_topic_names",
              "transactional_ids")
POLICY = ("describe topic open*", "read topic open*", "write topic open*", "create topic open*", "read group open*",
          "describe group open*", "delete group open*", "write transactional_id open*",
          "describe transactional_id open*",
          *(f"{operation} {kind} open*" for operation in ("describe_configs", "alter_configs")
            for kind in ("topic", "group")), "delete topic open*", "alter topic open*",
          "describe_configs cluster kafka-cluster", "alter_configs cluster kafka-cluster")
TYPES_WITH_NAMES = (2, 32)          # Kafka's types of resources whose configs are a topic's or a group's
TYPES_OF_CLUSTER = (BROKER := 4, 8, 16)     # those of brokers, their loggers and clients' metrics
#: Other fields that decide what is made of a message.
CHOICES: dict[str, tuple[Any, ...]] = {
    "host": ("real-host", ""), "resource_type": (*TYPES_WITH_NAMES, *TYPES_OF_CLUSTER, 1),
    "node_id": (-1, 1, 2, 9), "broker_id": (-1, 1, 2, 9), "topic_id": (bytes(16), bytes(16), id_of(""), *IDS),
    "value": ("place:1", "5", "INFO")}
#: Of the values that CHOICES has none is within these.
SAFEGUARDS = read_safeguards(
    "{name: few, topics: [open-a], admin: {partitions: {max: 5}, configs: {num.io.threads: {max: 4}}}}",
    "{name: four, topics: [open-b], action: override, admin: {configs: {num.io.threads: {max: 4, required: true}}}}")
SETTINGS = ("listeners", "num.io.threads", "root", "")


def rename(value: Any, chance: random.Random) -> Any:
    """The same message about names the policy knows, and brokers at addresses that must not be seen."""
    if isinstance(value, list):
        return [rename(one, chance) for one in value]
    if not isinstance(value, dict):
        return value
    changed = {}
    for name, one in value.items():
        if name in NAME_FIELDS and isinstance(one, str):
            changed[name] = chance.choice(NAMES)
        elif name in NAME_LISTS and one is not None and all(isinstance(each, str) for each in one):
            changed[name] = [chance.choice(NAMES) for _ in one]
        elif name in CHOICES and (name != "value" or isinstance(one, str)):
            changed[name] = chance.choice(CHOICES[name])
        elif name == "error_message":
            changed[name] = None
        elif name == "configs" and one:
            changed[name] = [{**rename(each, chance), "name": chance.choice(SETTINGS)} for each in one]
        elif name != "_tags":
            changed[name] = rename(one, chance)
    return changed


def named(values: Any, wanted: str) -> Iterator[dict[str, Any]]:
    """Every struct of the list ``wanted``, at any depth."""
    if isinstance(values, dict):
        for name, one in values.items():
            if name == wanted and isinstance(one, list):
                yield from (item for item in one if isinstance(item, dict))
            yield from named(one, wanted)
    elif isinstance(values, list):
        for one in values:
            yield from named(one, wanted)


def check_request(api: int, values: dict[str, Any]) -> None:
    """What the broker is sent: nothing about names that the policy refuses."""
    for topic in [*named(values, "topics"), *named(values, "v3_and_below_topics")]:
        name = IDS[topic["topic_id"]] if any(topic.get("topic_id", b"")) else next(
            topic[field] for field in ("name", "topic", "topic_name") if field in topic)
        assert name.startswith("open"), topic
    for resource in named(values, "resources"):
        assert resource["resource_type"] in TYPES_OF_CLUSTER or (
            resource["resource_type"] in TYPES_WITH_NAMES and resource["resource_name"].startswith("open"))
        if resource["resource_type"] in TYPES_OF_CLUSTER and "configuration_keys" not in resource:
            assert api == 44 and not any(
                one["value"] == "place:1" or (one["name"] == "listeners" and resource["resource_type"] == BROKER)
                for one in resource["configs"])
    for group in [values, *named(values, "groups")]:
        assert group.get("group_id", "open").startswith("open")
    for name in NAME_LISTS:
        assert all(key.startswith("open") for key in values.get(name) or () if isinstance(key, str))
    assert values.get("key", "open").startswith("open")
    for name in ("transactional_id", "v3_and_below_transactional_id"):
        assert (values[name] if values.get(name) is not None else "open").startswith("open")
    assert values.get("replica_id", -1) == -1
    if api == 75:
        assert values["topics"] and (values["cursor"] or {}).get("topic_name", "open").startswith("open")


def check_kept(api: int, values: dict[str, Any]) -> None:
    """What the broker is sent of topics that have safeguards."""
    for topic in values["topics"] if api == 19 else values["resources"] if api in (33, 44) else ():
        if api != 19 and topic["resource_type"] != 2:
            continue
        threads = [one["value"] for one in topic["configs"]
                   if one["name"] == "num.io.threads" and one.get("config_operation") != 1]
        name = topic["name"] if api == 19 else topic["resource_name"]
        if name == "open-b":
            assert set(threads) == {"4"} or (api == 44 and not threads), topic
        elif name == "open-a":      # A name that was harmed has no safeguard.
            assert threads == [] and (api != 19 or -1 != topic["num_partitions"] <= 5 or topic["assignments"]), topic


def check_answer(api: int, values: dict[str, Any]) -> None:
    """What the client is told: no address of a broker; on topics it may not know nothing but a refusal."""
    assert "real-host" not in repr(values)
    if api == 3:
        for topic in values["topics"]:
            hidden = topic["error_code"] in (3, 29, 42, 100) and topic["partitions"] == []
            assert (topic["name"] or "").startswith("open") or hidden
    if api == 75:
        for topic in values["topics"]:
            hidden = topic["error_code"] in (29, 42) and topic["partitions"] == [] and topic["topic_id"] == bytes(16)
            assert (topic["name"] or "").startswith("open") or hidden
        assert (values["next_cursor"] or {}).get("topic_name", "open").startswith("open")
    if api == 32:
        for result in values["results"]:
            shown = result["resource_type"] in TYPES_WITH_NAMES and result["resource_name"].startswith("open")
            blanked = result["resource_type"] in TYPES_OF_CLUSTER and "place:1" not in repr(result["configs"])
            assert shown or blanked or (result["error_code"] in (29, 30, 31, 42) and result["configs"] == [])
    for group in values.get("groups", ()) if api in (69, 77) else ():
        shown = group["group_id"].startswith("open")
        assert shown or (group["error_code"] == 30 and not group["members"])
        named_by = [topic["topic_name"] for topic in named(group, "topic_partitions")]
        subscribed = [name for member in named(group, "members") for name in member["subscribed_topic_names"]]
        assert all(name.startswith("open") for name in named_by + subscribed)
    for topic in values.get("responses", ()) if api == 78 else ():
        hidden = all(one["error_code"] in (29, 100) and not one["records"] and not one["acquired_records"]
                     for one in topic["partitions"])
        assert IDS.get(topic["topic_id"], "").startswith("open") or hidden, topic
    if api == 16:
        assert all(group["group_id"].startswith("open") for group in values["groups"])
    for transaction in values.get("transaction_states", ()):
        shown = transaction["transactional_id"].startswith("open")
        assert shown or (api == 65 and transaction["error_code"] == 53 and transaction["topics"] == [])
        assert all(topic["topic"].startswith("open") for topic in transaction.get("topics", ()))


def check_input(data: bytes) -> str:
    """What became of it, in the end; ``refused`` is WireError."""
    api, version, size = struct.unpack_from(">hhI", data)
    guarded = len(data) % 2 == 1
    desk = GuardedDesk(SAFEGUARDS, *POLICY) if guarded else Desk(*POLICY)
    desk.teach(**{name: topic_id for topic_id, name in IDS.items()})
    desk.addresses.topic_ids.teach_all(NAMES)
    try:
        treatment, out = desk.opened.request(data[8 : 8 + size])
        if treatment == "wait":
            desk.opened.looked_up()
            treatment, out = desk.opened.request(data[8 : 8 + size])
    except WireError:
        return "refused"
    assert treatment in ("forward", "replace", "answer", "close")
    if treatment == "close":
        return "refused"
    assert out is not None
    if treatment == "answer":
        check_answer(api, frames.read_response(api, version, struct.pack(">i", len(out)) + out)[1])
        return treatment
    check_request(api, body_of(api, version, out))
    if guarded:
        check_kept(api, body_of(api, version, out))
    try:
        treatment, out = desk.opened.response(data[8 + size :])
    except WireError:
        return "refused"
    assert treatment in ("forward", "replace", "answer") and out is not None
    if not frame_has_host_elsewhere(api, version, out):
        check_answer(api, frames.read_response(api, version, struct.pack(">i", len(out)) + out)[1])
    return treatment


def body_of(api: int, version: int, frame: bytes) -> dict[str, Any]:
    body = frame[request.request_head(frame)[4]:]
    if api == 3 and version >= 9 and body[:1] == b"\0":
        return {"topics": None}     # All topics; librdkafka leaves bytes behind it, which are forwarded.
    return schema.parse(api, version, False, body)


def frame_has_host_elsewhere(api: int, version: int, frame: bytes) -> bool:
    """A harmed answer may carry the host's bytes in another field, which is not an address, or a header of its own."""
    at = request.response_head(api, version, frame)[1]
    try:
        values = schema.parse(api, version, True, frame[at:])
    except WireError:
        return True
    hosts = [item.get("host") for name in ("brokers", "coordinators", "node_endpoints") for item in named(values, name)]
    return at > 5 or ("real-host" in repr(values) and "real-host" not in [*hosts, values.get("host")])


def make(chance: random.Random) -> bytes:
    api = chance.choice(APIS)
    version = chance.choice(spanning(api))
    values = rename(random_values(chance, api, version, False, tags=False), chance)
    asked = frames.request(api, version, 5, values)[4:]
    answer = frames.response(api, version, 5, rename(random_values(chance, api, version, True), chance))[4:]
    return joined(api, version, asked, answer, chance, 0.3)


def change(data: bytes, chance: random.Random) -> bytes:
    api, version, size = struct.unpack_from(">hhI", data)
    return joined(api, version, data[8 : 8 + size], data[8 + size :], chance, 0.6)


def joined(api: int, version: int, asked: bytes, answer: bytes, chance: random.Random, harmed: float) -> bytes:
    """Harms neither key, version nor correlation, which the session has looked at before."""
    if chance.random() < harmed:
        asked = asked[:10] + mutate(asked[10:], chance, PIECES)
    if chance.random() < harmed:
        answer = answer[:4] + mutate(answer[4:], chance, PIECES)
    return struct.pack(">hhI", api, version, len(asked)) + asked + answer


HARNESS = Harness("wire_api", make, change, check_input)

if __name__ == "__main__":
    HARNESS.main(__doc__)
