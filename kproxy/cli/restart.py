"""``kproxy restart``: every process of a node replaced without refusing anybody."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from kproxy.cli.node import NodeClient, NodeRefused, on_node, parse_duration

LOOK_SECONDS = 0.2


def register(app: typer.Typer) -> None:
    app.command("restart")(on_node(restart, show_restarted))


def restart(
    node: NodeClient,
    wait: Annotated[str, typer.Option(help="How long to wait for the new workers; 0s: not at all.")] = "90s",
) -> Any:
    """Replace the control process and one worker after the other; they take over the configuration, all but `node`."""
    seconds = parse_duration(wait)
    before = serving(node.ask("GET", "/v1/status"))
    node.ask("POST", "/v1/restart")
    if not seconds:
        return {"restarted": False, "workers": []}
    found = wait_for_others(lambda: node.ask("GET", "/v1/status"), before, seconds)
    return {"restarted": True, "workers": [{"worker": number, "pid": pid} for pid, number in sorted(found.items())]}


def wait_for_others(ask: Callable[[], Any], before: dict[int, int], seconds: float) -> dict[int, int]:
    """Polls until as many others serve as did ``before``. Raises NodeRefused at the deadline."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            found = serving(ask())
        except NodeRefused:
            found = {}  # The control process is being replaced too.
        if found and len(found) >= len(before) and not found.keys() & before.keys():
            return found
        time.sleep(LOOK_SECONDS)
    raise NodeRefused(f"after {seconds:g} s not every worker is a new one; the log says why")


def serving(status: Any) -> dict[int, int]:
    """Process id to number of the workers that serve and stay."""
    return {row["pid"]: row["worker"] for row in status["workers"] if row["in_force"] and not row["draining"]}


def show_restarted(told: dict[str, Any]) -> None:
    if not told["restarted"]:
        typer.echo("asked; the log and `kproxy status` say how it goes")
    for row in told["workers"]:
        typer.echo(f"worker {row['worker']} serves as process {row['pid']}")
