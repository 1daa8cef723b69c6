"""Record plans made in one line, and what they leave of values."""

from __future__ import annotations

from typing import Any

from kproxy._ext import mask
from kproxy.model.record_plan import Action, DetectRule, FieldRule, RecordPlan
from tests.support.batches import Record, read_batches, write_batch

KEYS = {"k1": b"0123456789abcdef"}
REDACT, BLOCK = Action("redact"), Action("block")


def build_plan(
    direction: str = "consume",
    fields: dict[str, Action] | None = None,
    detect: dict[str, Action] | None = None,
    tags: dict[str, Action] | None = None,
    exact_fields: dict[tuple[str, ...], Action] | None = None,
    **more: Any,
) -> mask.Plan:
    """``fields``: action by path, as ``a.b[*].c``. ``detect``: action by entity. ``tags``: action by tag of a schema.
    ``exact_fields``: action by steps. Rules: ``f:…``, ``d:…``, ``t:…``."""
    steps = {path: tuple(path.replace("[*]", ".[*]").strip(".").split(".")) for path in fields or {}}
    made = RecordPlan(
        direction=direction,  # type: ignore[arg-type]
        fields=(*(FieldRule(steps[path], action, f"f:{path}") for path, action in (fields or {}).items()),
                *(FieldRule(path, action, f"f:{path}") for path, action in (exact_fields or {}).items()),
                *(FieldRule((), action, f"t:{tag}", tag) for tag, action in (tags or {}).items())),
        detectors=tuple(DetectRule(name, action, f"d:{name}", "not here") for name, action in (detect or {}).items()),
        **more,
    )
    return mask.Plan(mask.compile_plan(made, KEYS))


def value_after(plan: mask.Plan, value: bytes, codec: int = 0) -> bytes | None:
    """What a consumer is given of a record with ``value``. Raises AssertionError if it is given nothing."""
    batch = write_batch([Record(value=value)], codec=codec)
    got = plan.transform(batch)
    assert got.status != "refused", got.message
    [record] = read_batches(got.data or batch)[0].records
    return record.value
