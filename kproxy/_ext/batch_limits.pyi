"""What a produced batch must be like: safeguards, compiled; see the .pxd."""

from typing import Any

from kproxy.model.policy import SafeguardInForce
from kproxy.model.settings import Limits

class BatchLimits:
    safeguards: tuple[SafeguardInForce, ...]
    def __init__(self, safeguards: tuple[SafeguardInForce, ...], measures: Limits | None = None) -> None: ...
    def examine(self, acks: int, batch: bytes) -> tuple[bool, int, list[Any], list[Any]]: ...
