"""Decisions already taken, found again by resource, operation and name in the time of one hash."""

from collections.abc import Callable, Sequence
from typing import Any

RESOURCES: dict[str, int]
OPERATIONS: dict[str, int]
RESOURCE_NAMES: dict[int, str]
OPERATION_NAMES: dict[int, str]

class NotUtf8:
    """The verdict on a name that is not UTF-8: no rule could mean it, so nobody may."""

    effect: str
    rule: str
    reason: str
    valid_until: float
    wanted: None
    would: None
    condition_errors: tuple[str, ...]

class PolicyTable:
    """``decide(resource, operation, name, now)`` gives (Verdict, plan or None); it is asked once per access until the
    verdict's ``valid_until``. ``most`` bounds the cells; a full table drops them all and begins anew."""

    drops: int

    def __init__(
        self, decide: Callable[[str, str, str, float], tuple[Any, Any]], most: int = 65536
    ) -> None: ...
    def __len__(self) -> int: ...
    def clear(self) -> None: ...
    def look_up_py(self, resource: str, operation: str, name: bytes, now: float) -> tuple[Any, Any, int]:
        """(verdict, plan or None, look-ups this cell has answered). For tests and cold paths."""
    def repeat_look_up(
        self, resource: str, operation: str, names: Sequence[bytes], now: float, rounds: int
    ) -> int:
        """Looks every name up ``rounds`` times without leaving C; returns how many look-ups were allowed."""
