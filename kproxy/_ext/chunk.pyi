"""Read buffers that are handed on without a copy; see the .pxd."""

from typing import Any

class Chunk: ...

class Span:
    def __len__(self) -> int: ...

class Pool:
    held: int
    def __init__(self, limit: int) -> None: ...

class Lane:
    queued: int

def idle_bytes() -> int: ...
def lane_parts(parts: list[Any], sent: int) -> list[Any]: ...
