"""Policies to test with: one as a user writes it, facts of people, and random ones of few names, so that they meet."""

from __future__ import annotations

import random
from typing import Any

from kproxy import policy
from kproxy.model.access import Client, Facts, Principal
from kproxy.model.approval import Grant
from kproxy.model.policy import (
    LEGAL_OPERATIONS,
    Allow,
    Approval,
    Condition,
    Forbid,
    Guard,
    Mask,
    Policy,
    Resources,
    Role,
    TopicEntry,
)
from kproxy.model.record_plan import ENTITIES, Action

#: 1970-01-01 was a Thursday; this is a Saturday.
SATURDAY = 2 * 86400.0

EXAMPLE = b"""
topics:
  - {match: "features.*", labels: {class: internal}}
  - {match: orders, labels: {class: pii, owner: payments}}
  - {match: "scores.*", labels: {model_output: fraud}}
roles:
  privacy-officer: {members: {groups: [privacy]}, allow: [{operations: [read], topics: [orders]}]}
  ml-risk: {members: {groups: [ml-risk]}}
  prompter: {members: {groups: [prompter]}, allow: [{operations: [write], topics: ["prompts.*"]}]}
  cleaner: {members: {groups: [cleaner]}, allow: [{operations: [delete], topics: ["*"]}]}
  fraud-scoring:
    members: '"fraud-scoring" in principal.groups'
    allow:
      - {operations: [read], topics: ["features.*", orders], groups: ["fraud-*"]}
      - {operations: [write], topics: [scores.fraud], transactional_ids: ["fraud-*"],
         when: 'attested.model.startsWith("models:/fraud/")'}
forbid:
  - {name: no-weekend-deletes, operations: [delete], topics: ["*"], when: 'now.getDayOfWeek() in [0, 6]'}
masks:
  - {name: contact, topics: [orders], directions: [consume], except_roles: [privacy-officer],
     fields: [user.email, "items[*].phone"], action: {hmac: {key: k1}}}
  - {name: cards, topics: ["*"], directions: [produce, consume], detect: [credit_card, iban],
     action: {mask: {keep_last: 4}}}
guards:
  - {name: secrets, topics: ["prompts.*"], directions: [produce], detect: [private_key, api_key], action: block,
     message: "Secrets do not belong in prompts."}
approvals:
  - {name: new-model-version, operations: [write], topics: ["scores.*"], unless: 'attested.model in granted.models',
     approvers: {role: ml-risk, quorum: 2}, reason: required, request_ttl: 1h, max_duration: 8h, while_pending: refuse}
"""


def loaded(*sources: str | bytes) -> Policy:
    texts = [source.encode() if isinstance(source, str) else source for source in sources]
    return policy.load({f"{index}.yaml": text for index, text in enumerate(texts)})


def decider(*sources: str | bytes) -> policy.Decider:
    return policy.compile(loaded(*sources))


def facts(*groups: str, name: str = "corp:job", listener: str = "public",
          attributes: dict[str, Any] | None = None,
          attested: dict[str, str] | None = None, declared: dict[str, str] | None = None,
          address: str = "127.0.0.1") -> Facts:
    return Facts(
        Principal(name, "corp", name.partition(":")[2], groups, attributes or {}), "OAUTHBEARER", listener,
        attested or {}, declared or {}, Client("client-1", "tests", address),
    )


# What random policies are made of. Conditions hold, fail, end in errors, depend on time, labels, operation, listener.
NAMES = ("a", "a.b", "a.b.c", "a.c", "b", "b.x", "c*", "ab", "")
PATTERNS = ("*", "a*", "a.*", "a.b", "a.b*", "*.b", "a*c", "b", "b*", "c\\*", "*.*", "a.b.c")
CONDITIONS = (
    "true", "false", 'attested.model == "m1"', 'attested.model != "m1"', 'topic.labels.class == "pii"',
    '"g1" in principal.groups', 'now < timestamp("1970-01-01T00:00:30Z")', "now.getSeconds() > 20",
    'operation == "read"', 'listener == "public" && attested.run == "r1"', 'cidr("10.0.0.0/8", client.address)',
    "principal.attributes.level > 3", 'topic.name.startsWith("a.") || attested.commit == "c"',
)
SESSION_CONDITIONS = tuple(text for text in CONDITIONS if "topic" not in text and "operation" not in text)
UNLESS = (*["attested.model in granted.models"] * 4, "size(granted.models) > 1", 'attested.run == "r1"')
OPERATIONS = sorted(LEGAL_OPERATIONS["topic"])
ACTIONS = (Action(kind="redact"), Action(kind="mask", keep_last=4), Action(kind="hmac", key="k1"))


