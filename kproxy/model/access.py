"""Who asks, what for, and what was decided: the values that identity, policy and the data plane share."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

FOREVER = float("inf")

Effect = Literal["allow", "deny", "ask"]
Resource = Literal["topic", "any_topic", "group", "transactional_id", "cluster"]


class Principal(msgspec.Struct, frozen=True):
    """Who a verified token speaks for. ``subject`` is the issuer's stable id; four-eyes checks compare (issuer,
    subject)."""

    name: str
    issuer: str
    subject: str
    groups: tuple[str, ...] = ()
    attributes: dict[str, Any] = {}


class Client(msgspec.Struct, frozen=True):
    """What is known of the connecting program. ``id`` and ``software`` are its own words; ``address`` is seen."""

    id: str = ""
    software: str = ""
    address: str = ""


class Facts(msgspec.Struct, frozen=True):
    """All a session is known by. ``attested`` comes from signed claims only, ``declared`` from the client; never
    merged."""

    principal: Principal
    mechanism: str
    listener: str
    attested: dict[str, str] = {}
    declared: dict[str, str] = {}
    client: Client = Client()
    expires_at: float = FOREVER
    """Unix seconds; the earlier of the token's exp and the local lifetime cap."""
    token_id: str = ""
    """A SHA-256 prefix of issuer and jti, never token material."""


class Access(msgspec.Struct, frozen=True):
    """One question to the policy: may this operation be done on this resource?

    ``operation`` is Kafka's ACL operation in lower case (``read``, ``write``, ``describe``, ``create``, …).
    ``any_topic`` with an empty name asks whether the operation is allowed on at least one topic.
    """

    operation: str
    resource: Resource
    name: str


class ApprovalWanted(msgspec.Struct, frozen=True):
    """What a person would have to approve for this access to pass."""

    rule: str
    operation: str
    resource: str
    name: str
    model: str = ""
    reason: str = "none"
    """``required`` when the requester must give one before approvers decide."""


class Verdict(msgspec.Struct, frozen=True):
    """A decision with its reason. ``would`` is what enforcing would do where the listener only observes."""

    effect: Effect
    rule: str = ""
    reason: str = ""
    valid_until: float = FOREVER
    wanted: ApprovalWanted | None = None
    would: Effect | None = None
    condition_errors: tuple[str, ...] = ()
    """Names of the rules whose condition ended in an error while deciding; each is counted and audited."""
    missing: tuple[str, ...] = ()
    """What those conditions name and these facts do not have, such as ``attested.model``; for operators, never for the
    client."""
    safeguards: Any = ()
    """What the request must be like besides: SafeguardInForce values, for writing in their compiled form
    (kproxy._ext.batch_limits)."""
