"""``kproxy run`` and ``restart``: a whole node in the foreground, and new workers for one that runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kproxy.config import load_config
from kproxy.dataplane import supervisor

ConfigOption = Annotated[Path, typer.Option("--config", "-c", envvar="KPROXY_CONFIG", help="The configuration file.")]


def register(app: typer.Typer) -> None:
    app.command("run")(run)
    app.command("restart")(restart)


def run(config: ConfigOption = Path("kproxy.yaml")) -> None:
    """Run the node: supervisor, control process and workers. SIGTERM drains, SIGHUP reloads the policy, SIGUSR2
    restarts the workers one after the other."""
    raise typer.Exit(supervisor.run(load_config(config)))


def restart(config: ConfigOption = Path("kproxy.yaml")) -> None:
    """Restart the workers of the node that runs here, one after the other; no connection is refused meanwhile."""
    pid = supervisor.ask_to_replace_workers(load_config(config))
    typer.echo(f"process {pid} replaces its workers, one after the other: see kproxy status")
