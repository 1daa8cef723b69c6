"""One request or response, opened; see the .pxd."""

from typing import Any

from kproxy._ext.topic_ids import TopicIds

class Addresses:
    host: bytes
    suffix: bytes | None
    first_broker: int
    last_broker: int
    first_port: int
    learned: dict[int, tuple[str, int]]
    topic_ids: TopicIds
    def __init__(
        self, host: str, first_broker: int, last_broker: int, first_port: int, topic_ids: TopicIds | None = None,
        suffix: str | None = None,
    ) -> None: ...

class Opening:
    condition_errors: list[str]
    def __init__(self, table: Any, addresses: Addresses) -> None: ...
