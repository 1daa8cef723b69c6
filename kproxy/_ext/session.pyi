"""One client connection as a pure machine; see the .pxd."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kproxy._ext.chunk import Lane
from kproxy._ext.ledger import Counters, Flow, Ledger
from kproxy._ext.login import Promise
from kproxy._ext.opening import Addresses
from kproxy._ext.quota import Budgets
from kproxy._ext.slots import Slots

class Epoch:
    value: int
    def __init__(self, value: int = 0) -> None: ...

class Session:
    state: int
    cause: str | None
    ending: str | None
    phase: str
    facts: Any
    answer_needs: list[int] | None
    waiting: tuple[Any, ...] | None
    number: int
    client_id: str
    client_software: str
    requests: int
    flow: Flow
    slots: Slots
    budgets: Budgets | None
    muted: bool
    to_client: Lane
    to_broker: Lane
    def __init__(
        self,
        number: int,
        mechanisms: Sequence[str],
        addresses: Addresses,
        decide: Callable[[str, str, str, float], tuple[Any, Any]],
        epoch: Epoch,
        ledger: Ledger,
        counters: Counters,
        journal: Callable[[str, Session, dict[str, Any]], Any],
        facts: Any = None,
    ) -> None: ...
    def resume_versions(self, promise: Promise | None) -> None: ...
    def resume_login(self, facts: Any, now: float) -> None: ...
    def refuse_login(self, message: str, challenge: bytes | None, now: float) -> None: ...
    def resume_broker(self, promise: Promise, now: float) -> None: ...
    def resume_topic_ids(self) -> None: ...
    def resume_schemas(self) -> None: ...
    def resume_answer(self) -> None: ...
    def resume_approval(self, answers: Mapping[Any, tuple[str, str]]) -> None: ...
    def tell_repeats(self) -> None: ...
    def forget_decisions(self) -> None: ...
    def close(self, cause: str) -> None: ...
    def unanswered(self) -> int: ...
