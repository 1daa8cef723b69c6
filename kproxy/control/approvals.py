"""Approval requests, reviews and grants: who may let a refused access pass, and for how long.

State machine (terminal states never change):

    pending ──► approved ──► expired | revoked
       └──────► denied | cancelled | timed_out

Rules: the approver is somebody else than the requester and than whoever launched it; the node's operator socket is
nobody in particular and so never approves; one person counts once; one denial ends a request; a grant ends at a time
fixed when the quorum was reached. Every step is in the event log before anybody hears of it, and the state here is
derived from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import structlog

from kproxy.control.approval_events import Approved, Closed, Ended, Event, Opened, ReasonGiven, Reviewed, pack, unpack
from kproxy.control.event_log import EventLog
from kproxy.control.refusals import BAD_REQUEST, CONFLICT, FORBIDDEN, UNAVAILABLE, UNKNOWN, Refused
from kproxy.model.access import ApprovalWanted, Facts
from kproxy.model.approval import ApprovalRequest, Grant, Person, Review
from kproxy.model.audit_event import about
from kproxy.model.policy import Approval

log = structlog.get_logger("kproxy.control")

OPERATOR = "operator"
#: A client chooses topic names, so it could open requests without end: bounds per principal and per node.
MOST_PENDING_OF_ONE = 100
MOST_PENDING = 10_000
REASON_CHARACTERS = 1000


class Approver(msgspec.Struct, frozen=True):
    """Who reviews: the person, the policy roles held, and the other names by which a launcher could be the same one."""

    person: Person
    roles: tuple[str, ...] = ()
    launcher: str = ""


def key_of(facts: Facts, wanted: ApprovalWanted) -> str:
    """The same access of the same principal has the same key."""
    parts = (wanted.rule, facts.principal.name, wanted.operation, wanted.resource, wanted.name, wanted.model)
    return msgspec.json.encode(parts).decode()


class Approvals:
    """All requests and grants of the node. ``new_id`` gives the random part of an id. No method waits, so that of two
    decisions made at the same moment one is first and the other finds the request closed."""

    def __init__(self, log: EventLog, new_id: Callable[[], str]) -> None:
        self._log = log
        self._new_id = new_id
        self._requests: dict[str, ApprovalRequest] = {}
        self._latest: dict[str, str] = {}
        self._waiting: set[str] = set()
        self._grants: dict[str, Grant] = {}
        for entry in log.read():
            self._apply(unpack(entry.body))

    def request(self, request_id: str) -> ApprovalRequest:
        """Raises Refused if there is none of this id."""
        found = self._requests.get(request_id)
        if found is None:
            raise Refused(UNKNOWN, f"there is no request {request_id}")
        return found

    def requests(self, states: Iterable[str] = ()) -> list[ApprovalRequest]:
        """Newest first."""
        wanted = frozenset(states)
        found = [one for one in self._requests.values() if not wanted or one.state in wanted]
        return sorted(found, key=lambda one: (one.created_at, one.id), reverse=True)

    def grants(self, now: float) -> tuple[Grant, ...]:
        """In force at ``now``."""
        return tuple(grant for grant in self._grants.values() if grant.until > now)

    def grant_of(self, request_id: str) -> Grant | None:
        """The grant a request has led to, while it is not over."""
        return self._grants.get("grant-" + request_id.removeprefix("req-"))

    def counts(self, now: float) -> dict[str, int]:
        """``kproxy_approvals`` by state."""
        pending = sum(self._requests[one].expires_at > now for one in self._waiting)
        return {"pending": pending, "granted": len(self.grants(now))}

    def open(self, facts: Facts, wanted: ApprovalWanted, rule: Approval, *, policy_version: str, now: float,
             reason: str = "") -> ApprovalRequest:
        """The request for this access: the pending one, the one already answered, or a new one.

        A denial holds until the denied request would have timed out: asking again by retrying does not open another.
        """
        self.expire(now)
        key = key_of(facts, wanted)
        known = self._requests.get(self._latest.get(key, ""))
        if known is not None and self._still_answers(known, now):
            return known
        self._check_room(facts.principal.name)
        who = facts.principal
        request = ApprovalRequest(
            id=f"req-{self._new_id()}", key=key, rule=rule.name, principal=who.name,
            requester=Person(who.issuer, who.subject, who.name), operation=wanted.operation, resource=wanted.resource,
            name=wanted.name, model=wanted.model, created_at=now, expires_at=now + rule.request_ttl,
            launcher=facts.attested.get("launcher", ""), run=facts.attested.get("run", ""),
            reason=_checked_reason(reason))
        self._record(Opened(now, request, about(facts), policy_version))
        log.info("approval_requested", request=request.id, rule=request.rule, principal=request.principal,
                 resource=f"{request.resource} {request.name}")
        return request

    def give_reason(self, request_id: str, by: Person, reason: str, now: float) -> ApprovalRequest:
        """The requester says why, while nobody has reviewed yet."""
        request = self._pending(request_id, now)
        if not _same(by, request.requester):
            raise Refused(FORBIDDEN, "only the requester gives the reason of a request")
        if request.reviews:
            raise Refused(CONFLICT, f"request {request_id} has been reviewed; its reason stays as it is")
        if not reason.strip():
            raise Refused(BAD_REQUEST, "a reason is needed")
        self._record(ReasonGiven(now, request_id, by, _checked_reason(reason)))
        return self._requests[request_id]

    def review(self, request_id: str, approver: Approver, review: Review, rule: Approval | None, *,
               policy_version: str) -> ApprovalRequest:
        """Adds a review, and what follows of it: the end of the request at the first denial, a grant at the quorum.
        ``rule`` is the one in force now. Raises Refused."""
        now = review.at
        request = self._pending(request_id, now)
        _check_approver(request, approver, rule)
        assert rule is not None
        by = approver.person
        review = msgspec.structs.replace(review, by=by, reason=_checked_reason(review.reason))
        steps: list[Event] = [Reviewed(now, request_id, review, policy_version)]
        if review.decision == "deny":
            steps.append(Closed(now, request_id, "denied", by, review.reason))
        else:
            _check_approval(request, review, rule)
            reviews = (*request.reviews, review)
            if len({(one.by.issuer, one.by.subject) for one in reviews}) >= rule.quorum:
                steps.append(Approved(now, request_id, _grant(request, reviews, rule, now), policy_version))
        self._record(*steps)
        return self._requests[request_id]

    def cancel(self, request_id: str, by: Person, now: float, reason: str = "") -> ApprovalRequest:
        request = self._pending(request_id, now)
        self._record(Closed(now, request.id, "cancelled", by, _checked_reason(reason)))
        return self._requests[request_id]

    def revoke(self, either_id: str, by: Person, now: float, reason: str = "") -> Grant:
        """Ends a grant, named by its own id or its request's. Raises Refused if it is not in force."""
        self.expire(now)
        grant = self._grants.get("grant-" + either_id.removeprefix("req-").removeprefix("grant-"))
        if grant is None:
            raise Refused(UNKNOWN, f"there is no grant {either_id} in force")
        self._record(Ended(now, _request_id(grant), grant.id, "revoked", by, _checked_reason(reason)))
        return grant

    def expire(self, now: float) -> bool:
        """Ends what has run out of time. True if a grant ended, so that the snapshot must be published again."""
        late = [Closed(now, one, "timed_out") for one in sorted(self._waiting)
                if self._requests[one].expires_at <= now]
        over = [Ended(now, _request_id(grant), grant.id, "expired") for grant in self._grants.values()
                if grant.until <= now]
        if late or over:
            self._record(*late, *over)
        return bool(over)

    def _still_answers(self, request: ApprovalRequest, now: float) -> bool:
        if request.state == "denied":
            return request.expires_at > now
        return request.state in ("pending", "approved")

    def _check_room(self, principal: str) -> None:
        if len(self._waiting) >= MOST_PENDING:
            raise Refused(UNAVAILABLE, "this node has too many pending requests")
        if sum(self._requests[one].principal == principal for one in self._waiting) >= MOST_PENDING_OF_ONE:
            raise Refused(UNAVAILABLE, f"{principal} has {MOST_PENDING_OF_ONE} pending requests")

    def _pending(self, request_id: str, now: float) -> ApprovalRequest:
        self.expire(now)
        request = self.request(request_id)
        if request.state != "pending":
            raise Refused(CONFLICT, f"request {request_id} is {request.state} and stays so")
        return request

    def _record(self, *events: Event) -> None:
        self._log.append([pack(event) for event in events])
        for event in events:
            self._apply(event)

    def _apply(self, event: Event) -> None:
        change = msgspec.structs.replace
        fields: dict[str, Any]
        match event:
            case Opened():
                self._requests[event.request.id] = event.request
                self._latest[event.request.key] = event.request.id
                self._waiting.add(event.request.id)
                return
            case ReasonGiven():
                fields = {"reason": event.reason}
            case Reviewed():
                fields = {"reviews": (*self._requests[event.request_id].reviews, event.review)}
            case Approved():
                self._grants[event.grant.id] = event.grant
                fields = {"state": "approved"}
            case Closed():
                fields = {"state": event.state}
            case Ended():
                self._grants.pop(event.grant_id, None)
                fields = {"state": event.state}
        self._requests[event.request_id] = change(self._requests[event.request_id], **fields)
        if "state" in fields:
            self._waiting.discard(event.request_id)


