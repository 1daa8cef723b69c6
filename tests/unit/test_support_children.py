"""What tests see of a process while its threads and children come and go."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import children


def test_a_thread_that_ends_while_it_is_looked_at_hides_no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda folder: [folder / "999999999", *listed(folder)])
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in children.children_of(os.getpid())
        child.communicate(b"\n")
