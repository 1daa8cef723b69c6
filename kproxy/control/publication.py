"""Publishes snapshots: the file that workers decide by, and the word that a new one is there.

The epoch only grows, over restarts too: it is the larger of the last file's and of the mark in the event log, plus one.
What nobody would see a difference in is not published.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from kproxy.control.event_log import EventLog
from kproxy.control.files import write_whole
from kproxy.model.approval import Grant
from kproxy.model.policy import Policy
from kproxy.model.snapshot import IssuerKeys, Snapshot

log = structlog.get_logger("kproxy.control")

_encoder = msgspec.msgpack.Encoder()


class Publisher:
    """``announce`` tells the workers of an epoch; ``previous`` is what an earlier control process left in force."""

    def __init__(self, path: Path, events: EventLog, now: Callable[[], float], announce: Callable[[int], None]) -> None:
        self._path = path
        self._events = events
        self._now = now
        self._announce = announce
        self.previous = read_snapshot(path)
        self.snapshot: Snapshot | None = None
        self._epoch = max(self.previous.epoch if self.previous else 0, events.mark("epoch"))

    @property
    def epoch(self) -> int:
        """Of the snapshot in place; 0 before this process has published."""
        return self.snapshot.epoch if self.snapshot else 0

    def publish(self, policy: Policy, modes: dict[str, str], issuer_keys: tuple[IssuerKeys, ...],
                grants: tuple[Grant, ...], masking_keys: dict[str, bytes]) -> int:
        """Puts the snapshot in place and tells the workers; the epoch that is now in place. Raises OSError, and then
        the old one stays."""
        fresh = Snapshot(
            epoch=self._epoch + 1, published_at=self._now(), policy=policy, policy_version=policy.version, modes=modes,
            issuer_keys=self._keep_known(issuer_keys), grants=grants, masking_keys=masking_keys)
        if self.snapshot is not None and _same(fresh, self.snapshot):
            return self.epoch
        # The mark first: a number that was given away is never given again, whatever happens to the file.
        self._events.raise_mark("epoch", fresh.epoch)
        self._epoch = fresh.epoch
        write_whole(self._path, _encoder.encode(fresh))
        self.snapshot = fresh
        log.info("snapshot_published", epoch=fresh.epoch, policy_version=fresh.policy_version)
        self._announce(fresh.epoch)
        return fresh.epoch

    def _keep_known(self, keys: tuple[IssuerKeys, ...]) -> tuple[IssuerKeys, ...]:
        """A new control process knows no keys for a moment. Those of its predecessor serve until they are stale."""
        if self.previous is None:
            return keys
        fetched = {one.issuer for one in keys}
        now = self._now()
        return (*keys, *(one for one in self.previous.issuer_keys if one.issuer not in fetched and one.stale_at > now))


def _same(one: Snapshot, other: Snapshot) -> bool:
    return msgspec.structs.replace(one, epoch=other.epoch, published_at=other.published_at) == other


def read_snapshot(path: Path) -> Snapshot | None:
    """What is in the file; None where there is no usable one."""
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=Snapshot)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        log.warning("snapshot_unreadable", file=str(path), error=str(error))
        return None