def _same(one: Person, other: Person) -> bool:
    return (one.issuer, one.subject) == (other.issuer, other.subject)


def _names(person: Person) -> set[str]:
    """The words by which an attested launcher could mean this person."""
    words = {person.subject, person.name, f"{person.issuer}:{person.subject}"}
    return {word.casefold() for word in words if word}


def _check_approver(request: ApprovalRequest, approver: Approver, rule: Approval | None) -> None:
    by = approver.person
    if by.issuer == OPERATOR:
        raise Refused(FORBIDDEN, "the operator socket does not say who you are: review with a token of your own")
    if rule is None:
        raise Refused(CONFLICT, f"rule {request.rule} of request {request.id} is no longer in the policy")
    if rule.approver_role not in approver.roles:
        raise Refused(FORBIDDEN, f"rule {rule.name} is reviewed by role {rule.approver_role}, which you do not have")
    if _same(by, request.requester):
        raise Refused(FORBIDDEN, f"you asked for {request.id} yourself; somebody else must review it")
    launcher, own = request.launcher.casefold(), approver.launcher.casefold()
    if launcher and (launcher in _names(by) or launcher == own):
        raise Refused(FORBIDDEN, f"you launched what asks for {request.id}; somebody else must review it")
    if own and own in _names(request.requester):
        raise Refused(FORBIDDEN, f"{request.id} was asked for by whoever launched you; somebody else must review it")


