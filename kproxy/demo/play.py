"""Runs the story from an empty folder to a stopped node."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console

from kproxy.demo.evidence import audit_answers, metrics_show
from kproxy.demo.narration import Narrator
from kproxy.demo.stage import Stage, build_stage
from kproxy.demo.story import STEPS

OPENING = ("An embedded Kafka broker, a development issuer and a kproxy node with two workers, all on loopback.\n"
           "Clients are librdkafka as it is; they know nothing of kproxy but its address.")


def play(console: Console) -> dict[str, Any]:
    """Plays all steps and returns what was seen. Raises KproxyError at the first that did not show what it must."""
    tell = Narrator(console)
    tell.open(OPENING)
    with tempfile.TemporaryDirectory(prefix="kproxy-demo-") as place, ExitStack() as running:
        with console.status("starting broker, issuer and node …"):
            stage = build_stage(Path(place), running)
        _play_steps(stage, tell, console)
        stopping(stage, tell)
    seconds = tell.close()
    return {"steps": tell.steps, "seconds": round(seconds, 1)}


def _play_steps(stage: Stage, tell: Narrator, console: Console) -> None:
    try:
        for step in (*STEPS, audit_answers, metrics_show):
            step(stage, tell)
    except Exception:
        console.print(stage.node.log_tail(), style="dim", markup=False, highlight=False, soft_wrap=True)
        raise


def stopping(stage: Stage, tell: Narrator) -> None:
    tell.step("Stop", "SIGTERM: workers drain, the control process ships the rest of the audit.")
    code = stage.node.stop()
    tell.expect(code == 0, "the node drained and ended cleanly", f"exit code {code}")
