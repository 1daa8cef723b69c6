"""Who the client is, at its first login and at every later one; see the .pxd."""

from typing import Any

class Authentication:
    state: int
    again: bool
    facts: Any
    expires_at: float
    client_id: str
    client_software: str
