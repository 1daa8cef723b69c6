"""What real members of a group tell each other, as who may describe the group and not all its topics sees it."""

from __future__ import annotations

import uuid

import pytest

from tests.support.clients import Record
from tests.support.ports import wait_for
from tests.support.stage import Stage

pytestmark = pytest.mark.integration

DESCRIBE_GROUPS = 15


@pytest.mark.parametrize("client", ["java", "confluent"])
def test_topics_of_members_that_are_hidden_are_left_out(stage: Stage, client: str) -> None:
    opened, closed = stage.make_topic("open."), stage.make_topic("closed.")
    group = f"g.{uuid.uuid4().hex[:10]}"
    for topic in (opened, closed):
        stage.write_direct(topic, [Record(b"1")])
    front = len(stage.front.connections)
    driver = stage.client(client)
    with (driver.consumer(stage.direct(), group) as mine, driver.consumer(stage.direct(), group) as other,
          stage.raw("tapped") as asking):
        mine.subscribe(opened)
        other.subscribe(closed)

        def members() -> list[dict[str, bytes]] | None:
            mine.poll(1, 0.3)
            other.poll(1, 0.3)
            [found] = asking.ask(DESCRIBE_GROUPS, 5, {"groups": [group]})["groups"]
            return found["members"] if found["group_state"] == "Stable" and len(found["members"]) == 2 else None

        shown = wait_for("both to be members", members, 60)
    said = [bytes(one[part]) for one in shown for part in ("member_metadata", "member_assignment")]
    assert sum(opened.encode() in one for one in said) == 2, "its subscription and its assignment"
    assert not any(closed.encode() in one for one in said) and all(said)
    got = b"".join(bytes(passed.to_client) for passed in stage.front.connections[front:])
    assert opened.encode() in got and closed.encode() not in got
