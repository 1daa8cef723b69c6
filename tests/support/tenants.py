"""Two tenants of one Kafka: what each has, what they share, what each may do with it at the moment.

Every name says whose it is. What is called ``ann-canary-…`` bob has never heard of; the names of ``ann-known-…`` he
knows and may not use; ``shared-…`` are both's as far as their rights go. The ids of topics are such words too.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from kproxy.model.access import Verdict

TENANTS = ("ann", "bob")
KINDS = ("topic", "group", "transactional_id")
NAMES = {kind: tuple(f"{owner}-{kind}-{number}" for owner in (
    "ann-canary", "ann-known", "bob-canary", "bob-known", "shared") for number in (1, 2)) for kind in KINDS}
#: A group of both whose members read everything that either has.
MIXED = "shared-group-2"
#: What may be done with a name: nothing, look at it, anything.
NOTHING, LOOK, ANYTHING = range(3)
LOOKS = {"describe", "describe_configs"}
#: In what a broker says of itself.
BROKER_CANARY = "broker-canary"


def owner_of(name: str) -> str:
    return name.partition("-")[0]


def other(who: str) -> str:
    return TENANTS[1 - TENANTS.index(who)]


def words_of(name: str) -> str:
    """What a broker's answer about ``name`` is full of: the owner's canary."""
    owner = owner_of(name)
    return f"{owner}-canary" if owner in TENANTS else owner


def value_of(topic: str) -> bytes:
    """The record that every partition of it has."""
    return f"value-of-{topic}".encode()


class Tenants:
    """The rights of both, and the ids of the topics, now. ``changes`` counts the changes of rights."""

    def __init__(self) -> None:
        self.rights: dict[str, dict[str, int]] = {who: {} for who in TENANTS}
        for who in TENANTS:
            for names in NAMES.values():
                self.rights[who].update((name, NOTHING if owner_of(name) == other(who) else ANYTHING)
                                        for name in names)
        self.cluster = dict.fromkeys(TENANTS, False)
        self.ids: dict[str, bytes] = {}
        self.dead: dict[bytes, str] = {}
        self._made = 0
        for topic in NAMES["topic"]:
            self.recreate(topic)

    def recreate(self, topic: str) -> None:
        if topic in self.ids:
            self.dead[self.ids[topic]] = topic
        self._made += 1
        self.ids[topic] = f"{owner_of(topic)}-id-{self._made:06}".encode().rjust(16, b"=")

    def grant(self, who: str, name: str, level: int) -> None:
        assert owner_of(name) != other(who)
        self.rights[who][name] = level

    def rights_now(self, who: str) -> dict[str, int]:
        return {**self.rights[who], "kafka-cluster": ANYTHING if self.cluster[who] else NOTHING}

    def decider(self, who: str, errs: Callable[[], bool] = lambda: False) -> Callable[..., tuple[Verdict, Any]]:
        """What a PolicyTable asks. While ``errs()``, everything is allowed, as if nobody had looked."""
        def decide(resource: str, operation: str, name: str, now: float) -> tuple[Verdict, Any]:
            rights = self.rights_now(who)
            if resource == "any_topic":
                allowed = any(may(rights, topic, operation) for topic in NAMES["topic"])
            else:
                allowed = may(rights, "kafka-cluster" if resource == "cluster" else name, operation)
            if allowed or errs():
                return Verdict("allow", "a-role"), None
            return Verdict("deny", "a-forbid", "forbidden by a rule"), None

        return decide

    def name_of(self, topic_id: bytes) -> str | None:
        """Of a topic that is there."""
        return next((name for name, one in self.ids.items() if one == topic_id), None)

    def askable(self, who: str, kind: str) -> list[str]:
        """The names that ``who`` knows."""
        return [name for name in NAMES[kind] if not name.startswith(f"{other(who)}-canary")]

    def askable_ids(self, who: str, chance: random.Random) -> list[bytes]:
        names = self.askable(who, "topic")
        gone = sorted(one for one, name in self.dead.items() if name in names)
        return [self.ids[name] for name in names] + chance.sample(gone, min(len(gone), 2)) + [b"nobody-has-it..."]


def may(rights: dict[str, int], name: str, operation: str) -> bool:
    level = rights.get(name, NOTHING)
    return level == ANYTHING or (level == LOOK and operation in LOOKS)


def topics_of_group(group: str) -> list[str]:
    """What its members read."""
    mine = NAMES["topic"] if group == MIXED else [one for one in NAMES["topic"] if owner_of(one) == owner_of(group)]
    return list(mine)
