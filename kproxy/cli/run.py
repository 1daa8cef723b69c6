"""``kproxy run``: a whole node in the foreground."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kproxy.config import load_config
from kproxy.dataplane import supervisor
from kproxy.errors import EXIT_CONFIG, ConfigError

ConfigOption = Annotated[Path, typer.Option("--config", "-c", envvar="KPROXY_CONFIG", help="The configuration file.")]


def register(app: typer.Typer) -> None:
    app.command("run")(run)


def run(config: ConfigOption = Path("kproxy.yaml")) -> None:
    """Run the node: supervisor, control process and workers.

    SIGTERM drains, SIGHUP reloads the policy, SIGUSR2 restarts one process after the other.

    Exit 78 over files that cannot be used."""
    try:
        settings = load_config(config)
    except ConfigError as error:
        typer.echo(f"kproxy: {error}", err=True)
        raise typer.Exit(EXIT_CONFIG) from None
    raise typer.Exit(supervisor.run(settings))
