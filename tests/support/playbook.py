"""A session on a stage: scripted rules, a spool in memory, and the few frames that plays are made of."""

from __future__ import annotations

from typing import Any

from kproxy._ext import playbook
from kproxy._ext.ledger import Counters, Ledger
from kproxy._ext.login import Promise, advertised
from kproxy._ext.opening import Addresses
from kproxy._ext.session import Epoch, Session
from kproxy.model.access import ApprovalWanted, Facts, Principal, Verdict
from kproxy.model.spool import NOTES
from tests.support.frames import batch, read_response, request, response
from tests.support.spool_files import walk_notes

BROKER = Promise(advertised({0: (0, 13), 1: (4, 18), 3: (0, 13), 18: (0, 4), 10: (0, 6), 2: (1, 10)}))
FACTS = Facts(
    principal=Principal(name="corp:job", issuer="corp", subject="job"), mechanism="OAUTHBEARER", listener="public"
)
NOW = 1_000.0


class Spool:
    refusing = False

    def __init__(self) -> None:
        self.entries: list[tuple[int, bytes]] = []

    def append(self, kind: int, payload: bytes) -> None:
        self.entries.append((kind, payload))

    def commit(self) -> None:
        pass


class Rules:
    """Topics by effect; ``asked`` ones wait for an approval. Notes every question."""

    def __init__(self, **effects: str) -> None:
        self.effects = effects
        self.questions: list[tuple[str, str, str]] = []

    def __call__(self, resource: str, operation: str, name: str, now: float) -> tuple[Verdict, Any]:
        self.questions.append((resource, operation, name))
        effect = self.effects.get(name, "deny")
        wanted = ApprovalWanted("new-model", operation, resource, name, "m1") if effect == "ask" else None
        return Verdict(effect=effect, rule="r1", reason=f"{effect} {name}", wanted=wanted), None  # type: ignore[arg-type]


class Stage:
    """``beside``: another, whose worker this one shares."""

    def __init__(self, rules: Any, facts: Facts | None = FACTS, beside: Stage | None = None) -> None:
        self.rules = rules
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.spool = beside.spool if beside else Spool()
        self.epoch = beside.epoch if beside else Epoch(1)
        self.ledger = beside.ledger if beside else Ledger(self.spool)
        self.counters = beside.counters if beside else Counters("public")
        self.addresses = beside.addresses if beside else Addresses("kproxy.test", 0, 9, 9100)
        self.session = Session(
            7,
            ("OAUTHBEARER", "PLAIN"),
            self.addresses,
            rules,
            self.epoch,
            self.ledger,
            self.counters,
            lambda kind, session, fields: self.told.append((kind, fields)),
        )

    def client(self, data: bytes, now: float = NOW) -> list[tuple[str, Any]]:
        return playbook.receive_client(self.session, data, now)

    def broker(self, data: bytes, now: float = NOW) -> list[tuple[str, Any]]:
        return playbook.receive_broker(self.session, data, now)

    def notes(self) -> list[Any]:
        self.ledger.commit()
        found = [note for kind, payload in self.spool.entries if kind == NOTES for note in walk_notes(payload)]
        self.spool.entries.clear()
        return found

    def log_in(self, facts: Facts = FACTS, promise: Promise = BROKER) -> int:
        """The lifetime that the client is told, in milliseconds. ``promise``: what the broker serves."""
        self.session.resume_versions(promise)
        mechanism = facts.mechanism
        [answer] = self.client(request(17, 1, 1, {"mechanism": mechanism}))
        assert read_response(17, 1, answer[1])[1]["error_code"] == 0
        [wait] = self.client(request(36, 1, 2, {"auth_bytes": b"token"}))
        assert wait == ("wait", ("token", mechanism, b"token"))
        self.session.resume_login(facts, NOW)
        assert playbook.take_actions(self.session) == [("wait", ("broker",))]
        self.session.resume_broker(promise, NOW)
        [answer] = playbook.take_actions(self.session)
        correlation, body = read_response(36, 1, answer[1])
        lifetime = body.pop("session_lifetime_ms")
        assert (correlation, body) == (2, {"error_code": 0, "error_message": None, "auth_bytes": b""})
        return int(lifetime)


def opened(facts: Facts = FACTS, **effects: str) -> Stage:
    stage = Stage(Rules(**effects))
    stage.log_in(facts)
    return stage


def produce(correlation: int, topics: dict[str, list[int]], acks: int = 1, version: int = 9) -> bytes:
    return request(
        0,
        version,
        correlation,
        {
            "acks": acks,
            "timeout_ms": 1000,
            "topic_data": [
                {"name": name, "partition_data": [{"index": at, "records": batch([b"v1", b"v2"])} for at in indexes]}
                for name, indexes in topics.items()
            ],
        },
    )


def produced(correlation: int, topics: dict[str, dict[int, int]], version: int = 9) -> bytes:
    return response(
        0,
        version,
        correlation,
        {
            "responses": [
                {
                    "name": name,
                    "partition_responses": [
                        {"index": at, "error_code": 0, "base_offset": offset} for at, offset in offsets.items()
                    ],
                }
                for name, offsets in topics.items()
            ]
        },
    )


def fetch(correlation: int, topics: list[str], **values: Any) -> bytes:
    return request(
        1,
        12,
        correlation,
        {
            "replica_id": -1,
            "max_wait_ms": 500,
            "min_bytes": 1,
            "session_id": 0,
            "session_epoch": 0,
            "topics": [{"topic": name, "partitions": [{"partition": 0, "fetch_offset": 5}]} for name in topics],
            **values,
        },
    )


def fetched(correlation: int, topics: dict[str, bytes]) -> bytes:
    return response(
        1,
        12,
        correlation,
        {
            "responses": [
                {
                    "topic": name,
                    "partitions": [{"partition_index": 0, "error_code": 0, "high_watermark": 9, "records": records}],
                }
                for name, records in topics.items()
            ]
        },
    )
