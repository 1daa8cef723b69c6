"""What the clients' administrators do with consumer groups, behind one face."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import confluent_kafka
from confluent_kafka.admin import AdminClient

from tests.support import client_confluent, client_java
from tests.support.clients import GIVE_UP_SECONDS, Login, Opened
from tests.support.java import JavaDriver


@dataclass(frozen=True, slots=True)
class Group:
    """``operations``: what the client is told it may do, in lower case."""

    state: str
    members: int
    operations: frozenset[str]


class GroupAdmin(Opened):
    """Every method raises ClientError with Kafka's code."""

    @abstractmethod
    def list_groups(self) -> set[str]: ...

    @abstractmethod
    def describe(self, group: str) -> Group: ...

    @abstractmethod
    def delete(self, group: str) -> None: ...


class _Confluent(GroupAdmin):
    def __init__(self, login: Login) -> None:
        self._errors = client_confluent._Errors()
        self._admin = AdminClient(client_confluent._settings(login, self._errors))

    def _result(self, future: Any) -> Any:
        try:
            return future.result(GIVE_UP_SECONDS)
        except confluent_kafka.KafkaException as problem:
            raise self._errors.translated(problem.args[0]) from None

    def list_groups(self) -> set[str]:
        found = self._result(self._admin.list_consumer_groups(request_timeout=GIVE_UP_SECONDS))
        assert found.errors == []
        return {group.group_id for group in found.valid}

    def describe(self, group: str) -> Group:
        found = self._result(self._admin.describe_consumer_groups(
            [group], include_authorized_operations=True, request_timeout=GIVE_UP_SECONDS)[group])
        return Group(found.state.name.capitalize(), len(found.members),
                     frozenset(one.name.lower() for one in found.authorized_operations))

    def delete(self, group: str) -> None:
        self._result(self._admin.delete_consumer_groups([group], request_timeout=GIVE_UP_SECONDS)[group])

    def close(self) -> None:
        self._admin.poll(0)


class JavaGroupAdmin(GroupAdmin):
    def __init__(self, java: JavaDriver, login: Login) -> None:
        self._handle = client_java._Handle(java, "admin", login, {})

    def list_groups(self) -> set[str]:
        return set(self._handle.ask("list_groups")["groups"])

    def describe(self, group: str) -> Group:
        found = self._handle.ask("describe_group", group=group)
        return Group(found["state"], found["members"], frozenset(found["operations"]))

    def delete(self, group: str) -> None:
        self._handle.ask("delete_group", group=group)

    def delete_offset(self, group: str, topic: str) -> None:
        """The group's committed position of partition 0."""
        self._handle.ask("delete_offset", group=group, topic=topic)

    def close(self) -> None:
        self._handle.ask("close")


def open_group_admin(client: str, java: JavaDriver, login: Login) -> GroupAdmin:
    return _Confluent(login) if client == "confluent" else JavaGroupAdmin(java, login)
