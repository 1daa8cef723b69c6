"""What a process of the node does not load before it is at work: each of these costs every start."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """\
import sys
sys.argv[:1] = ["kproxy", "run"]
from kproxy.lean import begin
with begin({undrawn}):
    import {module}
import gc
print(gc.isenabled(), gc.get_freeze_count() > 0, sorted(set(sys.argv[1:]) & set(sys.modules)))
import rich.console
"""


@pytest.mark.parametrize(("module", "undrawn", "unwanted"), [
    ("kproxy.cli.app", "'structlog'", ("rich", "pygments", "httpx", "importlib.metadata", "cryptography")),
    ("kproxy.control.process", "'structlog', 'httpx'", ("rich", "pygments", "prometheus_client", "importlib.metadata",
                                                        "typer")),
    ("kproxy.dataplane.worker", "'structlog'", ("rich", "pygments", "httpx", "uvicorn", "watchfiles", "typer")),
])
def test_a_process_begins_without_what_it_does_not_need(module: str, undrawn: str, unwanted: tuple[str, ...]) -> None:
    program = PROGRAM.format(module=module, undrawn=undrawn)
    done = subprocess.run([sys.executable, "-c", program, *unwanted], capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    assert done.stdout == "True True []\n"
