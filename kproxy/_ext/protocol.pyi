"""The only holder of sockets; see the .pxd."""

from typing import Any

from kproxy._ext.ledger import Ledger
from kproxy._ext.session import Session

class Turn:
    def __init__(self, loop: Any, ledger: Ledger) -> None: ...
    def run(self) -> None: ...

class BrokerHalf:
    transport: Any

class ClientHalf:
    transport: Any
    session: Session
    broker: BrokerHalf | None
    shell: Any
    connected_at: float
    heard_at: float
    def __init__(self, session: Session, shell: Any, turn: Turn, limit: int, most_queued: int) -> None: ...
    def attach_broker(self, login: Any) -> BrokerHalf: ...
    def resumed(self) -> None: ...
    def abort(self) -> None: ...
    def fail(self, error: Exception) -> None: ...
    def close(self, cause: str) -> None: ...
