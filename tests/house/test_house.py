"""The house rules hold for this very tree: what ``make lint`` runs, as tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.checks import CHECKS

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


@pytest.mark.parametrize("name", CHECKS)
def test_house_rule(name: str) -> None:
    assert CHECKS[name](ROOT) == []


def test_import_rules() -> None:
    done = subprocess.run([BIN / "lint-imports", "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout
