"""One line of the audit: who did what, by which rule, under which policy. Never a record value, never a token."""

from __future__ import annotations

from typing import Any

import msgspec

from kproxy.model.access import Facts


class AuditEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """``id`` is unique and stable over a crash: ``node.worker.start.sequence``. ``kind`` is one of KINDS."""

    id: str
    kind: str
    ts: float
    node: str
    worker: int = -1
    session: str = ""
    listener: str = ""
    principal: str = ""
    issuer: str = ""
    mechanism: str = ""
    client_id: str = ""
    address: str = ""
    attested: dict[str, str] = {}
    declared: dict[str, str] = {}
    policy_version: str = ""
    mode: str = ""
    api: str = ""
    operation: str = ""
    resource: str = ""
    name: str = ""
    decision: str = ""
    would: str = ""
    rule: str = ""
    reason: str = ""
    request_id: str = ""
    grant_id: str = ""
    actor: str = ""
    topic: str = ""
    direction: str = ""
    partitions: list[tuple[int, int, int, int, int]] = []
    """Per partition: number, first offset, last offset, records, bytes."""
    records: int = 0
    bytes: int = 0
    fields: str = ""
    """``inspected`` or ``not_inspected``; never an empty list where nothing looked."""
    fields_emitted: dict[str, int] = {}
    fields_masked: dict[str, int] = {}
    entities: dict[str, int] = {}
    rules: dict[str, int] = {}
    unanswered: int = 0
    """Produces whose intent was written and whose outcome the broker never gave."""
    recovered: bool = False
    """True where the control process completed the line from the spool of a worker that died."""
    cause: str = ""
    error_id: str = ""
    details: dict[str, Any] = {}


def roles_rest_on(facts: Facts) -> dict[str, Any]:
    """What of a principal decides about roles and stands in no other field: with it, a line can be decided anew."""
    rest: dict[str, Any] = {"groups": list(facts.principal.groups)}
    if facts.principal.attributes:
        rest["attributes"] = facts.principal.attributes
    return rest


KINDS = (
    "connect", "reauthenticated", "login_failed", "disconnect", "flow", "denied", "guard_hit", "safeguard", "would",
    "condition_error",
    "approval_requested", "approval_reviewed", "grant_started", "grant_ended", "approval_closed",
    "policy_loaded", "policy_refused", "session_killed", "restart_asked", "node_started", "node_stopped", "audit_gap",
)


def about(facts: Facts) -> dict[str, Any]:
    """The fields that say whose event it is."""
    return {
        "listener": facts.listener,
        "principal": facts.principal.name,
        "issuer": facts.principal.issuer,
        "mechanism": facts.mechanism,
        "client_id": facts.client.id,
        "address": facts.client.address,
        "attested": facts.attested,
        "declared": facts.declared,
    }
