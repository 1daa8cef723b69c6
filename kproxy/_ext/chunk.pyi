"""Read buffers that are handed on without a copy; see the .pxd."""

class Chunk: ...

class Span:
    def __len__(self) -> int: ...

class Pool:
    held: int
    def __init__(self, limit: int) -> None: ...

class Lane:
    queued: int

def idle_bytes() -> int: ...
