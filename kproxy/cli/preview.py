"""``kproxy policy preview``: what a reader or writer of a topic would see of sample records."""

from __future__ import annotations

import base64
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import msgspec
import typer

from kproxy import policy as policies
from kproxy.cli.node import DEFAULT_CONFIG, ConfigOption
from kproxy.config import load_config, read_policy
from kproxy.errors import KproxyError
from kproxy.model.access import Client, Facts, Principal
from kproxy.model.record_plan import Direction
from kproxy.policy.samples import Previewed, Sample, preview

Form = Literal["lines", "records", "whole"]


class _Written(msgspec.Struct, forbid_unknown_fields=True):
    """A record as a line of a sample file."""

    value: msgspec.Raw = msgspec.Raw(b"null")
    key: str | None = None
    headers: dict[str, str | None] = {}


def preview_command(
    topic: Annotated[str, typer.Option(help="The topic the records are of.")],
    sample: Annotated[Path, typer.Option(help="The file of records; - is standard input.")],
    role: Annotated[list[str], typer.Option(help="A role that is held; may be given again.")] = [],  # noqa: B006
    direction: Annotated[Direction, typer.Option(help="Whether the records are read or written.")] = "consume",
    form: Annotated[Form, typer.Option(help="Each line is a value (lines) or an object of key, value and headers"
                                            " (records), or the file is one value (whole).")] = "lines",
    principal: Annotated[str, typer.Option(help="The principal's name, for conditions that read it.")] = "somebody",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, a line a record.")] = False,
) -> None:
    """Show sample records before and after the policy on disk, with the rules that fired."""
    settings = load_config(config)
    made = policies.load(read_policy(settings.policy_path))
    known = {one.name for one in made.roles}
    for name in role:
        if name not in known:
            raise typer.BadParameter(f"no role {name!r} in the policy; known: {', '.join(sorted(known)) or 'none'}")
    facts = Facts(principal=Principal(principal, "", principal, (), {}), mechanism="OAUTHBEARER",
                  listener=next(iter(settings.listeners)), attested={}, declared={}, client=Client())
    plan = policies.compile(made).plan_for_roles(role, facts, topic, direction, now=time.time())
    found = preview(plan, _samples(sample, form), settings.keys, settings.limits)
    for number, one in enumerate(found, 1):
        typer.echo(msgspec.json.encode(_as_json(number, one)).decode() if as_json else "\n".join(_lines(number, one)))


def _samples(file: Path, form: Form) -> Iterator[Sample]:
    try:
        data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise KproxyError(f"{file} cannot be read: {error.strerror}") from None
    if form == "whole":
        yield Sample(data)
        return
    for number, line in enumerate(data.splitlines(), 1):
        if form == "lines":
            yield Sample(line)
            continue
        try:
            yield _as_sample(msgspec.json.decode(line, type=_Written))
        except msgspec.DecodeError as error:
            shape = '{"key": …, "value": …, "headers": {…}}'
            raise KproxyError(f"{file}:{number}: {error}; a record is {shape}") from None


def _as_sample(written: _Written) -> Sample:
    """A value that is written as text is that text; any other is its JSON."""
    value = bytes(written.value)
    if value.startswith(b'"'):
        value = cast(str, msgspec.json.decode(value)).encode()
    return Sample(None if value == b"null" else value, None if written.key is None else written.key.encode(),
                  tuple((name, None if text is None else text.encode()) for name, text in written.headers.items()))


def _lines(number: int, one: Previewed) -> list[str]:
    because = ", ".join(f"{rule} ×{count}" if count > 1 else rule for rule, count in sorted(one.rules.items()))
    lines = [f"{number}: {one.outcome}" + (f" by {because}" if because else "")
             + (", a value that cannot be read" if one.unknown else "") + (f": {one.reason}" if one.reason else "")]
    if one.after is None or one.outcome == "same":
        return [*lines, *(f"     {part}" for part in _parts(one.before))]
    before, after = _parts(one.before), _parts(one.after)
    for old, new in zip(before, after, strict=False):
        lines += [f"     {old}"] if old == new else [f"   - {old}", f"   + {new}"]
    return [*lines, *(f"   + {part}" for part in after[len(before):])]


def _parts(sample: Sample) -> list[str]:
    parts = [] if sample.key is None else [f"key {_text(sample.key)}"]
    parts += ["null" if sample.value is None else _text(sample.value)]
    return [*parts, *(f"header {name}: {'null' if value is None else _text(value)}" for name, value in sample.headers)]


def _text(value: bytes) -> str:
    """What a terminal may be given: nothing that moves its cursor."""
    text = value.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _as_json(number: int, one: Previewed) -> dict[str, Any]:
    return {"record": number, "outcome": one.outcome, "unknown": one.unknown, "reason": one.reason,
            "rules": one.rules, "entities": one.entities, "fields": one.fields,
            "before": _plain(one.before), "after": None if one.after is None else _plain(one.after)}


def _plain(sample: Sample) -> dict[str, Any]:
    return {"key": _said(sample.key), "value": _said(sample.value),
            "headers": [[name, _said(value)] for name, value in sample.headers]}


def _said(part: bytes | None) -> str | dict[str, str] | None:
    try:
        return None if part is None else part.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(part or b"").decode()}
