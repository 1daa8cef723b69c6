"""The snapshot a worker decides by: loaded whole, compiled once, replaced in one assignment.

Everything that must change together is one object, so a decision never mixes the rules of one snapshot with the grants
or keys of another. The file is the truth; a message only says when to read it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec
import structlog

from kproxy.errors import KproxyError
from kproxy.model.access import Access, Effect, Facts, Verdict
from kproxy.model.approval import Grant
from kproxy.model.record_plan import RecordPlan
from kproxy.model.snapshot import IssuerKeys, Snapshot

log = structlog.get_logger("kproxy.worker")

#: Which way a topic's records flow for an operation; other operations move no records.
DIRECTIONS = {"read": "consume", "write": "produce"}

Decide = Callable[[str, str, str, float], "tuple[Verdict, Any]"]


class Decider(Protocol):
    """What kproxy.policy.compile gives."""

    def decide(self, facts: Facts, access: Access, *, grants: tuple[Grant, ...], mode: str, now: float) -> Verdict: ...

    def plan_records(self, facts: Facts, topic: str, direction: str, *, mode: str, now: float,
                     count_fields: bool) -> RecordPlan | None: ...

    def roles_of(self, facts: Facts, now: float) -> tuple[str, ...]: ...


class Records(Protocol):
    """What is taken of kproxy._ext.mask: a program is dear and shared, a plan is cheap and belongs to one cell."""

    def compile_plan(self, plan: RecordPlan, keys: Mapping[str, bytes]) -> Any: ...

    def Plan(self, program: Any) -> Any: ...


class InForce:
    """One snapshot, ready to decide by."""

    def __init__(self, snapshot: Snapshot, decider: Decider, records: Records, keys: Mapping[str, bytes]) -> None:
        self.snapshot = snapshot
        self.decider = decider
        self.issuer_keys: dict[str, IssuerKeys] = {keys.issuer: keys for keys in snapshot.issuer_keys}
        self._records = records
        self._masking_keys = {**keys, **snapshot.masking_keys}
        self._programs: dict[RecordPlan, Any] = {}
        grants: dict[str, list[Grant]] = {}
        for grant in snapshot.grants:
            grants.setdefault(grant.principal, []).append(grant)
        self._grants = {principal: tuple(found) for principal, found in grants.items()}

    def decide(self, facts: Facts, access: Access, mode: str, now: float) -> Verdict:
        return self.decider.decide(facts, access, grants=self._grants.get(facts.principal.name, ()), mode=mode, now=now)

    def plan_for(self, facts: Facts, topic: str, operation: str, mode: str, now: float, count_fields: bool) -> Any:
        """A fresh native plan for one session's topic, or None where nothing is to be done to its records."""
        plan = self.decider.plan_records(facts, topic, DIRECTIONS[operation], mode=mode, now=now,
                                         count_fields=count_fields)
        if plan is None:
            return None
        program = self._programs.get(plan)
        if program is None:
            program = self._programs[plan] = self._records.compile_plan(plan, self._masking_keys)
        return self._records.Plan(program)


class SnapshotFile:
    """Keeps ``in_force`` at what the file at ``path`` says. ``on_changed`` is called, on the loop, after each
    replacement."""

    def __init__(self, path: Path, build: Callable[[Snapshot], InForce], on_changed: Callable[[InForce], None]) -> None:
        self._path = path
        self._build = build
        self._on_changed = on_changed
        self._decoder = msgspec.msgpack.Decoder(Snapshot)
        self._loading = asyncio.Lock()
        self._arrived = asyncio.Event()
        self.in_force: InForce | None = None

    async def load(self) -> str:
        """Reads the file and puts it in force unless its epoch already is. Gives an error, empty when there is none;
        after an error the last good snapshot stays."""
        async with self._loading:
            try:
                snapshot = self._decoder.decode(self._path.read_bytes())
                if self.in_force is not None and self.in_force.snapshot.epoch == snapshot.epoch:
                    return ""
                # Compiling ten thousand rules takes a while; on a thread the loop goes on serving by the old ones.
                built = await asyncio.get_running_loop().run_in_executor(None, self._build, snapshot)
            except FileNotFoundError:
                return "there is no snapshot yet"
            except (OSError, msgspec.MsgspecError, KproxyError, ValueError) as error:
                log.error("snapshot_refused", error=str(error))
                return str(error)
            self.in_force = built
            self._on_changed(built)
            self._arrived.set()
            log.info("snapshot_in_force", epoch=snapshot.epoch, policy_version=snapshot.policy_version)
            return ""

    async def wait(self) -> InForce:
        """Until a first snapshot is in force; whoever calls ``load`` brings it."""
        await self._arrived.wait()
        assert self.in_force is not None
        return self.in_force


def decider_for(file: SnapshotFile, facts: Facts, count_fields: bool) -> Decide:
    """What fills one session's policy table. It looks at the snapshot in force at each call, so a session outlives
    snapshots; it raises KproxyError where there is none, and the session refuses."""

    def decide(resource: str, operation: str, name: str, now: float) -> tuple[Verdict, Any]:
        in_force = file.in_force
        if in_force is None:
            raise KproxyError("no policy is in force")
        mode = in_force.snapshot.modes.get(facts.listener, "enforce")
        verdict = in_force.decide(facts, Access(operation, resource, name), mode, now)  # type: ignore[arg-type]
        plan = None
        if resource == "topic" and operation in DIRECTIONS and verdict.effect == ALLOW:
            plan = in_force.plan_for(facts, name, operation, mode, now, count_fields)
        return verdict, plan

    return decide


ALLOW: Effect = "allow"
