"""What still waits for a slow reader when its access changes.

An answer is decided on when it is handed to the client's wire. A client that reads slowly leaves it there, and a rule
that changes meanwhile would come too late for those bytes. So every topic whose records may be among them is
remembered with the plan they were written under, and whenever something changes – the policy, the facts, a grant that
ends – they are decided again. Where one of them would be refused now, or written otherwise, the queue has half a
second to drain; then it is thrown away together with the connection. Bytes the kernel has taken are gone.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from kproxy._ext.protocol import ClientHalf
from kproxy.dataplane.in_force import Decide

#: How long the queue may take to drain once it holds what may no longer be shown, and how often it is looked at.
DRAIN_SECONDS: Final = 0.5
STEP_SECONDS: Final = 0.05
#: Topics remembered of one session. Past that nothing that is queued counts as safe.
MOST_SHOWN: Final = 1024

Shown = tuple[str, Any]


class Backlog:
    """Of one session. ``half`` holds its transport."""

    def __init__(self, half: ClientHalf) -> None:
        self._half = half
        self._shown: set[Shown] = set()
        self._waiting = False

    def note(self, topic: str, plan: Any) -> None:
        """Records of ``topic`` may be shown from now on, changed as ``plan`` (native, None: as they are) says."""
        self._shown.add((topic, _key(plan)))

    def is_empty(self) -> bool:
        """Nothing is queued in this process."""
        return not self._half.queued()

    def forget(self) -> None:
        """Nothing is queued and every decision was forgotten as well."""
        self._shown.clear()

    @property
    def too_long(self) -> bool:
        return len(self._shown) > MOST_SHOWN

    def find_ended(self, decide: Decide, now: float) -> list[Shown]:
        """What may be queued and would not be written so now. A decision that fails counts as a refusal."""
        if self.too_long:
            return list(self._shown)
        ended = []
        for topic, key in self._shown:
            try:
                verdict, plan = decide("topic", "read", topic, now)
            except Exception:
                ended.append((topic, key))
                continue
            if verdict.effect != "allow" or _key(plan) != key:
                ended.append((topic, key))
        return ended

    async def drain(self, ended: list[Shown]) -> bool:
        """True once what was queued at the call has left; false if it did not in time."""
        half = self._half
        mark = half.sent
        for _ in range(round(DRAIN_SECONDS / STEP_SECONDS)):
            if half.session.cause is not None:
                return True
            # Inside TLS the queue is a little longer than what was sent, which errs on the side of waiting.
            if self.is_empty() or half.sent - half.queued() >= mark:
                self._shown.difference_update(ended)
                return True
            await asyncio.sleep(STEP_SECONDS)
        return False


def _key(plan: Any) -> Any:
    return None if plan is None else plan.program.plan
