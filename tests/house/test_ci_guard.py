"""Under CI=true a skipped integration or client test fails the run; elsewhere it stays a skip."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.support import ci_guard

ROOT = Path(__file__).resolve().parents[2]


def run(folder: Path, where: str, text: str, ci: str) -> subprocess.CompletedProcess[str]:
    (folder / "pytest.ini").write_text("[pytest]\ntestpaths = tests\naddopts = --import-mode=importlib\n"
                                       "markers =\n    integration: real Kafka\n")
    target = folder / where
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    return subprocess.run([sys.executable, "-m", "pytest", "-p", "tests.support.ci_guard", "-p", "no:cacheprovider"],
                          cwd=folder, capture_output=True, text=True, timeout=60,
                          env=os.environ | {"CI": ci, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"})


SKIPS = {
    "in the test": "import pytest\n\n\ndef test_a():\n    pytest.skip('no Java')\n",
    "in a fixture": "import pytest\n\n\n@pytest.fixture\ndef rig():\n    pytest.skip('no Java')\n\n\n"
                    "def test_a(rig):\n    assert rig\n",
    "of the module": "import pytest\n\npytest.skip('no Java', allow_module_level=True)\n",
}


@pytest.mark.parametrize("how", SKIPS)
def test_a_skipped_integration_test_fails_on_ci_only(tmp_path: Path, how: str) -> None:
    on_ci = run(tmp_path, "tests/integration/test_a.py", SKIPS[how], "true")
    assert on_ci.returncode != 0
    assert "skipped on CI, where it must run: " in on_ci.stdout
    assert "no Java" in on_ci.stdout
    elsewhere = run(tmp_path, "tests/integration/test_a.py", SKIPS[how], "")
    assert "1 skipped" in elsewhere.stdout
    assert elsewhere.returncode in (0, 5)


def test_a_marked_test_is_guarded_wherever_it_lies(tmp_path: Path) -> None:
    text = "import pytest\n\n\n@pytest.mark.integration\ndef test_a():\n    pytest.skip('no Java')\n"
    assert run(tmp_path, "tests/unit/test_a.py", text, "true").returncode == 1


def test_an_ordinary_skip_stays_a_skip_on_ci(tmp_path: Path) -> None:
    done = run(tmp_path, "tests/unit/test_a.py", SKIPS["in the test"] + "\n\ndef test_b():\n    assert 1\n", "true")
    assert (done.returncode, "1 passed, 1 skipped" in done.stdout) == (0, True)


def test_a_run_in_which_a_guarded_folder_ran_nothing_is_named(tmp_path: Path) -> None:
    for name in ci_guard.MUST_RUN:
        (tmp_path / name).mkdir()
        (tmp_path / name / "test_a.py").write_text("")
    assert ci_guard.missing_suites(Counter({"integration": 3}), tmp_path) == ["clients"]
    assert ci_guard.missing_suites(Counter({"integration": 3, "clients": 1}), tmp_path) == []


def test_the_whole_run_fails_when_a_guarded_folder_ran_nothing(tmp_path: Path) -> None:
    (tmp_path / "tests/unit").mkdir(parents=True)
    (tmp_path / "tests/unit/test_b.py").write_text("def test_b():\n    assert 1\n")
    done = run(tmp_path, "tests/clients/test_a.py", "def only_a_function():\n    pass\n", "true")
    assert done.returncode == 1
    assert "no test ran in tests/clients" in done.stdout
