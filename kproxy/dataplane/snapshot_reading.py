"""Reads and lets go of snapshots beside a loop that serves: nothing here holds the interpreter for long.

A policy of ten thousand rules is decoded by one call into C in ten milliseconds, and freed by another; meanwhile a loop
on another thread stands still. Rule by rule it takes hardly longer, and the loop has its turns.
"""

from __future__ import annotations

from typing import Any

import msgspec

from kproxy.model.policy import Allow, Policy, Role, TopicEntry
from kproxy.model.snapshot import Snapshot

#: Values that are freed at once: some tens of microseconds.
PIECE = 256


class _Envelope(Snapshot, frozen=True):
    """A snapshot whose policy is left as it is written."""

    policy: msgspec.Raw  # type: ignore[assignment]


class _RolePieces(Role, frozen=True, gc=False):
    allow: tuple[msgspec.Raw, ...] = ()  # type: ignore[assignment]


class _PolicyPieces(Policy, frozen=True, gc=False):
    topics: tuple[msgspec.Raw, ...] = ()  # type: ignore[assignment]
    roles: tuple[_RolePieces, ...] = ()


_envelopes = msgspec.msgpack.Decoder(_Envelope)
_policies = msgspec.msgpack.Decoder(_PolicyPieces)
_topics = msgspec.msgpack.Decoder(TopicEntry)
_allows = msgspec.msgpack.Decoder(Allow)


class SnapshotReader:
    """Remembers the policy it read last: of a snapshot that differs in grants or keys only, the policy is the very same
    object, and whatever was made of it need not be made again."""

    def __init__(self) -> None:
        self._written = b""
        self._policy = Policy()

    def read(self, data: bytes) -> Snapshot:
        """Raises msgspec.DecodeError or msgspec.ValidationError."""
        envelope = _envelopes.decode(data)
        written = bytes(envelope.policy)
        if written != self._written:
            self._policy = _read_policy(written)
            self._written = written
        return Snapshot(**{**_fields(envelope), "policy": self._policy})


def _read_policy(written: bytes) -> Policy:
    pieces = _policies.decode(written)
    topics = [_topics.decode(topic) for topic in pieces.topics]
    roles = [Role(**{**_fields(role), "allow": tuple([_allows.decode(allow) for allow in role.allow])})
             for role in pieces.roles]
    return Policy(**{**_fields(pieces), "topics": tuple(topics), "roles": tuple(roles)})


def _fields(struct: msgspec.Struct) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


def list_parts(policy: Policy) -> list[object]:
    """What most of a policy's memory is in."""
    return [*policy.topics, *policy.allows(), *policy.forbid, *policy.record_rules(), *policy.approvals,
            *policy.safeguards]


def free_in_pieces(parts: list[object]) -> None:
    """Empties the list, which holds the last references."""
    while parts:
        del parts[-PIECE:]
