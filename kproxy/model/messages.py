"""What workers and the control process say to each other over the node's unix socket.

Each message is one msgpack frame: a four-byte big-endian length, then a tagged struct. Questions carry ``ask`` and
their answers repeat it. The snapshot itself travels as the file ``snapshot.msgpack`` in the runtime directory (0600),
written whole and renamed into place, so that a worker can start while the control process is away.
"""

from __future__ import annotations

from typing import Any

import msgspec

from kproxy.model.access import ApprovalWanted, Facts
from kproxy.model.value_schema import ValueSchema

MAX_FRAME = 16 * 1024 * 1024


class Hello(msgspec.Struct, frozen=True, tag=True):
    """First message of a worker."""

    worker: int
    pid: int


class Published(msgspec.Struct, frozen=True, tag=True):
    """Control to worker: snapshot ``epoch`` is in place; load it now and answer ``InForce``."""

    epoch: int


class InForce(msgspec.Struct, frozen=True, tag=True):
    """Worker to control: ``epoch`` is in force. Each session decides its next frame by it, and what slow readers have
    not taken yet was decided again. With ``error`` it is not, and the one before stays."""

    worker: int
    epoch: int
    error: str = ""


class KeyWanted(msgspec.Struct, frozen=True, tag=True):
    """Worker to control: a token names a key that the snapshot lacks. Control fetches (single flight, rate limited),
    publishes if the key is new, and answers with the epoch to load before looking again. ``because`` is the refusal's
    reason: ``unknown_kid``, ``bad_signature`` where the issuer may have reused the id for a new key, or ``keys_stale``
    where its keys are too old to be relied on."""

    ask: int
    issuer: str
    kid: str
    because: str = "unknown_kid"


class KeyAnswer(msgspec.Struct, frozen=True, tag=True):
    ask: int
    found: bool
    epoch: int
    reason: str = ""


class ApprovalAsked(msgspec.Struct, frozen=True, tag=True):
    """Worker to control: this access waits for people; open a request or name the pending one."""

    ask: int
    facts: Facts
    wanted: ApprovalWanted


class ApprovalAnswer(msgspec.Struct, frozen=True, tag=True):
    ask: int
    request_id: str
    state: str
    error: str = ""


class SchemasWanted(msgspec.Struct, frozen=True, tag=True):
    """Worker to control: records bear these ids of the cluster's schema registry, which the worker does not know."""

    ask: int
    cluster: str
    ids: tuple[int, ...]


class SchemasAnswer(msgspec.Struct, frozen=True, tag=True):
    """``missing`` are not there, or cannot be read; what is in neither could not be asked for now."""

    ask: int
    schemas: dict[int, ValueSchema]
    missing: tuple[int, ...]


class StatsAsked(msgspec.Struct, frozen=True, tag=True):
    ask: int


class Stats(msgspec.Struct, frozen=True, tag=True):
    """Counter values since the worker started: metric name to list of (label values in the metric's order, value).
    Histograms are given as (labels, [bucket counts…, sum])."""

    ask: int
    worker: int
    values: dict[str, list[tuple[tuple[str, ...], Any]]]


class SessionsAsked(msgspec.Struct, frozen=True, tag=True):
    ask: int


class SessionView(msgspec.Struct, frozen=True):
    """One open connection as an operator sees it. ``id`` is ``worker-number``."""

    id: str
    worker: int
    listener: str
    principal: str
    mechanism: str
    client_id: str
    address: str
    attested: dict[str, str]
    declared: dict[str, str]
    connected_at: float
    expires_at: float
    requests: int
    broker: str = ""
    groups: tuple[str, ...] = ()


class Sessions(msgspec.Struct, frozen=True, tag=True):
    ask: int
    worker: int
    sessions: tuple[SessionView, ...]


class KillAsked(msgspec.Struct, frozen=True, tag=True):
    """Control to worker: close this session now."""

    ask: int
    session: str
    reason: str = ""


class Killed(msgspec.Struct, frozen=True, tag=True):
    ask: int
    worker: int
    closed: int


class Drain(msgspec.Struct, frozen=True, tag=True):
    """Worker to control: this worker has begun to drain and accepts no more connections."""

    worker: int


Message = (
    Hello | Published | InForce | KeyWanted | KeyAnswer | ApprovalAsked | ApprovalAnswer | SchemasWanted
    | SchemasAnswer | StatsAsked | Stats | SessionsAsked | Sessions | KillAsked | Killed | Drain
)

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Message)


def pack(message: Message) -> bytes:
    """One frame, length included."""
    body = _encoder.encode(message)
    return len(body).to_bytes(4, "big") + body


def unpack(body: bytes) -> Message:
    """A frame's body. Raises msgspec.ValidationError or msgspec.DecodeError."""
    message: Message = _decoder.decode(body)
    return message
