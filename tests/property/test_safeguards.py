"""Any safeguards over any requests: what goes on breaks none of those that refuse or override, what breaks none goes on
as it came, and every partition and topic is answered once, whatever its neighbours are."""

from __future__ import annotations

import copy
from fnmatch import fnmatchcase
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kproxy._ext.batch_limits import BatchLimits
from kproxy._ext.topic_limits import judge
from kproxy.model.policy import (
    AdminLimits,
    Bounds,
    ConfigLimit,
    ProduceLimits,
    Safeguard,
    SafeguardInForce,
)
from tests.support.batches import Record, write_batch
from tests.support.codecs import NAMES as CODECS
from tests.support.safeguards import GuardedDesk

TOPICS = ("a", "b", "c")
CREATE, PARTITIONS, ALTER, INCREMENTAL = 19, 37, 33, 44
PATTERNS = st.lists(st.sampled_from(("*", "a", "b", "[ab]")), min_size=1, max_size=2, unique=True).map(tuple)


# ---- produce

class Sent:
    """One partition's batch, and what an oracle needs to know of it without reading it."""

    def __init__(self, sizes: list[int], codec: int, producer: int) -> None:
        self.codec, self.producer = codec, producer
        self.records = write_batch([Record(value=b"v" * size) for size in sizes], codec=codec, producer_id=producer,
                                   producer_epoch=0, base_sequence=0 if producer >= 0 else -1)
        # Around the value: the length, attributes, two deltas, a key that is null, the value's length, no headers.
        self.largest = max(size + 5 + (2 if size > 8191 else 1 if size < 64 else 2) for size in sizes)
        self.largest += 1 if max(sizes) + 7 < 64 else 2

    def breaks(self, limits: ProduceLimits, acks: int) -> bool:
        return bool((limits.acks == -1 and acks != -1) or (limits.acks == 1 and acks == 0)
                    or (limits.compression and CODECS[self.codec] not in limits.compression)
                    or (limits.idempotence and self.producer < 0)
                    or (limits.max_batch_bytes and len(self.records) > limits.max_batch_bytes)
                    or (limits.max_record_bytes and self.largest > limits.max_record_bytes))


# Sizes whose record lengths no varint's border makes hard to count.
SENT = st.builds(Sent, st.lists(st.sampled_from((1, 20, 100, 900, 4000)), min_size=1, max_size=3),
                 st.integers(0, 4), st.sampled_from((-1, 0, 7)))
PRODUCES = st.one_of(
    st.builds(ProduceLimits, st.sampled_from((1, -1))),
    st.builds(ProduceLimits, compression=st.sampled_from((("zstd",), ("none", "gzip", "lz4")))),
    st.builds(ProduceLimits, max_batch_bytes=st.sampled_from((150, 1000))),
    st.builds(ProduceLimits, max_record_bytes=st.sampled_from((60, 500, 3000))),
    st.builds(ProduceLimits, st.sampled_from((0, 0, 1, -1)), st.sampled_from(((), (), ("zstd",))), st.booleans(),
              st.sampled_from((0, 0, 1000)), st.sampled_from((0, 0, 500))))
PRODUCE_RULES = st.lists(st.tuples(PATTERNS, PRODUCES, st.sampled_from(("refuse", "refuse", "record"))), max_size=2)


@settings(max_examples=300, deadline=None)
@given(PRODUCE_RULES, st.booleans(),
       st.lists(st.tuples(st.sampled_from(TOPICS), st.lists(SENT, min_size=1, max_size=3)), min_size=1, max_size=3,
                unique_by=lambda one: one[0]),
       st.sampled_from((1, -1)), st.sampled_from((3, 7, 8, 9, 12)))
