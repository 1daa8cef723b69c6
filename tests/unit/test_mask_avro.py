"""Values in Avro behind a registry's schema id: what is hidden, what stays, and what is no value of its schema."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kproxy._ext import mask
from kproxy._ext.registered import FORMATS, KINDS, Registered
from kproxy.model import value_schema
from kproxy.model.record_plan import Action
from kproxy.schemas.avro import read_avro
from kproxy.schemas.json_schema import read_json_schema
from tests.support.batches import Record, read_batches, write_batch
from tests.support.record_plans import BLOCK, REDACT, build_plan
from tests.support.slow_avro import varint

USER = {"type": "record", "name": "User", "fields": [
    {"name": "id", "type": "long"},
    {"name": "email", "type": ["null", "string"]},
    {"name": "phones", "type": {"type": "array", "items": "string"}},
    {"name": "notes", "type": {"type": "map", "values": "string"}},
    {"name": "boss", "type": ["null", "User"]}]}


def framed(body: bytes, schema_id: int = 7) -> bytes:
    return b"\0" + schema_id.to_bytes(4, "big") + body


def plan_with(schema: Any, plan: mask.Plan) -> mask.Plan:
    known = Registered()
    known.add(7, read_avro(json.dumps(schema)))
    plan.read_by(known)
    return plan


def after(plan: mask.Plan, body: bytes) -> bytes:
    batch = write_batch([Record(value=framed(body))])
    got = plan.transform(batch)
    assert got.status in ("same", "replaced"), got.message
    [record] = read_batches(got.data or batch)[0].records
    assert record.value[:5] == framed(b"")
    return record.value[5:]


def text(value: str) -> bytes:
    return varint(len(value.encode())) + value.encode()


def user(email: str = "ann@example.com", phones: bytes = b"\0", notes: bytes = b"\0", boss: bytes = b"\0") -> bytes:
    return varint(17) + b"\2" + text(email) + phones + notes + boss


def test_the_tables_have_the_same_numbers() -> None:
    assert value_schema.KINDS == KINDS
    assert value_schema.FORMATS == FORMATS


def test_a_field_changes_and_the_bytes_around_it_do_not() -> None:
    plan = plan_with(USER, build_plan(fields={"email": Action("replace", text="gone")}))
    assert after(plan, user()) == user("gone")
    assert plan.take_counts() == {
        "records": 1, "fields_emitted": {"id": 1, "boss": 1}, "fields_masked": {"email": 1}, "entities": {},
        "rules": {"f:email": 1}}


def test_a_block_that_tells_its_size_tells_the_new_one() -> None:
    plan = plan_with(USER, build_plan(fields={"phones[*]": Action("replace", text="#")}))
    items = text("555-1234") + text("555-5678")
    phones = varint(-2) + varint(len(items)) + items + varint(1) + text("x") + b"\0"
    masked = varint(-2) + varint(4) + text("#") + text("#") + varint(1) + text("#") + b"\0"
    assert after(plan, user(phones=phones)) == user(phones=masked)


def test_a_type_that_holds_itself_is_followed() -> None:
    plan = plan_with(USER, build_plan(fields={"boss.boss.email": REDACT}))
    inner = user("me@x.org", boss=b"\2" + user("you@x.org"))
    assert after(plan, user(boss=b"\2" + inner)) == user(boss=b"\2" + user("me@x.org", boss=b"\2" + user("")))


def test_detectors_look_into_text_and_into_the_keys_of_maps() -> None:
    plan = plan_with(USER, build_plan(detect={"email": Action("replace", text="#")}, count_fields=True))
    notes = varint(1) + text("to ann@example.com") + text("bob@example.com!") + b"\0"
    assert after(plan, user("no", notes=notes)) == user("no", notes=varint(1) + text("to #") + text("#!") + b"\0")
    assert plan.take_counts()["fields_masked"] == {"notes.<detected>": 1}


def test_a_find_that_drops_its_field_leaves_an_empty_text() -> None:
    plan = plan_with(USER, build_plan(detect={"email": Action("drop_field")}))
    assert after(plan, user("to ann@example.com")) == user("")
    dropping = plan_with(USER, build_plan(fields={"email": Action("drop_field"), "id": Action("drop_field")}))
    assert after(dropping, user()) == varint(0) + b"\0" + user()[-3:]


def test_a_rule_on_an_array_empties_it_and_one_on_a_record_hides_its_leaves() -> None:
    phones = varint(2) + text("1") + text("2") + b"\0"
    plan = plan_with(USER, build_plan(fields={"phones": REDACT, "boss": REDACT}))
    after_boss = b"\2" + varint(0) + b"\2" + text("") + b"\0" + b"\0" + b"\0"
    assert after(plan, user(phones=phones, boss=b"\2" + user(phones=phones))) == user(phones=b"\0", boss=after_boss)


def test_what_blocks_blocks() -> None:
    plan = plan_with(USER, build_plan("produce", fields={"email": BLOCK}))
    got = plan.transform(write_batch([Record(value=framed(user()))]))
    assert (got.status, got.error_code) == ("refused", 87)


@pytest.mark.parametrize("body", [
    b"", user()[:-1], user() + b"\0", varint(17) + b"\x04", varint(17) + b"\2" + varint(-1), b"\xff" * 11,
    varint(17) + b"\2" + varint(2**40) + b"x", user(phones=varint(-1) + varint(3) + text("x") + b"\0"),
    user(phones=varint(-(2**63))), user(phones=varint(2**62) + text("x") + b"\0"),
    user(phones=varint(-1) + varint(-1) + text("x") + b"\0"),
])
def test_what_is_no_value_of_the_schema_is_unknown(body: bytes) -> None:
    refusing = plan_with(USER, build_plan(fields={"email": REDACT}))
    batch = write_batch([Record(value=framed(body))])
    assert refusing.transform(batch).status == "refused"
    passing = plan_with(USER, build_plan(fields={"email": REDACT}, on_unknown="pass"))
    assert passing.transform(batch).status == "same"
    assert passing.take_counts()["unknown"] == 1


def test_no_value_takes_long_or_deep() -> None:
    endless = {"type": "record", "name": "R", "fields": [{"name": "r", "type": "R"}]}
    nulls = {"type": "array", "items": "null"}
    chain = {"type": "record", "name": "R", "fields": [{"name": "r", "type": ["null", "R"]}]}
    for schema, body in ((endless, b""), (nulls, varint(2**62) + b"\0"), (chain, b"\2" * 10_000 + b"\0")):
        plan = plan_with(schema, build_plan(fields={"email": REDACT}))
        assert plan.transform(write_batch([Record(value=framed(body))])).status == "refused"
    deep = plan_with(chain, build_plan(fields={"email": REDACT}))
    assert after(deep, b"\2" * 60 + b"\0") == b"\2" * 60 + b"\0"


def test_a_schema_that_is_not_known_is_asked_for_first() -> None:
    plan = build_plan(fields={"email": REDACT})
    plan.read_by(known := Registered())
    batch = write_batch([Record(value=framed(user(), one)) for one in (7, 9, 7)])
    assert plan.transform(batch).status == "needs_schema"
    assert plan.needed == (7, 9)
    assert plan.take_counts()["records"] == 0
    known.add(7, read_avro(json.dumps(USER)))
    assert plan.transform(batch).status == "needs_schema"
    assert plan.needed == (9,)
    plan.asked = True
    assert plan.transform(batch).status == "refused"


def test_what_a_tag_names_is_hidden() -> None:
    schema = {"type": "record", "name": "T", "fields": [
        {"name": "plain", "type": "string"}, {"name": "a", "type": "string", "confluent:tags": ["PII"]},
        {"name": "b", "type": "string", "confluent:tags": ["OTHER"]}]}
    plan = plan_with(schema, build_plan(tags={"PII": REDACT}))
    assert after(plan, text("x") * 3) == text("x") + text("") + text("x")
    json_plan = plan_with(schema, build_plan(tags={"PII": REDACT}))
    assert json_plan.transform(write_batch([Record(value=b'{"a":"x"}')])).status == "refused"


JSON_USER = json.dumps({"type": "object", "properties": {
    "email": {"type": "string", "confluent:tags": ["PII"]}, "id": {"type": "integer"},
    "items": {"type": "array", "items": {"$ref": "#/$defs/item"}}},
    "$defs": {"item": {"properties": {"phone": {"confluent:tags": ["PII"]}, "in": {"$ref": "#/$defs/item"}}}}})


def test_json_behind_a_schema_is_hidden_by_paths_and_by_its_own_tags_alone() -> None:
    known = Registered()
    known.add(7, read_json_schema(JSON_USER, {}))
    known.add(8, read_json_schema("{}", {}))
    plan = build_plan(fields={"id": REDACT}, tags={"PII": Action("replace", text="#")})
    plan.read_by(known)
    text = b'{"email": "x", "id": 5, "items": [{"phone": 1, "in": {"phone": 2}}], "phone": 3}'
    batch = write_batch([Record(value=framed(text)), Record(value=framed(text, 8))])
    got = plan.transform(batch)
    assert [record.value for record in read_batches(got.data)[0].records] == [
        framed(b'{"email": "#", "id": "", "items": [{"phone": "#", "in": {"phone": "#"}}], "phone": 3}'),
        framed(text.replace(b"5", b'""'), 8)]
    assert plan.take_counts()["fields_masked"] == {"id": 2, "email": 1, "items[*].phone": 1,
                                                  "items[*].in.phone": 1}


def test_a_format_that_is_asked_for_is_insisted_on() -> None:
    for wanted, status in (("avro", "replaced"), ("json_schema", "refused"), ("json", "refused"), ("auto", "replaced")):
        plan = plan_with(USER, build_plan(fields={"email": REDACT}, format=wanted))
        assert plan.transform(write_batch([Record(value=framed(user()))])).status == status, wanted
    plan = plan_with(USER, build_plan(fields={"email": REDACT}, format="avro"))
    assert plan.transform(write_batch([Record(value=b'{"email":"x"}')])).status == "refused"
