"""No trap of the protocol without a test of its number: the command that prints them says so."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.trap_table import ROOT, TRAPS, rows


def test_every_trap_has_a_test() -> None:
    done = subprocess.run([sys.executable, "-m", "tests.trap_table", "--json"], cwd=ROOT, capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [row["trap"] for row in found] == list(range(1, 49)) and all(row["tests"] for row in found)


def test_a_trap_without_a_test_is_seen(tmp_path: Path) -> None:
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "test_one.py").write_text('"""T3."""\n\ndef test_a():\n    """T1, T99."""\n\ndef test_b_t7_c(): ...\n')
    (folder / "other.py").write_text('def test_c():\n    """T2."""\n')
    found = {number: tests for number, tests in rows(folder).items() if tests}
    assert found == {1: ["tests/test_one.py::test_a"], 7: ["tests/test_one.py::test_b_t7_c"],
                     3: ["tests/test_one.py::test_a", "tests/test_one.py::test_b_t7_c"]}
    assert set(rows(folder)) == set(TRAPS)
