"""Notes, flows and counters of the hot path; see the .pxd."""

from typing import Any

BOUNDS: tuple[float, ...]
DECISION_NAMES: tuple[str, ...]

class Flow:
    runs: int
    since: float
    def take(self) -> dict[tuple[str, int], tuple[bytes, int, int]]: ...

class Pen:
    fd: int
    room: int
    written: int
    torn: bool

class Ledger:
    spool: Any
    refusing: bool
    def __init__(self, spool: Any) -> None: ...
    def commit(self) -> bool: ...

class Counters:
    listener: str
    def __init__(self, listener: str) -> None: ...
    def read(self) -> dict[str, Any]: ...

def read_notes(payload: bytes) -> list[tuple[int, int, int, int, int, int, int, int, int, str]]: ...
def add_outcome(flow: Flow, topic: bytes, partition: int, first: int, last: int, records: int, size: int) -> None: ...
def add_note(ledger: Ledger, kind: int, session: int, correlation: int, partition: int, first: int, last: int,
             records: int, size: int, error: int, topic: str) -> None: ...
