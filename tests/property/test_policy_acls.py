"""Imported ACLs decide as Kafka's authoriser does: random ACLs of few names, every access of each."""

from __future__ import annotations

import random

from kproxy import policy
from kproxy.model.access import Access
from kproxy.model.policy import LEGAL_OPERATIONS
from kproxy.policy.acls import KINDS, Acl, import_acls
from tests.support.naive_acls import is_allowed, may_write_somewhere
from tests.support.policies import decider, facts

USERS = ("alice", "bob", 'o"dd\\', "eve")
HOSTS = ("10.1.2.3", "192.0.2.1")
NAMES = ("a", "a.b", "ab", "b*", "b", "*", "b\\*")
CLUSTERS = ("kafka-cluster", "*", "kafka", "other")
OPERATIONS = sorted({"all", "create_tokens"}.union(*LEGAL_OPERATIONS.values()))
POLICIES = 150


def random_acl(pick: random.Random) -> Acl:
    resource = pick.choice(["TOPIC"] * 3 + list(KINDS))
    return Acl(f"User:{pick.choice((*USERS[:3], '*'))}", pick.choice(("*", "*", HOSTS[0])),
               "DENY" if pick.random() < 0.3 else "ALLOW", resource, pick.choice(("LITERAL", "PREFIXED")),
               pick.choice(CLUSTERS if resource == "CLUSTER" else NAMES), pick.choice(OPERATIONS).upper())


def test_every_access_is_decided_as_by_kafkas_authoriser() -> None:
    seen = {True: 0, False: 0}
    anywhere = {True: 0, False: 0}
    for seed in range(POLICIES):
        pick = random.Random(seed)
        acls = [random_acl(pick) for _ in range(pick.randint(0, 12))]
        made = import_acls(acls, "corp:{name}")
        assert made.unsaid == ()
        read = decider(made.text)
        for user in USERS:
            for host in HOSTS:
                who = facts(name=f"corp:{user}", address=host)
                for resource, kind in KINDS.items():
                    for operation in LEGAL_OPERATIONS[kind]:
                        for name in ("kafka-cluster",) if kind == "cluster" else NAMES:
                            asked = Access(operation, kind, name)  # type: ignore[arg-type]
                            verdict = read.decide(who, asked, grants=(), mode="enforce", now=1.0)
                            wanted = is_allowed(acls, user, host, operation.upper(), resource, name)
                            assert (verdict.effect == "allow") == wanted, (acls, user, host, operation, kind, name)
                            seen[wanted] += 1
                verdict = read.decide(who, Access("write", "any_topic", ""), grants=(), mode="enforce", now=1.0)
                wanted = may_write_somewhere(acls, user, host)
                assert (verdict.effect == "allow") == wanted, (acls, user, host)
                anywhere[wanted] += 1
    assert min(*seen.values(), *anywhere.values()) > 100


def test_the_order_of_acls_means_nothing() -> None:
    pick = random.Random(7)
    acls = [random_acl(pick) for _ in range(30)]
    assert import_acls(acls, "corp:{name}") == import_acls(pick.sample(acls, len(acls)) + acls[:3], "corp:{name}")
    assert policy.load({"a": import_acls(acls, "corp:{name}").text.encode()}).roles
