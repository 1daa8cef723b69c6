"""``kproxy demo``: the main job on an embedded broker, narrated."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    @app.command()
    def demo(
        as_json: Annotated[bool, typer.Option("--json", help="What was seen, as JSON; nothing is narrated.")] = False,
    ) -> None:
        """The main job on an embedded broker with a development issuer. Exit 0 only if every step was seen to work."""
        from rich.console import Console

        from kproxy.demo.play import play

        # Into a file or a pipe, rich would fold everything to 80 columns.
        width = None if sys.stdout.isatty() else 110
        seen = play(Console(quiet=as_json, highlight=False, width=width))
        if as_json:
            print(json.dumps(seen, indent=2, ensure_ascii=False))
