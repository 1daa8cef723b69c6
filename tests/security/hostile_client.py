"""A client that wants what it may not have, with a good token and a broker behind kproxy that would let it do anything.

It knows the names of what is hidden from it, as somebody who worked there once would, and sends every API of Kafka in
every version with those names in every place, then the tricks that take more than one request. ``run`` gives the
transcript: a line for each trick, with what came back. What it obtained is for the test to find, in the bytes of the
taps and on the broker.
"""

from __future__ import annotations

import random
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from kproxy._ext import schema
from kproxy._ext.apis import NAMES
from kproxy.errors import WireError
from tests.support import frames
from tests.support.messages import random_values
from tests.support.raw_client import (
    API_VERSIONS,
    FETCH,
    METADATA,
    PRODUCE,
    SASL_AUTHENTICATE,
    SASL_HANDSHAKE,
    RawClient,
    fetch,
    first_message,
    metadata,
    produce,
)

#: Fields by what stands in them; a string that is none of these stays as chance made it.
TOPICS = {"name", "topic", "topic_name", "topic_names", "subscribed_topic_names", "resource_name", "source_topics",
          "sink_topic", "resource_name_filter", "subscribed_topic_regex"}
GROUPS = {"group_id", "groups", "group_ids", "groups_names", "key", "coordinator_keys"}
TRANSACTIONS = {"transactional_id", "transactional_ids", "v3_and_below_transactional_id", "transactional_id_pattern"}
DESCRIBE_TOPIC_PARTITIONS = 75
#: Nobody waits for an answer that is not to come.
WAITS = {"max_wait_ms": 10, "timeout_ms": 500, "rebalance_timeout_ms": 500, "session_timeout_ms": 6000,
         "max_bytes": 1 << 20, "min_bytes": 0, "acks": -1}
SEEDS = 2
SHARE_FETCH, SHARE_ACKNOWLEDGE = 78, 79


@dataclass(frozen=True)
class Hidden:
    """What the client may not see, and knows all the same."""

    topic: str
    topic_id: bytes
    group: str
    transactional_id: str


