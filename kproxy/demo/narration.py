"""How the demo speaks: what is about to happen, what was seen, and a failure that cannot be overlooked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from kproxy.errors import KproxyError


class StepFailed(KproxyError):
    """A step did not show what it was to show."""


class Narrator:
    """Tells the story on ``console`` and keeps what was seen, step by step."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._started = clock()
        self.steps: list[dict[str, Any]] = []

    def open(self, text: str) -> None:
        self._console.print(Panel(text, title="kproxy demo", border_style="cyan"))

    def step(self, title: str, text: str) -> None:
        self.steps.append({"step": title, "at": round(self._clock() - self._started, 1), "seen": []})
        self._console.print()
        self._console.rule(Text(f"{len(self.steps)}. {title}", style="bold cyan"), align="left", style="cyan")
        self._console.print(text, style="dim", highlight=False)

    def expect(self, seen: bool, what: str, but: Any = "") -> None:
        """``what`` was seen. Raises StepFailed with ``but``, what was seen instead."""
        if not seen:
            self._console.print(Text(f"  ✗ {what}", style="bold red"))
            raise StepFailed(f"step {len(self.steps)}: not seen: {what}" + (f"; instead: {but}" if but != "" else ""))
        self.steps[-1]["seen"].append(what)
        self._console.print(Text.assemble(("  ✓ ", "bold green"), what))

    def show(self, text: str) -> None:
        """Something as it came from a client or a command."""
        self._console.print(Text("    " + text.replace("\n", "\n    "), style="yellow"), soft_wrap=True)

    def table(self, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
        table = Table(box=None, padding=(0, 0, 0, 2), header_style="bold", pad_edge=True)
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(str(cell) for cell in row))
        self._console.print(table)

    def close(self) -> float:
        """Ends the story; returns the seconds it took."""
        seconds = self._clock() - self._started
        seen = sum(len(step["seen"]) for step in self.steps)
        self._console.print()
        self._console.print(Panel(f"[bold green]{len(self.steps)} steps, {seen} things seen, {seconds:.0f} s.[/] "
                                  f"Each was asserted on what a client, the audit or the metrics said.",
                                  border_style="green"))
        return seconds
