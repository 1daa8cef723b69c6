"""Record rules, compiled; see the .pxd."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from typing_extensions import Buffer

from kproxy._ext.registered import Registered
from kproxy.model.record_plan import RecordPlan
from kproxy.model.settings import Limits

class Entity(NamedTuple):
    """``words``: beside a find that its check alone cannot decide about; ``literals``: one of which tells that it may
    be there; ``source`` of the rule."""

    name: str
    group: str
    pattern: str
    words: tuple[str, ...]
    literals: tuple[str, ...]
    source: str

CATALOGUE: tuple[Entity, ...]
ENTITIES: tuple[str, ...]
ACTIONS: dict[str, int]
TOKEN: str

class Transformed(NamedTuple):
    status: str
    data: bytes | None
    error_code: int
    message: str
    record_errors: list[tuple[int, str]]
    records: int

class Program:
    entities: tuple[str, ...]
    rule_names: tuple[str, ...]
    plan: RecordPlan

class Plan:
    program: Program
    out: bytes
    error_code: int
    message: str
    record_errors: list[tuple[int, str]]
    record_rules: dict[str, int]
    needed: tuple[int, ...]
    asked: bool
    def __init__(self, program: Program) -> None: ...
    def read_by(self, schemas: Registered | None) -> None: ...
    def transform(self, record_set: Buffer, zstd: bool = True) -> Transformed: ...
    def take_counts(self) -> dict[str, Any]: ...

def pattern_fault(pattern: str) -> str: ...
def compile_plan(plan: RecordPlan, keys: Mapping[str, bytes], limits: Limits | None = None) -> Program: ...

def derive_key(key: bytes, purpose: bytes, size: int) -> bytes: ...

class Finder:
    entities: tuple[str, ...]
    def __init__(self, entities: tuple[str, ...]) -> None: ...
    def find(self, text: bytes, look_first: bool = True) -> list[tuple[str, int, int]]: ...

def finder_of(entities: tuple[str, ...]) -> Finder: ...
def find_entities(text: bytes, entities: tuple[str, ...], look_first: bool = True) -> list[tuple[str, int, int]]: ...