def test_produce(rules: list[Any], raises: bool, topics: list[tuple[str, list[Sent]]], acks: int, version: int) -> None:
    made = [Safeguard(f"r{at}", patterns, limits, action=action) for at, (patterns, limits, action) in enumerate(rules)]
    if raises:
        made.append(Safeguard("x", ("b",), ProduceLimits(-1), action="override"))
    desk = GuardedDesk(tuple(made), "write topic *")
    asked = {"acks": acks, "timeout_ms": 7, "topic_data": [
        {"name": name, "partition_data": [{"index": at, "records": one.records} for at, one in enumerate(sent)]}
        for name, sent in topics]}
    treatment, out = desk.request(0, version, asked)

    def is_refused(name: str, one: Sent) -> bool:
        return any(rule.action == "refuse" and rule.produce is not None and one.breaks(rule.produce, acks)
                   and any(fnmatchcase(name, pattern) for pattern in rule.topics) for rule in made)

    kept = {(name, at): one.records for name, sent in topics for at, one in enumerate(sent)
            if not is_refused(name, one)}
    refused = {(name, at) for name, sent in topics for at in range(len(sent))} - kept.keys()
    is_raised = raises and acks == 1 and any(name == "b" for name, _ in kept)
    assert treatment == ("answer" if not kept else "replace" if refused or is_raised else "forward")
    if kept:
        assert {(topic["name"], one["index"]): one["records"] for topic in out["topic_data"]
                for one in topic["partition_data"]} == kept
        assert out["acks"] == (-1 if is_raised else acks) and out["timeout_ms"] == 7
        _, out = desk.response(0, version, {"responses": [
            {"name": topic["name"], "partition_responses": [
                {"index": one["index"], "error_code": 0, "base_offset": 9} for one in topic["partition_data"]]}
            for topic in out["topic_data"]]})
    answered = [((topic["name"], one["index"]), one["error_code"]) for topic in out["responses"]
                for one in topic["partition_responses"]]
    assert len(answered) == len(kept) + len(refused) == len(dict(answered))
    assert {place for place, code in answered if code == 0} == kept.keys()


@settings(deadline=None)
@given(PRODUCES, st.binary(max_size=90), SENT, st.integers(0, 200), st.sampled_from((0, 1, -1)))
def test_no_bytes_of_a_client_are_judged_in_two_ways(limits: ProduceLimits, noise: bytes, sent: Sent, at: int,
                                                     acks: int) -> None:
    """Garbage neither crashes nor passes what limits more than acks: the quick question and the long answer agree."""
    compiled = BatchLimits((SafeguardInForce(Safeguard("r", ("*",), limits)),))
    place = at % len(sent.records)
    for batch in (noise, sent.records[:place] + noise + sent.records[place + len(noise):], sent.records[:place]):
        broken, judgement, told, refusal = compiled.examine(acks, batch)
        assert broken == (judgement == 2) == bool(told) == bool(refusal)
    limits_batch = limits.compression or limits.idempotence or limits.max_batch_bytes or limits.max_record_bytes
    assert not limits_batch or compiled.examine(acks, sent.records[:place])[0]


# ---- administrators

NUMBERS = st.sampled_from((1, 2, 3, 5, 9))
NAMES = ("retention.ms", "cleanup.policy", "segment.ms")
VALUES = st.sampled_from(("1", "4", "-1", "x", "compact", "compact,delete", "", None))


@st.composite
def bounds(draw: st.DrawFn) -> Bounds:
    least, most = sorted(draw(st.tuples(NUMBERS, NUMBERS)))
    which = draw(st.integers(1, 3))
    return Bounds(least if which & 1 else None, most if which & 2 else None)


@st.composite
def config_limit(draw: st.DrawFn, action: str) -> ConfigLimit:
    name, required = draw(st.sampled_from(NAMES)), draw(st.booleans())
    kind = draw(st.sampled_from(("numbers", "values") if action == "override" else ("numbers", "values", "forbidden")))
    if kind == "forbidden":
        return ConfigLimit(name, forbidden=True)
    if kind == "values":
        return ConfigLimit(name, allowed=("compact",) if action == "override" else ("compact", "delete"),
                           required=required)
    found = draw(bounds())
    return ConfigLimit(name, found.least, found.most, required=required)


@st.composite
def admin_rule(draw: st.DrawFn) -> Safeguard:
    action = draw(st.sampled_from(("refuse", "override", "record")))
    other = draw(st.sampled_from(("pass", "pass", "refuse"))) if action != "override" else "pass"
    limits = AdminLimits(
        partitions=draw(st.none() | bounds()), replication_factor=draw(st.none() | bounds()), other_configs=other,
        configs=tuple(draw(st.lists(config_limit(action), max_size=3, unique_by=lambda one: one.name))))
    return Safeguard(f"r{draw(st.integers(0, 99))}", ("*",), None, limits, action)


