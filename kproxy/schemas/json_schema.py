"""JSON Schemas, for the tags they give (``confluent:tags``): the documents need no schema to be read.

Followed are members, elements, alternatives and references. A tag that stands where a path cannot say it – under a
pattern of names, at one place of an array – is a tag of every member or element there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from kproxy.model.value_schema import MOST_DEPTH, MOST_NODES, Tagged, ValueSchema
from kproxy.schemas.faults import BadSchema, as_tags

TAGS = "confluent:tags"
ELEMENT, MEMBER, BENEATH = "[*]", "*", "**"
#: Steps that mean more than a name; a member called so is written behind a backslash (see kproxy.policy.field_paths).
_WORDS = (ELEMENT, MEMBER, BENEATH, "~")
_ALTERNATIVES = ("allOf", "anyOf", "oneOf")
_BRANCHES = ("if", "then", "else", "not")
_MEMBERS = ("additionalProperties", "unevaluatedProperties")
_ELEMENTS = ("items", "additionalItems", "unevaluatedItems", "prefixItems", "contains")

Path = tuple[str, ...]


def read_json_schema(text: str, references: Mapping[str, str]) -> ValueSchema:
    """``references``: texts by the names that ``$ref`` calls them by. Raises BadSchema."""
    reader = _Reader({name: _decoded(written) for name, written in references.items()})
    tagged: dict[Path, dict[str, None]] = {}
    try:
        root = _decoded(text)
        for path, tags in reader.walk(root, root, (), {}):
            tagged.setdefault(path, {}).update(dict.fromkeys(tags))
    except RecursionError:
        raise BadSchema("the schema is nested too deeply") from None
    for entered, again in reader.cycles:
        for path, found in list(tagged.items()):
            if path[:len(entered)] == entered:
                tagged.setdefault((*again, BENEATH, *path[len(entered):]), {}).update(found)
    if len(tagged) > MOST_NODES:
        raise BadSchema(f"the schema gives tags to more than {MOST_NODES} paths")
    return ValueSchema("json", tagged=tuple(Tagged(path, tuple(tags)) for path, tags in tagged.items()))


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        raise BadSchema("the schema is not JSON") from None


class _Reader:
    def __init__(self, references: dict[str, Any]) -> None:
        self._references = references
        self._left = MOST_NODES
        self.cycles: set[tuple[Path, Path]] = set()
        """Where a reference was followed, and where it comes again within itself: what is tagged beneath the one is
        tagged beneath the other, at any depth."""

    def walk(self, schema: Any, root: Any, path: Path, above: dict[str, Path]
             ) -> Iterator[tuple[Path, tuple[str, ...]]]:
        """Paths and their tags. ``above``: the references that are being followed, with where each was."""
        self._left -= 1
        if self._left < 0:
            raise BadSchema(f"the schema has more than {MOST_NODES} parts")
        if len(path) > MOST_DEPTH:
            raise BadSchema(f"the schema is nested deeper than {MOST_DEPTH}")
        if not isinstance(schema, dict):
            return
        tags = as_tags(schema.get(TAGS))
        if tags:
            yield path, tags
        for inner, step in _inside(schema):
            yield from self.walk(inner, root, (*path, step) if step else path, above)
        written = schema.get("$ref")
        if not isinstance(written, str):
            return
        if written in above:
            self.cycles.add((above[written], path))
            return
        target, its_root = self._find(written, root)
        yield from self.walk(target, its_root, path, {**above, written: path})

    def _find(self, written: str, root: Any) -> tuple[Any, Any]:
        """What a reference names, and the document it stands in."""
        name, _, pointer = written.partition("#")
        if name:
            if name not in self._references:
                raise BadSchema(f"the schema refers to {name[:200]!r}, which is not among its references")
            root = self._references[name]
        at = root
        for step in pointer.split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(at, dict) or key not in at:
                raise BadSchema(f"the schema refers to {written[:200]!r}, which is not there")
            at = at[key]
        return at, root


def _inside(schema: dict[str, Any]) -> Iterator[tuple[Any, str]]:
    """The schemas within, each with the step to what it is about; none where that is the same value."""
    for name, inner in _named(schema.get("properties")):
        yield inner, f"\\{name}" if name in _WORDS or name.startswith("\\") else name
    for _, inner in _named(schema.get("patternProperties")):
        yield inner, MEMBER
    for keys, step in ((_MEMBERS, MEMBER), (_ELEMENTS, ELEMENT), (_ALTERNATIVES, ""), (_BRANCHES, "")):
        for key in keys:
            found = schema.get(key)
            for inner in found if isinstance(found, list) else (found,):
                yield inner, step


def _named(found: Any) -> Iterator[tuple[str, Any]]:
    yield from found.items() if isinstance(found, dict) else ()
