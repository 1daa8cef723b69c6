"""Any mixture of ids, known and not, hidden and open, in any request that names topics by id, from two clients of one
worker: a broker hears only of what its client may touch, a client is told of each topic once and no hidden name."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kproxy._ext import schema
from kproxy._ext.apis import SERVED
from kproxy._ext.opened import Opened
from kproxy._ext.opening import Addresses
from kproxy._ext.topic_ids import HIGHEST_BY_NAME, TopicIds
from kproxy.model.access import Verdict
from tests.support import frames

CORRELATION = 9
RECORDS = frames.batch([b"v"])
#: Topic → id. Of the gone ones nobody knows the name, of the late ones it is learned when it is asked for.
KNOWN = {f"{owner}-canary-{number}": f"{owner}{number}".encode().rjust(16, b"=")
         for owner in ("ann", "bob") for number in range(4)}
LATE = {f"{owner}-canary-late": f"{owner}-late".encode().rjust(16, b"=") for owner in ("ann", "bob")}
NAMES = {topic_id: name for name, topic_id in (KNOWN | LATE).items()}
GONE = [b"gone-%d" % number + bytes(10) for number in range(3)]
SHARE_FETCH, SHARE_ACKNOWLEDGE = 78, 79
ASKED = [(0, 13), *((1, version) for version in range(13, 19)), (3, 12), (3, 13), (8, 10), (9, 10), (20, 6), (28, 6)]


class Client:
    """One of two on a worker: he may do everything on the topics that begin with his name."""

    def __init__(self, name: str, ids: TopicIds) -> None:
        self.name = name
        self.opened = Opened(self.decide, Addresses("proxy", 0, 9, 9000, ids))

    def decide(self, resource: str, operation: str, name: str, now: float) -> tuple[Verdict, Any]:
        return Verdict("allow" if resource != "topic" or name.startswith(self.name) else "deny"), None


def asking(api: int, version: int, ids: list[bytes]) -> bytes:
    def items(**more: Any) -> list[dict[str, Any]]:
        return [{"topic_id": one, **more} for one in ids]

    values: dict[str, Any] = {
        0: {"acks": -1, "topic_data": items(partition_data=[{"index": 0, "records": RECORDS}])},
        1: {"session_epoch": -1, "topics": items(partitions=[{"partition": 0}])},
        3: {"topics": items(name=None)},
        8: {"group_id": "g", "topics": items(partitions=[{"partition_index": 0}])},
        9: {"groups": [{"group_id": "g", "member_id": None, "topics": items(partition_indexes=[0])}]},
        20: {"topics": items(name=None)},
        28: {"transactional_id": "tx", "group_id": "g", "topics": items(partitions=[{"partition_index": 0}])},
    }[api]
    return frames.request(api, version, CORRELATION, values)[4:]


def topics_of(api: int, values: dict[str, Any], answer: bool) -> list[dict[str, Any]]:
    if api == 9:
        values = values["groups"][0]
    array = {0: ("topic_data", "responses"), 1: ("topics", "responses"), 20: ("topics", "responses")}
    return list(values[array.get(api, ("topics", "topics"))[answer]])


def code_of(api: int, topic: dict[str, Any]) -> int:
    inside = {0: "partition_responses", 1: "partitions", 8: "partitions", 9: "partitions", 28: "partitions"}
    return int((topic if api in (3, 20) else topic[inside[api]][0])["error_code"])


def answering(api: int, version: int, ids: list[bytes]) -> bytes:
    """What a broker says to whom everything is allowed."""
    def items(**more: Any) -> list[dict[str, Any]]:
        return [{"topic_id": one, **more} for one in ids]

    named = [{"topic_id": one, "name": NAMES[one], "error_code": 0} for one in ids]
    values: dict[str, Any] = {
        0: {"responses": items(partition_responses=[{"index": 0, "error_code": 0, "base_offset": 3}])},
        1: {"responses": items(partitions=[{"partition_index": 0, "error_code": 0, "records": RECORDS}])},
        3: {"topics": named},
        8: {"topics": items(partitions=[{"partition_index": 0, "error_code": 0}])},
        9: {"groups": [{"group_id": "g", "topics": items(partitions=[{"partition_index": 0, "committed_offset": 5}])}]},
        20: {"responses": named},
        28: {"topics": items(partitions=[{"partition_index": 0, "error_code": 0}])},
    }[api]
    return frames.response(api, version, CORRELATION, values)[4:]


def body(api: int, version: int, frame: bytes, answer: bool) -> dict[str, Any]:
    if answer:
        return frames.read_response(api, version, len(frame).to_bytes(4, "big") + frame)[1]
    return frames.read_request(len(frame).to_bytes(4, "big") + frame)[3]


def play(client: Client, ids: TopicIds, api: int, version: int, asked: list[bytes]) -> None:
    frame = asking(api, version, asked)
    treatment, out = client.opened.request(frame)
    if treatment == "wait":
        assert set(client.opened.unknown) <= set(asked)
        for topic_id in client.opened.unknown:
            if topic_id in LATE.values():
                ids.teach(topic_id, NAMES[topic_id])
        client.opened.looked_up()
        treatment, out = client.opened.request(frame)
    assert treatment in ("forward", "replace", "answer") and out is not None
    own = [one for one in asked if NAMES.get(one, "").startswith(client.name)]
    if treatment != "answer":
        sent = [one["topic_id"] for one in topics_of(api, body(api, version, out, False), False)]
        assert sent == own
        _, out = client.opened.response(answering(api, version, own))
        assert out is not None
    told = {one["topic_id"]: code_of(api, one) for one in topics_of(api, body(api, version, out, True), True)}
    assert told == {one: 0 if one in own else 29 if one in NAMES else 100 for one in asked}
    other = "bob" if client.name == "ann" else "ann"
    assert f"{other}-canary".encode() not in out
    if api == 20:
        assert [ids.name(one) for one in own] == [None] * len(own)


@given(st.lists(st.tuples(st.sampled_from(("ann", "bob")), st.sampled_from(ASKED), st.lists(
    st.sampled_from([*NAMES, *GONE, bytes(16)]), min_size=1, max_size=8, unique=True)), min_size=1, max_size=8))
def test_two_clients_of_one_worker(plays: list[tuple[str, tuple[int, int], list[bytes]]]) -> None:
    ids = TopicIds()
    clients = {name: Client(name, ids) for name in ("ann", "bob")}
    for name, (api, version), asked in plays:
        for topic, topic_id in KNOWN.items():
            ids.teach(topic_id, topic)
        # Where a name may stand instead, the zero id means that one does.
        asked = [one for one in asked if any(one) or api not in (3, 20)]
        play(clients[name], ids, api, version, asked or [KNOWN[f"{name}-canary-0"]])


def test_every_version_that_names_topics_by_id_is_played() -> None:
    """10 and 11 of Metadata know ids and take none. Sessions of share groups are played by tests of their own, because
    what a request means depends on those before it."""
    def knows_ids(api: int, version: int) -> bool:
        def look(fields: Any) -> bool:
            return any((one.name == "topic_id" and one.at(version)) or look(one.fields) for one in fields)

        return look(schema.fields_of(api, False))

    played = HIGHEST_BY_NAME.keys() - {SHARE_FETCH, SHARE_ACKNOWLEDGE}
    found = {(api, version) for api in played for version in range(SERVED[api][0], SERVED[api][1] + 1)
             if knows_ids(api, version)}
    assert found - {(3, 10), (3, 11)} == set(ASKED)