def random_policy(pick: random.Random) -> Policy:
    """Valid values, built directly: load's own checks (contradicting labels and masks) are tested elsewhere."""

    def some(choices: Any, most: int) -> tuple[Any, ...]:
        return tuple(sorted(set(pick.choices(choices, k=pick.randint(1, most)))))

    def when(choices: Any) -> Condition | None:
        return Condition(pick.choice(choices)) if pick.random() < 0.5 else None

    def resources(conditional: bool) -> Resources:
        if conditional or pick.random() < 0.7:
            return Resources(topics=some(PATTERNS, 2))
        return Resources(some(PATTERNS, 2), some(PATTERNS, 2), some(PATTERNS, 1), pick.random() < 0.5)

    def allow(name: str) -> Allow:
        condition = when(CONDITIONS)
        return Allow(name, some([*OPERATIONS, "all"], 3), resources(condition is not None), condition)

    names = [f"role{index}" for index in range(pick.randint(1, 4))]
    roles = tuple(
        Role(name, some(("g1", "g2", "g3"), 2) if pick.random() < 0.5 else (), when(SESSION_CONDITIONS),
             tuple(allow(f"{name}-{index}") for index in range(pick.randint(0, 4))))
        for name in names
    )
    forbid = []
    for index in range(pick.randint(0, 3)):
        condition = when(CONDITIONS)
        operations = some([*OPERATIONS, "all"], 2)
        forbid.append(Forbid(f"forbid{index}", operations, resources(condition is not None), condition))
    return Policy(
        version="random",
        topics=tuple(TopicEntry(pattern, {"class": pick.choice(("pii", "open"))}) for pattern in some(PATTERNS, 3)),
        roles=roles,
        forbid=tuple(forbid),
        masks=tuple(
            Mask(f"mask{index}", some(PATTERNS, 2), some(("produce", "consume"), 2), pick.choice(ACTIONS),
                 fields=(("user", "email"),) if pick.random() < 0.5 else (), detect=some(ENTITIES, 2),
                 except_roles=some(names, 1) if pick.random() < 0.5 else (), when=when(CONDITIONS))
            for index in range(pick.randint(0, 3))
        ),
        guards=tuple(Guard(f"guard{index}", some(PATTERNS, 1), ("produce",), some(ENTITIES, 2), when=when(CONDITIONS))
                     for index in range(pick.randint(0, 1))),
        approvals=tuple(
            Approval(f"approval{index}", some(("write", "delete", "all"), 2), some(PATTERNS, 3), names[0],
                     when=when(CONDITIONS), unless=Condition(pick.choice(UNLESS)) if pick.random() < 0.8 else None,
                     reason="required")
            for index in range(pick.randint(0, 2))
        ),
    )


def shuffled(made: Policy, pick: random.Random) -> Policy:
    """The same rules in another order."""

    def mix(parts: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(pick.sample(parts, len(parts)))

    roles = tuple(Role(role.name, mix(role.groups), role.condition, mix(role.allow)) for role in mix(made.roles))
    return Policy(made.version, mix(made.topics), roles, mix(made.forbid), mix(made.masks), mix(made.guards),
                  mix(made.approvals))


def random_facts(pick: random.Random) -> Facts:
    attested = {key: value for key, value in (("model", pick.choice(("m1", "m2"))), ("run", pick.choice(("r1", "r2"))))
                if pick.random() < 0.7}
    return facts(*pick.sample(("g1", "g2", "g3", "g4"), pick.randint(0, 3)), name=pick.choice(("corp:a", "corp:b")),
                 listener=pick.choice(("public", "inner")), attested=attested,
                 attributes=pick.choice(({}, {"level": 5}, {"level": "high"}, {"level": 2**70})),
                 address=pick.choice(("10.1.2.3", "192.0.2.1", "")))


def random_grants(pick: random.Random, made: Policy) -> tuple[Grant, ...]:
    if not made.approvals:
        return ()
    return tuple(
        Grant(f"grant{index}", pick.choice(made.approvals).name, pick.choice(("corp:a", "corp:b")),
              pick.choice(("write", "delete")), "topic", pick.choice(NAMES), pick.choice(("m1", "m2", "")),
              pick.choice((0.0, 5.0)), pick.choice((12.0, 33.5, 1e9)))
        for index in range(pick.randint(0, 12))
    )