@dataclass
class Hostile:
    """``connect`` gives a connection before login, ``token`` one that is good."""

    connect: Callable[[], RawClient]
    token: str
    hidden: Hidden
    open_topic: str
    transcript: list[str] = field(default_factory=list)

    def session(self) -> RawClient:
        client = self.connect()
        client.socket.settimeout(5)
        assert client.log_in(self.token)["error_code"] == 0
        return client

    def run(self) -> list[str]:
        for api in sorted(NAMES):
            if api not in (SASL_HANDSHAKE, SASL_AUTHENTICATE):
                self.transcript.append(self.every_version(api))
        for trick in (self.no_token, self.unanswered_produces, self.another_followers_eyes,
                      self.a_foreign_fetch_session, self.names_that_look_alike, self.a_list_by_null,
                      self.page_after_page, self.a_hidden_id_among_others, self.a_share_session,
                      self.another_mechanism_and_principal,
                      self.raw_bytes, self.an_admin_client_id, self.many_at_once):
            self.transcript.append(f"{(trick.__doc__ or '').splitlines()[0]} -> {trick()}")
        return self.transcript

    # -- every API ----------------------------------------------------------------------------------------------------

    def every_version(self, api: int) -> str:
        """Each version with the hidden names, two shapes of each."""
        seen: Counter[str] = Counter()
        low, high = schema.versions(api)
        for version in range(low, high + 1):
            for seed in range(SEEDS):
                values = self.aimed(api, version, seed)
                with self.session() as client:
                    seen[self.outcome(client, api, version, values)] += 1
        told = ", ".join(f"{outcome} ×{count}" for outcome, count in sorted(seen.items()))
        return f"{api} {NAMES[api]} {low}–{high} -> {told}"

    def aimed(self, api: int, version: int, seed: int) -> dict[str, Any]:
        chance = random.Random(f"{api} {version} {seed}")
        values = random_values(chance, api, version, False, tags=False)
        whole = schema.parse(api, version, False, schema.build(api, version, False, values))
        return {name: self.put(name, value) for name, value in whole.items()}

    def put(self, name: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {inner: self.put(inner, one) for inner, one in value.items()}
        if isinstance(value, list):
            return [self.put(name, one) for one in value] or value
        if isinstance(value, str):
            return self.hidden.topic if name in TOPICS else self.hidden.group if name in GROUPS \
                else self.hidden.transactional_id if name in TRANSACTIONS else value
        if isinstance(value, bytes) and len(value) == 16 and name.endswith("id"):
            return self.hidden.topic_id
        return WAITS.get(name, value)

    def outcome(self, client: RawClient, api: int, version: int, values: dict[str, Any]) -> str:
        client.send(client.frame(api, version, values))
        try:
            frame = client.receive()
        except TimeoutError:
            return "silence"
        if frame is None:
            return "closed"
        try:
            return told(frames.read_response(api, version, frame)[1])
        except WireError:
            return "unreadable"

    # -- more than one request -----------------------------------------------------------------------------------------

    def no_token(self) -> str:
        """Every API before login"""
        seen: Counter[str] = Counter()
        for api in sorted(NAMES):
            if api in (API_VERSIONS, SASL_HANDSHAKE, SASL_AUTHENTICATE):
                continue
            with self.connect() as client:
                client.socket.settimeout(5)
                newest = schema.versions(api)[1]
                seen[self.outcome(client, api, newest, self.aimed(api, newest, 0))] += 1
        return counted(seen)

    def unanswered_produces(self) -> str:
        """acks=0 to the hidden topic, alone and beside an open one"""
        seen: Counter[str] = Counter()
        for topics in ([self.hidden.topic], [self.open_topic, self.hidden.topic]):
            with self.session() as client:
                client.send(client.frame(PRODUCE, 9, produce(*((one, [b"x"]) for one in topics), acks=0)))
                seen["closed" if client.receive() is None else "answered"] += 1
        return counted(seen)

    def another_followers_eyes(self) -> str:
        """A fetch as replica 1, of the hidden topic and of the open one"""
        with self.session() as client:
            body = {**fetch(self.hidden.topic), "replica_id": 1}
            return told(client.ask(FETCH, 11, body))

    def a_foreign_fetch_session(self) -> str:
        """Fetch sessions by number: somebody else's may be among them"""
        seen: Counter[str] = Counter()
        for number in (1, 2, 3, 77, 0x7FFFFFFF):
            with self.session() as client:
                body = {**fetch(self.open_topic), "session_id": number, "session_epoch": 1, "topics": []}
                seen[told(client.ask(FETCH, 12, body))] += 1
        return counted(seen)

    def a_share_session(self) -> str:
        """The hidden id in a share group of one's own: fetched, acknowledged, named twice, forgotten"""
        seen: Counter[str] = Counter()
        hidden = [{"topic_id": self.hidden.topic_id, "partitions": [{"partition_index": 0, "acknowledgement_batches": [
            {"first_offset": 0, "last_offset": 0, "acknowledge_types": [2]}][:given]}]} for given in (0, 1)]
        for version in (1, 2):
            for topics in (hidden[:1], hidden[1:], hidden[:1] * 2, []):
                with self.session() as client:
                    for epoch in (0, 1, 2, 77, -1):
                        body = {"group_id": "g.mine.shared", "member_id": "m", "share_session_epoch": epoch,
                                "max_wait_ms": 10, "max_bytes": 1 << 20, "max_records": 10, "batch_size": 10,
                                "topics": topics, "forgotten_topics_data": [
                                    {"topic_id": self.hidden.topic_id, "partitions": [0]}] if epoch == 2 else []}
                        seen[told(client.ask(SHARE_FETCH, version, body))] += 1
                        fewer = {name: body[name] for name in (
                            "group_id", "member_id", "share_session_epoch", "topics")}
                        seen[told(client.ask(SHARE_ACKNOWLEDGE, version, fewer))] += 1
        return counted(seen)

    def names_that_look_alike(self) -> str:
        """The hidden name in other spellings"""
        name = self.hidden.topic
        spellings = [name + "\0", name.upper(), name + " ", " " + name, name.replace(".", "\u2024"), name + "\n",
                     self.open_topic + "/../" + name, "*", ".*", "", name[:-1], name.encode().hex(), "x" * 30000]
        seen: Counter[str] = Counter()
        for spelling in spellings:
            with self.session() as client:
                seen[self.outcome(client, METADATA, 9, metadata([spelling]))] += 1
            with self.session() as client:
                seen[self.outcome(client, FETCH, 12, fetch(spelling))] += 1
        return counted(seen)

    def a_list_by_null(self) -> str:
        """Everything there is: topics, groups, transactions, offsets of a group, reassignments, log dirs, users"""
        seen: Counter[str] = Counter()
        asked: tuple[tuple[int, int, dict[str, Any]], ...] = (
            (METADATA, 9, metadata(None)), (METADATA, 0, {"topics": []}), (16, 4, {}), (66, 1, {}),
            (9, 7, {"group_id": self.hidden.group, "topics": None}), (46, 0, {"topics": None}),
            (35, 4, {"topics": None}), (75, 0, {"topics": []}), (50, 0, {"users": None}),
            (43, 2, {"election_type": 0, "topic_partitions": None}))
        for api, version, body in asked:
            with self.session() as client:
                seen[self.outcome(client, api, version, body)] += 1
        return counted(seen)

    def page_after_page(self) -> str:
        """Topics by pages of one partition, from the first on and from every cursor near the hidden name"""
        seen: Counter[str] = Counter()
        name = self.hidden.topic
        starts = [None, *((start, part) for start in (name, name[:-1], name + "0", "") for part in (-1, 0, 1, 1 << 30))]
        for start in starts:
            for topics in ([], [self.open_topic], [self.open_topic, name]):
                cursor = start and {"topic_name": start[0], "partition_index": start[1]}
                with self.session() as client:
                    for _ in range(3):
                        answer = client.ask(DESCRIBE_TOPIC_PARTITIONS, 0, {
                            "topics": [{"name": one} for one in topics], "response_partition_limit": 1,
                            "cursor": cursor})
                        cursor = answer["next_cursor"]
                        seen[f"{told(answer)}, {'more' if cursor else 'the end'}"] += 1
                        if not cursor:
                            break
        return counted(seen)

    def a_hidden_id_among_others(self) -> str:
        """The hidden topic's id twice beside the open one's, under the open one's name, and in what a fetch forgets"""
        seen: Counter[str] = Counter()
        hidden, name = self.hidden.topic_id, self.open_topic
        with self.session() as client:
            [opened] = client.ask(METADATA, 12, metadata([name]))["topics"]
        ids = (hidden, opened["topic_id"], hidden)
        records = frames.batch([b"x"])
        parts = [{"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1 << 20}]
        committed = [{"partition_index": 0, "committed_offset": 1, "committed_metadata": ""}]
        asked: list[tuple[int, int, dict[str, Any]]] = [
            (PRODUCE, 13, {"acks": -1, "timeout_ms": 5000, "topic_data": [
                {"topic_id": one, "partition_data": [{"index": 0, "records": records}]} for one in ids[:2]]}),
            *((FETCH, version, {"session_epoch": -1, "topics": [{"topic_id": one, "partitions": parts} for one in ids],
                                "forgotten_topics_data": [{"topic_id": hidden, "partitions": [0]}]})
              for version in range(13, 19)),
            *((METADATA, version, {"topics": [{"topic_id": one, "name": label} for one in ids]})
              for version in (10, 12, 13) for label in (name, self.hidden.topic)),
            (8, 10, {"group_id": "g.none", "generation_id_or_member_epoch": -1, "member_id": "", "topics": [
                {"topic_id": hidden, "partitions": committed}]}),
            (9, 10, {"groups": [{"group_id": "g.none", "member_id": None, "topics": [
                {"topic_id": one, "partition_indexes": [0]} for one in ids]}]}),
            *((20, 6, {"timeout_ms": 5000, "topics": [{"topic_id": hidden, "name": label}]}) for label in (None, name)),
        ]
        for api, version, body in asked:
            with self.session() as client:
                seen[f"{NAMES[api]}: {self.outcome(client, api, version, body)}"] += 1
        return counted(seen)

    def another_mechanism_and_principal(self) -> str:
        """A handshake for another mechanism, then a made-up token, on the open session"""
        seen: Counter[str] = Counter()
        for mechanism, token in (("PLAIN", self.token), ("OAUTHBEARER", "e30.e30.e30"), ("SCRAM-SHA-512", self.token)):
            with self.session() as client:
                seen[self.outcome(client, SASL_HANDSHAKE, 1, {"mechanism": mechanism})] += 1
                seen[self.outcome(client, SASL_AUTHENTICATE, 2, {"auth_bytes": first_message(token)})] += 1
                seen[self.outcome(client, FETCH, 12, fetch(self.hidden.topic))] += 1
        return counted(seen)

    def raw_bytes(self) -> str:
        """Sizes that lie, a name that lies, half a frame, another protocol"""
        whole = frames.request(FETCH, 12, 9, fetch(self.hidden.topic))
        lies = [struct.pack(">i", -1), struct.pack(">i", 0x7FFFFFFF), struct.pack(">i", 0), whole[:-1] + b"\xff",
                whole[:30].replace(whole[:4], struct.pack(">i", 26)), b"GET / HTTP/1.1\r\n\r\n",
                struct.pack(">ihhi", 8, 1, 12, 9), struct.pack(">ihhih", 10, 1, 12, 9, 0x7FFF)]
        seen: Counter[str] = Counter()
        for lie in lies:
            with self.session() as client:
                client.send(lie)
                seen["closed" if client.receive() is None else "answered"] += 1
        return counted(seen)

    def an_admin_client_id(self) -> str:
        """Kafka's internal topics, under the client id for which brokers let them be written"""
        seen: Counter[str] = Counter()
        for topic in ("__consumer_offsets", "__transaction_state", "__share_group_state", "__cluster_metadata"):
            with self.session() as client:
                client.send(frames.request(PRODUCE, 9, 5, produce((topic, [b"x"])), client_id="__admin_client"))
                seen[told(client.receive_answer(PRODUCE, 9)[1])] += 1
                client.send(frames.request(FETCH, 12, 6, fetch(topic), client_id="__admin_client"))
                seen[told(client.receive_answer(FETCH, 12)[1])] += 1
        return counted(seen)

    def many_at_once(self) -> str:
        """A hidden and an open topic by turns, two hundred requests in one write"""
        seen: Counter[str] = Counter()
        with self.session() as client:
            topics = [self.hidden.topic, self.open_topic] * 100
            client.send(b"".join(client.frame(METADATA, 9, metadata([topic])) for topic in topics))
            for topic in topics:
                answer = client.receive_answer(METADATA, 9)[1]
                seen[f"{'hidden' if topic == self.hidden.topic else 'open'}: {told(answer)}"] += 1
        return counted(seen)


def told(body: dict[str, Any]) -> str:
    """The error codes of an answer, at whatever depth, without repeats; "answered" where there are none."""
    codes = sorted(set(codes_in(body)))
    return "errors " + " ".join(map(str, codes)) if codes and codes != [0] else "answered"


def codes_in(value: Any) -> Iterator[int]:
    if isinstance(value, dict):
        for name, one in value.items():
            if name.endswith("error_code"):
                yield one
            else:
                yield from codes_in(one)
    elif isinstance(value, list):
        for one in value:
            yield from codes_in(one)


def counted(seen: Counter[str]) -> str:
    return ", ".join(f"{outcome} ×{count}" for outcome, count in sorted(seen.items()))
