"""The table of facts, the cold codec over it, and the marks of the walk."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from kproxy._ext import schema
from kproxy.errors import WireError

ROOT = Path(__file__).resolve().parents[2]
SERVED = {0: (3, 13), 1: (4, 18), 2: (1, 11), 3: (0, 13), 8: (2, 10), 9: (1, 10), 10: (0, 6), 11: (0, 9), 12: (0, 4),
          13: (0, 5), 14: (0, 5), 15: (0, 6), 16: (0, 5), 17: (0, 1), 18: (0, 5), 19: (2, 7), 20: (1, 6), 21: (0, 2),
          22: (0, 5), 23: (2, 4), 24: (0, 5), 25: (0, 4), 26: (0, 5), 28: (0, 6), 32: (1, 4), 36: (0, 2), 37: (0, 3),
          42: (0, 3), 44: (0, 1), 47: (0, 0), 60: (0, 2)}
FLEXIBLE_FROM = {0: 9, 1: 12, 2: 6, 3: 9, 8: 8, 9: 6, 10: 3, 11: 6, 12: 4, 13: 4, 14: 4, 15: 5, 16: 3, 17: 99, 18: 3,
                 19: 5, 20: 4, 21: 2, 22: 2, 23: 4, 24: 3, 25: 3, 26: 3, 28: 3, 32: 4, 36: 2, 37: 2, 42: 2, 44: 1,
                 47: 99, 60: 0}
PRODUCE = {"transactional_id": None, "acks": -1, "timeout_ms": 1000, "topic_data": [
    {"name": "orders", "partition_data": [{"index": 3, "records": b"xyz"}]}]}


def shape(marks: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    kinds = dict(enumerate(("SCALAR", "STRING", "BYTES", "RECORDS", "ARRAY", "ITEM", "STRUCT", "TAG", "TAGS"), 1))
    return [(mark["name"], kinds[mark["kind"]], mark["depth"], mark["until"], mark["value"]) for mark in marks]


def test_versions_are_those_of_the_jar_without_unstable_ones() -> None:
    assert {api: schema.versions(api) for api in SERVED} == SERVED
    with pytest.raises(KeyError):
        schema.versions(4)


def test_versions_turn_flexible_where_kafka_says() -> None:
    for api, response, version in schema.served_messages():
        if api in FLEXIBLE_FROM:
            assert schema.flexible(api, version) == (version >= FLEXIBLE_FROM[api]), (api, response, version)


def test_field_ids_are_those_of_the_enum() -> None:
    text = (ROOT / "kproxy" / "_ext" / "fields.pxd").read_text()
    enum = {int(number): name.lower() for name, number in re.findall(r"F_(\w+) = (\d+)", text)}
    assert enum == schema.field_names()


def test_produce_v9_bytes_are_kafkas() -> None:
    assert schema.build(0, 9, False, PRODUCE) == (
        b"\x00" b"\xff\xff" b"\x00\x00\x03\xe8" b"\x02" b"\x07orders" b"\x02" b"\x00\x00\x00\x03" b"\x04xyz"
        b"\x00" b"\x00" b"\x00")


def test_produce_v8_bytes_are_kafkas() -> None:
    assert schema.build(0, 8, False, PRODUCE) == (
        b"\xff\xff" b"\xff\xff" b"\x00\x00\x03\xe8" b"\x00\x00\x00\x01" b"\x00\x06orders" b"\x00\x00\x00\x01"
        b"\x00\x00\x00\x03" b"\x00\x00\x00\x03xyz")


def test_marks_of_a_produce() -> None:
    body = schema.build(0, 9, False, PRODUCE)
    marks = schema.walk(0, 9, False, body)
    assert shape(marks) == [
        ("transactional_id", "STRING", 0, 1, 0), ("acks", "SCALAR", 0, 2, -1), ("topic_data", "ARRAY", 0, 9, 1),
        ("topic_data", "ITEM", 0, 9, 0), ("name", "STRING", 1, 5, 0), ("partition_data", "ARRAY", 1, 9, 1),
        ("partition_data", "ITEM", 1, 9, 0), ("index", "SCALAR", 2, 8, 3), ("records", "RECORDS", 2, 9, 0)]
    spans = {(mark["name"], mark["kind"]): body[mark["at"]:mark["at"] + max(mark["length"], 0)] for mark in marks}
    wholes = {(mark["name"], mark["kind"]): body[mark["whole_at"]:mark["whole_at"] + mark["whole_length"]]
              for mark in marks}
    assert marks[0]["length"] == -1 and wholes["transactional_id", 2] == b"\x00"
    assert spans["name", 2] == b"orders" and wholes["name", 2] == b"\x07orders"
    assert spans["records", 4] == b"xyz" and wholes["records", 4] == b"\x04xyz"
    assert wholes["topic_data", 5] == b"\x02"
    assert spans["topic_data", 5] == spans["topic_data", 6] == b"\x07orders\x02\x00\x00\x00\x03\x04xyz\x00\x00"
    assert wholes["partition_data", 6] == b"\x00\x00\x00\x03\x04xyz\x00"


def test_marks_of_null_and_empty_arrays() -> None:
    for values, count in (({"topics": None}, -1), ({"topics": []}, 0)):
        marks = schema.walk(3, 9, False, schema.build(3, 9, False, values))
        assert (marks[0]["name"], marks[0]["kind"], marks[0]["value"], marks[0]["length"]) == ("topics", 5, count, 0)
        assert marks[0]["until"] == 1 and marks[1]["name"] == "allow_auto_topic_creation"


def test_marks_of_an_array_of_strings_and_of_numbers() -> None:
    marks = schema.walk(10, 4, False, schema.build(10, 4, False, {"key_type": 1, "coordinator_keys": ["a", "bc"]}))
    assert shape(marks) == [("key_type", "SCALAR", 0, 1, 1), ("coordinator_keys", "ARRAY", 0, 4, 2),
                            ("coordinator_keys", "STRING", 0, 3, 0), ("coordinator_keys", "STRING", 0, 4, 0)]
    body = schema.build(9, 7, False, {"group_id": "g", "topics": [{"name": "t", "partition_indexes": [5, 6]}]})
    numbers = schema.walk(9, 7, False, body)[4]
    assert (numbers["name"], numbers["kind"], numbers["value"], numbers["until"]) == ("partition_indexes", 5, 2, 5)
    assert body[numbers["at"]:numbers["at"] + numbers["length"]] == b"\0\0\0\5\0\0\0\6"


def test_marks_of_tags_known_and_unknown() -> None:
    body = schema.build(0, 10, True, {"node_endpoints": [{"node_id": 1, "host": "h", "port": 9}],
                                      "_tags": [(300, b"later")]})
    tags = [mark for mark in schema.walk(0, 10, True, body) if mark["kind"] in (8, 9)]
    assert shape(tags) == [("", "TAGS", 0, 5, 2), ("node_endpoints", "TAG", 0, 4, 0), ("", "TAG", 0, 5, 300)]
    assert body[tags[2]["at"]:tags[2]["at"] + tags[2]["length"]] == b"later"
    assert body[tags[2]["whole_at"]:][:tags[2]["whole_length"]] == b"\xac\x02\x05later"
    assert body[tags[0]["whole_at"]:] == body[tags[0]["whole_at"]:tags[0]["whole_at"] + tags[0]["whole_length"]]


def test_build_takes_the_schemas_defaults() -> None:
    assert schema.parse(1, 7, False, schema.build(1, 7, False, {})) == {
        "replica_id": -1, "max_wait_ms": 0, "min_bytes": 0, "max_bytes": 0x7FFFFFFF, "isolation_level": 0,
        "session_id": 0, "session_epoch": -1, "topics": [], "forgotten_topics_data": []}


@pytest.mark.parametrize(("values", "words"), [
    ({"topicdata": []}, "no field topicdata"),
    ({"topic_data": [{"nam": "x"}]}, "topic_data has no field nam"),
    ({"acks": 40000}, "40000 is not an int16"),
    ({"topic_data": None}, "topic_data may not be null"),
    ({"topic_data": [{"name": None}]}, "name may not be null"),
])
def test_build_refuses_what_no_reader_would_take(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        schema.build(0, 9, False, values)


def test_a_string_too_long_for_its_length_field_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        schema.build(12, 3, False, {"group_id": "g" * 40000})
    assert len(schema.build(12, 4, False, {"group_id": "g" * 40000})) > 40000


def test_fields_of_other_versions_are_left_out() -> None:
    assert schema.build(12, 0, False, {"group_id": "g", "group_instance_id": "i"}) == \
        schema.build(12, 0, False, {"group_id": "g"})


def test_build_item_is_one_element() -> None:
    item = schema.build_item(0, 9, True, "responses.partition_responses", {"index": 2, "error_code": 29})
    whole = schema.build(0, 9, True, {"responses": [{"name": "t", "partition_responses": [
        {"index": 2, "error_code": 29}]}]})
    assert item in whole and len(item) == 4 + 2 + 8 + 8 + 8 + 1 + 1 + 1
    with pytest.raises(ValueError, match=r"no responses\.partitions"):
        schema.build_item(0, 9, True, "responses.partitions", {})


def test_parse_item_reads_what_build_item_built_and_nothing_else() -> None:
    topic = {"name": "t", "num_partitions": 3, "replication_factor": -1, "configs": [{"name": "a.b", "value": None}],
             "assignments": [{"partition_index": 0, "broker_ids": [1, 2]}]}
    for version in range(2, 8):
        item = schema.build_item(19, version, False, "topics", topic)
        assert schema.parse_item(19, version, False, "topics", item) == topic
        for broken in (item[:-1], item + b"\0", b""):
            with pytest.raises(WireError, match="an item is not what the schema says"):
                schema.parse_item(19, version, False, "topics", broken)
    # Bytes that are no text, and tags that nobody knows, come back as they were.
    strange = schema.build_item(19, 7, False, "topics", {**topic, "name": b"\xff", "_tags": [(9, b"new")]})
    assert schema.build_item(19, 7, False, "topics", schema.parse_item(19, 7, False, "topics", strange)) == strange
    with pytest.raises(ValueError, match="no topic"):
        schema.parse_item(19, 7, False, "topic", b"")


def test_unknown_tags_and_error_codes_survive() -> None:
    values = {"error_code": 31000, "throttle_time_ms": 0, "_tags": [(9, b"new"), (1 << 20, b"")]}
    body = schema.build(12, 4, True, values)
    assert schema.parse(12, 4, True, body) == values


def test_an_explicit_default_tag_survives() -> None:
    body = schema.build(1, 12, False, {"cluster_id": None})
    parsed = schema.parse(1, 12, False, body)
    assert parsed["cluster_id"] is None and schema.build(1, 12, False, parsed) == body
    assert "cluster_id" not in schema.parse(1, 12, False, schema.build(1, 12, False, {}))


def test_text_that_is_not_utf8_survives() -> None:
    body = schema.build(12, 4, False, {"group_id": b"\xff\xfe", "member_id": "m"})
    parsed = schema.parse(12, 4, False, body)
    assert parsed["group_id"] == "\udcff\udcfe" and schema.build(12, 4, False, parsed) == body


@pytest.mark.parametrize(("api", "version"), [(4, 0), (0, 2), (0, 14), (12, -1), (127, 0), (-1, 0), (32767, 3)])
def test_versions_not_served_are_refused(api: int, version: int) -> None:
    with pytest.raises(WireError):
        schema.walk(api, version, False, b"\0" * 100)
    with pytest.raises(WireError):
        schema.parse(api, version, False, b"\0" * 100)


@pytest.mark.parametrize("body", [
    pytest.param(b"\xff\xfe\0\x01x\0\0", id="a legacy length of -2, which Java would take for null"),
    pytest.param(b"\0\x05gr", id="a length past the end"),
    pytest.param(b"\xff\xff\0\0\0\0\0\x01m", id="null where the schema has none"),
    pytest.param(b"\0\x01g\0\0\0\0\0\x01m\0", id="a byte too many"),
])
def test_bad_heartbeats_v0(body: bytes) -> None:
    with pytest.raises(WireError):
        schema.walk(12, 0, False, body)
    with pytest.raises(WireError):
        schema.parse(12, 0, False, body)


HEARTBEAT = b"\x02g\0\0\0\0\x02m\0"


@pytest.mark.parametrize("tags", [
    pytest.param(b"\x02\x05\0\x05\0", id="the same tag twice"),
    pytest.param(b"\x02\x05\0\x04\0", id="tags that fall"),
    pytest.param(b"\x01\x05\x02x", id="a tag past the end"),
    pytest.param(b"\xff\xff\xff\xff\x0f", id="four billion tags"),
    pytest.param(b"\x80\x80\x80\x80\x10", id="a count of 33 bits"),
    pytest.param(b"\x80\x80\x80\x80\x80\x00", id="a count of six bytes"),
])
def test_bad_tag_sections(tags: bytes) -> None:
    assert schema.walk(12, 4, False, HEARTBEAT + b"\0")[0]["name"] == "group_id"
    with pytest.raises(WireError):
        schema.walk(12, 4, False, HEARTBEAT + tags)
    with pytest.raises(WireError):
        schema.parse(12, 4, False, HEARTBEAT + tags)


def test_a_tag_of_another_version_is_refused() -> None:
    """Tag 1 of a fetch makes it a follower's from v15 on; Kafka refuses it in v12, so nobody may send it there."""
    body = schema.build(1, 12, False, {})
    for tag, bad in ((1, True), (2, False)):
        tagged = body[:-1] + bytes((1, tag, 1, 0))
        for reader in (schema.walk, schema.parse):
            if bad:
                with pytest.raises(WireError):
                    reader(1, 12, False, tagged)
            else:
                reader(1, 12, False, tagged)


