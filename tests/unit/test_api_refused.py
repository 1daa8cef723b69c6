"""APIs that nobody is served: each is refused in its own answer, for everything it names."""

from __future__ import annotations

import random
from typing import Any

import pytest

from kproxy._ext import schema
from kproxy._ext.apis import NAMES, SERVED
from kproxy._ext.refused import REFUSED
from tests.support.desk import Desk
from tests.support.messages import random_values

EVERY = sorted({(api, version) for api, response, version in schema.served_messages()
                if not response and api in REFUSED and version >= REFUSED[api][0]})
#: Where an answer has no code for the whole: its codes and what they are about, beside where the request names it.
NAMED: dict[int, Any] = {
    27: lambda asked, answered: (
        [(marker["producer_id"], topic["name"], partition) for marker in asked["markers"]
         for topic in marker["topics"] for partition in topic["partition_indexes"]],
        [((marker["producer_id"], topic["name"], partition["partition_index"]), partition["error_code"])
         for marker in answered["markers"] for topic in marker["topics"] for partition in topic["partitions"]]),
    30: lambda asked, answered: ([None for _ in asked["creations"]],
                                 [(None, one["error_code"]) for one in answered["results"]]),
    31: lambda asked, answered: ([None for _ in asked["filters"]],
                                 [(None, one["error_code"]) for one in answered["filter_results"]]),
    34: lambda asked, answered: (
        [(topic["name"], partition) for one in asked["dirs"] for topic in one["topics"]
         for partition in topic["partitions"]],
        [((topic["topic_name"], partition["partition_index"]), partition["error_code"])
         for topic in answered["results"] for partition in topic["partitions"]]),
    51: lambda asked, answered: ([one["name"] for one in (*asked["deletions"], *asked["upsertions"])],
                                 [(one["user"], one["error_code"]) for one in answered["results"]]),
}
for _api in range(83, 88):
    NAMED[_api] = lambda asked, answered: (
        [(topic["topic_id"], one["partition"]) for topic in asked["topics"] for one in topic["partitions"]],
        [((topic["topic_id"], one["partition"]), one["error_code"])
         for topic in answered["results"] for one in topic["partitions"]])


@pytest.mark.parametrize(("api", "version"), EVERY, ids=lambda value: str(value))
def test_everything_that_was_asked_is_refused_by_name(api: int, version: int) -> None:
    desk = Desk("cluster_action cluster kafka-cluster", "alter cluster kafka-cluster", "describe cluster kafka-cluster",
                "write topic *")
    code = REFUSED[api][2]
    chance = random.Random(f"{api} {version}")
    named = 0
    for _ in range(20):
        asked = schema.parse(api, version, False, schema.build(
            api, version, False, random_values(chance, api, version, False)))
        treatment, answer = desk.request(api, version, asked)
        assert treatment == "answer"
        assert desk.denied() == [(REFUSED[api][1], "cluster", "kafka-cluster")]
        if api in NAMED:
            names, refusals = NAMED[api](asked, answer)
            assert refusals == [(name, code) for name in names]
            named += len(names)
        else:
            assert answer["error_code"] == code
            assert all(not value for name, value in answer.items()
                       if isinstance(value, list | bytes)), "nothing but the code is told"
    assert named > 5 or api not in NAMED


def test_a_request_too_long_to_be_answered_closes() -> None:
    desk = Desk()
    asked = {"creations": [{"resource_type": 2, "resource_name": "x" * 3000, "principal": "p", "host": "*",
                            "operation": 3, "permission_type": 3}] * 30}
    assert desk.request(30, 2, asked) == ("close", None) and desk.opened.cause == "unknown_api"


def test_what_is_refused_is_not_served() -> None:
    assert {api for api in REFUSED if api in SERVED} == {24}
    assert SERVED[24][1] == REFUSED[24][0] - 1
    assert (NAMES[27], NAMES[58]) == ("WriteTxnMarkers", "Envelope")
