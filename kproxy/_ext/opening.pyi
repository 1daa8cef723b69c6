"""One request or response, opened; see the .pxd."""

from typing import Any

class Addresses:
    host: bytes
    first_broker: int
    last_broker: int
    first_port: int
    learned: dict[int, tuple[str, int]]
    def __init__(self, host: str, first_broker: int, last_broker: int, first_port: int) -> None: ...

class Opening:
    condition_errors: list[str]
    def __init__(self, table: Any, addresses: Addresses) -> None: ...
