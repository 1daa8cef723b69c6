"""Requests that are allowed whole, and answers of a broker with one thing in them that the client may not know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kproxy._ext import schema
from kproxy._ext.apis import LOCAL, NAMES, SERVED
from kproxy._ext.policy_table import OPERATIONS
from tests.support import frames
from tests.support.desk import Desk, id_of, spanning

CANARY, OPEN = "shut-canary", "open"
#: APIs that name a topic by its name or by its id; here it is the name.
EITHER = (3, 20)
TEXTS = ("string", "bytes", "records")
PRODUCE, METADATA, DESCRIBE_CONFIGS, INVALID_REQUEST = 0, 3, 32, 42
TOPIC, BROKER = 2, 4
#: OffsetFetch 1, which cannot ask for all topics.
NAMES_ALWAYS = (9, 1)
#: What asks for all there is.
ALL: dict[int, dict[str, Any]] = {
    3: {"topics": None}, 9: {"topics": None}, 35: {"topics": None}, 43: {"topic_partitions": None},
    46: {"topics": None}, 75: {"topics": [], "cursor": None}, 90: {"topics": None}}
#: Words that decide how an answer is read.
KINDS = {"protocol_type": "consumer"}
#: Numbers that decide how an answer is read; all others are 0.
NUMBERS = {"resource_type": TOPIC, "node_id": 1, "broker_id": 1, "port": 9092, "replica_id": -1, "acks": -1,
           "endpoint_type": 1, "response_partition_limit": 2000, "session_epoch": -1, "timeout_ms": 1}


@dataclass(frozen=True)
class Probe:
    """A field of one version's answer and what the request was about: ``kind`` is that of the resource with configs,
    ``everything`` asks for all there is where a request can; ``error`` stands in the answer and its items."""

    api: int
    version: int
    path: str
    is_text: bool
    kind: int = TOPIC
    everything: bool = False
    error: int = 0

    @property
    def field(self) -> str:
        about = " (broker)" if self.kind != TOPIC else " (all)" if self.everything else ""
        return f"{NAMES[self.api]}Response.{self.path}{about}"


def probes() -> Iterator[Probe]:
    """Of every text and every run of bytes in every version that is served."""
    for api in sorted(set(SERVED) - set(LOCAL)):
        for version in spanning(api):
            for path, field in leaves(schema.fields_of(api, True), version):
                kind = field.type.removeprefix("[]")
                for error in (0, INVALID_REQUEST) if kind in TEXTS else ():
                    yield Probe(api, version, path, kind == "string", error=error)
                    if api == DESCRIBE_CONFIGS:
                        yield Probe(api, version, path, kind == "string", BROKER, error=error)
                    if api in ALL and (api, version) != NAMES_ALWAYS:
                        yield Probe(api, version, path, kind == "string", everything=True, error=error)


def trusting() -> Desk:
    """A client that may do everything to what is called ``open`` and to the cluster; what the canary names is hidden
    even from who may describe the cluster."""
    kinds = ("topic", "group", "transactional_id")
    desk = Desk(*(f"{operation} {kind} {OPEN}" for operation in OPERATIONS for kind in kinds),
                *(f"{operation} cluster kafka-cluster" for operation in OPERATIONS),
                forbid=tuple(f"describe {kind} {CANARY}" for kind in kinds))
    desk.teach(open=id_of(OPEN))
    desk.addresses.topic_ids.teach_all([OPEN, CANARY])
    return desk


def leaves(fields: Sequence[schema.Field], version: int, path: str = "") -> Iterator[tuple[str, schema.Field]]:
    for field in fields:
        if field.at(version):
            if field.fields:
                yield from leaves(field.fields, version, f"{path}{field.name}.")
            else:
                yield path + field.name, field


def values_of(fields: Sequence[schema.Field], version: int, put: dict[str, Any], path: str = "") -> dict[str, Any]:
    """A message with one item in every array and every field filled; ``put`` has what is to stand at a path, or under a
    name wherever it is."""

    def one(field: schema.Field, kind: str, here: str) -> Any:
        if kind == field.type and (here in put or field.name in put) and (field.fields or not kind.startswith("[]")):
            return put.get(here, put.get(field.name))
        if kind.startswith("[]"):
            return [one(field, kind[2:], here)]
        if kind == "struct":
            return values_of(field.fields, version, put, f"{here}.")
        if here in put:
            return put[here]
        if kind in TEXTS:
            if kind == "records":
                return None if field.is_nullable(version) else b""
            return b"" if kind == "bytes" else KINDS.get(field.name, OPEN)
        return id_of(OPEN) if kind == "uuid" else 0.0 if kind == "float64" else NUMBERS.get(field.name, 0)

    return {field.name: one(field, field.type, path + field.name) for field in fields if field.at(version)}


def ask(desk: Desk, probe: Probe) -> str:
    """What becomes of a request that names ``open`` in every place, or nothing at all."""
    put: dict[str, Any] = {"resource_type": probe.kind, "subscribed_topic_regex": None, **(
        {"topic_id": bytes(16)} if probe.api in EITHER else {}), **(
        {"records": frames.batch([b"v"])} if probe.api == PRODUCE else {})}
    if probe.everything:
        put.update(ALL[probe.api])
        if probe.version == 0 and probe.api == METADATA:
            put["topics"] = []
    return desk.request(probe.api, probe.version,
                        values_of(schema.fields_of(probe.api, False), probe.version, put))[0]


def told(desk: Desk, probe: Probe) -> dict[str, Any]:
    """What the client is told when the broker has put the canary there."""
    secret = CANARY if probe.is_text else CANARY.encode()
    put = {"resource_type": probe.kind, "error_code": probe.error, probe.path: secret}
    return desk.response(probe.api, probe.version,
                         values_of(schema.fields_of(probe.api, True), probe.version, put))[1]
