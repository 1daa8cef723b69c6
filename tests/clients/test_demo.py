"""The demo as a newcomer runs it, and that it tells when something it shows is not so."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from rich.console import Console

from kproxy.demo.narration import Narrator, StepFailed
from kproxy.demo.stage import build_stage
from kproxy.demo.story import guard_blocks, masks_by_reader, shop_writes

STEPS = 10


def test_the_demo_shows_every_step() -> None:
    done = subprocess.run([sys.executable, "-m", "kproxy", "demo", "--json"], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=115)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(told["steps"]) == STEPS
    assert all(step["seen"] for step in told["steps"])


def without(policy: Path, start: str, end: str) -> None:
    """Takes the lines from ``start`` to the one before ``end`` out of a policy file."""
    text = policy.read_text()
    before, _, rest = text.partition(start)
    assert rest and end in rest
    policy.write_text(before + end + rest.partition(end)[2])


def test_the_demo_tells_when_nothing_is_masked_or_blocked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kproxy.demo import node

    enter = node.Node.__enter__

    def enter_without_rules(self: node.Node) -> node.Node:
        without(self.folder / "policy/policy.yaml", "masks:", "approvals:")
        return enter(self)

    monkeypatch.setattr(node.Node, "__enter__", enter_without_rules)
    with ExitStack() as running:
        stage = build_stage(tmp_path, running)
        told = io.StringIO()
        narrator = Narrator(Console(file=told, width=200))
        shop_writes(stage, narrator)
        with pytest.raises(StepFailed, match="not seen: e-mail addresses are keyed tokens"):
            masks_by_reader(stage, narrator)
        with pytest.raises(StepFailed, match="not seen: the other is refused"):
            guard_blocks(stage, narrator)
    assert told.getvalue().count("✗") == 2
