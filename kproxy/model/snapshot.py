"""The immutable state a worker serves from, published by the control process."""

from __future__ import annotations

from typing import Any

import msgspec

from kproxy.model.approval import Grant
from kproxy.model.policy import Policy


class IssuerKeys(msgspec.Struct, frozen=True):
    """Public keys of one issuer as its JWKS lists them; unusable after ``stale_at`` (Unix seconds)."""

    issuer: str
    keys: tuple[dict[str, Any], ...]
    fetched_at: float
    stale_at: float


class Snapshot(msgspec.Struct, frozen=True):
    """``epoch`` grows with every publication; ``policy_version`` is the hash of the policy's source."""

    epoch: int
    published_at: float
    policy: Policy
    policy_version: str
    modes: dict[str, str]
    """Listener name to ``enforce`` or ``observe``."""
    issuer_keys: tuple[IssuerKeys, ...] = ()
    grants: tuple[Grant, ...] = ()
    masking_keys: dict[str, bytes] = {}
