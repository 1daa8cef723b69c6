"""Approval requests and the grants that come of them."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

RequestState = Literal["pending", "approved", "denied", "cancelled", "timed_out", "revoked", "expired"]
REQUEST_STATES: tuple[str, ...] = get_args(RequestState)


class Person(msgspec.Struct, frozen=True):
    """Who acted, by stable ids. ``issuer`` is ``operator`` for the node's own operator socket."""

    issuer: str
    subject: str
    name: str = ""


class Review(msgspec.Struct, frozen=True):
    by: Person
    decision: Literal["approve", "deny"]
    at: float
    reason: str = ""
    duration: float = 0.0
    """Seconds the reviewer would grant; 0: as long as the rule allows."""


class ApprovalRequest(msgspec.Struct, frozen=True):
    """A refused access that waits for people. ``key`` makes the same access of the same principal the same request."""

    id: str
    key: str
    rule: str
    principal: str
    requester: Person
    operation: str
    resource: str
    name: str
    model: str
    created_at: float
    expires_at: float
    state: RequestState = "pending"
    launcher: str = ""
    run: str = ""
    reason: str = ""
    reviews: tuple[Review, ...] = ()


class Grant(msgspec.Struct, frozen=True):
    """An approved request in force until ``until`` (Unix seconds, fixed at approval)."""

    id: str
    rule: str
    principal: str
    operation: str
    resource: str
    name: str
    model: str
    since: float
    until: float
    approvers: tuple[Person, ...] = ()
