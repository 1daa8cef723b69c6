"""An embedded Kafka broker: the mock cluster that librdkafka carries inside the confluent-kafka wheel.

It speaks the real protocol on loopback, keeps what is produced, and runs consumer groups. It knows no CreateTopics; a
topic is there once its metadata was asked for.
"""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Any

from kproxy.errors import KproxyError

SECONDS = 15.0
#: librdkafka logs every lost connection on stderr; in a narrated demo a refused login is a step, not an accident.
silent = logging.getLogger("kproxy.demo.silent")
silent.addHandler(logging.NullHandler())
silent.propagate = False


def kafka() -> Any:
    """The confluent_kafka module. Raises KproxyError where the extra is not installed."""
    try:
        import confluent_kafka
    except ImportError:
        raise KproxyError("the demo needs confluent-kafka: pip install 'kproxy[demo]'") from None
    return confluent_kafka


class EmbeddedBroker:
    """One broker on a loopback port; ``bootstrap`` is its ``(host, port)``. It lives as long as this object is open."""

    def __init__(self, topics: list[str]) -> None:
        self._owner = kafka().Producer({"bootstrap.servers": "127.0.0.1:1", "test.mock.num.brokers": 1},
                                       logger=silent)
        broker = next(iter(self._owner.list_topics(timeout=SECONDS).brokers.values()))
        self.bootstrap: tuple[str, int] = (broker.host, broker.port)
        for topic in topics:
            self._owner.list_topics(topic, timeout=SECONDS)

    def __enter__(self) -> EmbeddedBroker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._owner
