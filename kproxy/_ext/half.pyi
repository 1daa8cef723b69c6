"""One end of a session; see the .pxd."""

from typing import Any

class Half:
    transport: Any
    def queued(self) -> int: ...
