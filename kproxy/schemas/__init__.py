"""Schemas of a registry, read: text in, tables that workers walk records by out. Pure, as identity and policy are.

The text comes from whoever may register schemas, so everything in it is bounded, and what is not understood is refused:
a table that reads bytes differently than the schema says would hide the wrong ones.
"""

from __future__ import annotations

from collections.abc import Sequence

from kproxy.model.value_schema import ValueSchema
from kproxy.schemas.avro import read_avro
from kproxy.schemas.faults import BadSchema
from kproxy.schemas.json_schema import read_json_schema


def read_schema(kind: str, text: str, references: Sequence[tuple[str, str]]) -> ValueSchema:
    """``kind`` as registries call it: ``AVRO`` or ``JSON``. ``references`` are name and text of the schemas that it
    names, each behind those it names itself. Raises BadSchema."""
    if kind == "AVRO":
        return read_avro(text, [written for _, written in references])
    if kind == "JSON":
        return read_json_schema(text, dict(references))
    raise BadSchema(f"schemas of the kind {kind[:40]!r} are not read")
