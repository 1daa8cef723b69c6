"""The snapshot a worker decides by: loaded whole, compiled once, replaced in one assignment.

Everything that must change together is one object, so a decision never mixes the rules of one snapshot with the grants
or keys of another. The file is the truth; a message only says when to read it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
import structlog

from kproxy._ext.batch_limits import BatchLimits
from kproxy.dataplane.snapshot_reading import SnapshotReader, free_in_pieces, list_parts
from kproxy.errors import KproxyError
from kproxy.model.access import Access, Facts, Resource, Verdict
from kproxy.model.approval import Grant
from kproxy.model.policy import QuotaInForce
from kproxy.model.record_plan import RecordPlan
from kproxy.model.settings import Limits, Mode
from kproxy.model.snapshot import IssuerKeys, Snapshot

log = structlog.get_logger("kproxy.worker")

Decide = Callable[[Resource, str, str, float], "tuple[Verdict, Any]"]
#: Told the name of a rule whose condition ended in an error, with the facts it was asked about.
OnConditionError = Callable[[str, Facts], object]


class Decider(Protocol):
    """What kproxy.policy.compile gives."""

    def decide_with_plan(self, facts: Facts, access: Access, *, grants: Sequence[Grant], mode: Mode, now: float,
                         count_fields: bool) -> tuple[Verdict, RecordPlan | None]: ...

    def roles_of(self, facts: Facts, now: float) -> tuple[str, ...]: ...

    def quotas_of(self, facts: Facts, now: float) -> tuple[QuotaInForce, ...]: ...


class Records(Protocol):
    """What is taken of kproxy._ext.mask: a program is dear and shared, a plan is cheap and belongs to one cell."""

    def compile_plan(self, plan: RecordPlan, keys: Mapping[str, bytes], limits: Limits) -> Any: ...

    def Plan(self, program: Any) -> Any: ...


class SnapshotInForce:
    """One snapshot, ready to decide by. What the ``former`` one has compiled is taken over where it is of the same
    policy and keys."""

    def __init__(self, snapshot: Snapshot, decider: Decider, records: Records, limits: Limits,
                 former: SnapshotInForce | None = None) -> None:
        self.snapshot = snapshot
        self.decider = decider
        self.issuer_keys: dict[str, IssuerKeys] = {keys.issuer: keys for keys in snapshot.issuer_keys}
        self._records = records
        self._limits = limits
        # A program costs milliseconds of the loop that first needs it, so a grant must not cost them again.
        self._programs: dict[RecordPlan, Any] = {}
        if (former is not None and former.snapshot.policy is snapshot.policy
                and former.snapshot.masking_keys == snapshot.masking_keys):
            self._programs = former._programs
        grants: dict[str, list[Grant]] = {}
        for grant in snapshot.grants:
            grants.setdefault(grant.principal, []).append(grant)
        self._grants = {principal: tuple(found) for principal, found in grants.items()}

    def decide(self, facts: Facts, access: Access, now: float, count_fields: bool) -> tuple[Verdict, Any]:
        """The verdict and, where records may flow, a fresh native plan for what is to be done to them."""
        verdict, plan = self.decider.decide_with_plan(
            facts, access, grants=self._grants.get(facts.principal.name, ()), mode=self.mode_of(facts.listener),
            now=now, count_fields=count_fields)
        if verdict.safeguards and access.operation == "write":
            verdict = msgspec.structs.replace(verdict, safeguards=BatchLimits(verdict.safeguards, self._limits))
        if plan is None or verdict.effect != "allow":
            return verdict, None
        program = self._programs.get(plan)
        if program is None:
            program = self._programs[plan] = self._records.compile_plan(
                plan, self.snapshot.masking_keys, self._limits)
        return verdict, self._records.Plan(program)

    def mode_of(self, listener: str) -> Mode:
        """A listener the snapshot does not name enforces."""
        return "observe" if self.snapshot.modes.get(listener) == "observe" else "enforce"


class SnapshotFile:
    """Keeps ``in_force`` at what the file at ``path`` says. ``build`` is called on a thread, with the very policy of
    the last snapshot where only grants or keys have changed; ``on_changed`` on the loop, after each replacement."""

    def __init__(self, path: Path, build: Callable[[Snapshot], SnapshotInForce],
                 on_changed: Callable[[SnapshotInForce], None]) -> None:
        self._path = path
        self._build = build
        self._on_changed = on_changed
        self._reader = SnapshotReader()
        self._loading = asyncio.Lock()
        self._arrived = asyncio.Event()
        self.in_force: SnapshotInForce | None = None

    async def load(self) -> str:
        """Reads the file and puts it in force unless its epoch already is. Gives an error, empty when there is none or
        no snapshot was ever there; after an error the last good snapshot stays."""
        async with self._loading:
            loop = asyncio.get_running_loop()
            try:
                # Ten thousand rules take a while; on a thread the loop goes on serving by the old ones.
                built = await loop.run_in_executor(None, self._read)
            except FileNotFoundError:
                return "the snapshot file is gone" if self.in_force else ""
            except (OSError, msgspec.MsgspecError, KproxyError, ValueError) as error:
                log.error("snapshot_refused", error=str(error))
                return str(error)
            if built is None:
                return ""
            last, self.in_force = [self.in_force], built
            self._on_changed(built)
            self._arrived.set()
            log.info("snapshot_in_force", epoch=built.snapshot.epoch, policy_version=built.snapshot.policy_version)
            loop.run_in_executor(None, _let_go, last)
            return ""

    def _read(self) -> SnapshotInForce | None:
        """None where the file's epoch is in force already."""
        snapshot = self._reader.read(self._path.read_bytes())
        if self.in_force is not None and self.in_force.snapshot.epoch == snapshot.epoch:
            return None
        return self._build(snapshot)

    async def wait(self) -> SnapshotInForce:
        """Until a first snapshot is in force; whoever calls ``load`` brings it."""
        await self._arrived.wait()
        assert self.in_force is not None
        return self.in_force


def _let_go(last: list[SnapshotInForce | None]) -> None:
    """Frees what ``last`` alone refers to; in one go that would take the interpreter from the loop for milliseconds."""
    parts = list_parts(last[0].snapshot.policy) if last[0] is not None else []
    last.clear()
    free_in_pieces(parts)


def decider_for(file: SnapshotFile, facts: Facts, count_fields: bool, on_condition_error: OnConditionError) -> Decide:
    """What fills one session's policy table. It looks at the snapshot in force at each call, so a session outlives
    snapshots; it raises KproxyError where there is none, and the session refuses."""

    def decide(resource: Resource, operation: str, name: str, now: float) -> tuple[Verdict, Any]:
        in_force = file.in_force
        if in_force is None:
            raise KproxyError("no policy is in force")
        verdict, plan = in_force.decide(facts, Access(operation, resource, name), now, count_fields)
        if verdict.effect == "allow" and verdict.would is None:
            # A refused access carries its errors with it; here a mask's would go unheard.
            for rule in verdict.condition_errors:
                on_condition_error(rule, facts)
        return verdict, plan

    return decide
