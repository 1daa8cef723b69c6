"""Writes the tables of keys in docs/configuration.md and docs/policy.md, between the lines that mark their places.

    python scripts/reference.py [--check]

A row is a field of a struct in kproxy/model: its type, default and marks (kproxy/model/written.py), and the text that
stands below it in the source. With --check nothing is written: exit 1 and a line for each document that is stale.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import sys
import typing
from pathlib import Path
from types import UnionType
from typing import Any, Literal, NamedTuple

import msgspec

from kproxy.model import policy, settings
from kproxy.model.written import Written

ROOT = Path(__file__).resolve().parents[1]
_REGION = re.compile(r"(<!-- keys of ([\w.]+): scripts/reference\.py -->\n).*?(<!-- end of keys -->\n)", re.S)
#: What stands in place of a default where there is none and the key must be written.
REQUIRED = "–"
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
_SIZES = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))

#: Document → place → the structs whose fields are its rows; where there are several, with what each is called.
DOCUMENTS: dict[str, dict[str, dict[str, type]]] = {
    "docs/configuration.md": {
        "node": {"": settings.Node},
        "clusters": {"": settings.Cluster},
        "clusters.credentials": {"": settings.Credential},
        "clusters.tls": {"": settings.BrokerTls},
        "clusters.schema_registry": {"": settings.SchemaRegistry},
        "listeners": {"": settings.Listener},
        "listeners.advertise.ports": {"": settings.Advertise},
        "listeners.advertise.sni": {"": settings.AdvertiseNames},
        "listeners.tls": {"": settings.ListenerTls},
        "listeners.proxy_protocol": {"": settings.ProxyProtocol},
        "identity.issuers": {"": settings.Issuer},
        "policy": {"": settings.Config},
        "audit": {"": settings.Audit},
        "admin": {"": settings.Config},
        "metrics": {"": settings.Config},
        "limits": {"": settings.Limits},
    },
    "docs/policy.md": {
        "topics": {"": policy.TopicEntry},
        "roles": {"": policy.Role},
        "rules": {"an allow": policy.Allow, "a forbid": policy.Forbid},
        "records": {"a mask": policy.Mask, "a guard": policy.Guard},
        "detectors": {"": policy.Detector},
        "approvals": {"": policy.Approval},
        "safeguards": {"": policy.Safeguard},
        "safeguards.produce": {"": policy.ProduceLimits},
        "safeguards.admin": {"": policy.AdminLimits},
        "safeguards.admin.configs": {"": policy.ConfigLimit},
        "quotas": {"": policy.Quota},
    },
}


class Row(NamedTuple):
    """One key as a document tells it; ``is_typed`` where the default may be typed as it is told."""

    key: str
    kind: str
    default: str
    meaning: str
    is_typed: bool


def render(document: str, text: str) -> str:
    """``text`` with every place filled. Raises SystemExit for places that are missing or that nobody knows."""
    places = DOCUMENTS[document]
    found = [match[2] for match in _REGION.finditer(text)]
    if sorted(found) != sorted(places):
        raise SystemExit(f"{document}: places for keys are {', '.join(found)}; known: {', '.join(places)}")
    return _REGION.sub(lambda match: f"{match[1]}\n{table(match[2], places[match[2]])}\n{match[3]}", text)


def table(place: str, structs: dict[str, type]) -> str:
    """The Markdown table of one place."""
    lines = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for row in rows(place, structs):
        lines.append("| " + " | ".join((f"`{row.key}`", row.kind, row.default, row.meaning)) + " |")
    return "\n".join(lines) + "\n"


def rows(place: str, structs: dict[str, type]) -> list[Row]:
    """The rows of one place. Several structs share the rows they have in common; a field says what it means once."""
    by_name = {name: {row.key: row for row in rows_of(struct, place)} for name, struct in structs.items()}
    if len(by_name) == 1:
        return list(next(iter(by_name.values())).values())
    merged: dict[str, Row] = {}
    for own in by_name.values():
        for key, row in own.items():
            having = {name: other[key] for name, other in by_name.items() if key in other}
            defaults = {name: other.default for name, other in having.items()}
            meaning = row.meaning or next((other.meaning for other in having.values() if other.meaning), "")
            if len(set(defaults.values())) > 1:
                default = "; ".join(f"{name}: {value}" for name, value in defaults.items())
            else:
                default = row.default
            if len(having) < len(by_name):
                meaning = f"of {next(iter(having))} only: {meaning}"
            merged.setdefault(key, row._replace(default=default, meaning=meaning))
    _refuse_silence(place, [row for row in merged.values() if not row.meaning])
    return list(merged.values())


def rows_of(struct: type, place: str) -> list[Row]:
    """A struct's fields that are keys, in their order."""
    hints = typing.get_type_hints(struct, include_extras=True)
    texts = field_texts(struct)
    found: list[Row] = []
    for field in msgspec.structs.fields(struct):
        hint, marks = _open(hints[field.name])
        if struct is settings.Config and marks.part != place:
            continue
        if marks.key == "*":
            found += rows_of(hint, place)
        elif marks.key != "":
            key = marks.key or _key_of(struct, field.name, marks)
            default = _default(field, marks)
            found.append(Row(key, _kind(hint, marks), default, texts.get(field.name, ""),
                             default != REQUIRED and marks.default is None))
    if place not in ("rules", "records"):
        _refuse_silence(place, [row for row in found if not row.meaning])
    return found