def test_a_declared_count_buys_no_memory() -> None:
    """Two billion topics in ten bytes, and as many in a body of a megabyte, are refused before anything is made."""
    for filler in (b"", b"\0" * (1 << 20)):
        body = b"\x7f\xff\xff\xff" + filler
        with pytest.raises(WireError):
            schema.walk(3, 1, False, body)
        with pytest.raises(WireError):
            schema.parse(3, 1, False, body)


def test_more_items_than_any_client_sends_are_refused() -> None:
    """Two bytes a topic would cost thirty times as much in marks."""
    count = 1 << 20
    body = bytes((0x81, 0x80, 0x40)) + b"\x01\0" * count + b"\0\0\0\0"
    with pytest.raises(WireError):
        schema.walk(3, 9, False, body)
    few = schema.walk(3, 9, False, b"\x81\x08" + b"\x01\0" * 1024 + b"\0\0\0\0")
    assert few[0]["value"] == 1024 and few[0]["until"] == 1 + 2 * 1024


@pytest.mark.parametrize(("cursor", "presence"), [
    (None, b"\xff"), ({"topic_name": "t", "partition_index": 7}, b"\x01")])
def test_a_struct_that_may_be_null_has_a_byte_for_that(cursor: dict[str, Any] | None, presence: bytes) -> None:
    """KIP-893; DescribeTopicPartitions says with it where a page ended."""
    body = schema.build(75, 0, False, {"topics": [], "cursor": cursor})
    assert body[5:6] == presence and schema.parse(75, 0, False, body)["cursor"] == cursor
    marks = [mark for mark in schema.walk(75, 0, False, body) if mark["name"] in ("cursor", "topic_name")]
    assert [mark["value"] for mark in marks if mark["kind"] == 7] == [-1 if cursor is None else 1]
    assert len(marks) == (1 if cursor is None else 3)
    for lie in (b"\x00", b"\x02", b"\xfe"):
        for read in (schema.walk, schema.parse):
            with pytest.raises(WireError):
                read(75, 0, False, body[:5] + lie + body[6:])


def test_a_struct_that_may_not_be_null_has_none() -> None:
    with pytest.raises(ValueError, match="current_leader may not be null"):
        schema.build(79, 1, True, {"responses": [{"topic_id": bytes(16), "partitions": [
            {"partition_index": 0, "current_leader": None}]}]})


def test_numbers_of_other_kinds_are_read_as_they_are_written() -> None:
    quota = {"entries": [{"entity": [], "values": [{"key": "k", "value": -1.5}]}]}
    read = schema.parse(48, 0, True, schema.build(48, 0, True, quota))
    assert read["entries"][0]["values"][0]["value"] == -1.5
    voter = {"voter_id": 1, "listeners": [{"name": "c", "host": "h", "port": 0xFFFE}]}
    assert schema.parse(80, 0, False, schema.build(80, 0, False, voter))["listeners"][0]["port"] == 0xFFFE
