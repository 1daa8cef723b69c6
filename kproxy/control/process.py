"""The control process from its command line to its exit code."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import os
import secrets
import signal
import sys
import time
from pathlib import Path

import msgspec
import structlog

from kproxy import logs
from kproxy.config import load_config, unpack_config
from kproxy.control.event_log import EventLog
from kproxy.control.loading import First, load_node, load_policy, make_ready, take_over
from kproxy.control.node import Node
from kproxy.control.publication import read_snapshot
from kproxy.errors import EXIT_CONFIG, KproxyError, ProblemsFound
from kproxy.model.settings import Config

log = structlog.get_logger("kproxy.control")

#: A predecessor that was told to stop may still be shipping.
LOCK_SECONDS = 20.0
ALIVE_SECONDS = 2.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m kproxy.control")
    parser.add_argument("--config", required=True, type=Path)
    parser.add_argument("--handed", action="store_true", help="the configuration comes on standard input")
    parser.add_argument("--ready", type=int, default=-1, help="descriptor to write to when at work")
    options = parser.parse_args()
    logs.configure("control")
    try:
        config = unpack_config(sys.stdin.buffer.read()) if options.handed else load_config(options.config,
                                                                                           certificates=False)
        prepare_directories(config)
        first = find_first(options.config, config)
    except ProblemsFound as error:
        for one in error.problems:
            log.error("config_refused", problem=str(one), problems=len(error.problems))
        return EXIT_CONFIG
    except KproxyError as error:
        log.error("control_not_started", error=str(error))
        return 1
    try:
        return asyncio.run(serve(options.config, first, options.ready))
    except KproxyError as error:
        log.error("control_not_started", error=str(error))
        return 1


def find_first(file: Path, running: Config) -> First:
    """What to begin with, where workers are bound to ``running``. A control process that follows another takes the
    files as they are now; where they are refused, what its predecessor left in force stays. Raises ProblemsFound where
    there is neither."""
    previous = read_snapshot(Path(running.node.runtime_dir) / "snapshot.msgpack")
    if previous is None:
        return First(make_ready(running, load_policy(running)))
    try:
        loaded, restart_needed = take_over(running, load_node(file))
        return First(loaded, restart_needed=restart_needed)
    except ProblemsFound as error:
        listeners = {name: msgspec.structs.replace(one, mode=previous.modes.get(name, one.mode))
                     for name, one in running.listeners.items()}
        kept = msgspec.structs.replace(running, listeners=listeners, keys=dict(previous.masking_keys))
        return First(make_ready(kept, previous.policy), tuple(error.problems))


def prepare_directories(config: Config) -> None:
    """Makes what is missing, for this user alone. Raises KproxyError."""
    state = Path(config.node.state_dir)
    for path in (Path(config.node.runtime_dir), state, state / "spool", state / "audit"):
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.chmod(0o700)
        except OSError as error:
            raise KproxyError(f"cannot use directory {path}: {error.strerror}") from error


def claim_state(state: Path) -> int:
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


def ask_supervisor() -> None:
    """SIGUSR2 has it replace its children, this process too."""
    os.kill(os.getppid(), signal.SIGUSR2)


def tell_alive(ready: int) -> None:
    """Now and every few seconds: a control process whose loop hangs is replaced."""
    with contextlib.suppress(BlockingIOError, BrokenPipeError):
        os.write(ready, b"r")
    asyncio.get_running_loop().call_later(ALIVE_SECONDS, tell_alive, ready)


async def serve(file: Path, first: First, ready: int) -> int:
    """Until SIGTERM or SIGINT; the exit code. ``ready`` is the descriptor that is told when it answers; −1: none."""
    state = Path(first.loaded.config.node.state_dir)
    lock = claim_state(state)
    events = EventLog(state / "events.db", born=int(time.time() * 1000))
    node = Node(file, first, events, now=time.time, new_id=lambda: secrets.token_hex(5),
                ask_restart=ask_supervisor if ready >= 0 else None)
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
        if ready >= 0:
            os.set_blocking(ready, False)
            tell_alive(ready)
        await stop.wait()
    finally:
        await node.aclose()
        events.close()
        os.close(lock)
    return 0
