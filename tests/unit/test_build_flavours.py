"""Every flavour of the native build can be loaded: without optimisation more of a header is asked of its library."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("flavour", ["debug", "coverage"])
def test_a_module_that_includes_the_rewriter_finds_all_its_symbols(flavour: str, tmp_path: Path) -> None:
    environment = {**os.environ, "KPROXY_BUILD": flavour, "KPROXY_MODULES": "opening"}
    subprocess.run([sys.executable, "setup.py", "-q", "build_ext", "--build-lib", str(tmp_path), "--build-temp",
                    str(tmp_path / "temp")], cwd=ROOT, env=environment, check=True, capture_output=True)
    (module,) = tmp_path.rglob("opening*.so")
    loaded = subprocess.run([sys.executable, "-c", "import ctypes, sys; ctypes.CDLL(sys.argv[1])", str(module)],
                            env={**environment, "LD_BIND_NOW": "1"}, capture_output=True, text=True, check=False)
    assert loaded.returncode == 0, loaded.stderr
