"""``kproxy bench``: the ladder. It lives in ``bench/`` of the source tree: it needs a compiler and its peers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

import kproxy
from kproxy.errors import KproxyError

TREE = Path(kproxy.__file__).resolve().parents[1]


def register(app: typer.Typer) -> None:
    @app.command()
    def bench(
        rungs: Annotated[list[str] | None, typer.Argument(help="direct haproxy kproxy by default.")] = None,
        load: Annotated[list[str] | None, typer.Option(help="Repeatable; the usual loads by default.")] = None,
        rounds: Annotated[int, typer.Option(min=1)] = 3,
        seconds: Annotated[float, typer.Option(min=0.1, help="Measured seconds of each load.")] = 3.0,
        quick: Annotated[bool, typer.Option("--quick", help="One short round.")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Rows as JSON.")] = False,
    ) -> None:
        """Measure kproxy next to no proxy and to HAProxy, as ratios of one run."""
        if not (TREE / "bench" / "ladder.py").exists():
            raise KproxyError("the ladder is part of the source tree: check it out and run make bench there")
        command = [sys.executable, "-m", "bench", *(rungs or []), "--rounds", str(rounds), "--seconds", str(seconds)]
        for name in load or []:
            command += ["--load", name]
        command += ["--quick"] if quick else []
        command += ["--json"] if as_json else []
        raise typer.Exit(subprocess.run(command, cwd=TREE).returncode)
