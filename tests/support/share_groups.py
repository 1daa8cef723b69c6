"""Share groups (KIP-932): Java's consumer and administrator of them, and a member by hand."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from tests.support import client_java
from tests.support.clients import Login, Opened
from tests.support.driver_handle import to_bytes
from tests.support.java import JavaDriver
from tests.support.ports import wait_for
from tests.support.raw_client import RawClient

HEARTBEAT, DESCRIBE, FETCH, ACKNOWLEDGE, OFFSETS, ALTER_OFFSETS, DELETE_OFFSETS = 76, 77, 78, 79, 90, 91, 92
ALTER_CONFIGS, GROUP_CONFIGS = 44, 32
FIND_COORDINATOR, NO_COORDINATOR = 10, (14, 15, 16)


@dataclass(frozen=True, slots=True)
class Delivered:
    topic: str
    partition: int
    offset: int
    value: bytes | None
    deliveries: int


class ShareConsumer(Opened):
    """Java's. Every method raises ClientError with Kafka's code."""

    def __init__(self, java: JavaDriver, login: Login, group: str) -> None:
        self._handle = client_java._Handle(java, "share_consumer", login, {
            "group.id": group, "share.acknowledgement.mode": "explicit", "fetch.max.wait.ms": 200})

    def subscribe(self, *topics: str) -> None:
        self._handle.ask("share_subscribe", topic=",".join(topics))

    def poll(self, seconds: float = 20) -> list[Delivered]:
        """What comes first. All of it must be acknowledged before the next."""
        found = self._handle.ask("share_poll", seconds=seconds)["records"]
        return [Delivered(r["topic"], r["partition"], r["offset"], to_bytes(r["value"]), r["deliveries"])
                for r in found]

    def acknowledge(self, kind: str = "ACCEPT") -> dict[str, int]:
        """All that the last poll gave; the error code of each partition, ``topic-0``."""
        return dict(self._handle.ask("share_acknowledge", type=kind)["codes"])

    def poll_all(self, count: int, kind: str = "ACCEPT") -> list[Delivered]:
        """Polls and acknowledges until there are ``count``."""
        found: list[Delivered] = []
        while len(found) < count:
            some = self.poll()
            assert some, f"{len(found)} of {count} came"
            found += some
            assert set(self.acknowledge(kind).values()) == {0}
        return found

    def close(self) -> None:
        self._handle.ask("share_close")


class ShareAdmin(Opened):
    def __init__(self, java: JavaDriver, login: Login) -> None:
        self._handle = client_java._Handle(java, "admin", login, {})

    def describe(self, group: str) -> dict[str, Any]:
        """Its state, members and what the client is told it may do."""
        found = self._handle.ask("share_describe", group=group)
        return {name: found[name] for name in ("state", "members", "operations")}

    def offsets(self, group: str) -> dict[str, int]:
        """``topic-0`` → where the group begins there."""
        return dict(self._handle.ask("share_offsets", group=group)["starts"])

    def alter(self, group: str, topic: str, offset: int) -> None:
        self._handle.ask("share_alter", group=group, topic=topic, offset=offset)

    def delete_offsets(self, group: str, topic: str) -> None:
        self._handle.ask("share_delete_offsets", group=group, topic=topic)

    def delete(self, group: str) -> None:
        self._handle.ask("share_delete", group=group)

    def close(self) -> None:
        self._handle.ask("close")


def new_group(broker: RawClient, prefix: str = "g.") -> str:
    """A name, and a group of it that will begin at the first record of its topics. ``broker``: past kproxy."""
    name = f"{prefix}{uuid.uuid4().hex[:10]}"
    [answer] = broker.ask(ALTER_CONFIGS, 1, {"validate_only": False, "resources": [{
        "resource_type": GROUP_CONFIGS, "resource_name": name, "configs": [
            {"name": "share.auto.offset.reset", "config_operation": 0, "value": "earliest"}]}]})["responses"]
    assert answer["error_code"] == 0, answer
    return name


class RawMember:
    """One connection's member of a share group, its requests counted as a broker counts them."""

    def __init__(self, client: RawClient, group: str) -> None:
        self.client, self.group, self.member = client, group, uuid.uuid4().hex
        self.epoch = 0

    def join(self, *topics: str) -> list[dict[str, Any]]:
        """Until partitions are assigned; they."""
        epoch = 0

        def assigned() -> list[dict[str, Any]] | None:
            nonlocal epoch
            answer = self.client.ask(HEARTBEAT, 1, {"group_id": self.group, "member_id": self.member,
                                                    "member_epoch": epoch, "subscribed_topic_names": list(topics)})
            assert answer["error_code"] in (0, *NO_COORDINATOR), answer
            if answer["error_code"]:
                # A broker makes the topic that it keeps groups in for the first who asks.
                self.client.ask(FIND_COORDINATOR, 4, {"key_type": 0, "coordinator_keys": [self.group]})
            epoch = answer["member_epoch"] if answer["error_code"] == 0 else epoch
            held = (answer["assignment"] or {}).get("topic_partitions")
            return held if held and len(held) == len(topics) else None

        return wait_for("partitions of the share group", assigned, 60)  # type: ignore[no-any-return]

    def leave(self) -> None:
        answer = self.client.ask(HEARTBEAT, 1, {"group_id": self.group, "member_id": self.member, "member_epoch": -1,
                                                "subscribed_topic_names": None})
        assert answer["error_code"] == 0, answer

    def fetch(self, *topics: dict[str, Any], version: int = 1) -> dict[str, Any]:
        """``topics``: what is added to the session, or acknowledged."""
        answer: dict[str, Any] = self.client.ask(FETCH, version, {
            "group_id": self.group, "member_id": self.member, "share_session_epoch": self.epoch, "max_wait_ms": 200,
            "min_bytes": 1, "max_bytes": 1 << 20, "max_records": 500, "batch_size": 500, "topics": list(topics),
            "forgotten_topics_data": []})
        self.epoch += 1
        return answer


def whole(topic_id: bytes, *indexes: int) -> dict[str, Any]:
    """A topic's partitions, for ``RawMember.fetch``; partition 0 where none is said."""
    return {"topic_id": topic_id, "partitions": [{"partition_index": at, "acknowledgement_batches": []}
                                                 for at in indexes or (0,)]}
