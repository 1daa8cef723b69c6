"""The rungs of kproxy, one row each. Each differs from another by one thing, so that a cost has an address."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from bench.rig import Rig, Running
from bench.rungs.through_kproxy import POLICY, kproxy

ANYTHING = """\
roles:
  anybody:
    members: 'true'
    allow: [{operations: [all], topics: ["*"], groups: ["*"]}]
"""
TWO_FIELDS = """\
masks:
  - {name: contact, topics: ["bench-*"], directions: [produce, consume], fields: [user.email], action: redact}
  - {name: phone, topics: ["bench-*"], directions: [produce, consume], fields: [user.phone],
     action: {mask: {keep_last: 2}}}
"""
FIVE_DETECTORS = """\
masks:
  - {name: found, topics: ["bench-*"], directions: [produce, consume],
     detect: [email, credit_card, us_ssn, iban, ipv4], action: {mask: {keep_last: 4}}}
"""


@dataclass(frozen=True, slots=True)
class Variant:
    """``more`` goes into the node's configuration. Without ``audited`` nothing is recorded, without ``login`` clients
    are ``anonymous``."""

    about: str
    policy: str = POLICY
    mode: str = "enforce"
    audited: bool = True
    login: bool = True
    tls: bool = False
    tls_behind: bool = False
    more: Mapping[str, Any] = field(default_factory=dict)


VARIANTS = {
    "kproxy-opaque": Variant("no login, everything allowed to everybody, no audit", ANYTHING, audited=False,
                             login=False),
    "kproxy-policy": Variant("token login, default-deny policy by topic, no audit", audited=False),
    "kproxy": Variant("the same with the audit: as it is meant to run"),
    "kproxy-tls": Variant("as `kproxy`, TLS 1.3 for clients", tls=True),
    "kproxy-tls-both": Variant("as `kproxy-tls`, and TLS to the broker, by an HAProxy that nobody measures", tls=True,
                               tls_behind=True),
    "kproxy-interval": Variant("as `kproxy`, audit.durability: interval", more={"audit": {"durability": "interval"}}),
    "kproxy-observe": Variant("as `kproxy`, in observe mode", mode="observe"),
    "kproxy-inspect": Variant("as `kproxy`, fields counted on every topic",
                              more={"audit": {"durability": "request", "fields": True}}),
    "kproxy-fields": Variant("as `kproxy`, two JSON fields masked on every topic", POLICY + TWO_FIELDS),
    "kproxy-detect": Variant("as `kproxy`, five detectors on every topic", POLICY + FIVE_DETECTORS),
}


def starter(name: str) -> Any:
    """``start(rig)`` of this variant."""
    variant = VARIANTS[name]

    @contextmanager
    def start(rig: Rig) -> Iterator[Running]:
        work: AbstractContextManager[Running] = kproxy(
            rig, name, policy=variant.policy, mode=variant.mode, more=variant.more, login=variant.login,
            tls=variant.tls, tls_behind=variant.tls_behind, program="kproxy" if variant.audited else "bench.unaudited")
        with work as running:
            yield running

    return start
