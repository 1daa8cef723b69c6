"""YAML text composed into nodes that know their line; text that is not plain is left to whoever asked."""

from typing import Any

SCALAR: str
SEQUENCE: str
MAPPING: str
PLAIN: str
QUOTED: str
COLLECTION: str

class Node:
    kind: str
    tag: str
    value: Any
    line: int
    def __init__(self, kind: str, tag: str, value: Any, line: int) -> None: ...

def compose(source: bytes, most_depth: int) -> tuple[bool, Node | None]: ...