def _refuse_silence(place: str, silent: list[Row]) -> None:
    if silent:
        raise SystemExit(f"{place}: no text says what these mean: {', '.join(row.key for row in silent)}")


def field_texts(struct: type) -> dict[str, str]:
    """Field → the text below it in the source, on one line."""
    body = ast.parse(inspect.getsource(struct)).body[0]
    assert isinstance(body, ast.ClassDef)
    texts = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr) \
                and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str):
            texts[field.target.id] = " ".join(below.value.value.split())
    return texts


def _open(hint: Any) -> tuple[Any, Written]:
    """The bare type and its marks; of two that speak of one thing the outer one counts."""
    marks = [mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, Written)]
    merged: dict[str, Any] = {}
    for mark in marks:
        merged |= {name: value for name, value in dataclasses.asdict(mark).items() if value is not None}
    return getattr(hint, "__origin__", hint) if marks else hint, Written(**merged)


def _key_of(struct: type, name: str, marks: Written) -> str:
    """Limits are called as Kafka calls them: dots, and the unit at the end."""
    if struct is not settings.Limits:
        return name
    return name.replace("_", ".") + (".ms" if marks.kind == "milliseconds" else "")


def _kind(hint: Any, marks: Written) -> str:
    said = marks.kind or _kind_of_type(hint)
    if marks.least is not None and marks.most is not None:
        return f"{said}, {_amount(marks.least, marks)} to {_amount(marks.most, marks)}"
    return said if marks.least is None else f"{said}, {_amount(marks.least, marks)} or more"


def _amount(number: int, marks: Written) -> str:
    return _as_size(number) if marks.kind == "size" else f"{number:,}"


def _kind_of_type(hint: Any) -> str:
    bare, marks = _open(hint)
    origin, arguments = typing.get_origin(bare), typing.get_args(bare)
    if marks.kind:
        return marks.kind
    if origin is Literal:
        *others, last = (f"`{word}`" for word in arguments)
        return f"{', '.join(others)} or {last}" if others else last
    if origin in (typing.Union, UnionType):
        return " or ".join(_kind_of_type(argument) for argument in arguments if argument is not type(None))
    if origin is tuple:
        return f"list of {_several(arguments[0])}"
    if origin is dict:
        return f"`{{NAME: {_kind_of_type(arguments[1])}}}`"
    if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
        return "see below"
    return {str: "text", int: "number", bool: "`true` or `false`"}[bare]


def _several(hint: Any) -> str:
    bare, marks = _open(hint)
    if typing.get_origin(bare) is Literal:
        return ", ".join(f"`{word}`" for word in typing.get_args(bare))
    return {"address": "addresses", "pattern": "patterns"}.get(marks.kind or "") or _kind_of_type(hint)


def _default(field: msgspec.structs.FieldInfo, marks: Written) -> str:
    if marks.default is not None:
        return marks.default
    if field.default is msgspec.NODEFAULT and field.default_factory is msgspec.NODEFAULT:
        return REQUIRED
    value = field.default
    if isinstance(value, bool):
        return str(value).lower()
    if marks.kind == "milliseconds":
        return str(round(value * 1000))
    if marks.kind == "duration":
        return _as_duration(value)
    if marks.kind == "size":
        return _as_size(value)
    if marks.kind == "address":
        return f"{value[0]}:{value[1]}"
    if isinstance(value, tuple) and value:
        return ", ".join(str(one) for one in value)
    if value in ("", (), None):
        raise SystemExit(f"{field.name}: an empty default says nothing; mark what it stands for")
    return f"`{value}`" if "{" in str(value) else str(value)


def _as_duration(seconds: float) -> str:
    return next(f"{int(seconds // unit)}{sign}" for unit, sign in _UNITS if seconds % unit == 0)


def _as_size(number: int) -> str:
    return next((f"{number // unit}{sign}" for unit, sign in _SIZES if number % unit == 0), f"{number}B")


def main(arguments: list[str]) -> int:
    stale = []
    for document in DOCUMENTS:
        path = ROOT / document
        text = path.read_text(encoding="utf-8")
        wanted = render(document, text)
        if wanted != text and "--check" in arguments:
            stale.append(document)
        elif wanted != text:
            path.write_text(wanted, encoding="utf-8")
    for document in stale:
        print(f"{document}: its tables of keys are not what the structs say; run scripts/reference.py")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
