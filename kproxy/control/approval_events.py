"""The steps of an approval as the event log keeps them, and as the audit tells them."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from kproxy.control.event_log import Entry
from kproxy.model.approval import ApprovalRequest, Grant, Person, Review
from kproxy.model.audit_event import AuditEvent


class Opened(msgspec.Struct, frozen=True, tag=True):
    """An access was refused and waits for people. ``about`` are the fields that say whose audit event it is."""

    at: float
    request: ApprovalRequest
    about: dict[str, Any]
    policy_version: str


class ReasonGiven(msgspec.Struct, frozen=True, tag=True):
    """The requester said why."""

    at: float
    request_id: str
    by: Person
    reason: str


class Reviewed(msgspec.Struct, frozen=True, tag=True):
    at: float
    request_id: str
    review: Review
    policy_version: str


class Approved(msgspec.Struct, frozen=True, tag=True):
    """The quorum is there; the grant counts from now on."""

    at: float
    request_id: str
    grant: Grant
    policy_version: str


class Closed(msgspec.Struct, frozen=True, tag=True):
    """A request ended without a grant. ``by`` is nobody where its time ran out."""

    at: float
    request_id: str
    state: Literal["denied", "cancelled", "timed_out"]
    by: Person | None = None
    reason: str = ""


class Ended(msgspec.Struct, frozen=True, tag=True):
    """A grant is over."""

    at: float
    request_id: str
    grant_id: str
    state: Literal["revoked", "expired"]
    by: Person | None = None
    reason: str = ""


Event = Opened | ReasonGiven | Reviewed | Approved | Closed | Ended

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


def pack(event: Event) -> bytes:
    return _encoder.encode(event)


def unpack(body: bytes) -> Event:
    """Raises msgspec.ValidationError for what no version of kproxy wrote."""
    return _decoder.decode(body)


def say_person(person: Person | None) -> str:
    """One name for logs and audit: ``issuer:subject``, and the display name where it says more."""
    if person is None:
        return ""
    stable = f"{person.issuer}:{person.subject}"
    return stable if person.name in ("", stable, person.subject) else f"{stable} ({person.name})"


def audit_of(entry: Entry, request: ApprovalRequest, *, node: str, born: int) -> AuditEvent:
    """The audit line of one entry. ``request`` is the request it is about, in any state. The id is that of the entry,
    so that telling it again after a crash gives the same line."""
    event = unpack(entry.body)
    fields: dict[str, Any] = {
        "principal": request.principal, "issuer": request.requester.issuer, "operation": request.operation,
        "resource": request.resource, "name": request.name, "rule": request.rule, "request_id": request.id,
        "attested": _attested(request),
    }
    kind, more = _tell(event)
    fields.update(more)
    return AuditEvent(id=f"{node}.approvals.{born}.{entry.seq}", kind=kind, ts=event.at, node=node, **fields)


def request_id_of(event: Event) -> str:
    return event.request.id if isinstance(event, Opened) else event.request_id


def _attested(request: ApprovalRequest) -> dict[str, str]:
    known = {"launcher": request.launcher, "run": request.run, "model": request.model}
    return {name: value for name, value in known.items() if value}


def _tell(event: Event) -> tuple[str, dict[str, Any]]:
    details: dict[str, Any]
    match event:
        case Opened():
            details = {"expires_at": event.request.expires_at}
            return "approval_requested", {**event.about, "decision": "pending", "reason": event.request.reason,
                                          "policy_version": event.policy_version, "details": details}
        case ReasonGiven():
            return "approval_requested", {"decision": "reason_given", "reason": event.reason,
                                          "actor": say_person(event.by)}
        case Reviewed():
            return "approval_reviewed", {"decision": event.review.decision, "reason": event.review.reason,
                                         "actor": say_person(event.review.by), "policy_version": event.policy_version}
        case Approved():
            details = {"until": event.grant.until, "approvers": [say_person(one) for one in event.grant.approvers]}
            return "grant_started", {"decision": "approved", "grant_id": event.grant.id, "details": details,
                                     "policy_version": event.policy_version}
        case Closed():
            return "approval_closed", {"decision": event.state, "actor": say_person(event.by), "reason": event.reason}
        case Ended():
            return "grant_ended", {"decision": event.state, "grant_id": event.grant_id, "reason": event.reason,
                                   "actor": say_person(event.by)}
