"""``kproxy run``: a whole node in the foreground."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kproxy.config import load_config
from kproxy.dataplane import supervisor


def register(app: typer.Typer) -> None:
    @app.command()
    def run(
        config: Annotated[Path, typer.Option("--config", "-c", help="The configuration file.")] = Path("kproxy.yaml"),
    ) -> None:
        """Run the node: supervisor, control process and workers. SIGTERM drains, SIGHUP reloads the policy."""
        raise typer.Exit(supervisor.run(load_config(config)))
