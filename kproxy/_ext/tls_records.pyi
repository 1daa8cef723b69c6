"""The records of one TLS connection; see the .pxd."""

from typing import Any

from kproxy._ext.tls_context import TlsContext

class Records:
    why: tuple[str, str] | None
    place: Any
    def __init__(self, context: TlsContext, host: str = "") -> None: ...
    def describe(self) -> tuple[str, str]: ...
