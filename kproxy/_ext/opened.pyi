"""An API module driven by hand; see the .pyx."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from kproxy._ext.opening import Addresses

Treatment = Literal["forward", "replace", "answer", "wait", "close"]

class Opened:
    denials: list[Any]
    cause: str | None
    def __init__(self, decide: Callable[[str, str, str, float], tuple[Any, Any]], addresses: Addresses) -> None: ...
    def answered(self, asked: Mapping[Any, tuple[str, str]]) -> None: ...
    def forget_decisions(self) -> None: ...
    def request(self, frame: bytes, now: float = 0) -> tuple[Treatment, bytes | None]: ...
    def response(self, frame: bytes, now: float = 0) -> tuple[Treatment, bytes | None]: ...
