"""Takes changed files into force: all of them or none, and whatever is refused leaves the old in force, loudly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog
import watchfiles

from kproxy.control.loading import Loaded, PolicyFiles, load_node, take_over
from kproxy.errors import Problem, ProblemsFound

log = structlog.get_logger("kproxy.control")

#: Editors and ConfigMap updates touch several files in a row; they are read together.
DEBOUNCE_MILLISECONDS = 150
WATCH_RETRY_SECONDS = 1.0


class Outcome(msgspec.Struct, frozen=True):
    """How the last reading ended. ``taken_at`` is when files were last taken into force (Unix seconds)."""

    good: bool
    at: float
    taken_at: float
    problems: tuple[str, ...] = ()
    restart_needed: tuple[str, ...] = ()


class Reloader:
    """Holds what is in force. ``publish`` puts it before the workers; ``record`` writes audit events."""

    def __init__(self, file: Path, loaded: Loaded, *, now: Callable[[], float], publish: Callable[[], None],
                 record: Callable[..., str]) -> None:
        self.file = file
        self.loaded = loaded
        self.outcome = Outcome(True, now(), now())
        self._now = now
        self._publish = publish
        self._record = record
        self._reading = asyncio.Lock()
        self._policy = PolicyFiles()

    async def reload(self) -> bool:
        """Reads the files again. False if they were refused."""
        async with self._reading:
            try:
                # Compiling a big policy takes a while and must not keep questions of workers waiting.
                wanted = await asyncio.to_thread(load_node, self.file, policy=self._policy,
                                                 known=self.loaded.decider)
            except ProblemsFound as error:
                self.refuse(error.problems)
                return False
            except Exception as error:
                # A fault of ours in reading must not end the process that holds the policy in force.
                log.error("reload_failed", exc_info=True)
                self.refuse([Problem(f"cannot be read: {type(error).__name__}", str(self.file))])
                return False
            self._take(wanted)
            return True

    def refuse(self, problems: list[Problem]) -> None:
        """Tells everybody that what is in the files is not what is in force."""
        for one in problems:
            log.error("policy_refused", problem=str(one), problems=len(problems),
                      policy_version=self.loaded.policy.version)
        self.outcome = msgspec.structs.replace(
            self.outcome, good=False, at=self._now(), problems=tuple(map(str, problems)))
        places = [f"{one.file}:{one.line}: {one.path}".rstrip(": ") for one in problems]
        self._record("policy_refused", policy_version=self.loaded.policy.version,
                     reason=f"{len(problems)} problems; the policy in force stays", details={"places": places})

    def tell_loaded(self) -> None:
        """The audit line of the policy now in force."""
        self._record("policy_loaded", policy_version=self.loaded.policy.version,
                     details={"modes": self.loaded.modes()})

    def _take(self, wanted: Loaded) -> None:
        old = self.loaded
        self.loaded, restart = take_over(old.config, wanted)
        now = self._now()
        self.outcome = Outcome(True, now, now)
        self.tell_restart_needed(restart)
        self._publish()
        if (old.policy.version, old.modes()) != (self.loaded.policy.version, self.loaded.modes()):
            log.info("policy_loaded", policy_version=self.loaded.policy.version)
            self.tell_loaded()

    def tell_restart_needed(self, names: tuple[str, ...]) -> None:
        """What has changed in the files and is not in force."""
        if names:
            log.warning("config_needs_restart", changes=list(names))
        self.outcome = msgspec.structs.replace(self.outcome, restart_needed=names)

    async def watch(self) -> None:
        """Reloads when one of the files changes, until cancelled."""
        while True:
            watched = Path(self.loaded.config.policy_path)
            try:
                await self._watch(watched)
            except (OSError, RuntimeError, FileNotFoundError) as error:
                log.warning("watch_failed", file=str(watched), error=str(error))
                await asyncio.sleep(WATCH_RETRY_SECONDS)

    async def _watch(self, policy: Path) -> None:
        file = self.file.resolve()
        # A file that is replaced takes its watch with it, so folders are watched.
        folders = {file.parent, policy if policy.is_dir() else policy.parent}

        def concerns(_change: watchfiles.Change, path: str) -> bool:
            # A mounted ConfigMap is swapped by renaming the link ..data, beside what we were told to read.
            changed = Path(path)
            return changed in (file, policy) or policy in changed.parents or changed.name.startswith("..data")

        async for _ in watchfiles.awatch(*folders, watch_filter=concerns, debounce=DEBOUNCE_MILLISECONDS, step=50,
                                         recursive=False, stop_event=asyncio.Event()):
            await self.reload()
            if Path(self.loaded.config.policy_path) != policy:
                return
