"""``python -m kproxy.control --config FILE``: the node's control process, started and restarted by the supervisor."""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import os
import secrets
import signal
import sys
import time
from pathlib import Path

import structlog

from kproxy import logs
from kproxy.config import load_config
from kproxy.control.event_log import EventLog
from kproxy.control.loading import Loaded, load_policy, make_ready
from kproxy.control.node import Node
from kproxy.control.publication import read_snapshot
from kproxy.errors import KproxyError, Problem, ProblemsFound
from kproxy.model.settings import Config

log = structlog.get_logger("kproxy.control")

#: sysexits.h EX_CONFIG: tells the supervisor that starting again changes nothing.
EXIT_CONFIG = 78
#: A predecessor that was told to stop may still be shipping.
LOCK_SECONDS = 20.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m kproxy.control")
    parser.add_argument("--config", required=True, type=Path)
    file = parser.parse_args().config
    logs.configure("control")
    try:
        config = load_config(file, certificates=False)
        prepare_directories(config)
        loaded, problems = load_or_keep(config)
    except ProblemsFound as error:
        for one in error.problems:
            log.error("config_refused", problem=str(one), problems=len(error.problems))
        return EXIT_CONFIG
    except KproxyError as error:
        log.error("control_not_started", error=str(error))
        return 1
    try:
        return asyncio.run(serve(file, loaded, problems))
    except KproxyError as error:
        log.error("control_not_started", error=str(error))
        return 1


def load_or_keep(config: Config) -> tuple[Loaded, list[Problem]]:
    """The policy of the files; where they are refused, the one that a predecessor left in force, with the problems.
    Raises ProblemsFound where there is neither."""
    try:
        return make_ready(config, load_policy(config)), []
    except ProblemsFound as error:
        previous = read_snapshot(Path(config.node.runtime_dir) / "snapshot.msgpack")
        if previous is None:
            raise
        return make_ready(config, previous.policy), error.problems


def prepare_directories(config: Config) -> None:
    """Makes what is missing, for this user alone. Raises KproxyError."""
    state = Path(config.node.state_dir)
    for path in (Path(config.node.runtime_dir), state, state / "spool", state / "audit"):
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.chmod(0o700)
        except OSError as error:
            raise KproxyError(f"cannot use directory {path}: {error.strerror}") from error


def claim(state: Path) -> int:
    """The lock of the state directory: two control processes would approve past each other. Lasts as long as the
    descriptor. Raises KproxyError."""
    descriptor = os.open(state / "control.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise KproxyError(f"another control process works in {state}") from None
            time.sleep(0.05)


async def serve(file: Path, loaded: Loaded, problems: list[Problem]) -> int:
    """Until SIGTERM or SIGINT; the exit code."""
    state = Path(loaded.config.node.state_dir)
    lock = claim(state)
    events = EventLog(state / "events.db", born=int(time.time() * 1000))
    node = Node(file, loaded, events, now=time.time, new_id=lambda: secrets.token_hex(5), problems=problems)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    reloads: set[asyncio.Task[bool]] = set()

    def reload() -> None:
        task = loop.create_task(node.reloader.reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)
    try:
        await node.start()
        await stop.wait()
    finally:
        await node.aclose()
        events.close()
        os.close(lock)
    return 0


if __name__ == "__main__":
    sys.exit(main())
