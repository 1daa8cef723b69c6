from collections.abc import Callable
from typing import Any

class TlsContext:
    server: bool
    find_place: Callable[[bytes], Any] | None
    def __init__(self, server: bool, *, certificates: bytes = b"", key: bytes = b"", authorities: bytes | None = b"",
                 client_auth: str = "none", find_place: Callable[[bytes], Any] | None = None) -> None: ...
    def use_certificates(self, certificates: bytes, key: bytes) -> None: ...
    def trust(self, authorities: bytes | None, client_auth: int) -> None: ...