@st.composite
def item(draw: st.DrawFn, api: int) -> dict[str, Any]:
    counts = st.sampled_from((-1, 0, 2, 4, 20))
    configs = [{"name": draw(st.sampled_from(NAMES)), "value": draw(VALUES),
                **({"config_operation": draw(st.integers(0, 4))} if api == INCREMENTAL else {})}
               for _ in range(draw(st.integers(0, 2)))]
    if api == PARTITIONS:
        assigned = draw(st.none() | st.just([{"broker_ids": [1]}]))
        return {"name": "t", "count": draw(counts), "assignments": assigned}
    if api != CREATE:
        return {"resource_type": 2, "resource_name": "t", "configs": configs}
    assigned = draw(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=4), max_size=3) | st.just([]))
    return {"name": "t", "num_partitions": draw(counts), "replication_factor": draw(counts), "configs": configs,
            "assignments": [{"partition_index": at, "broker_ids": ids} for at, ids in enumerate(assigned)]}


def keeps(limits: AdminLimits, api: int, values: dict[str, Any]) -> bool:
    """The rules once more, as a reader of the documentation would write them down."""
    def within(found: Bounds | ConfigLimit | None, number: float | None) -> bool:
        return found is None or (number is not None and (found.least is None or found.least <= number)
                                 and (found.most is None or number <= found.most))

    if api in (CREATE, PARTITIONS):
        spread = values["assignments"] if api == CREATE else None
        count = len(spread) if spread else values["num_partitions" if api == CREATE else "count"]
        if not within(limits.partitions, None if count == -1 else count):
            return False
        if api == CREATE:
            replicas = [len(one["broker_ids"]) for one in spread] if spread else [values["replication_factor"]]
            if not all(within(limits.replication_factor, None if one == -1 else one) for one in replicas):
                return False
    if api == PARTITIONS:
        return True
    by_name = {limit.name: limit for limit in limits.configs}
    given_names = {one["name"] for one in values["configs"]}
    if api != INCREMENTAL and any(limit.required and limit.name not in given_names for limit in limits.configs):
        return False
    if limits.other_configs == "refuse" and not given_names <= by_name.keys():
        return False
    return all(config_keeps(by_name[one["name"]], one, within) for one in values["configs"] if one["name"] in by_name)


def config_keeps(limit: ConfigLimit, one: dict[str, Any], within: Any) -> bool:
    does, value = one.get("config_operation", 0), one["value"]
    if does == 1:
        return not limit.required
    if limit.forbidden or value is None or does > 3:
        return False
    if limit.allowed:
        return not limit.required if does == 3 else all(part in limit.allowed for part in value.split(","))
    if does != 0:
        return False
    number = float(value) if value.lstrip("-").isdigit() else None
    return bool(within(limit, float("inf") if number == -1 and limit.name == "retention.ms" else number))


@settings(max_examples=500, deadline=None)
@given(st.data(), st.sampled_from((CREATE, PARTITIONS, ALTER, INCREMENTAL)))
def test_administrators(data: st.DataObject, api: int) -> None:
    rules = data.draw(st.lists(admin_rule(), min_size=1, max_size=2, unique_by=lambda rule: rule.name))
    values = data.draw(item(api))
    asked = copy.deepcopy(values)
    in_force = tuple(SafeguardInForce(rule) for rule in sorted(rules, key=lambda rule: rule.name))
    told, texts, changed = judge(in_force, api, values)
    broken = {rule.name for rule in rules if rule.admin is not None and not keeps(rule.admin, api, asked)}
    recorded = {found.rule.name for found, did, _ in told if did == "record"}
    assert recorded == {rule.name for rule in rules if rule.action == "record"} & broken
    if not changed:
        assert values == asked
        refusing = {rule.name for rule in rules if rule.action != "record"} & broken
        assert {found.rule.name for found, did, _ in told if did == "refuse"} == refusing
        assert bool(texts) == bool(refusing)
    if not texts:
        for rule in rules:
            assert rule.action == "record" or rule.admin is None or keeps(rule.admin, api, values), rule
        assert judge(in_force, api, copy.deepcopy(values))[1:] == ([], False)
