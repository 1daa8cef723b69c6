"""The slow way through a YAML text that is not plain: PyYAML, which tells what is wrong with it and where.

What ``kproxy._ext.yaml_tree`` leaves alone and is not refused here it composes: tags are refused where values are read.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from kproxy._ext.yaml_tree import COLLECTION, MAPPING, PLAIN, QUOTED, SCALAR, SEQUENCE, Node
from kproxy.yaml_nodes import MAX_DEPTH, Report

_MAYBE_ANCHOR = re.compile(rb"(?:^|[\s\[\]{},:?-])[&*][^\s]", re.MULTILINE)


def compose_or_tell(source: bytes, report: Report) -> Node | None:
    """The root. None with the problem reported if the text cannot be read; None alone if it is empty."""
    try:
        found = _compose(source, report)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        report.add(" ".join(part for part in (error.context, error.problem) if part), mark.line + 1 if mark else 0)
    except yaml.YAMLError as error:
        report.add(str(error).splitlines()[0])
    else:
        return None if found is None else _convert(found)
    return None


def _convert(node: yaml.Node) -> Node:
    line = node.start_mark.line
    if isinstance(node, yaml.ScalarNode):
        return Node(SCALAR, node.tag, node.value, line)
    if isinstance(node, yaml.SequenceNode):
        return Node(SEQUENCE, node.tag, [_convert(one) for one in node.value], line)
    return Node(MAPPING, node.tag, [(_convert(key), _convert(value)) for key, value in node.value], line)


class _TooDeep(Exception):
    """The composer gives up; where the text goes too deep is told by its events."""


class _CoreSchema:
    """Says only how a node was written; what a plain scalar means is settled by the converter that reads it. The
    composer asks at every node, so this is where depth is bounded."""

    _depth = 0

    def resolve(self, kind: Any, value: str | None, implicit: Any) -> str:
        if kind is yaml.ScalarNode:
            return PLAIN if implicit[0] else QUOTED
        if self._depth > MAX_DEPTH:
            raise _TooDeep
        return COLLECTION

    def descend_resolver(self, current_node: Any, current_index: Any) -> None:
        self._depth += 1
        # What has a tag of its own is not resolved.
        if self._depth > MAX_DEPTH + 1:
            raise _TooDeep

    def ascend_resolver(self) -> None:
        self._depth -= 1


if yaml.__with_libyaml__:

    class _Composer(_CoreSchema, yaml.cyaml.CParser):  # type: ignore[misc]
        """libyaml's parser: 10,000 rules in tenths of a second."""
else:  # pragma: no cover - PyYAML's wheels carry libyaml

    class _Composer(_CoreSchema, yaml.reader.Reader, yaml.scanner.Scanner,  # type: ignore[misc, no-redef]
                    yaml.parser.Parser, yaml.composer.Composer):  # type: ignore[misc]
        def __init__(self, source: bytes) -> None:
            yaml.reader.Reader.__init__(self, source)
            yaml.scanner.Scanner.__init__(self)
            yaml.parser.Parser.__init__(self)
            yaml.composer.Composer.__init__(self)


def _compose(source: bytes, report: Report) -> Any:
    """The root node. None, with the problem reported, for anchors, aliases and absurd depth; None alone for nothing.
    Raises YAMLError."""
    if _MAYBE_ANCHOR.search(source) is not None and not _check_shape(source, report):
        return None
    try:
        return _Composer(source).get_single_node()
    except _TooDeep:
        _check_shape(source, report)
        return None


def _check_shape(source: bytes, report: Report) -> bool:
    """False, with the problem reported, for anchors, aliases and absurd depth. Only called where the text gives cause:
    to walk all events costs as much again as to compose the nodes."""
    depth = 0
    for event in yaml.parse(source, Loader=yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            report.add("anchors and aliases are not allowed; write the value out", event.start_mark.line + 1)
            return False
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            report.add(f"nested deeper than {MAX_DEPTH} levels", event.start_mark.line + 1)
            return False
    return True
