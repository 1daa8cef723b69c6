"""Who calls the admin API, and what the node lets them do.

A caller is a verified token, or the user at the other end of the operator socket, or both: then the token says who it
is and the socket adds what its user may do. Nobody is anonymous.
"""

from __future__ import annotations

import pwd
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from kproxy.control.approvals import OPERATOR, Approver
from kproxy.control.keys import KeyStore
from kproxy.control.listening import Peer
from kproxy.control.loading import Loaded
from kproxy.control.refusals import FORBIDDEN, UNAUTHENTICATED, Refused
from kproxy.errors import TokenRefused
from kproxy.identity import jwt
from kproxy.identity.refusals import ACCEPTED, KeyMissing
from kproxy.logs import PerMinute
from kproxy.model.access import Client, Facts
from kproxy.model.approval import Person
from kproxy.model.snapshot import IssuerKeys
from kproxy.policy.expressions import is_member

log = structlog.get_logger("kproxy.admin")

#: What the node's own user may do over the operator socket. Reviewing is not among it: that takes a person.
SOCKET_ROLES = frozenset(("viewer", "operator", "auditor"))
#: What each role of the node may do.
MAY: dict[str, frozenset[str]] = {
    "viewer": frozenset(("see status", "see requests", "see sessions")),
    "operator": frozenset(("see status", "see requests", "see sessions", "kill sessions", "cancel requests",
                           "revoke grants", "restart")),
    "approver": frozenset(("see status", "see requests")),
    "auditor": frozenset(("see status", "see requests", "see sessions", "see the audit")),
}
#: Refused logins that are audited in one minute; the rest is counted in the log, so that nobody fills the spool.
MOST_REFUSALS = 60


@dataclass(frozen=True, slots=True)
class Caller:
    """``facts`` are there where a token was shown."""

    person: Person
    node_roles: frozenset[str]
    policy_roles: tuple[str, ...] = ()
    facts: Facts | None = None

    def may(self, action: str) -> bool:
        return any(action in MAY.get(role, ()) for role in self.node_roles)

    def need(self, action: str) -> None:
        """Raises Refused where no role of the caller allows it."""
        if not self.may(action):
            roles = " or ".join(sorted(role for role, actions in MAY.items() if action in actions))
            raise Refused(FORBIDDEN, f"to {action} takes node role {roles}, which {self.person.name} does not have")

    def approver(self) -> Approver:
        launcher = self.facts.attested.get("launcher", "") if self.facts is not None else ""
        return Approver(self.person, self.policy_roles, launcher)


class Reception:
    """Finds out who a caller is. ``record`` writes audit events, ``new_id`` gives ids of refusals; ``checks`` counts
    tokens by (issuer, result)."""

    def __init__(self, loaded: Callable[[], Loaded], keys: KeyStore, published: Callable[[], tuple[IssuerKeys, ...]],
                 now: Callable[[], float], record: Callable[..., str], new_id: Callable[[], str]) -> None:
        self._loaded = loaded
        self._keys = keys
        self._published = published
        self._now = now
        self._record = record
        self._new_id = new_id
        self._audited = PerMinute(MOST_REFUSALS, lambda more: log.error("login_refusals_not_audited", count=more))
        self.checks: Counter[tuple[str, str]] = Counter()

    async def receive(self, authorization: str | None, address: str, peer: Peer | None) -> Caller:
        """``authorization`` is the header, ``peer`` the other end of the operator socket. Raises Refused with 401."""
        socket_roles = SOCKET_ROLES if peer is not None else frozenset()
        if authorization is None:
            if peer is None:
                raise Refused(UNAUTHENTICATED, "say who you are: Authorization: Bearer and a token")
            return Caller(_socket_person(peer), socket_roles)
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Refused(UNAUTHENTICATED, "the Authorization header must be Bearer and a token")
        facts = await self._check(token.strip(), address)
        now, loaded = self._now(), self._loaded()
        roles = frozenset(role for role, program in loaded.node_roles.items() if is_member(program, facts, now))
        who = facts.principal
        return Caller(Person(who.issuer, who.subject, who.name), roles | socket_roles,
                      loaded.decider.roles_of(facts, now), facts)

    async def _check(self, token: str, address: str) -> Facts:
        try:
            found = await self._validate(token)
        except TokenRefused as refused:
            self.checks[(refused.issuer, refused.reason)] += 1
            error_id = self._new_id()
            log.warning("login_refused", reason=refused.reason, issuer=refused.issuer, address=address,
                        error_id=error_id)
            if self._audited.admits(self._now()):
                self._record("login_failed", listener="admin", mechanism="bearer", address=address,
                             issuer=refused.issuer, reason=refused.reason, error_id=error_id)
            raise Refused(UNAUTHENTICATED, f"the token was refused (error {error_id})") from None
        self.checks[(found.issuer, ACCEPTED)] += 1
        return Facts(found.principal, "bearer", "admin", found.attested, {}, Client(address=address), found.expires_at,
                     found.token_id)

    async def _validate(self, token: str) -> jwt.ValidatedToken:
        def attempt() -> jwt.ValidatedToken:
            keys = {one.issuer: one for one in (*self._published(), *self._keys.current())}
            return jwt.validate(token, self._loaded().issuers, keys, self._now())

        async def fetch_key(missing: KeyMissing) -> bool:
            return (await self._keys.wanted(missing.issuer_alias, missing.kid, missing.reason)).found

        return await jwt.validate_twice(attempt, fetch_key)


def _socket_person(peer: Peer) -> Person:
    try:
        name = pwd.getpwuid(peer.uid).pw_name
    except KeyError:
        name = f"uid {peer.uid}"
    return Person(OPERATOR, str(peer.uid), name)
