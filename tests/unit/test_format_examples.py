"""The examples of docs/formats.md: a schema and a policy, and a value before and after, as fastavro writes and reads
it."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import fastavro
import pytest

from kproxy import policy
from kproxy._ext import mask
from kproxy._ext.registered import Registered
from kproxy.schemas import read_schema
from tests.support.batches import Record, read_batches, write_batch
from tests.support.policies import facts

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "formats.md"
ROLES = 'roles: {reader: {members: {groups: [reader]}, allow: [{operations: [read, write], topics: ["*"]}]}}'
HEAD = b"\0\0\0\0\7"
_HEADING = re.compile(r"^## (.+)$", re.M)
_BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.M | re.S)


def examples() -> dict[str, dict[str, str]]:
    found = {}
    for title, section in zip(*[iter(_HEADING.split(DOCUMENT.read_text(encoding="utf-8"))[1:])] * 2, strict=True):
        blocks = {f"{language}{words}": block for language, words, block in _BLOCK.findall(section)}
        if blocks:
            found[title] = blocks
    return found


EXAMPLES = examples()


def encode(schema: str, value: str) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, json.loads(schema), json.loads(value))
    return out.getvalue()


@pytest.mark.parametrize("title", EXAMPLES)
def test_what_the_document_shows_is_what_happens(title: str) -> None:
    example = EXAMPLES[title]
    is_avro = "json schema" in example
    schema = example["json schema" if is_avro else "json schema json"]
    known = Registered()
    known.add(7, read_schema("AVRO" if is_avro else "JSON", schema, ()))
    made = policy.compile(policy.load({"roles.yaml": ROLES.encode(), "example.yaml": example["yaml"].encode()}))
    plan = mask.Plan(mask.compile_plan(made.plan_for_roles(["reader"], facts(), "orders", "consume", now=0.0), {}))
    plan.read_by(known)
    before, after = (encode(schema, example[which]) if is_avro else example[which].encode()
                     for which in ("json in", "json out"))
    got = plan.transform(write_batch([Record(value=HEAD + before)]))
    assert got.status == "replaced", got.message
    [record] = read_batches(got.data)[0].records
    assert record.value == HEAD + after


def test_each_format_is_shown() -> None:
    assert list(EXAMPLES) == ["Avro", "Avro, by tags", "JSON Schema, by tags"]