def _check_approval(request: ApprovalRequest, review: Review, rule: Approval) -> None:
    if rule.reason == "required" and not request.reason:
        raise Refused(CONFLICT, f"rule {rule.name} requires a reason, and the requester of {request.id} has given none")
    if any(_same(review.by, one.by) for one in request.reviews):
        raise Refused(CONFLICT, f"you have approved {request.id} already; {rule.quorum} different people are needed")
    if review.duration < 0:
        raise Refused(BAD_REQUEST, "a grant lasts more than 0 s")


def _grant(request: ApprovalRequest, reviews: tuple[Review, ...], rule: Approval, now: float) -> Grant:
    """Lasts as long as the most careful of the approvers and the rule allow."""
    longest = min([rule.max_duration, *(one.duration for one in reviews if one.duration > 0)])
    return Grant(
        id="grant-" + request.id.removeprefix("req-"), rule=request.rule, principal=request.principal,
        operation=request.operation, resource=request.resource, name=request.name, model=request.model, since=now,
        until=now + longest, approvers=tuple(one.by for one in reviews))


def _request_id(grant: Grant) -> str:
    return "req-" + grant.id.removeprefix("grant-")


def _checked_reason(reason: str) -> str:
    if len(reason) > REASON_CHARACTERS:
        raise Refused(BAD_REQUEST, f"a reason has at most {REASON_CHARACTERS} characters")
    return " ".join(reason.split())
